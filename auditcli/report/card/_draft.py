"""A card as it should be, beside the card as it is. Public names: `Draft`, `refreshed`, `removed`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from auditcli.errors import UsageError
from auditcli.report.card import _front, _pictures, _section
from auditcli.report.card._result import SOURCE, available
from auditcli.report.schema import Report

EXTRA = "pip install 'privaudit[hf]'"


@dataclass(frozen=True, slots=True)
class Draft:
    """What a card should say, and which of its parts do not."""

    text: str
    stale: tuple[str, ...]
    """Out of `section`, `metadata` and `gallery`, those that have to change."""
    pictures: _pictures.Change
    notes: tuple[str, ...] = ()
    """What was left out, and how to get it."""


def refreshed(
    text: str,
    home: Path,
    report: Report,
    *,
    metadata: bool | None = None,
    gallery: str | None = None,
    originals: bool = False,
) -> Draft:
    """A card with the privacy part renewed; a part that is not asked for is taken out.

    Args:
        text: The card as it is, with the line ends it has.
        home: The folder of the card.
        report: With its pictures at hand where a gallery is asked for.
        metadata: Whether the front matter is to say it to machines, which takes huggingface_hub; where it is not said,
            that of a card that has front matter is, if it can be.
        gallery: The folder of the pictures, relative to `home`; none are shown unless given.
        originals: Whether the auditor's own images are shown beside the reconstructions.

    Raises:
        UsageError: a card or a folder that is better left alone.
    """
    rows = () if gallery is None else _pictures.rows(report, gallery, originals=originals)
    pictures = _pictures.change(home, gallery, rows, _shown(text))
    rendered = _section.render(report, rows)
    notes = () if gallery is None or rows else ("the report has no picture that may be shown; the card has none",)
    wanted = _front.find(text) is not None if metadata is None else metadata
    about: Callable[[str], str]
    if not wanted:
        about = _without_metadata
    elif available():
        about = _with_metadata(report)
    elif metadata:
        raise UsageError("metadata can only be written with huggingface_hub", hint=EXTRA)
    else:
        about = _as_it_is
        notes = (*notes, f"the metadata is left out, for want of huggingface_hub: {EXTRA}")
    return _draft(text, lambda card: _section.put(card, rendered), about, pictures, notes)


def removed(text: str, home: Path) -> Draft:
    """A card without its privacy part: as it was before, to the byte, if nobody else changed the part.

    Raises:
        UsageError: a card that is better left alone.
    """
    pictures = _pictures.change(home, None, (), _shown(text))
    return _draft(text, _section.take, _without_metadata, pictures)


def _draft(
    text: str,
    section: Callable[[str], str],
    metadata: Callable[[str], str],
    pictures: _pictures.Change,
    notes: tuple[str, ...] = (),
) -> Draft:
    described = metadata(text)
    after = section(described)
    changed = {"section": after != described, "metadata": described != text, "gallery": bool(pictures)}
    return Draft(after, tuple(name for name, is_changed in changed.items() if is_changed), pictures, notes)


def _with_metadata(report: Report) -> Callable[[str], str]:
    from auditcli.report.card import _metadata  # it needs the extra

    return lambda card: _metadata.put(card, report)


def _without_metadata(card: str) -> str:
    if not _front.names(card, SOURCE):
        return card
    if not available():
        raise UsageError("metadata can only be taken out of the card with huggingface_hub", hint=EXTRA)
    from auditcli.report.card import _metadata  # it needs the extra

    return _metadata.take(card)


def _as_it_is(card: str) -> str:
    """The card, if it says nothing to machines that would contradict the new section.

    Raises:
        UsageError: it does.
    """
    if _front.names(card, SOURCE):
        raise UsageError("the card has metadata of an audit, and renewing it takes huggingface_hub", hint=EXTRA)
    return card


def _shown(text: str) -> str:
    """The section as it stands, empty where there is none."""
    section = _section.find(text)
    return text[section.start : section.stop] if section else ""
