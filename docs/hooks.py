"""What mkdocs does beside building `docs/`: patterns in the navigation, and pages read as GitHub reads them.

The functions are those that mkdocs calls. `fixtures/README.md` and `CHANGELOG.md`, which lie outside of the folder,
become pages, and links that work on GitHub lead to them.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

_ROOT = Path(__file__).parents[1]
_GUESTS = {"CHANGELOG.md": "changelog.md", "fixtures/README.md": "fixtures.md"}
"""Pages by their path in the repository, with their place in the site."""
_PLACES = {**_GUESTS, "README.md": "index.md"}
_FENCE = re.compile(r"(^```.*?^```$)", re.M | re.S)
_TIGHT = re.compile(r"^((?![-*+] |[|#>\s]|\d+\. ).+)\n(?=- |1\. |\|)", re.M)
"""The line before a list or a table, where no empty line is between them."""
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of a folder in place of each `FOLDER/*` in the navigation, named as their files are."""
    config.nav = _expanded(config.nav, Path(config.docs_dir))
    return config


def _expanded(nav: Any, docs: Path) -> Any:
    if isinstance(nav, dict):
        return {title: _expanded(part, docs) for title, part in nav.items()}
    if not isinstance(nav, list):
        return nav
    entries: list[Any] = []
    for entry in nav:
        if isinstance(entry, str) and entry.endswith("/*"):
            pages = sorted(docs.glob(f"{entry}.md"))
            entries += [{page.stem: page.relative_to(docs).as_posix()} for page in pages]
        else:
            entries.append(_expanded(entry, docs))
    return entries


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside of the folder."""
    for path, place in _GUESTS.items():
        files.append(File.generated(config, place, abs_src_path=str(_ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Set lists and tables apart from text before them, and lead links to where files lie in the site."""
    parts = _FENCE.split(markdown)
    parts[::2] = (_relinked(_TIGHT.sub(r"\1\n\n", part), page.file.src_uri) for part in parts[::2])
    return "\n".join(parts)


def _relinked(text: str, here: str) -> str:
    source = next((path for path, place in _GUESTS.items() if place == here), f"docs/{here}")

    def moved(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[1]))
        place = _PLACES.get(target, target.removeprefix("docs/"))
        inside = target in _PLACES or target.startswith("docs/")
        return posixpath.relpath(place, posixpath.dirname(here) or ".") if inside else link[1]

    return _LINK.sub(moved, text)
