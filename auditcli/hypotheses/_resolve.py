"""The flow from images to a profile: `resolve`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from auditcli.errors import OpenQuestion, UnknownModel
from auditcli.families import SHAPE, Choice, Options, identify
from auditcli.hypotheses._answers import answers, checked, still_open, undecided
from auditcli.hypotheses._choose import compare
from auditcli.hypotheses._hypothesis import key_of
from auditcli.hypotheses._search import Pictures, search, tried
from auditcli.images import read_sample, shape_of
from auditcli.types import Checkpoint, Profile

IMAGES = 1024
"""Images at most, drawn at random from more."""
LIMIT = 600
"""Hypotheses at most, on some of the images."""
SECONDS = 120.0
"""For trying them, at most."""
_CHECKED = 256
"""Images on which a model is checked that leaves nothing open."""


@dataclass(frozen=True, slots=True)
class _State:
    """What identification says before images do."""

    profile: Profile | None
    question: OpenQuestion | None


def resolve(
    checkpoint: Checkpoint,
    options: Options,
    reference: Path | None = None,
    controls: Path | None = None,
    *,
    seconds: float = SECONDS,
) -> tuple[Profile, Options]:
    """Identify a model, with images where they are given.

    Args:
        checkpoint: As loaded.
        options: Statements of the user; nothing that was stated is put in question.
        reference: Images the model was trained on: a folder or an `.npz`, as for an audit.
        controls: Images of the same kind that it never saw, likewise; they are preferred.
        seconds: Ceiling for trying hypotheses; `SECONDS` at most.

    Returns:
        The profile, with what images chose among its assumptions, and the options that `build` needs to build it.

    Raises:
        OpenQuestion: something stays open; its candidates are in the order in which images rank them.
        UnknownModel: no template explains the weights.
        SampleError: the images cannot be used.
    """
    path, role = (controls, "controls") if controls is not None else (reference, "members")
    if path is None:
        return _alone(checkpoint, options), options
    state, options = _shaped(checkpoint, options, shape_of(path, role=role), role)
    roots: Sequence[Mapping[str, str]] = state.question.candidates if state.question is not None else ({},)
    profile = state.profile or _any(checkpoint, options, roots)
    if profile is None:
        raise state.question or UnknownModel(f"{checkpoint.name}: nothing that was tried fits it")
    pictures = _pictures(path, role, profile)
    if state.profile is not None and not any(one.alternatives and key_of(one) for one in profile.assumptions):
        return checked(profile, tried(checkpoint, options, {}, pictures.few(_CHECKED)), role), options
    found = search(checkpoint, options, roots, pictures, limit=LIMIT, seconds=min(seconds, SECONDS))
    if not found.tried:
        return _unchanged(state), options
    left, images = compare(found, profile.classes), f"{len(found.pictures.images)} {role}"
    if left.doubt and state.question is not None:
        raise still_open(state.question, left, images)
    settled = answers(left, roots, images)
    if settled is None:
        raise undecided(checkpoint, left, roots, images)
    options = replace(options, chosen=dict(options.chosen) | settled.choices)
    final = identify(checkpoint, options)
    final = replace(final, evidence=(*final.evidence, *settled.notes))
    return checked(final, settled.final, role), options


def _alone(checkpoint: Checkpoint, options: Options) -> Profile:
    """Without images; a question that they could decide says so."""
    try:
        return identify(checkpoint, options)
    except OpenQuestion as question:
        if not question.candidates:
            raise
        hint = f"{question.hint}; or let labelled images decide: --controls PATH"
        raise OpenQuestion(question.message, hint=hint, candidates=question.candidates) from None


def _unchanged(state: _State) -> Profile:
    if state.profile is None:
        raise state.question or UnknownModel("nothing fits")
    return state.profile


def _identified(checkpoint: Checkpoint, options: Options) -> _State:
    try:
        return _State(identify(checkpoint, options), None)
    except OpenQuestion as question:
        return _State(None, question)


def _shaped(
    checkpoint: Checkpoint, options: Options, shape: tuple[int, int, int] | None, role: str
) -> tuple[_State, Options]:
    """What is known without images, with their shape in place of an input shape that nobody stated."""
    state = _identified(checkpoint, options)
    stated = options.input_shape is not None or (
        state.profile is not None and "input shape" not in {one.what for one in state.profile.assumptions}
    )
    if stated or shape is None or (state.profile is not None and state.profile.input_shape == shape):
        return state, options
    why = f"that of the {role}"
    shaped = replace(options, chosen={**options.chosen, SHAPE: Choice(",".join(map(str, shape)), why)})
    other = _identified(checkpoint, shaped)
    usable = other.profile is not None or (other.question is not None and other.question.candidates)
    return (other, shaped) if usable else (state, options)


def _any(checkpoint: Checkpoint, options: Options, roots: Sequence[Mapping[str, str]]) -> Profile | None:
    """The profile under the first answer that fits: all have the same input shape and classes."""
    for root in roots:
        chosen = {**options.chosen, **{key: Choice(value, "") for key, value in root.items()}}
        state = _identified(checkpoint, replace(options, chosen=chosen))
        if state.profile is not None:
            return state.profile
    return None


def _pictures(path: Path, role: str, profile: Profile) -> Pictures:
    sample = read_sample(path, profile.input_shape, profile.labels, role=role)
    drawn = torch.randperm(len(sample), generator=torch.Generator().manual_seed(0))[:IMAGES]
    labels = sample.labels
    # Labels that are not the model's say nothing; who audits is told of them when the audit reads the images.
    usable = labels is not None and int(labels.min()) >= 0 and int(labels.max()) < profile.classes
    return Pictures(sample.images[drawn], labels[drawn] if labels is not None and usable else None)
