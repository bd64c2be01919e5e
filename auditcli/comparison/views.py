"""A comparison as HTML, Markdown and JSON. Public names: `VIEWS`, `render`."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from markupsafe import Markup

from auditcli.comparison import drawing, wording
from auditcli.comparison.schema import Comparison
from auditcli.errors import UsageError
from auditcli.report.template import fill_html, fill_markdown
from auditcli.resources import resource


def render(comparison: Comparison, view: str) -> str:
    """The whole text of a comparison in one view.

    Args:
        comparison: What to show.
        view: A key of `VIEWS`.

    Raises:
        UsageError: there is no such view.
    """
    if view not in VIEWS:
        raise UsageError(f"unknown format {view!r} of a comparison", hint=f"use --format text|{'|'.join(VIEWS)}")
    return VIEWS[view](comparison)


def _html(comparison: Comparison) -> str:
    style = "".join(resource("templates", name).read_text(encoding="utf-8") for name in ("report.css", "compare.css"))
    return fill_html(
        "compare.html.j2",
        comparison=comparison,
        words=wording,
        drawing=drawing,
        style=Markup(style),  # noqa: S704  shipped with the package
    )


def _markdown(comparison: Comparison) -> str:
    return fill_markdown("compare.md.j2", comparison=comparison, words=wording)


VIEWS: MappingProxyType[str, Callable[[Comparison], str]] = MappingProxyType(
    {"html": _html, "md": _markdown, "json": Comparison.to_json}
)
