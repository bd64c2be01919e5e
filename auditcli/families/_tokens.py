"""The state dict of a vision transformer in one set of names, whatever its author called them: `read`.

The names that are returned: `patch` (a convolution or a linear layer), `cls`, `pos`, `blocks.N.{norm1, qkv, proj,
norm2, fc1, fc2}`, `norm` (of all tokens), `head_norm` (of what the head reads) and `head`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from auditcli.families._layers import Group, groups, natural, parent, position
from auditcli.families._template import Mismatch

if TYPE_CHECKING:
    from torch import Tensor

TIMM = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
TORCH = ("norm1", "self_attn.in_proj", "self_attn.out_proj", "norm2", "linear1", "linear2")
ROLES = ("norm1", "qkv", "proj", "norm2", "fc1", "fc2")

_NEAR = 0.99
"""Share that fits of a state dict with blocks of attention which is no vision transformer all the same."""
_BLOCK = re.compile(r"(?P<root>(?:[^.]*[^.\d][^.]*\.)*?[^.]*[^.\d][^.]*)\.(?P<index>\d{1,4})\.(?P<rest>.+)")
_QUERY, _KEY, _VALUE = (
    re.compile(rf"(?:^|[._])(?:to|w|lin|linear|proj|fc)?_?(?:{word})_?(?:proj|lin|linear|layer|fc)?$", re.IGNORECASE)
    for word in ("q|query|queries", "k|key|keys", "v|value|values")
)
_CLS = re.compile(r"(?:^|[._])(?:cls|class)(?:[._]?(?:token|tokens|embed|embedding|emb))?$", re.IGNORECASE)
_POSITIONS = re.compile(r"pos|(?:^|[._])pe$", re.IGNORECASE)
_PATCHES = re.compile(r"patch|embed|stem|proj|tokeni", re.IGNORECASE)
_MLP = re.compile(r"(?:^|[._])(?:mlp|ff|ffn|feed)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tokens:
    """A vision transformer by roles."""

    state: Mapping[str, Tensor]
    depth: int
    dialect: str
    """`timm`, `torch` (nn.TransformerEncoder) or empty for names of its author's own."""

    @property
    def width(self) -> int:
        """Features of a token."""
        return len(self.state["patch.weight"])

    @property
    def outputs(self) -> int:
        """Logits."""
        return len(self.state["head.weight"])


def read(tensors: Mapping[str, Tensor]) -> Tokens | Mismatch:
    """A state dict in the names of this module, or why it is no vision transformer."""
    plain = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    root, blocks = _blocks(plain)
    if not blocks:
        return Mismatch("it has no numbered blocks of equal layers with attention", 0.0)
    inner = {name for name in plain if name.startswith(f"{root}.") and _BLOCK.fullmatch(name)}
    state: dict[str, Tensor] = {}
    dialect = ""
    for index, block in enumerate(blocks):
        found = _block(f"{root}.{index}", block)
        if isinstance(found, Mismatch):
            return found
        named, dialect = found
        state |= {f"blocks.{index}.{name}": tensor for name, tensor in named.items()}
    width = len(state["blocks.0.norm1.weight"])
    outer = _outer({name: tensor for name, tensor in plain.items() if name not in inner}, width)
    if isinstance(outer, Mismatch):
        return outer
    tokens = Tokens(state | outer, len(blocks), dialect)
    problem = _shape_problem(tokens)
    return Mismatch(problem, _NEAR) if problem else tokens


def _blocks(tensors: Mapping[str, Tensor]) -> tuple[str, list[dict[str, Tensor]]]:
    """The name of the list of blocks, and the tensors of each; the list with most tensors is it."""
    lists: dict[str, dict[int, dict[str, Tensor]]] = {}
    for name, tensor in tensors.items():
        if match := _BLOCK.fullmatch(name):
            lists.setdefault(match["root"], {}).setdefault(int(match["index"]), {})[match["rest"]] = tensor
    for root in sorted(lists, key=lambda root: -sum(map(len, lists[root].values()))):
        found = lists[root]
        square = any(_attends(name, tensor) for name, tensor in found[min(found)].items())
        if square and sorted(found) == list(range(len(found))):
            return root, [found[index] for index in range(len(found))]
    return "", []


