"""The options of the command line, each said once: its names, its environment variable, its help.

Public names: `HERE`, `View`, `FORMATS`, `Profile`, and one annotation for each option that commands share.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from auditcli import plugins, policy

HERE = Path("privaudit-report")


class View(StrEnum):
    """Formats a report is written in."""

    HTML = "html"
    MD = "md"
    CARD = "card"
    CHECKLIST = "checklist"
    SUMMARY = "summary"
    SARIF = "sarif"
    JUNIT = "junit"
    GITHUB = "github"
    JSON = "json"


FORMATS = ", ".join(View)
"""For the help of an option: side by side they would not fit into a column of it."""


class Profile(StrEnum):
    """How hard the attacks try."""

    QUICK = "quick"
    STANDARD = "standard"
    DEEP = "deep"


class Shown(StrEnum):
    """What becomes of pictures that an attack reconstructed."""

    SHARP = "sharp"
    BLURRED = "blurred"
    NONE = "none"


def _option(*names: str, help: str, metavar: str | None = None, **more: Any) -> Any:
    """An option that is also read from `PRIVAUDIT_` and its first name, e.g. `PRIVAUDIT_FAIL_ON`."""
    variable = f"PRIVAUDIT_{names[0].strip('-').replace('-', '_').upper()}"
    return typer.Option(*names, envvar=variable, show_envvar=False, help=help, metavar=metavar, **more)


def _attack_names() -> list[str]:
    """For the shell, which will not wait for torch."""
    return plugins.names("attacks", group="privaudit.attacks")


def _device_names() -> list[str]:
    return ["auto", "cpu", "cuda", "mps"]


# Text: a path would take one slash of hf:// away.
ModelPath = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A .safetensors or .onnx file, a Hugging Face folder, or hf://owner/name."),
]
ReportPath = Annotated[Path, typer.Argument(metavar="REPORT.json", help="What `privaudit scan` wrote.")]
ReleasedModel = Annotated[
    Path, typer.Option("--model", metavar="MODEL", help="What is to be released: a file or a Hugging Face folder.")
]
Reference = Annotated[
    Path | None,
    _option("--reference", "--members", metavar="PATH", help="Images it was trained on: a folder or an .npz."),
]
Controls = Annotated[
    Path | None,
    _option("--controls", "--holdout", metavar="PATH", help="Images of the same kind that it never saw."),
]
MemberCount = Annotated[
    str | None,
    typer.Option("--members", "--reference", metavar="N|PATH", help="Training images: how many, or where they are."),
]
ControlCount = Annotated[
    str | None,
    typer.Option("--controls", "--holdout", metavar="N|PATH", help="Images it never saw: how many, or where they are."),
]
Budget = Annotated[str, _option("--budget", metavar="TIME", help="For the whole audit: 90s, 10m, 2h.")]
Effort = Annotated[Profile, _option("--profile", help="Steps, restarts and candidates of the attacks.")]
Attacks = Annotated[
    list[str] | None,
    _option(
        "--attack",
        metavar="NAME",
        help="See `privaudit attacks`, which marks those that run only if named; repeatable.",
        autocompletion=_attack_names,
    ),
]
Settings = Annotated[
    list[str] | None,
    _option("--set", metavar="ATTACK.SETTING=VALUE", help="See docs/attacks; e.g. inversion.kl=0; repeatable."),
]
Device = Annotated[
    str,
    _option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.", autocompletion=_device_names),
]
Seed = Annotated[int, _option("--seed", min=0, metavar="N", help="The same seed makes the same random draws.")]
Mean = Annotated[str | None, _option("--mean", metavar="M,..", help="Of inputs in [0, 1], one for each channel.")]
Std = Annotated[str | None, _option("--std", metavar="S,..", help="Of inputs in [0, 1], one for each channel.")]
Shape = Annotated[str | None, _option("--input-shape", metavar="C,H,W", help="Where the model does not say.")]
Assume = Annotated[list[str] | None, _option("--assume", metavar="KEY=VALUE", help="E.g. activation=gelu; repeatable.")]
Arch = Annotated[
    str,
    typer.Option("--arch", metavar="MODULE:CALLABLE", help="RUNS YOUR CODE to build the network; also models.py:Net."),
]
ArchArguments = Annotated[
    list[str] | None,
    typer.Option("--arch-arg", metavar="KEY=VALUE", help="Keyword argument of that callable, as JSON; repeatable."),
]
Base = Annotated[
    str | None,
    _option("--base", metavar="MODEL", help="The public model it was fine-tuned from; a path or hf://owner/name."),
]
Backbone = Annotated[
    str | None,
    _option("--backbone", metavar="MODEL", help="Where MODEL is a head alone: the classifier whose features it reads."),
]
Output = Annotated[Path, _option("--output", "-o", metavar="DIR", help="Folder of the report.")]
Views = Annotated[
    list[View] | None,
    _option("--format", "-f", metavar="NAME", help=f"{FORMATS}; repeatable. html and md unless given, json always."),
]
FailOn = Annotated[
    policy.FailOn | None,
    _option("--fail-on", help="Exit with 1 at this level or worse: high, unless --policy says otherwise."),
]
PolicyFile = Annotated[
    Path | None, _option("--policy", metavar="FILE", help="What else is demanded, and what is waived: docs/policy.md.")
]
IncludeImages = Annotated[bool, _option("--include-images", help="Show members and controls in the report.")]
Reconstructions = Annotated[Shown, _option("--reconstructions", help="How the report shows what was reconstructed.")]
Names = Annotated[bool, _option("--names", help="Show file names of members and controls, not ids.")]
Redact = Annotated[bool, _option("--redact", help="Show no picture at all and no file name.")]
Shadows = Annotated[
    int,
    _option("--shadows", min=0, metavar="K", help="Train K models on half of the controls, to compare with."),
]
ShadowCache = Annotated[
    Path | None,
    _option("--shadow-cache", metavar="DIR", help="Keep those models, and find them again; they hold controls."),
]
Force = Annotated[bool, _option("--force", help="Write into a folder that holds other files.")]
Quiet = Annotated[bool, _option("--quiet", "-q", help="No progress, and one line of result.")]
Verbose = Annotated[bool, _option("--verbose", "-v", help="Print every detail.")]
