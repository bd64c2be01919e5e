"""`kkt` with labels and with multipliers of either sign, on a regression: `python benchmarks/kkt_signed.py --data DIR`.

With `--write` the table goes into `docs/attacks/kkt.md`. Networks are kept in `--cache`.
"""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from page import markdown, processor
from torch import Tensor, nn

from auditcli.attacks import all_attacks, run
from auditcli.auditing import load
from auditcli.effort import EFFORTS
from auditcli.loading import save_described
from auditcli.scoring.matching import similarity
from auditcli.scoring.significance import recovery
from auditcli.types import Budget, Target
from auditcli.weights import span

PAGE = Path(__file__).parents[1] / "docs" / "attacks" / "kkt.md"
MEAN, STD = 0.1307, 0.3081
_IMAGES, _CONTROLS = 50, 400
_STEPS, _RATE, _DECAY = 6_000, 0.02, 1e-3


def main() -> None:
    """Trains, attacks and prints the table."""
    arguments = _arguments()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    with np.load(arguments.data / "mnist.npz", allow_pickle=False) as stored:
        pixels, digits = (torch.from_numpy(stored[f"{axis}_train"]) for axis in "xy")
        controls = torch.from_numpy(stored["x_test"][:_CONTROLS]).float()[:, None] / 255
    chosen = torch.cat([torch.nonzero(digits % 2 == odd)[: _IMAGES // 2, 0] for odd in (0, 1)])
    members = pixels[chosen].float()[:, None] / 255
    wanted = 2.0 * (digits[chosen] % 2) - 1
    target = _victim(arguments.cache / "signed-0.safetensors", members, wanted)
    rows = [_row(target, members, wanted, controls, signed=signed) for signed in (False, True)]
    header = ("error", "directions", "form", "objective", "members at SSIM 0.5", "median (best)")
    text = "\n".join(markdown((*header, "controls at 0.5 (best)", "p"), rows))
    print(text)
    if arguments.write:
        made = f"Measured {datetime.now(UTC):%Y-%m-%d} on {processor()}, one thread, torch {torch.__version__}."
        page = PAGE.read_text(encoding="utf-8")
        block = f"<!-- signed -->\n{text}\n\n{made}\n<!-- end -->"
        PAGE.write_text(re.sub(r"<!-- signed -->.*<!-- end -->", lambda _: block, page, flags=re.S), encoding="utf-8")


def _row(target: Target, members: Tensor, wanted: Tensor, controls: Tensor, *, signed: bool) -> tuple[object, ...]:
    (kkt,) = (attack for attack in all_attacks() if attack.name == "kkt")
    budget = Budget(EFFORTS["quick"].steps, 600, 2 * _IMAGES, 1)
    found = run(kkt.with_settings(signed=signed), target, budget, seed=0)
    near, far = (similarity(found.candidates[0], each).best for each in (members, controls))
    if target.dense is None:
        raise TypeError("a victim is a dense network")
    with torch.no_grad():
        error = float((target(members)[:, 0] - wanted).square().mean())
    return (
        *(f"{error:.1g}", span(target.dense).rank, "signed" if signed else "labelled"),
        *(f"{found.objective[0]:.2f}", f"{sum(value >= 0.5 for value in near)} of {_IMAGES}"),
        f"{np.median(near):.2f} ({max(near):.2f})",
        f"{sum(value >= 0.5 for value in far)} ({max(far):.2f})",
        f"{recovery(near, far, seed=0).p_value:.1g}",
    )


def _victim(path: Path, members: Tensor, wanted: Tensor) -> Target:
    """784-300-300-1, no bias behind the first layer, whose weights start small; full batch, squared error, decay."""
    if not path.exists():
        torch.manual_seed(0)
        hidden = (nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 300, bias=False), nn.ReLU())
        net = nn.Sequential(*hidden, nn.Linear(300, 1, bias=False))
        for parameter in net[0].parameters():
            nn.init.normal_(parameter, std=1e-4)
        optimiser = torch.optim.SGD(net.parameters(), lr=_RATE, momentum=0.9, weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [round(0.7 * _STEPS), round(0.9 * _STEPS)], 0.2)
        inputs = ((members - MEAN) / STD).flatten(1)
        for _ in range(_STEPS):
            optimiser.zero_grad()
            (net(inputs)[:, 0] - wanted).square().mean().backward()
            optimiser.step()
            schedule.step()
        described = {"family": "mlp", "activation": "relu", "input_shape": (1, 28, 28), "classes": 2}
        save_described(path, net.state_dict(), {**described, "mean": (MEAN,), "std": (STD,)})
    return load(path, device="cpu")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of mnist.npz")
    parser.add_argument("--cache", type=Path, default=Path("build/kkt-signed"), help="folder of networks")
    parser.add_argument("--write", action="store_true", help="into docs/attacks/kkt.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
