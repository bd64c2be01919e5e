"""Network inversion: one conditioned generator whose images a target puts where they were asked to be put.

It needs a target and nothing else: no image, no score. Public names: `Conditions`, `Generator`, `build`, `sample`,
`Weights`, `Batch`, `invert`, `agreement`, and the modules `losses` and `reading`.
"""

from auditcli.generator import losses, reading
from auditcli.generator._conditions import Conditions
from auditcli.generator._invert import Batch, Weights, invert
from auditcli.generator._network import Generator, build, sample
from auditcli.generator._samples import agreement

__all__ = [
    "Batch",
    "Conditions",
    "Generator",
    "Weights",
    "agreement",
    "build",
    "invert",
    "losses",
    "reading",
    "sample",
]
