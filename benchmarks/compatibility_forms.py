"""Writes a model in the forms in which models are shared: `save`."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

if TYPE_CHECKING:
    from compatibility_originals import Original
    from torch import Tensor, nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def save(original: Original, model: nn.Module, form: str, folder: Path) -> Path:
    """Write the model and return the path that is given to privaudit.

    Raises:
        RuntimeError: the library's own exporter or writer failed.
    """
    kind, _, opset = form.partition("-")
    if kind == "safetensors":
        save_file(_state(model), folder / "model.safetensors")
        return folder / "model.safetensors"
    if kind == "folder":
        _folder(original, model, folder)
        return folder
    _export(model, original.shape, folder / "model.onnx", dynamo=kind == "dynamo", opset=int(opset))
    return folder / "model.onnx"


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}


def _folder(original: Original, model: nn.Module, folder: Path) -> None:
    if original.library == "transformers":
        with contextlib.redirect_stderr(io.StringIO()):
            model.save_pretrained(folder)  # type: ignore[operator]
        config: dict[str, Any] = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
        config |= {
            "image_mean": MEAN,
            "image_std": STD,
            "size": {"height": original.shape[1], "width": original.shape[2]},
        }
        (folder / "preprocessor_config.json").write_text(json.dumps(config), encoding="utf-8")
        return
    save_file(_state(model), folder / "model.safetensors")
    pretrained = {"input_size": original.shape, "mean": MEAN, "std": STD, "num_classes": 10, "interpolation": "bicubic"}
    described = {"architecture": original.name, "num_classes": 10, "pretrained_cfg": pretrained}
    (folder / "config.json").write_text(json.dumps(described), encoding="utf-8")


class _LogitsAlone(torch.nn.Module):
    """A transformers classifier as exporters want it: tensors in, one tensor out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits of normalised pixels."""
        out = self.model(pixels)
        logits: Tensor = out if isinstance(out, torch.Tensor) else out.logits
        return logits


def _export(model: nn.Module, shape: tuple[int, int, int], path: Path, *, dynamo: bool, opset: int) -> None:
    images = torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))
    logging.getLogger("torch.onnx").setLevel(logging.CRITICAL)
    # Exporters print and warn at length; what counts is whether the file is right.
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        one_file: dict[str, Any] = {"external_data": False} if dynamo else {}
        torch.onnx.export(
            _LogitsAlone(model).eval(),
            (images,),
            path,
            dynamo=dynamo,
            opset_version=opset,
            verbose=False,
            **one_file,
        )
