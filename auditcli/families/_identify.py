"""Checkpoint -> Profile -> Target: `identify` and `build`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from itertools import groupby
from typing import TYPE_CHECKING

import torch

from auditcli.errors import LoadError, OpenQuestion, UnknownModel
from auditcli.families._declared import stand_ins
from auditcli.families._detached import detached
from auditcli.families._dossier import Dossier
from auditcli.families._pixels import FromPixels
from auditcli.families._template import Mismatch, Rank, Template, discover
from auditcli.families._trace import noise, trace
from auditcli.families._traits import examined
from auditcli.types import Checkpoint, DenseStack, Profile, Target, Trait

if TYPE_CHECKING:
    from auditcli.families._options import Options


def identify(checkpoint: Checkpoint, options: Options) -> Profile:
    """What a checkpoint is, how that is known, and what had to be assumed.

    Raises:
        OpenQuestion: the weights fit, and leave something open (the hint names the flag that answers it), or they fit
            more than one template of the same rank.
        UnknownModel: no template explains the weights; the nearest is named, with what differed.
        LoadError: a Hugging Face folder that transformers cannot build.
    """
    mismatches: list[tuple[Template, Mismatch]] = []
    for _, templates in groupby(_asked(checkpoint, options), key=lambda template: template.rank):
        fitting, questions = [], []
        for template in templates:
            dossier = Dossier(checkpoint, options)
            try:
                found = template.recognise(dossier)
            except OpenQuestion as question:
                questions.append(question)
                continue
            if isinstance(found, Mismatch):
                mismatches.append((template, found))
            else:
                fitting.append(replace(found, template=template.name, statements=tuple(dossier.statements)))
        if len(fitting) > 1:
            raise _several(checkpoint, fitting)
        if fitting:
            return fitting[0]
        if questions:
            raise questions[0]
    raise _nearest(checkpoint, options, mismatches)


def _asked(checkpoint: Checkpoint, options: Options) -> list[Template]:
    """Templates for the checkpoint's format, or those among them that the user or the description names."""
    named, family = _stated_template(checkpoint, options), _stated_family(checkpoint)
    return [
        template
        for template in discover()
        if checkpoint.format in template.formats
        and named in {None, template.name}
        and bool(options.arch) == (template.rank is Rank.STATED)
        and (family is None or template.family is None or family == template.family.value)
        and (named or template.rank <= Rank.DECLARED or _may_stand_in(checkpoint, template))
    ]


def _may_stand_in(checkpoint: Checkpoint, template: Template) -> bool:
    """Whether a template may go by the weights: not where a configuration names another architecture."""
    allowed = stand_ins(checkpoint.description) if checkpoint.described_by == "config.json" else None
    return allowed is None or template.name in allowed


def _stated_template(checkpoint: Checkpoint, options: Options) -> str | None:
    described = None if checkpoint.described_by == "config.json" else checkpoint.description.get("template")
    return options.assumed("template") or described


def _stated_family(checkpoint: Checkpoint) -> str | None:
    return None if checkpoint.described_by == "config.json" else checkpoint.description.get("family")


def _several(checkpoint: Checkpoint, fitting: Sequence[Profile]) -> OpenQuestion:
    names = [profile.template for profile in fitting]
    return OpenQuestion(
        f"{checkpoint.name}: the weights fit {' and '.join(names)}, and do not show which",
        hint=" or ".join(f"--assume template={name}" for name in names),
        candidates=[{"template": name} for name in names],
    )


def _nearest(checkpoint: Checkpoint, options: Options, mismatches: Sequence[tuple[Template, Mismatch]]) -> UnknownModel:
    if not mismatches and options.arch:
        return UnknownModel(
            f"{checkpoint.name}: an {checkpoint.format} file holds its own graph; --arch is for files of weights",
            hint="leave --arch out",
        )
    if not mismatches:
        return UnknownModel(
            f"{checkpoint.name}: no template {options.assumed('template')!r} reads {checkpoint.format} files",
            hint=f"--assume template=NAME, one of {', '.join(template.name for template in discover())}",
        )
    template, nearest = max(mismatches, key=lambda pair: pair[1].explained)
    stated = _stated_family(checkpoint)
    says = f"{checkpoint.described_by} says" if stated else "no family explains the weights; the nearest is"
    return UnknownModel(
        f"{checkpoint.name}: {says} {template.name}, but {nearest.why}",
        hint=nearest.hint
        or "export the model to ONNX, which holds the graph: torch.onnx.export(model.eval(), (x,), F)",
    )


def build(checkpoint: Checkpoint, profile: Profile, options: Options, device: torch.device | str = "cpu") -> Target:
    """The executable model of an identified checkpoint.

    Args:
        checkpoint: As loaded.
        profile: What `identify` returned for it, with the same options.
        options: Statements of the user.
        device: Where the model shall run.

    Returns:
        A model in eval mode with frozen parameters that takes pixels in [0, 1] and returns logits (n, outputs), or
        log-probabilities where the graph ends in a softmax. First and second derivatives reach its input.

    Raises:
        LoadError: the network cannot be built, or does not return (n, outputs) finite numbers.
    """
    template = next(template for template in discover() if template.name == profile.template)
    built = template.build(Dossier(checkpoint, options), profile)
    module = FromPixels(built.net, profile.normalisation, log_softmax=Trait.SOFTMAX_OUTPUT in profile.traits)
    module = module.eval().requires_grad_(False).to(device)
    _probe(checkpoint, module, profile, device)
    dense = None if built.dense is None else _moved(built.dense, device)
    seen = trace(module.net, noise(profile.input_shape).to(device))
    head = detached(module, seen)
    return Target(module, examined(profile, seen, head), dense, head, binarised=built.binarised)


def _moved(dense: DenseStack, device: torch.device | str) -> DenseStack:
    return DenseStack(
        weights=tuple(weight.to(device) for weight in dense.weights),
        biases=tuple(None if bias is None else bias.to(device) for bias in dense.biases),
        activation=dense.activation,
    )


def _probe(checkpoint: Checkpoint, module: FromPixels, profile: Profile, device: torch.device | str) -> None:
    """Run two grey images, so that what does not fit is an error now and not in the middle of an audit."""
    shape = "x".join(map(str, profile.input_shape))
    try:
        # A traced module prints its own trace to stderr when it fails; one line is what the user gets.
        with torch.no_grad(), redirect_stderr(StringIO()):
            logits = module(torch.full((2, *profile.input_shape), 0.5, device=device))
    except (RuntimeError, ValueError, IndexError) as error:
        raise LoadError(
            f"{checkpoint.name} does not run on images of {shape}: {(str(error).splitlines() or [''])[0][:120]}",
            hint="--input-shape C,H,W gives the size it was trained for",
        ) from error
    if logits.shape != (2, profile.outputs) or not logits.isfinite().all():
        raise LoadError(
            f"{checkpoint.name} returned {tuple(logits.shape)} for two images of {shape}, or numbers that are not "
            f"finite; (2, {profile.outputs}) was expected",
            hint="privaudit inspect shows what was assumed; --mean, --std and --assume correct it",
        )
