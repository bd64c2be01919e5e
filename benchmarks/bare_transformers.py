"""Vision transformers as people write them: `transformers`."""

# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from collections.abc import Callable
from math import log

import torch
from bare_case import COLOUR, GREY, Case
from torch import Tensor, nn
from torch.nn import functional

S = nn.Sequential


def sinusoid(tokens: int, width: int) -> Tensor:
    """The table of Vaswani et al. 2017, (1, tokens, width)."""
    angle = torch.arange(tokens)[:, None] * torch.exp(torch.arange(0, width, 2) * (-log(10000.0) / width))
    table = torch.zeros(1, tokens, width)
    table[0, :, 0::2], table[0, :, 1::2] = angle.sin(), angle.cos()
    return table


class TorchVit(nn.Module):
    """Patches through nn.TransformerEncoder."""

    def __init__(
        self,
        *,
        cls: str = "",
        final: bool = False,
        positions: str = "pos_embed",
        act: str = "relu",
        pre: bool = False,
        heads: int = 4,
        width: int = 16,
        side: int = 28,
        patch: int = 7,
        channels: int = 1,
        mlp_head: bool = False,
    ) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(channels, width, patch, patch)
        tokens = (side // patch) ** 2 + bool(cls)
        self.cls, self.positions = cls, positions
        if cls:
            self.register_parameter(cls, nn.Parameter(torch.zeros(1, 1, width)))
        if positions == "pe":
            self.register_buffer("pe", sinusoid(tokens, width))
        elif positions:
            self.register_parameter(positions, nn.Parameter(torch.zeros(1, tokens, width)))
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, activation=act, norm_first=pre, batch_first=True, dropout=0.1
        )
        norm = nn.LayerNorm(width) if final else None
        self.encoder = nn.TransformerEncoder(layer, 2, norm=norm, enable_nested_tensor=False)
        if mlp_head:
            self.mlp_head = S(nn.LayerNorm(width), nn.Linear(width, 10))
        else:
            self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Images -> logits."""
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        if self.cls:
            x = torch.cat([getattr(self, self.cls).expand(len(x), -1, -1), x], 1)
        if self.positions:
            x = x + getattr(self, self.positions)
        x = self.encoder(x)
        x = x[:, 0] if self.cls else x.mean(1)
        return self.mlp_head(x) if hasattr(self, "mlp_head") else self.head(x)


class Attention(nn.Module):
    """Attention with separate projections."""

    def __init__(self, width: int, heads: int, names: str) -> None:
        super().__init__()
        self.names, self.heads = names.split(), heads
        for name in self.names:
            self.add_module(name, nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (n, t, d) -> (n, t, d)."""
        q, k, v = (getattr(self, name)(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for name in self.names[:3])
        weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
        return getattr(self, self.names[3])((weights @ v).transpose(1, 2).flatten(2))


class FusedAttention(nn.Module):
    """Attention with one projection for queries, keys and values."""

    def __init__(self, width: int, heads: int, names: str) -> None:
        super().__init__()
        self.heads, self.names = heads, names.split()
        self.add_module(self.names[0], nn.Linear(width, 3 * width))
        self.add_module(self.names[1], nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (n, t, d) -> (n, t, d)."""
        q, k, v = getattr(self, self.names[0])(x).chunk(3, -1)
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
        return getattr(self, self.names[1])((weights @ v).transpose(1, 2).flatten(2))


class HandBlock(nn.Module):
    """A pre-norm block with chosen names."""

    def __init__(
        self, width: int, attention: nn.Module, *, norms: str, eps: float, mlp: str, post: bool = False
    ) -> None:
        super().__init__()
        self.names, self.post = norms.split(), post
        self.add_module(self.names[0], nn.LayerNorm(width, eps=eps))
        self.attn = attention
        self.add_module(self.names[1], nn.LayerNorm(width, eps=eps))
        self.mlp_name = mlp
        self.add_module(mlp, S(nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(), nn.Linear(2 * width, width)))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (n, t, d) -> (n, t, d)."""
        first, second, mlp = getattr(self, self.names[0]), getattr(self, self.names[1]), getattr(self, self.mlp_name)
        if self.post:
            x = first(x + self.attn(x))
            return second(x + mlp(x))
        x = x + self.attn(first(x))
        return x + mlp(second(x))


class HandVit(nn.Module):
    """A vision transformer written by hand."""

    def __init__(
        self,
        block: Callable[[], nn.Module],
        *,
        names: str = "patch_embed cls_token pos_embed blocks norm head",
        width: int = 16,
        eps: float = 1e-5,
        side: int = 32,
        patch: int = 8,
        channels: int = 3,
        table: bool = False,
    ) -> None:
        super().__init__()
        self.names = names.split()
        patches, cls, positions, blocks, norm, head = self.names
        self.add_module(patches, nn.Conv2d(channels, width, patch, patch))
        tokens = (side // patch) ** 2 + (cls != "-")
        if cls != "-":
            self.register_parameter(cls, nn.Parameter(torch.zeros(1, 1, width)))
        if table:
            self.add_module(positions, nn.Embedding(tokens, width))
        else:
            self.register_parameter(positions, nn.Parameter(torch.zeros(1, tokens, width)))
        self.add_module(blocks, nn.ModuleList(block() for _ in range(2)))
        if norm != "-":
            self.add_module(norm, nn.LayerNorm(width, eps=eps))
        self.add_module(head, nn.Linear(width, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Images -> logits."""
        patches, cls, positions, blocks, norm, head = self.names
        x = getattr(self, patches)(x).flatten(2).transpose(1, 2)
        if cls != "-":
            x = torch.cat([getattr(self, cls).expand(len(x), -1, -1), x], 1)
        held = getattr(self, positions)
        x = x + (held.weight if isinstance(held, nn.Embedding) else held)
        for block in getattr(self, blocks):
            x = block(x)
        x = getattr(self, norm)(x) if norm != "-" else x
        return getattr(self, head)(x[:, 0] if cls != "-" else x.mean(1))


class TimmPatch(nn.Module):
    """A convolution called `proj`."""

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        """Images -> patches (n, d, h, w)."""
        return self.proj(x)


class LinearPatchVit(nn.Module):
    """Patches cut by unfold and projected by a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Linear(49, 16)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 16))
        self.pos_embed = nn.Parameter(torch.zeros(1, 17, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", norm_first=True, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Images -> logits."""
        x = self.patch(functional.unfold(x, 7, stride=7).transpose(1, 2))
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        return self.head(self.transformer(x)[:, 0])


def transformers() -> list[Case]:
    """All of them."""

    def separate() -> nn.Module:
        return HandBlock(16, Attention(16, 4, "query key value out"), norms="norm1 norm2", eps=1e-5, mlp="mlp")

    def projected() -> nn.Module:
        return HandBlock(16, Attention(16, 2, "q_proj k_proj v_proj out_proj"), norms="ln_1 ln_2", eps=1e-5, mlp="ffn")

    def fused() -> nn.Module:
        return HandBlock(16, FusedAttention(16, 4, "qkv proj"), norms="norm1 norm2", eps=1e-6, mlp="mlp")

    def to_qkv() -> nn.Module:
        return HandBlock(16, FusedAttention(16, 2, "to_qkv to_out"), norms="ln1 ln2", eps=1e-5, mlp="ff")

    def post() -> nn.Module:
        return HandBlock(16, Attention(16, 4, "wq wk wv wo"), norms="norm1 norm2", eps=1e-5, mlp="mlp", post=True)

    def said(act: str, heads: int, blocks: str, final: str, eps: str = "1e-5", **more: str) -> dict[str, str]:
        return {"activation": act, "heads": str(heads), "block_norm": blocks, "final": final, "eps": eps, **more}

    return [
        Case("TransformerEncoder, cls token", lambda: TorchVit(cls="cls_token"), GREY, said("relu", 4, "after", "cls")),
        Case(
            "TransformerEncoder, cls token, norm first, gelu",
            lambda: TorchVit(cls="cls_token", pre=True, act="gelu", final=True),
            GREY,
            said("gelu", 4, "before", "cls"),
        ),
        Case(
            "TransformerEncoder, mean of tokens",
            lambda: TorchVit(positions="pos_embedding", heads=2),
            GREY,
            said("relu", 2, "after", "average"),
        ),
        Case(
            "TransformerEncoder, mean, norm first, head with norm",
            lambda: TorchVit(positions="pos_embedding", pre=True, act="gelu", mlp_head=True),
            GREY,
            said("gelu", 4, "before", "average"),
        ),
        Case(
            "TransformerEncoder, class_token, colour",
            lambda: TorchVit(
                cls="class_token", positions="position_embeddings", pre=True, side=32, patch=8, channels=3
            ),
            COLOUR,
            said("relu", 4, "before", "cls"),
        ),
        Case(
            "TransformerEncoder, sinusoidal buffer",
            lambda: TorchVit(cls="cls_token", positions="pe", pre=True),
            GREY,
            said("relu", 4, "before", "cls"),
        ),
        Case(
            "TransformerEncoder, no positions",
            lambda: TorchVit(positions="", pre=True),
            GREY,
            said("relu", 4, "before", "average", positions="none"),
        ),
        Case("TransformerEncoder, linear patches", LinearPatchVit, GREY, said("gelu", 2, "before", "cls")),
        Case(
            "TransformerEncoder, width 128",
            lambda: TorchVit(cls="cls_token", width=128, heads=2, pre=True),
            GREY,
            said("relu", 2, "before", "cls"),
        ),
        Case("query key value out", lambda: HandVit(separate), COLOUR, said("gelu", 4, "before", "cls")),
        Case(
            "q_proj k_proj v_proj, mean",
            lambda: HandVit(projected, names="patch_embedding - pos_embed layers ln_f classifier"),
            COLOUR,
            said("gelu", 2, "before", "average"),
        ),
        Case(
            "qkv, position table",
            lambda: HandVit(
                fused, names="to_patch class_embedding position_embedding blocks norm fc", table=True, eps=1e-6
            ),
            COLOUR,
            said("gelu", 4, "before", "cls", "1e-6"),
        ),
        Case(
            "to_qkv, no final norm",
            lambda: HandVit(to_qkv, names="patch cls_token pos_emb layers - head"),
            COLOUR,
            said("gelu", 2, "before", "cls"),
        ),
        Case(
            "wq wk wv wo, norm after",
            lambda: HandVit(post, names="patch_embed cls_token pos_embed encoder - head"),
            COLOUR,
            said("gelu", 4, "after", "cls"),
        ),
        Case(
            "timm names, eps 1e-5, DataParallel",
            lambda: HandVit(separate),
            COLOUR,
            said("gelu", 4, "before", "cls"),
            prefix="module.",
        ),
    ]
