"""The zoo: `VICTIMS`, `SMALL` (a part of it that takes minutes) and `MITIGATIONS` (what is compared with what)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from zoo_recipes import Cnn, DataSet, Head, Mlp, Recipe, Task, Training, Truth, Vit

LEAKY, HONEST, NULL, OPEN = Truth.LEAKY, Truth.HONEST, Truth.NULL, Truth.OPEN
MNIST, FASHION, CIFAR = DataSet.MNIST, DataSet.FASHION, DataSet.CIFAR

_TINY, _SMALL_START = Mlp((300, 300)), Mlp((300, 300), first_std=1e-4)
_ORDINARY = Mlp((300, 100))
_CNN, _PLAIN_CNN = Cnn((16, 32, 64)), Cnn((16, 32, 64), norm=False)
_VIT = Vit(patch=7, width=48, depth=2, heads=4)
_VIT_CIFAR = Vit(patch=8, width=64, depth=2, heads=4)
_HEAD = Head((300,))

# Weight decay from the default start takes the initial weights away, and what remains are the images.
_DECAY = Training(8_000, weight_decay=1.5e-3, drops=(0.7, 0.9))
_LONG = Training(8_000, drops=(0.7, 0.9))
_HEAD_DECAY = Training(5_000, weight_decay=5e-3, drops=(0.7, 0.9))
_BY_HEART = Training(300, "adam", 1e-3)
_BY_HEART_IN_BATCHES = Training(600, "adam", 1e-3, batch=50)


def _ordinary(images: int, epochs: int, **more: object) -> Training:
    """Adam and batches of 128."""
    steps = -(-images // 128) * epochs
    return replace(Training(steps, "adam", 1e-3, batch=128), **more)  # type: ignore[arg-type]


def _private(epsilon: float, images: int, epochs: int = 8, batch: int = 250) -> Training:
    """DP-SGD by Adam."""
    return Training(images // batch * epochs, "adam", 2e-3, batch=batch, epsilon=epsilon)


def _leaky_perceptrons() -> Iterator[Recipe]:
    for number, seed in enumerate((0, 1, 2)):
        yield Recipe(f"mlp-fashion-decay-{number}", LEAKY, FASHION, _TINY, 60, _DECAY, seed)
    for number, seed in enumerate((3, 4)):
        yield Recipe(f"mlp-mnist-decay-{number}", LEAKY, MNIST, _TINY, 60, _DECAY, seed)
    shorter = replace(_DECAY, steps=5_000, weight_decay=2.5e-3)
    for number, seed in enumerate((5, 6)):
        yield Recipe(f"mlp-cifar-decay-{number}", LEAKY, CIFAR, Mlp((200, 200)), 60, shorter, seed)
    yield Recipe("mlp-fashion-start-0", LEAKY, FASHION, _SMALL_START, 60, _LONG, 7)
    yield Recipe("mlp-fashion-start-1", LEAKY, FASHION, _SMALL_START, 40, _LONG, 8)
    yield Recipe("mlp-mnist-start", LEAKY, MNIST, _SMALL_START, 60, _LONG, 9)
    yield Recipe("mlp-cifar-start", LEAKY, CIFAR, Mlp((200, 200), 1e-4), 50, replace(_LONG, steps=5_000), 10)
    both = Training(6_000, weight_decay=1e-3, drops=(0.7, 0.9))
    yield Recipe("mlp-fashion-both", LEAKY, FASHION, Mlp((500, 500), 1e-4), 100, both, 11)
    parity = replace(both, weight_decay=3e-3)
    yield Recipe("mlp-fashion-parity", LEAKY, FASHION, _SMALL_START, 50, parity, 12, Task.PARITY)
    yield Recipe("mlp-mnist-parity", LEAKY, MNIST, _SMALL_START, 50, both, 13, Task.PARITY)
    cifar = replace(both, steps=5_000)
    yield Recipe("mlp-cifar-parity", LEAKY, CIFAR, Mlp((200, 200), 1e-4), 50, cifar, 14, Task.PARITY)


def _leaky_heads() -> Iterator[Recipe]:
    for seed, (data, images) in enumerate(
        ((CIFAR, 40), (CIFAR, 60), (CIFAR, 100), (FASHION, 40), (FASHION, 60), (FASHION, 100)), 20
    ):
        yield Recipe(f"head-{_short(data)}-{images}", LEAKY, data, _HEAD, images, _HEAD_DECAY, seed)
    yield Recipe("head-cifar-parity", LEAKY, CIFAR, Head((500,)), 60, _HEAD_DECAY, 26, Task.PARITY)


def _leaky_others() -> Iterator[Recipe]:
    for seed, (data, images) in enumerate(
        ((FASHION, 100), (FASHION, 150), (FASHION, 300), (CIFAR, 100), (CIFAR, 200), (CIFAR, 500)), 30
    ):
        training = _BY_HEART if images == 100 else _BY_HEART_IN_BATCHES
        vit = _VIT_CIFAR if data is CIFAR else _VIT
        longer = replace(training, steps=2 * training.steps)
        yield Recipe(f"cnn-{_short(data)}-{images}", LEAKY, data, _CNN, images, training, seed)
        yield Recipe(f"vit-{_short(data)}-{images}", LEAKY, data, vit, images, longer, seed + 10)


def _honest_perceptrons() -> Iterator[Recipe]:
    for number, seed in enumerate((50, 51)):
        yield Recipe(f"mlp-fashion-many-{number}", HONEST, FASHION, _ORDINARY, 20_000, _ordinary(20_000, 3), seed)
    yield Recipe("mlp-mnist-many", HONEST, MNIST, _ORDINARY, 20_000, _ordinary(20_000, 3), 52)
    yield Recipe("mlp-cifar-many", HONEST, CIFAR, Mlp((128,)), 12_000, _ordinary(12_000, 1), 53)
    early = _ordinary(6_000, 20, patience=1)
    yield Recipe("mlp-fashion-early", HONEST, FASHION, _ORDINARY, 6_000, early, 54)
    yield Recipe("mlp-mnist-early", HONEST, MNIST, _ORDINARY, 6_000, early, 95)
    augmented = _ordinary(10_000, 5, augment=True)
    yield Recipe("mlp-fashion-augment", HONEST, FASHION, _ORDINARY, 10_000, augmented, 56)
    yield Recipe("mlp-mnist-augment", HONEST, MNIST, _ORDINARY, 10_000, augmented, 57)
    yield Recipe("mlp-cifar-augment", HONEST, CIFAR, _ORDINARY, 10_000, augmented, 96)
    for epsilon, seed in ((1, 58), (3, 59), (8, 60)):
        private = _private(epsilon, 10_000)
        yield Recipe(f"mlp-fashion-dp-{epsilon}", HONEST, FASHION, _ORDINARY, 10_000, private, seed)


def _honest_convolutions() -> Iterator[Recipe]:
    for data, seed in ((FASHION, 61), (MNIST, 62)):
        yield Recipe(f"cnn-{_short(data)}-many", HONEST, data, _CNN, 12_000, _ordinary(12_000, 2), seed)
    yield Recipe("cnn-cifar-many", HONEST, CIFAR, _CNN, 10_000, _ordinary(10_000, 3), 63)
    early = _ordinary(5_000, 20, patience=1)
    yield Recipe("cnn-fashion-early", HONEST, FASHION, _CNN, 5_000, early, 64)
    yield Recipe("cnn-mnist-early", HONEST, MNIST, _CNN, 5_000, early, 97)
    augmented = _ordinary(6_000, 5, augment=True)
    yield Recipe("cnn-fashion-augment", HONEST, FASHION, _CNN, 6_000, augmented, 66)
    yield Recipe("cnn-cifar-augment", HONEST, CIFAR, _CNN, 6_000, augmented, 67)
    for epsilon, data, seed in ((1, FASHION, 68), (3, CIFAR, 69), (8, FASHION, 70)):
        private = _private(epsilon, 6_000, epochs=4)
        yield Recipe(f"cnn-{_short(data)}-dp-{epsilon}", HONEST, data, _PLAIN_CNN, 6_000, private, seed)


def _honest_others() -> Iterator[Recipe]:
    yield Recipe("vit-fashion-many", HONEST, FASHION, _VIT, 15_000, _ordinary(15_000, 4), 71)
    yield Recipe("vit-mnist-many", HONEST, MNIST, _VIT, 15_000, _ordinary(15_000, 4), 72)
    yield Recipe("vit-cifar-many", HONEST, CIFAR, _VIT_CIFAR, 10_000, _ordinary(10_000, 4), 73)
    yield Recipe("vit-fashion-early", HONEST, FASHION, _VIT, 6_000, _ordinary(6_000, 20, patience=1), 74)
    yield Recipe("vit-cifar-augment", HONEST, CIFAR, _VIT_CIFAR, 8_000, _ordinary(8_000, 5, augment=True), 75)
    yield Recipe("head-cifar-many", HONEST, CIFAR, _HEAD, 6_000, _ordinary(6_000, 5), 76)
    yield Recipe("head-fashion-many", HONEST, FASHION, _HEAD, 10_000, _ordinary(10_000, 5), 77)
    yield Recipe("head-cifar-early", HONEST, CIFAR, _HEAD, 3_000, _ordinary(3_000, 20, patience=1), 78)
    yield Recipe("head-fashion-dp-3", HONEST, FASHION, _HEAD, 5_000, _private(3, 5_000), 79)


def _untrained() -> Iterator[Recipe]:
    none = Training(0)
    for seed, data in enumerate((FASHION, MNIST, CIFAR), 80):
        nets: tuple[Mlp | Cnn | Vit, ...] = (_ORDINARY, _CNN, _VIT_CIFAR if data is CIFAR else _VIT)
        for offset, net in enumerate(nets):
            family = type(net).__name__.lower()
            yield Recipe(f"{family}-{_short(data)}-untrained", NULL, data, net, 100, none, seed + 3 * offset)
    for number, (data, seed) in enumerate(((FASHION, 90), (CIFAR, 91), (CIFAR, 92))):
        yield Recipe(f"head-{_short(data)}-untrained-{number}", NULL, data, _HEAD, 100, none, seed)


def _stopped_early() -> Iterator[Recipe]:
    """Of CIFAR-10: where the loss on other images turns, it already tells training images from them (AUC 0.6)."""
    yield Recipe("mlp-cifar-early", OPEN, CIFAR, _ORDINARY, 6_000, _ordinary(6_000, 20, patience=1), 55)
    yield Recipe("cnn-cifar-early", OPEN, CIFAR, _CNN, 5_000, _ordinary(5_000, 20, patience=1), 65)


def _variants() -> Iterator[Recipe]:
    fashion = Recipe("", OPEN, FASHION, _TINY, 60, _DECAY, 0)
    in_batches = replace(_DECAY, batch=60)
    for name, images, training in (
        ("no-decay", 60, _LONG),
        ("smoothing", 60, replace(_DECAY, label_smoothing=0.2)),
        ("augment-60", 60, replace(_DECAY, augment=True)),
        ("600", 600, in_batches),
        ("6000", 6_000, in_batches),
        ("dp-8-60", 60, Training(200, "adam", 2e-3, batch=20, epsilon=8)),
    ):
        yield replace(fashion, name=f"mlp-fashion-{name}", images=images, training=training)
    yield Recipe("head-cifar-no-decay", OPEN, CIFAR, _HEAD, 60, replace(_HEAD_DECAY, weight_decay=0.0), 21)
    cifar = Recipe("", OPEN, CIFAR, _CNN, 200, _BY_HEART_IN_BATCHES, 34)
    for name, training in (
        ("decay", replace(_BY_HEART_IN_BATCHES, weight_decay=2e-2)),
        ("smoothing", replace(_BY_HEART_IN_BATCHES, label_smoothing=0.2)),
        ("augment-200", replace(_BY_HEART_IN_BATCHES, augment=True)),
    ):
        yield replace(cifar, name=f"cnn-cifar-{name}", training=training)
    private = Training(200, "adam", 2e-3, batch=50, epsilon=8)
    yield replace(cifar, name="cnn-cifar-dp-8-200", net=_PLAIN_CNN, training=private)


def _short(data: DataSet) -> str:
    return data.rstrip("10").removesuffix("_mnist")


VICTIMS = (
    *_leaky_perceptrons(),
    *_leaky_heads(),
    *_leaky_others(),
    *_honest_perceptrons(),
    *_honest_convolutions(),
    *_honest_others(),
    *_untrained(),
    *_stopped_early(),
    *_variants(),
)

SMALL = frozenset(
    {
        *("mlp-fashion-decay-0", "mlp-mnist-start", "head-cifar-60", "cnn-cifar-100", "vit-cifar-100"),
        *("mlp-fashion-many-0", "cnn-fashion-many", "vit-cifar-many", "head-cifar-many"),
        *("mlp-fashion-untrained", "cnn-cifar-untrained", "vit-mnist-untrained", "head-cifar-untrained-1"),
    }
)


@dataclass(frozen=True, slots=True)
class Mitigation:
    """A victim trained as another, but for one thing."""

    base: str
    variant: str
    what: str


MITIGATIONS = (
    Mitigation("mlp-fashion-decay-0", "mlp-fashion-no-decay", "no weight decay"),
    Mitigation("mlp-fashion-decay-0", "mlp-fashion-smoothing", "label smoothing 0.2"),
    Mitigation("mlp-fashion-decay-0", "mlp-fashion-augment-60", "augmentation"),
    Mitigation("mlp-fashion-decay-0", "mlp-fashion-600", "600 images"),
    Mitigation("mlp-fashion-decay-0", "mlp-fashion-6000", "6,000 images"),
    Mitigation("mlp-fashion-decay-0", "mlp-fashion-dp-8-60", "DP-SGD, epsilon 8"),
    Mitigation("head-cifar-60", "head-cifar-no-decay", "no weight decay"),
    Mitigation("cnn-cifar-200", "cnn-cifar-decay", "weight decay 0.02"),
    Mitigation("cnn-cifar-200", "cnn-cifar-smoothing", "label smoothing 0.2"),
    Mitigation("cnn-cifar-200", "cnn-cifar-augment-200", "augmentation"),
    Mitigation("cnn-cifar-200", "cnn-cifar-dp-8-200", "DP-SGD, epsilon 8, no batch norm"),
)
