"""Hand-written classifiers as people write them, each with what its state dict does not say: `cases`."""

from __future__ import annotations

from bare_case import Case
from bare_convnets import convnets
from bare_perceptrons import perceptrons
from bare_transformers import transformers


def cases() -> tuple[Case, ...]:
    """All of them."""
    return (*perceptrons(), *convnets(), *transformers())
