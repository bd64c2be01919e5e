"""Pictures of where attacks began and where they came to: `draw` and `sheet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from auditcli.initialisation import InitialisationCheck, Run, Scores
from auditcli.scoring.agreement import unit_rows

_COLUMNS, _GAP, _SCALE = 14, 3, 2
"""Images a row of a sheet, pixels between them, and the side of a pixel."""
_SHOWN = ("noise", "held-out images", "near, noise 0.1", "near, noise 0.4")


def draw(cases: Sequence[tuple[str, InitialisationCheck]], path: Path) -> None:
    """Plot objective and nearness to members over the starts, a column a network; the same bytes for the same numbers.

    Args:
        cases: Network, and what was found on it by one attack, with scores.
        path: Of the SVG.
    """
    networks = list(dict.fromkeys(network for network, _ in cases))
    with rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(8.4, 4.6), layout="constrained")
        grid = figure.subplots(2, len(networks), sharex=True, sharey="row", squeeze=False)
        for column, network in enumerate(networks):
            above, below = grid[:, column]
            own = [check for name, check in cases if name == network]
            for check in own:
                names = [_short(arrival.start) for arrival in check.arrivals]
                (line,) = above.plot(names, [arrival.objective for arrival in check.arrivals], "o-", label=check.attack)
                nearer = [_nearer(arrival.after) for arrival in check.arrivals]
                below.plot(names, nearer, "o-", color=line.get_color(), label=check.attack)
            # Where candidates begin is the same for both attacks but for a trace of noise.
            before = [_nearer(arrival.before) for arrival in own[0].arrivals]
            below.plot(names, before, "_", color="black", ms=12, label="where it began")
            chance = 100 * own[0].members / (own[0].members + own[0].controls)
            below.axhline(chance, color="grey", linestyle=":", label="chance")
            above.set(title=network, yscale="log")
            below.tick_params(axis="x", rotation=45)
        grid[0, 0].set_ylabel("objective reached")
        grid[1, 0].set_ylabel("nearer to a member than\nto every control, %")
        grid[1, 0].set_ylim(-5, 105)
        grid[1, -1].legend(frameon=False, loc="center right")
        figure.savefig(path, metadata={"Date": None})


def _nearer(scores: Scores | None) -> float:
    """In percent."""
    if scores is None:
        raise TypeError("a figure is drawn of what was scored")
    return 100 * scores.nearer


def _short(start: str) -> str:
    return start.replace("near, noise", "truth +").replace(" images", "")


def sheet(runs: Mapping[str, Run], members: Tensor, path: Path) -> None:
    """Save, for some starts, three rows: where candidates began, what they came to, and the member nearest to that."""
    rows = []
    for name in _SHOWN:
        first, last = runs[name].begun[:_COLUMNS], runs[name].arrived[:_COLUMNS]
        nearest = (unit_rows(last) @ unit_rows(members).T).argmax(dim=1)
        rows += [first, last, members[nearest]]
    _, _, height, width = rows[0].shape
    canvas = torch.ones(len(rows) * (height + _GAP) + len(_SHOWN) * 2 * _GAP, _COLUMNS * (width + _GAP))
    top = 0
    for number, row in enumerate(rows):
        for place, image in enumerate(row):
            left = place * (width + _GAP)
            canvas[top : top + height, left : left + width] = image[0]
        top += height + _GAP * (3 if number % 3 == 2 else 1)
    pixels = (255 * canvas).byte().repeat_interleave(_SCALE, 0).repeat_interleave(_SCALE, 1)
    Image.fromarray(pixels.numpy()).save(path, optimize=True)
