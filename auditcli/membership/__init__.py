"""Membership signals, one file each: one score an image, higher = more likely a member.

Public names: `Signal`, `all_signals`, `signal`.
"""

from auditcli.membership._signal import Signal, all_signals, signal

__all__ = ["Signal", "all_signals", "signal"]
