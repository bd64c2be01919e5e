"""Small valid files that fuzzing starts from, by kind: `Seed`, `KINDS`, `seeds`."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
from fuzz_edits import edit_bytes, edit_json
from fuzz_formats import edit_jpeg, edit_metadata, edit_npz, edit_png, edit_safetensors
from fuzz_graphs import edit_graph
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.numpy import save

Edit = Callable[[bytes, Random], bytes]
_MODEL = "model.safetensors"
_CONFIG_KEYS = (
    *("auto_map", "attn_implementation", "_attn_implementation", "backbone_config", "backbone", "use_timm_backbone"),
    *("use_pretrained_backbone", "quantization_config", "torch_dtype", "dtype", "trust_remote_code", "architectures"),
    *("architecture", "pretrained_cfg", "model_args", "num_classes", "num_labels", "id2label", "label2id", "pad"),
    *("model_type", "transformers_version", "problem_type", "image_size", "num_channels", "depths", "hidden_act"),
    *("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std", "size", "crop_size", "return_dict"),
)


@dataclass(frozen=True, slots=True)
class Seed:
    """A case that is in order, and how it is damaged."""

    name: str
    files: Mapping[str, bytes]
    path: str
    """Of the file that is read, or `.` for the folder."""
    edits: tuple[tuple[str, Edit], ...]
    """File, and what is done to it; one is drawn for each case."""
    shape: tuple[int, int, int] | None = None
    """Of images; None for a model."""

    def damaged(self, rng: Random) -> Seed:
        """One of its files changed, now and then by an edit that knows nothing about its format."""
        name, edit = rng.choice(self.edits)
        content = self.files[name]
        try:
            changed = edit(content, rng)
        except (OverflowError, ValueError, TypeError, UnicodeError):
            # Not every extreme can be written where it was drawn.
            changed = edit_bytes(content, rng)
        if rng.random() < 0.1:
            changed = edit_bytes(changed, rng)
        return replace(self, files={**self.files, name: changed})


def seeds(kind: str) -> tuple[Seed, ...]:
    """The valid cases of one kind of `KINDS`."""
    return KINDS[kind]()


# ---- safetensors ----------------------------------------------------------------------------------------------------


def _safetensors() -> tuple[Seed, ...]:
    half = {name: array.astype("float16") for name, array in _dense().items()}
    files = (("mlp", _bare(_dense())), ("half", _bare(half)), ("cnn", _described(_cnn(), _CNN)), ("vit", _vit_file()))
    edits = ((_MODEL, edit_safetensors), (_MODEL, edit_safetensors), (_MODEL, edit_bytes))
    return tuple(Seed(name, {_MODEL: content}, _MODEL, edits) for name, content in files)


def _metadata() -> tuple[Seed, ...]:
    files = (("mlp", _described(_dense(), _MLP)), ("cnn", _described(_cnn(), _CNN)), ("vit", _vit_file()))
    return tuple(Seed(name, {_MODEL: content}, _MODEL, ((_MODEL, edit_metadata),)) for name, content in files)


def _sidecar() -> tuple[Seed, ...]:
    beside = f"{_MODEL}.privaudit.json"
    edits = ((beside, edit_json), (beside, edit_json), (beside, edit_json), (beside, edit_bytes))
    described = (("mlp", _dense(), _MLP), ("cnn", _cnn(), _CNN))
    return tuple(
        Seed(name, {_MODEL: _bare(arrays), beside: json.dumps(said).encode()}, _MODEL, edits)
        for name, arrays, said in described
    )


_MLP: dict[str, Any] = {"family": "mlp", "activation": "relu", "input_shape": [1, 4, 4], "mean": [0.5], "std": [0.5]}
_MLP |= {"classes": 3, "labels": ["a", "b", "c"]}
_CNN: dict[str, Any] = {"family": "cnn", "activation": "gelu", "input_shape": [3, 8, 8], "strides": [1]}
_CNN |= {
    "paddings": [1],
    "pool": ["max"],
    "final": "flatten",
    "norm": "before",
    "eps": 1e-5,
    "mean": [0.5] * 3,
    "std": [0.2] * 3,
}
_VIT: dict[str, Any] = {"family": "vit", "activation": "gelu", "heads": 2, "input_shape": [3, 8, 8]}


def _random(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).normal(0, 0.3, shape).astype("float32")


def _dense() -> dict[str, NDArray[Any]]:
    shapes = {"fc1.weight": (8, 16), "fc1.bias": (8,), "fc2.weight": (3, 8), "fc2.bias": (3,)}
    return {name: _random(*shape) for name, shape in shapes.items()}


def _cnn() -> dict[str, NDArray[Any]]:
    norm = {"bn1.weight": _random(4), "bn1.bias": _random(4), "bn1.running_mean": _random(4)}
    norm |= {"bn1.running_var": np.ones(4, "float32"), "bn1.num_batches_tracked": np.array(7)}
    ends = {"conv1.weight": _random(4, 3, 3, 3), "conv1.bias": _random(4), "fc.weight": _random(5, 64)}
    return {**ends, **norm, "fc.bias": _random(5)}


def _vit_file() -> bytes:
    width = 8
    shapes = {"pos_embed": (1, 5, width), "cls_token": (1, 1, width), "patch_embed.proj.weight": (width, 3, 4, 4)}
    shapes |= {"patch_embed.proj.bias": (width,), "norm.weight": (width,), "norm.bias": (width,)}
    layers = {"norm1": (width,), "attn.qkv": (3 * width, width), "attn.proj": (width, width), "norm2": (width,)}
    layers |= {"mlp.fc1": (2 * width, width), "mlp.fc2": (width, 2 * width)}
    named = {"head": (3, width)} | {f"blocks.{i}.{name}": shape for i in range(2) for name, shape in layers.items()}
    for name, shape in named.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return _described({name: _random(*shape) for name, shape in shapes.items()}, _VIT)


def _bare(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    return bytes(save(dict(arrays)))


def _described(arrays: Mapping[str, NDArray[Any]], said: Mapping[str, Any]) -> bytes:
    return bytes(save(dict(arrays), metadata={"privaudit.arch": json.dumps(said)}))


# ---- Hugging Face folders -------------------------------------------------------------------------------------------


def _folders() -> tuple[Seed, ...]:
    """Folders of transformers, one of them in shards; none where it is not installed."""
    try:
        import transformers
    except ImportError:
        return ()
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    small: dict[str, Any] = {"image_size": 8, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    small |= {"patch_size": 4, "intermediate_size": 16, "num_labels": 3}
    vit = transformers.ViTForImageClassification(transformers.ViTConfig(**small))
    sizes: dict[str, Any] = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "num_labels": 3}
    resnet = transformers.ResNetForImageClassification(transformers.ResNetConfig(**sizes))
    return (_folder("vit", vit, "3KB"), _folder("resnet", resnet, "1GB"))


def _folder(name: str, model: Any, shard: str) -> Seed:
    with tempfile.TemporaryDirectory() as place:
        model.eval().save_pretrained(place, max_shard_size=shard)
        files = {file.name: file.read_bytes() for file in sorted(Path(place).iterdir())}
    statistics = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "size": {"height": 8, "width": 8}}
    files["preprocessor_config.json"] = json.dumps(statistics).encode()
    texts = [file for file in files if file.endswith(".json")]
    edits = tuple((file, _edit_config) for file in (*texts, *texts, "config.json", "config.json"))
    return Seed(name, files, ".", (*edits, ("config.json", edit_bytes)))


def _edit_config(content: bytes, rng: Random) -> bytes:
    return edit_json(content, rng, _CONFIG_KEYS)


# ---- ONNX -----------------------------------------------------------------------------------------------------------


def _onnx() -> tuple[Seed, ...]:
    edits = (("model.onnx", edit_graph),) * 4 + (("model.onnx", edit_bytes),)
    graphs = (("mlp", _onnx_mlp()), ("cnn", _onnx_cnn()), ("attention", _onnx_attention()))
    inline = [Seed(name, {"model.onnx": model.SerializeToString()}, "model.onnx", edits) for name, model in graphs]
    return (*inline, _onnx_external(edits))


def _graph(nodes: list[Any], weights: Mapping[str, NDArray[Any]], takes: list[Any]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, takes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _onnx_mlp() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"], "flatten", axis=1),
        helper.make_node("Gemm", ["f", "w1", "b1"], ["h"], "first", transB=1),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], "second", transB=1),
    ]
    arrays = dict(zip(("w1", "b1", "w2", "b2"), _dense().values(), strict=True))
    return _graph(nodes, arrays, ["n", 1, 4, 4])


def _onnx_cnn() -> onnx.ModelProto:
    scale = numpy_helper.from_array(np.array(0.5, "float32"), "half")
    nodes = [
        helper.make_node("Constant", [], ["mean"], "mean", value=scale),
        helper.make_node("Sub", ["x", "mean"], ["s"], "centre"),
        helper.make_node("Conv", ["s", "w"], ["c"], "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n1"], "norm", epsilon=1e-5),
        helper.make_node("Relu", ["n1"], ["r"], "relu"),
        helper.make_node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["p"], ["a"], "average"),
        helper.make_node("Flatten", ["a"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["l"], "head"),
        helper.make_node("Softmax", ["l"], ["y"], "probabilities", axis=1),
    ]
    arrays = {"w": _random(4, 3, 3, 3), "g": _random(4), "b": _random(4), "m": _random(4), "v": np.ones(4, "float32")}
    return _graph(nodes, {**arrays, "w2": _random(4, 3), "b2": _random(3)}, ["n", 3, 8, 8])


def _onnx_attention() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Reshape", ["x", "tokens"], ["t"], "tokens"),
        helper.make_node("MatMul", ["t", "q"], ["tq"], "query"),
        helper.make_node("Transpose", ["t"], ["tt"], "turn", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["tq", "tt"], ["s"], "scores"),
        helper.make_node("Softmax", ["s"], ["p"], "attention", axis=-1),
        helper.make_node("MatMul", ["p", "t"], ["o"], "mix"),
        helper.make_node("ReduceMean", ["o"], ["a"], "mean", axes=[1], keepdims=0),
        helper.make_node("Gemm", ["a", "w", "b"], ["y"], "head"),
    ]
    arrays = {"tokens": np.array([-1, 4, 4]), "q": _random(4, 4), "w": _random(4, 3), "b": _random(3)}
    return _graph(nodes, arrays, ["n", 1, 4, 4])


def _onnx_external(edits: tuple[tuple[str, Edit], ...]) -> Seed:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.onnx"
        onnx.save(_onnx_mlp(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
        files = {file.name: file.read_bytes() for file in sorted(Path(place).iterdir())}
    return Seed("external", files, "model.onnx", (*edits, ("weights.bin", edit_bytes)))


# ---- images ---------------------------------------------------------------------------------------------------------


def _npz() -> tuple[Seed, ...]:
    stream = io.BytesIO()
    np.savez_compressed(stream, images=_pixels(2, 4, 4), labels=np.array([0, 1]))
    edits = (("a.npz", edit_npz), ("a.npz", edit_npz), ("a.npz", edit_bytes))
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive, archive.open("images.npy", "w") as member:
        np.save(member, _pixels(2, 4, 4))
    files = (("compressed", stream), ("stored", stored))
    return tuple(Seed(name, {"a.npz": file.getvalue()}, "a.npz", edits, (1, 4, 4)) for name, file in files)


def _png() -> tuple[Seed, ...]:
    colour, grey = Image.fromarray(_pixels(8, 8, 3)), Image.fromarray(_pixels(8, 8))
    pictures = (("colour", colour, (3, 8, 8)), ("grey", grey, (1, 8, 8)), ("palette", colour.quantize(8), (3, 8, 8)))
    return tuple(_picture(name, image, "png", shape, edit_png) for name, image, shape in pictures)


def _jpeg() -> tuple[Seed, ...]:
    image = Image.fromarray(_pixels(16, 16, 3))
    plain = _picture("plain", image, "jpg", (3, 16, 16), edit_jpeg)
    return (plain, _picture("progressive", image, "jpg", (3, 16, 16), edit_jpeg, progressive=True))


def _pictures() -> tuple[Seed, ...]:
    """The other formats that are read."""
    image = Image.fromarray(_pixels(8, 8, 3))
    suffixes: tuple[tuple[str, dict[str, Any]], ...] = (
        *(("bmp", {}), ("gif", {}), ("webp", {"lossless": True}), ("tif", {})),
        ("tif", {"compression": "tiff_deflate"}),
    )
    return tuple(_picture(suffix, image, suffix, (3, 8, 8), edit_bytes, **options) for suffix, options in suffixes)


def _picture(
    name: str, image: Image.Image, suffix: str, shape: tuple[int, int, int], edit: Edit, **options: Any
) -> Seed:
    stream = io.BytesIO()
    image.save(stream, Image.registered_extensions()[f".{suffix}"], **options)
    edits = ((f"a.{suffix}", edit), (f"a.{suffix}", edit_bytes))
    return Seed(name, {f"a.{suffix}": stream.getvalue()}, ".", edits, shape)


def _pixels(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


KINDS: Mapping[str, Callable[[], tuple[Seed, ...]]] = {
    "safetensors": _safetensors,
    "metadata": _metadata,
    "sidecar": _sidecar,
    "config": _folders,
    "onnx": _onnx,
    "npz": _npz,
    "png": _png,
    "jpeg": _jpeg,
    "picture": _pictures,
}
