"""Membership signals, one file each: one score an image, higher = more likely a member.

Public names: `Query`, `Signal`, `all_signals`, `signal`.
"""

from auditcli.membership._signal import Query, Signal, all_signals, signal

__all__ = ["Query", "Signal", "all_signals", "signal"]
