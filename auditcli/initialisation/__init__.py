"""The initialisation check: the same attack from different starts, and what that says about its evidence.

Runkel et al. 2024: what a reconstruction shows depends on where it began, and its objective does not say whether it
began near the truth. This is the only place that opens the door of `attacks.run` for images.

Public names: `check`, `checked`, `Start`, `Kind`, `own`, `held_out`, `near`, `Run`, `runs`, `compared`, `Arrival`,
`Scores`, `InitialisationCheck`.
"""

from auditcli.initialisation._check import Run, check, compared, runs
from auditcli.initialisation._reading import checked
from auditcli.initialisation._result import Arrival, InitialisationCheck, Kind, Scores
from auditcli.initialisation._starts import Start, held_out, near, own

__all__ = [
    "Arrival",
    "InitialisationCheck",
    "Kind",
    "Run",
    "Scores",
    "Start",
    "check",
    "checked",
    "compared",
    "held_out",
    "near",
    "own",
    "runs",
]
