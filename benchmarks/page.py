"""What pages of measurements share: `markdown`, `processor`."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path


def markdown(header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [f"| {' | '.join(map(str, cells))} |" for cells in (header, *rows)]
    return [lines[0], f"|---|{'---|' * (len(header) - 1)}", *lines[1:]]


def processor() -> str:
    """Its name, as far as the system tells."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