def _attends(name: str, tensor: Tensor) -> bool:
    layer = name.rpartition(".")[0]
    fused = tensor.ndim == 2 and len(tensor) == 3 * tensor.shape[1]
    return tensor.ndim == 2 and (fused or bool(_QUERY.search(layer)))


def _block(name: str, block: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str] | Mismatch:
    """The tensors of a block by role, and the dialect of their names."""
    spelled = {re.sub(r"in_proj_(weight|bias)$", r"in_proj.\1", part): tensor for part, tensor in block.items()}
    layers = groups(spelled)
    if strange := next((layer for layer in layers if layer.kind not in {"linear", "norm"}), None):
        return Mismatch(f"{name}.{_first_part(strange)} has no place in it", _NEAR)
    roles = _roles(layers)
    if isinstance(roles, str):
        return Mismatch(f"{name}: {roles}", _NEAR)
    found = {}
    for role, parts in roles.items():
        if len({part.bias is None for part in parts}) > 1:
            return Mismatch(f"{name}: some of {', '.join(part.name for part in parts)} have a bias", _NEAR)
        biases = [part.bias for part in parts if part.bias is not None]
        if any(bias.ndim != 1 for bias in biases):
            return Mismatch(f"{name}: a bias of {parts[0].name} is no vector", _NEAR)
        found[f"{role}.weight"] = _joined([part.weight for part in parts])
        if biases:
            found[f"{role}.bias"] = _joined(biases)
    names = tuple("/".join(part.name for part in roles[role]) for role in ROLES)
    return found, "timm" if names == TIMM else "torch" if names == TORCH else ""


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """One tensor; a single one as it is, which may lie in the file."""
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


def _roles(layers: Sequence[Group]) -> dict[str, tuple[Group, ...]] | str:
    """Which layer of a block does what, by shapes, and by names where shapes are alike; or what is wrong."""
    norms = sorted((layer for layer in layers if layer.kind == "norm"), key=_place)
    linears = [layer for layer in layers if layer.kind == "linear"]
    if len(norms) != 2:
        return f"{len(norms)} layer norms; two were expected"
    width = len(norms[0].weight)
    fused = [layer for layer in linears if layer.weight.shape == (3 * width, width)]
    apart = [
        [layer for layer in linears if pattern.search(layer.name) and layer.weight.shape == (width, width)]
        for pattern in (_QUERY, _KEY, _VALUE)
    ]
    if all(len(found) == 1 for found in apart):
        attention = tuple(found[0] for found in apart)
    elif fused:
        named = [layer for layer in fused if re.search("qkv|in_proj|attn", layer.name)]
        attention = tuple((named or fused)[:1])
    else:
        return "no layer makes queries, keys and values of equal width"
    rest = [layer for layer in linears if layer not in attention]
    if len(rest) != 3:
        return f"{len(rest)} linear layers beside queries, keys and values; three were expected"
    square = [layer for layer in rest if layer.weight.shape == (width, width)]
    outside = [layer for layer in square if not _MLP.search(layer.name)] if len(square) > 1 else square
    if len(outside) != 1:
        return "no single layer follows the attention"
    first, second = (layer for layer in rest if layer is not outside[0])
    return {
        "norm1": (norms[0],),
        "qkv": attention,
        "proj": (outside[0],),
        "norm2": (norms[1],),
        "fc1": (first,),
        "fc2": (second,),
    }


def _place(norm: Group) -> tuple[int, object]:
    """Norms in the order of attention and MLP: by what their names say, else as numbered."""
    late = bool(_MLP.search(norm.name)) or norm.name.endswith("after")
    return (int(late), natural(norm.name))


