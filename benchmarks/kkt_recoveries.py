"""What an attack had recovered at each moment: `record`, `score`, `Track`, `Curve`, `Point`.

The clock counts processor time of this process and stands still between steps; images are compared after the run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import torch
from kkt_victims import Victim
from torch import Tensor
from torch.nn import functional

from auditcli.scoring.matching import similarity
from auditcli.scoring.ssim import pairwise_ssim

SSIM, COSINE = 0.5, 0.9
"""A member is recovered at this SSIM, or above this cosine, with its nearest candidate."""
_GROWTH, _LEAST = 1.1, 0.2
"""A snapshot is due when the time has grown by a tenth, and not within a fifth of a second."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Candidates at one moment."""

    seconds: float
    step: int
    candidates: Tensor
    """(n, c, h, w) pixels, clamped or not."""


@dataclass(frozen=True, slots=True)
class Track:
    """An attack's run."""

    snapshots: tuple[Snapshot, ...]
    """The last is the end of the run."""
    wall_seconds: float
    diverged: bool


@dataclass(frozen=True, slots=True)
class Point:
    """What was recovered at one moment."""

    seconds: float
    step: int
    ssim: int
    """Members with SSIM >= 0.5, scikit-image's definition, candidates clamped to [0, 1], many-to-one."""
    stretched: int
    """The same with each candidate stretched to fill [0, 1], as the papers do."""
    cosine: int
    """Members with cosine > 0.9 in the model's input space."""
    best: float
    """Highest SSIM of a member."""


@dataclass(frozen=True, slots=True)
class Curve:
    """What an attack recovered over time, and whether controls say the same of images it never saw."""

    name: str
    candidates: int
    points: tuple[Point, ...]
    matched: int
    """Members with SSIM >= 0.5 at the end, each candidate used once."""
    controls: int
    """Controls with SSIM >= 0.5 at the end."""
    best_control: float
    wall_seconds: float
    diverged: bool

    @property
    def most(self) -> int:
        """Most members recovered at any moment, by SSIM."""
        return max(point.ssim for point in self.points)

    def seconds_to(self, recoveries: int) -> float | None:
        """When that many members were first recovered by SSIM, or None for never."""
        return next((point.seconds for point in self.points if point.ssim >= recoveries), None)


def record(candidates: Iterator[Tensor], seconds: float) -> Track:
    """Run an attack and keep what it had at growing intervals.

    Args:
        candidates: Yields (n, c, h, w) once a step; may end by itself.
        seconds: Of processor time, after which it is stopped.
    """
    snapshots: list[Snapshot] = []
    used, due, began = 0.0, 0.0, time.perf_counter()
    latest: Snapshot | None = None
    for step in count():
        started = time.process_time()
        now = next(candidates, None)
        used += time.process_time() - started
        if now is None or not bool(now.isfinite().all()):
            break
        latest = Snapshot(used, step, now)
        if used >= due:
            snapshots.append(Snapshot(used, step, now.clone()))
            due = max(used * _GROWTH, used + _LEAST)
        if used >= seconds:
            break
    if latest is None:
        raise RuntimeError("the attack ended before its first candidates")
    if snapshots[-1].step < latest.step:
        snapshots.append(latest)
    return Track(tuple(snapshots), time.perf_counter() - began, now is not None and not bool(now.isfinite().all()))


def score(name: str, track: Track, victim: Victim) -> Curve:
    """Compare every snapshot with the members, and the last one with the controls too."""
    final = track.snapshots[-1].candidates.clamp(0, 1)
    end, controls = similarity(final, victim.members), similarity(final, victim.controls)
    return Curve(
        name=name,
        candidates=len(final),
        points=tuple(_point(snapshot, victim) for snapshot in track.snapshots),
        matched=sum(value >= SSIM for value in end.matched),
        controls=sum(value >= SSIM for value in controls.best),
        best_control=max(controls.best),
        wall_seconds=track.wall_seconds,
        diverged=track.diverged,
    )


def _point(snapshot: Snapshot, victim: Victim) -> Point:
    best = pairwise_ssim(snapshot.candidates.clamp(0, 1), victim.members).amax(dim=0)
    stretched = pairwise_ssim(_stretch(snapshot.candidates), victim.members).amax(dim=0)
    mean = victim.target.profile.normalisation.mean[0]
    members, candidates = (
        functional.normalize((images - mean).flatten(1), dim=1) for images in (victim.members, snapshot.candidates)
    )
    return Point(
        seconds=snapshot.seconds,
        step=snapshot.step,
        ssim=int((best >= SSIM).sum()),
        stretched=int((stretched >= SSIM).sum()),
        cosine=int(((candidates @ members.T).amax(dim=0) > COSINE).sum()),
        best=float(best.max()),
    )


def _stretch(candidates: Tensor) -> Tensor:
    low, high = candidates.flatten(1).aminmax(dim=1)
    shape = (-1, 1, 1, 1)
    span = (high - low).clamp_min(torch.finfo(candidates.dtype).eps)
    return ((candidates - low.view(shape)) / span.view(shape)).clamp(0, 1)
