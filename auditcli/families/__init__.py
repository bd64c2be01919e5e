"""Recognises what a checkpoint is and builds an executable model of it.

Public names: `identify`, `build`, `Options`. One file here is one family: it holds exactly one `Template`, and is found
by looking into this folder.
"""

from auditcli.families._identify import build, identify
from auditcli.families._options import Options

__all__ = ["Options", "build", "identify"]
