"""privaudit: how much of its training data can be got back out of a shared vision classifier?

    >>> import auditcli
    >>> report = auditcli.audit("model.safetensors", reference="members/", controls="holdout/")  # doctest: +SKIP
    >>> report.verdict.level  # doctest: +SKIP
    'high'

Public names: `load` (a path to an executable `Target`), `audit` (a path to a `Report`), `Report`, `AuditError`. They
are imported when first used, so that `privaudit --help` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditcli.auditing import audit, load
    from auditcli.errors import AuditError
    from auditcli.report.schema import Report

__all__ = ["AuditError", "Report", "__version__", "audit", "load"]
__version__ = "0.1.0"

_HOMES = {
    "audit": "auditcli.auditing",
    "load": "auditcli.auditing",
    "Report": "auditcli.report.schema",
    "AuditError": "auditcli.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'auditcli' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
