"""`--arch`: code of the user builds the network, and everything in it must come from the file."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from networks import Attention, Mean, Patches
from safetensors.torch import save_file
from torch import nn

import auditcli
from auditcli.__main__ import main
from auditcli.errors import LoadError, OpenQuestion, UnknownModel, UsageError
from auditcli.families import Options, build, identify
from auditcli.loading import load
from auditcli.types import Trait

MODELS = '''
import sys
import types
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=6, act="relu"):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.act = getattr(nn.functional, act)
        self.fc = nn.Linear(width * 169, 4)

    def forward(self, x):
        return self.fc(nn.functional.max_pool2d(self.act(self.norm(self.conv(x))), 2).flatten(1))

class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(48, 9), nn.Linear(9, 7), nn.Linear(7, 4)

    def forward(self, x):
        x = torch.where((a := self.a(x.flatten(1))) > 0, a, 0.2 * a)
        return self.c(torch.where((b := self.b(x)) > 0, b, 0.2 * b))

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.second = self.first
        self.out = nn.Linear(16, 3)

    def forward(self, x):
        return self.out(self.second(self.first(x.flatten(1)).relu()))

class Hidden(Dense):
    """Holds numbers that no state dict names."""
    def __init__(self):
        super().__init__()
        self.secret = torch.randn(4)

    def forward(self, x):
        return super().forward(x) + self.secret

class Noisy(Dense):
    def forward(self, x):
        return nn.functional.dropout(super().forward(x), training=True)

class Mixing(Dense):
    def forward(self, x):
        return super().forward(x - x.mean(0))

class Detached(Dense):
    def forward(self, x):
        return super().forward(x.detach())

class Soft(Dense):
    def forward(self, x):
        return super().forward(x).softmax(1)

class Wrapped(Dense):
    def forward(self, x):
        return types.SimpleNamespace(logits=super().forward(x))

class Pair(Dense):
    def forward(self, x):
        return super().forward(x), x

class Hard(Dense):
    def forward(self, x):
        return nn.functional.hardswish(super().forward(x))

class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 6, 3), nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(self.conv(x).relu().mean((2, 3)))

def broken():
    raise ValueError("no such\\nthing")

def stops():
    sys.exit(3)

def number():
    return 7

def needs(width):
    return Net(width)

network = Dense()
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "mymodels.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name == "mymodels" or name.startswith("_arch_of_the_user_")]:
        del sys.modules[name]


@pytest.fixture
def mymodels(folder):
    namespace: dict[str, object] = {"__name__": "original"}
    exec(MODELS, namespace)
    return namespace


def saved(net: nn.Module, path, prefix: str = "", drop: tuple[str, ...] = ()) -> nn.Module:
    for name, tensor in net.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif tensor.is_floating_point():
            tensor.add_(torch.randn_like(tensor) * 0.2)
    state = {prefix + name: tensor.clone() for name, tensor in net.state_dict().items() if name not in drop}
    save_file(state, path)
    return net.eval()


def target_of(path, **options):
    checkpoint = load(path)
    given = Options(**options)
    return build(checkpoint, identify(checkpoint, given), given)


@pytest.mark.parametrize("arch", ["mymodels:Net", "mymodels.py:Net", "{folder}/mymodels.py:Net", "mymodels:needs"])
def test_the_users_network_with_the_weights_of_the_file(folder, mymodels, arch):
    net = saved(mymodels["Net"](6), folder / "m.safetensors")
    arch = arch.format(folder=folder)
    target = target_of("m.safetensors", arch=arch, arch_arguments={"width": 6}, mean=(0.5,), std=(0.25,))
    images = torch.rand(3, 1, 28, 28)
    assert torch.allclose(target(images), net((images - 0.5) / 0.25), atol=1e-5)
    profile = target.profile
    assert profile.family.value == "cnn"
    assert profile.input_shape == (1, 28, 28)
    assert Trait.BATCH_NORM in profile.traits
    assert profile.identified_by == f"--arch {arch.rpartition('/')[2]}: code of the user, weights loaded strictly"
    assert str(folder) not in repr(profile)
    assert [assumption.what for assumption in profile.assumptions] == ["input shape"]
    assert not list(folder.rglob("__pycache__"))


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod."])
def test_the_prefix_of_a_wrapper_is_cut_off_and_said(folder, mymodels, prefix):
    net = saved(mymodels["Dense"](), folder / "m.safetensors", prefix)
    target = target_of("m.safetensors", arch="mymodels:Dense", input_shape=(3, 4, 4))
    images = torch.rand(3, 3, 4, 4)
    assert torch.allclose(target(images), net(images), atol=1e-5)
    assert any(prefix in sentence for sentence in target.profile.evidence)


def test_a_plain_chain_is_dense(folder, mymodels):
    net = saved(mymodels["Dense"](), folder / "m.safetensors")
    target = target_of("m.safetensors", arch="mymodels:Dense", input_shape=(3, 4, 4), mean=(0.1,), std=(0.5,))
    assert {Trait.DENSE, Trait.FIRST_LAYER_LINEAR} <= target.profile.traits
    assert target.dense.activation == "leaky_relu(0.2)"
    images = torch.rand(5, 3, 4, 4)
    x = ((images - 0.1) / 0.5).flatten(1)
    for index, (weight, bias) in enumerate(zip(target.dense.weights, target.dense.biases, strict=True)):
        x = nn.functional.linear(x if index == 0 else nn.functional.leaky_relu(x, 0.2), weight, bias)
    assert torch.allclose(x, target(images), atol=1e-5)
    assert torch.allclose(x, net((images - 0.1) / 0.5), atol=1e-5)


def test_tied_weights_stay_tied_and_counters_may_be_missing(folder, mymodels):
    net = mymodels["Tied"]()
    with torch.no_grad():
        net.first.weight.normal_()
    save_file({name: tensor for name, tensor in net.state_dict().items() if "second" not in name}, "tied.safetensors")
    target = target_of("tied.safetensors", arch="mymodels:Tied", input_shape=(1, 4, 4))
    images = torch.rand(2, 1, 4, 4)
    assert torch.allclose(target(images), net(images), atol=1e-5)
    net = saved(mymodels["Net"](), folder / "m.safetensors", drop=("norm.num_batches_tracked",))
    images = torch.rand(2, 1, 28, 28)
    target = target_of("m.safetensors", arch="mymodels:Net", input_shape=(1, 28, 28))
    assert torch.allclose(target(images), net(images), atol=1e-5)


def test_probabilities_become_their_logarithms_once(folder, mymodels):
    net = saved(mymodels["Soft"](), folder / "m.safetensors")
    target = target_of("m.safetensors", arch="mymodels:Soft", input_shape=(3, 4, 4))
    images = torch.rand(3, 3, 4, 4)
    assert Trait.SOFTMAX_OUTPUT in target.profile.traits
    assert torch.allclose(target(images), net(images).log(), atol=1e-4)


@pytest.mark.parametrize("name", ["Wrapped", "Hard"])
def test_outputs_in_a_field_and_fused_operations_are_taken(folder, mymodels, name):
    net = saved(mymodels[name](), folder / "m.safetensors")
    target = target_of("m.safetensors", arch=f"mymodels:{name}", input_shape=(3, 4, 4))
    images = torch.rand(3, 3, 4, 4, requires_grad=True)
    logits = target(images)
    assert torch.allclose(logits, getattr(net(images), "logits", net(images)), atol=1e-5)
    (gradient,) = torch.autograd.grad(logits.square().sum(), images, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), images)
    assert second.isfinite().all()


@pytest.mark.parametrize(
    ("arch", "error", "parts"),
    [
        ("Net", UsageError, ["module:callable"]),
        ("nowhere:Net", LoadError, ["ModuleNotFoundError", "nowhere"]),
        ("nowhere.py:Net", UsageError, ["no file nowhere.py"]),
        ("mymodels:Nothing", UsageError, ["Nothing is no callable", "Net, Dense"]),
        ("mymodels:network", UsageError, ["not what makes one"]),
        ("mymodels:number", LoadError, ["returned int"]),
        ("mymodels:broken", LoadError, ["raised ValueError when it was called: no such thing"]),
        ("mymodels:stops", LoadError, ["raised SystemExit"]),
        ("mymodels:needs", LoadError, ["raised TypeError", "width", "--arch-arg"]),
        ("mymodels:Net", LoadError, ["is missing (and", "has no place in the network (and"]),
        ("mymodels:Hidden", LoadError, ["not in the file"]),
        ("mymodels:Noisy", LoadError, ["each time"]),
        ("mymodels:Mixing", LoadError, ["in a batch"]),
        ("mymodels:Detached", LoadError, ["no gradient"]),
        ("mymodels:Pair", LoadError, ["returned tuple"]),
    ],
)
def test_what_cannot_be_used_is_one_line_that_says_why(folder, mymodels, arch, error, parts):
    saved(mymodels["Dense"](), folder / "m.safetensors")
    with pytest.raises(error) as caught:
        target_of("m.safetensors", arch=arch, input_shape=(3, 4, 4))
    text = f"{caught.value.message} {caught.value.hint}"
    assert all(part in text for part in parts), text
    assert "\n" not in text


def test_sizes_that_differ_are_named(folder, mymodels):
    saved(mymodels["Net"](6), folder / "m.safetensors")
    with pytest.raises(
        LoadError, match=r"conv\.weight is \(6, 1, 3, 3\) in the file and \(5, 1, 3, 3\) in the network"
    ):
        target_of("m.safetensors", arch="mymodels:Net", arch_arguments={"width": 5})


def test_an_open_size_is_asked_and_a_wrong_one_refused(folder, mymodels):
    saved(mymodels["Pooled"](), folder / "m.safetensors")
    with pytest.raises(OpenQuestion, match=r"runs on 3x32x32, 3x224x224") as caught:
        target_of("m.safetensors", arch="mymodels:Pooled")
    assert "--input-shape 3,32,32" in caught.value.hint
    assert target_of("m.safetensors", arch="mymodels:Pooled", input_shape=(3, 20, 20)).profile.input_shape == (
        3,
        20,
        20,
    )
    with pytest.raises(LoadError, match="RuntimeError on images of 1x20x20"):
        target_of("m.safetensors", arch="mymodels:Pooled", input_shape=(1, 20, 20))


def test_without_the_option_nothing_of_it_is_asked(folder, mymodels):
    saved(mymodels["Net"](), folder / "m.safetensors")
    with pytest.raises(UnknownModel) as caught:
        identify(load("m.safetensors"), Options(assume={"template": "callable"}))
    assert "raised" not in caught.value.message
    assert "mymodels" not in sys.modules
    with pytest.raises(UsageError, match="--arch-arg"):
        Options(arch_arguments={"width": 3})


def test_a_hugging_face_folder_gives_its_statistics(folder, mymodels):
    (folder / "hf").mkdir()
    net = saved(mymodels["Dense"](), folder / "hf" / "model.safetensors")
    (folder / "hf" / "config.json").write_text(
        json.dumps({"id2label": {str(i): name for i, name in enumerate("abcd")}})
    )
    processor = {"image_mean": [0.2, 0.3, 0.4], "image_std": [0.5, 0.6, 0.7], "do_normalize": True, "do_rescale": True}
    (folder / "hf" / "preprocessor_config.json").write_text(json.dumps(processor))
    target = target_of("hf", arch="mymodels:Dense", input_shape=(3, 4, 4))
    assert target.profile.normalisation.mean == pytest.approx((0.2, 0.3, 0.4))
    assert target.profile.labels == ("a", "b", "c", "d")
    images = torch.rand(2, 3, 4, 4)
    mean, std = torch.tensor([0.2, 0.3, 0.4]).view(-1, 1, 1), torch.tensor([0.5, 0.6, 0.7]).view(-1, 1, 1)
    assert torch.allclose(target(images), net((images - mean) / std), atol=1e-5)


def test_attention_can_be_differentiated_twice(folder, monkeypatch):
    (folder / "attending.py").write_text(
        "from networks import *\n"
        "def net():\n    return nn.Sequential(Patches(3, 8, 2, 8), Encoder(8, 2), Mean(), nn.Linear(8, 5))\n"
    )
    from networks import Encoder

    net = nn.Sequential(Patches(3, 8, 2, 8), Encoder(8, 2), Mean(), nn.Linear(8, 5))
    assert Attention is not Encoder
    net = saved(net, folder / "m.safetensors")
    target = target_of("m.safetensors", arch="attending.py:net", input_shape=(3, 8, 8))
    assert target.profile.family.value == "vit"
    images = torch.rand(2, 3, 8, 8)
    assert torch.allclose(target(images), net(images), atol=1e-4)


# ---- the command ----------------------------------------------------------------------------------------------------


def test_inspect_and_load_take_it(folder, mymodels, capsys):
    saved(mymodels["Net"](5), folder / "m.safetensors")
    words = ["inspect", "m.safetensors", "--arch", "mymodels:Net", "--arch-arg", "width=5", "--arch-arg", "act=gelu"]
    assert main([*words, "--json"]) == 0
    model = json.loads(capsys.readouterr().out)
    assert model["identified_by"].startswith("--arch mymodels:Net: code of the user")
    assert model["family"] == "cnn"
    target = auditcli.load("m.safetensors", arch="mymodels:Net", arch_arguments={"width": 5}, device="cpu")
    assert target.profile.classes == 4


def test_the_traceback_comes_with_verbose_alone(folder, mymodels, capsys):
    saved(mymodels["Net"](), folder / "m.safetensors")
    words = ["inspect", "m.safetensors", "--arch", "mymodels:broken"]
    assert main(words) == 2
    assert [line[:7] for line in capsys.readouterr().err.splitlines()] == ["error: ", "hint:  "]
    assert main([*words, "--verbose"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert 'raise ValueError("no such' in err


def test_onnx_holds_its_own_graph(folder):
    from onnx_examples import export, mlp

    export(mlp(), (3, 4, 4), folder / "m.onnx")
    with pytest.raises(UnknownModel, match="holds its own graph"):
        target_of("m.onnx", arch="mymodels:Dense")


@pytest.mark.parametrize("text", ["width", "=3", "a b=3"])
def test_arguments_that_are_none(folder, text, capsys):
    assert main(["inspect", "m.safetensors", "--arch", "mymodels:Net", "--arch-arg", text]) == 2
    assert "--arch-arg" in capsys.readouterr().err
