"""How far model-only evidence of honest models lies from that of leaky ones: what `evidence.EXPLAINED` rests on.

    python benchmarks/evidence.py --data DIR [--seeds 2] [--only wd] [--output results.json]

Trains small MLPs on Fashion-MNIST and CIFAR-10, leaky ones on 60 images and honest ones on 10,000 or 20,000, audits
each without any image, and prints what was explained, reproduced, persistent and verified. Takes about a minute a model
on one core.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from auditcli import audit
from auditcli.loading import save_described


@dataclass(frozen=True, slots=True)
class Data:
    """A data set in the folder, and the normalisation of its victims."""

    file: str
    shape: tuple[int, int, int]
    mean: float
    std: float

    def read(self, folder: Path) -> tuple[Tensor, Tensor]:
        """Training images (n, c, h, w) in [0, 1] and their labels."""
        with np.load(folder / self.file) as arrays:
            images, labels = torch.from_numpy(arrays["x_train"]), torch.from_numpy(arrays["y_train"])
        images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
        return images.float() / 255, labels


FASHION = Data("fashion_mnist.npz", (1, 28, 28), 0.286, 0.353)
CIFAR = Data("cifar10.npz", (3, 32, 32), 0.473, 0.25)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A victim."""

    name: str
    images: int
    """Trained on the first so many images of each class."""
    epochs: int
    widths: tuple[int, ...] = (784, 300, 300, 10)
    optimiser: str = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    batch: int = 128
    first_std: float | None = None
    labels_modulo: int = 10
    data: Data = FASHION

    @property
    def leaky(self) -> bool:
        """Whether it saw so few images that it must have kept them."""
        return self.images <= 10


RECIPES = (
    Recipe("honest adam", 2000, 3),
    Recipe("honest adam, narrow", 2000, 3, widths=(784, 128, 64, 10)),
    Recipe("honest adam, one hidden layer", 2000, 3, widths=(784, 500, 10)),
    Recipe("honest adam, long", 2000, 15),
    Recipe("honest sgd", 2000, 5, optimiser="sgd", lr=0.05),
    Recipe("honest sgd, small init", 2000, 5, optimiser="sgd", lr=0.05, first_std=1e-4),
    Recipe("honest sgd, wd 1e-3", 2000, 10, optimiser="sgd", lr=0.05, weight_decay=1e-3),
    Recipe("honest sgd, wd 5e-3", 2000, 10, optimiser="sgd", lr=0.05, weight_decay=5e-3),
    Recipe("honest sgd, wd 2e-2", 2000, 10, optimiser="sgd", lr=0.05, weight_decay=2e-2),
    Recipe("honest binary", 2000, 5, widths=(784, 300, 300, 1), labels_modulo=2),
    Recipe("honest binary, wd 5e-3", 2000, 10, (784, 300, 300, 1), "sgd", lr=0.05, weight_decay=5e-3, labels_modulo=2),
    Recipe("untrained", 2000, 0),
    Recipe("leaky, wd 1e-3", 6, 12000, optimiser="sgd", lr=0.05, weight_decay=1e-3, batch=60),
    Recipe("leaky, small init", 6, 12000, optimiser="sgd", lr=0.05, batch=60, first_std=1e-4),
    Recipe(
        *("leaky binary, small init, wd 1e-3", 5, 8000, (784, 300, 300, 1), "sgd"),
        lr=0.05,
        weight_decay=1e-3,
        batch=50,
        first_std=1e-4,
        labels_modulo=2,
    ),
    Recipe("cifar honest adam", 1000, 10, (3072, 200, 200, 10), data=CIFAR),
    Recipe("cifar honest, wd 5e-3", 1000, 20, (3072, 200, 200, 10), "sgd", 0.05, 5e-3, data=CIFAR),
    Recipe("cifar honest, wd 2e-2", 1000, 20, (3072, 200, 200, 10), "sgd", 0.05, 2e-2, data=CIFAR),
    Recipe("cifar leaky, wd 1e-3", 6, 4000, (3072, 200, 200, 10), "sgd", 0.05, 1e-3, batch=60, data=CIFAR),
    Recipe(
        *("cifar leaky, small init", 6, 4000, (3072, 200, 200, 10), "sgd"),
        lr=0.05,
        batch=60,
        first_std=1e-4,
        data=CIFAR,
    ),
)


