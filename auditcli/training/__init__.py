"""Trains models of the target's architecture on images of the auditor.

Public names: `fresh`, `fit`, `predicted`, `Recipe`, `Fitted`; `shadows`, `split`, `part`, `SHADOW`.
"""

from auditcli.training._fit import Fitted, Recipe, fit, predicted
from auditcli.training._fresh import fresh
from auditcli.training._shadows import SHADOW, part, shadows, split

__all__ = ["SHADOW", "Fitted", "Recipe", "fit", "fresh", "part", "predicted", "shadows", "split"]
