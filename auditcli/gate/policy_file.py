"""The policy file: what an organisation demands of an audit before a model may be released, and what it lets pass.

Public names: `Policy`, `Thresholds`, `Waiver`, `read_policy`. `docs/policy.md` lists every key.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from auditcli import arguments
from auditcli.errors import AuditError, UsageError
from auditcli.report.schema import ProfileName
from auditcli.rules import RULES

LARGEST_POLICY = 2**20
_PAGE = "docs/policy.md lists every key"
_DIGITS = "[0-9a-f]{64}"

FailOn = Literal["low", "moderate", "high", "critical", "never"]


def _duration(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("a duration in quotes was expected")
    try:
        return arguments.seconds(value, "the duration")
    except AuditError as error:
        raise ValueError(error.message) from error


def _day(value: object) -> object:
    if isinstance(value, datetime) or not isinstance(value, date):
        raise ValueError("a date was expected, without quotes and without a time")
    return value


def _one_line(value: str) -> str:
    line = " ".join(value.split())
    if not line:
        raise ValueError("it is empty")
    return line


def _known(id: str) -> str:
    if id not in RULES:
        near = get_close_matches(id.upper(), RULES, 1, 0.7)
        raise ValueError(f"{id!r} is no id of a finding" + (f"; did you mean {near[0]}?" if near else ""))
    return id


def _waivable(id: str) -> str:
    if not RULES[_known(id)].waivable:
        raise ValueError(f"{id} ({RULES[id].title.lower()}) cannot be waived")
    return id


def _forbidable(id: str) -> str:
    if RULES[_known(id)].kind == "breach":
        raise ValueError(f"{id} is a breach of a policy already; an id from PA001 to PA299 was expected")
    return id


Count = Annotated[int, Field(strict=True, ge=0)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Seconds = Annotated[float, BeforeValidator(_duration)]
Day = Annotated[date, BeforeValidator(_day)]
Line = Annotated[str, AfterValidator(_one_line)]


class Table(BaseModel):
    """Base of the tables of a policy file: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Thresholds(Table):
    """The highest figures that are allowed. A figure that was not measured is not below its threshold."""

    bound: Literal["upper", "estimate"] = Field(default="upper", examples=['bound = "upper"'])
    recovered: Count | None = Field(default=None, examples=["recovered = 0"])
    best_ssim: Share | None = Field(default=None, examples=["best_ssim = 0.4"])
    members_over_half: Count | None = Field(default=None, examples=["members_over_half = 0"])
    reproduced: Count | None = Field(default=None, examples=["reproduced = 0"])
    membership_auc: Share | None = Field(default=None, examples=["membership_auc = 0.6"])
    tpr_at_0_1_percent: Share | None = Field(default=None, examples=["tpr_at_0_1_percent = 0.01"])
    tpr_at_1_percent: Share | None = Field(default=None, examples=["tpr_at_1_percent = 0.05"])
    tpr_at_10_percent: Share | None = Field(default=None, examples=["tpr_at_10_percent = 0.2"])
    named: Count | None = Field(default=None, examples=["named = 0"])
    accuracy_gap: Share | None = Field(default=None, examples=["accuracy_gap = 0.1"])


class Waiver(Table):
    """One kind of finding that somebody accepts, why, and until when."""

    id: Annotated[str, AfterValidator(_waivable)] = Field(examples=['id = "PA003"'])
    reason: Line = Field(examples=['reason = "The training images are public."'])
    expires: Day = Field(examples=["expires = 2027-01-31"])
    subject: Line | None = Field(default=None, examples=['subject = "activation"'])
    model: Annotated[str, Field(pattern=_DIGITS, max_length=64)] | None = Field(
        default=None, examples=['model = "<sha256 in 64 lower-case hexadecimal digits>"']
    )


