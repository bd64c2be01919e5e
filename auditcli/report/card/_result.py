"""What a report says to machines that read model cards: one result of a `model-index`.

Public names: `SOURCE`, `result`, `available`. The shape is made by huggingface_hub, the extra `hf`; it is imported
where it is used, since everything else about a card does without it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from auditcli.report import number, summary
from auditcli.report.schema import Interval, Report
from auditcli.report.text import clean

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

SOURCE = "privaudit"
"""The name of the source, by which a result is known to be ours."""
URL = "https://pypi.org/project/privaudit/"
DIGITS = 4


def available() -> bool:
    """Whether huggingface_hub is installed."""
    try:
        importlib.import_module("huggingface_hub")
    except ImportError:
        return False
    return True


def result(report: Report) -> dict[str, Any]:
    """The audit as one entry of the `results` of a `model-index`.

    What was not measured is left out. `verified` and `verifyToken` are never there: nobody but the report's author
    stands for these figures.
    """
    from huggingface_hub.repocard_data import eval_results_to_model_index

    (index,) = eval_results_to_model_index(SOURCE, list(_metrics(report)))
    (entry,) = index["results"]
    return dict(entry)


def _metrics(report: Report) -> Iterator[EvalResult]:
    yield _metric(
        report, "privacy_verdict", "Verdict of the privacy audit", report.verdict.level, **_circumstances(report)
    )
    controls = report.controls
    if report.members and controls.n_controls:
        of = {"of": len(report.members), "false_discovery_rate": controls.false_discovery_rate}
        recovered = len(summary.leaked(report))
        yield _metric(report, "training_images_recovered", "Training images recovered", recovered, **of)
    signal = summary.best_signal(report)
    if signal is None or signal.auc is None:
        return
    yield _estimate(report, "membership_auc", "Membership AUC", signal.auc, signal.signal)
    if signal.tpr_at_fpr is not None and signal.tpr_at_fpr.at_1_percent is not None:
        rate = signal.tpr_at_fpr.at_1_percent
        yield _estimate(report, "membership_tpr_at_1_percent_fpr", "TPR at 1% FPR", rate, signal.signal)


def _circumstances(report: Report) -> dict[str, Any]:
    """What the verdict is about and what it cost."""
    return {
        "sha256": clean(report.model.sha256),
        "audited": number.moment(report.manifest.finished),
        "privaudit": clean(report.manifest.privaudit),
        "budget_seconds": report.budget.seconds,
        **({"interrupted": True} if report.interrupted else {}),
    }


def _estimate(report: Report, type: str, name: str, value: Interval, signal: str) -> EvalResult:
    low, high = round(value.low, DIGITS), round(value.high, DIGITS)
    return _metric(report, type, name, round(value.value, DIGITS), signal=clean(signal), low=low, high=high)


def _metric(report: Report, type: str, name: str, value: float | str, **arguments: Any) -> EvalResult:
    from huggingface_hub import EvalResult

    controls = report.controls
    members, others = number.count(controls.n_members, "member"), number.count(controls.n_controls, "control")
    given = controls.n_members or controls.n_controls
    return EvalResult(
        task_type="image-classification",
        dataset_type="members-and-controls" if given else "weights-alone",
        dataset_name=f"The auditor's {members} and {others}" if given else "No images: the weights alone",
        dataset_args={"members": controls.n_members, "controls": controls.n_controls},
        metric_type=type,
        metric_name=name,
        metric_value=value,
        metric_args=arguments,
        source_name=SOURCE,
        source_url=URL,
    )
