"""Where the value of an option came from. Public names: `Origin`, `origin_of`, `settings_of`, `keep`, `as_options`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from auditcli.settings._apply import Settings, as_words

Kind = Literal["default", "file", "environment", "command line"]

_KINDS: Final[dict[str, Kind]] = {
    "COMMANDLINE": "command line",
    "ENVIRONMENT": "environment",
    "DEFAULT_MAP": "file",
    "DEFAULT": "default",
}
"""From the names that click gives them, the strongest first."""
_META: Final = "auditcli.settings"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from."""

    kind: Kind
    name: str = ""
    """The key or the variable; else empty."""
    file: Path | None = None

    @property
    def where(self) -> str:
        """The file and the key, or the variable; else empty."""
        return f"{self.file}: {self.name}" if self.file else self.name

    @property
    def short(self) -> str:
        """For a table: the file without its folder."""
        return f"{self.file.name}: {self.name}" if self.file else self.name or self.kind


def keep(context: Any, settings: Settings) -> None:
    """Let a file speak for a command that is being parsed, after the command line and the environment."""
    context.meta[_META] = settings
    context.default_map = dict(settings.values)


def settings_of(context: Any) -> Settings | None:
    """The file that speaks for a command, or None."""
    found = context.meta.get(_META)
    return found if isinstance(found, Settings) else None


def origin_of(context: Any, option: Any) -> Origin:
    """Where an option of a parsed command has its value from."""
    source = context.get_parameter_source(option.name)
    kind = _KINDS[source.name] if source else "default"
    settings = settings_of(context)
    if kind == "file" and settings is not None:
        return Origin(kind, settings.keys[option.name], settings.file)
    return Origin(kind, option.envvar if kind == "environment" else "")


def as_options(context: Any) -> list[str]:
    """What file and environment changed, as options: with them the command line does the same where these are not."""
    return [
        word
        for option in context.command.params
        if origin_of(context, option).kind in ("file", "environment") and not option.is_eager
        if context.params[option.name] != option.default
        for word in as_words(option, context.params[option.name])
    ]
