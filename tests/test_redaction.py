"""What redaction does to a report: marks, ids, figures, pictures; without a model."""

import json
import re
import subprocess
import sys
from datetime import datetime
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from report_examples import example, undrawn

from auditcli.__main__ import main
from auditcli.errors import UsageError
from auditcli.report import FORMATS, Report, render
from auditcli.report import schema as s
from auditcli.report.blur import BLOCKS, LEVELS, blurred
from auditcli.report.command import without_names
from auditcli.report.marks import OF_MEMBER, ImageId, PerImage, Role
from auditcli.report.names import Alias, at_random, of_images
from auditcli.report.redaction import named_images, redact, wanted

STRICT = s.Redaction(names="hashed", reconstructions="left out", images=False)
HASHED = s.Redaction(names="hashed", reconstructions="sharp", images=True)
BLURRED = s.Redaction(names="shown", reconstructions="blurred", images=False)
NO_IMAGE = {(s.Reason, "id")}
"""Ids of findings."""


def parts(kind=s.Part):
    """Those of a report; a comparison has parts too, made of reports that were redacted before."""
    own = [found for found in kind.__subclasses__() if found.__module__ == s.__name__]
    return [part for found in own for part in (found, *parts(found))]


def fields():
    return [(part, name, info) for part in parts() for name, info in part.model_fields.items()]


@pytest.fixture(scope="module")
def full():
    return undrawn(example("critical"))


# ---- no field is forgotten ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "name", "info"), fields(), ids=lambda value: getattr(value, "__name__", str(value))[:30]
)
def test_a_field_that_names_an_image_says_so(part, name, info):
    """A new field called `id`, `..._id` or `like` must be marked, or stand in the list above."""
    marked = any(isinstance(mark, ImageId) for mark in info.metadata)
    named = re.search(r"(^|_)(ids?|like|image|file_?name)$", name) and str in (
        info.annotation,
        *get_args(info.annotation),
    )
    assert marked == bool(named and (part, name) not in NO_IMAGE)


def test_an_id_is_found_wherever_it_stands(full):
    """Each id gets a text of its own; none of them is left after redaction, in any format."""
    names = sorted({name for _, name in named_images(full)})
    telling = {name: f"anna-schmidt-{index:04}" for index, name in enumerate(names)}
    text = re.sub(
        "|".join(map(re.escape, sorted(names, key=len, reverse=True))), lambda m: telling[m[0]], full.to_json()
    )
    report = Report.model_validate_json(text).with_pictures(full.pictures)
    assert text.count("anna-schmidt") > len(names)
    for form in FORMATS:
        assert "anna-schmidt" not in render(redact(report, HASHED), form)


def test_every_kind_of_id_was_there(full):
    seen = {(type(part).__name__, field) for part, field in _marked(full)}
    assert seen == {(part.__name__, name) for part, name, info in fields() if _is(info, ImageId)}


def _marked(part):
    if isinstance(part, tuple):
        return [found for element in part for found in _marked(element)]
    if not isinstance(part, s.Part):
        return []
    own = [(part, name) for name, info in type(part).model_fields.items() if _is(info, ImageId)]
    return [*own, *(found for name in type(part).model_fields for found in _marked(getattr(part, name)))]


def _is(info, kind):
    return any(isinstance(mark, kind) for mark in info.metadata)


def test_figures_of_single_images_are_rounded(full):
    hashed = redact(full, HASHED)
    for member, before in zip(hashed.members, full.members, strict=True):
        assert member.best_ssim == float(f"{before.best_ssim:.2g}")
        assert (member.p_value, member.q_value, member.leaked) == (before.p_value, before.q_value, before.leaked)
    assert {part.__name__ for part, _, info in fields() if _is(info, PerImage)} >= {
        "Member",
        "Exposure",
        "Controls",
        "Ssim",
    }
    assert redact(full, BLURRED).members == full.members


def test_roles_are_kept_apart():
    left_out = (
        s.LeftOut(id="1.png", role="member", like="1.png", why="near copy"),
        s.LeftOut(id="1.png", role="control", like="2.png", why="repeat"),
    )
    assert list(named_images(left_out)) == [
        ("member", "1.png"),
        ("control", "1.png"),
        ("control", "1.png"),
        ("control", "2.png"),
    ]


# ---- how much is shown ----------------------------------------------------------------------------------------------


def test_what_agrees_with_what(full):
    strict = redact(full, STRICT)
    assert strict.redaction == STRICT
    assert strict.pictures == {}
    assert strict.named_pictures() == ()
    assert strict.verdict == full.verdict
    assert strict.model == full.model
    assert Report.model_validate_json(strict.to_json()) == strict
    assert {picture.alt for picture in redact(full, HASHED).named_pictures()} > {"reconstruction by kkt"}
    described = [item for item in redact(full, HASHED).gallery if item.member is not None]
    assert described
    assert all(item.member_id in item.member.alt for item in described)


