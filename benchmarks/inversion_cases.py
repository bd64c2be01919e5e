"""What network inversion is measured on: `Case`, `CASES`, in the order in which they are run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from inversion_victims import Subject, short
from zoo_recipes import Cnn, DataSet, Mlp, Recipe, Training, Truth, Vit

TERMS = ("kl", "ce", "cosine", "orthogonality", "kl_perturbed", "ce_perturbed", "variation", "pixel", "gradient")
MLP, CNN, PLAIN_CNN = Mlp((300, 300, 200, 100)), Cnn((16, 32, 64)), Cnn((16, 32, 64), norm=False)
VIT = Vit(patch=4, width=32, depth=3, heads=4)
NETS: Mapping[str, Mlp | Cnn | Vit] = {"MLP": MLP, "CNN": CNN, "ViT": VIT}
SETS = (DataSet.MNIST, DataSet.FASHION, DataSet.CIFAR)
FEW, MORE = 100, 1000
_BY_HEART = Training(300, "adam", 1e-3, batch=50)


@dataclass(frozen=True, slots=True)
class Case:
    """One victim and one way to invert it."""

    part: str
    """The table it belongs to."""
    name: str
    """Its line there."""
    subject: Subject
    settings: Mapping[str, float | bool] = field(default_factory=dict)
    """Of the attack, where they are not the defaults."""
    attack: str = "inversion"


def _recipe(data: DataSet, net: Mlp | Cnn | Vit, images: int = FEW, training: Training = _BY_HEART) -> Recipe:
    truth = Truth.LEAKY if training.steps else Truth.NULL
    return Recipe("inversion", truth, data, net, images, training, seed=7)


def _cases() -> Iterator[Case]:
    for data in SETS:
        for family, net in NETS.items():
            yield Case("main", f"{short(data)}, {family}", Subject(_recipe(data, net)))
    for data in SETS:
        for family, net in NETS.items():
            untrained = Subject(_recipe(data, net, training=Training(0)))
            yield Case("null", f"{short(data)}, {family}, untrained", untrained)
        yield Case("null", f"{short(data)}, noise", Subject(_recipe(data, MLP)), attack="noise")
    for family in ("MLP", "CNN"):
        subject = Subject(_recipe(DataSet.FASHION, NETS[family]))
        for term in TERMS:
            yield Case("terms", f"{family}, without {term}", subject, {term: 0.0})
        yield Case("terms", f"{family}, gradient of all layers", subject, {"all_layers": True})
        yield Case("terms", f"{family}, without dropout", subject, {"dropout": 0.0})
    for patch, depth in ((4, 3), (7, 3), (14, 3), (7, 2), (7, 4), (7, 8)):
        net = replace(VIT, patch=patch, depth=depth)
        yield Case("vit", f"patch {patch}, depth {depth}", Subject(_recipe(DataSet.FASHION, net)))
    for family, plain in (("MLP", MLP), ("CNN", PLAIN_CNN)):
        for name, subject in _trainings(_recipe(DataSet.FASHION, plain)):
            yield Case("training", f"{family}, {name}", subject)
    for family, net in NETS.items():
        subject = Subject(_recipe(DataSet.FASHION, net, MORE, replace(_BY_HEART, steps=1000)))
        yield Case("more", f"{short(DataSet.FASHION)}, {family}", subject)


def _trainings(plain: Recipe) -> Iterator[tuple[str, Subject]]:
    yield "plain", Subject(plain)
    yield "weight decay 0.01", Subject(replace(plain, training=replace(_BY_HEART, weight_decay=1e-2)))
    yield "dropout 0.3", Subject(plain, dropout=0.3)
    yield "augmentation", Subject(replace(plain, training=replace(_BY_HEART, augment=True)))
    yield "DP-SGD, epsilon 8", Subject(replace(plain, training=Training(100, "adam", 2e-3, batch=20, epsilon=8)))


CASES = tuple(_cases())
