"""Vision transformers: patches, blocks of attention and MLP, and a head, under whatever names.

Names of timm, of `nn.TransformerEncoder`, and those that people choose (`_tokens`). The number of heads is not in the
weights, nor are the place of the norms and what the head reads of the tokens; what is customary under these names is
assumed and listed, else asked for. Reference: Dosovitskiy et al. 2021, arXiv:2010.11929v2, section 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import isqrt
from typing import Any

import torch

from auditcli.families._dossier import Dossier
from auditcli.families._layers import parameters, table
from auditcli.families._row import ARCH
from auditcli.families._state import norm_eps
from auditcli.families._template import Built, Mismatch, Rank, Template
from auditcli.families._tokens import Tokens, read
from auditcli.families._transformer import Style, TokenNet, sinusoids
from auditcli.types import Family, Format, Profile

_HEAD_WIDTH = 64
_PUBLISHED = frozenset({192, 384, 768, 1024, 1280})
"""Widths of published vision transformers, all with heads of 64 or 80 features."""
_SIDES = {1: 28, 3: 32}
_PLACES = ("before", "after")
_WORDS = {"heads": "attention heads", "block_norm": "place of layer norms", "positions": "positions"}


def _recognise(dossier: Dossier) -> Profile | Mismatch:
    tokens = read(dossier.tensors)
    if isinstance(tokens, Mismatch):
        return tokens
    if _patch(tokens, dossier) is None:
        return Mismatch("its linear patch embedding reads no square patch", 0.9)
    return _profile(dossier, tokens)


def _style(dossier: Dossier, tokens: Tokens, shape: tuple[int, int, int]) -> Style:
    """What the weights do not show, as stated, chosen or customary.

    Raises:
        OpenQuestion: something that no custom settles; the candidates are all combinations.
    """
    heads, norm_first, sinusoidal = _settled(dossier, tokens)
    cls = "cls" in tokens.state
    read_by_head, width = tokens.state["head.weight"].shape[1], tokens.width
    if read_by_head != width:
        count = _covered(tokens, dossier, shape) + cls
        if read_by_head != count * width:
            raise dossier.open_question(
                f"the head reads {read_by_head} values, a token has {width}", "--input-shape C,H,W, or export to ONNX"
            )
        final = "flatten"
    else:
        why = "customary with a class token" if cls else "there is no class token"
        alternatives = ("cls", "average") if cls else ()
        final = dossier.settle("final", "cls" if cls else "average", "final", why=why, alternatives=alternatives)
    last = False
    if tokens.state["patch.weight"].ndim == 2 and shape[0] > 1:
        why = "as torch's unfold cuts patches; weights do not show it"
        orders = ("channels-first", "channels-last")
        last = dossier.settle("patch_order", orders[0], "patch order", why=why, alternatives=orders) == orders[1]
    return Style(
        heads=heads,
        activation=_activation(dossier, tokens),
        eps=norm_eps(dossier, "1e-06" if tokens.dialect == "timm" or dossier.described else "1e-05"),
        norm_first=norm_first,
        final=final,
        sinusoidal=sinusoidal,
        channels_last=last,
        patch=_patch(tokens, dossier) or (1, 1),
    )


def _activation(dossier: Dossier, tokens: Tokens) -> str:
    return dossier.activation("relu" if tokens.dialect == "torch" else "gelu")


def _settled(dossier: Dossier, tokens: Tokens) -> tuple[int, bool, bool]:
    """Number of heads, whether norms stand before attention, and whether positions are sines.

    Raises:
        OpenQuestion: what is not stated and has no custom under these names; the candidates are all combinations.
    """
    width, published = tokens.width, tokens.dialect == "timm"
    divisors = tuple(str(n) for n in range(1, width + 1) if width % n == 0 and width // n >= 4)
    customary = width % _HEAD_WIDTH == 0 and (published or width in _PUBLISHED)
    customs = {
        "heads": (str(width // _HEAD_WIDTH) if customary else "", f"{_HEAD_WIDTH} a head is customary", divisors),
        "block_norm": ("" if tokens.dialect == "torch" else "before", "customary in vision transformers", _PLACES),
        "positions": ("none" if "pos" in tokens.state else "", "", ("sinusoidal", "none")),
    }
    settled: dict[str, Any] = {key: dossier.stated(key) for key in customs}
    for key, (default, why, values) in customs.items():
        implied = (key == "block_norm" and (published or dossier.described)) or (key == "positions" and default)
        if settled[key] is None and implied and key not in dossier.options.chosen:
            settled[key] = default or "before"
        elif settled[key] is None and (default or key in dossier.options.chosen):
            settled[key] = dossier.choose(key, default, _WORDS[key], why=why, alternatives=values)
    if width % (settled["heads"] or 1):
        raise dossier.open_question(
            f"{settled['heads']} heads do not divide the width {width}", f"--assume heads=N, of {', '.join(divisors)}"
        )
    if open_ := {key: values for key, (_, _, values) in customs.items() if settled[key] is None}:
        raise _open(dossier, tokens, open_)
    return settled["heads"], settled["block_norm"] == "before", settled["positions"] == "sinusoidal"


def _open(dossier: Dossier, tokens: Tokens, open_: Mapping[str, tuple[str, ...]]) -> Exception:
    words = {
        "heads": f"the number of attention heads is not in the weights (width {tokens.width})",
        "block_norm": "weights do not show whether layer norm stands before or after attention",
        "positions": "no positions are in the weights",
    }
    hints = {key: f"{key}={'|'.join(values)}" for key, values in open_.items()}
    if "heads" in hints:
        hints["heads"] = f"heads=N, of {', '.join(open_['heads'])}"
    hint = " ".join(f"--assume {written}" for written in reversed(hints.values()))
    candidates = [dict(zip(open_, values, strict=True)) for values in product(*open_.values())]
    return dossier.open_question("; ".join(words[key] for key in open_), hint, candidates)


def _patch(tokens: Tokens, dossier: Dossier) -> tuple[int, int] | None:
    """Height and width of a patch; None where a linear layer reads no square one."""
    weight = tokens.state["patch.weight"]
    if weight.ndim == 4:
        return (weight.shape[2], weight.shape[3])
    stated = dossier.options.input_shape
    for channels in (stated[0],) if stated else (1, 3):
        side = isqrt(weight.shape[1] // channels)
        if channels * side * side == weight.shape[1]:
            return (side, side)
    return None


def _channels(tokens: Tokens, patch: tuple[int, int]) -> int:
    weight = tokens.state["patch.weight"]
    return int(weight.shape[1]) if weight.ndim == 4 else int(weight.shape[1]) // (patch[0] * patch[1])


def _covered(tokens: Tokens, dossier: Dossier, shape: tuple[int, int, int]) -> int:
    patch = _patch(tokens, dossier) or (1, 1)
    return (shape[1] // patch[0]) * (shape[2] // patch[1])


def _input_shape(dossier: Dossier, tokens: Tokens) -> tuple[int, int, int]:
    patch = _patch(tokens, dossier) or (1, 1)
    channels = _channels(tokens, patch)
    cls = "cls" in tokens.state
    # Positions are of the patches, with the class token or without; a table of sines can be longer than needed.
    held = tokens.state["pos"].shape[1] if "pos" in tokens.state else 0
    fixed = held > 0 and torch.allclose(tokens.state["pos"], sinusoids(held, tokens.width), atol=1e-4)
    if fixed:
        dossier.note("positions: the table of sines and cosines")
    counts = [count for count in (held - cls, held) if count > 0]
    square = next((isqrt(count) for count in counts if isqrt(count) ** 2 == count), None)
    stated = dossier.input_shape()
    if stated is not None:
        covered = _covered(tokens, dossier, stated)
        fits = not counts or covered in counts or (fixed and covered + cls <= held)
        if stated[0] != channels or not fits or stated[1] % patch[0] or stated[2] % patch[1]:
            raise dossier.open_question(
                f"{'x'.join(map(str, stated))} does not give {counts[0] if counts else 'whole'} patches of "
                f"{channels}x{patch[0]}x{patch[1]}",
                "--input-shape C,H,W",
            )
        return stated
    if square is not None and not (fixed and held > 1000):
        shape = (channels, square * patch[0], square * patch[1])
        dossier.note(f"input shape: {square * square} patches of {channels}x{patch[0]}x{patch[1]}, in a square")
        return shape
    side = _SIDES.get(channels, 0)
    if counts and not (fixed and side and (side // patch[0]) * (side // patch[1]) + cls <= held):
        raise dossier.open_question(f"{counts[0]} patches are no square", "--input-shape C,H,W")
    if not side or side % patch[0] or side % patch[1]:
        raise dossier.open_question("the size of its input is not in the weights", "--input-shape C,H,W")
    why = f"customary for {channels} channels"
    dossier.assume("input shape", f"{channels}x{side}x{side}", why=why, flag="--input-shape C,H,W")
    return (channels, side, side)


def _profile(dossier: Dossier, tokens: Tokens) -> Profile:
    shape = _input_shape(dossier, tokens)
    style = _style(dossier, tokens, shape)
    if tokens.dialect != "timm" and not dossier.described:
        why = "blocks of attention and MLP by their shapes; a state dict holds no graph"
        dossier.assume("graph", "a vision transformer", why=why, flag=ARCH)
    classes = dossier.classes(tokens.outputs)
    names = {"timm": "of timm", "torch": "of nn.TransformerEncoder", "": "of its author"}[tokens.dialect]
    return Profile(
        family=Family.VIT,
        architecture=f"{tokens.depth} blocks of width {tokens.width}, {style.heads} heads, patches "
        f"{'x'.join(map(str, style.patch))}, {style.activation}",
        input_shape=shape,
        classes=classes,
        outputs=tokens.outputs,
        parameters=parameters(dossier.tensors),
        normalisation=dossier.normalisation(shape[0]),
        traits=frozenset(),
        layers=table(dossier.tensors),
        identified_by=dossier.identified_by,
        evidence=(f"the shapes of a vision transformer with {tokens.depth} blocks, names {names}", *dossier.evidence),
        assumptions=tuple(dossier.assumptions),
        labels=dossier.labels(classes),
    )


def _build(dossier: Dossier, profile: Profile) -> Built:
    tokens = read(dossier.tensors)
    if isinstance(tokens, Mismatch):
        raise TypeError("build was called with a profile that is not of this checkpoint")
    style = _style(dossier, tokens, profile.input_shape)
    with torch.device("meta"):
        net = TokenNet({name: tensor.to("meta") for name, tensor in tokens.state.items()}, tokens.depth, style)
    net.load_state_dict(tokens.state, strict=True, assign=True)
    return Built(net)


VIT = Template("vit", Rank.SHAPED, frozenset({Format.SAFETENSORS, Format.HUGGINGFACE}), _recognise, _build, Family.VIT)
