"""Fills the shipped templates, with everything escaped that the template does not write itself.

Public names: `fill_html`, `fill_markdown`.
"""

import json
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from auditcli.report import number, summary, wording
from auditcli.report.schema import Report
from auditcli.report.text import attribute, clean, code, options, path, plain
from auditcli.resources import resource


def fill_html(template: str, report: Report | None = None, **more: object) -> str:
    """The text of an HTML template; autoescape does the escaping."""
    return _fill(_html(), template, report, more)


def fill_markdown(template: str, report: Report | None = None, **more: object) -> str:
    """The text of a Markdown template: `plain` escapes what it prints, unless a filter of `text` already did."""
    return _fill(_markdown(), template, report, more)


@cache  # compiling the templates takes longer than filling them
def _html() -> Environment:
    environment = _environment(clean)
    environment.filters["options"] = options
    return environment


@cache
def _markdown() -> Environment:
    environment = _environment(plain)
    environment.filters |= {"attribute": attribute, "code": code, "path": path}
    return environment


def _fill(environment: Environment, template: str, report: Report | None, more: dict[str, object]) -> str:
    return environment.get_template(template).render(report=report, summary=summary, wording=wording, **more)


def _environment(escape: Callable[[str], str]) -> Environment:
    """An environment that escapes each printed value; only `Markup` (macros, our own drawings) goes through as it is.

    Autoescape is on for Markdown too: it leaves the `Markup` of `plain` alone, and would turn what `plain` missed into
    harmless entities.
    """

    def printed(value: Any) -> Any:
        return value if isinstance(value, Markup) else escape(str(value))

    environment = Environment(
        loader=FileSystemLoader(resource("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printed,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters = (
        number.p_value,
        number.p_claim,
        number.score,
        number.estimate,
        number.percent,
        number.interval,
        number.rate_interval,
        number.duration,
        number.count,
        number.statistic,
        number.size,
        number.moment,
    )
    environment.filters |= {function.__name__: function for function in filters}
    environment.filters["json"] = partial(json.dumps, ensure_ascii=False)
    return environment