LIMITS = st.builds(
    s.Redaction,
    names=st.sampled_from(["shown", "hashed"]),
    reconstructions=st.sampled_from(["sharp", "blurred", "left out"]),
    images=st.booleans(),
)


@settings(max_examples=30, deadline=None)
@given(first=LIMITS, second=LIMITS)
def test_nothing_comes_back_and_order_does_not_matter(first, second):
    full = undrawn(example("critical"))
    aliases = {role: Alias(role, b"key") for role in get_args(Role)}
    one, other = (redact(redact(full, a, aliases), b, aliases) for a, b in ((first, second), (second, first)))
    assert one == other
    assert dict(one.pictures) == dict(other.pictures)
    assert redact(one, first) == one
    assert redact(full, full.redaction) == full


def test_a_picture_that_is_not_at_hand_is_left_out(full):
    absent = redact(full.with_pictures({}), BLURRED)
    assert all(item.reconstruction is None for item in absent.gallery)
    assert absent.pictures == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"redact": True, "include_images": True}, "--include-images and --redact"),
        ({"redact": True, "names": True}, "--names and --redact"),
        ({"redact": True, "reconstructions": "sharp"}, "--reconstructions sharp and --redact"),
        ({"reconstructions": "dim"}, "'dim'"),
    ],
)
def test_contradictions_are_refused(options, words):
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        wanted(**options)
    assert caught.value.hint


def test_words_follow_the_redaction(full):
    said = {
        BLURRED: ("Reconstructions are blurred", "--reconstructions sharp shows them"),
        STRICT: ("Reconstructions are left out", "Ids stand for file names", "left out: run with --reconstructions"),
    }
    for limit, sentences in said.items():
        for form in ("html", "md"):
            text = re.sub(r"</?code>", "", render(redact(full, limit), form))
            assert all(sentence in text for sentence in sentences)
    assert "Reconstructions are" not in render(full, "md")
    assert "Ids stand" not in render(full, "md")


# ---- ids ------------------------------------------------------------------------------------------------------------


