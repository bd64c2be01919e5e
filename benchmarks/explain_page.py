"""Writes tables into docs/benchmarks-explain.md, each between two comments that name it. Public name: `write`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
from page import processor

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks-explain.md"


def write(tables: Mapping[str, Sequence[str]]) -> None:
    """Replace each table by its name, and say under it when and on what it was measured."""
    text = PAGE.read_text(encoding="utf-8")
    when = f"Measured on {datetime.now(UTC):%d %B %Y}, one thread of {processor()}, torch {torch.__version__}."
    for name, lines in tables.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        body = "\n".join((begin, "", *lines, "", when, "", end))
        before, rest = text.split(begin, 1)
        text = before + body + rest.split(end, 1)[1]
    PAGE.write_text(text, encoding="utf-8")
