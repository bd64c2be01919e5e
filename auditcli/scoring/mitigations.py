"""What the owner of a model can do about a finding.

Public names: `Kind`, `mitigations`.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Kind(StrEnum):
    """What leaks: the images themselves, or only who is among them."""

    RECONSTRUCTION = "reconstruction"
    MEMBERSHIP = "membership"


_TEXTS: dict[Kind, tuple[str, ...]] = {
    # Facts: a small first-layer initialisation and weight decay over long training both fade the initial weights,
    # which are the noise that hides the training images (Haim et al. 2022, Buzaglo et al. 2023, Oz et al. 2024).
    Kind.RECONSTRUCTION: (
        "Do not publish these weights; offer predictions through an API, or share the model under an agreement.",
        "If weights must be published, hold back the first layer or retrain: that layer's rows carry the images.",
        "Train on more images and stop earlier: few images trained to a loss near zero are stored in the weights.",
        "Start the first layer from a standard initialisation; a small one leaves nothing to hide the images in.",
        "Avoid strong weight decay over long training: it fades the initial weights and leaves the images.",
        "Fine-tune a model pretrained on public images instead of training from scratch.",
    ),
    Kind.MEMBERSHIP: (
        "Train on more images and stop earlier, at the best validation loss.",
        "Use augmentation, so that no image is seen often in the same form.",
        "Treat the list of training images as disclosed: who is among them can be inferred.",
    ),
}
_ALWAYS = (
    "Train with differential privacy (DP-SGD, e.g. with Opacus): only it bounds what any attack can find.",
    "Audit the new weights again with the same budget, members and controls.",
)


def mitigations(kinds: Iterable[Kind]) -> tuple[str, ...]:
    """Advice for what was found, strongest first, nothing twice.

    Args:
        kinds: What leaks; empty where nothing was found.

    Returns:
        Sentences; none where nothing was found.
    """
    specific = [text for kind in kinds for text in _TEXTS[kind]]
    return tuple(dict.fromkeys([*specific, *_ALWAYS])) if specific else ()
