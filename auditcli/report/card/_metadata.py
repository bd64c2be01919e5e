"""Our result in the front matter of a card, put in and taken out as lines of text. Public names: `put`, `take`.

A YAML library that writes the front matter anew would lose comments, quotes and line ends. So YAML is parsed only to
find the lines and to check the outcome: our result is there as meant, and all else means what it meant before.
The result is known by its source, not by a comment: a card that huggingface_hub has saved has lost all comments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditcli.report.card import _front, _yaml
from auditcli.report.card._result import SOURCE, result
from auditcli.report.text import clean

if TYPE_CHECKING:
    from auditcli.report.schema import Report


def put(text: str, report: Report) -> str:
    """A card whose front matter has our result; twice changes nothing.

    Args:
        text: The card with the line ends it has.
        report: What the result is to say.

    Raises:
        UsageError: front matter that cannot be read, or that has no place for the result.
    """
    wanted = result(report)
    front = _front.find(text)
    if front is None:
        after = _with_front(text, _yaml.index_lines(_name(report), wanted))
    elif _yaml.results(text[front.start : front.stop]) == [wanted]:
        return text
    else:
        before = text[front.start : front.stop]
        place = _yaml.entry(before)
        if place is None:
            place = _yaml.gap(before)
        lines = _yaml.index_lines(_name(report), wanted) if place.all else _yaml.entry_lines(wanted)
        lines = [" " * place.column + line for line in lines]
        block = "".join(line + front.newline for line in lines)
        after = text[: front.start] + before[: place.start] + block + before[place.stop :] + text[front.stop :]
    _verify(text, after, [wanted])
    return after


def take(text: str) -> str:
    """A card without our result: the one that `put` was given, to the byte.

    Raises:
        UsageError: front matter that names us and cannot be read.
    """
    front = _front.find(text)
    if front is None or not _front.names(text, SOURCE):
        return text
    before = text[front.start : front.stop]
    place = _yaml.whole(before)
    if place is None:
        return text
    rest = before[: place.start] + before[place.stop :]
    if not rest:
        return text[: text.index("-")] + text[front.end :]
    after = text[: front.start] + rest + text[front.stop :]
    _verify(text, after, [])
    return after


def _with_front(text: str, lines: list[str]) -> str:
    if _front.is_open(text):
        raise _yaml.unusable("its front matter is empty, or is not closed by a line of three hyphens")
    newline = _front.line_end(text)
    mark = _front.BOM if text.startswith(_front.BOM) else ""
    return mark + "".join(line + newline for line in ("---", *lines, "---")) + text[len(mark) :]


def _name(report: Report) -> str:
    """What a new `model-index` calls the model."""
    return clean(report.model.path)


def _verify(before: str, after: str, wanted: list[dict[str, Any]]) -> None:
    """Check that a card loads, has the results wanted and, but for them, means what it meant.

    Raises:
        UsageError: it does not.
    """
    old, new = (_yaml.parsed(_content(text)) for text in (before, after))
    others = [_yaml.meaning({name: data[name] for name in data if name != _yaml.INDEX}) for data in (old, new)]
    if _yaml.taken(new) != wanted:
        raise _yaml.unusable("it has no place for the result of the audit that a reader would find")
    _yaml.taken(old)
    if others[0] != others[1] or _yaml.meaning(old) != _yaml.meaning(new):
        raise _yaml.unusable("adding the result of the audit would change the meaning of another entry")
    for entry in wanted:
        _yaml.require_loaded(after.removeprefix(_front.BOM), entry)


def _content(text: str) -> str:
    front = _front.find(text)
    return text[front.start : front.stop] if front else ""