class Policy(Table):
    """What is demanded of an audit. An empty policy demands a level below `high`, and an answer."""

    fail_on: FailOn = Field(default="high", examples=['fail_on = "high"'])
    forbid: tuple[Annotated[str, AfterValidator(_forbidable)], ...] = Field(default=(), examples=['forbid = ["PA205"]'])
    required_attacks: tuple[Line, ...] = Field(default=(), examples=['required_attacks = ["kkt"]'])
    required_signals: tuple[Line, ...] = Field(default=(), examples=['required_signals = ["confidence"]'])
    required_members: Count | None = Field(default=None, examples=["required_members = 50"])
    required_controls: Count | None = Field(default=None, examples=["required_controls = 400"])
    require_positive_control: bool = Field(default=False, strict=True, examples=["require_positive_control = true"])
    minimum_budget: Seconds | None = Field(default=None, examples=['minimum_budget = "10m"'])
    minimum_profile: ProfileName | None = Field(default=None, examples=['minimum_profile = "standard"'])
    maximum_age: Seconds | None = Field(default=None, examples=['maximum_age = "90d"'])
    thresholds: Thresholds = Field(default=Thresholds(), examples=["[thresholds]"])
    waivers: tuple[Waiver, ...] = Field(default=(), examples=["[[waivers]]"])


_TABLES: Mapping[str, type[Table]] = {"": Policy, "thresholds": Thresholds, "waivers": Waiver}


def read_policy(path: Path | None, fail_on: FailOn | None = None) -> Policy:
    """The policy in a TOML file.

    Args:
        path: The file; None for an empty policy.
        fail_on: What stands in place of the file's own.

    Raises:
        UsageError: it cannot be read, is no TOML, or has a key or value that is not understood.
    """
    try:
        policy = Policy() if path is None else Policy.model_validate(_parsed(path))
    except ValidationError as error:
        raise _refused(Path(path or ""), error) from error
    return policy if fail_on is None else policy.model_copy(update={"fail_on": fail_on})


def _parsed(path: Path) -> dict[str, Any]:
    hint = f"give a TOML file such as privaudit-policy.toml; {_PAGE}"
    try:
        if path.is_file() and path.stat().st_size > LARGEST_POLICY:
            raise UsageError(f"{path.name} is larger than a policy can be ({LARGEST_POLICY} bytes)", hint=hint)
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise UsageError(
            f"the policy {path} cannot be read: {(error.strerror or str(error)).lower()}", hint=hint
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the policy {path.name} is no UTF-8 text", hint=hint) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"the policy {path.name} is no TOML: {error}", hint=hint) from error


def _refused(path: Path, error: ValidationError) -> UsageError:
    """The first thing that is wrong, with where it stands and how it is written."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = first["loc"]
    names = [str(step) for step in place if isinstance(step, str)]
    key, table = names[-1] if names else "", "".join(names[:1]) if len(names) > 1 else ""
    where = f"{path.name}: {_place(place)}"
    if first["type"] == "extra_forbidden":
        return UsageError(f"{where} is no key of a policy", hint=f"{_nearest(key, table)}{_PAGE}")
    example = next(_examples(table, key), "")
    own = first["msg"].removeprefix("Value error, ")
    message = own if own != first["msg"] else own[:1].lower() + own[1:]
    return UsageError(f"{where}: {message}", hint=f"{example}; {_PAGE}" if example else _PAGE)


def _place(place: tuple[int | str, ...]) -> str:
    """`thresholds.recovered`, or `waivers[2].id` for the second waiver: people count from one."""
    return "".join(f"[{step + 1}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")


def _nearest(key: str, table: str) -> str:
    """The key that was meant: the nearest of this table, or the same key of another, which TOML ended too early."""
    keys = _TABLES[table].model_fields if table in _TABLES else {}
    near = get_close_matches(key.lower().replace("-", "_"), keys, 1, 0.6)
    if near:
        return f"did you mean {near[0]}? "
    for other, shape in _TABLES.items():
        if key in shape.model_fields:
            home = f"under [{other}]" if other else "above the first [table]"
            return f"{key} stands {home}; "
    return ""


def _examples(table: str, key: str) -> Iterator[str]:
    fields = _TABLES[table].model_fields if table in _TABLES else {}
    if key in fields:
        yield from map(str, fields[key].examples or ())
