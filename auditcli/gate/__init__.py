"""The gate: whether a report lets a model be released. It judges reports alone, and imports no torch.

Public names: `Policy`, `Thresholds`, `Waiver`, `read_policy`, `rule`, `Ruling`, `Demand`, `render`, `FORMATS`.
"""

from auditcli.gate.demands import Demand
from auditcli.gate.formats import FORMATS, render
from auditcli.gate.policy_file import Policy, Thresholds, Waiver, read_policy
from auditcli.gate.ruling import Ruling, rule

__all__ = ["FORMATS", "Demand", "Policy", "Ruling", "Thresholds", "Waiver", "read_policy", "render", "rule"]
