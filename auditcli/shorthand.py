"""`privaudit MODEL` is short for `privaudit scan MODEL`. Public name: `DefaultToScan`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.core import TyperGroup

from auditcli.errors import UsageError


class DefaultToScan(TyperGroup):
    """Commands, where anything that looks like a model or an option of `scan` means `scan`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `scan` in front where the first word is no command."""
        if not args and ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        if not args:
            raise UsageError("no model was given", hint="privaudit MODEL, or privaudit --help for the commands")
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        first = args[0]
        if first not in self.commands and first not in own and _looks_like_scan(first):
            args = ["scan", *args]
        return super().parse_args(ctx, args)


def _looks_like_scan(word: str) -> bool:
    return word.startswith("-") or any(mark in word for mark in "./\\") or Path(word).exists()
