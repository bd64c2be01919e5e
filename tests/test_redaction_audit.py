"""Real audits of images with telling names: nothing that was written or printed gives them away, unless asked for."""

import json
import re
import shutil
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from leaks import contents, leaks
from PIL import Image

from auditcli.__main__ import main
from auditcli.effort import Effort
from auditcli.report import FORMATS, read
from auditcli.report.blur import BLOCKS, LEVELS

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
TINY = Effort(steps=60, candidates=60, restarts=2, shuffles=3, shuffle_steps=5)
EVERY = [word for name in FORMATS if name != "json" for word in ("--format", name)]
FULL = ("--names", "--include-images", "--reconstructions", "sharp")
PIXELS = {"name", "folder", "pixels", "file"}


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    """A model, and its members and controls as folders of PNG files that are named after people."""
    place = tmp_path_factory.mktemp("clinic")
    shutil.copy(FIXTURES / "mlp-leaky" / "model.safetensors", place)
    names = {"patients-of-dr-weber": "anna-schmidt", "visitors-of-dr-weber": "karl-meier"}
    for folder, archive in zip(names, (FIXTURES / "mlp-leaky" / "members.npz", FIXTURES / "controls.npz"), strict=True):
        images = np.load(archive)["images"][:100]
        (place / folder).mkdir()
        for index, image in enumerate(images):
            Image.fromarray(image.reshape(28, 28)).save(place / folder / f"{names[folder]}-{index:03}.png")
        shutil.copy(place / folder / f"{names[folder]}-007.png", place / folder / f"{names[folder]}-again.png")
    return place


@pytest.fixture(scope="module")
def audited(clinic):
    """Audits once for each set of options; gives the folder of the report, and what was printed."""
    import auditcli.auditing  # noqa: F401

    def audit(*options, formats=EVERY):
        name = "-".join(option.strip("-") for option in options) or "default"
        if name not in done:
            done[name] = _run(clinic, clinic / name, [*options, *formats])
        return done[name]

    done = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["auditcli.auditing"], "EFFORTS", {"quick": TINY})
        yield audit


def _run(clinic, output, options):
    from contextlib import redirect_stderr, redirect_stdout
    from io import StringIO

    streams = StringIO(), StringIO()
    images = ["--members", str(folders(clinic)[0]), f"--controls={folders(clinic)[1]}"]
    words = [str(clinic / "model.safetensors"), *images, "--profile", "quick", "--device", "cpu", "--verbose"]
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
        main([*words, "--attack", "kkt", "--fail-on", "never", "--output", str(output), *options])
    return output, *(stream.getvalue() for stream in streams)


def folders(clinic):
    return [clinic / "patients-of-dr-weber", clinic / "visitors-of-dr-weber"]


def pictures(folder):
    return [np.asarray(Image.open(path)) for path in sorted(folder.rglob("*.png"))]


def texts(value):
    if isinstance(value, dict):
        return [text for key, inner in value.items() for text in [key, *texts(inner)]]
    if isinstance(value, list):
        return [text for inner in value for text in texts(inner)]
    return [value] if isinstance(value, str) else []


