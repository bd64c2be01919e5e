"""Attacks on a target, one file each, and the driver that runs them.

Public names: `Attack`, `all_attacks`, `attack`, `run`.
"""

from auditcli.attacks._attack import Attack, all_attacks, attack
from auditcli.attacks._driver import run

__all__ = ["Attack", "all_attacks", "attack", "run"]
