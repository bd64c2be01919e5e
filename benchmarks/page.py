"""What pages of measurements share: `markdown`, `processor`, `machine`, `inserted`."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import torch


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


def machine(device: torch.device) -> str:
    """When and on what something is measured, one line."""
    threads = torch.get_num_threads()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {name}, {os.cpu_count()} cores, {threads} thread{'s' * (threads > 1)}, torch "
        f"{torch.__version__}."
    )


def inserted(path: Path, name: str, lines: Iterable[str]) -> None:
    """Put lines between `<!-- NAME -->` and `<!-- /NAME -->` of a page, in place of what was there.

    Raises:
        ValueError: the page has no such place.
    """
    text, places = re.subn(
        rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
        lambda found: found[1] + "\n".join(lines) + "\n" + found[2],
        path.read_text(),
        flags=re.DOTALL,
    )
    if places != 1:
        raise ValueError(f"{path} has {places} places named {name}, expected one: <!-- {name} --> and <!-- /{name} -->")
    path.write_text(text)
