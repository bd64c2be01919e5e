"""The page on network inversion and its pictures: `page`, `draw`, `sheet`.

The page keeps its own words: what stands between two marks is replaced, `<!-- NAME -->` and `<!-- /NAME -->`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from inversion_cases import Case
from inversion_victims import Victim
from page import markdown
from PIL import Image
from torch import Tensor

from auditcli.scoring.ssim import pairwise_ssim

PARTS = ("main", "null", "terms", "vit", "training", "more")
_HEADER = (
    *("victim", "accuracy on members / others", "label agreement", "SSIM within a class"),
    *("members: best", "mean", "p95", "controls: best", "mean", "p95", "AUC", "p"),
    *("sample to nearest member", "to nearest control", "CPU s"),
)
_SCALE = 2
_GAP = 2


def page(path: Path, rows: Sequence[dict[str, Any]], about: str) -> None:
    """Put the tables into the page."""
    text = path.read_text(encoding="utf-8")
    tables = {part: "\n".join(_table(row for row in rows if row["part"] == part)) for part in PARTS}
    for name, block in {"about": about, **tables}.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(start)
        text = f"{before}{start}{block}\n{end}{rest.partition(end)[2]}" if found else text
    path.write_text(text, encoding="utf-8")


def _table(rows: Iterable[dict[str, Any]]) -> list[str]:
    lines = [_cells(row) for row in rows]
    return markdown(_HEADER, lines) if lines else ["Not measured."]


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    near, far = row["members"], row["controls"]
    return (
        row["name"] + ("" if row["epsilon"] is None else f" (spent {row['epsilon']:.1f})"),
        f"{row['accuracy']:.0%} / {row['test']:.0%}",
        "-" if row["agreement"] is None else f"{row['agreement']:.0%}",
        f"{row['diversity']:.2f}",
        *(f"{near[key]:.3f}" for key in ("best", "mean", "p95")),
        *(f"{far[key]:.3f}" for key in ("best", "mean", "p95")),
        f"{row['auc']:.2f}",
        f"{row['p_value']:.2f}" if row["p_value"] >= 0.01 else f"{row['p_value']:.0e}",
        f"{row['to_members']:.3f}",
        f"{row['to_controls']:.3f}",
        f"{row['seconds']:.0f}",
    )


def draw(folder: Path, measured: Sequence[tuple[Case, tuple[Tensor, Victim]]]) -> None:
    """One contact sheet a data set: for each victim three rows of ten columns, a class each.

    The candidate of the class that comes nearest to any member, that member, and the control nearest to the candidate.
    """
    folder.mkdir(exist_ok=True)
    by_data: dict[str, list[Tensor]] = {}
    for case, (candidates, subject) in measured:
        by_data.setdefault(case.subject.recipe.data.value, []).append(_triples(candidates, subject))
    for data, blocks in by_data.items():
        sheet(folder / f"inversion-{data}.png", blocks)


def _triples(candidates: Tensor, subject: Victim) -> Tensor:
    """(3, classes, c, h, w)."""
    members, controls = (part.pixels.float() / 255 for part in (subject.members, subject.controls))
    near, far = pairwise_ssim(candidates, members), pairwise_ssim(candidates, controls)
    classes = subject.target.profile.classes
    labels = torch.arange(len(candidates)) % classes
    shown = []
    for label in range(classes):
        own = (labels == label).nonzero()[:, 0]
        chosen = own[near[own].amax(dim=1).argmax()]
        shown.append(torch.stack([candidates[chosen], members[near[chosen].argmax()], controls[far[chosen].argmax()]]))
    return torch.stack(shown, dim=1)


def sheet(path: Path, blocks: Sequence[Tensor]) -> None:
    """Blocks (rows, columns, c, h, w) in [0, 1] below each other, with a gap between them."""
    pixels = []
    for block in blocks:
        rows, columns, channels, height, width = block.shape
        grid = block.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels).expand(-1, -1, 3)
        pixels += [(grid * 255).round().byte().numpy(), np.full((_GAP, columns * width, 3), 255, np.uint8)]
    whole = Image.fromarray(np.concatenate(pixels[:-1]))
    whole.resize((whole.width * _SCALE, whole.height * _SCALE), Image.Resampling.NEAREST).save(path, optimize=True)
