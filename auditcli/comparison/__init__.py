"""Two audits side by side: what moved, whether it is more than chance, and whether they may be compared at all.

Public names: `compare`, `Comparison`, `render`, `VIEWS`. Nothing here imports torch. Whether the members and the
controls of one audit can be compared is another question: `auditcli.comparability`.
"""

from auditcli.comparison._compare import compare
from auditcli.comparison.schema import Comparison
from auditcli.comparison.views import VIEWS, render

__all__ = ["VIEWS", "Comparison", "compare", "render"]
