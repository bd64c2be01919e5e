"""An out-of-distribution score by a garbage class. Public names: `Detector`, `garbage`, `train`.

A copy of the target gets one class more, for images of no class. It is trained to keep its answers on images of the
kind and to call garbage noise and images that were inverted out of the target. The score of an image is the log-odds of
garbage.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from auditcli.errors import AttackError
from auditcli.generator.reading import read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from auditcli.types import Target

STEPS = 150
FEWEST_STEPS = 30
BATCH = 64
RATE = 1e-3
NOISE = 100
"""Images of each kind of noise."""
_COARSE = 7
_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Detector:
    """The copy with its garbage class."""

    target: Target
    """The copy; its logits are those of the classes."""
    head: nn.Linear
    """Features of the copy's last layer -> the logit of garbage."""
    steps: int

    def __call__(self, images: Tensor) -> Tensor:
        """The log-odds of garbage (n,) of images (n, c, h, w) in [0, 1]; higher = less like what it knows."""
        found = []
        with torch.no_grad():
            for part in images.split(_AT_ONCE):
                outputs = _outputs(self.target, self.head, part)
                found.append(outputs[:, -1] - outputs[:, :-1].logsumexp(dim=1))
        return torch.cat(found)


def garbage(shape: tuple[int, int, int], rng: torch.Generator, n: int = NOISE) -> Tensor:
    """Noise of no kind, (2 n, c, h, w) in [0, 1]: half of it independent pixels, half of it smooth."""
    channels, height, width = shape
    coarse = torch.rand(n, channels, min(_COARSE, height), min(_COARSE, width), generator=rng)
    smooth = functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)
    return torch.cat([torch.rand(n, *shape, generator=rng), smooth])


def train(
    target: Target,
    known: Tensor,
    garbage: Sequence[Tensor],
    rng: torch.Generator,
    *,
    steps: int = STEPS,
    deadline: float = float("inf"),
) -> Detector:
    """Train a copy of the target with a garbage class; the target itself is left as it is.

    Args:
        target: Any classifier whose module can be copied.
        known: (n, c, h, w), images of the kind: the target's own answers on them are their classes.
        garbage: Kinds of images of no class, each (m, c, h, w).
        rng: Of the batches; half of each batch is known, half is garbage, of its kinds in equal parts.
        steps: Of Adam.
        deadline: On `time.monotonic`; the training ends there with the steps it has.

    Raises:
        AttackError: The deadline left fewer than `FEWEST_STEPS`, or the loss is not finite.

    Reference:
        Suhail and Sethi, arXiv:2502.00760 and their classifier for open sets: images inverted out of a classifier form
        class N + 1 and it is trained again. We differ: a copy is trained for a few steps and not from scratch in
        rounds, and its classes come from its own answers and not from labels.
    """
    module = copy.deepcopy(target.module).requires_grad_(True).eval()
    ours = replace(target, module=module, dense=None, head=None, span=None)
    with torch.no_grad():
        answers = torch.cat([read(target, part).log_probabilities.argmax(dim=1) for part in known.split(_AT_ONCE)])
        width = read(ours, known[:1]).features.shape[1]
    head = nn.Linear(width, 1).to(known.device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.Adam([*module.parameters(), *head.parameters()], lr=RATE)
    classes = max(2, target.profile.outputs)
    done = 0
    while done < steps and (time.monotonic() < deadline or done == 0):
        drawn = torch.randint(len(known), (BATCH // 2,), generator=rng).to(known.device)
        share = max(1, BATCH // 2 // len(garbage))
        trash = [kind[torch.randint(len(kind), (share,), generator=rng).to(kind.device)] for kind in garbage]
        images = torch.cat([known[drawn], *trash])
        labels = torch.cat([answers[drawn], answers.new_full((len(images) - len(drawn),), classes)])
        loss = functional.cross_entropy(_outputs(ours, head, images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done += 1
    if done < min(steps, FEWEST_STEPS):
        raise AttackError(f"the budget ended after {done} of {steps} steps of the garbage class")
    if not bool(loss.isfinite()):
        raise AttackError("the training of the garbage class diverged")
    module.requires_grad_(False)
    head.requires_grad_(False)
    return Detector(ours, head, done)


def _outputs(target: Target, head: nn.Linear, images: Tensor) -> Tensor:
    """Logits (n, classes + 1) with garbage last."""
    seen = read(target, images)
    single = seen.logits.shape[1] == 1
    logits = torch.cat([torch.zeros_like(seen.logits), seen.logits], dim=1) if single else seen.logits
    return torch.cat([logits, head(seen.features)], dim=1)
