"""A head that came without its backbone, put on one that is given."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import auditcli
from auditcli.errors import LoadError, UsageError
from auditcli.inspection import inspect
from auditcli.loading import save_described
from auditcli.types import Trait


def head_file(folder, features, hidden=9, classes=4, act=nn.ReLU):
    """A perceptron on features, saved without a word on what makes them."""
    head = nn.Sequential(nn.Linear(features, hidden), act(), nn.Linear(hidden, classes))
    save_file(head.state_dict(), folder / "head.safetensors")
    return head, folder / "head.safetensors"


@pytest.fixture
def convolutions(tmp_path):
    """A described convolutional classifier of 24 features and 7 classes, which reads (pixels - 0.4) / 0.2."""
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 24),
        nn.ReLU(),
        nn.Linear(24, 7),
    )
    described = {
        "family": "cnn",
        "activation": "relu",
        "input_shape": (3, 8, 8),
        "classes": 7,
        "pool": ("max",),
        "final": "flatten",
        "mean": (0.4,),
        "std": (0.2,),
    }
    save_described(tmp_path / "backbone.safetensors", net.state_dict(), described)
    return net, tmp_path / "backbone.safetensors"


def test_a_head_reads_what_the_last_layer_of_the_backbone_read(convolutions, tmp_path):
    net, backbone = convolutions
    head, path = head_file(tmp_path, 24)
    target = auditcli.load(path, backbone=backbone, device="cpu")
    images = torch.rand(5, 3, 8, 8)
    features = net[:-1]((images - 0.4) / 0.2)
    torch.testing.assert_close(target(images), head(features))
    torch.testing.assert_close(target.head.features(images), features)
    assert torch.equal(target.head.dense.weights[0], head[0].weight)
    assert target.profile.input_shape == (3, 8, 8)
    assert (target.profile.classes, target.profile.outputs) == (4, 4)
    assert Trait.HEAD in target.profile.traits
    assert not {Trait.DENSE, Trait.FIRST_LAYER_LINEAR} & target.profile.traits
    assert not any(parameter.requires_grad for parameter in target.module.parameters())
    assert target.profile.parameters == sum(p.numel() for p in (*net.parameters(), *head.parameters()))


def test_the_features_can_be_differentiated(convolutions, tmp_path):
    _, path = head_file(tmp_path, 24)
    target = auditcli.load(path, backbone=convolutions[1], device="cpu")
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(target.head.features(images).square().sum(), images)
    assert gradient.abs().sum() > 0


def test_or_what_the_backbone_returns_where_only_that_fits(convolutions, tmp_path):
    net, backbone = convolutions
    head, path = head_file(tmp_path, 7, act=nn.Tanh)
    target = auditcli.load(path, backbone=backbone, assume={"activation": "tanh"}, device="cpu")
    images = torch.rand(5, 3, 8, 8)
    torch.testing.assert_close(target(images), head(net((images - 0.4) / 0.2)))
    assert any("what it returns" in sentence for sentence in target.profile.evidence)


def test_a_head_of_another_length_is_told_what_there_is(convolutions, tmp_path):
    _, path = head_file(tmp_path, 25)
    with pytest.raises(LoadError, match=r"gives 24 \(what its last layer reads\) or 7 \(what it returns\)") as caught:
        auditcli.load(path, backbone=convolutions[1])
    assert "the first layer reads 25" in caught.value.message
    assert "--backbone" in caught.value.hint


def test_code_of_the_user_builds_a_whole_network(convolutions, tmp_path):
    _, path = head_file(tmp_path, 24)
    with pytest.raises(UsageError, match="--arch builds a whole network"):
        auditcli.load(path, backbone=convolutions[1], arch="torch.nn:Identity")


def test_a_report_names_the_backbone_and_what_was_assumed(convolutions, tmp_path):
    _, path = head_file(tmp_path, 24)
    model = inspect(path, backbone=convolutions[1])
    assert any("backbone.safetensors" in sentence for sentence in model.evidence)
    assert model.architecture.startswith("24-9-4, relu, on 24 features of ")
    assumed = {assumption.what for assumption in model.assumptions}
    assert "activation" in assumed
    assert not {"input shape", "normalisation"} & assumed
    assert next(one.value for one in model.statements if one.what == "backbone").startswith("backbone.safetensors")


def test_a_folder_of_transformers_is_a_backbone(tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=8, patch_size=4
    )
    net = transformers.ViTForImageClassification(config).eval()
    net.save_pretrained(tmp_path / "vit")
    processor = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "do_normalize": True, "do_rescale": True}
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(processor))
    head, path = head_file(tmp_path, 16)
    target = auditcli.load(path, backbone=tmp_path / "vit", device="cpu")
    images = torch.rand(3, 3, 8, 8)
    with torch.no_grad():
        wanted = head(net.vit((images - 0.5) / 0.25).last_hidden_state[:, 0])
    torch.testing.assert_close(target(images), wanted)
    assert target.profile.normalisation.std == (0.25, 0.25, 0.25)