def images(count):
    return [sha256(bytes([i % 256, i // 256])).hexdigest() for i in range(count)], [f"{i}.png" for i in range(count)]


def test_ids_are_those_of_the_sample_alone():
    hashes, names = images(20)
    alias = of_images("member", hashes, names)
    turned = of_images("member", hashes[::-1], names[::-1])
    assert [alias(name) for name in names] == [turned(name) for name in names]
    assert all(re.fullmatch(r"member-[0-9a-f]{8}", alias(name)) for name in names)
    assert len({alias(name) for name in names}) == 20
    control = of_images("control", hashes, names)
    assert not {control(name)[-8:] for name in names} & {alias(name)[-8:] for name in names}


@pytest.mark.parametrize("change", ["hash", "name", "fewer"])
def test_another_sample_has_other_ids(change):
    hashes, names = images(20)
    before = of_images("member", hashes, names)("3.png")
    if change == "hash":
        hashes[5] = "0" * 64
    elif change == "name":
        names[5] = "other.png"
    else:
        hashes, names = hashes[:-1], names[:-1]
    assert of_images("member", hashes, names)("3.png") != before


def test_the_secret_is_not_what_the_manifest_publishes():
    """The sha256 of a folder is made of the same lines: from it, or by continuing it, nobody gets to the ids."""
    hashes, names = images(3)
    lines = "".join(f"{digest}  {name}\n" for digest, name in zip(hashes, names, strict=True))
    published = sha256(lines.encode()).digest()
    key = of_images("member", hashes, names).key
    assert key not in (published, sha256(published).digest())
    assert Alias("member", published)("0.png") != of_images("member", hashes, names)("0.png")


def test_ids_grow_until_they_differ(monkeypatch):
    monkeypatch.setattr("auditcli.report.names.FEWEST_DIGITS", 2)
    names = [f"{index}.png" for index in range(200)]
    short, alias = Alias("member", b"some key", 2), Alias("member", b"some key").apart(names)
    assert len({short(name) for name in names}) < len(names)
    assert len({alias(name) for name in names}) == len(names)
    assert alias("0.png").startswith(short("0.png"))
    assert len({name[:-1] for name in map(alias, names)}) < len(names), "no longer than it must be"


def test_names_that_no_text_can_hold_get_ids():
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    alias = of_images("member", ["0" * 64], [name])
    assert alias(name) == alias("caf?.png")


def test_random_ids_differ_each_time():
    assert at_random("member", ["a"])("a") != at_random("member", ["a"])("a")


# ---- blur -----------------------------------------------------------------------------------------------------------


def png(pixels):
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 9))
def test_a_blurred_picture_has_few_blocks_of_few_greys(width, height, coloured, seed):
    shape = (height, width, 3) if coloured else (height, width)
    content = blurred(png(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)))
    picture = Image.open(BytesIO(content))
    pixels = np.asarray(picture)
    assert pixels.shape == (height, width)
    assert len(np.unique(pixels)) <= LEVELS
    assert len({tuple(row) for row in pixels.tolist()}) <= BLOCKS
    assert len({tuple(column) for column in pixels.T.tolist()}) <= BLOCKS
    assert picture.info == {}
    assert blurred(content) is not None


def test_only_means_count():
    """Two pictures that differ within their blocks alone are blurred to the same bytes."""
    blocks = np.full((27, 27), 100, dtype=np.uint8)
    noisy = blocks.copy()
    noisy[::9, ::9], noisy[1::9, 1::9] = 200, 0
    assert blurred(png(noisy)) == blurred(png(blocks))


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a" + b"\0" * 99], ids=["none", "cut", "gif"])
def test_what_cannot_be_decoded_is_shown_as_nothing(content):
    assert blurred(content) is None


def test_a_picture_that_claims_to_be_huge_is_not_decoded():
    content = bytearray(png(np.zeros((4, 4), dtype=np.uint8)))
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    assert blurred(bytes(content)) is None


# ---- the command line of the manifest -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            "privaudit scan m.onnx --members anna --controls 'karl meier.npz' --budget 10m -qv",
            "privaudit scan m.onnx --members MEMBERS --controls CONTROLS --budget 10m -qv",
        ),
        ("privaudit m.onnx --members=anna --seed=3", "privaudit m.onnx --members=MEMBERS --seed=3"),
        ("privaudit --quiet m.onnx -o anna", "privaudit --quiet m.onnx -o O"),
        ("privaudit m.onnx -oanna", "privaudit m.onnx MODEL"),
        ("privaudit m.onnx --tomorrow anna", "privaudit m.onnx --tomorrow TOMORROW"),
        ("privaudit m.onnx --tomorrow=anna", "privaudit m.onnx --tomorrow=TOMORROW"),
        ("privaudit scan anna.onnx", "privaudit scan MODEL"),
        ("privaudit scan m.onnx --shadow-cache anna", "privaudit scan m.onnx --shadow-cache SHADOW_CACHE"),
        ("privaudit demo --format html -f card", "privaudit demo --format html -f card"),
        ("privaudit scan 'anna", "privaudit"),
        ("", ""),
    ],
)
def test_a_command_keeps_what_names_nothing(command, expected):
    assert without_names(command, "m.onnx") == expected
    assert without_names(expected, "m.onnx") == expected


def test_a_hub_id_stays():
    command = "privaudit scan hf://owner/name --seed 1"
    assert without_names(command, "hf://owner/name@abc") == command
    assert "anna" not in without_names("privaudit scan hf://anna/name", "m.onnx")


# ---- walls ----------------------------------------------------------------------------------------------------------


def test_a_report_without_blur_is_redacted_without_pillow(full, tmp_path):
    full.save(tmp_path, ("json",))
    code = (
        "import sys; sys.modules['PIL.Image'] = None; sys.modules['torch'] = None\n"
        "from auditcli.__main__ import main\n"
        "sys.exit(main(['render', sys.argv[1], '--redact', '--format', 'json']))"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120, cwd=root, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["redaction"] == STRICT.model_dump()
    assert datetime.fromisoformat(said["manifest"]["started"])


def test_marks_do_not_change_the_schema():
    assert OF_MEMBER.role(None) == "member"
    assert s.Member.model_json_schema()["properties"]["id"] == {"title": "Id", "type": "string"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--reconstructions", "blurred", "--format", "md"], "--format md holds no pictures"),
        (["--reconstructions", "blurred", "--redact", "--format", "html"], "contradict"),
    ],
)
def test_what_cannot_be_rendered_is_refused(full, tmp_path, capsys, words, said):
    full.save(tmp_path, ("json",))
    assert main(["render", str(tmp_path), *words]) == 2
    assert said in capsys.readouterr().err


def test_a_part_is_taken_out_alone(full, tmp_path, capsys):
    full.save(tmp_path, ("json",))
    taken = {
        "--hash-names": {"names": "hashed"},
        "--reconstructions=none": {"reconstructions": "left out", "images": False},
        "--redact": STRICT.model_dump(),
    }
    for option, changed in taken.items():
        assert main(["render", str(tmp_path), "--format", "json", option]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["redaction"] == full.redaction.model_dump() | changed
