"""Folders of timm, against the networks that timm saved; timm is imported under a stub of torchvision."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision_stub import imported_timm

from auditcli.errors import LoadError, UnknownModel
from auditcli.families import Options, build, identify
from auditcli.loading import load
from auditcli.types import Family, Profile

CASES: dict[str, tuple[dict[str, Any], Family]] = {
    "resnet18": ({}, Family.CNN),
    "vit_tiny_patch16_224": ({"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2}, Family.VIT),
    "deit_tiny_distilled_patch16_224": ({"img_size": 32, "embed_dim": 24, "depth": 2}, Family.VIT),
    "beit_base_patch16_224": ({"img_size": 32, "embed_dim": 24, "depth": 2, "num_heads": 2}, Family.VIT),
    "swin_tiny_patch4_window7_224": (
        {"img_size": 32, "window_size": 4, "embed_dim": 12, "depths": [2, 1], "num_heads": [2, 2]},
        Family.VIT,
    ),
    "swinv2_tiny_window8_256": (
        {"img_size": 32, "window_size": 4, "embed_dim": 12, "depths": [2, 1], "num_heads": [2, 2]},
        Family.VIT,
    ),
    "mixer_s32_224": ({"img_size": 64}, Family.MIXER),
    "convnext_atto": ({"depths": [1, 1, 1, 1], "dims": [8, 8, 16, 16]}, Family.CNN),
    "mobilenetv3_small_050": ({}, Family.CNN),
    "tf_efficientnet_b0": ({}, Family.CNN),
    "levit_128s": ({"img_size": 64}, Family.HYBRID),
    "densenet121": ({"growth_rate": 4, "block_config": [1, 1, 1, 1]}, Family.CNN),
}
STATISTICS = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "input_size": [3, 64, 64]}


@pytest.fixture(scope="module", autouse=True)
def timm() -> Iterator[ModuleType]:
    with imported_timm() as library:
        logging.getLogger("timm").setLevel(logging.CRITICAL)
        yield library


def save(folder: Path, timm: Any, name: str, options: dict[str, Any] | None = None, **config: Any) -> Any:
    """A network with random weights in a folder as timm writes it."""
    torch.manual_seed(0)
    options = CASES[name][0] if options is None else options
    model = timm.create_model(name, num_classes=3, **options).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:  # So that no layer drowns what the one before says.
            torch.nn.init.normal_(parameter, 0.0, 1.4 / parameter[0].numel() ** 0.5)
        else:
            torch.nn.init.uniform_(parameter, -0.5, 1.5)
    for key, buffer in model.named_buffers():
        if key.endswith(("running_mean", "running_var")):
            torch.nn.init.uniform_(buffer, 0.5, 1.5)
    size = options.get("img_size", 64)
    stated = {"mean": STATISTICS["mean"], "std": STATISTICS["std"], "input_size": [3, size, size]}
    timm.models.save_for_hf(
        model, folder, model_config={"pretrained_cfg": stated, **config}, safe_serialization=True, model_args=options
    )
    return model


def edit(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def recognised(folder: Path) -> Profile:
    return identify(load(folder), Options())


@pytest.mark.parametrize("name", CASES)
def test_logits_and_gradients_equal_those_of_timm(tmp_path: Path, timm: Any, name: str) -> None:
    model = save(tmp_path, timm, name)
    checkpoint = load(tmp_path)
    profile = identify(checkpoint, Options())
    assert profile.family is CASES[name][1]
    assert profile.identified_by == "config.json"
    assert profile.template == "timm"
    assert (profile.classes, profile.outputs) == (3, 3)
    assert profile.assumptions == ()
    side = CASES[name][0].get("img_size", 64)
    assert profile.input_shape == (3, side, side)
    assert profile.normalisation.mean == pytest.approx(STATISTICS["mean"])
    assert profile.normalisation.std == pytest.approx(STATISTICS["std"])
    target = build(checkpoint, profile, Options())
    images = torch.rand(2, 3, side, side, requires_grad=True)
    mean, std = (torch.tensor(STATISTICS[key]).view(3, 1, 1) for key in ("mean", "std"))
    expected, found = model((images - mean) / std), target(images)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    (wanted,) = torch.autograd.grad(expected.square().sum(), images)
    (first,) = torch.autograd.grad(found.square().sum(), images, create_graph=True)
    assert first.abs().sum() > 0
    assert (first - wanted).norm() <= 1e-3 * wanted.norm()
    (second,) = torch.autograd.grad(first.square().sum(), images)
    assert second.isfinite().all()


def test_labels_channels_and_pooling_come_from_the_configuration(tmp_path: Path, timm: Any) -> None:
    model = save(tmp_path, timm, "resnet18", {"in_chans": 1, "global_pool": "max"}, label_names=["cat", "dog", "newt"])
    edit(tmp_path, pretrained_cfg={"mean": [0.5], "std": [0.25], "input_size": [3, 48, 48]})
    checkpoint = load(tmp_path)
    profile = identify(checkpoint, Options())
    assert profile.labels == ("cat", "dog", "newt")
    assert profile.input_shape == (1, 48, 48)
    images = torch.rand(2, 1, 48, 48)
    expected = model((images - 0.5) / 0.25)
    assert torch.allclose(build(checkpoint, profile, Options())(images), expected, rtol=1e-4, atol=1e-4)


def test_old_folders_state_everything_in_one_place(tmp_path: Path, timm: Any) -> None:
    model = save(tmp_path, timm, "resnet18", {"global_pool": "max"})
    old = {"architecture": "resnet18", "num_classes": 3, "num_features": 512, "global_pool": "max"}
    old |= {**STATISTICS, "labels": ["cat", "dog", "newt"]}
    (tmp_path / "config.json").write_text(json.dumps(old))
    checkpoint = load(tmp_path)
    profile = identify(checkpoint, Options())
    assert profile.labels == ("cat", "dog", "newt")
    images = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(STATISTICS[key]).view(3, 1, 1) for key in ("mean", "std"))
    found = build(checkpoint, profile, Options())(images)
    assert torch.allclose(found, model((images - mean) / std), rtol=1e-4, atol=1e-4)


def test_the_same_weights_under_two_names_are_two_networks(tmp_path: Path, timm: Any) -> None:
    """The weights of an anti-aliased network are those of the plain one: only the configuration tells them apart."""
    plain = save(tmp_path / "plain", timm, "resnet18", {})
    (tmp_path / "blurred").mkdir()
    for file in (tmp_path / "plain").iterdir():
        (tmp_path / "blurred" / file.name).write_bytes(file.read_bytes())
    edit(tmp_path / "blurred", architecture="resnetblur18")
    images = torch.rand(2, 3, 64, 64)
    plain_logits, blurred = (
        build(checkpoint, identify(checkpoint, Options()), Options())(images)
        for checkpoint in map(load, (tmp_path / "plain", tmp_path / "blurred"))
    )
    mean, std = (torch.tensor(STATISTICS[key]).view(3, 1, 1) for key in ("mean", "std"))
    assert torch.allclose(plain_logits, plain((images - mean) / std), rtol=1e-4, atol=1e-4)
    other = timm.create_model("resnetblur18", num_classes=3).eval()
    other.load_state_dict(load_file(tmp_path / "blurred" / "model.safetensors"))
    assert torch.allclose(blurred, other((images - mean) / std), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(plain_logits, blurred, rtol=1e-2)


def test_a_folder_of_the_wrapper_of_transformers_is_one_of_timm(tmp_path: Path, timm: Any) -> None:
    save(tmp_path, timm, "resnet18", {})
    edit(tmp_path, model_type="timm_wrapper", architectures=["TimmWrapperForImageClassification"])
    assert recognised(tmp_path).template == "timm"


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_weights_that_are_not_all_there_are_refused(tmp_path: Path, timm: Any) -> None:
    save(tmp_path, timm, "resnet18", {})
    file = tmp_path / "model.safetensors"
    whole = load_file(file)
    save_file({name: tensor for name, tensor in whole.items() if not name.startswith("fc.")}, file)
    with pytest.raises(LoadError, match=r"2 missing weights of timm's resnet18: fc\.bias"):
        recognised(tmp_path)
    save_file({**whole, "neck.weight": torch.ones(2)}, file)
    with pytest.raises(LoadError, match="1 unexpected weights"):
        recognised(tmp_path)
    save_file({**whole, "fc.bias": torch.ones(4)}, file)
    with pytest.raises(LoadError, match="1 mismatched weights"):
        recognised(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "resnet17"}, "knows no architecture 'resnet17'"),
        ({"architecture": "hf-hub:owner/name"}, "knows no architecture"),
        ({"architecture": "local-dir:/tmp"}, "knows no architecture"),
        ({"architecture": "../../x"}, "knows no architecture"),
        ({"model_args": {"checkpoint_path": "evil.pth"}}, "checkpoint_path in model_args|'checkpoint_path'"),
        ({"model_args": {"pretrained": True}}, "'pretrained'"),
        ({"model_args": {"pretrained_cfg": "a"}}, "'pretrained_cfg'"),
        ({"model_args": {"cache_dir": "x"}}, "'cache_dir'"),
        ({"model_args": {"features_only": True}}, "'features_only'"),
        ({"model_args": {"act_layer": {"a": 1}}}, "'act_layer'"),
        ({"model_args": {"act_layer": "../x"}}, "'act_layer'"),
        ({"model_args": {"width": 10**9}}, "'width'"),
        ({"model_args": {"layers": [10**4] * 4}}, "layers is"),
        ({"architecture": "resnet152"}, "twice as large"),
        ({"model_args": {"no_such_option": 1}}, "cannot build resnet18"),
        ({"model_args": {"act_layer": "no_such_activation"}}, "cannot build resnet18"),
        ({"num_classes": 10**9}, "1000000000 classes are stated"),
        ({"pretrained_cfg": {"input_size": [3, 10**9, 10**9]}}, "input_size must be"),
        ({"pretrained_cfg": {"input_size": "big"}}, "input_size must be"),
        ({"pretrained_cfg": {"mean": "x", "std": [1]}}, "image_mean|mean"),
    ],
)
def test_a_configuration_of_a_stranger_is_checked(tmp_path: Path, timm: Any, changes: Any, message: str) -> None:
    save(tmp_path, timm, "resnet18", {})
    edit(tmp_path, **changes)
    with pytest.raises((LoadError, UnknownModel), match=message) as caught:
        recognised(tmp_path)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 500


def test_nothing_is_downloaded_and_no_file_opened(tmp_path: Path, timm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    save(tmp_path, timm, "resnet18", {})
    config = json.loads((tmp_path / "config.json").read_text())
    hostile = {"url": "http://localhost/x.pth", "file": "x.pth", "hf_hub_id": "owner/name", "custom_load": True}
    edit(tmp_path, pretrained_cfg=config["pretrained_cfg"] | hostile)
    checkpoint = load(tmp_path)
    build(checkpoint, identify(checkpoint, Options()), Options())


# ---- without timm ---------------------------------------------------------------------------------------------------


def test_without_timm_the_extra_is_named(tmp_path: Path, timm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, timm, "convnext_atto")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(LoadError, match="is not installed") as caught:
        recognised(tmp_path)
    assert caught.value.hint == "pip install 'privaudit[timm]'"


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("No module named 'torchvision'", name="torchvision"), RuntimeError("operator nms")]
)
def test_a_torchvision_that_does_not_fit_is_diagnosed(
    tmp_path: Path, timm: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    import builtins

    save(tmp_path, timm, "convnext_atto")
    monkeypatch.delitem(sys.modules, "timm")
    real = builtins.__import__

    def broken(name: str, *rest: Any, **more: Any) -> Any:
        if name == "timm":
            raise error
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(LoadError, match="timm is installed and cannot be imported") as caught:
        recognised(tmp_path)
    assert "torchvision" in caught.value.hint


def test_without_timm_a_plain_architecture_is_built_here(
    tmp_path: Path, timm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save(tmp_path, timm, "resnet18", {}, label_names=["cat", "dog", "newt"])
    monkeypatch.setitem(sys.modules, "timm", None)
    checkpoint = load(tmp_path)
    profile = identify(checkpoint, Options())
    assert profile.template != "timm"
    assert profile.labels == ("cat", "dog", "newt")
    assert profile.input_shape == (3, 64, 64)
    images = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(STATISTICS[key]).view(3, 1, 1) for key in ("mean", "std"))
    found = build(checkpoint, profile, Options())(images)
    assert torch.allclose(found, model((images - mean) / std), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "resnetblur18"},
        {"architecture": "resnet18d"},
        {"global_pool": "max"},
        {"model_args": {"act_layer": "gelu"}},
    ],
)
def test_without_timm_nothing_is_built_that_weights_do_not_show(
    tmp_path: Path, timm: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    save(tmp_path, timm, "resnet18", {})
    edit(tmp_path, **changes)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(LoadError, match="is not installed"):
        recognised(tmp_path)
