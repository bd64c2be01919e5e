"""The JSON report: the one shape that strangers parse. `Report` is its root; all is frozen and rejects unknown keys.

The JSON is the product; HTML, Markdown and the model card are views of it. It holds no pixels: pictures lie beside it
as PNG files and are named by path and sha256 (`Picture`). A change that breaks a reader raises the first number of
`SCHEMA_VERSION`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr, field_validator, model_validator

from auditcli.report.marks import OF_CONTROL, OF_ITS_ORIGINAL, OF_ITS_ROLE, OF_MEMBER, PER_IMAGE

SCHEMA_VERSION: Final = "1.0"

LevelName = Literal["none-detected", "low", "moderate", "high", "critical", "inconclusive"]
ProfileName = Literal["quick", "standard", "deep"]
PROFILES: Final[tuple[ProfileName, ...]] = get_args(ProfileName)
"""By effort, the least first."""
Probability = float


def canonical(value: Any) -> Any:
    """`value` with sorted dictionaries and with text that UTF-8 can hold, so that equal reports give equal bytes.

    A file name that is no UTF-8 reaches Python with lone surrogates in it; they become question marks.
    """
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case tuple() | list():
            return type(value)(canonical(item) for item in value)
        case dict():
            return {canonical(key): canonical(value[key]) for key in sorted(value)}
        case _:
            return value


class Part(BaseModel):
    """Base of all parts: frozen, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _canonical(cls, value: Any) -> Any:
        return canonical(value)


class Reason(Part):
    """One sentence behind the verdict, and the level it would give alone."""

    text: str
    level: LevelName
    id: str = Field(
        "", description="Stable id of the finding, e.g. `PA001`; empty where a question was answered with no."
    )


class Verdict(Part):
    """The answer."""

    level: LevelName
    headline: str = Field(description="One sentence, with the budget in it.")
    reasons: tuple[Reason, ...]
    next_steps: tuple[str, ...] = Field(description="The cheapest things to add where the answer is weak.")
    mitigations: tuple[str, ...] = Field(description="What to do about the finding.")


class Assumption(Part):
    """Something the file does not say and that was assumed."""

    what: str
    value: str
    why: str
    flag: str = Field(description="The option that overrides it.")
    alternatives: tuple[str, ...] = Field((), description="Other values that fit the weights as well.")


class Layer(Part):
    """One layer of the model."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


class Statement(Part):
    """Something said about the model, and how it is known."""

    what: str = Field(description="`family`, `layers`, `input shape`, `normalisation`, `classes`, `trait`, ...")
    value: str
    why: str


class Tensor(Part):
    """One tensor of the file."""

    name: str
    role: str = Field(description="What it is, e.g. `convolution weight`.")
    stored: str = Field(description="Type of its numbers in the file, e.g. `F16`; all are read as floats of 32 bits.")
    shape: tuple[int, ...]
    numbers: int
    low: float | None = Field(description="Smallest number; null where there are none.")
    high: float | None
    mean: float | None
    deviation: float | None = Field(description="Standard deviation.")


class Model(Part):
    """What was audited."""

    path: str = Field(description="File or folder name only, never a path of the auditor's machine.")
    sha256: str
    bytes: int
    format: Literal["safetensors", "onnx", "huggingface"]
    family: Literal["mlp", "cnn", "vit", "mixer", "bnn", "hybrid", "unknown"]
    architecture: str
    parameters: int
    input_shape: tuple[int, int, int] = Field(description="Channels, height, width.")
    classes: int
    labels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    traits: tuple[str, ...]
    identified_by: str
    evidence: tuple[str, ...]
    assumptions: tuple[Assumption, ...]
    layers: tuple[Layer, ...]
    statements: tuple[Statement, ...] = Field(default=(), description="What is said above, each with its reason.")
    tensors: tuple[Tensor, ...] = Field(default=(), description="Of `privaudit inspect --json --verbose` alone.")


class Budget(Part):
    """What the audit was allowed and what it used."""

    seconds: float = Field(description="Ceiling for the whole audit.")
    seconds_used: float
    stopped_by: Literal["steps", "seconds", "exhausted", "interrupted"]
    device: str
    profile: ProfileName
    seed: int


class Interval(Part):
    """An estimate with a 95% confidence interval."""

    value: float
    low: float
    high: float


class Test(Part):
    """A one-sided significance test."""

    name: str
    statistic: float
    p_value: float


class SsimDefinition(Part):
    """Which SSIM: without this the number means little."""

    window: Literal["uniform-7", "gaussian-11"]
    data_range: float
    k1: float
    k2: float
    channels: Literal["mean"]
    implementation: str


class Ssim(Part):
    """Similarity of one attack's candidates to the members and the controls."""

    definition: SsimDefinition
    top: Annotated[tuple[float, ...], PER_IMAGE] = Field(description="The ten best members, many-to-one.")
    mean: float
    p95: float
    members_over_half: int = Field(description="Members with SSIM >= 0.5, many-to-one.")
    members_over_half_matched: int = Field(description="The same with every candidate used at most once.")
    controls_over_half: int | None
    n_members: int
    n_controls: int


