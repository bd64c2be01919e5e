"""Makes the index of published models, `index.json.xz`: names and shapes of timm's and torchvision's, as hashes.

    python fingerprints/make.py [--only REGEX] [--output FILE]

timm and torchvision must be importable; nothing is downloaded. For each model the index holds the fingerprint of all
names and shapes, and that of the body (without what the number of classes and the size of images change). Models with
one body are filled with the same weights and compared: those that compute the same get the same number. Models that a
template of privaudit recognises are compared with what the template builds, and the template is named where both
compute the same.
"""

from __future__ import annotations

import argparse
import json
import lzma
import re
import sys
import time
import warnings
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from auditcli.errors import AuditError
from auditcli.families import Options, _publication
from auditcli.families._blueprint import _hollow as hollow
from auditcli.families._dossier import Dossier
from auditcli.families._template import Mismatch, Template, discover
from auditcli.types import Checkpoint, Format, Profile

OUTPUT = Path(__file__).with_name("index.json.xz")
_BUILDERS = ("resnet", "vgg", "densenet", "mobilenet", "mixer", "vit")
_CLASSES = 10
_LARGEST = 320_000_000
"""Parameters of the largest model that is filled with weights and run."""
_SIDE = 96
"""Tried first: convolutions take any size, and small images save time."""
_TOLERANCE = 1e-4
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Published:
    """A model of a library."""

    library: str
    name: str
    create: Callable[..., nn.Module]
    """Takes `num_classes`."""
    input: tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]
    """(channels, height, width), mean and deviation of the pixels it was trained with."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the index and write it."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    began = time.monotonic()
    versions, models = _published(re.compile(options.only))
    seen = [_examined(model) for model in models]
    print(f"{len(models)} models hashed in {time.monotonic() - began:.0f} s", flush=True)
    bodies: dict[str, list[Examined]] = defaultdict(list)
    for one in seen:
        bodies[one.body].append(one)
    rows, inputs = [], sorted({model.input for model in models})
    for number, group in enumerate(bodies.values(), start=1):
        for one, behaviour, name in _compared(group):
            model = one.model
            place = inputs.index(model.input)
            rows.append((model.library, model.name, one.whole, one.body, behaviour, name, place))
        if number % 50 == 0:
            print(f"{number} of {len(bodies)} bodies in {time.monotonic() - began:.0f} s", flush=True)
    index = {"versions": versions, "inputs": inputs, "models": sorted(rows)}
    packed = lzma.compress(json.dumps(index, separators=(",", ":")).encode(), preset=9)
    options.output.write_bytes(packed)
    built = sum(bool(row[5]) for row in rows)
    print(f"{len(rows)} models, {len(bodies)} bodies, {built} built by templates: {len(packed)} bytes", flush=True)


def _published(only: re.Pattern[str]) -> tuple[dict[str, str], list[Published]]:
    """Versions of the libraries, and their classifiers."""
    try:
        import timm
        import torchvision
    except (ImportError, RuntimeError) as error:
        sys.exit(f"timm and torchvision must be importable: {error}")
    found = []
    for name in timm.list_models():
        config = timm.models.get_pretrained_cfg(name, allow_unregistered=False)
        size = tuple(config.input_size) if config else (3, 224, 224)
        mean, std = (tuple(config.mean), tuple(config.std)) if config else _IMAGENET
        found.append(Published("timm", name, _timm(timm, name), (size, mean, std)))
    for name in torchvision.models.list_models(module=torchvision.models):
        side = {"inception_v3": 299}.get(name, 224)
        found.append(Published("torchvision", name, _torchvision(torchvision, name), ((3, side, side), *_IMAGENET)))
    versions = {"timm": timm.__version__, "torchvision": torchvision.__version__.partition("+")[0]}
    return versions, [model for model in found if only.search(model.name)]


def _timm(timm: Any, name: str) -> Callable[..., nn.Module]:
    return lambda **keywords: timm.create_model(name, pretrained=False, **keywords)


def _torchvision(torchvision: Any, name: str) -> Callable[..., nn.Module]:
    more = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    return lambda **keywords: torchvision.models.get_model(name, weights=None, **more, **keywords)


@contextmanager
def _uninitialised() -> Iterator[None]:
    """Networks are built without drawing their initial weights."""

    def leave(tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return tensor

    names = [name for name in vars(nn.init) if name.endswith("_") and not name.startswith("_")]
    patches = [patch.object(nn.init, name, leave) for name in names]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


@dataclass(frozen=True)
class Examined:
    """A model's fingerprints, and the template that recognises its names and shapes."""

    model: Published
    whole: str
    body: str
    template: Template | None
    comparable: bool
    """Whether it is small enough to be filled with weights and run."""


def _examined(model: Published) -> Examined:
    with _uninitialised(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.device("meta"):
                net = model.create()
        except (RuntimeError, NotImplementedError):  # Some read numbers off tensors while they are built.
            net = model.create()
    whole, body = _publication.fingerprints(net.state_dict())
    size = sum(parameter.numel() for parameter in net.parameters())
    return Examined(model, whole, body, _template(model, net), size <= _LARGEST)


@dataclass(frozen=True)
class Behaviour:
    """What a model computes from weights that depend on their names and shapes alone."""

    model: Published
    shapes: frozenset[tuple[str, tuple[int, ...]]]
    side: int
    logits: torch.Tensor

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Behaviour) or (self.shapes, self.side) != (other.shapes, other.side):
            return False
        return bool((self.logits - other.logits).abs().max() <= _TOLERANCE * self.logits.abs().max())

    __hash__ = None  # type: ignore[assignment]


