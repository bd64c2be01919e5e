"""What the owner of a model can do about a finding.

Public names: `Kind`, `mitigations`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from auditcli.types import Trait


class Kind(StrEnum):
    """What leaks: the images themselves, or only who is among them."""

    RECONSTRUCTION = "reconstruction"
    MEMBERSHIP = "membership"


@dataclass(frozen=True, slots=True)
class _Advice:
    """A measure, and what it fits."""

    text: str
    kinds: frozenset[Kind]
    needs: frozenset[Trait] = frozenset()
    """Traits of the model without which it is pointless."""


_IMAGES, _WHO = frozenset({Kind.RECONSTRUCTION}), frozenset({Kind.MEMBERSHIP})
_BOTH = _IMAGES | _WHO

# Facts: a small first-layer initialisation and weight decay over long training both fade the initial weights, which
# are the noise that hides the training images (Haim et al. 2022, Buzaglo et al. 2023, Oz et al. 2024). What each
# measure did to a leak is in docs/zoo.md.
_ADVICE = (
    _Advice(
        "Do not publish these weights; offer predictions through an API, or share the model under an agreement.",
        _IMAGES,
    ),
    _Advice(
        "If weights must be published, hold back the first layer or retrain: that layer's rows carry the images.",
        _IMAGES,
        frozenset({Trait.FIRST_LAYER_LINEAR}),
    ),
    _Advice(
        "Train on more images and stop earlier, at the best validation loss: few images trained to a loss near zero "
        "are stored in the weights.",
        _BOTH,
    ),
    _Advice(
        "Avoid strong weight decay over long training on few images: it fades the initial weights and leaves the "
        "images.",
        _IMAGES,
    ),
    _Advice(
        "Start the first layer from a standard initialisation; a small one leaves nothing to hide the images in.",
        _IMAGES,
        frozenset({Trait.FIRST_LAYER_LINEAR}),
    ),
    _Advice("Fine-tune a model pretrained on public images instead of training from scratch.", _IMAGES),
    _Advice(
        "Train the head without weight decay, or on more images: under decay its first layer spans little but the "
        "features of its training images.",
        _WHO,
        frozenset({Trait.HEAD}),
    ),
    _Advice(
        "If the backbone is public, publish nothing that was trained on top of it: the difference is all yours.",
        _WHO,
        frozenset({Trait.HEAD}),
    ),
    _Advice(
        "Recompute the batch-norm statistics on public images before release: those recorded are means over your own.",
        _WHO,
        frozenset({Trait.BATCH_NORM}),
    ),
    _Advice("Use augmentation, so that no image is seen often in the same form.", _BOTH),
    _Advice("Treat the list of training images as disclosed: who is among them can be inferred.", _WHO),
    _Advice(
        "Train with differential privacy (DP-SGD, e.g. with Opacus): only it bounds what any attack can find.", _BOTH
    ),
    _Advice("Audit the new weights again with the same budget, members and controls.", _BOTH),
)


def mitigations(kinds: Iterable[Kind], traits: frozenset[Trait] = frozenset()) -> tuple[str, ...]:
    """Advice for what was found and for the model it was found in, strongest first.

    Args:
        kinds: What leaks; empty where nothing was found.
        traits: Of the model; advice that rests on others is left out.

    Returns:
        Sentences; none where nothing was found.
    """
    found = frozenset(kinds)
    return tuple(advice.text for advice in _ADVICE if advice.kinds & found and advice.needs <= traits)
