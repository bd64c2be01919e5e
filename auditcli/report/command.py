"""The command line of a manifest without the names of files. Public name: `without_names`.

What is known to be no name is kept, everything else is replaced: an option that is added tomorrow is covered today.
"""

import re
import shlex
from collections.abc import Iterator

KEPT = frozenset(
    (
        *("--budget", "--profile", "--attack", "--device", "--seed", "--mean", "--std", "--input-shape", "--assume"),
        *("--format", "-f", "--fail-on", "--shadows", "--reconstructions"),
    )
)
"""Options whose values name no file of the auditor."""
COMMANDS = frozenset({"scan", "demo"})
FLAGS = re.compile(r"-[qv]+")
OPTION = re.compile(r"--[a-z][a-z-]{0,40}|-[a-z]")


def without_names(command: str, model: str) -> str:
    """A command line that still says what was asked for, with `MEMBERS` for what stood behind `--members`, and so on.

    Args:
        command: As a manifest has it.
        model: Name of the model, which the report says anyway.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return "privaudit"
    return shlex.join(["privaudit", *_replaced(words[1:], model)]) if words else ""


def _replaced(words: list[str], model: str) -> Iterator[str]:
    before = ""
    for place, word in enumerate(words):
        option, equals, value = word.partition("=")
        if OPTION.fullmatch(option) and equals:
            yield f"{option}={_said(option, value, model)}"
        elif OPTION.fullmatch(word) or FLAGS.fullmatch(word) or (place == 0 and word in COMMANDS):
            yield word
        else:
            yield _said(before, word, model)
        before = word if OPTION.fullmatch(word) else ""


def _said(option: str, value: str, model: str) -> str:
    """What stands behind an option, or its stand-in."""
    origin, hub = model.partition("@")[0], value.partition("@")[0]
    if option in KEPT or value in ("", model) or (hub == origin and hub.startswith("hf://")):
        return value
    return option.strip("-").replace("-", "_").upper() or "MODEL"
