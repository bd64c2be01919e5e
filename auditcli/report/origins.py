"""Where each fact about the model is known from, and the option that says otherwise.

Public names: `Origin`, `Fact`, `facts`, `remarks`. A report gives its reasons in sentences; here they are sorted by
who speaks.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from auditcli.report.schema import Model

Origin = Literal["assumed", "images", "user", "file", "weights"]
"""Who says so: nobody, the images given, the user, the file, or the weights."""

_BY_USER = re.compile(r"stated by --")
_BY_IMAGES = re.compile(r"(chosen by|goes with what|that of the (members|controls)$)")
_BY_FILE = re.compile(r"(stated (in|by)|declared by|computed by the first operators of the graph)")
_NOTED = re.compile(r"([\w ,]+) = (.*?): ((?:stated in|stated by|chosen by|goes with what|that of the) .+)", re.DOTALL)
"""A line of evidence that says a fact and how it is known."""
_ASSUMED = "assumed: "
_OPTIONS = {"input shape": "--input-shape C,H,W", "normalisation": "--mean/--std", "base": "--base MODEL"}
_READ_OFF = {"family", "layers", "classes", "trait"}
"""What no option changes."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact about the model."""

    what: str
    value: str
    origin: Origin
    why: str
    option: str
    """The option that overrides it; empty where it stands in the weights."""
    alternatives: tuple[str, ...] = ()
    """Other values that fit the weights as well."""


def facts(model: Model) -> tuple[Fact, ...]:
    """Everything the audit took the model to be, each fact once for each value, in the order of the report."""
    found: dict[tuple[str, str], Fact] = {}
    for fact in (*_assumptions(model), *_statements(model), *_noted(model)):
        key = (fact.what, fact.value if fact.what == "trait" else "")
        found.setdefault(key, fact)
    return tuple(found.values())


def remarks(model: Model) -> tuple[str, ...]:
    """What the evidence says beside facts."""
    return tuple(sentence for sentence in model.evidence if not _NOTED.fullmatch(sentence))


def _assumptions(model: Model) -> Iterator[Fact]:
    """What was assumed; images may have chosen it, or confirmed what was taken by default."""
    confirmed = {(fact.what, fact.value): fact.why for fact in _noted(model) if fact.origin == "images"}
    for one in model.assumptions:
        why = confirmed.get((one.what, one.value), one.why)
        origin: Origin = "images" if _BY_IMAGES.match(why) else "assumed"
        yield Fact(one.what, one.value, origin, why, one.flag, one.alternatives)


def _statements(model: Model) -> Iterator[Fact]:
    for one in model.statements:
        why = one.why.removeprefix(_ASSUMED)
        origin: Origin = "assumed" if why != one.why and not _BY_IMAGES.match(why) else _origin(why)
        yield Fact(one.what, one.value, origin, why, _OPTIONS.get(one.what, ""))


def _noted(model: Model) -> Iterator[Fact]:
    for sentence in model.evidence:
        if match := _NOTED.fullmatch(sentence):
            what, value, why = match.groups()
            option = _OPTIONS.get(what) or ("" if what in _READ_OFF else f"--assume {what}=...")
            yield Fact(what, value, _origin(why), why, option)


def _origin(why: str) -> Origin:
    if _BY_USER.match(why):
        return "user"
    if _BY_IMAGES.match(why):
        return "images"
    return "file" if _BY_FILE.match(why) else "weights"
