"""Shadow models: what the target would be like had it not seen an image. `shadows`, `split`, `SHADOW`."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from auditcli.errors import AttackError, SampleError
from auditcli.families import rebuilt
from auditcli.training._cache import Cache, key_of
from auditcli.training._fit import Recipe, fit, predicted
from auditcli.training._fresh import fresh
from auditcli.types import Sample, Shadows

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from auditcli.types import Target, Watcher

SHADOW = Recipe(steps=2000, loss=0.02, rate=1e-3, optimiser="adam", batch=64)
"""Until a shadow model fits its half of the population. How well the target fits its members may not be looked at."""
_LEAST = 2
"""Shadow models below which nothing can be said about how they vary."""
_SEEDS = 100_003
"""Apart, so that neighbouring seeds of an audit share no shadow model."""


def split(controls: Sample, seed: int) -> tuple[Sample, Sample]:
    """Two random halves of the controls: a population to train shadow models on, and the controls to compare with.

    Members and the second half are alike strangers to every shadow model, and stay exchangeable where nothing leaks.

    Args:
        controls: k >= 2.
        seed: Of the draw.

    Returns:
        Population (k // 2) and compared controls (the others), each in the order of `controls`.

    Raises:
        SampleError: there are fewer than two.
    """
    if len(controls) < 2:
        raise SampleError("1 control cannot be split", hint="give at least 2 controls, better a few hundred")
    order = torch.randperm(len(controls), generator=torch.Generator().manual_seed(seed))
    half = len(controls) // 2
    return part(controls, order[:half]), part(controls, order[half:])


def part(sample: Sample, index: Tensor) -> Sample:
    """Some images of a sample, in its own order.

    Args:
        sample: k images.
        index: (n,) int64 positions, each at most once.

    Returns:
        n images; the sha256 is that of their hashes and labels.
    """
    chosen = index.sort().values
    hashes = tuple(sample.hashes[i] for i in chosen.tolist())
    labels = None if sample.labels is None else sample.labels[chosen]
    lines = "\n".join((*hashes, "" if labels is None else str(labels.tolist())))
    return Sample(
        images=sample.images[chosen],
        ids=tuple(sample.ids[i] for i in chosen.tolist()),
        hashes=hashes,
        labels=labels,
        sha256=hashlib.sha256(lines.encode()).hexdigest(),
    )


def shadows(
    target: Target,
    population: Sample,
    count: int,
    *,
    seconds: float,
    seed: int,
    cache: Path | None = None,
    watch: Watcher | None = None,
) -> Shadows:
    """Train models of the target's architecture, each on a random half of a population.

    Each is trained by `SHADOW` until its loss is low, so that all took the same effort. One that the clock ends is
    thrown away.

    Args:
        target: Whose architecture; it stays as it is.
        population: Controls, at least two. Without labels, the target's predictions stand for them.
        count: K >= 2 models to train, of which as many are returned as the time allows.
        seconds: Ceiling for all of them.
        seed: Of initial weights, halves and orders. Model number i depends on the seed and on i, and not on `count`.
        cache: Folder where each model is kept as soon as it is trained, and found by the next run; None for none.
        watch: Told the progress of each model.

    Returns:
        At least two shadow models.

    Raises:
        AttackError: fewer than two were trained in time, the population is too small, or the training diverged.
        KeyboardInterrupt: on Ctrl-C; what was finished is in the cache.
    """
    if len(population) < 2 * _LEAST:
        raise AttackError(
            f"{len(population)} images are too few to train shadow models on", hint="give at least 8 controls"
        )
    began = time.monotonic()
    labels = population.labels if population.labels is not None else predicted(target, population.images)
    targets: list[Target] = []
    halves: list[Tensor] = []
    for number in range(max(count, _LEAST)):
        left = seconds - (time.monotonic() - began)
        half = _half(len(population), seed, number)
        found = _shadow(target, replace(population, labels=labels), half, number, left, seed, Cache(cache), watch)
        if found is None:
            break
        targets.append(found)
        halves.append(half)
    if len(targets) < _LEAST:
        raise AttackError(
            f"{len(targets)} of {count} shadow models were trained in {seconds:.0f} seconds; {_LEAST} are the least",
            hint="a larger --budget" + ("" if cache is None else ", or the same again: what is trained is kept"),
        )
    return Shadows(targets=tuple(targets), population=population, seen=torch.stack(halves))


def _shadow(
    target: Target,
    population: Sample,
    half: Tensor,
    number: int,
    seconds: float,
    seed: int,
    cache: Cache,
    watch: Watcher | None,
) -> Target | None:
    """One shadow model, kept or trained; None where the time is over before it is done."""
    if population.labels is None:
        raise TypeError("a population to train on has labels")
    own = _SEEDS * seed + number
    net = fresh(target, own)
    seen = half.nonzero()[:, 0]
    labels = population.labels[seen]
    profile = target.profile
    said = (profile.architecture, repr(profile.normalisation), repr(SHADOW), str(own))
    key = key_of(net, *said, part(population, seen).sha256)
    if cache.load(key, net):
        return rebuilt(target, net)
    if seconds <= 0:
        return None
    name = f"shadow model {number + 1}"
    fitted = fit(target, population.images[seen], labels, SHADOW, seed=own, seconds=seconds, watch=watch, name=name)
    if not fitted.complete:
        return None
    cache.save(key, fitted.target.module)
    return fitted.target


def _half(count: int, seed: int, number: int) -> Tensor:
    """(n,) bool, half of it true."""
    rng = torch.Generator().manual_seed(_SEEDS * seed + number)
    seen = torch.zeros(count, dtype=torch.bool)
    seen[torch.randperm(count, generator=rng)[: count // 2]] = True
    return seen
