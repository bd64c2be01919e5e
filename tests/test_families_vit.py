"""The in-package vision transformer, against attention as torch computes it."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from auditcli.errors import UnknownModel
from auditcli.families import Options, build, identify
from auditcli.loading import load, save_described
from auditcli.types import Family


def state(
    *, width: int = 16, patch: int = 4, tokens: int = 4, depth: int = 2, cls: bool = True, classes: int = 5
) -> dict[str, torch.Tensor]:
    shapes = {
        "pos_embed": (1, tokens + cls, width),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "head.weight": (classes, width),
        "head.bias": (classes,),
    }
    if cls:
        shapes["cls_token"] = (1, 1, width)
    layers = {"norm1": (width,), "attn.qkv": (3 * width, width), "attn.proj": (width, width), "norm2": (width,)}
    layers |= {"mlp.fc1": (2 * width, width), "mlp.fc2": (width, 2 * width)}
    for block in range(depth):
        for name, shape in layers.items():
            shapes[f"blocks.{block}.{name}.weight"] = shape
            shapes[f"blocks.{block}.{name}.bias"] = shape[:1]
    rng = torch.Generator().manual_seed(3)
    return {name: torch.randn(shape, generator=rng) * 0.3 for name, shape in shapes.items()}


def reference(weights: dict[str, torch.Tensor], heads: int, images: torch.Tensor) -> torch.Tensor:
    """The same network out of torch.nn.functional alone, with torch's own multi-head attention."""
    functional = nn.functional
    patch = weights["patch_embed.proj.weight"].shape[-1]
    x = functional.conv2d(images, weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], stride=patch)
    x = x.flatten(2).transpose(1, 2)
    width = x.shape[-1]
    if "cls_token" in weights:
        x = torch.cat([weights["cls_token"].expand(len(x), 1, width), x], 1)
    x = x + weights["pos_embed"]
    for block in range(2):
        part = {
            name.removeprefix(f"blocks.{block}."): w
            for name, w in weights.items()
            if name.startswith(f"blocks.{block}.")
        }
        attention = nn.MultiheadAttention(width, heads, batch_first=True)
        attention.in_proj_weight.data, attention.in_proj_bias.data = part["attn.qkv.weight"], part["attn.qkv.bias"]
        attention.out_proj.weight.data, attention.out_proj.bias.data = part["attn.proj.weight"], part["attn.proj.bias"]
        h = functional.layer_norm(x, (width,), part["norm1.weight"], part["norm1.bias"], 1e-6)
        x = x + attention(h, h, h, need_weights=False)[0]
        h = functional.layer_norm(x, (width,), part["norm2.weight"], part["norm2.bias"], 1e-6)
        h = functional.gelu(functional.linear(h, part["mlp.fc1.weight"], part["mlp.fc1.bias"]))
        x = x + functional.linear(h, part["mlp.fc2.weight"], part["mlp.fc2.bias"])
    x = functional.layer_norm(x, (width,), weights["norm.weight"], weights["norm.bias"], 1e-6)
    x = x[:, 0] if "cls_token" in weights else x.mean(1)
    return functional.linear(x, weights["head.weight"], weights["head.bias"])


@pytest.mark.parametrize("cls", [True, False])
@pytest.mark.parametrize("heads", [1, 2, 8])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_logits_equal_those_of_torch_attention(tmp_path: Path, cls: bool, heads: int, prefix: str) -> None:
    weights = state(cls=cls)
    path = tmp_path / "vit.safetensors"
    save_file({prefix + name: tensor for name, tensor in weights.items()}, path)
    said = Options(assume={"heads": str(heads)}, mean=(0.5,), std=(0.5,))
    profile = identify(load(path), said)
    assert profile.family is Family.VIT
    assert profile.input_shape == (3, 8, 8)
    target = build(load(path), profile, said)
    images = torch.rand(3, 3, 8, 8)
    assert torch.allclose(target(images), reference(weights, heads, (images - 0.5) / 0.5), atol=1e-5)


def test_second_derivatives_reach_the_input(tmp_path: Path) -> None:
    save_described(tmp_path / "vit.safetensors", state(), {"family": "vit", "heads": 4, "activation": "gelu"})
    checkpoint = load(tmp_path / "vit.safetensors")
    target = build(checkpoint, identify(checkpoint, Options()), Options())
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    (first,) = torch.autograd.grad(target(images).square().sum(), images, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), images)
    assert first.abs().sum() > 0
    assert second.abs().sum() > 0


def test_heads_are_asked_for_or_assumed_at_the_customary_width(tmp_path: Path) -> None:
    save_file(state(width=16), tmp_path / "narrow.safetensors")
    with pytest.raises(UnknownModel, match="attention heads") as caught:
        identify(load(tmp_path / "narrow.safetensors"), Options())
    assert caught.value.hint == "--assume heads=N, of 1, 2, 4"
    with pytest.raises(UnknownModel, match="3 heads do not divide"):
        identify(load(tmp_path / "narrow.safetensors"), Options(assume={"heads": "3"}))
    save_file(state(width=128), tmp_path / "wide.safetensors")
    profile = identify(load(tmp_path / "wide.safetensors"), Options())
    assert {assumption.flag for assumption in profile.assumptions} == {
        "--assume heads=...",
        "--assume activation=...",
        "--assume final=...",
        "--assume eps=...",
        "--mean/--std",
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"head.weight": None, "head.bias": None}, "without its classifier"),
        ({"blocks.1.mlp.fc2.weight": None}, r"blocks\.1\.mlp\.fc2\.bias \(16,\) has no place"),
        ({"blocks.0.ls1.gamma": torch.ones(16)}, r"blocks\.0\.ls1\.gamma"),
        ({"blocks.1.attn.qkv.weight": torch.ones(16, 16)}, r"blocks\.1: no layer makes queries, keys and values"),
        ({"pos_embed": torch.ones(1, 6, 16)}, "5 patches are no square"),
    ],
)
def test_what_differs_from_a_vit_is_named(tmp_path: Path, change: dict[str, torch.Tensor | None], said: str) -> None:
    changed = {name: tensor for name, tensor in (state() | change).items() if tensor is not None}
    save_file(changed, tmp_path / "vit.safetensors")
    with pytest.raises(UnknownModel, match=said) as caught:
        identify(load(tmp_path / "vit.safetensors"), Options(assume={"heads": "2"}))
    assert "vit" in caught.value.message


def test_an_oblong_image_can_be_stated(tmp_path: Path) -> None:
    weights = state(tokens=6)
    save_file(weights, tmp_path / "vit.safetensors")
    said = Options(input_shape=(3, 8, 12), assume={"heads": "2"}, mean=(0.0,), std=(1.0,))
    checkpoint = load(tmp_path / "vit.safetensors")
    images = torch.rand(2, 3, 8, 12)
    target = build(checkpoint, identify(checkpoint, said), said)
    assert torch.allclose(target(images), reference(weights, 2, images), atol=1e-5)
    with pytest.raises(UnknownModel, match="does not give 6 patches"):
        identify(checkpoint, Options(input_shape=(3, 8, 8), assume={"heads": "2"}))
