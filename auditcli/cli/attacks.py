"""`privaudit attacks`: the table of attacks and signals."""

from __future__ import annotations

from auditcli import policy, terminal


def attacks() -> int:
    """List attacks and membership signals: what each does, needs, and where it is from."""
    from auditcli.attacks import all_attacks
    from auditcli.membership import all_signals

    attacks = all_attacks()
    named = {attack.name for attack in attacks if attack.on_request}
    terminal.show_plugins(terminal.stdout(), "attack", attacks, on_request=named)
    terminal.write("\n")
    terminal.show_plugins(terminal.stdout(), "membership", all_signals())
    return policy.PASSED
