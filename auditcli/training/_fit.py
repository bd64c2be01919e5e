"""Training by the audit, on images of the auditor: `Recipe`, `Fitted`, `fit`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn import functional

from auditcli.errors import AttackError
from auditcli.families import rebuilt
from auditcli.threads import one_thread
from auditcli.training._fresh import fresh, trainable
from auditcli.types import Progress, Trait

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import Target, Watcher

_LOOK_EVERY = 20
"""Steps between two looks at the loss and the clock: on a GPU each look waits for all that was queued."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train."""

    steps: int
    """At most."""
    loss: float
    """Mean loss of the training images, in nats, at which training ends."""
    rate: float
    optimiser: Literal["adam", "sgd"] = "adam"
    """SGD has momentum 0.9."""
    weight_decay: float = 0.0
    batch: int | None = None
    """Images a step; None for all."""
    drops: tuple[float, ...] = ()
    """Shares of the steps after which the rate falls to a fifth."""
    first_scale: float = 1.0
    """Factor on the initial weights of the first layer, which is what hides training images in it."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained target."""

    target: Target
    loss: float
    """Of the last steps before the end, in nats."""
    steps: int
    seconds: float
    complete: bool
    """Whether the loss or the steps ended it, and not the clock."""


def fit(
    target: Target,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    *,
    seed: int,
    seconds: float,
    watch: Watcher | None = None,
    name: str = "training",
) -> Fitted:
    """Train the target's architecture from the start.

    Batch norm is in training mode, and nothing else: no dropout and no other noise, so that a seed gives the same
    network again.

    Args:
        target: Whose architecture; it stays as it is.
        images: (n, c, h, w) in [0, 1].
        labels: (n,) int64 class indices.
        recipe: How.
        seed: Of the initial weights and of the order of the images.
        seconds: Ceiling; what the clock ends is not complete, and not reproducible.
        watch: Told the progress now and then, with the loss as objective.
        name: What the progress calls it.

    Returns:
        The network as a target.

    Raises:
        AttackError: the loss is not finite, or memory ran out.
    """
    with one_thread():
        return _fit(target, images, labels, recipe, seed, seconds, watch, name)


def predicted(target: Target, images: Tensor) -> Tensor:
    """The class (n,) that the target sees in each image, on the CPU."""
    with torch.no_grad(), one_thread():
        logits = torch.cat([target(batch.to(_device(target.module))) for batch in images.split(256)])
    return ((logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)).cpu()


def _fit(
    target: Target,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    seed: int,
    seconds: float,
    watch: Watcher | None,
    name: str,
) -> Fitted:
    began = time.monotonic()
    net = fresh(target, seed)
    parameters = list(trainable(net))
    for parameter in parameters:
        parameter.requires_grad_()
    _scale_first(parameters, recipe.first_scale)
    _train_mode(net)
    images, labels = images.to(_device(net)), labels.to(_device(net))
    likelihoods = Trait.SOFTMAX_OUTPUT in target.profile.traits
    optimiser = _optimiser(recipe, parameters)
    milestones = [round(share * recipe.steps) for share in recipe.drops]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.2)
    losses: list[Tensor] = []
    mean, number, complete = float("inf"), 0, True
    try:
        for number, batch in enumerate(_batches(len(images), recipe, seed), start=1):
            optimiser.zero_grad()
            loss = _loss(net(images[batch]), labels[batch], likelihoods=likelihoods)
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.detach())
            if number % _LOOK_EVERY == 0 or number == recipe.steps:
                mean, losses = float(torch.stack(losses).mean()), []
                spent = time.monotonic() - began
                _look(mean, number, recipe, spent, seconds, watch, name)
                if mean <= recipe.loss or number == recipe.steps:
                    break
                if spent >= seconds:
                    complete = False
                    break
    except torch.OutOfMemoryError as error:
        raise AttackError(
            f"{name} ran out of memory on {recipe.batch or len(images)} images a step",
            hint="--device cpu has more memory",
        ) from error
    return Fitted(rebuilt(target, net), mean, number, time.monotonic() - began, complete)


def _look(
    loss: float, number: int, recipe: Recipe, spent: float, seconds: float, watch: Watcher | None, name: str
) -> None:
    if not loss < float("inf"):
        raise AttackError(
            f"{name} diverged at step {number}: its loss is not finite", hint="another --seed starts elsewhere"
        )
    if watch is not None:
        watch(
            Progress(
                attack=name,
                step=number,
                steps=recipe.steps,
                seconds=spent,
                seconds_left=max(0.0, seconds - spent),
                objective=loss,
            )
        )


def _loss(outputs: Tensor, labels: Tensor, *, likelihoods: bool) -> Tensor:
    if outputs.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(outputs[:, 0], labels.to(outputs.dtype))
    return functional.nll_loss(outputs, labels) if likelihoods else functional.cross_entropy(outputs, labels)


def _optimiser(recipe: Recipe, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    if recipe.optimiser == "adam":
        return torch.optim.Adam(parameters, lr=recipe.rate, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(parameters, lr=recipe.rate, momentum=0.9, weight_decay=recipe.weight_decay)


def _scale_first(parameters: list[nn.Parameter], factor: float) -> None:
    """Scale the first matrix and the bias behind it."""
    first = next((index for index, parameter in enumerate(parameters) if parameter.ndim > 1), None)
    if first is None or factor == 1.0:
        return
    bias = [p for p in parameters[first + 1 : first + 2] if p.ndim == 1]
    with torch.no_grad():
        for parameter in (parameters[first], *bias):
            parameter.mul_(factor)


def _train_mode(net: nn.Module) -> None:
    for layer in net.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.train()


def _batches(count: int, recipe: Recipe, seed: int) -> Iterator[Tensor | slice]:
    """Indices of the images of each step, without end; each image once in each pass."""
    rng = torch.Generator().manual_seed(seed)
    while True:
        if recipe.batch is None or recipe.batch >= count:
            yield slice(None)
        else:
            parts = -(-count // recipe.batch)
            yield from torch.randperm(count, generator=rng).tensor_split(parts)


def _device(net: nn.Module) -> torch.device:
    return next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
