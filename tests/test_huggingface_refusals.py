"""Hugging Face folders that are not what an audit needs, or that say strange things: refused, or read as they are."""

import json
import logging
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from auditcli.errors import LoadError, UnknownModel
from auditcli.families import Options, build, identify
from auditcli.families._declared import declared, library, stand_ins
from auditcli.loading import load
from auditcli.types import Profile

transformers = pytest.importorskip("transformers")

TINY: dict[str, Any] = {"image_size": 16, "patch_size": 8, "hidden_size": 16, "intermediate_size": 16}
TINY |= {"num_hidden_layers": 1, "num_attention_heads": 2}
NORMAL = {"image_mean": [0.5], "image_std": [0.5]}


@pytest.fixture(autouse=True)
def _quiet_and_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of a folder may look anything up."""

    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny ViT with three classes."""
    save(tmp_path)
    return tmp_path


def save(folder: Path, **changes: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.ViTConfig(**({**TINY, "num_labels": 3} | changes), attn_implementation="eager")
    model = transformers.ViTForImageClassification(config).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(NORMAL))
    return model


def edit(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def recognised(folder: Path, options: Options | None = None) -> Profile:
    return identify(load(folder), options or Options())


# ---- what is no image classifier ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "bert", "architectures": ["BertForSequenceClassification"]}, "BertForSequenceClassification"),
        ({"model_type": "bert"}, "bert is a model type without image classifiers"),
        ({"model_type": "whisper"}, "whisper is a model type without image classifiers"),
        ({"model_type": "detr", "architectures": ["DetrForObjectDetection"]}, "DetrForObjectDetection"),
        ({"model_type": "clip", "architectures": ["CLIPModel"]}, "without its classifier"),
        ({"model_type": "vit", "architectures": ["ViTModel"]}, "without its classifier"),
        ({"model_type": "vit", "architectures": ["ViTForMaskedImageModeling"]}, "ViTForMaskedImageModeling"),
        ({"model_type": "vit", "architectures": ["SwinForImageClassification"]}, "is none of the image classifiers"),
        ({"model_type": "vit", "problem_type": "multi_label_classification"}, "multi_label_classification"),
        ({"model_type": "vit", "problem_type": "regression"}, "regression"),
        ({"model_type": "nonsense"}, "knows no model type 'nonsense'"),
        ({"model_type": 5}, "knows no model type '5'"),
        ({"model_type": ["vit"]}, "knows no model type"),
        ({"model_type": "vit", "architectures": [7]}, "config.json names '7'"),
    ],
)
def test_other_models_are_refused_before_anything_is_built(tmp_path: Path, config: Any, message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"weight": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(LoadError, match=message) as caught:
        recognised(tmp_path)
    assert caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("kind", ["imagegpt", "perceiver"])
def test_classifiers_that_take_more_than_pixels_are_refused(tmp_path: Path, kind: str) -> None:
    """Refused by their shapes, or as soon as they are run on pixels."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    save_file({"weight": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(LoadError):
        recognised(tmp_path)


# ---- weights --------------------------------------------------------------------------------------------------------


def test_every_weight_must_be_there_and_no_other(folder: Path) -> None:
    file = folder / "model.safetensors"
    whole = load_file(file)
    save_file({name: tensor for name, tensor in whole.items() if "classifier" not in name}, file)
    with pytest.raises(LoadError, match=r"2 missing weights: .*without its classifier"):
        recognised(folder)
    save_file({name: tensor for name, tensor in whole.items() if "layernorm.bias" not in name}, file)
    with pytest.raises(LoadError, match="missing weights"):
        recognised(folder)
    save_file({**whole, "adapter.weight": torch.ones(2)}, file)
    with pytest.raises(LoadError, match=r"1 unexpected weights: adapter\.weight"):
        recognised(folder)
    save_file({**whole, "classifier.bias": torch.ones(4)}, file)
    with pytest.raises(LoadError, match=r"1 mismatched weights: classifier\.bias"):
        recognised(folder)


@pytest.mark.parametrize("variant", ["fp16", "bf16"])
def test_half_precision_variants_are_read_in_single_precision(folder: Path, variant: str) -> None:
    half = torch.float16 if variant == "fp16" else torch.bfloat16
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file({name: tensor.to(half) for name, tensor in whole.items()}, folder / f"model.{variant}.safetensors")
    edit(folder, dtype=str(half).removeprefix("torch."))
    checkpoint = load(folder)
    target = build(checkpoint, identify(checkpoint, Options()), Options())
    images = torch.rand(2, 3, 16, 16)
    assert target(images).dtype == torch.float32
    rounded = {name: tensor.to(half).float() for name, tensor in whole.items()}
    config = transformers.ViTConfig(**TINY, num_labels=3)
    model = transformers.ViTForImageClassification.from_pretrained(None, config=config, state_dict=rounded).eval()
    assert torch.allclose(target(images), model((images - 0.5) / 0.5).logits, atol=1e-4)


def test_the_model_is_told_from_its_variants_and_from_what_training_left(folder: Path) -> None:
    whole = load_file(folder / "model.safetensors")
    for name in ("model.fp16.safetensors", "optimizer.safetensors", "adapter_model.safetensors"):
        save_file({"other": torch.ones(1)}, folder / name)
    assert set(load(folder).tensors) == set(whole)
    (folder / "model.safetensors").unlink()
    (folder / "model.fp16.safetensors").unlink()
    with pytest.raises(LoadError, match="holds an adapter"):
        load(folder)


def test_shards_of_a_variant_are_joined_by_their_index(folder: Path) -> None:
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(whole)
    parts = {f"model.fp16-0000{i + 1}-of-00002.safetensors": names[i::2] for i in range(2)}
    for file, held in parts.items():
        save_file({name: whole[name] for name in held}, folder / file)
    index = {"weight_map": {name: file for file, held in parts.items() for name in held}}
    (folder / "model.safetensors.index.fp16.json").write_text(json.dumps(index))
    assert set(load(folder).tensors) == set(whole)
    recognised(folder)


# ---- labels and outputs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "labels"),
    [
        ({"2": "newt", "0": "cat", "1": "dog"}, ("cat", "dog", "newt")),
        ({"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}, ()),
        ({"1": "LABEL_1", "2": "LABEL_2", "0": "LABEL_0"}, ()),
        ({"0": "LABEL_0", "1": "dog", "2": "newt"}, ("LABEL_0", "dog", "newt")),
        ({"0": "cat", "1": "dog", "7": "newt"}, ()),
        ({"0": "cat\x1b[31m", "1": "dog\n", "2": "newt"}, ("cat?[31m", "dog?", "newt")),
        ({"a": "cat", "b": "dog", "c": "newt"}, None),
    ],
)
def test_labels_follow_their_index(folder: Path, named: dict[str, str], labels: tuple[str, ...] | None) -> None:
    edit(folder, id2label=named, label2id={name: int(key) for key, name in named.items() if key.isdecimal()})
    if labels is None:
        with pytest.raises(LoadError):
            recognised(folder)
    else:
        assert recognised(folder).labels == labels


def test_the_number_of_classes_without_names(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["id2label"], config["label2id"]
    (folder / "config.json").write_text(json.dumps(config | {"num_labels": 3}))
    profile = recognised(folder)
    assert (profile.classes, profile.labels) == (3, ())
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(LoadError, match="2 mismatched weights"):
        recognised(folder)  # Two classes are the default of transformers.


def test_one_output_may_be_a_regression(tmp_path: Path) -> None:
    save(tmp_path, num_labels=1)
    (assumption,) = recognised(tmp_path).assumptions
    assert (assumption.what, assumption.flag) == ("classes", "--assume classes=2")
    stated = recognised(tmp_path, Options(assume={"classes": "2"}))
    assert (stated.classes, stated.outputs, stated.assumptions) == (2, 1, ())


# ---- the image processor --------------------------------------------------------------------------------------------


def test_the_processor_may_stand_in_a_file_of_several(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    before = load(folder).sha256
    nested = {"processor_class": "X", "image_processor": {"image_mean": [0.25] * 3, "image_std": [0.125] * 3}}
    (folder / "processor_config.json").write_text(json.dumps(nested))
    checkpoint = load(folder)
    profile = identify(checkpoint, Options())
    assert profile.normalisation.mean == pytest.approx((0.25,) * 3)
    assert profile.assumptions == ()
    assert checkpoint.sha256 != before


def test_the_size_the_processor_makes_is_taken_where_the_network_takes_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.SwinConfig(
        image_size=64, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4
    )
    transformers.SwinForImageClassification(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**NORMAL, "size": {"height": 32, "width": 32}}))
    profile = recognised(tmp_path)
    assert profile.input_shape == (3, 32, 32)
    assert profile.assumptions == ()


def test_where_the_processor_contradicts_the_network_it_is_an_assumption(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps({**NORMAL, "size": 32}))
    profile = recognised(folder)
    assert profile.input_shape == (3, 16, 16)
    (assumption,) = profile.assumptions
    assert assumption.flag == "--input-shape C,H,W"
    assert "preprocessor_config.json makes images of 3x32x32" in assumption.why


def test_a_stated_size_that_the_network_does_not_take_is_an_error(folder: Path) -> None:
    with pytest.raises(LoadError, match="does not run on images of 3x32x32"):
        recognised(folder, Options(input_shape=(3, 32, 32)))


def test_networks_that_read_blue_first_get_red_first_images(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.MobileViTConfig(
        image_size=32, hidden_sizes=[16] * 3, neck_hidden_sizes=[8, 8, 8, 8, 16, 16, 16], num_attention_heads=2
    )
    model = transformers.MobileViTForImageClassification(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.0, 1.4 / parameter[0].numel() ** 0.5)
    model.save_pretrained(tmp_path)
    written = {"image_processor_type": "MobileViTImageProcessor", "do_flip_channel_order": True, "do_rescale": True}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(written))
    checkpoint = load(tmp_path)
    profile = identify(checkpoint, Options())
    assert profile.assumptions == ()
    images = torch.rand(2, 3, 32, 32)
    found = build(checkpoint, profile, Options())(images)
    assert torch.allclose(found, model(images.flip(1)).logits, atol=1e-5)
    assert not torch.allclose(found, model(images).logits, atol=1e-3)


# ---- strange configurations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"_attn_implementation": "owner/kernel"},
        {"attn_implementation": "owner/kernel"},
        {"use_kernels": True},
        {"_name_or_path": "owner/name"},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        {"torch_dtype": "float64"},
        {"dtype": "float16"},
        {"auto_map": {"AutoConfig": "evil.Evil"}},
        {"preprocessor_config": 7},
        {"preprocessor_file": "evil"},
        {"architectures": []},
    ],
)
def test_what_asks_for_code_or_other_places_changes_nothing(folder: Path, changes: dict[str, Any]) -> None:
    before = load(folder)
    images = torch.rand(1, 3, 16, 16)
    expected = build(before, identify(before, Options()), Options())(images)
    edit(folder, **changes)
    after = load(folder)
    assert torch.equal(build(after, identify(after, Options()), Options())(images), expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 10**9},
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": -1},
        {"image_size": 10**9},
        {"image_size": "x"},
        {"patch_size": 0},
        {"hidden_act": "no\nsuch\x1b[31m"},
        {"id2label": 5},
        {"id2label": {str(index): "x" for index in range(10**5)}},
        {"vision_config": 5, "hidden_size": {}},
        {"layer_norm_eps": "x"},
    ],
)
def test_a_configuration_that_makes_no_sense_is_one_line(folder: Path, changes: dict[str, Any]) -> None:
    edit(folder, **changes)
    with pytest.raises((LoadError, UnknownModel)) as caught:
        recognised(folder)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500


# ---- configurations of libraries ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"model_type": "vit"}, "transformers"),
        ({"model_type": 5}, "transformers"),
        ({"model_type": "timm_wrapper", "architecture": "resnet18"}, "timm"),
        ({"architecture": "resnet18"}, "timm"),
        ({"architecture": 5}, ""),
        ({"hidden": 5}, ""),
    ],
)
def test_the_library_is_known_by_its_key(config: dict[str, Any], found: str) -> None:
    assert library(config) == found


@pytest.mark.parametrize(
    ("config", "templates"),
    [
        ({"model_type": "vit"}, frozenset()),
        ({"hidden": 5}, None),
        ({"architecture": "resnet18"}, {"resnet", "named"}),
        ({"architecture": "resnet18.a1_in1k", "global_pool": "avg"}, {"resnet", "named"}),
        ({"architecture": "resnet18", "global_pool": "max"}, frozenset()),
        ({"architecture": "resnet18", "model_args": {"global_pool": "max"}}, frozenset()),
        ({"architecture": "resnet18", "model_args": {"in_chans": 1}}, {"resnet", "named"}),
        ({"architecture": "resnet18", "model_args": {"act_layer": "gelu"}}, frozenset()),
        ({"architecture": "resnetblur18"}, frozenset()),
        ({"architecture": "resnet18d"}, frozenset()),
        ({"architecture": "vgg16_bn"}, {"vgg", "named"}),
        ({"architecture": "vit_tiny_patch16_224", "global_pool": "token"}, {"vit", "named"}),
        ({"architecture": "vit_tiny_patch16_224", "global_pool": "avg"}, frozenset()),
        ({"architecture": "vit_small_patch16_224_quickgelu"}, frozenset()),
        ({"architecture": "tf_efficientnet_b0"}, frozenset()),
        ({"architecture": "resnet18", "global_pool": ["avg"]}, frozenset()),
    ],
)
def test_weights_stand_in_for_plain_architectures_alone(config: dict[str, Any], templates: Any) -> None:
    assert stand_ins(config) == templates


def test_a_configuration_declares_what_a_description_would() -> None:
    config = {"architecture": "vit_tiny_patch16_224", "num_classes": 2, "label_names": ["a", "b"]}
    config |= {"model_args": {"img_size": 32, "num_heads": 4}, "pretrained_cfg": {"input_size": [3, 224, 224]}}
    assert declared(config, "input_shape") == ((3, 32, 32), "config.json")
    assert declared(config, "heads") == (4, "config.json")
    assert declared(config, "classes") == (2, "config.json")
    assert declared(config, "labels") == (("a", "b"), "config.json")
    assert declared(config, "mean") is None
    assert declared(config, "activation") is None
