"""Before and after: one network trained to the end and stopped early on the same images, and what `compare` says.

    python benchmarks/compare.py [--output DIR] [--steps 20]

Both learn the 60 shipped members of Fashion-MNIST; the 400 shipped controls are what they are tested on and what the
audits compare with. Expected: less was found in the network that was stopped early, no difference between two audits
of one network with two seeds.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from auditcli import Report, audit
from auditcli.comparison import compare
from auditcli.images import read_sample
from auditcli.loading import save_described
from auditcli.report import read
from auditcli.resources import resource
from auditcli.types import Sample

MEAN, STD = 0.286, 0.353
WHOLE = 12_000
"""Steps of the network that is trained to the end, as the fixture `mlp-leaky`."""
SHAPE = (1, 28, 28)


def train(members: Sample, *, steps: int, seed: int = 0) -> nn.Module:
    """A perceptron 784-300-300-10 after so many steps of SGD with weight decay, all images in each."""
    labels = torch.as_tensor(members.labels)
    torch.manual_seed(seed)
    layers = [nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 10)]
    net = nn.Sequential(nn.Flatten(), *layers)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [round(0.7 * WHOLE), round(0.9 * WHOLE)], gamma=0.2)
    for _ in range(steps):
        optimiser.zero_grad()
        functional.cross_entropy(net((members.images - MEAN) / STD), labels).backward()
        optimiser.step()
        schedule.step()
    return net.eval()


def accuracy(net: nn.Module, sample: Sample) -> float:
    """Share of images it is right on."""
    return float((net((sample.images - MEAN) / STD).argmax(1) == sample.labels).double().mean())


def audited(model: Path, members: Path, controls: Path, *, seed: int) -> Report:
    """An audit of profile quick."""
    return audit(model, reference=members, controls=controls, profile="quick", seed=seed, device="cpu")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train both, audit each, the first twice, and print both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=20, help="of the network that is stopped early")
    parser.add_argument("--output", type=Path, help="folder for the models and the reports; kept nowhere unless given")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        report(options.output or Path(scratch), options.steps)


def report(folder: Path, early: int) -> None:
    """Write models and reports, and print what was found."""
    paths = [resource("fixtures", "mlp-leaky", "members.npz"), resource("fixtures", "controls.npz")]
    members, controls = (read_sample(path, SHAPE, (), role=path.stem) for path in paths)
    for name, steps, seeds in (("whole", WHOLE, (0, 1)), ("early", early, (0,))):
        net = train(members, steps=steps)
        print(
            f"{name}: {steps} steps, right on {accuracy(net, members):.1%} of members, "
            f"{accuracy(net, controls):.1%} of controls"
        )
        model = folder / f"{name}.safetensors"
        folder.mkdir(parents=True, exist_ok=True)
        save_described(model, net.state_dict(), _DESCRIPTION)
        for seed in seeds:
            audited(model, *paths, seed=seed).save(folder / f"{name}-{seed}", ("json", "html"))
    for old, new in (("whole-0", "early-0"), ("whole-0", "whole-1")):
        comparison = compare(read(folder / old), read(folder / new))
        print(f"{old} against {new}: {comparison.sentence}")


_DESCRIPTION = {
    "family": "mlp",
    "activation": "relu",
    "input_shape": SHAPE,
    "classes": 10,
    "mean": (MEAN,),
    "std": (STD,),
}


if __name__ == "__main__":
    main()