def _compared(group: Sequence[Examined]) -> Iterator[tuple[Examined, int, str]]:
    """Each model with the number of its behaviour within the group, and the template that computes the same."""
    found: list[Behaviour | None] = []
    for one in sorted(group, key=lambda one: (len(one.model.name), one.model.name)):
        asked = one.comparable and (len(group) > 1 or one.template is not None)
        behaviour = _behaviour(one.model) if asked else None
        name = "" if one.template is None or behaviour is None else _confirmed(one.template, one.model, behaviour)
        same = [number for number, other in enumerate(found) if other is not None and _alike(behaviour, other)]
        found.append(behaviour)
        yield one, same[0] if same else len(found) - 1, name


def _alike(behaviour: Behaviour | None, other: Behaviour) -> bool:
    """Whether both compute the same; images of one size are asked for where the sizes alone differ."""
    if behaviour is None or behaviour == other:
        return behaviour is not None
    side = other.model.input[0][-1]
    if behaviour.shapes == other.shapes or behaviour.model.library != "timm" or behaviour.model.input[0][-1] == side:
        return False
    resized = _behaviour(behaviour.model, img_size=side)
    return resized is not None and resized == other


def _behaviour(model: Published, **keywords: Any) -> Behaviour | None:
    """None where the model cannot be built so, or returns nothing that could be compared."""
    try:
        net = _filled(model, **keywords)
    except (TypeError, RuntimeError, ValueError, AssertionError):
        return None
    for side in (_SIDE, keywords.get("img_size", model.input[0][-1])):
        try:
            logits = _logits(net, model, side)
        except (RuntimeError, AssertionError, ValueError, IndexError):
            continue
        shapes = frozenset((name, tuple(tensor.shape)) for name, tensor in net.state_dict().items())
        usable = logits.shape == (2, _CLASSES) and bool(logits.isfinite().all()) and float(logits.std(0).min()) > 0
        return Behaviour(model, shapes, side, logits) if usable else None
    return None


def _logits(net: nn.Module, model: Published, side: int) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = net(_images(model.input[0][0], side))
    return logits


def _images(channels: int, side: int) -> torch.Tensor:
    return torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(side))


def _filled(model: Published, **keywords: Any) -> nn.Module:
    """The network with weights that depend on their names alone, statistics of batch norm included."""
    with hollow(), torch.device("cpu"):
        net = model.create(num_classes=_CLASSES, **keywords).eval()
    state = {name: _drawn(name, tensor) for name, tensor in net.state_dict().items()}
    net.load_state_dict(state, assign=True)
    return net


def _drawn(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """What stands for a parameter, or a statistic of batch norm; other buffers stay as the library computes them."""
    if not tensor.is_meta and not name.endswith(("running_mean", "running_var")):
        return tensor
    generator, drawn = torch.Generator().manual_seed(zlib.crc32(name.encode())), torch.empty(tensor.shape)
    if name.endswith("running_var"):
        return drawn.uniform_(0.5, 1.5, generator=generator)
    if tensor.ndim > 1:
        return drawn.normal_(0, max(1, tensor[0].numel()) ** -0.5, generator=generator)
    return drawn.normal_(float(name.endswith(("weight", "gamma"))), 0.2, generator=generator)


def _template(model: Published, net: nn.Module) -> Template | None:
    """The template that recognises the model's names and shapes."""
    flat = {name: torch.zeros(()).expand(tensor.shape) for name, tensor in net.state_dict().items()}
    checkpoint = _checkpoint(model, flat)  # Of numbers that take no memory.
    for template in discover():
        if template.name in _BUILDERS and isinstance(_recognised(template, checkpoint, model), Profile):
            return template
    return None


def _checkpoint(model: Published, tensors: Mapping[str, torch.Tensor]) -> Checkpoint:
    return Checkpoint(Path(model.name), Format.SAFETENSORS, sha256="", bytes=0, tensors=tensors)


def _recognised(template: Template, checkpoint: Checkpoint, model: Published) -> Profile | Mismatch | None:
    with patch.object(_publication, "read_index", return_value=_publication.Index({}, (), ())):
        try:
            return template.recognise(Dossier(checkpoint, _options(model)))
        except AuditError:
            return None


def _options(model: Published, side: int | None = None) -> Options:
    shape = None if side is None else (model.input[0][0], side, side)
    return Options(input_shape=shape, mean=(0.0,), std=(1.0,))


def _confirmed(template: Template, model: Published, behaviour: Behaviour) -> str:
    """The name of the template, where what it builds computes the same as the model."""
    net = _filled(model)
    checkpoint = _checkpoint(model, net.state_dict())
    profile = _recognised(template, checkpoint, model)
    if not isinstance(profile, Profile):
        return ""
    with patch.object(_publication, "read_index", return_value=_publication.Index({}, (), ())):
        built = template.build(Dossier(checkpoint, _options(model)), profile).net.eval()
    logits = _logits(built, model, behaviour.side)
    return template.name if replace(behaviour, logits=logits) == behaviour else ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="REGEX", help="names of models; all without it")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FILE")
    return parser


if __name__ == "__main__":
    main()
