"""An initialisation check of images that lie somewhere. Public name: `checked`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from auditcli.attacks import Attack, all_attacks
from auditcli.effort import EFFORTS, ProfileName
from auditcli.errors import SampleError, UsageError
from auditcli.images import read_sample, require_disjoint
from auditcli.initialisation._check import check
from auditcli.initialisation._result import InitialisationCheck
from auditcli.initialisation._starts import held_out, near, own

if TYPE_CHECKING:
    from auditcli.types import Sample, Target, Watcher


def checked(
    target: Target,
    *,
    attack: str,
    images: Path | None,
    near_images: Path | None,
    noise: Sequence[float],
    members: Path | None,
    controls: Path | None,
    seconds: float,
    profile: ProfileName,
    seed: int,
    watch: Watcher | None = None,
) -> InitialisationCheck:
    """Read the images, run the attack from noise and from them, and compare.

    Args:
        target: The model.
        attack: Name of an attack that can begin from given images.
        images: Real images that the model never saw, to begin from; a folder or an `.npz`, as for an audit.
        near_images: Images that it may have been trained on, to begin near.
        noise: Standard deviations of the noise that is added to those, in pixel units; a start each.
        members: Images it was trained on, for scoring alone.
        controls: Images it never saw, for scoring alone; none of them may be among `images`.
        seconds: Ceiling of all runs together.
        profile: Steps and candidates.
        seed: Of all random draws.
        watch: Told the progress.

    Raises:
        UsageError: no attack of that name can begin from images, or there are none to begin from.
        SampleError: images that do not fit the model, or that stand on two sides.
    """
    chosen = _attack(attack)
    if images is None and near_images is None:
        raise UsageError(
            "there is only one start to compare: the attack's own",
            hint="give --images PATH of held-out images, or --near PATH of images it may have been trained on",
        )
    held = _sample(images, target, "images")
    close = _sample(near_images, target, "near")
    ours, theirs = _sample(members, target, "members"), _sample(controls, target, "controls")
    _require_apart(held, close, ours, theirs)
    starts = [
        own(),
        *([] if held is None else [held_out(held, target)]),
        *([] if close is None else [near(close, target, sigma) for sigma in noise]),
    ]
    budget = EFFORTS[profile].budget(seconds)
    return check(chosen, target, starts, budget, seed=seed, members=ours, controls=theirs, watch=watch)


def _attack(name: str) -> Attack:
    able = [attack for attack in all_attacks() if attack.accepts_initial]
    for attack in able:
        if attack.name == name:
            return attack
    raise UsageError(
        f"there is no attack {name} that can begin from given images",
        hint=f"--attack {', '.join(attack.name for attack in able)}",
    )


def _sample(path: Path | None, target: Target, role: str) -> Sample | None:
    return None if path is None else read_sample(path, target.profile.input_shape, target.profile.labels, role=role)


def _require_apart(held: Sample | None, close: Sample | None, members: Sample | None, controls: Sample | None) -> None:
    """A start among what it is scored against would be found whatever the attack did; members near it are meant so."""
    if members is not None and controls is not None:
        require_disjoint(members, controls)
    pairs = (
        ("--images", held, "--members", members),
        ("--images", held, "--controls", controls),
        ("--images", held, "--near", close),
        ("--near", close, "--controls", controls),
    )
    for one, ours, other, theirs in pairs:
        if ours is None or theirs is None:
            continue
        if both := len(set(ours.hashes) & set(theirs.hashes)):
            raise SampleError(
                f"{one} and {other} share {both} image{'s' * (both > 1)}",
                hint=f"give {one} images that are not among those of {other}",
            )