class TracePoint(Part):
    """The objective at one step."""

    step: int
    objective: float


class Attack(Part):
    """One attack: scored, or why not."""

    name: str
    summary: str
    paper: str
    status: Literal["scored", "unscored", "skipped", "failed"] = Field(
        description="`unscored`: it ran, but no members were given to compare with."
    )
    reason: str = Field(description="Why it was skipped, failed or left unscored; else empty.")
    negative_control: bool = Field(description="An attack that never looks at the weights.")
    settings: dict[str, JsonValue]
    seconds: float
    steps: int
    restarts: int
    candidates: int = Field(description="Images guessed in each restart.")
    stopped_by: Literal["steps", "seconds", "exhausted", "interrupted", ""]
    objective: tuple[float, ...] = Field(description="Final objective of each restart.")
    figures: dict[str, tuple[float, ...]] = Field(
        default={}, description="What else an attack knows of its result from the model alone, for each restart."
    )
    trace: tuple[TracePoint, ...]
    ssim: Ssim | None


class Member(Part):
    """Whether one training image came back."""

    id: Annotated[str, OF_MEMBER]
    best_ssim: Annotated[float, PER_IMAGE]
    matched_ssim: Annotated[float, PER_IMAGE]
    attack: str
    p_value: float | None
    q_value: float | None
    leaked: bool


class TprAtFpr(Part):
    """True-positive rates at fixed false-positive rates; null where the controls cannot resolve the rate."""

    at_0_1_percent: Interval | None = Field(alias="0.1%")
    at_1_percent: Interval | None = Field(alias="1%")
    at_10_percent: Interval | None = Field(alias="10%")

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True)


class RocPoint(Part):
    """A corner of the ROC."""

    fpr: float
    tpr: float


class Exposure(Part):
    """How far one member stands out among the controls by a signal."""

    id: Annotated[str, OF_MEMBER]
    score: Annotated[float, PER_IMAGE] = Field(description="In the unit of the signal; higher = more likely a member.")
    p_value: float
    q_value: float


class Scores(Part):
    """The order a signal puts the images in, for the comparison of two audits image by image.

    Ranks and not what the signal gave: that can be computed by whoever holds the model and an image, and looked up
    here it would tell them that the image was a member.
    """

    members: tuple[float, ...] = Field(
        description="Ranks among all these images, 1 = least like a member, ties the mean of theirs; in the order of "
        "the sample, without what was left out."
    )
    controls: tuple[float, ...] = Field(description="The same, of the controls that were compared.")
    places: tuple[int, ...] | None = Field(
        None, description="Of these controls among all; null where all were compared and none trained shadow models."
    )

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if self.places is not None and len(self.places) != len(self.controls):
            raise ValueError(f"{len(self.places)} places for {len(self.controls)} controls")
        return self


class Membership(Part):
    """One membership signal."""

    signal: str
    summary: str
    paper: str
    status: Literal["scored", "skipped", "failed"]
    reason: str
    auc: Interval | None
    tpr_at_fpr: TprAtFpr | None
    test: Test | None
    n_members: int
    n_controls: int
    roc: tuple[RocPoint, ...]
    exposed: tuple[Exposure, ...] = Field((), description="The members that stand out most, the most exposed first.")
    named: int = Field(0, description="Members that stand out one by one, at a q-value of at most 0.05.")
    scores: Scores | None = Field(
        None, description="Of every image, as ranks; null where the signal gave none, and in older reports."
    )


