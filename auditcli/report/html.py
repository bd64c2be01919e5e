"""The HTML view: one file without scripts or outside requests. Public name: `render`."""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from auditcli.report import gallery, origins, wording
from auditcli.report.findings import Finding, findings
from auditcli.report.origins import Fact
from auditcli.report.plots import plots
from auditcli.report.schema import Model, Picture, Report
from auditcli.report.template import fill_html
from auditcli.report.text import options
from auditcli.report.wording import KindWords, OriginWords
from auditcli.resources import resource
from auditcli.rules import RULES, Rule


@dataclass(frozen=True, slots=True)
class Chapter:
    """The findings of one kind, those of one rule together."""

    words: KindWords
    entries: tuple[tuple[Rule, tuple[Finding, ...]], ...]


def render(report: Report) -> str:
    """The report as one HTML document, its pictures embedded as far as they are at hand."""

    def source(picture: Picture) -> str:
        return f"data:image/png;base64,{b64encode(report.pictures[picture.file]).decode('ascii')}"

    style = resource("templates", "report.css").read_text(encoding="utf-8")
    shown = gallery.exhibits(report)
    return fill_html(
        "report.html.j2",
        report,
        chapters=_chapters(findings(report)),
        choices=gallery.choices(shown),
        exhibits=shown,
        known=_known(report.model),
        orders=gallery.orders(report),
        plots=plots(report),
        prose=_prose,
        remarks=origins.remarks(report.model),
        rules=RULES,
        source=source,
        style=Markup(style),  # noqa: S704  shipped with the package
    )


def _prose(text: str) -> Markup:
    """A sentence of the catalogue, with what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(options(text))))  # noqa: S704  `options` escapes


def _chapters(found: Sequence[Finding]) -> tuple[Chapter, ...]:
    """Findings by kind and then by rule, in the order of the catalogue."""
    of = {rule: tuple(one for one in found if one.id == rule.id) for rule in RULES.values()}
    chapters = (
        Chapter(words, tuple((rule, ones) for rule, ones in of.items() if ones and rule.kind == kind))
        for kind, words in wording.KINDS.items()
    )
    return tuple(chapter for chapter in chapters if chapter.entries)


def _known(model: Model) -> tuple[tuple[str, OriginWords, tuple[Fact, ...]], ...]:
    """The facts about a model by where they are known from, the shakiest first; a group may be empty."""
    facts = origins.facts(model)
    return tuple(
        (origin, words, tuple(fact for fact in facts if fact.origin == origin))
        for origin, words in wording.ORIGINS.items()
    )
