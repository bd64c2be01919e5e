"""Does a target lean on one place of the image, as on a mark in a corner that came with a class?

From the weights alone: where squares move a class's answer, images inverted for each class, where the evidence in them
sits, and a score of how far a class is concentrated at one place. With images: what becomes of the answers when that
place is changed. Nothing here is a verdict.

Public names: `diagnose`, `Diagnosis`, `Shortcut`, `THRESHOLD`, `ORDINARY`, `SIDES`, `concentration`. What it is made
of: `sway`, `Sway`, `slope`, `neutral`, `contrast`, `framed`, `evidence`, `boxes`, `inverted`, `Inverted`, `scores`.
With images: `interventions`, `Intervention`, `masked`, `moved`, `swapped`, `Place`.
"""

from auditcli.shortcut._diagnosis import ORDINARY, SIDES, THRESHOLD, Diagnosis, Shortcut, concentration, diagnose
from auditcli.shortcut._evidence import boxes, evidence
from auditcli.shortcut._interventions import Intervention, interventions, masked, moved, swapped
from auditcli.shortcut._inversion import Inverted, inverted, scores
from auditcli.shortcut._place import Place
from auditcli.shortcut._stamps import Sway, contrast, framed, neutral, slope, sway

__all__ = [
    "ORDINARY",
    "SIDES",
    "THRESHOLD",
    "Diagnosis",
    "Intervention",
    "Inverted",
    "Place",
    "Shortcut",
    "Sway",
    "boxes",
    "concentration",
    "contrast",
    "diagnose",
    "evidence",
    "framed",
    "interventions",
    "inverted",
    "masked",
    "moved",
    "neutral",
    "scores",
    "slope",
    "swapped",
    "sway",
]
