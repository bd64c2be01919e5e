"""Image processors: what is read off their JSON, against what they do to an image."""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auditcli.errors import LoadError
from auditcli.families._processor import flips, sides, statistics

SETTINGS: dict[str, dict[str, Any]] = {
    "vit": {},
    "deit": {},
    "beit": {"do_reduce_labels": False},
    "bit": {},
    "convnext": {"size": {"shortest_edge": 384}},
    "convnext-small": {"size": {"shortest_edge": 224}, "crop_pct": 0.875},
    "efficientnet": {},
    "efficientnet-offset": {"rescale_offset": True, "rescale_factor": 1 / 127.5},
    "efficientnet-plain": {"include_top": False},
    "efficientnet-bare": {"do_normalize": False},
    "levit": {},
    "mobilenet_v1": {},
    "mobilenet_v2": {},
    "mobilevit": {},
    "mobilevit-rgb": {"do_flip_channel_order": False},
    "mobilevit-normal": {"do_normalize": True, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
    "poolformer": {},
    "pvt": {},
    "segformer": {},
    "siglip": {},
    "vit-bytes": {"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [51.0] * 3},
    "vit-unit": {"do_normalize": False},
    "vit-raw": {"do_normalize": False, "do_rescale": False},
    "vit-no-resize": {"do_resize": False},
}


def processor(name: str) -> Any:
    kind, _, _ = name.partition("-")
    module = importlib.import_module(f"transformers.models.{kind}.image_processing_pil_{kind}")
    classes = [value for key, value in vars(module).items() if key.endswith("ImageProcessorPil")]
    return classes[0](**SETTINGS[name])


def saved(made: Any, folder: Path) -> dict[str, Any]:
    made.save_pretrained(folder)
    return json.loads((folder / "preprocessor_config.json").read_text())


@pytest.mark.parametrize("name", SETTINGS)
def test_the_statistics_are_those_the_processor_applies(tmp_path: Path, name: str) -> None:
    pytest.importorskip("transformers")
    made = processor(name)
    written = saved(made, tmp_path)
    found = statistics(written, "preprocessor_config.json")
    assert found is not None
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    done = made(pixels, do_resize=False, do_center_crop=False, return_tensors="pt")["pixel_values"][0].float()
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in found)
    normalised = (torch.tensor(pixels).permute(2, 0, 1) / 255 - mean) / std
    expected = normalised.flip(0) if flips(written) else normalised
    assert torch.allclose(done, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_sides_are_those_of_a_square_image(tmp_path: Path, name: str) -> None:
    pytest.importorskip("transformers")
    made = processor(name)
    done = made(np.zeros((200, 200, 3), np.uint8), return_tensors="pt")["pixel_values"]
    found = sides(saved(made, tmp_path))
    assert found == (None if name == "vit-no-resize" else tuple(done.shape[-2:]))


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ({"size": 224}, (224, 224)),
        ({"size": [224, 192]}, (224, 192)),
        ({"size": {"shortest_edge": 224}}, (224, 224)),
        ({"size": {"height": 8, "width": 9}}, (8, 9)),
        ({"size": 256, "crop_size": 224}, (224, 224)),
        ({"size": 256, "crop_size": 224, "do_center_crop": False}, (256, 256)),
        ({"size": 256, "do_resize": False}, None),
        ({"size": {"longest_edge": 224}}, None),
        ({"size": -1}, None),
        ({"size": 10**9}, None),
        ({"size": True}, None),
        ({"size": "224"}, None),
        ({}, None),
    ],
)
def test_sizes_in_every_form(written: dict[str, Any], found: tuple[int, int] | None) -> None:
    assert sides(written) == found


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"image_processor_type": "ViTImageProcessor", "size": 224},
        {"do_normalize": True},
        {"do_normalize": True, "image_mean": [0.5]},
        {"do_normalize": None, "image_mean": None},
    ],
)
def test_what_the_class_would_fill_in_is_left_open(written: dict[str, Any]) -> None:
    assert statistics(written, "preprocessor_config.json") is None


@pytest.mark.parametrize(
    "written",
    [
        {"image_mean": ["x"], "image_std": [1]},
        {"image_mean": [0.5], "image_std": [0]},
        {"image_mean": [0.5], "image_std": [-1]},
        {"image_mean": [], "image_std": [1]},
        {"image_mean": [0.5], "image_std": [1], "rescale_factor": 0},
        {"image_mean": [0.5], "image_std": [1], "rescale_factor": [1, 2]},
        {"image_mean": [1e300], "image_std": [1]},
        {"image_mean": {"r": 1}, "image_std": [1]},
        {"image_mean": [True], "image_std": [1]},
    ],
)
def test_statistics_that_make_no_sense_are_an_error(written: dict[str, Any]) -> None:
    with pytest.raises(LoadError, match="image_mean") as caught:
        statistics(written, "preprocessor_config.json")
    assert "--mean" in caught.value.hint


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["image_mean", "image_std", "rescale_factor", "do_rescale", "do_normalize", "rescale_offset", "include_top"]
KEYS += ["image_processor_type", "size", "crop_size", "do_center_crop", "do_resize", "do_flip_channel_order"]


@given(st.dictionaries(st.sampled_from(KEYS), JSON))
def test_any_json_is_read_or_refused(written: dict[str, Any]) -> None:
    found = sides(written)
    assert found is None or all(0 < side <= 4096 for side in found)
    flips(written)
    try:
        values = statistics(written, "preprocessor_config.json")
    except LoadError:
        return
    assert values is None or min(values[1]) > 0
