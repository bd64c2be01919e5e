"""The shape of report.json: what it accepts, what it writes, and the JSON Schema it promises."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from report_examples import LEVELS, example, hostile

from auditcli.report import Report, json_schema
from auditcli.report import schema as s


@pytest.mark.parametrize("level", LEVELS)
def test_json_round_trip(level):
    report = example(level, pictures=False)
    assert Report.model_validate_json(report.to_json()) == report


@pytest.mark.parametrize("level", LEVELS)
def test_json_fits_its_schema(level):
    Draft202012Validator.check_schema(json_schema())
    Draft202012Validator(json_schema()).validate(json.loads(example(level).to_json()))


def test_schema_refuses_what_is_no_report():
    value = json.loads(example("low").to_json())
    value["verdict"]["level"] = "fine"
    assert not Draft202012Validator(json_schema()).is_valid(value)


def test_schema_is_named():
    schema = json_schema()
    assert schema["$schema"].endswith("2020-12/schema")
    assert schema["$id"] == "urn:privaudit:report:1.0"
    assert schema["title"] == "privaudit report"
    assert "_pictures" not in schema["properties"]


def test_rates_keep_their_names():
    rates = json.loads(example("high").to_json())["membership"][0]["tpr_at_fpr"]
    assert list(rates) == ["0.1%", "1%", "10%"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_nan_gets_in(value):
    with pytest.raises(ValidationError, match="finite"):
        s.Interval(value=value, low=0, high=1)
    attack = example("low").attacks[0].model_dump() | {"settings": {"deep": [{"lr": value}]}}
    with pytest.raises(ValidationError, match="finite"):
        s.Attack(**attack)


def test_unknown_keys_are_refused():
    with pytest.raises(ValidationError, match="Extra inputs"):
        s.Reason(text="x", level="low", levle="low")


def test_dictionaries_are_sorted():
    packages = {"b": "2", "a": "1"}
    manifest = s.Manifest(**(example("low").manifest.model_dump() | {"packages": packages}))
    assert list(manifest.packages) == ["a", "b"]


def test_file_name_that_is_not_utf_8():
    report = hostile(b"caf\xe9.png".decode("utf-8", "surrogateescape"))
    assert "caf?.png" in json.loads(report.to_json())["model"]["path"]


@settings(max_examples=20, deadline=None)
@given(st.text(st.characters(), min_size=1, max_size=30))
def test_any_text_survives_json(text):
    report = hostile(text)
    assert Report.model_validate_json(report.to_json().encode()).model == report.model


def test_pictures_must_be_those_of_the_gallery():
    report = example("critical")
    file, content = next(iter(report.pictures.items()))
    with pytest.raises(ValueError, match="not a picture"):
        report.with_pictures({"gallery/other.png": content})
    with pytest.raises(ValueError, match="sha256 differs"):
        report.with_pictures({file: content + b"x"})


def test_with_pictures_leaves_the_report_alone():
    bare = example("critical").with_pictures({})
    file, content = next(iter(example("critical").pictures.items()))
    assert dict(bare.with_pictures({file: content}).pictures) == {file: content}
    assert not bare.pictures
