"""Binarised networks: linear layers of binary weights, the sign as activation, batch norm between them or not.

Weights of plus or minus one number, a layer's or each row's own, are recognised as they are. Latent weights, whose
signs are meant, look like those of any network, and are taken so only where the file or the user says "bnn".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from auditcli.families._binary import integers
from auditcli.families._dense import Norm
from auditcli.families._dossier import ACTIVATIONS, USUAL_NORMALISATIONS, Dossier
from auditcli.families._layers import Group, groups, parameters, table
from auditcli.families._options import NORMALISATION
from auditcli.families._row import Row, Stage, row
from auditcli.families._signed import SignedLayer, is_flat, network, reads_pixels
from auditcli.families._state import norm_eps, norm_place, recorded
from auditcli.families._template import Built, Mismatch, Rank, Template
from auditcli.types import Family, Format, Normalisation, Profile, Trait

if TYPE_CHECKING:
    from torch import Tensor

_KINDS = frozenset({"linear", "batch norm"})


@dataclass(frozen=True, slots=True)
class _Chain:
    layers: tuple[SignedLayer, ...]
    reads_signs: bool


def _recognise(dossier: Dossier) -> Profile | Mismatch:
    found = _chain(dossier)
    return found if isinstance(found, Mismatch) else _profile(dossier, found)


def _chain(dossier: Dossier) -> _Chain | Mismatch:
    layers = groups(_floats(dossier))
    foreign = next((layer for layer in layers if layer.kind not in _KINDS), None)
    if foreign is not None:
        return Mismatch(f"{foreign.name or 'a tensor without a layer'} is no linear layer and no batch norm", 0.0)
    linears = [layer for layer in layers if layer.kind == "linear"]
    if len(linears) < 2:
        return Mismatch("it has fewer than two linear layers", 0.0)
    latent = next((layer for layer in linears if not is_flat(layer.weight)), None)
    if latent is not None and not _meant(dossier):
        return Mismatch(
            f"the weights of {latent.name} are not plus or minus one number a row",
            0.0,
            hint="--assume template=bnn takes latent weights by their signs",
        )
    if len({float(sign) for layer in linears for sign in layer.weight.sign().unique()} - {0.0}) < 2:
        return Mismatch("all its weights have one sign", 0.0)
    why = "weights do not show the activation; they are as binary as those of networks of signs"
    others = tuple(name for name in ACTIVATIONS if name != "identity")
    name = dossier.settle("activation", "sign", "activation", why=why, alternatives=others)
    if name != "sign":
        return Mismatch(f"its activation is {name[:40]}, not sign", 0.0)
    found = row(dossier, layers)
    return found if isinstance(found, Mismatch) else _in_signs(dossier, found, latent)


def _in_signs(dossier: Dossier, found: Row, latent: Group | None) -> _Chain | Mismatch:
    places = norm_place(dossier, found.stages)
    if (silent := next((stage for stage in found.stages[:-1] if not stage.active), None)) is not None:
        return Mismatch(f"no sign can follow {silent.layer.name}", 0.0)
    if found.first is not None or any(places.get(stage.layer.name) == "after" for stage in found.stages[:-1]):
        return Mismatch("a batch norm in front of a layer, so that it does not read signs", 0.0)
    if latent is None:
        dossier.note("the weights of every layer are plus or minus one number, the layer's or each row's own")
    else:
        dossier.note(f"latent weights, taken by their signs, without a scale, as {_meant(dossier)}")
    why = "weights do not show whether pixels are binarised too"
    reads = dossier.settle("inputs", "signs", "inputs", why=why, alternatives=("values",))
    eps = norm_eps(dossier) if any(stage.norm for stage in found.stages) else 0.0
    return _Chain(tuple(_layer(stage, eps, latent=latent is not None) for stage in found.stages), reads == "signs")


def _layer(stage: Stage, eps: float, *, latent: bool) -> SignedLayer:
    weight, norm = stage.layer.weight, recorded(stage.norm, eps)
    signs = torch.where(weight >= 0, 1.0, -1.0) if latent else weight
    return SignedLayer.of(signs, stage.layer.bias, norm if isinstance(norm, Norm) else None)


def _profile(dossier: Dossier, chain: _Chain) -> Profile:
    widths = (chain.layers[0].signs.shape[1], *(len(layer.signs) for layer in chain.layers))
    shape = dossier.flat_input_shape(widths[0])
    classes = dossier.classes(widths[-1])
    written = "-".join(map(str, widths))
    return Profile(
        family=Family.BNN,
        architecture=f"{written}, sign",
        input_shape=shape,
        classes=classes,
        outputs=widths[-1],
        parameters=parameters(dossier.tensors),
        normalisation=_normalisation(dossier, shape[0]) if chain.reads_signs else dossier.normalisation(shape[0]),
        traits=frozenset({Trait.BINARISED}) if chain.reads_signs else frozenset(),
        layers=table(_floats(dossier)),
        identified_by="numbers of the weights" if not dossier.described else dossier.identified_by,
        evidence=(f"{len(chain.layers)} linear layers whose widths chain: {written}", *dossier.evidence),
        assumptions=tuple(dossier.assumptions),
        labels=dossier.labels(classes),
    )


def _normalisation(dossier: Dossier, channels: int) -> Normalisation:
    """Mean and deviation of the input; a pixel is 1 where it is at least the mean, else -1."""
    stated, chosen = dossier.stated_normalisation(channels), dossier.options.chosen.get(NORMALISATION)
    if stated is None and (chosen is None or chosen.value == _HALF):
        why = "pixels are read by their signs; half is the customary threshold" if chosen is None else chosen.why
        others = [one for one in USUAL_NORMALISATIONS.get(channels, ()) if one != _HALF and not one.startswith("0/")]
        dossier.assume("normalisation", _HALF, why=why, flag="--mean/--std", alternatives=others)
        return Normalisation((0.5,), (0.5,))
    found = stated or dossier.normalisation(channels)
    if not reads_pixels(found):
        raise dossier.open_question(
            f"a pixel is read by its sign, and with a mean of {found.mean[0]:g} the sign of every pixel is the same",
            "--mean 0.5 --std 0.5 reads pixels from half of their range as 1",
        )
    return found


_HALF = "0.5/0.5"


def _meant(dossier: Dossier) -> str:
    """Who says that the signs of the weights are meant, empty where nobody does."""
    if dossier.options.assumed("template") == "bnn":
        return "--assume template=bnn says"
    says = dossier.described and "bnn" in (dossier.checkpoint.description.get(key) for key in ("family", "template"))
    return f"{dossier.checkpoint.described_by} says bnn" if says else ""


def _floats(dossier: Dossier) -> dict[str, Tensor]:
    """The tensors, matrices of whole numbers as floats: weights of -1 and 1 are often stored in bytes."""
    return {
        name: tensor.float() if tensor.ndim == 2 and tensor.dtype in {torch.int8, torch.int32, torch.int64} else tensor
        for name, tensor in dossier.tensors.items()
    }


def _build(dossier: Dossier, _: Profile) -> Built:
    chain = _chain(dossier)
    if not isinstance(chain, _Chain):
        raise TypeError("build was called with a profile that is not of this checkpoint")
    net = network(chain.layers, reads_signs=chain.reads_signs)
    return Built(net, binarised=integers(net))


BNN = Template("bnn", Rank.VALUED, frozenset({Format.SAFETENSORS}), _recognise, _build, Family.BNN)
