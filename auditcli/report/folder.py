"""A report on disk: `report.json`, its views, and `gallery/*.png` beside them.

Public names: `read`, `write`, `json_schema`.
A report folder may come from a stranger: nothing is read from, and nothing written to, a place outside of it.
"""

import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import pydantic_core
from pydantic import ValidationError

from auditcli.errors import LoadError, UsageError
from auditcli.report import formats as known
from auditcli.report.file import replace
from auditcli.report.schema import SCHEMA_VERSION, Picture, Report
from auditcli.report.text import clean

GALLERY = "gallery"
LARGEST_REPORT = 256 * 2**20
LARGEST_PICTURE = 16 * 2**20
OURS = re.compile(rf"{GALLERY}/[0-9]+-(reconstruction|member|control)\.png")
"""Pictures as an audit names them."""
PNG = b"\x89PNG\r\n\x1a\n"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `report.json`, as `privaudit schema` prints it."""
    schema = Report.model_json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:privaudit:report:{SCHEMA_VERSION}",
        **schema,
        "title": "privaudit report",
    }


def read(path: str | Path) -> Report:
    """A report and those of its pictures that lie beside it and have the sha256 it gives.

    Args:
        path: `report.json`, or the folder that holds it.

    Returns:
        The report; a picture that is missing, altered or named outside the folder is absent from `Report.pictures`.

    Raises:
        LoadError: no such file, or it is no report of this schema version.
    """
    file = Path(path)
    if file.is_dir():
        file = file / known.FORMATS["json"].file
    report = _parse(_content(file), file.name)
    found = {picture.file: _picture(file.parent, picture) for picture in report.named_pictures()}
    return report.with_pictures({name: content for name, content in found.items() if content is not None})


def write(report: Report, directory: Path, formats: Sequence[str]) -> tuple[Path, ...]:
    """Writes a report; see `Report.save`."""
    files = {known.find(name).file: known.find(name).render(report).encode() for name in formats}
    outdated = _left_before(directory, report) - {*files, *report.pictures}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in report.pictures.items():
            replace(_inside(directory, name, make=True), content)
        written = tuple(replace(directory / name, content) for name, content in files.items())
        for name in outdated:
            (_inside(directory, name) if "/" in name else directory / name).unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError(
            f"the report cannot be written to {clean(str(directory))}: {reason}",
            hint="give a folder you may write to, e.g. --output privaudit-report",
        ) from error
    return written


def _content(file: Path) -> bytes:
    hint = "give the report.json that `privaudit scan` wrote"
    try:
        if file.stat().st_size > LARGEST_REPORT:
            raise LoadError(f"{clean(file.name)} is larger than a report can be ({LARGEST_REPORT} bytes)", hint=hint)
        return file.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise LoadError(f"cannot read {clean(str(file))}: {reason}", hint=hint) from error


def _parse(content: bytes, name: str) -> Report:
    """The report in `content`; its schema version is looked at first, for the better message."""
    name = clean(name)
    try:
        value = pydantic_core.from_json(content)
    except ValueError as error:
        hint = "give the report.json that `privaudit scan` wrote"
        raise LoadError(f"{name} is not JSON: {clean(str(error))}", hint=hint) from error
    version = value.get("schema_version") if isinstance(value, dict) else None
    if version is None:
        hint = "give the report.json that `privaudit scan` wrote; `privaudit schema` prints its shape"
        raise LoadError(f"{name} is not a privaudit report: it has no schema_version", hint=hint)
    if version != SCHEMA_VERSION:
        raise LoadError(
            f"{name} has schema_version {clean(repr(version))[:40]}, this privaudit reads {SCHEMA_VERSION!r}",
            hint="pip install --upgrade privaudit, or audit again with this version: privaudit scan MODEL",
        )
    try:
        return Report.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = clean(".".join(map(str, first["loc"])))[:120]
        hint = "`privaudit schema` prints the expected shape; was the file edited?"
        raise LoadError(f"{name} is not a valid report: {clean(first['msg'])} at {place}", hint=hint) from error


def _picture(directory: Path, picture: Picture) -> bytes | None:
    """The bytes of a picture, None where it is not a PNG inside the folder with the sha256 the report gives."""
    try:
        path = _inside(directory, picture.file)
        if not path.is_file() or path.stat().st_size > LARGEST_PICTURE:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    return content if content.startswith(PNG) and sha256(content).hexdigest() == picture.sha256 else None


def _inside(directory: Path, name: str, *, make: bool = False) -> Path:
    """The path of `gallery/NAME.png` in the folder.

    Raises:
        OSError: another name, or a link in the way: it could lead out of the folder.
    """
    path = PurePosixPath(name)
    folder = directory / GALLERY
    if name != f"{GALLERY}/{path.name}" or path.suffix != ".png" or clean(name) != name or "\\" in name or ":" in name:
        raise PermissionError(1, f"{clean(name)} is not a name in {GALLERY}/")
    if make:
        folder.mkdir(exist_ok=True)
    for place in (folder, folder / path.name):
        if place.is_symlink():
            raise PermissionError(1, f"{clean(name)} is a link")
    return folder / path.name


def _left_before(directory: Path, report: Report) -> set[str]:
    """What the report that is about to be replaced left: it must not outlive it, e.g. after `--redact`.

    Pictures are known by their names too, where the earlier report cannot be read; views only by the report.
    """
    gallery = directory / GALLERY
    left = set() if gallery.is_symlink() else {f"{GALLERY}/{file.name}" for file in gallery.glob("*.png")}
    left = {name for name in left if OURS.fullmatch(name)}
    try:
        before = read(directory)
    except LoadError:
        return left
    views = {form.file for form in known.FORMATS.values()} if before.to_json() != report.to_json() else set()
    return left | set(before.pictures) | views
