"""Where lines stand in the YAML of a card, and what it means.

Public names: `Place`, `entry`, `whole`, `gap`, `results`, `parsed`, `taken`, `meaning`, `require_loaded`,
`entry_lines`, `index_lines`, `unusable`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from auditcli.errors import UsageError
from auditcli.report.card._result import SOURCE
from auditcli.report.text import clean

INDEX = "model-index"
T = TypeVar("T")


class Place(NamedTuple):
    """Whole lines of the YAML: `text[start:stop]`, empty where something is to be inserted."""

    start: int
    stop: int
    column: int
    """Where the lines begin."""
    all: bool = False
    """Whether they are a whole `model-index`, not one result of it."""


def unusable(what: str) -> UsageError:
    """The error for a front matter that is better left alone."""
    return UsageError(
        f"the metadata of the card cannot be written: {what}",
        hint="correct the front matter, or write the section alone: --no-metadata",
    )


# ---- what it means --------------------------------------------------------------------------------------------------


def parsed(text: str) -> dict[str, Any]:
    """What the YAML says.

    Raises:
        UsageError: it is broken, or no mapping.
    """
    value = _read(yaml.safe_load, text)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise unusable("its front matter is no mapping of names to values")
    return value


def taken(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Takes our results out of what a card says, with the `model-index` that held nothing else, and returns them."""
    ours = []
    models = data[INDEX] if isinstance(data.get(INDEX), list) else []
    lists = [model["results"] for model in models if isinstance(model, dict) and isinstance(model.get("results"), list)]
    for found in lists:
        ours += [one for one in found if _is_ours(one)]
        found[:] = [one for one in found if not _is_ours(one)]
    if ours and len(models) == 1 and lists == [[]]:
        del data[INDEX]
    return ours


def results(text: str) -> list[dict[str, Any]]:
    """Our results in the YAML."""
    return taken(parsed(text))


def meaning(data: dict[str, Any]) -> str:
    """What a card says, to be compared: as text True is not 1, .nan is itself, and an anchor is written once."""
    return str(yaml.safe_dump(data, sort_keys=False))


def require_loaded(card: str, wanted: dict[str, Any]) -> None:
    """Check that huggingface_hub loads a card and finds our result in it.

    Raises:
        UsageError: it does not.
    """
    from huggingface_hub import ModelCard

    try:
        found = ModelCard(card).data.get("eval_results") or ()
    except Exception as error:  # whatever it stumbles over: the text is a stranger's
        raise unusable(f"huggingface_hub does not load it: {_first_line(error)}") from error
    if sum(one.source_name == SOURCE for one in found) != len(wanted["metrics"]):
        raise unusable("huggingface_hub does not find the result of the audit in it")


def _is_ours(value: Any) -> bool:
    source = value.get("source") if isinstance(value, dict) else None
    return isinstance(source, dict) and source.get("name") == SOURCE


