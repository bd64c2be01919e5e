"""Families as plug-ins: found by looking into the folder, one template a module."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

from auditcli.errors import UnknownModel
from auditcli.families import Options, identify
from auditcli.families._layers import attach_norms, groups, natural
from auditcli.families._template import Template, discover
from auditcli.loading import load
from auditcli.types import Family, Format

FOLDER = Path(__file__).resolve().parents[1] / "auditcli" / "families"


def test_every_public_module_is_one_template_and_they_are_asked_by_rank() -> None:
    templates = discover()
    assert len(templates) == len([path for path in FOLDER.glob("*.py") if not path.name.startswith("_")])
    assert len({template.name for template in templates}) == len(templates)
    assert [template.rank for template in templates] == sorted(template.rank for template in templates)
    assert {Family.MLP, Family.CNN, Family.VIT} <= {template.family for template in templates}
    assert {one for template in templates for one in template.formats} == set(Format)


@pytest.mark.parametrize("count", [0, 2])
def test_a_module_with_another_number_of_templates_is_named(count: int) -> None:
    module = ModuleType("auditcli.families.strange")
    for index in range(count):
        setattr(module, f"T{index}", replace(discover()[0]))
    with pytest.raises(TypeError, match=rf"families\.strange holds {count} of Template"):
        discover([module])


@pytest.mark.parametrize("template", discover(), ids=lambda template: template.name)
def test_modules_say_what_they_are(template: Template) -> None:
    assert template.recognise.__module__.startswith("auditcli.families.")
    module = __import__(template.recognise.__module__, fromlist=["__doc__"])
    assert module.__doc__


def test_the_nearest_family_and_the_difference_are_named(tmp_path: Path) -> None:
    save_file({"lstm.weight_hh": torch.randn(8, 2), "fc.weight": torch.randn(2, 2)}, tmp_path / "x.safetensors")
    with pytest.raises(
        UnknownModel, match=r"nearest is mlp, but lstm is no linear layer: weight_hh \(8, 2\)"
    ) as caught:
        identify(load(tmp_path / "x.safetensors"), Options())
    assert "torch.onnx.export" in caught.value.hint


def test_a_described_family_is_the_only_one_asked(tmp_path: Path) -> None:
    save_file({"fc.weight": torch.randn(2, 4)}, tmp_path / "x.safetensors", {"privaudit.arch": '{"family": "vit"}'})
    with pytest.raises(UnknownModel, match="__metadata__ says vit, but"):
        identify(load(tmp_path / "x.safetensors"), Options())


def test_names_sort_by_their_numbers() -> None:
    names = ["fc10.weight", "fc2.weight", "fc1.weight", "conv.weight"]
    assert sorted(names, key=natural) == ["conv.weight", "fc1.weight", "fc2.weight", "fc10.weight"]


def _norm(width: int) -> dict[str, torch.Tensor]:
    return {name: torch.ones(width) for name in ("running_mean", "running_var", "weight", "bias")}


@pytest.mark.parametrize(
    ("layers", "norms", "expected"),
    [
        ({"net.0": 4, "net.3": 4}, {"net.1": 4}, {"net.0": "net.1"}),
        ({"net.0": 4, "net.3": 4}, {"net.4": 4}, {"net.3": "net.4"}),
        ({"fc1": 4, "fc2": 4}, {"bn2": 4}, {"fc2": "bn2"}),
        ({"fc1": 4, "fc2": 5}, {"norm": 5}, {"fc2": "norm"}),
        ({"a.fc": 4, "b.fc": 4}, {"a.bn": 4, "b.bn": 4}, {"a.fc": "a.bn", "b.fc": "b.bn"}),
        ({"fc1": 4, "fc2": 4}, {"norm": 4}, None),
        ({"fc1": 4, "fc2": 4}, {"bn1": 5}, None),
        ({"net.1": 4}, {"net.0": 4}, None),
        ({"layers.0": 4, "layers.1": 4}, {"norms.0": 4}, {"layers.0": "norms.0"}),
    ],
)
def test_batch_norms_go_to_the_layer_before_them(
    layers: dict[str, int], norms: dict[str, int], expected: dict[str, str] | None
) -> None:
    tensors = {f"{name}.weight": torch.ones(width, 3) for name, width in layers.items()}
    tensors |= {f"{name}.{part}": value for name, width in norms.items() for part, value in _norm(width).items()}
    found = groups(tensors)
    attached = attach_norms(
        [group for group in found if group.kind == "linear"], [group for group in found if group.kind == "batch norm"]
    )
    assert (attached and {layer: norm.name for layer, norm in attached.items()}) == expected
