"""Finds `templates/` and `fixtures/`: inside the installed package, or at the top of the checkout.

Public name: `resource`.
"""

from pathlib import Path

from auditcli.errors import AuditError


def resource(*parts: str) -> Path:
    """The path of a shipped file or folder, e.g. `resource("templates", "report.html.j2")`.

    A wheel carries the folders below the package (hatchling `force-include`); an editable install has them beside it.

    Raises:
        AuditError: the file is in neither place, so the installation is damaged.
    """
    package = Path(__file__).resolve().parent
    for root in (package / "_shipped", package.parent):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    raise AuditError(
        f"{'/'.join(parts)} is missing from the installation", hint="pip install --force-reinstall privaudit"
    )