class Evidence(Part):
    """What the weights alone say: restarts that agree, against the same weights shuffled."""

    attack: str
    agreement: tuple[float, ...]
    reproduced: int = Field(description="Distinct images that independent restarts agree on.")
    threshold: float
    explained: float = Field(description="Share of the first layer's weight norm the candidates explain.")
    shuffled_reproduced: tuple[int, ...]
    shuffled_explained: tuple[float, ...]
    test: Test | None
    significant: bool
    unclear: bool = Field(default=False, description="Neither a finding nor the absence of one.")
    directions: int = Field(default=0, description="Directions training wrote into the first layer, above the noise.")
    persistent: int | None = Field(default=None, description="Reproduced images that another kind of start finds too.")
    shuffled_persistent: int | None = Field(default=None, description="The same with the weights shuffled.")
    verified: int | None = Field(default=None, description="Reproduced images that outdo every decoy's multiplier.")


class PlannedTest(Part):
    """What one test of the family can say at best."""

    name: str = Field(description="`reconstruction`, `signal` or `shadow signal`.")
    n_members: int
    n_controls: int = Field(description="Compared with the members: those that train shadow models are not.")
    least_p: float = Field(description="The smallest p-value that these samples can reach.")
    significant: bool = Field(description="It can be significant once all tests are counted together.")
    detectable_auc: float | None = Field(description="True AUC that is found with a power of 80%.")


class Plan(Part):
    """What so many members and controls can establish at best, whatever the model."""

    n_members: int
    n_controls: int
    shadow_controls: int = Field(description="Controls left to compare where the others train shadow models, else 0.")
    n_tests: int = Field(description="In one family, corrected together.")
    alpha: float
    tests: tuple[PlannedTest, ...]
    controls_to_flag_one: int
    flagged_together: int | None = Field(description="Members that must stand out together to be flagged.")
    recovered_together: int | None = Field(
        description="Members above every control that make the reconstruction test significant."
    )
    levels: tuple[LevelName, ...] = Field(description="Those that can be given, the worst first.")
    without_images: bool
    best_tpr: float | None = Field(description="Highest lower bound of the true-positive rate at 1% false positives.")
    best_auc: float | None = Field(description="Highest lower bound of an AUC.")
    moderate_auc: float | None = Field(description="Smallest observed AUC whose lower bound is 0.60 or more.")
    resolved_rates: tuple[float, ...]
    bounded_rates: tuple[float, ...]
    sentences: tuple[str, ...] = Field(description="The limits in words, the worst first.")


class LeftOut(Part):
    """An image that was not counted."""

    id: Annotated[str, OF_ITS_ROLE]
    role: Literal["member", "control"]
    like: Annotated[str, OF_ITS_ORIGINAL] = Field(
        description="The image it is a copy of, in the same sample or in the other one."
    )
    why: Literal["repeat", "near copy"]


class Comparability(Part):
    """Whether members and controls are of one kind, but for training."""

    blind: Test | None = Field(description="Does a classifier that never saw the model tell them apart?")
    auc: float | None = Field(description="Of that classifier; 0.5 is guessing.")
    tells: tuple[str, ...] = Field(description="What it tells them apart by, where it does.")
    left_out: tuple[LeftOut, ...] = Field(description="Repeated images, and near copies across the two samples.")
    accuracy_members: float | None = Field(description="Share of labelled members the model is right on.")
    accuracy_controls: float | None
    has_power: bool = Field(
        True, description="Whether the classifier could have found any difference in so few images."
    )


class PositiveControl(Part):
    """Whether the same procedure at the same budget finds the leak of a model that is known to leak."""

    kind: Literal["reconstruction", "membership"]
    method: str
    fixture: str
    recovered: int
    of: int
    passed: bool
    detail: str
    matched: bool = Field(False, description="On a copy of this very model, overfitted on controls.")


class Controls(Part):
    """What the verdict is calibrated against."""

    n_members: int
    n_controls: int
    controls_to_flag_one: int | None = Field(description="Controls needed to flag a single member.")
    alpha: float = Field(description="Family-wise error of the tests behind the level.")
    false_discovery_rate: float = Field(description="A member is flagged at a q-value of at most this.")
    negative_alpha: float = Field(description="The negative control fails at a p-value below this.")
    reconstruction_test: Test | None
    negative: Test | None = Field(description="The same test on candidates that never saw the weights.")
    members_ssim: Annotated[tuple[float, ...], PER_IMAGE] = Field(
        description="Best SSIM of each member over all attacks."
    )
    controls_ssim: Annotated[tuple[float, ...], PER_IMAGE]
    positive: tuple[PositiveControl, ...]