def _read(reader: Callable[[str], T], text: str) -> T:
    try:
        return reader(text)
    except Exception as error:  # also KeyError and AttributeError, where a tag does not fit its value
        raise unusable(f"its front matter is no YAML that can be read: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    if problem and mark:
        return clean(f"{problem}, line {mark.line + 2} of the card")
    return clean(str(error)) or type(error).__name__


# ---- where it stands ------------------------------------------------------------------------------------------------


def entry(text: str) -> Place | None:
    """The lines of our result, None where there is none.

    Raises:
        UsageError: there are several, or it is not written in lines of its own.
    """
    found = [(all, at) for all in _result_lists(text) for at, node in enumerate(all.value) if _is_ours_node(node)]
    if not found:
        return None
    if len(found) > 1:
        raise unusable(f"it has {len(found)} results whose source is {SOURCE}; leave one or none")
    ((all, at),) = found
    return _lines(text, all, at)


def whole(text: str) -> Place | None:
    """The same with the `model-index` where that holds nothing but our result."""
    place = entry(text)
    if place is None:
        return None
    data = parsed(text)
    taken(data)
    if INDEX in data:
        return place
    key, value = _items(_root(text))[INDEX]
    column = key.start_mark.column
    return Place(_line_start(text, key.start_mark.index), _stop(text, value, column), column, all=True)


def gap(text: str) -> Place:
    """Where our result belongs: after the results of the first model, or with a `model-index` at the end.

    Raises:
        UsageError: a `model-index` that is not written in lines, e.g. `[...]`.
    """
    root = _root(text)
    if root is None:
        return Place(len(text), len(text), 0, all=True)
    if root.flow_style:
        raise unusable("its front matter is written in braces; write one name a line")
    if INDEX not in _items(root):
        column = root.start_mark.column
        at = _stop(text, root, column)
        return Place(at, at, column, all=True)
    all = next(iter(_result_lists(text)), None)
    if all is None or all.flow_style or text[all.start_mark.index] != "-":
        raise unusable(f"its {INDEX} has no list of results in lines that begin with a hyphen")
    at = _stop(text, all, all.start_mark.column)
    return Place(at, at, all.start_mark.column)


def _root(text: str) -> MappingNode | None:
    root = _read(lambda text: yaml.compose(text, Loader=yaml.SafeLoader), text)
    if root is not None and not isinstance(root, MappingNode):
        raise unusable("its front matter is no mapping of names to values")
    return root


def _result_lists(text: str) -> list[SequenceNode]:
    """The `results` of each model."""
    root = _root(text)
    index = _items(root).get(INDEX)
    models = index[1].value if index and isinstance(index[1], SequenceNode) else ()
    values = [_items(model).get("results") for model in models if isinstance(model, MappingNode)]
    return [value[1] for value in values if value and isinstance(value[1], SequenceNode)]


def _items(node: MappingNode | None) -> dict[str, tuple[Node, Node]]:
    """Keys and values by name.

    Raises:
        UsageError: a name that is there twice: readers differ in which one they take.
    """
    items: dict[str, tuple[Node, Node]] = {}
    for key, value in node.value if node else ():
        if not isinstance(key, ScalarNode):
            continue
        if key.value in items:
            raise unusable(f"it has the name {clean(key.value)!r} twice, line {key.start_mark.line + 2} of the card")
        items[key.value] = (key, value)
    return items


def _is_ours_node(node: Node) -> bool:
    source = _items(node).get("source") if isinstance(node, MappingNode) else None
    name = _items(source[1]).get("name") if source and isinstance(source[1], MappingNode) else None
    return name is not None and name[1].value == SOURCE


def _lines(text: str, all: SequenceNode, at: int) -> Place:
    """The lines of one item of a list in lines."""
    column = all.start_mark.column
    found = [_hyphen(text, column, node) for node in all.value]
    hyphens = [hyphen for hyphen in found if hyphen is not None]
    if all.flow_style or hyphens != found:
        raise unusable("the result of the audit is not written in lines that begin with a hyphen")
    stop = _stop(text, all, column) if at + 1 == len(hyphens) else _without_comments(text, hyphens[at + 1], column)
    return Place(hyphens[at], stop, column)


def _hyphen(text: str, column: int, item: Node) -> int | None:
    """The start of the line with the hyphen of an item."""
    found = list(re.finditer(rf"^ {{{column}}}-(?=\s)", text[: item.start_mark.index], re.MULTILINE))
    return found[-1].start() if found else None


def _stop(text: str, node: Node, column: int) -> int:
    """The end of the last line of a block: its end mark is where the next one begins, behind comments."""
    return _without_comments(text, _line_start(text, node.end_mark.index), column)


def _without_comments(text: str, at: int, column: int) -> int:
    """`at`, or the start of the empty lines and the comments before it; a deeper comment belongs to the block."""
    least = _last_value(text, at)
    while at > least:
        line = _line_start(text, at - 1)
        content = text[line:at].strip()
        if content and not (content.startswith("#") and text[line:at].index("#") <= column):
            break
        at = line
    return at


def _last_value(text: str, at: int) -> int:
    """The end of the last value before `at`: what looks like a comment or an empty line may be part of a text."""
    tokens = yaml.scan(text, Loader=yaml.SafeLoader)
    ends = (token.end_mark.index for token in tokens if isinstance(token, yaml.ScalarToken))
    return max((end for end in ends if end <= at), default=0)


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


# ---- how it is written ----------------------------------------------------------------------------------------------


def entry_lines(result: dict[str, Any]) -> list[str]:
    """A result as an item of a list."""
    return _dumped([result])


def index_lines(name: str, result: dict[str, Any]) -> list[str]:
    """A whole `model-index` with one result."""
    return _dumped({INDEX: [{"name": name, "results": [result]}]})


def _dumped(value: Any) -> list[str]:
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=float("inf"))).splitlines()
