"""Vision transformers: a state dict with the names of timm's ViT.

`patch_embed.proj` (a convolution of stride = kernel), `pos_embed`, `cls_token` (without one, tokens are
averaged), `blocks.N.{norm1, attn.qkv, attn.proj, norm2, mlp.fc1, mlp.fc2}`, `norm`, `head`. The number of heads is not
in the weights. Reference: Dosovitskiy et al. 2021, arXiv:2010.11929v2, section 3.1.
"""

from __future__ import annotations

import re
from math import isqrt
from typing import TYPE_CHECKING

import torch
from torch import nn

from auditcli.families._activations import activation
from auditcli.families._dossier import Dossier
from auditcli.families._layers import parameters, table
from auditcli.families._template import Built, Mismatch, Rank, Template
from auditcli.types import Family, Format, Profile

if TYPE_CHECKING:
    from torch import Tensor

_HEAD_WIDTH = 64
_EPS = 1e-6
_BLOCK = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")


class Block(nn.Module):
    """Attention and MLP, each behind a layer norm and beside a shortcut."""

    def __init__(self, width: int, hidden: int, heads: int, *, act: str, eps: float, qkv_bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width, bias=qkv_bias), "proj": nn.Linear(width, width)})
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (n, t, d) -> (n, t, d)."""
        x = x + self._attention(self.norm1(x))
        out: Tensor = x + self.mlp["fc2"](self.act(self.mlp["fc1"](self.norm2(x))))
        return out

    def _attention(self, x: Tensor) -> Tensor:
        # Spelled out: the fused kernels have no second derivative, which attacks on gradients need.
        n, tokens, width = x.shape
        qkv = self.attn["qkv"](x).view(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        weights = (query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5).softmax(-1)
        out: Tensor = self.attn["proj"]((weights @ value).transpose(1, 2).reshape(n, tokens, width))
        return out


class Vit(nn.Module):
    """A vision transformer whose parameters have the names of timm's, sized after a state dict."""

    def __init__(self, state: dict[str, Tensor], heads: int, *, act: str, eps: float) -> None:
        super().__init__()
        kernel = state["patch_embed.proj.weight"]
        width, channels, *patch = kernel.shape
        bias = "patch_embed.proj.bias" in state
        patches = nn.Conv2d(channels, width, (patch[0], patch[1]), stride=(patch[0], patch[1]), bias=bias)
        self.patch_embed = nn.ModuleDict({"proj": patches})
        self.pos_embed = nn.Parameter(torch.empty_like(state["pos_embed"]))
        self.cls_token = nn.Parameter(torch.empty_like(state["cls_token"])) if "cls_token" in state else None
        hidden, qkv_bias = len(state["blocks.0.mlp.fc1.weight"]), "blocks.0.attn.qkv.bias" in state
        self.blocks = nn.Sequential(
            *(Block(width, hidden, heads, act=act, eps=eps, qkv_bias=qkv_bias) for _ in range(_depth(state)))
        )
        self.norm = nn.LayerNorm(width, eps=eps)
        self.head = nn.Linear(width, len(state["head.weight"]), bias="head.bias" in state)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (n, c, h, w) -> logits (n, classes)."""
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        x = self.norm(self.blocks(x + self.pos_embed))
        logits: Tensor = self.head(x[:, 0] if self.cls_token is not None else x.mean(1))
        return logits


def _recognise(dossier: Dossier) -> Profile | Mismatch:
    state, mismatch = _state(dossier)
    return mismatch or _profile(dossier, state)


def _state(dossier: Dossier) -> tuple[dict[str, Tensor], Mismatch | None]:
    """The state dict without the prefix of an outer module, and why it is no ViT, if so."""
    anchor = "patch_embed.proj.weight"
    prefix = next((name.removesuffix(anchor) for name in dossier.tensors if name.endswith(anchor)), "")
    state = {name.removeprefix(prefix): tensor for name, tensor in dossier.tensors.items()}
    depth = _depth(state)
    layers = ["patch_embed.proj", "norm", "head", *(f"blocks.{i}.{part}" for i in range(depth) for part in _BLOCK)]
    required = {"pos_embed", *(f"{layer}.weight" for layer in layers)}
    known = required | {"cls_token", *(f"{layer}.bias" for layer in layers)}
    explained = len(known & set(state)) / len(state)
    if missing := sorted(required - set(state)):
        kind = " (a model without its classifier)" if missing == ["head.weight"] else ""
        return state, Mismatch(f"{missing[0]} is missing{kind}", explained if depth else explained / 2)
    if not depth:
        return state, Mismatch("it has no blocks.0", explained / 2)
    if foreign := sorted(set(state) - known):
        return state, Mismatch(f"{foreign[0]} {tuple(state[foreign[0]].shape)} has no place in it", explained)
    if problem := _shape_problem(state):
        return state, Mismatch(problem, explained)
    return state, None


def _shape_problem(state: dict[str, Tensor]) -> str:
    kernel, positions = state["patch_embed.proj.weight"], state["pos_embed"]
    if kernel.ndim != 4 or positions.ndim != 3 or state["blocks.0.mlp.fc1.weight"].ndim != 2:
        return "patch_embed.proj.weight, pos_embed or mlp.fc1.weight has the wrong number of dimensions"
    width, hidden = len(kernel), len(state["blocks.0.mlp.fc1.weight"])
    shapes = {
        "norm1.weight": (width,),
        "norm1.bias": (width,),
        "norm2.weight": (width,),
        "norm2.bias": (width,),
        "attn.qkv.weight": (3 * width, width),
        "attn.qkv.bias": (3 * width,),
        "attn.proj.weight": (width, width),
        "attn.proj.bias": (width,),
        "mlp.fc1.weight": (hidden, width),
        "mlp.fc1.bias": (hidden,),
        "mlp.fc2.weight": (width, hidden),
        "mlp.fc2.bias": (width,),
    }
    optional = {"attn.qkv.bias"} if "blocks.0.attn.qkv.bias" not in state else set()
    wanted: dict[str, tuple[int, ...]] = {
        f"blocks.{index}.{name}": shape
        for index in range(_depth(state))
        for name, shape in shapes.items()
        if name not in optional
    }
    wanted |= {"norm.weight": (width,), "norm.bias": (width,), "pos_embed": (1, positions.shape[1], width)}
    wanted |= {"head.weight": (len(state["head.weight"]), width)}
    if "cls_token" in state:
        wanted["cls_token"] = (1, 1, width)
    for name, shape in wanted.items():
        found = tuple(state[name].shape) if name in state else "missing"
        if found != shape:
            return f"{name} is {found}, {shape} was expected"
    return ""


def _depth(state: dict[str, Tensor]) -> int:
    return len({match[1] for name in state if (match := re.match(r"blocks\.(\d+)\.", name))})


def _heads(dossier: Dossier, width: int) -> int:
    stated: int | None = dossier.stated("heads")
    divisors = ", ".join(str(n) for n in range(1, width + 1) if width % n == 0 and width // n >= 4)
    if stated is not None and width % stated:
        raise dossier.open_question(
            f"{stated} heads do not divide the width {width}", f"--assume heads=N, of {divisors}"
        )
    if stated is None and width % _HEAD_WIDTH:
        raise dossier.open_question(
            f"the number of attention heads is not in the weights (width {width})", f"--assume heads=N, of {divisors}"
        )
    if stated is None:
        heads = width // _HEAD_WIDTH
        dossier.assume(
            "attention heads", str(heads), why=f"{_HEAD_WIDTH} a head is customary", flag="--assume heads=..."
        )
        return heads
    return stated


def _eps(dossier: Dossier) -> float:
    stated = dossier.stated("eps")
    if stated is None:
        dossier.note(f"layer norm eps: {_EPS}, the default")
    return _EPS if stated is None else float(stated)


def _input_shape(dossier: Dossier, state: dict[str, Tensor]) -> tuple[int, int, int]:
    channels, *patch = state["patch_embed.proj.weight"].shape[1:]
    tokens = state["pos_embed"].shape[1] - ("cls_token" in state)
    stated = dossier.input_shape()
    if stated is not None:
        covered = (stated[1] // patch[0]) * (stated[2] // patch[1])
        if stated[0] != channels or covered != tokens or stated[1] % patch[0] or stated[2] % patch[1]:
            raise dossier.open_question(
                f"{'x'.join(map(str, stated))} does not give {tokens} patches of {channels}x{patch[0]}x{patch[1]}",
                "--input-shape C,H,W",
            )
        return stated
    side = isqrt(tokens)
    if side * side != tokens:
        raise dossier.open_question(f"{tokens} patches are no square", "--input-shape C,H,W")
    shape = (channels, side * patch[0], side * patch[1])
    dossier.note(f"input shape: {tokens} patches of {channels}x{patch[0]}x{patch[1]}, in a square")
    return shape


def _profile(dossier: Dossier, state: dict[str, Tensor]) -> Profile:
    shape = _input_shape(dossier, state)
    width, outputs, depth = len(state["patch_embed.proj.weight"]), len(state["head.weight"]), _depth(state)
    heads = _heads(dossier, width)
    name = dossier.activation("gelu")
    _eps(dossier)
    classes = dossier.classes(outputs)
    patch = "x".join(map(str, state["patch_embed.proj.weight"].shape[2:]))
    return Profile(
        family=Family.VIT,
        architecture=f"{depth} blocks of width {width}, {heads} heads, patches {patch}, {name}",
        input_shape=shape,
        classes=classes,
        outputs=outputs,
        parameters=parameters(dossier.tensors),
        normalisation=dossier.normalisation(shape[0]),
        traits=frozenset(),
        layers=table(dossier.tensors),
        identified_by=dossier.identified_by,
        evidence=(f"the names and shapes of a ViT with {depth} blocks", *dossier.evidence),
        assumptions=tuple(dossier.assumptions),
        labels=dossier.labels(classes),
    )


def _build(dossier: Dossier, _: Profile) -> Built:
    state, _mismatch = _state(dossier)
    heads = _heads(dossier, len(state["patch_embed.proj.weight"]))
    with torch.device("meta"):
        vit = Vit(
            {name: tensor.to("meta") for name, tensor in state.items()},
            heads,
            act=dossier.activation("gelu"),
            eps=_eps(dossier),
        )
    vit.load_state_dict({name: tensor.clone() for name, tensor in state.items()}, assign=True)
    return Built(vit)


VIT = Template("vit", Rank.SHAPED, frozenset({Format.SAFETENSORS}), _recognise, _build, Family.VIT)
