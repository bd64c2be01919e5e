"""Recognises what a checkpoint is and builds an executable model of it.

Public names: `identify`, `build`, `rebuilt`, `seated`, `Options`, and for what images choose `Choice`,
`NORMALISATION`, `SHAPE`.
One file here is one family: it holds exactly one `Template`, and is found by looking into this folder.
"""

from auditcli.families._identify import build, identify
from auditcli.families._options import NORMALISATION, SHAPE, Choice, Options
from auditcli.families._rebuilt import rebuilt
from auditcli.families._seated import seated

__all__ = ["NORMALISATION", "SHAPE", "Choice", "Options", "build", "identify", "rebuilt", "seated"]
