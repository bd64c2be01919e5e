"""Models and plug-ins in the terminal. Public names: `show_profile`, `show_plugins`."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.text import Text

from auditcli.terminal._console import grid_of, plain, show_list, show_table

if TYPE_CHECKING:
    from auditcli.report import schema

LABELS = 20
"""Class names that are shown without `--verbose`."""


class Plugin(Protocol):
    """What the table of plug-ins shows of an attack or a signal."""

    @property
    def name(self) -> str:
        """As `--attack` takes it."""

    @property
    def summary(self) -> str:
        """One line."""

    @property
    def paper(self) -> str:
        """Where it is from."""

    @property
    def requires(self) -> Iterable[str]:
        """Traits a model must have."""


def show_profile(console: Console, model: schema.Model, *, verbose: bool = False) -> None:
    """Print what a model is, how that is known, and with `verbose` its layers and tensors."""
    known = {statement.what: statement.why for statement in model.statements if statement.what != "trait"}
    labels = model.labels if verbose else model.labels[:LABELS]
    more = f", and {len(model.labels) - len(labels)} more" if len(labels) < len(model.labels) else ""
    rows = (
        ("model", f"{model.path} ({model.format}, {model.bytes:,} bytes)", ""),
        ("sha256", model.sha256, ""),
        ("family", model.family, known.get("family", "")),
        ("architecture", model.architecture, ""),
        ("parameters", f"{model.parameters:,}", known.get("layers", "")),
        ("input", f"{'x'.join(map(str, model.input_shape))} (channels, height, width)", known.get("input shape", "")),
        ("pixels", f"mean {_numbers(model.mean)}, std {_numbers(model.std)}", known.get("normalisation", "")),
        ("classes", f"{model.classes}", known.get("classes", "")),
        *([("labels", ", ".join(labels) + more, "")] if labels else []),
        *_traits(model),
        ("identified by", model.identified_by, ""),
    )
    grid = grid_of(2)
    for name, value, why in rows:
        grid.add_row(Text(name, "bold"), Text.assemble(plain(value), (f": {plain(why)}" if why else "", "dim")))
    console.print(grid)
    show_list(console, "Evidence", model.evidence)
    show_list(console, "Assumed", [f"{a.what} = {a.value}: {a.why} (otherwise {a.flag})" for a in model.assumptions])
    if verbose:
        console.print()
        _show_layers(console, model)
    if model.tensors:
        console.print()
        _show_tensors(console, model)


def _traits(model: schema.Model) -> list[tuple[str, str, str]]:
    """One row a trait, the first of them named."""
    why = {statement.value: statement.why for statement in model.statements if statement.what == "trait"}
    shown = [("", trait, why.get(trait, "")) for trait in model.traits] or [("", "-", "")]
    return [("traits", *shown[0][1:]), *shown[1:]]


def _show_layers(console: Console, model: schema.Model) -> None:
    rows = (
        (layer.name, layer.kind, "x".join(map(str, layer.shape)), f"{layer.parameters:,}") for layer in model.layers
    )
    show_table(console, ("layer", "kind", "shape", "parameters"), rows)


def _show_tensors(console: Console, model: schema.Model) -> None:
    headings = ("tensor", "is", "stored", "shape", "min", "max", "mean", "std")
    rows = (
        (
            *(tensor.name, tensor.role, tensor.stored),
            "x".join(map(str, tensor.shape)) or "-",
            *(
                "-" if figure is None else f"{figure:.2g}"
                for figure in (tensor.low, tensor.high, tensor.mean, tensor.deviation)
            ),
        )
        for tensor in model.tensors
    )
    show_table(console, headings, rows)


def show_plugins(
    console: Console, title: str, plugins: Iterable[Plugin], *, on_request: Container[str] = frozenset()
) -> None:
    """Print the table of attacks or signals: what each does, what it needs, where it is from.

    Args:
        console: Where to.
        title: Of the first column.
        plugins: One a row.
        on_request: Names of those that run only where they are named.
    """
    headings = (title, "what it does", "needs", "paper")
    rows = (
        (
            f"{plugin.name} (if named)" if plugin.name in on_request else plugin.name,
            plugin.summary,
            ", ".join(sorted(map(str, plugin.requires))) or "any model",
            plugin.paper,
        )
        for plugin in plugins
    )
    show_table(console, headings, rows, prose=headings[1:])


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
