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
        if not args and not ctx.resilient_parsing:
            raise UsageError("no model was given", hint="privaudit MODEL, or privaudit --help for the commands")
        if ctx.resilient_parsing and args[:1] == ["config"]:
            args = args[1:]  # the shell asks, and what follows is a command line to be completed as such
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        return super().parse_args(ctx, args if args and args[0] in own else self.in_full(args))

    def in_full(self, words: list[str]) -> list[str]:
        """The words with `scan` in front where that is what they are short for."""
        short = bool(words) and words[0] not in self.commands and _looks_like_scan(words[0])
        return ["scan", *words] if short else words

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Offer the options of `scan` too, which may stand in its place."""
        found = super().shell_complete(ctx, incomplete)
        return [*found, *self.commands["scan"].shell_complete(ctx, incomplete)] if incomplete else found


def _looks_like_scan(word: str) -> bool:
    return word.startswith("-") or any(mark in word for mark in "./\\") or Path(word).exists()
