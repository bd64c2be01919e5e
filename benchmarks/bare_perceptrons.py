"""Perceptrons as people write them, and what only looks like one: `perceptrons`."""

# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from bare_case import COLOUR, GREY, Case, Functional
from torch import Tensor, nn
from torch.nn import functional

S = nn.Sequential


def _mlp(*modules: nn.Module) -> Callable[[], nn.Module]:
    return lambda: S(nn.Flatten(), *modules)


def _fc(
    act: Callable[[Tensor], Tensor], *widths: int, names: str = "fc1 fc2 fc3 fc4 fc5", bias: bool = True
) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        used = names.split()[: len(widths) - 1]
        layers = {name: nn.Linear(a, b, bias=bias) for name, a, b in zip(used, widths, widths[1:], strict=False)}

        def run(net: Any, x: Tensor) -> Tensor:
            x = x.flatten(1)
            for name in used[:-1]:
                x = act(getattr(net, name)(x))
            return getattr(net, used[-1])(x)

        return Functional(run, **layers)

    return make


def _mlp_bn(net: Any, x: Tensor) -> Tensor:
    x = functional.relu(net.bn1(net.fc1(x.flatten(1))))
    return net.fc3(functional.relu(net.bn2(net.fc2(x))))


def _mlp_bn_after(net: Any, x: Tensor) -> Tensor:
    x = net.bn1(functional.relu(net.fc1(x.flatten(1))))
    return net.fc3(net.bn2(functional.relu(net.fc2(x))))


def _mlp_ln(net: Any, x: Tensor) -> Tensor:
    x = functional.gelu(net.norm1(net.fc1(x.flatten(1))))
    return net.fc2(x)


def _mlp_skip(net: Any, x: Tensor) -> Tensor:
    x = functional.relu(net.fc1(x.flatten(1)))
    return net.fc3(x + functional.relu(net.fc2(x)))


def _mlp_tied(net: Any, x: Tensor) -> Tensor:
    x = functional.relu(net.fc1(x.flatten(1)))
    return net.out(functional.relu(net.hidden(functional.relu(net.hidden(x)))))


def _mlp_unused(net: Any, x: Tensor) -> Tensor:
    return net.fc3(functional.relu(net.fc1(x.flatten(1))))


def _mlp_swapped(net: Any, x: Tensor) -> Tensor:
    x = functional.relu(net.fc1(x.flatten(1)))
    return net.fc4(functional.relu(net.fc2(functional.relu(net.fc3(x)))))


def _two_heads(net: Any, x: Tensor) -> Tensor:
    x = functional.relu(net.body(x.flatten(1)))
    return net.coarse(x) if net.training else net.fine(x)


def _autoencoder(net: Any, x: Tensor) -> Tensor:
    return net.classifier(net.encoder(x.flatten(1)))


def _scrambled() -> nn.Module:
    # Defined in another order than used: a state dict keeps the order of definition, the file does not.
    return Functional(
        lambda net, x: net.fc3(functional.relu(net.fc2(functional.relu(net.fc1(x.flatten(1)))))),
        fc3=nn.Linear(20, 10),
        fc2=nn.Linear(30, 20),
        fc1=nn.Linear(784, 30),
    )


class ListMlp(nn.Module):
    """A ModuleList with functional activations."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Images -> logits."""
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        return self.layers[-1](x)


class Lstm(nn.Module):
    """Rows of the image as a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(28, 16, batch_first=True)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Images -> logits."""
        return self.fc(self.lstm(x[:, 0])[0][:, -1])


class Embedding(nn.Module):
    """Pixels as words."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, 8)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Images -> logits."""
        return self.fc(self.embedding((x.clamp(0, 1) * 255).long().flatten(1)).mean(1))


