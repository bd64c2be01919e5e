"""Hugging Face folders, against the classifiers that transformers saved."""

import json
import logging
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from auditcli.errors import LoadError, UnknownModel
from auditcli.families import Options, build, identify
from auditcli.families._kind import kind_of
from auditcli.loading import load, model_sha256
from auditcli.types import Family, Format, Trait

transformers = pytest.importorskip("transformers")

SMALL: dict[str, Any] = {"image_size": 16, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 2, "num_labels": 3}
VIT = {**SMALL, "intermediate_size": 32}
STAGES: dict[str, Any] = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "num_labels": 3}
HEADS = {**STAGES, "num_attention_heads": [1, 1, 2, 2]}
SWIN: dict[str, Any] = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2]}
SWIN |= {"window_size": 4, "num_labels": 3}
SUBSAMPLE = ["Subsample", 8, 2, 4, 2, 2]
LEVIT = {"image_size": 32, "hidden_sizes": [16] * 3, "num_attention_heads": [2] * 3, "depths": [1] * 3}
LEVIT |= {"key_dim": [8] * 3, "down_ops": [SUBSAMPLE, SUBSAMPLE], "num_labels": 3}
MOBILEVIT = {"image_size": 32, "hidden_sizes": [16] * 3, "neck_hidden_sizes": [8, 8, 8, 8, 16, 16, 16]}
ENCODER = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
TWO_TOWERS = {"vision_config": {**ENCODER, "image_size": 32, "patch_size": 8}, "num_labels": 3}
TWO_TOWERS["text_config"] = {**ENCODER, "vocab_size": 40}
RESIDUAL = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_labels": 3}
CASES: dict[str, tuple[str, dict[str, Any], Family]] = {
    "vit": ("ViT", {**VIT, "image_size": 32}, Family.VIT),
    "deit": ("DeiT", {**VIT, "image_size": 32}, Family.VIT),
    "beit": ("Beit", {**VIT, "image_size": 32}, Family.VIT),
    "data2vec-vision": ("Data2VecVision", {**VIT, "image_size": 32}, Family.VIT),
    "ijepa": ("IJepa", {**VIT, "image_size": 32}, Family.VIT),
    "vit_msn": ("ViTMSN", {**VIT, "image_size": 32}, Family.VIT),
    "dinov2": ("Dinov2", SMALL, Family.VIT),
    "dinov2_with_registers": ("Dinov2WithRegisters", SMALL, Family.VIT),
    "clip": ("CLIP", TWO_TOWERS, Family.VIT),
    "siglip": ("Siglip", TWO_TOWERS, Family.VIT),
    "swin": ("Swin", SWIN, Family.VIT),
    "swinv2": ("Swinv2", SWIN, Family.VIT),
    "pvt": ("Pvt", {**HEADS, "image_size": 32, "sequence_reduction_ratios": [2, 2, 1, 1]}, Family.VIT),
    "pvt_v2": ("PvtV2", {**HEADS, "image_size": 32}, Family.HYBRID),
    "segformer": ("Segformer", HEADS, Family.HYBRID),
    "levit": ("Levit", LEVIT, Family.HYBRID),
    "mobilevit": ("MobileViT", {**MOBILEVIT, "num_attention_heads": 2, "num_labels": 3}, Family.HYBRID),
    "swiftformer": ("SwiftFormer", {"depths": [1] * 4, "embed_dims": [8, 8, 16, 16], "num_labels": 3}, Family.HYBRID),
    "resnet": ("ResNet", RESIDUAL, Family.CNN),
    "regnet": ("RegNet", {**RESIDUAL, "groups_width": 4}, Family.CNN),
    "bit": ("Bit", {**STAGES, "embedding_size": 8, "num_groups": 2}, Family.CNN),
    "convnext": ("ConvNext", STAGES, Family.CNN),
    "convnextv2": ("ConvNextV2", STAGES, Family.CNN),
    "poolformer": ("PoolFormer", STAGES, Family.CNN),
    "focalnet": (
        "FocalNet",
        {"image_size": 32, "embed_dim": 8, "depths": [1, 1], "focal_levels": [1, 1], "focal_windows": [3, 3]}
        | {"hidden_sizes": [8, 16], "num_labels": 3},
        Family.CNN,
    ),
    "mobilenet_v1": ("MobileNetV1", {"depth_multiplier": 0.125, "num_labels": 3}, Family.CNN),
    "mobilenet_v2": ("MobileNetV2", {"depth_multiplier": 0.25, "num_labels": 3}, Family.CNN),
    "efficientnet": (
        "EfficientNet",
        {"image_size": 32, "width_coefficient": 0.25, "depth_coefficient": 0.3, "num_labels": 3, "hidden_dim": 320},
        Family.CNN,
    ),
    "pp_lcnet": ("PPLCNet", {"num_labels": 3, "scale": 0.25, "class_expand": 32}, Family.CNN),
    "textnet": ("TextNet", {"image_size": [32, 32], "stem_out_channels": 8, "hidden_sizes": [8] * 5}, Family.CNN),
}
BATCH_NORMED = {"levit", "mobilevit", "swiftformer", "resnet", "regnet", "mobilenet_v1", "mobilenet_v2"}
BATCH_NORMED |= {"efficientnet", "pp_lcnet", "textnet"}
PREPROCESSOR = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "size": {"height": 32, "width": 32}}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def save(folder: Path, kind: str = "vit", **changes: Any) -> Any:
    name, config, _ = CASES[kind]
    torch.manual_seed(0)
    known = getattr(transformers, f"{name}Config")(**(config | changes), attn_implementation="eager")
    model = getattr(transformers, f"{name}ForImageClassification")(known).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:  # So that no layer drowns what the one before says.
            torch.nn.init.normal_(parameter, 0.0, 1.4 / parameter[0].numel() ** 0.5)
        else:
            torch.nn.init.uniform_(parameter, -0.5, 1.5)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            torch.nn.init.uniform_(buffer, 0.5, 1.5)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return model


