"""The page about the model card shows what the code writes."""

import re
from pathlib import Path

from report_examples import example

from auditcli.report import render
from auditcli.report.card._metadata import put

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "model-card.md").read_text(encoding="utf-8")
CARD = "---\nlicense: mit\n---\n"


def block(language, start):
    """The block of code in that language that begins like that."""
    (found,) = re.findall(rf"^```{language}\n({re.escape(start)}.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return found


def test_the_section_shown_is_the_one_written():
    assert block("markdown", "<!-- privaudit:begin -->\n") == render(example("high"), "card")


def test_the_metadata_shown_is_the_one_written():
    assert block("yaml", "---\n") == put(CARD, example("high"))
