"""What was typed becomes values."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditcli import arguments
from auditcli.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", 600),
        ("90s", 90),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1h1m1s", 3661),
        ("45", 45),
        ("0.5", 0.5),
        ("1.5m", 90),
        (" 10M ", 600),
    ],
)
def test_seconds(text, expected):
    assert arguments.seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "-5", "m", "10x", "1m1h", "nan", "inf", "1e5", "1..5s", ".", "ten", "9" * 400]
)
def test_no_seconds(text):
    with pytest.raises(UsageError) as caught:
        arguments.seconds(text)
    assert "--budget 10m" in caught.value.hint


@given(st.text())
def test_seconds_of_anything_is_positive_or_refused(text):
    with contextlib.suppress(UsageError):
        assert 0 < arguments.seconds(text) < float("inf")


def test_shape():
    assert arguments.shape(None) is None
    assert arguments.shape("3,32,48") == (3, 32, 48)
    assert arguments.shape("1, 28, 28") == (1, 28, 28)


@pytest.mark.parametrize("text", ["", "28,28", "1,2,3,4", "0,1,1", "1,-1,1", "a,b,c", "1,2,", "1.5,2,3", "9999999,1,1"])
def test_no_shape(text):
    with pytest.raises(UsageError, match="--input-shape"):
        arguments.shape(text)


def test_numbers():
    assert arguments.numbers(None, "--mean") is None
    assert arguments.numbers("0.5", "--mean") == (0.5,)
    assert arguments.numbers("-1,0,2e-1", "--mean") == (-1.0, 0.0, 0.2)


@pytest.mark.parametrize("text", ["", "a", "1,,2", "nan", "inf", "1;2"])
def test_no_numbers(text):
    with pytest.raises(UsageError, match="--mean"):
        arguments.numbers(text, "--mean")


@pytest.mark.parametrize("text", ["0", "0.5,-1"])
def test_no_positive_numbers(text):
    with pytest.raises(UsageError, match="above zero"):
        arguments.numbers(text, "--std", positive=True)


def test_assumptions():
    assert arguments.assumptions([]) == {}
    assert arguments.assumptions(["activation = gelu", "x=a=b", "activation=gelu"]) == {
        "activation": "gelu",
        "x": "a=b",
    }


@pytest.mark.parametrize("texts", [["gelu"], ["=gelu"], ["activation="], [""], ["a=1", "a=2"]])
def test_no_assumptions(texts):
    with pytest.raises(UsageError, match="--assume"):
        arguments.assumptions(texts)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["scan", "/home/me/secret project/m.onnx"], "privaudit scan m.onnx"),
        (["m.onnx", "--members=/data/faces"], "privaudit m.onnx --members=faces"),
        (["m.onnx", "--members", "../faces/"], "privaudit m.onnx --members faces"),
        (["m.onnx", "--members", r"C:\Users\me\faces"], "privaudit m.onnx --members faces"),
        (["m.onnx", "--assume", "activation=gelu"], "privaudit m.onnx --assume activation=gelu"),
        (["m.onnx", "--assume", "pool=max/none/max"], "privaudit m.onnx --assume pool=max/none/max"),
        (["m.onnx", "--assume=pool=max/none"], "privaudit m.onnx --assume=pool=max/none"),
        (["a model.onnx"], "privaudit 'a model.onnx'"),
        ([], "privaudit"),
    ],
)
def test_the_recorded_command_names_no_folder(words, expected):
    assert arguments.recorded(words) == expected


def test_settings_of_attacks():
    given = ["inversion.kl=0", " kkt.share = 0.01 ", "inversion.spread=1e-3", "inversion.kl=0"]
    assert arguments.settings(given) == {"inversion": {"kl": "0", "spread": "1e-3"}, "kkt": {"share": "0.01"}}
    assert arguments.settings([]) == {}


@pytest.mark.parametrize("text", ["", "kl=0", "inversion=0", "inversion.kl", "inversion.kl=", ".kl=0", "inversion.=0"])
def test_no_setting_of_an_attack(text):
    with pytest.raises(UsageError, match=r"attack\.setting=value") as caught:
        arguments.settings([text])
    assert caught.value.hint == "--set inversion.kl=0"


def test_a_setting_given_twice_with_two_values():
    with pytest.raises(UsageError, match=r"gives inversion\.kl twice: 0 and 1"):
        arguments.settings(["inversion.kl=0", "inversion.kl=1"])
