"""Checkpoint -> Profile -> Target: `identify` and `build`."""

from __future__ import annotations

from contextlib import redirect_stderr
from io import StringIO
from typing import TYPE_CHECKING

import torch

from auditcli.errors import LoadError, UnknownModel
from auditcli.families._dossier import Dossier
from auditcli.families._pixels import FromPixels
from auditcli.families._template import Mismatch, Template, discover
from auditcli.types import Checkpoint, DenseStack, Profile, Target, Trait

if TYPE_CHECKING:
    from auditcli.families._options import Options


def identify(checkpoint: Checkpoint, options: Options) -> Profile:
    """What a checkpoint is, how that is known, and what had to be assumed.

    Raises:
        UnknownModel: no family explains the weights (the nearest is named, with what differed), or they leave a
            question open (the hint names the flag that answers it).
        LoadError: a Hugging Face folder that transformers cannot build.
    """
    stated = checkpoint.description.get("family") if checkpoint.described_by != "config.json" else None
    mismatches: list[tuple[Template, Mismatch]] = []
    for template in discover():
        if stated not in {None, template.family.value}:
            continue
        found = template.recognise(Dossier(checkpoint, options))
        if isinstance(found, Profile):
            return found
        mismatches.append((template, found))
    template, nearest = max(mismatches, key=lambda pair: pair[1].explained)
    says = f"{checkpoint.described_by} says" if stated else "no family explains the weights; the nearest is"
    raise UnknownModel(
        f"{checkpoint.path.name}: {says} {template.family.value}, but {nearest.why}",
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
    template = next(template for template in discover() if template.family == profile.family)
    built = template.build(Dossier(checkpoint, options), profile)
    module = FromPixels(built.net, profile.normalisation, log_softmax=Trait.SOFTMAX_OUTPUT in profile.traits)
    module = module.eval().requires_grad_(False).to(device)
    _probe(checkpoint, module, profile, device)
    dense = None if built.dense is None else _moved(built.dense, device)
    return Target(module=module, profile=profile, dense=dense)


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
            f"{checkpoint.path.name} does not run on images of {shape}: {(str(error).splitlines() or [''])[0][:120]}",
            hint="--input-shape C,H,W gives the size it was trained for",
        ) from error
    if logits.shape != (2, profile.outputs) or not logits.isfinite().all():
        raise LoadError(
            f"{checkpoint.path.name} returned {tuple(logits.shape)} for two images of {shape}, or numbers that are not "
            f"finite; (2, {profile.outputs}) was expected",
            hint="privaudit inspect shows what was assumed; --mean, --std and --assume correct it",
        )