def _outer(tensors: Mapping[str, Tensor], width: int) -> dict[str, Tensor] | Mismatch:
    """Patch embedding, tokens, positions, norms and head by role."""
    found: dict[str, Tensor] = {}
    layers: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        bare = name.removesuffix(".weight")
        if not tensor.is_floating_point():
            layers[name] = tensor
        elif _CLS.search(bare) and tensor.numel() == width:
            found["cls"] = tensor.reshape(1, 1, width)
        elif (
            _POSITIONS.search(bare)
            and tensor.shape[-1:] == (width,)
            and tensor.numel() == max(tensor.shape[:-1], default=0) * width
        ):
            found["pos"] = tensor.reshape(1, -1, width)
        else:
            layers[name] = tensor
    rest = groups(layers)
    patches = [layer for layer in rest if layer.kind == "convolution"] or [
        layer for layer in rest if layer.kind == "linear" and layer.width == width and _PATCHES.search(layer.name)
    ]
    if len(patches) != 1:
        return Mismatch(f"{len(patches)} layers could cut the image into patches; one was expected", _NEAR)
    heads = [layer for layer in rest if layer.kind == "linear" and layer is not patches[0]]
    norms = [layer for layer in rest if layer.kind == "norm" and len(layer.weight) == width]
    strange = [layer for layer in rest if layer not in [*patches, *heads, *norms]]
    if strange:
        return Mismatch(f"{_first_part(strange[0])} has no place in it", _NEAR)
    if len(heads) != 1:
        what = "head.weight is missing (a model without its classifier)" if not heads else f"it has {len(heads)} heads"
        return Mismatch(what, _NEAR)
    late = [norm for norm in norms if _before_head(norm, heads[0])]
    early = [norm for norm in norms if norm not in late]
    if len(late) > 1 or len(early) > 1:
        return Mismatch(
            f"{', '.join(norm.name for norm in norms)}: at most one norm before the head was expected", _NEAR
        )
    roles = [("patch", patches[0]), ("head", heads[0])]
    roles += [*(("norm", norm) for norm in early), *(("head_norm", norm) for norm in late)]
    for role, layer in roles:
        found |= {f"{role}.{part}": tensor for part, tensor in layer.parts.items()}
    return found


def _first_part(layer: Group) -> str:
    """Name and shape of a tensor of the layer."""
    part, tensor = next(iter(layer.parts.items()))
    return f"{layer.name}.{part} {tuple(tensor.shape)}".lstrip(".")


def _before_head(norm: Group, head: Group) -> bool:
    """Whether a norm reads what the head reads, and not all tokens."""
    if norm.name.rpartition(".")[2] == "fc_norm":
        return True
    shared = parent(norm) == parent(head) and position(norm) is not None and position(head) is not None
    return shared and bool(parent(norm))


def _shape_problem(tokens: Tokens) -> str:
    """What has another shape than the rest asks for, or empty."""
    state, width = tokens.state, len(tokens.state["blocks.0.norm1.weight"])
    hidden = len(state["blocks.0.fc1.weight"])
    shapes = {
        "norm1": (width,),
        "qkv": (3 * width, width),
        "proj": (width, width),
        "norm2": (width,),
        "fc1": (hidden, width),
        "fc2": (width, hidden),
    }
    wanted = {f"blocks.{index}.{role}.weight": shape for index in range(tokens.depth) for role, shape in shapes.items()}
    wanted |= {name[: -len("weight")] + "bias": shape[:1] for name, shape in wanted.items()}
    if {name for name in state if name.startswith("blocks.")} - set(wanted):
        return "its blocks differ"
    for name, shape in wanted.items():
        if name in state and tuple(state[name].shape) != shape:
            return f"{name} is {tuple(state[name].shape)}, {shape} was expected"
        first = name.split(".", 2)[2]
        if (name in state) != (f"blocks.0.{first}" in state):
            return f"{name} is {'there' if name in state else 'missing'}, unlike in the first block"
    for name in ("patch", "head"):
        bias = state.get(f"{name}.bias")
        if bias is not None and len(bias) != len(state[f"{name}.weight"]):
            return f"{name}.bias is {tuple(bias.shape)}, ({len(state[f'{name}.weight'])},) was expected"
    if tokens.width != width:
        return f"patches have {tokens.width} features, blocks {width}"
    return ""
