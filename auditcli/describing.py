"""Writes down what a model does not say about itself. Public name: `describe`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditcli.destination import write_text
from auditcli.errors import UsageError
from auditcli.families import Options, build, identify
from auditcli.loading import Description, embed, load, sidecar_of
from auditcli.types import Assumption, Format

if TYPE_CHECKING:
    from auditcli.types import Checkpoint, Profile

MAX_LABEL_BYTES = 10_000_000
"""Longest file of class names that is read."""


def describe(
    path: str | Path,
    *,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    input_shape: tuple[int, int, int] | None = None,
    assume: Mapping[str, str] | None = None,
    labels: Path | None = None,
    copy: Path | None = None,
    force: bool = False,
) -> Path:
    """Identify a model with what is stated, and write down all that was stated and assumed.

    Args:
        path: A safetensors or ONNX file.
        mean: Of inputs in [0, 1]; None for what the model says, or for none.
        std: The same.
        input_shape: (c, h, w), where the model does not say.
        assume: What else the model does not say.
        labels: A file of class names: one a line, or a JSON list.
        copy: Write a copy of the safetensors file that holds the description, instead of a file beside the model.
        force: Replace a file that is there.

    Returns:
        The file written. With it, the model is identified as now and nothing has to be assumed.

    Raises:
        LoadError: The model cannot be read or built.
        UnknownModel: No family explains it, or a question is left open.
        UsageError: An option that does not fit, a file that is there already, or a model that cannot be described.
    """
    checkpoint = load(path)
    target = _place(checkpoint, copy, force=force)
    options = Options(input_shape=input_shape, mean=mean, std=std, assume=assume or {})
    profile = identify(checkpoint, options)
    build(checkpoint, profile, options)
    names = _labels(labels) if labels else profile.labels
    if names and len(names) != profile.classes:
        raise UsageError(f"{len(names)} labels for {profile.classes} classes", hint="--labels FILE, one name a class")
    keys = _settled(checkpoint, profile, options) | {"labels": names or None, "sha256": checkpoint.sha256}
    description = Description.model_validate(keys)
    _require_enough(replace(checkpoint, description=description.stated(), described_by=target.name), profile)
    if copy is None:
        write_text(target, description.model_dump_json(exclude_none=True, indent=2) + "\n")
    else:
        embed(checkpoint.path, target, description)
    return target


def _place(checkpoint: Checkpoint, copy: Path | None, *, force: bool) -> Path:
    """Where to write, once that is possible and nothing is lost by it."""
    name = checkpoint.name
    if checkpoint.format is Format.HUGGINGFACE:
        raise UsageError(
            f"{name} is a Hugging Face folder, whose config.json and preprocessor_config.json describe it",
            hint="write image_mean, image_std and the size into preprocessor_config.json, id2label into config.json",
        )
    if copy is not None and checkpoint.format is not Format.SAFETENSORS:
        raise UsageError(
            f"{name} is no safetensors file, and only those hold a description inside", hint="leave --embed out"
        )
    target = sidecar_of(checkpoint.path) if copy is None else copy
    if target.resolve() == checkpoint.path.resolve():
        raise UsageError(f"{target} is the model itself, which is never written over", hint="--embed with another name")
    if target.exists() and not force:
        raise UsageError(f"{target} is there already", hint="--force replaces it")
    return target


def _settled(checkpoint: Checkpoint, profile: Profile, options: Options) -> dict[str, Any]:
    """The keys of a description: what came with the file, then what was stated, then what was assumed."""
    keys = dict(checkpoint.description)
    for key, text in _assumed(profile.assumptions).items():
        with suppress(UsageError):  # What no option can state is found out by identifying again.
            keys[key] = Options(assume={key: text}).assumed(key)
    keys |= {key: options.assumed(key) for key in options.assume}
    keys |= {"input_shape": profile.input_shape, "classes": profile.classes}
    if options.mean is not None:
        keys |= {"mean": options.mean, "std": options.std}
    elif any(assumption.what == "normalisation" for assumption in profile.assumptions):
        keys |= {"mean": profile.normalisation.mean, "std": profile.normalisation.std}
    return keys


def _assumed(assumptions: tuple[Assumption, ...]) -> dict[str, str]:
    """The assumptions that `--assume` can state, as it takes them."""
    found = {}
    for assumption in assumptions:
        option, _, rest = assumption.flag.partition(" ")
        key, equals, _ = rest.partition("=")
        if option == "--assume" and equals:
            found[key] = assumption.value
    return found


def _require_enough(checkpoint: Checkpoint, before: Profile) -> None:
    """Check that the description alone gives the same model, with nothing left to assume."""
    after = identify(checkpoint, Options())
    open_ = [assumption.what for assumption in after.assumptions]
    kept = ("family", "architecture", "input_shape", "classes", "outputs", "parameters", "normalisation", "traits")
    changed = [name for name in kept if getattr(after, name) != getattr(before, name)]
    if changed or open_:
        what = f"{', '.join(open_)} would still be assumed" if open_ else f"{', '.join(changed)} would differ"
        raise UsageError(
            f"a description of {checkpoint.name} cannot say everything: {what}",
            hint="give these as options: privaudit inspect lists them",
        )


def _labels(path: Path) -> tuple[str, ...]:
    try:
        if path.stat().st_size > MAX_LABEL_BYTES:
            raise UsageError(f"{path} has more than {MAX_LABEL_BYTES} bytes", hint="--labels FILE, one name a class")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as text", hint="--labels FILE, one name a class") from error
    if not text.lstrip().startswith("["):
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    try:
        names = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON list", hint='["cat", "dog"]') from error
    if not all(isinstance(name, str) for name in names):
        raise UsageError(f"{path} holds something else than names", hint='["cat", "dog"]')
    return tuple(names)
