"""What one attack or one signal came to, in a line of plain text. Public names: `attack_figures`, `signal_figures`."""

from auditcli.report import number
from auditcli.report.schema import Attack, Membership


def attack_figures(attack: Attack) -> str:
    """Similarity to members and controls, and the effort behind it."""
    effort = f"{number.count(attack.steps, 'step')} in {number.duration(attack.seconds)}"
    ssim = attack.ssim
    if ssim is None:
        return effort
    best = f"best SSIM {number.score(ssim.top[0])}, " if ssim.top else ""
    controls = (
        "no controls to compare with"
        if ssim.controls_over_half is None
        else f"{number.count(ssim.controls_over_half)} of {number.count(ssim.n_controls, 'control')}"
    )
    members = f"{number.count(ssim.members_over_half)} of {number.count(ssim.n_members, 'member')}"
    return f"{best}{members} at SSIM of at least 0.5, {controls}; {effort}"


def signal_figures(signal: Membership) -> str:
    """How well the signal tells members from controls."""
    rate = signal.tpr_at_fpr and signal.tpr_at_fpr.at_1_percent
    parts = (
        f"AUC {number.interval(signal.auc)}" if signal.auc else "",
        f"{number.rate_interval(rate)} of the members named at 1% false alarms" if rate else "",
        number.p_claim(signal.test.p_value) if signal.test else "",
    )
    return "; ".join(part for part in parts if part)
