"""A binarised network as clauses: their solutions are the inputs to which the network gives a label.

Public names: `Formula`, `Encoding`, `encode`, `dimacs`; `Search` and `State`, which need python-sat.
"""

from auditcli.cnf._dimacs import dimacs
from auditcli.cnf._encoding import Encoding, encode
from auditcli.cnf._formula import Formula
from auditcli.cnf._search import Search, State

__all__ = ["Encoding", "Formula", "Search", "State", "dimacs", "encode"]
