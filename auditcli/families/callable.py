"""Networks that code of the user builds (`--arch module:callable`), with the weights of the file loaded strictly."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from auditcli.errors import LoadError, OpenQuestion
from auditcli.families._chain import TOLERANCE, dense_chain, difference, probes
from auditcli.families._code import Network, blamed, network, shown
from auditcli.families._dense import DenseChain
from auditcli.families._dossier import Dossier
from auditcli.families._layers import table
from auditcli.families._smooth import TwiceDifferentiable
from auditcli.families._template import Built, Rank, Template
from auditcli.families._trace import Trace, noise, trace
from auditcli.families._traits import family_of, summary
from auditcli.types import Family, Format, Profile, Trait

_SHAPES = ((1, 28, 28), (3, 32, 32), (3, 224, 224), (1, 32, 32), (3, 64, 64), (3, 28, 28), (3, 96, 96), (1, 64, 64))
"""Customary images, tried where nobody says what the network takes."""
_SAME = 1e-4
"""Largest difference, relative to the largest output (at least 1), that rounding explains."""


class Logits(nn.Module):
    """A network of the user that returns its logits alone, from probabilities too."""

    def __init__(self, net: nn.Module, *, probabilities: bool = False) -> None:
        super().__init__()
        self.net = net
        self.probabilities = probabilities

    def forward(self, x: Tensor) -> Tensor:
        """Logits, or log-probabilities, (n, outputs) of normalised images (n, c, h, w)."""
        # The fast kernels of attention have no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            out = self.net(x)
        out = getattr(out, "logits", out)
        if not isinstance(out, Tensor):
            raise TypeError(f"it returned {type(out).__name__}; a tensor of logits was expected")
        return out.clamp_min(torch.finfo(out.dtype).tiny).log() if self.probabilities else out


def _recognise(dossier: Dossier) -> Profile:
    arch = dossier.options.arch
    loaded = _network(dossier, seed=0)
    shape = _input_shape(dossier, Logits(loaded.net))
    probabilities = _returns_probabilities(Logits(loaded.net), shape)
    net = _module(loaded, probabilities=probabilities)
    with blamed(arch, f"on images of {'x'.join(map(str, shape))}", "--input-shape C,H,W"):
        _require_reproducible(dossier, net, shape, probabilities=probabilities)
        _require_derivatives(arch, net, shape)
        seen = trace(net, noise(shape))
        chain = _chain(net, seen, shape)
    if loaded.stripped:
        dossier.note(f"{loaded.stripped!r} was cut off the names of the tensors")
    if probabilities:
        dossier.note("it returns probabilities: their logarithms are taken")
    outputs = seen.output.shape[1]
    classes = dossier.classes(outputs)
    return Profile(
        family=family_of(seen)[0],
        architecture=f"{shown(arch)}, {summary(seen)}",
        input_shape=shape,
        classes=classes,
        outputs=outputs,
        parameters=sum(parameter.numel() for parameter in loaded.net.parameters()),
        normalisation=dossier.normalisation(shape[0]),
        traits=(chain.traits if chain else frozenset()) | ({Trait.SOFTMAX_OUTPUT} if probabilities else set()),
        layers=table(dossier.tensors),
        identified_by=f"--arch {shown(arch)}: code of the user, weights loaded strictly",
        evidence=(f"every parameter and buffer of {shown(arch)} comes from the file", *dossier.evidence),
        assumptions=tuple(dossier.assumptions),
        labels=dossier.labels(classes),
    )


def _build(dossier: Dossier, profile: Profile) -> Built:
    net = _module(_network(dossier, seed=0), probabilities=Trait.SOFTMAX_OUTPUT in profile.traits)
    if Trait.DENSE not in profile.traits:
        return Built(net)
    chain = _chain(net, trace(net, noise(profile.input_shape)), profile.input_shape)
    if chain is None:
        raise TypeError("build was called with a profile that is not of this checkpoint")
    return Built(net, chain.stack())


def _network(dossier: Dossier, seed: int) -> Network:
    options = dossier.options
    return network(options.arch, options.arch_arguments, dossier.tensors, dossier.checkpoint.name, seed)


def _module(loaded: Network, *, probabilities: bool) -> nn.Module:
    return TwiceDifferentiable(Logits(loaded.net, probabilities=probabilities)).eval().requires_grad_(False)


def _input_shape(dossier: Dossier, net: Logits) -> tuple[int, int, int]:
    """As stated, else the only customary size that the network runs on, listed as an assumption.

    Raises:
        OpenQuestion: it runs on several, or on none.
    """
    arch = shown(dossier.options.arch)
    stated = dossier.input_shape()
    if stated is not None:
        with blamed(dossier.options.arch, f"on images of {_written(stated)}", "--input-shape C,H,W"):
            if not _takes(net, stated):
                raise LoadError(
                    f"--arch {arch} does not return (n, classes) for images of {_written(stated)}",
                    hint="name the classifier itself, whose output is the logits",
                )
        return stated
    runs = [shape for shape in _SHAPES if _runs(net, shape)]
    if len(runs) != 1:
        which = ", ".join(map(_written, runs)) if runs else f"none of {', '.join(map(_written, _SHAPES))}"
        raise OpenQuestion(
            f"{dossier.checkpoint.name}: the size of its input is open: --arch {arch} runs on {which}",
            hint=f"--input-shape {','.join(map(str, runs[0] if runs else (3, 32, 32)))}, or what it was trained on",
        )
    why = f"of {len(_SHAPES)} customary sizes, the only one that {arch} runs on"
    dossier.assume("input shape", _written(runs[0]), why=why, flag="--input-shape C,H,W")
    return runs[0]


def _runs(net: Logits, shape: tuple[int, int, int]) -> bool:
    try:
        return _takes(net, shape)
    except Exception:  # A size that does not fit makes the user's code raise anything.
        return False


def _takes(net: Logits, shape: tuple[int, int, int]) -> bool:
    with torch.no_grad():
        out = net(noise(shape).expand(2, -1, -1, -1))
    return out.ndim == 2 and len(out) == 2 and out.is_floating_point()


def _returns_probabilities(net: Logits, shape: tuple[int, int, int]) -> bool:
    with torch.no_grad():
        out = net(probes(shape, 0))
    within = bool((out >= 0).all()) and bool((out <= 1).all())
    return within and out.shape[1] > 1 and bool((out.sum(1) - 1).abs().max() < _SAME)


def _require_reproducible(
    dossier: Dossier, net: nn.Module, shape: tuple[int, int, int], *, probabilities: bool
) -> None:
    """The same again, for one image alone, and from a network that began with other random numbers."""
    arch, images = shown(dossier.options.arch), probes(shape, 0)[:4]
    other = _module(_network(dossier, seed=1), probabilities=probabilities)
    with torch.no_grad():
        first, again, anew = net(images), net(images), other(images)
        singly = torch.cat([net(image[None]) for image in images])
    why = (
        (again, "gives other logits for the same images each time: it draws random numbers in evaluation"),
        (singly, "gives an image other logits in a batch than alone: it mixes images in evaluation"),
        (anew, "computes with numbers that are not in the file: they change with the seed"),
    )
    for logits, what in why:
        # Not-a-number differs from everything, and is for the caller to refuse.
        if (logits - first).abs().max() > _SAME * first.abs().max().clamp_min(1):
            raise LoadError(
                f"--arch {arch} {what}",
                hint="register every trained tensor as parameter or buffer, and use nn.Dropout and nn.BatchNorm2d",
            )


def _require_derivatives(arch: str, net: nn.Module, shape: tuple[int, int, int]) -> None:
    """First and second derivatives with respect to the pixels."""
    hint = "compute in torch alone, without .detach(), .numpy() and torch.no_grad(), and without fused operations"
    pixels = noise(shape).requires_grad_()
    logits = net(pixels)
    if not logits.requires_grad:
        raise LoadError(f"--arch {shown(arch)}: no gradient reaches the pixels", hint=hint)
    try:
        (gradient,) = torch.autograd.grad(logits.square().sum(), pixels, create_graph=True)
        if gradient.requires_grad:
            torch.autograd.grad(gradient.square().sum(), pixels, allow_unused=True)
    except (RuntimeError, NotImplementedError) as error:
        what = " ".join(str(error).split())[:160]
        raise LoadError(f"--arch {shown(arch)} has no second derivative: {what}", hint=hint) from error


def _chain(net: nn.Module, seen: Trace, shape: tuple[int, int, int]) -> DenseChain | None:
    """The chain of linear layers that the network is, once both return the same."""
    if family_of(seen)[0] is not Family.MLP:
        return None
    images = probes(shape, 0)
    chain = dense_chain(trace(net, images), images.flatten(1))
    return chain if chain is not None and difference(chain, net, probes(shape, 1)) <= TOLERANCE else None


def _written(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))


CALLABLE = Template("callable", Rank.STATED, frozenset({Format.SAFETENSORS, Format.HUGGINGFACE}), _recognise, _build)