def train(recipe: Recipe, images: Tensor, labels: Tensor, seed: int) -> nn.Sequential:
    """A victim; the learning rate drops to a fifth after 70% and again after 90% of the epochs."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(zip(recipe.widths, recipe.widths[1:], strict=False)):
        layers += [nn.ReLU()] * bool(index) + [nn.Linear(inputs, outputs)]
    net = nn.Sequential(*layers)
    if recipe.first_std is not None:
        for parameter in net[0].parameters():
            nn.init.normal_(parameter, std=recipe.first_std)
    chosen = torch.cat([torch.where(labels == c)[0][: recipe.images] for c in range(10)])
    x = ((images[chosen] - recipe.data.mean) / recipe.data.std).flatten(1)
    y = labels[chosen] % recipe.labels_modulo
    optimizer: torch.optim.Optimizer = (
        torch.optim.SGD(net.parameters(), lr=recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)
        if recipe.optimiser == "sgd"
        else torch.optim.Adam(net.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    )
    for epoch in range(recipe.epochs):
        done = epoch / recipe.epochs
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * (1 if done < 0.7 else 0.2 if done < 0.9 else 0.04)
        for batch in torch.randperm(len(x)).split(recipe.batch):
            logits = net(x[batch])
            loss = (
                functional.binary_cross_entropy_with_logits(logits[:, 0], y[batch].float())
                if logits.shape[1] == 1
                else functional.cross_entropy(logits, y[batch])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net


def measure(recipes: list[Recipe], data: Path, seeds: int, profile: str) -> Iterator[dict[str, object]]:
    """One row a victim and seed."""
    for recipe in recipes:
        images, labels = recipe.data.read(data)
        description = {
            "family": "mlp",
            "activation": "relu",
            "input_shape": list(recipe.data.shape),
            "mean": [recipe.data.mean] * recipe.data.shape[0],
            "std": [recipe.data.std] * recipe.data.shape[0],
        }
        for seed in range(seeds):
            net = train(recipe, images, labels, seed)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.safetensors"
                tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
                save_described(path, tensors, description)
                report = audit(path, seed=seed, profile=profile)  # type: ignore[arg-type]
            evidence = report.evidence
            yield {
                "victim": recipe.name,
                "seed": seed,
                "leaky": recipe.leaky,
                "level": report.verdict.level,
                "explained": evidence.explained if evidence else None,
                "reproduced": evidence.reproduced if evidence else None,
                "directions": evidence.directions if evidence else None,
                "persistent": evidence.persistent if evidence else None,
                "verified": evidence.verified if evidence else None,
                "shuffled": max(evidence.shuffled_reproduced, default=None) if evidence else None,
                "best_agreement": max(evidence.agreement) if evidence else None,
                "p_value": evidence.test.p_value if evidence and evidence.test else None,
                "seconds": report.budget.seconds_used,
            }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder with fashion_mnist.npz and cifar10.npz")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", default="", help="victims whose name contains this")
    parser.add_argument("--profile", default="standard")
    parser.add_argument("--output", type=Path, help="also write the rows as JSON")
    options = parser.parse_args()
    rows = []
    chosen = [recipe for recipe in RECIPES if options.only in recipe.name]
    print("| victim | seed | level | explained | reproduced | directions | persistent | verified | shuffled | p | s |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for row in measure(chosen, options.data, options.seeds, options.profile):
        rows.append(row)
        print(
            f"| {row['victim']} | {row['seed']} | {row['level']} | {row['explained']:.2f} | {row['reproduced']} | "
            f"{row['directions']} | {row['persistent']} | {row['verified']} | {row['shuffled']} | {row['p_value']} | "
            f"{row['seconds']:.0f} |",
            flush=True,
        )
    if options.output:
        options.output.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