def _edit(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def logits_of(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    outputs = model(pixel_values=pixels)
    found: torch.Tensor = outputs.logits if "logits" in outputs else outputs.last_hidden_state
    return found


@pytest.mark.parametrize("kind", CASES)
def test_logits_and_gradients_equal_those_of_transformers(tmp_path: Path, kind: str) -> None:
    model = save(tmp_path, kind)
    checkpoint = load(tmp_path)
    assert checkpoint.format is Format.HUGGINGFACE
    profile = identify(checkpoint, Options())
    assert profile.family is CASES[kind][2]
    assert profile.identified_by == "config.json"
    assert profile.outputs == model.config.num_labels
    assert profile.assumptions == ()
    assert (Trait.BATCH_NORM in profile.traits) is (kind in BATCH_NORMED)
    assert profile.input_shape == (3, 32, 32)
    target = build(checkpoint, profile, Options())
    images = torch.rand(2, *profile.input_shape, requires_grad=True)
    mean, std = (torch.tensor(PREPROCESSOR[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
    expected, found = logits_of(model, (images - mean) / std), target(images)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    (wanted,) = torch.autograd.grad(expected.square().sum(), images)
    (first,) = torch.autograd.grad(found.square().sum(), images, create_graph=True)
    assert first.abs().sum() > 0
    assert (first - wanted).norm() <= 1e-3 * wanted.norm()
    (second,) = torch.autograd.grad(first.square().sum(), images)
    assert second.isfinite().all()


def test_every_image_classifier_of_transformers_has_a_family() -> None:
    """The families of all model types at their published sizes, which take no memory on `meta`."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as NAMES

    unbuildable = {"dinat", "timm_wrapper"}
    """They need libraries of their own; a folder of `timm_wrapper` is one of timm's."""
    text_too = {"shieldgemma2", "perceiver", "imagegpt", "siglip2"}
    """They take more than pixels, or other things; they are refused as soon as they are run."""
    families = {}
    for kind, names in NAMES.items():
        if kind in unbuildable | text_too:
            continue
        named = names[0] if isinstance(names, tuple) else names
        with torch.device("meta"):
            model = getattr(transformers, named)(transformers.CONFIG_MAPPING[kind]())
        families[kind] = kind_of(model.state_dict())
    known = {kind: family for kind, (_, _, family) in CASES.items()} | {"hiera": Family.VIT, "hgnet_v2": Family.CNN}
    known |= {"cvt": Family.HYBRID, "mobilevitv2": Family.HYBRID, "metaclip_2": Family.VIT, "donut-swin": Family.VIT}
    assert families == {kind: known[kind] for kind in families}


def test_tensors_are_those_of_the_files_and_shards_are_joined(tmp_path: Path) -> None:
    model = save(tmp_path / "whole")
    model.save_pretrained(tmp_path / "sharded", max_shard_size="8KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    whole, sharded = load(tmp_path / "whole"), load(tmp_path / "sharded")
    stored = load_file(tmp_path / "whole" / "model.safetensors")
    assert set(whole.tensors) == set(sharded.tensors) == set(stored)
    assert all(torch.equal(whole.tensors[name], tensor) for name, tensor in stored.items())
    assert all(torch.equal(sharded.tensors[name], tensor) for name, tensor in stored.items())


def test_the_hash_follows_every_file_that_is_read(tmp_path: Path) -> None:
    save(tmp_path)
    before = load(tmp_path).sha256
    assert before == model_sha256(tmp_path)
    (tmp_path / "README.md").write_text("# a model")
    assert model_sha256(tmp_path) == before
    _edit(tmp_path, problem_type="single_label_classification")
    assert model_sha256(tmp_path) != before


def test_labels_and_a_preprocessor_without_rescaling(tmp_path: Path) -> None:
    save(tmp_path, id2label={0: "cat", 1: "dog", 2: "newt"}, label2id={"cat": 0, "dog": 1, "newt": 2})
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [51.0] * 3})
    )
    profile = identify(load(tmp_path), Options())
    assert profile.labels == ("cat", "dog", "newt")
    assert profile.normalisation.mean == pytest.approx((0.5,) * 3)
    assert profile.normalisation.std == pytest.approx((0.2,) * 3)
    assert profile.assumptions == ()


def test_without_a_preprocessor_normalisation_is_an_assumption(tmp_path: Path) -> None:
    save(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    profile = identify(load(tmp_path), Options())
    assert [assumption.flag for assumption in profile.assumptions] == ["--mean/--std"]
    said = identify(load(tmp_path), Options(mean=(0.5,), std=(0.5,)))
    assert said.assumptions == ()


def test_code_in_the_folder_never_runs(tmp_path: Path) -> None:
    save(tmp_path)
    trace = tmp_path / "trace"
    (tmp_path / "modeling_own.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass Own: ...\n")
    _edit(tmp_path, auto_map={"AutoModelForImageClassification": "modeling_own.Own", "AutoConfig": "modeling_own.Own"})
    checkpoint = load(tmp_path)
    build(checkpoint, identify(checkpoint, Options()), Options())
    _edit(tmp_path, model_type="own")
    checkpoint = load(tmp_path)
    with pytest.raises(LoadError, match="never run"):
        build(checkpoint, identify(checkpoint, Options()), Options())
    assert not trace.exists()


def test_a_folder_without_its_head_is_refused(tmp_path: Path) -> None:
    model = save(tmp_path / "whole")
    model.vit.save_pretrained(tmp_path / "headless")
    checkpoint = load(tmp_path / "headless")
    with pytest.raises(LoadError, match="without its classifier"):
        build(checkpoint, identify(checkpoint, Options()), Options())


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 1_000_000},
        {"num_hidden_layers": 1_000_000},
        {"num_hidden_layers": 1},
        {"hidden_size": "wide"},
        {"num_attention_heads": 3},
        {"intermediate_size": 48},
    ],
)
def test_a_configuration_that_does_not_fit_the_weights_is_an_error(tmp_path: Path, changes: dict[str, Any]) -> None:
    save(tmp_path)
    _edit(tmp_path, **changes)
    checkpoint = load(tmp_path)
    with pytest.raises(LoadError):
        build(checkpoint, identify(checkpoint, Options()), Options())


def test_missing_transformers_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    save(tmp_path)
    checkpoint = load(tmp_path)
    profile = identify(checkpoint, Options())
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(LoadError) as caught:
        build(checkpoint, profile, Options())
    assert caught.value.hint == "pip install 'privaudit[hf]'"


def test_pickles_are_never_the_weights(tmp_path: Path) -> None:
    save(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(LoadError, match=r"only pytorch_model\.bin"):
        load(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    with pytest.raises(LoadError, match="no weights"):
        load(tmp_path)


def test_links_and_names_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "model")
    shutil.move(tmp_path / "model" / "model.safetensors", tmp_path / "outside.safetensors")
    (tmp_path / "model" / "model.safetensors").symlink_to(tmp_path / "outside.safetensors")
    with pytest.raises(LoadError, match="leads out of the folder"):
        load(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    index = tmp_path / "model" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../outside.safetensors"}}))
    with pytest.raises(LoadError, match="leads out of the folder"):
        load(tmp_path / "model")
    index.write_text(json.dumps({"weight_map": {"a": "missing.safetensors"}}))
    with pytest.raises(LoadError, match="missing from"):
        load(tmp_path / "model")
    index.write_text("{}")
    with pytest.raises(LoadError, match="no weight_map"):
        load(tmp_path / "model")


def test_an_index_that_disagrees_with_its_shards_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    save_file({"a": torch.ones(2)}, tmp_path / "one.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "one.safetensors", "b": "one.safetensors"}})
    )
    with pytest.raises(LoadError, match="disagree on b"):
        load(tmp_path)


def test_several_files_without_an_index_and_bad_configurations_are_errors(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    for name in ("one", "two"):
        save_file({"a": torch.ones(2)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(LoadError, match="2 safetensors files"):
        load(tmp_path)
    (tmp_path / "two.safetensors").unlink()
    with pytest.raises(LoadError, match=r"config\.json is not valid JSON"):
        load(tmp_path)


def test_a_preprocessor_that_makes_no_sense_is_an_error(tmp_path: Path) -> None:
    save(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": ["x"], "image_std": [0]}))
    with pytest.raises((LoadError, UnknownModel), match="image_mean"):
        identify(load(tmp_path), Options())
