"""Chooses and draws the pictures of a report. Public names: `Gallery`, `pairs`, `agreed`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

import torch
from PIL import Image

from auditcli.report import schema
from auditcli.report.redaction import described
from auditcli.scoring.agreement import agreement, distinct
from auditcli.scoring.ssim import pairwise_ssim

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.outcomes import AttackOutcome
    from auditcli.types import MemberFinding, Reconstruction, Sample, Target

SHOWN = 24
_SAME = 0.9
"""Centred cosine from which two reconstructions count as one picture."""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Items of the report, and the PNG bytes of the pictures they name."""

    items: tuple[schema.GalleryItem, ...] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def pairs(
    outcomes: Sequence[AttackOutcome],
    findings: Sequence[MemberFinding],
    members: Sample,
    controls: Sample | None,
    target: Target,
) -> Gallery:
    """The members that came back best, each beside its reconstruction and the control nearest to that.

    All is shown, by name: `report.redaction` takes out what a report must not spread.

    Args:
        outcomes: Scored attacks.
        findings: One a member, in the order of `members`.
        members: The auditor's training images.
        controls: Hold-out images, or None.
        target: Names the class the model sees in a reconstruction.

    Returns:
        At most `SHOWN` items: flagged members first, then by SSIM.
    """
    by_name = {outcome.attack.name: outcome for outcome in outcomes}
    order = sorted(range(len(findings)), key=lambda i: (not findings[i].leaked, -findings[i].best_ssim))[:SHOWN]
    album = _Album()
    items = []
    for rank, index in enumerate(order, start=1):
        finding = findings[index]
        outcome = by_name[finding.attack]
        if outcome.found is None or outcome.members is None:
            continue
        flat = outcome.found.candidates.flatten(0, 1).cpu()
        chosen = outcome.members.best_candidate[index]
        image = flat[chosen]
        nearest = None if controls is None else pairwise_ssim(image[None], controls.images)[0]
        near = None if nearest is None else int(nearest.argmax())
        name = f"gallery/{rank:02d}"
        items.append(
            schema.GalleryItem(
                rank=rank,
                attack=finding.attack,
                label=_label(target, image),
                evidence=_flag(finding, controls),
                agreement=_agreement_of(outcome.found, chosen),
                ssim=finding.best_ssim,
                control_ssim=None if nearest is None or near is None else float(nearest[near]),
                member_id=finding.id,
                control_id=None if controls is None or near is None else controls.ids[near],
                reconstruction=album.add(f"{name}-reconstruction.png", image),
                member=album.add(f"{name}-member.png", members.images[index]),
                control=None
                if controls is None or near is None
                else album.add(f"{name}-control.png", controls.images[near]),
            )
        )
    return Gallery(tuple(map(described, items)), album.pages)


def agreed(found: Reconstruction, target: Target) -> Gallery:
    """What independent restarts agree on, best agreement first; needs no image of the auditor.

    Args:
        found: Of an attack with at least two restarts.
        target: Names the class the model sees in a reconstruction.

    Returns:
        At most `SHOWN` items, no two of them alike.
    """
    scores = agreement(found.candidates)
    chosen = _unlike(found.candidates, scores)
    flat = found.candidates.flatten(0, 1).cpu()
    album = _Album()
    items = tuple(
        schema.GalleryItem(
            rank=rank,
            attack=found.attack,
            label=_label(target, flat[index]),
            evidence=f"an independent restart arrives at this image (cosine {float(scores.flatten()[index]):.2f})",
            agreement=float(scores.flatten()[index]),
            ssim=None,
            control_ssim=None,
            member_id=None,
            control_id=None,
            reconstruction=album.add(f"gallery/{rank:02d}-reconstruction.png", flat[index]),
            member=None,
            control=None,
        )
        for rank, index in enumerate(chosen, start=1)
    )
    return Gallery(tuple(map(described, items)), album.pages)


def _unlike(candidates: Tensor, scores: Tensor) -> tuple[int, ...]:
    """Indices over (restart, candidate) flattened: clusters that restarts agree on, then single candidates."""
    clusters = distinct(candidates, scores, _SAME)
    rest = [i for i in scores.flatten().argsort(descending=True).tolist() if float(scores.flatten()[i]) < _SAME]
    # The same image appears once in every restart: the first restart stands for the others.
    return (*clusters, *(i for i in rest if i < scores.shape[1]))[:SHOWN]


def _label(target: Target, image: Tensor) -> str:
    """The class the model sees in a reconstruction."""
    device = target.device
    with torch.no_grad():
        logits = target(image[None].to(device))[0]
    index = int(logits[0] > 0) if len(logits) == 1 else int(logits.argmax())
    names = target.profile.labels
    return names[index] if index < len(names) else f"class {index}"


def _flag(finding: MemberFinding, controls: Sample | None) -> str:
    if controls is None or finding.p_value is None or finding.q_value is None:
        return "uncalibrated: no controls were given"
    if finding.leaked:
        return f"individually recovered (q = {finding.q_value:.2g})"
    return f"not flagged: {finding.p_value:.0%} of controls match as well"


def _agreement_of(found: Reconstruction, index: int) -> float | None:
    return float(agreement(found.candidates).flatten()[index]) if len(found.candidates) > 1 else None


class _Album:
    """Collects PNG bytes by name while a gallery is put together."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}

    def add(self, file: str, image: Tensor) -> schema.Picture:
        self.pages[file] = _png(image)
        return schema.Picture(file=file, sha256=hashlib.sha256(self.pages[file]).hexdigest(), alt="")


def _png(image: Tensor) -> bytes:
    """PNG of an image (c, h, w) in [0, 1]; three channels in colour, else the first one in grey."""
    pixels = image.detach().cpu().mul(255).round().clamp(0, 255).byte().numpy()
    picture = Image.fromarray(pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0])
    stream = BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return stream.getvalue()
