"""Commands that read settings. Public names: `Configured` (a command), `configured` (gives it its two options)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

from auditcli import panels, settings, terminal
from auditcli.errors import UsageError


class Configured(TyperCommand):
    """A command whose options are grouped in its help, and may also be given in a settings file."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.rich_help_panel = panels.COMMANDS.get(self.name or "")
        for parameter in self.params:
            _group(parameter)

    def get_help_option(self, ctx: Any) -> Any:
        """`--help`, among its like."""
        return _group(super().get_help_option(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Name the file or the variable where one of its values is refused."""
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            refused: Any = error
            option = getattr(refused, "param", None)
            if option is not None and (where := settings.origin_of(ctx, option).where):
                refused.param_hint = f"'{option.opts[0]}' ({where})"
            raise

    def invoke(self, ctx: Any) -> Any:
        """Say which file is used and for what, and name it where one of its values is refused."""
        if ctx.params.get("no_config") and _is_typed(ctx, "config"):
            raise UsageError("--config and --no-config contradict each other", hint="give one of them")
        used = settings.settings_of(ctx)
        origins = {option: settings.origin_of(ctx, option) for option in self.params}
        if used is not None and not ctx.params.get("quiet"):
            keys = [used.keys[option.name] for option, origin in origins.items() if origin.kind == "file"]
            if keys:
                terminal.show_settings(terminal.stderr(), str(used.file), keys)
        try:
            return super().invoke(ctx)
        except UsageError as error:
            refused = error.message.partition(" ")[0]
            where = next((origin.where for option, origin in origins.items() if refused in option.opts), "")
            if not where:
                raise
            raise UsageError(f"{where}: {error.message}", hint=error.hint) from error


def _group(parameter: Any) -> Any:
    if parameter is not None and parameter.param_type_name == "option":
        parameter.rich_help_panel = panels.panel_of(parameter.name)
        parameter.metavar = "" if parameter.is_flag else parameter.metavar
    return parameter


def configured(command: Callable[..., int]) -> Callable[..., int]:
    """The command with `--config` and `--no-config`, of which itself it knows nothing.

    One that has no parameter stays as it is.
    """
    own = inspect.signature(command).parameters.values()
    if not own:
        return command

    @wraps(command)
    def run(*, config: Path | None, no_config: bool, **options: Any) -> int:
        return command(**options)

    hints = {**get_type_hints(command, include_extras=True), "no_config": _NoConfig, "config": _Config}
    added = [
        inspect.Parameter("no_config", inspect.Parameter.KEYWORD_ONLY, default=False),
        inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None),
    ]
    run.__annotations__ = hints
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(annotation=hints[parameter.name]) for parameter in (*own, *added)]
    )
    return run


def _read(context: typer.Context, value: Path | None) -> Path | None:
    """Read the settings file before any other option is looked at; those then fall back on it."""
    if context.resilient_parsing:
        return value
    without = context.params.get("no_config") and not _is_typed(context, "config")
    file = None if without else value or settings.locate()
    if file is not None:
        group: Any = context.find_root().command
        commands = {name: command for name, command in group.commands.items() if isinstance(command, Configured)}
        settings.keep(context, settings.apply(settings.read(file), str(context.info_name), commands))
    return value


def _is_typed(context: Any, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


_NoConfig = Annotated[
    bool,
    typer.Option("--no-config", is_eager=True, help="Read no settings file."),
]
_Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        envvar="PRIVAUDIT_CONFIG",
        show_envvar=False,
        is_eager=True,
        callback=_read,
        help="Settings, instead of the privaudit.toml or pyproject.toml found here or above.",
    ),
]
