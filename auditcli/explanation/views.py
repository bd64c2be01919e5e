"""An explanation as HTML and JSON, and on disk. Public names: `VIEWS`, `render`, `write`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

from markupsafe import Markup

from auditcli.errors import UsageError
from auditcli.explanation import wording
from auditcli.explanation.schema import Explanation
from auditcli.report.file import replace
from auditcli.report.template import fill_html
from auditcli.report.text import clean
from auditcli.resources import resource


def render(explanation: Explanation, view: str) -> str:
    """The whole text of an explanation in one view, a key of `VIEWS`.

    Raises:
        UsageError: there is no such view.
    """
    if view not in VIEWS:
        raise UsageError(f"unknown format {view!r} of an explanation", hint=f"use one of {', '.join(VIEWS)}")
    return VIEWS[view](explanation)


def write(explanation: Explanation, directory: Path) -> tuple[Path, ...]:
    """Write `explanation.json` and `explanation.html` into a folder, each whole or not at all.

    Raises:
        UsageError: The folder cannot be written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return tuple(
            replace(directory / f"explanation.{view}", render(explanation, view).encode("utf-8")) for view in VIEWS
        )
    except OSError as error:
        raise UsageError(
            f"the explanation cannot be written to {clean(str(directory))}: {error.strerror or type(error).__name__}",
            hint="--output FOLDER, one that you may write to",
        ) from error


def _html(explanation: Explanation) -> str:
    style = "".join(resource("templates", name).read_text(encoding="utf-8") for name in ("report.css", "explain.css"))
    return fill_html(
        "explain.html.j2",
        explanation=explanation,
        words=wording,
        style=Markup(style),  # noqa: S704  shipped with the package
    )


VIEWS: MappingProxyType[str, Callable[[Explanation], str]] = MappingProxyType(
    {"json": Explanation.to_json, "html": _html}
)
