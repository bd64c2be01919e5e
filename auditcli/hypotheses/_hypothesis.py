"""An answer to everything that is open (`Hypothesis`), and the answers beside it (`roots`, `neighbours`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from auditcli.errors import AuditError
from auditcli.families import NORMALISATION, Choice, Options, identify
from auditcli.types import Assumption, Checkpoint, Profile

IMMATERIAL = frozenset({"eps", "classes", "labels"})
"""Keys whose values change too little for images to tell."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A model under one set of answers."""

    answers: Mapping[str, str]
    """Keys of `--assume`, and `NORMALISATION`; what is not in it is as the template assumes."""
    options: Options
    profile: Profile

    def value(self, key: str) -> str:
        """What it takes a key for, in the words of the option."""
        listed = (one.value for one in self.profile.assumptions if key_of(one) == key)
        return next(listed, self.answers.get(key, ""))

    @property
    def keys(self) -> frozenset[str]:
        """Everything that it answers or assumes."""
        return frozenset(self.answers) | {key for one in self.profile.assumptions if (key := key_of(one))}


def key_of(assumption: Assumption) -> str:
    """The key that corrects an assumption, empty where no option does."""
    if assumption.flag == "--mean/--std":
        return NORMALISATION
    return assumption.flag.removeprefix("--assume ").partition("=")[0] if "--assume " in assumption.flag else ""


def hypothesis(checkpoint: Checkpoint, options: Options, answers: Mapping[str, str]) -> Hypothesis | None:
    """The model under these answers, or None where they do not fit its weights."""
    chosen = dict(options.chosen) | {key: Choice(value, "") for key, value in answers.items()}
    said = replace(options, chosen=chosen)
    try:
        return Hypothesis(dict(answers), said, identify(checkpoint, said))
    except AuditError:
        return None


def neighbours(around: Hypothesis, fixed: frozenset[str]) -> Iterator[dict[str, str]]:
    """The answers that differ from these in one key, among the alternatives that were listed."""
    for assumption in around.profile.assumptions:
        key = key_of(assumption)
        if not key or key in fixed or key in IMMATERIAL:
            continue
        for value in _alternatives(key, assumption):
            if value != around.answers.get(key, ""):
                yield {**around.answers, key: value}


def _alternatives(key: str, assumption: Assumption) -> Sequence[str]:
    """Listed alternatives; an empty normalisation is that of pixels in [0, 1]."""
    return (*assumption.alternatives, "") if key == NORMALISATION else assumption.alternatives


def moved(answers: Mapping[str, str], root: Mapping[str, str], fixed: frozenset[str]) -> dict[str, str]:
    """The answers with those of another root in place of their own."""
    return {key: value for key, value in answers.items() if key not in fixed} | dict(root)
