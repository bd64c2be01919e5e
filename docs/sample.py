"""Puts what `privaudit demo` prints into the README, at 80 columns, from the report it wrote.

    privaudit demo --output privaudit-report --fail-on never
    python docs/sample.py privaudit-report

Public names: `refreshed`, `sample`.
"""

from __future__ import annotations

import argparse
import re
from io import StringIO
from pathlib import Path

from rich.console import Console

from auditcli.report import FORMATS, Report, read
from auditcli.terminal import show_report

_README = Path(__file__).parents[1] / "README.md"
_BLOCK = re.compile(r"(?<=^```text\n).*?(?=^```$)", re.M | re.S)
_WRITTEN = ("html", "md", "json")
"""What `privaudit demo` writes unless told otherwise, in its order."""


def sample(report: Report) -> str:
    """The terminal output of the command that wrote a report, without the blanks at the ends of lines."""
    stream = StringIO()
    files = [Path("privaudit-report") / FORMATS[name].file for name in _WRITTEN]
    show_report(Console(file=stream, width=80), report, files)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def refreshed(readme: str, report: Report) -> str:
    """The README with the sample made again.

    Raises:
        ValueError: it has no block of text, or several.
    """
    if len(_BLOCK.findall(readme)) != 1:
        raise ValueError("the README needs one block of text for the sample")
    return _BLOCK.sub(lambda _: sample(report), readme)


def main() -> None:
    """Read, print to a string, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("report", type=Path, help="folder that `privaudit demo` wrote")
    options = parser.parse_args()
    text = refreshed(_README.read_text(encoding="utf-8"), read(options.report))
    _README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
