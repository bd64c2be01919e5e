"""From a recipe and its images to a trained network, the same on every run: `train`, `Trained`."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from zoo_recipes import DataSet, Training

DELTA = 1e-5
CLIP = 1.0
_SHIFT = 3


@dataclass(frozen=True, slots=True)
class Fold:
    """Images as a network reads them, with their labels."""

    inputs: Tensor
    """(n, ...) normalised images, or features of a backbone."""
    labels: Tensor
    """(n,) int64."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A network after its training."""

    net: nn.Module
    """In eval mode."""
    steps: int
    """As many as were taken."""
    epsilon: float | None
    """What the accountant of DP-SGD says was spent, at `DELTA`; None without noise."""


def train(net: nn.Module, training: Training, fold: Fold, validation: Fold, data: DataSet, seed: int) -> Trained:
    """The network after its steps on these images.

    Args:
        net: With its initial weights; changed in place.
        training: How.
        fold: All that it is trained on.
        validation: Early stopping looks at these.
        data: Says whether the images may be flipped.
        seed: Of the order of the images, augmentation and noise.
    """
    torch.manual_seed(seed)
    if training.steps == 0:
        return Trained(net.eval(), 0, None)
    if training.epsilon is not None:
        return _train_privately(net, training, fold, training.epsilon)
    steps = _descend(net.train(), training, fold, validation, data)
    return Trained(net.eval(), steps, None)


def loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy (n,) of logits (n, classes), or (n, 1) for a binary task."""
    if logits.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype), reduction="none")
    return functional.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)


@torch.no_grad()
def logits(net: nn.Module, inputs: Tensor) -> Tensor:
    """Logits (n, outputs), a part of the images at a time."""
    return torch.cat([net(part) for part in inputs.split(500)])


def _descend(net: nn.Module, training: Training, fold: Fold, validation: Fold, data: DataSet) -> int:
    optimiser = _optimiser(training, net)
    milestones = [round(share * training.steps) for share in training.drops]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.2)
    epoch = 1 if training.batch is None else math.ceil(len(fold.labels) / training.batch)
    lowest, best, since = math.inf, copy.deepcopy(net.state_dict()), 0
    for step, batch in enumerate(_batches(training, len(fold.labels)), 1):
        inputs = fold.inputs[batch]
        inputs = _augmented(inputs, flips=data is not DataSet.MNIST) if training.augment else inputs
        optimiser.zero_grad()
        loss(net(inputs), fold.labels[batch], training.label_smoothing).mean().backward()
        optimiser.step()
        schedule.step()
        if training.patience is None or step % epoch:
            continue
        now = float(loss(logits(net.eval(), validation.inputs), validation.labels).mean())
        net.train()
        since = 0 if now < lowest else since + 1
        if now < lowest:
            lowest, best = now, copy.deepcopy(net.state_dict())
        if since >= training.patience:
            net.load_state_dict(best)
            return step
    if training.patience is not None:
        net.load_state_dict(best)
    return training.steps


def _train_privately(net: nn.Module, training: Training, fold: Fold, epsilon: float) -> Trained:
    """DP-SGD with Poisson sampling and the Rényi accountant of opacus; Abadi et al. 2016, arXiv:1607.00133."""
    from opacus import PrivacyEngine
    from torch.utils.data import DataLoader, TensorDataset

    batch = training.batch or len(fold.labels)
    epochs = max(1, round(training.steps * batch / len(fold.labels)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        engine = PrivacyEngine(accountant="rdp")
        private, optimiser, loader = engine.make_private_with_epsilon(
            module=net.train(),
            optimizer=_optimiser(training, net),
            data_loader=DataLoader(TensorDataset(fold.inputs, fold.labels), batch_size=batch),
            target_epsilon=epsilon,
            target_delta=DELTA,
            epochs=epochs,
            max_grad_norm=CLIP,
        )
        steps = 0
        for _ in range(epochs):
            for inputs, labels in loader:
                optimiser.zero_grad()
                # An empty Poisson batch still takes its step of noise.
                losses = loss(private(inputs), labels, training.label_smoothing)
                losses.mean().backward() if len(labels) else losses.sum().backward()
                optimiser.step()
                steps += 1
        spent = float(engine.get_epsilon(DELTA))
    private.remove_hooks()
    return Trained(net.eval(), steps, spent)


def _optimiser(training: Training, net: nn.Module) -> torch.optim.Optimizer:
    if training.optimiser == "adam":
        return torch.optim.Adam(net.parameters(), lr=training.lr, weight_decay=training.weight_decay)
    return torch.optim.SGD(net.parameters(), lr=training.lr, momentum=0.9, weight_decay=training.weight_decay)


def _batches(training: Training, count: int) -> Iterator[Tensor | slice]:
    if training.batch is None:
        yield from (slice(None) for _ in range(training.steps))
        return
    order: tuple[Tensor, ...] = ()
    for _ in range(training.steps):
        if not order:
            order = torch.randperm(count).split(training.batch)
        yield order[0]
        order = order[1:]


def _augmented(inputs: Tensor, *, flips: bool) -> Tensor:
    """Each image shifted by itself, with its border's pixels filling up; half of them flipped."""
    n, _, height, width = inputs.shape
    padded = functional.pad(inputs, (_SHIFT,) * 4, mode="replicate")
    rows = torch.randint(2 * _SHIFT + 1, (n, 1)) + torch.arange(height)
    columns = torch.randint(2 * _SHIFT + 1, (n, 1)) + torch.arange(width)
    if flips:
        columns = torch.where(torch.rand(n, 1) < 0.5, columns, columns.flip(1))
    return padded[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
