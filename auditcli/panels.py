"""How `--help` groups options and commands. Public names: `COMMANDS`, `panel_of`."""

from __future__ import annotations

from typing import Final

_PANELS: Final = {
    "Images": ("images", "near", "noise", "reference", "controls", "members"),
    "Effort": ("budget", "profile", "attack", "set_", "device", "seed", "shadows", "shadow_cache", "tests"),
    "Model": ("mean", "std", "input_shape", "assume", "arch", "arch_arg", "base", "backbone", "labels", "label"),
    "Report": (
        "output",
        "format",
        "include_images",
        "reconstructions",
        "names",
        "redact",
        "hash_names",
        "embed",
        "force",
        "resume",
    ),
    "Gate": ("fail_on", "policy", "check", "report", "max_age"),
    "Talk": ("as_json", "show", "quiet", "verbose", "help"),
    "Settings": ("no_config", "config"),
}
"""Names of parameters, in the order of the panels."""

_BY_NAME: Final = {name: panel for panel, names in _PANELS.items() for name in names}

COMMANDS: Final = {
    **dict.fromkeys(("scan", "demo", "inspect", "describe", "explain", "cnf", "plan", "starts"), "Audit"),
    **dict.fromkeys(("render", "card", "verify", "compare", "names"), "Report"),
    **dict.fromkeys(("attacks", "schema", "config"), "About"),
}
"""The panel of a command by its name."""


def panel_of(name: str) -> str | None:
    """The panel of an option by the name of its parameter; None for the general one."""
    return _BY_NAME.get(name)
