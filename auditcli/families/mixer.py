"""MLP-Mixer under the names of timm and of common hand-written code.

`stem.proj` (a convolution of stride = kernel), `blocks.N.{norm1, mlp_tokens.{fc1, fc2}, norm2, mlp_channels.{fc1,
fc2}}`, `norm`, `head`; tokens are averaged before the head. Reference: Tolstikhin et al. 2021, arXiv:2105.01601v4,
section 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from math import isqrt
from typing import TYPE_CHECKING

from torch import nn

from auditcli.families._activations import activation
from auditcli.families._published import Architecture, Misfit, Plan, Weights, published
from auditcli.families._state import norm_eps
from auditcli.types import Family

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.families._dossier import Dossier

_EPS = 1e-6
_PATCHES = ("patch_embed", "patch_embedding", "patch_emb", "to_patch", "to_patch_embedding")
_PATCH_ENDS = (".proj", ".conv", ".projection", "")
_TOKENS = r"mlp_tokens?|tokens?_mix(?:ing|er)?(?:_mlp)?|tokens?_mlp|mlp_token_mixing"
_CHANNELS = r"mlp_channels?|channels?_mix(?:ing|er)?(?:_mlp)?|channels?_mlp|mlp_channel_mixing"
_INNER = r"(?:net\.|mlp\.|layers\.)?"
_FIRST, _SECOND = rf"fc1|linear1|lin1|dense1|{_INNER}0", rf"fc2|linear2|lin2|dense2|{_INNER}[23]"
_ANCHORS = ("stem.proj.weight", *(f"{name}{end}.weight" for name, end in product(_PATCHES, _PATCH_ENDS)))


@dataclass(frozen=True, slots=True, kw_only=True)
class MixerPlan(Plan):
    """Sizes of a mixer."""

    patch: int
    tokens: int
    width: int
    depth: int
    token_hidden: int
    channel_hidden: int
    pool: str = "avg"
    act: str = "gelu"
    eps: float = _EPS


class Block(nn.Module):
    """A network over tokens, then one over channels, each behind a layer norm and beside a shortcut."""

    def __init__(self, plan: MixerPlan) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(plan.width, eps=plan.eps)
        self.mlp_tokens = _mlp(plan.tokens, plan.token_hidden)
        self.norm2 = nn.LayerNorm(plan.width, eps=plan.eps)
        self.mlp_channels = _mlp(plan.width, plan.channel_hidden)
        self.act = activation(plan.act)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (n, t, d) -> (n, t, d)."""
        x = x + self._through(self.mlp_tokens, self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self._through(self.mlp_channels, self.norm2(x))

    def _through(self, mlp: nn.ModuleDict, x: Tensor) -> Tensor:
        out: Tensor = mlp["fc2"](self.act(mlp["fc1"](x)))
        return out


class Mixer(nn.Module):
    """A mixer; its parameters have timm's names."""

    def __init__(self, plan: MixerPlan) -> None:
        super().__init__()
        patches = nn.Conv2d(plan.channels, plan.width, plan.patch, stride=plan.patch)
        self.stem = nn.ModuleDict({"proj": patches})
        self.blocks = nn.Sequential(*(Block(plan) for _ in range(plan.depth)))
        self.norm = nn.LayerNorm(plan.width, eps=plan.eps)
        self.head = plan.head.module(plan.width, plan.act)
        self.maximum = plan.pool == "max"

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (n, c, h, w) -> logits (n, outputs)."""
        x = self.norm(self.blocks(self.stem["proj"](x).flatten(2).transpose(1, 2)))
        logits: Tensor = self.head(x.amax(1) if self.maximum else x.mean(1))
        return logits


def _mlp(width: int, hidden: int) -> nn.ModuleDict:
    return nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})


def _plan(weights: Weights) -> MixerPlan:
    width, channels, patch, _ = weights.shape("stem.proj.weight", 4)
    token_hidden, tokens = weights.shape("blocks.0.mlp_tokens.fc1.weight", 2)
    side = isqrt(tokens)
    if side * side != tokens:
        raise Misfit(f"{tokens} tokens are no square of patches")
    return MixerPlan(
        head=weights.head("head"),
        channels=channels,
        side=side * patch,
        side_shown_by=f"{tokens} tokens of {channels}x{patch}x{patch}, in a square",
        patch=patch,
        tokens=tokens,
        width=width,
        depth=weights.count("blocks."),
        token_hidden=token_hidden,
        channel_hidden=weights.shape("blocks.0.mlp_channels.fc1.weight", 2)[0],
    )


def _settle(dossier: Dossier, plan: MixerPlan) -> MixerPlan:
    what, why = "pooling of tokens before the classifier", "as published; the weights do not show it"
    pool = dossier.settle("global_pool", plan.pool, what, why=why, alternatives=("max",))
    return replace(plan, pool=pool, act=dossier.activation(plan.act), eps=norm_eps(dossier, str(_EPS)))


def _describe(plan: MixerPlan) -> str:
    mlps = f"tokens {plan.tokens}-{plan.token_hidden}, channels {plan.width}-{plan.channel_hidden}"
    return f"{plan.depth} mixer blocks, {mlps}, patches {plan.patch}x{plan.patch}, {plan.act}"


MIXER = published(
    Architecture(
        name="mixer",
        family=Family.MIXER,
        anchors=_ANCHORS,
        classifier="head",
        plan=_plan,
        network=Mixer,
        settle=_settle,
        describe=_describe,
        renames=(
            (rf"^(?:{'|'.join(_PATCHES)})(?:\.proj|\.conv|\.projection)?\.(?=weight$|bias$)", "stem.proj."),
            (r"^(?:mixer_blocks|mixer_layers|mixers|layers)\.", "blocks."),
            (rf"^(blocks\.\d+)\.(?:{_TOKENS})\.(?:{_FIRST})\.", r"\1.mlp_tokens.fc1."),
            (rf"^(blocks\.\d+)\.(?:{_TOKENS})\.(?:{_SECOND})\.", r"\1.mlp_tokens.fc2."),
            (rf"^(blocks\.\d+)\.(?:{_CHANNELS})\.(?:{_FIRST})\.", r"\1.mlp_channels.fc1."),
            (rf"^(blocks\.\d+)\.(?:{_CHANNELS})\.(?:{_SECOND})\.", r"\1.mlp_channels.fc2."),
            (r"^(blocks\.\d+)\.(?:ln_?1|layer_?norm_?1|norm_?1|ln_tokens?|norm_tokens?)\.", r"\1.norm1."),
            (r"^(blocks\.\d+)\.(?:ln_?2|layer_?norm_?2|norm_?2|ln_channels?|norm_channels?)\.", r"\1.norm2."),
            (r"^(?:ln|layer_?norm|norm_?f)\.", "norm."),
            (r"^(?:fc|classifier|mlp_head)\.", "head."),
        ),
    )
)
