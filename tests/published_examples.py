"""Networks with weights as training leaves them, and the comparison of what is rebuilt from them with the original."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from auditcli.families import Options, build, identify
from auditcli.loading import load
from auditcli.types import Profile


def randomised(net: nn.Module, seed: int = 0) -> nn.Module:
    """The network in eval mode, with all weights and running statistics drawn: an untrained one hides errors."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5, generator=rng)
            elif tensor.is_floating_point() and tensor.ndim > 1:
                tensor.normal_(0, 1.4 * max(1, tensor[0].numel()) ** -0.5, generator=rng)
            elif tensor.is_floating_point():
                tensor.normal_(float(name.endswith("weight")), 0.2, generator=rng)
    for module in net.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    return net.eval()


def saved(net: nn.Module, folder: Path, edit: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict) -> Path:
    """The bare state dict of a network, changed by `edit`, as a safetensors file."""
    path = folder / "model.safetensors"
    save_file({name: tensor.clone().contiguous() for name, tensor in edit(dict(net.state_dict())).items()}, path)
    return path


@dataclass(frozen=True)
class Rebuilt:
    """What was made of a file, and how it differs from the network it was saved from."""

    profile: Profile
    logits: float
    """Largest absolute difference."""
    gradient: float
    """Norm of the difference, relative."""
    twice: bool
    """Whether second derivatives are finite, and not all zero."""

    @property
    def right(self) -> bool:
        return self.logits <= 1e-4 and self.gradient <= 1e-3 and self.twice

    def assumed(self, flag: str) -> str:
        """The value assumed for a flag."""
        return next(one.value for one in self.profile.assumptions if one.flag.startswith(flag))


def rebuilt(
    original: nn.Module, path: Path, *, side: int, assume: Mapping[str, str] | None = None, channels: int = 3
) -> Rebuilt:
    """Identify and build the file, and compare it with the original on two images."""
    options = Options(input_shape=(channels, side, side), mean=(0.4,), std=(0.3,), assume=assume or {})
    checkpoint = load(path)
    profile = identify(checkpoint, options)
    target = build(checkpoint, profile, options)
    images = torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(1), requires_grad=True)
    ours, theirs = target(images), original((images - 0.4) / 0.3)
    size = theirs.detach().norm()  # In deep networks with such weights the squares of squares overflow without it.
    (gradient,) = torch.autograd.grad((ours / size).square().sum(), images, create_graph=True)
    (wanted,) = torch.autograd.grad((theirs / size).square().sum(), images)
    (second,) = torch.autograd.grad((gradient / gradient.detach().norm()).square().sum(), images)
    return Rebuilt(
        profile=target.profile,
        logits=float((ours - theirs).detach().abs().max()),
        gradient=float((gradient - wanted).detach().norm() / wanted.norm()),
        twice=bool(second.isfinite().all()) and bool(second.any()),
    )