def perceptrons() -> list[Case]:
    """All of them."""
    lin = nn.Linear

    def bn(n: int) -> nn.Module:
        return nn.BatchNorm1d(n)

    return [
        Case(
            "Sequential, relu",
            _mlp(lin(784, 32), nn.ReLU(), lin(32, 16), nn.ReLU(), lin(16, 10)),
            GREY,
            {"activation": "relu"},
        ),
        Case(
            "Sequential, dropout",
            _mlp(lin(784, 32), nn.ReLU(), nn.Dropout(), lin(32, 32), nn.ReLU(), nn.Dropout(), lin(32, 10)),
            GREY,
            {"activation": "relu"},
        ),
        Case("Sequential, tanh", _mlp(lin(784, 32), nn.Tanh(), lin(32, 10)), GREY, {"activation": "tanh"}),
        Case("Sequential, sigmoid", _mlp(lin(784, 32), nn.Sigmoid(), lin(32, 10)), GREY, {"activation": "sigmoid"}),
        Case(
            "Sequential, batch norm before",
            _mlp(lin(784, 32), bn(32), nn.ReLU(), lin(32, 16), bn(16), nn.ReLU(), lin(16, 10)),
            GREY,
            {"activation": "relu", "norm": "before"},
        ),
        Case(
            "Sequential, batch norm after",
            _mlp(lin(784, 32), nn.ReLU(), bn(32), lin(32, 16), nn.ReLU(), bn(16), lin(16, 10)),
            GREY,
            {"activation": "relu", "norm": "after"},
        ),
        Case(
            "Sequential, batch norm after, dropout",
            _mlp(lin(784, 32), nn.ReLU(), bn(32), nn.Dropout(), lin(32, 10)),
            GREY,
            {"activation": "relu", "norm": "after"},
        ),
        Case(
            "Sequential, batch norm on pixels",
            _mlp(bn(784), lin(784, 32), nn.ReLU(), lin(32, 10)),
            GREY,
            {"activation": "relu"},
        ),
        Case(
            "Sequential, layer norm, gelu",
            _mlp(lin(784, 32), nn.LayerNorm(32), nn.GELU(), lin(32, 10)),
            GREY,
            {"activation": "gelu", "norm": "before"},
        ),
        Case(
            "Sequential, two linear layers in a row",
            _mlp(lin(784, 32), nn.ReLU(), lin(32, 16), lin(16, 10)),
            GREY,
            {"activation": "relu"},
        ),
        Case(
            "Sequential, ends in log-softmax",
            _mlp(lin(784, 32), nn.ReLU(), lin(32, 10), nn.LogSoftmax(1)),
            GREY,
            {"activation": "relu"},
            probabilities=True,
        ),
        Case(
            "Sequential inside, DataParallel",
            lambda: Functional(lambda net, x: net.net(x), net=S(nn.Flatten(), lin(3072, 24), nn.ReLU(), lin(24, 10))),
            COLOUR,
            {"activation": "relu"},
            prefix="module.",
        ),
        Case(
            "softmax regression", lambda: Functional(lambda net, x: net.linear(x.flatten(1)), linear=lin(784, 10)), GREY
        ),
        Case("fc1 fc2 fc3, relu", _fc(functional.relu, 784, 32, 16, 10), GREY, {"activation": "relu"}),
        Case("fc1 fc2 fc3, relu, equal widths", _fc(functional.relu, 784, 32, 32, 10), GREY, {"activation": "relu"}),
        Case("fc1 fc2, no bias, relu", _fc(functional.relu, 784, 32, 10, bias=False), GREY, {"activation": "relu"}),
        Case(
            "input hidden output, relu",
            _fc(functional.relu, 784, 32, 24, 10, names="input hidden output"),
            GREY,
            {"activation": "relu", "order": "input/hidden/output"},
        ),
        Case(
            "fc1 fc2 out, silu",
            _fc(functional.silu, 784, 32, 16, 10, names="fc1 fc2 out"),
            GREY,
            {"activation": "silu"},
        ),
        Case(
            "hidden1 hidden2 out, leaky relu",
            _fc(functional.leaky_relu, 3072, 32, 32, 10, names="hidden1 hidden2 out"),
            COLOUR,
            {"activation": "leaky_relu"},
        ),
        Case("binary head", _fc(functional.relu, 784, 32, 1), GREY, {"activation": "relu"}),
        Case("defined in another order", _scrambled, GREY, {"activation": "relu"}),
        Case("ModuleList, functional relu", lambda: ListMlp(784, 32, 24, 10), GREY, {"activation": "relu"}),
        Case(
            "fc, batch norm before",
            lambda: Functional(_mlp_bn, fc1=lin(784, 32), bn1=bn(32), fc2=lin(32, 16), bn2=bn(16), fc3=lin(16, 10)),
            GREY,
            {"activation": "relu", "norm": "before"},
        ),
        Case(
            "fc, batch norm after",
            lambda: Functional(
                _mlp_bn_after, fc1=lin(784, 32), bn1=bn(32), fc2=lin(32, 16), bn2=bn(16), fc3=lin(16, 10)
            ),
            GREY,
            {"activation": "relu", "norm": "after"},
        ),
        Case(
            "fc, layer norm",
            lambda: Functional(_mlp_ln, fc1=lin(784, 32), norm1=nn.LayerNorm(32), fc2=lin(32, 10)),
            GREY,
            {"activation": "gelu", "norm": "before"},
        ),
        Case(
            "fc with a shortcut",
            lambda: Functional(_mlp_skip, fc1=lin(784, 32), fc2=lin(32, 32), fc3=lin(32, 10)),
            GREY,
            {"activation": "relu", "graph": "shortcut"},
        ),
        Case(
            "one hidden layer used twice",
            lambda: Functional(_mlp_tied, fc1=lin(784, 32), hidden=lin(32, 32), out=lin(32, 10)),
            GREY,
            {"activation": "relu", "graph": "tied"},
        ),
        Case(
            "a layer left unused",
            lambda: Functional(_mlp_unused, fc1=lin(784, 32), fc2=lin(32, 32), fc3=lin(32, 10)),
            GREY,
            {"activation": "relu", "graph": "unused"},
        ),
        Case(
            "fc3 before fc2",
            lambda: Functional(_mlp_swapped, fc1=lin(784, 32), fc2=lin(32, 32), fc3=lin(32, 32), fc4=lin(32, 10)),
            GREY,
            {"activation": "relu", "order": "fc1/fc3/fc2/fc4"},
        ),
        Case(
            "two heads",
            lambda: Functional(_two_heads, body=lin(784, 32), coarse=lin(32, 2), fine=lin(32, 10)),
            GREY,
            {"graph": "two heads"},
        ),
        Case(
            "autoencoder with a head",
            lambda: Functional(
                _autoencoder,
                encoder=S(lin(784, 64), nn.ReLU()),
                decoder=S(lin(64, 784), nn.Sigmoid()),
                classifier=lin(64, 10),
            ),
            GREY,
            {"graph": "branches"},
        ),
        Case("LSTM over rows", Lstm, GREY, {"graph": "recurrent"}),
        Case("embedding of pixels", Embedding, GREY, {"graph": "embedding"}),
    ]
