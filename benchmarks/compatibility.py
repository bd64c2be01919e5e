"""The compatibility matrix: what privaudit makes of models as people share them, compared with the originals.

    python benchmarks/compatibility.py [--write docs/compatibility.md] [--only TEXT] [--torchvision FOLDER]

Each model is saved, loaded by privaudit and compared with the original: the family it is taken for, the logits on four
images (largest difference, relative to the largest logit where that is above 1) and the gradient of a random sum of
logits with respect to the pixels (relative, in the Euclidean norm, in float64). Needs transformers, timm and
torchvision; rows of a library that is not installed say so. On a torch without CUDA, torchvision's wheel does not load:
`--torchvision FOLDER` takes one from outside the environment (pip install --no-deps --target FOLDER
torchvision==0.28.0) and declares the two operators that it misses.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch
from compatibility_forms import MEAN, STD, save
from compatibility_originals import Original, originals, randomised
from torch import Tensor, nn

import auditcli
from auditcli.errors import AuditError
from auditcli.types import Target

LOGITS, GRADIENT = 1e-4, 1e-3


@dataclass(frozen=True, slots=True)
class Row:
    """One model in one form."""

    original: Original
    form: str
    identified: str = ""
    family: str = ""
    logits: float | None = None
    gradient: float | None = None
    assumptions: tuple[str, ...] = ()
    seconds: float = 0.0
    failure: str = ""
    """Why there is nothing to compare."""

    @property
    def agrees(self) -> bool:
        """Whether family, logits and gradient are right."""
        close = self.logits is not None and self.logits <= LOGITS
        same = self.gradient is not None and self.gradient <= GRADIENT
        return close and same and self.family == self.original.family

    @property
    def result(self) -> str:
        """`right`, or what is not."""
        if self.failure:
            return self.failure
        if self.agrees:
            return "right"
        wrong = (
            "" if self.family == self.original.family else f"a {self.original.family} is taken for a {self.family}; "
        )
        return f"**WRONG** {wrong}".strip("; ")


def measured(original: Original, form: str) -> Row:
    """Save, load, compare."""
    torch.manual_seed(0)
    if missing := _missing(original, form):
        return Row(original, form, failure=f"not run: {missing} is not installed")
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = randomised(original.make())
        try:
            path = save(original, model, form, Path(scratch))
        except Exception as error:  # An exporter that fails is a row, whatever it raises.
            return Row(original, form, failure=f"not exported: {type(error).__name__} in the exporter")
        flags = dict(original.flags) if form == "safetensors" else {}
        if form == "safetensors":
            flags.setdefault("input_shape", original.shape)
        if original.shape[0] == 3 and form != "folder":
            flags |= {"mean": MEAN, "std": STD}
        begun = time.monotonic()
        try:
            target = auditcli.load(path, device="cpu", **flags)
        except AuditError as error:
            return Row(original, form, failure=f"refused: {error.message.replace(path.name, 'it')}")
        seconds = time.monotonic() - begun
        return _compared(original, form, model, target, seconds)


def _compared(original: Original, form: str, model: nn.Module, target: Target, seconds: float) -> Row:
    pixels = torch.rand(4, *original.shape, generator=torch.Generator().manual_seed(2))
    reference = _Reference(original, model)
    with torch.no_grad():
        ours, theirs = target(pixels), reference(pixels)
    if ours.shape != theirs.shape:
        return Row(original, form, failure=f"**WRONG** {tuple(ours.shape)} for {tuple(theirs.shape)}")
    profile = target.profile
    return Row(
        original,
        form,
        identified=profile.identified_by,
        family=profile.family.value,
        logits=((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1)).item(),
        gradient=_gradient_difference(target.module, reference, pixels),
        assumptions=tuple(f"{assumption.what}: {assumption.value}" for assumption in profile.assumptions),
        seconds=seconds,
    )


class _Reference(nn.Module):
    """The original, from pixels to what privaudit returns: logits, or the logarithm of probabilities."""

    def __init__(self, original: Original, model: nn.Module) -> None:
        super().__init__()
        mean, std = (MEAN, STD) if original.shape[0] == 3 else ((0.0,), (1.0,))
        self.model, self.logarithm = model, "softmax" in original.name
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    mean: Tensor
    std: Tensor

    def forward(self, pixels: Tensor) -> Tensor:
        out = self.model((pixels - self.mean) / self.std)
        logits: Tensor = out if isinstance(out, Tensor) else out.logits
        return logits.log() if self.logarithm else logits


def _gradient_difference(ours: nn.Module, theirs: nn.Module, pixels: Tensor) -> float:
    """Relative, in float64 where both take it: in float32, rounding decides on which side of a kink a ReLU stands."""
    try:
        one, other = (_gradient(module.double(), pixels.double()) for module in (ours, theirs))
    except RuntimeError:  # A graph that casts to float32 somewhere.
        one, other = (_gradient(module.float(), pixels) for module in (ours, theirs))
    return float((one - other).norm() / other.norm().clamp_min(1e-12))


def _gradient(module: nn.Module, pixels: Tensor) -> Tensor:
    images = pixels.clone().requires_grad_()
    logits: Tensor = module(images)
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(3)).to(logits)
    if not logits.requires_grad:
        return torch.zeros_like(pixels)
    (gradient,) = torch.autograd.grad((logits * direction).sum(), images)
    return gradient


def _missing(original: Original, form: str) -> str:
    wanted = [original.library] if original.library != "hand-written" else []
    wanted += ["onnxscript"] if form.startswith("dynamo") else []
    for name in wanted:
        try:
            importlib.import_module(name)
        except (ImportError, RuntimeError):
            return name
    return ""


def rows(only: str) -> Iterator[Row]:
    """All rows whose model or form contains a text; each is also printed."""
    for original in originals():
        for form in original.forms:
            if only not in f"{original.library} {original.name} {form}":
                continue
            try:
                row = measured(original, form)
            except Exception:  # A traceback is a finding of its own, and no reason to lose the rest.
                traceback.print_exc()
                row = Row(original, form, failure="**WRONG** a traceback")
            print(f"{original.library:13} {original.name:30} {form:12} {_figures(row):22} {row.result}", flush=True)
            yield row
            gc.collect()


def _figures(row: Row) -> str:
    return "" if row.logits is None or row.gradient is None else f"{row.logits:.0e} {row.gradient:.0e}"


def table(found: Sequence[Row]) -> str:
    """The page."""
    count, results = len({row.original.name for row in found}), Counter(row.agrees for row in found)
    versions = ", ".join(f"{name} {version(name)}" for name in _installed())
    lines = [
        "# What loads",
        "",
        "Made by `python benchmarks/compatibility.py --write docs/compatibility.md`, on "
        f"{datetime.now(UTC):%Y-%m-%d}, with {versions}; CPU.",
        "",
        "Models with random weights are saved as people save them, loaded, and compared with the original: logits (the",
        f"largest difference on four images, relative where logits are above 1; at most {LOGITS:.0e} is right) and the",
        f"gradient with respect to the pixels (relative, in float64; at most {GRADIENT:.0e} is right). Bare files were",
        "given the input size and the normalisation, and where the last column says so, what else weights do not show.",
        "",
        f"{count} models in {len(found)} forms: {results[True]} right, {results[False]} not.",
        "",
        "| model | library | form | identified by | logits | gradient | load | result | assumed, told |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        logits, gradient = (f"{value:.0e}" if value is not None else "" for value in (row.logits, row.gradient))
        told = [f"{key}={value}" for key, value in dict(row.original.flags.get("assume", {})).items()]
        notes = "; ".join((*row.assumptions, *(told if row.form == "safetensors" else ())))
        seconds = f"{row.seconds:.1f} s" if row.seconds else ""
        cells = (row.original.name, row.original.library, row.form, row.identified, logits, gradient, seconds)
        lines.append(f"| {' | '.join((*cells, row.result, notes))} |")
    return "\n".join((*lines, ""))


def _installed() -> list[str]:
    names = ("torch", "onnx", "onnx2fx", "onnx2torch", "onnxruntime", "transformers", "timm", "torchvision")
    return [name for name in names if importlib.util.find_spec(name)]


def use_torchvision(folder: Path) -> torch.library.Library:
    """Make a torchvision outside the environment importable beside a torch that its wheel was not built for."""
    sys.path.append(str(folder))
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def main() -> int:
    """Measure, print, write; 1 where a row is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="PAGE")
    parser.add_argument("--only", default="", metavar="TEXT", help="library, model or form that contains this")
    parser.add_argument("--torchvision", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    library = use_torchvision(arguments.torchvision) if arguments.torchvision else None
    found = list(rows(arguments.only))
    if arguments.write:
        arguments.write.write_text(table(found), encoding="utf-8")
    print(f"{sum(row.agrees for row in found)} of {len(found)} right")
    del library
    return int(any("WRONG" in row.result for row in found))


if __name__ == "__main__":
    sys.exit(main())