def lists(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [*([value] if isinstance(value, list) else []), *(found for item in inner for found in lists(item))]


# ---- what an audit writes -------------------------------------------------------------------------------------------


def test_the_search_finds_what_a_full_report_shows(clinic, audited):
    """Without this, the searches below could find nothing because they look in the wrong place."""
    found = leaks(contents(*audited(*FULL)), folders(clinic))
    assert {"name", "folder", "pixels", "file"} & found >= {"name", "folder", "pixels"}


@pytest.mark.parametrize("options", [(), ("--redact",), ("--reconstructions", "none")], ids=" ".join)
def test_nothing_tells_the_images(clinic, audited, options):
    output, out, err = audited(*options)
    assert {path.name for path in output.iterdir()} >= {form.file for form in FORMATS.values()}
    assert leaks(contents(output, out, err), folders(clinic)) == set()


def test_each_option_shows_its_part_alone(clinic, audited):
    assert leaks(contents(*audited("--names")), folders(clinic)) == {"name", "folder"}
    assert leaks(contents(*audited("--include-images")), folders(clinic)) == {"pixels"}


def test_blurred_pictures_say_no_more_than_a_few_greys(audited):
    output, *_ = audited()
    shown = pictures(output)
    assert shown
    for picture in shown:
        assert picture.shape == (28, 28)
        assert len(np.unique(picture)) <= LEVELS
        assert len({tuple(row) for row in picture.tolist()}) <= BLOCKS
        assert len({tuple(row) for row in picture.T.tolist()}) <= BLOCKS
    sharp = {picture.tobytes() for picture in pictures(audited(*FULL)[0])}
    assert not sharp & {picture.tobytes() for picture in shown}


def test_left_out_reconstructions_leave_no_picture(audited):
    for options in (("--redact",), ("--reconstructions", "none")):
        output, *_ = audited(*options)
        assert not list(output.rglob("*.png"))
        assert b"data:image" not in (output / "report.html").read_bytes()
        assert read(output).gallery


@pytest.mark.parametrize("options", [(), FULL], ids=["default", "full"])
def test_no_json_holds_pixels(audited, options):
    value = json.loads((audited(*options)[0] / "report.json").read_text(encoding="utf-8"))
    assert not [text for text in texts(value) if re.search(r"[A-Za-z0-9+/]{65,}", text)]
    numbers = [values for values in lists(value) if len(values) >= 28 * 28]
    assert not [values for values in numbers if all(isinstance(number, int | float) for number in values)]


# ---- and what becomes of a full one afterwards ----------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_a_full_report_is_redacted_afterwards(clinic, audited, capsys, form, tmp_path):
    report = audited(*FULL)[0] / "report.json"
    assert main(["render", str(report), "--redact", "--format", form, "-o", str(tmp_path / "page")]) == 0
    assert main(["render", str(report), "--redact", "--format", form]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["page"]
    assert leaks(contents(tmp_path, *capsys.readouterr()), folders(clinic)) == set()
    assert b".png" not in (tmp_path / "page").read_bytes()
    assert main(["render", str(report), "--format", form]) == 0
    said = leaks(contents(tmp_path / "nothing", *capsys.readouterr()), folders(clinic))
    assert said if form in ("json", "html", "md") else True


def test_reconstructions_of_a_full_report_are_blurred_afterwards(clinic, audited, tmp_path):
    report = audited(*FULL)[0] / "report.json"
    page = tmp_path / "page.html"
    words = ["render", str(report), "--format", "html", "-o", str(page), "--reconstructions", "blurred"]
    assert main(words) == 0
    embedded = [blob for blob in contents(tmp_path) if blob.startswith(b"\x89PNG")]
    assert len(embedded) == len(read(report).gallery)
    assert all(len(np.unique(np.asarray(Image.open(BytesIO(png))))) <= LEVELS for png in embedded)
    assert leaks(contents(tmp_path), folders(clinic)) == {"name", "folder"}
    assert main([*words, "--hash-names"]) == 0
    assert leaks(contents(tmp_path), folders(clinic)) == set()


# ---- from an id to its file -----------------------------------------------------------------------------------------


def test_whoever_has_the_images_finds_the_files(clinic, audited, capsys):
    hashed, full = read(audited()[0]), read(audited(*FULL)[0])
    members, controls = folders(clinic)
    words = ["names", str(audited()[0] / "report.json"), "--members", str(members), "--controls", str(controls)]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    files = dict(line.split("  ", 1) for line in out.splitlines())
    assert sorted(files.values()) == sorted(path.name for folder in (members, controls) for path in folder.iterdir())
    shown = {member.id: member for member in full.members}
    assert len(hashed.members) == len(shown)
    for member in hashed.members:
        assert re.fullmatch(r"member-[0-9a-f]{8}", member.id)
        assert member.best_ssim == pytest.approx(shown[files[member.id]].best_ssim, rel=0.06)
        assert member.q_value == shown[files[member.id]].q_value
    assert [files[item.member_id] for item in hashed.gallery] == [item.member_id for item in full.gallery]
    assert [files[item.control_id] for item in hashed.gallery] == [item.control_id for item in full.gallery]
    left = {(files[image.id], files[image.like]) for image in hashed.comparability.left_out}
    assert left == {(image.id, image.like) for image in full.comparability.left_out}
    assert {"anna-schmidt-007.png", "anna-schmidt-again.png"} in [set(pair) for pair in left]


def test_names_as_json_and_what_does_not_match(clinic, audited, capsys, tmp_path):
    report = str(audited()[0] / "report.json")
    members, controls = folders(clinic)
    assert main(["names", report, "--members", str(members), "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out).values()
    assert said["matches"]
    assert said["sha256"] == next(f.sha256 for f in read(audited()[0]).manifest.files if f.role == "members")
    assert len(said["names"]) == len(list(members.iterdir()))

    assert main(["names", report, "--members", str(controls)]) == 2
    assert "are not those of the report: their sha256 is" in capsys.readouterr().err
    other = tmp_path / "other"
    shutil.copytree(members, other)
    (other / "anna-schmidt-003.png").rename(other / "anna-schmidt-300.png")
    assert main(["names", report, "--members", str(other), "--controls", str(controls), "--json"]) == 2
    said = json.loads(capsys.readouterr().out)
    assert said["members"]["names"] == {}
    assert said["controls"]["names"]


def test_random_ids_and_names_in_clear_are_told_as_such(clinic, audited, capsys, tmp_path):
    full = str(audited(*FULL)[0] / "report.json")
    members = str(folders(clinic)[0])
    assert main(["names", full, "--members", members]) == 2
    assert "shows the names" in capsys.readouterr().err
    assert main(["render", full, "--redact", "--format", "json", "-o", str(tmp_path / "less.json")]) == 0
    assert main(["names", str(tmp_path / "less.json"), "--members", members]) == 2
    assert "at random" in capsys.readouterr().err


def test_places_in_a_report_do_not_follow_the_names(audited):
    full = read(audited(*FULL)[0])
    ids = [member.id for member in full.members]
    assert ids != sorted(ids)
    hashed = [member.id for member in read(audited()[0]).members]
    assert hashed == sorted(hashed)