class Picture(Part):
    """A PNG beside the report."""

    file: str = Field(description="Path relative to the report.")
    sha256: str
    alt: str


class GalleryItem(Part):
    """One reconstruction, with what it was compared to."""

    rank: int
    attack: str
    label: str
    evidence: str = Field(description="Why it stands where it stands, in words.")
    agreement: float | None
    ssim: Annotated[float | None, PER_IMAGE] = Field(description="To the member shown; None without members.")
    control_ssim: Annotated[float | None, PER_IMAGE]
    member_id: Annotated[str | None, OF_MEMBER]
    control_id: Annotated[str | None, OF_CONTROL]
    reconstruction: Picture | None = Field(description="None where `redaction` leaves it out.")
    member: Picture | None = Field(description="Only with --include-images.")
    control: Picture | None


class Redaction(Part):
    """What a report shows of the auditor's images, and what it keeps back."""

    names: Literal["shown", "hashed"] = Field(
        description="`hashed`: ids stand for file names, and the figures of single images have two digits."
    )
    reconstructions: Literal["sharp", "blurred", "left out"]
    images: bool = Field(description="Whether members and controls may be shown as pictures.")


class FileHash(Part):
    """A file that went into the audit."""

    role: Literal["model", "members", "controls"]
    name: str
    sha256: str


class Manifest(Part):
    """What ran, when, on what."""

    privaudit: str
    python: str
    torch: str
    cuda: str | None
    platform: str
    packages: dict[str, str]
    files: tuple[FileHash, ...]
    command: str
    started: datetime
    finished: datetime


class Report(Part):
    """A privacy audit of one model."""

    schema_version: Literal["1.0"] = SCHEMA_VERSION
    verdict: Verdict
    model: Model
    budget: Budget
    attacks: tuple[Attack, ...]
    members: tuple[Member, ...]
    membership: tuple[Membership, ...]
    evidence: Evidence | None
    plan: Plan | None = Field(None, description="What this many members and controls can establish at best.")
    comparability: Comparability | None = Field(None, description="Null where members or controls were not given.")
    controls: Controls
    gallery: tuple[GalleryItem, ...]
    redaction: Redaction
    interrupted: bool
    manifest: Manifest

    _pictures: dict[str, bytes] = PrivateAttr(default_factory=dict)

    @property
    def pictures(self) -> Mapping[str, bytes]:
        """The PNG files by their path relative to the report (`Picture.file`); those not at hand are absent."""
        return self._pictures

    def with_pictures(self, pictures: Mapping[str, bytes]) -> Self:
        """The same report with its pictures at hand.

        Args:
            pictures: PNG bytes by `Picture.file`. Pictures the gallery names may be absent; others may not be present.

        Raises:
            ValueError: bytes under a name that the gallery does not have, or that it gives another sha256.
        """
        named = {picture.file: picture.sha256 for picture in self.named_pictures()}
        for file, content in pictures.items():
            if named.get(file) != sha256(content).hexdigest():
                raise ValueError(f"{file!r} is not a picture of this report, or its sha256 differs")
        report = self.model_copy()
        report._pictures = dict(pictures)
        return report

    def named_pictures(self) -> tuple[Picture, ...]:
        """Every picture the gallery names, at hand or not, in its order."""
        shown = ((item.reconstruction, item.member, item.control) for item in self.gallery)
        return tuple(picture for pictures in shown for picture in pictures if picture is not None)

    def to_json(self) -> str:
        """`report.json`: fields in the order of the schema, dictionaries sorted, UTF-8, one line break at the end."""
        return self.model_dump_json(indent=2) + "\n"

    def save(self, directory: str | Path, formats: Sequence[str] = ("json", "html", "md")) -> tuple[Path, ...]:
        """Writes the report and its pictures into a folder, each file whole or not at all.

        Args:
            directory: Made where absent. Files of an earlier report there are replaced.
            formats: Names out of `auditcli.report.FORMATS`.

        Returns:
            The report files in the order of `formats`.

        Raises:
            UsageError: an unknown format, or a folder that cannot be written to.
        """
        from auditcli.report import folder  # it imports this module

        return folder.write(self, Path(directory), formats)
