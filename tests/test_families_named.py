"""Published models known by the names and shapes of their weights: the shipped index, and what follows from a hit."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published_examples import randomised, rebuilt, saved
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision_stub import imported_timm

from auditcli.errors import OpenQuestion, UnknownModel
from auditcli.families import Options, build, identify
from auditcli.families._dossier import Dossier
from auditcli.families._publication import fingerprints, publications, read_index
from auditcli.families._template import discover
from auditcli.loading import load
from auditcli.resources import resource
from auditcli.types import Checkpoint, Format, Normalisation

IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture(scope="module")
def timm() -> Iterator[ModuleType]:
    with imported_timm() as library:
        yield library


@pytest.fixture
def without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("timm", "torchvision"):
        monkeypatch.setitem(sys.modules, library, None)


# ---- the index ------------------------------------------------------------------------------------------------------


def test_the_index_is_small_and_says_what_it_was_made_of() -> None:
    index = read_index()
    assert index.versions == {"timm": "1.0.31", "torchvision": "0.28.0"}
    assert len(index.entries) > 1400
    assert len({(entry.library, entry.name) for entry in index.entries}) == len(index.entries)
    assert resource("fingerprints", "index.json.xz").stat().st_size < 100_000
    nothing = fingerprints({})
    assert not [entry for entry in index.entries if entry.body == nothing[1] or entry.whole == nothing[0]]
    assert {entry.template for entry in index.entries} - {""} <= {template.name for template in discover()}
    assert all(0 <= entry.input < len(index.inputs) for entry in index.entries)


def test_one_name_is_one_behaviour_where_libraries_share_it() -> None:
    seen: dict[tuple[str, str], int] = {}
    for entry in read_index().entries:
        assert seen.setdefault((entry.name, entry.body), entry.behaviour) == entry.behaviour


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("resnet18", "resnet"),
        ("resnext50_32x4d", "resnet"),
        ("resnetblur18", ""),
        ("resnet50d", ""),
        ("vgg16_bn", "vgg"),
        ("densenet121", "densenet"),
        ("mixer_b16_224", "mixer"),
        ("vit_tiny_patch16_224", "vit"),
        ("deit_small_patch16_224", "vit"),
        ("efficientnet_b0", ""),
    ],
)
def test_entries_are_those_of_the_library(timm: ModuleType, name: str, template: str) -> None:
    with torch.device("meta"):
        state = timm.create_model(name).state_dict()
    (entry,) = (entry for entry in read_index().entries if (entry.library, entry.name) == ("timm", name))
    assert (entry.whole, entry.body) == fingerprints(state)
    assert entry.template == template


@given(st.permutations(["a.weight", "a.bias", "b.weight", "fc.weight"]), st.integers(1, 4), st.integers(1, 9))
def test_the_body_changes_neither_with_order_nor_channels_nor_classes(
    order: list[str], channels: int, classes: int
) -> None:
    shapes = {"a.weight": (8, channels, 3, 3), "a.bias": (8,), "b.weight": (5, 8), "fc.weight": (classes, 5)}
    state = {name: torch.empty(shapes[name], device="meta") for name in order}
    whole, body = fingerprints(state)
    plain = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    assert fingerprints(plain) == (whole, body)
    counted = plain | {"a.num_batches_tracked": torch.zeros(())}
    assert fingerprints(counted) == (whole, body)
    other = plain | {"a.weight": torch.empty((8, 3, 3, 3), device="meta"), "fc.weight": torch.empty((2, 5))}
    assert fingerprints(other)[1] == body
    assert fingerprints(plain | {"b.weight": torch.empty((6, 8))})[1] != body


# ---- hits -----------------------------------------------------------------------------------------------------------


def test_a_published_network_rests_on_one_assumption(timm: ModuleType, tmp_path: Path) -> None:
    original = randomised(timm.create_model("resnet18"))
    path = saved(original, tmp_path)
    found = rebuilt(original, path, side=64)
    assert found.right, found
    assert found.profile.template == "resnet"
    assert found.profile.evidence[0].startswith(
        "names and shapes of the weights are those of timm 1.0.31 and torchvision 0.28.0 resnet18"
    )
    (assumption,) = (one for one in found.profile.assumptions if one.flag.startswith("--assume"))
    assert (assumption.what, assumption.value) == ("architecture", "resnet18")
    assert assumption.alternatives == ("resnetblur18",)
    for hidden in ("strides", "activation", "pool"):
        assert hidden in assumption.why


def test_what_a_name_does_not_settle_stays_listed(timm: ModuleType, tmp_path: Path) -> None:
    path = saved(randomised(timm.create_model("resnet26", num_classes=7)), tmp_path)
    profile = identify(load(path), Options())
    assert profile.input_shape == (3, 224, 224)
    assert profile.normalisation == IMAGENET
    flags = {one.flag: one for one in profile.assumptions}
    assert "conv1" in flags["--assume stride_in=..."].alternatives
    assert flags["--mean/--std"].value == "0.485,0.456,0.406/0.229,0.224,0.225"
    assert "0/1" in flags["--mean/--std"].alternatives
    assert flags["--input-shape C,H,W"].value == "3x224x224"
    stated = identify(load(path), Options(mean=(0.5,), std=(0.5,), input_shape=(3, 64, 64)))
    assert stated.normalisation == Normalisation((0.5,), (0.5,))
    assert stated.input_shape == (3, 64, 64)
    assert not {"--mean/--std", "--input-shape C,H,W"} & {one.flag for one in stated.assumptions}


def test_grey_images_keep_their_normalisation_open(timm: ModuleType, tmp_path: Path) -> None:
    path = saved(randomised(timm.create_model("resnet18", num_classes=7, in_chans=1)), tmp_path)
    profile = identify(load(path), Options())
    assert profile.input_shape == (1, 224, 224)
    assert profile.normalisation == Normalisation((0.0,), (1.0,))


def test_a_twin_is_built_by_its_library_when_it_is_named(timm: ModuleType, tmp_path: Path) -> None:
    original = randomised(timm.create_model("resnetblur18", num_classes=7))
    path = saved(original, tmp_path)
    plain = rebuilt(original, path, side=64)
    assert not plain.right
    (named,) = (one for one in plain.profile.assumptions if one.what == "architecture")
    found = rebuilt(original, path, side=64, assume={"name": named.alternatives[0]})
    assert found.right, found
    assert found.profile.template == "named"


@pytest.mark.parametrize(
    ("name", "twin"),
    [("efficientnet_b0", "tf_efficientnet_b0"), ("mobilenetv3_small_100", "tf_mobilenetv3_small_100")],
)
def test_libraries_build_what_no_template_does(timm: ModuleType, tmp_path: Path, name: str, twin: str) -> None:
    original = randomised(timm.create_model(name, num_classes=7, in_chans=1))
    path = saved(original, tmp_path, lambda state: {f"module.{key}": tensor for key, tensor in state.items()})
    found = rebuilt(original, path, side=64, channels=1)
    assert found.right, found
    assert twin in next(one.alternatives for one in found.profile.assumptions if one.what == "architecture")


def test_a_vision_transformer_is_built_here_with_what_its_name_says(timm: ModuleType, tmp_path: Path) -> None:
    original = randomised(timm.create_model("vit_tiny_patch16_224", num_classes=7, img_size=32))
    found = rebuilt(original, saved(original, tmp_path), side=32)
    assert found.right, found
    assert found.profile.template == "named"
    assert [one.what for one in found.profile.assumptions] == ["architecture"]
    assert "attention heads" in found.profile.assumptions[0].why
    assert not found.profile.assumptions[0].alternatives, "deit_tiny computes the same"


def test_sizes_that_the_weights_show_make_no_twins(timm: ModuleType, tmp_path: Path) -> None:
    """flexivit_small differs from vit_small_patch16_224 in its table of positions alone, which the index leaves out."""
    with torch.device("meta"):
        state = timm.create_model("vit_small_patch16_224", num_classes=7).state_dict()
    flat = {name: torch.zeros(()).expand(tensor.shape) for name, tensor in state.items()}
    checkpoint = Checkpoint(Path("x.safetensors"), Format.SAFETENSORS, sha256="", bytes=0, tensors=flat)
    (found,) = publications(Dossier(checkpoint, Options()))
    assert (found.name, found.twins, found.exact) == ("vit_small_patch16_224", (), False)


def test_another_image_size_is_found(timm: ModuleType, tmp_path: Path) -> None:
    original = randomised(timm.create_model("swin_tiny_patch4_window7_224", num_classes=7))
    profile = identify(load(saved(original, tmp_path)), Options())
    assert profile.architecture.startswith("swin_tiny_patch4_window7_224")
    assert profile.outputs == 7


def test_a_folder_whose_configuration_names_nothing(timm: ModuleType, tmp_path: Path) -> None:
    original = randomised(timm.create_model("resnet18", num_classes=7))
    save_file(dict(original.state_dict()), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"num_classes": 7}))
    checkpoint = load(tmp_path)
    profile = identify(checkpoint, options := Options(input_shape=(3, 64, 64)))
    assert profile.template == "resnet"
    assert build(checkpoint, profile, options)(torch.rand(1, 3, 64, 64)).shape == (1, 7)


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_timm")
def test_without_the_library_the_model_is_named_and_refused(tmp_path: Path) -> None:
    with imported_timm() as library:
        original = randomised(library.create_model("efficientnet_b0", num_classes=7))
    sys.modules["timm"] = None
    with pytest.raises(UnknownModel, match=r"those of timm 1\.0\.31 efficientnet_b0, and timm .* cannot be") as caught:
        identify(load(saved(original, tmp_path)), Options())
    assert caught.value.hint == "pip install 'privaudit[timm]'"


def test_a_model_without_its_classifier_is_refused(timm: ModuleType, tmp_path: Path) -> None:
    for name, classifier in (("efficientnet_b0", "classifier"), ("vit_tiny_patch16_224", "head")):
        original = randomised(timm.create_model(name))

        def headless(state: dict[str, Tensor], gone: str = classifier) -> dict[str, Tensor]:
            return {key: tensor for key, tensor in state.items() if not key.startswith(f"{gone}.")}

        with pytest.raises(UnknownModel, match="is missing \\(a model without its classifier\\)"):
            identify(load(saved(original, tmp_path, headless)), Options())


def test_a_name_of_other_weights_is_a_question(timm: ModuleType, tmp_path: Path) -> None:
    path = saved(randomised(timm.create_model("resnet18", num_classes=7)), tmp_path)
    with pytest.raises(OpenQuestion, match="are not those of 'resnet34'") as caught:
        identify(load(path), Options(assume={"name": "resnet34"}))
    assert caught.value.hint == "--assume name=NAME, one of resnet18, resnetblur18"


def test_one_tensor_of_another_shape_is_no_hit(timm: ModuleType, tmp_path: Path) -> None:
    original = randomised(timm.create_model("efficientnet_b0", num_classes=7))

    def changed(state: dict[str, Tensor]) -> dict[str, Tensor]:
        return state | {"blocks.1.0.bn1.weight": torch.ones(97)}

    with pytest.raises(UnknownModel):
        identify(load(saved(original, tmp_path, changed)), Options())


def test_small_networks_of_common_names_are_no_publications(tmp_path: Path) -> None:
    net = nn.ModuleDict({"fc1": nn.Linear(784, 32), "fc2": nn.Linear(32, 10)})
    assert identify(load(saved(net, tmp_path)), Options()).template == "mlp"


@pytest.mark.slow
def test_every_model_of_timm_that_a_template_builds_is_built_the_same(timm: ModuleType, tmp_path: Path) -> None:
    built = [one for one in read_index().entries if one.library == "timm" and one.template]
    assert len(built) > 50
    for entry in built:
        with torch.device("meta"):
            if sum(tensor.numel() for tensor in timm.create_model(entry.name).parameters()) > 120_000_000:
                continue
        original = randomised(timm.create_model(entry.name, num_classes=7))
        side = 64 if entry.template in {"resnet", "densenet"} else read_index().inputs[entry.input][0][-1]
        found = rebuilt(original, saved(original, tmp_path), side=side, assume={"name": entry.name})
        assert found.right, (entry.name, found)
        assert found.profile.template in {entry.template, "named"}
