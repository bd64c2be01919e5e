"""A small valid report, for the tests of the command line."""

from datetime import UTC, datetime
from typing import Any

from auditcli.report import schema


def sample_report(level: str = "none-detected", *, interrupted: bool = False, **model: Any) -> schema.Report:
    """A report with one attack, one skipped signal and the given verdict."""
    definition = schema.SsimDefinition(
        window="uniform-7", data_range=1.0, k1=0.01, k2=0.03, channels="mean", implementation="test"
    )
    ssim = schema.Ssim(
        definition=definition,
        top=(0.91, 0.4),
        mean=0.3,
        p95=0.9,
        members_over_half=1,
        members_over_half_matched=1,
        controls_over_half=0,
        n_members=2,
        n_controls=3,
    )
    return schema.Report(
        verdict=schema.Verdict(
            level=level,
            headline="One of 2 training images was recovered within 10 minutes.",
            reasons=(schema.Reason(text="members score above controls, p = 0.01", level="high"),),
            next_steps=("add 39 controls",),
            mitigations=("retrain without the leaked images",),
        ),
        model=schema.Model(
            **{
                "path": "model.safetensors",
                "sha256": "0" * 64,
                "bytes": 1234,
                "format": "safetensors",
                "family": "mlp",
                "architecture": "16-8-2, relu",
                "parameters": 154,
                "input_shape": (1, 4, 4),
                "classes": 2,
                "labels": ("cat", "dog"),
                "mean": (0.5,),
                "std": (0.25,),
                "traits": ("dense",),
                "identified_by": "weight shapes",
                "evidence": ("two linear layers",),
                "assumptions": (
                    schema.Assumption(what="activation", value="relu", why="usual", flag="--assume activation=gelu"),
                ),
                "layers": (schema.Layer(name="fc1.weight", kind="linear", shape=(8, 16), parameters=128),),
                **model,
            }
        ),
        budget=schema.Budget(
            seconds=600, seconds_used=12, stopped_by="steps", device="cpu", profile="standard", seed=0
        ),
        attacks=(
            schema.Attack(
                name="kkt",
                summary="Match the weights.",
                paper="arXiv:2206.07758",
                status="scored",
                reason="",
                negative_control=False,
                settings={"lr": 0.01},
                seconds=12.0,
                steps=100,
                restarts=1,
                candidates=4,
                stopped_by="steps",
                objective=(0.5,),
                trace=(schema.TracePoint(step=1, objective=0.5),),
                ssim=ssim,
            ),
            schema.Attack(
                name="deep_inversion",
                summary="Match batch-norm statistics.",
                paper="arXiv:1912.08795",
                status="skipped",
                reason="needs batch-norm; this mlp has none",
                negative_control=False,
                settings={},
                seconds=0.0,
                steps=0,
                restarts=0,
                candidates=0,
                stopped_by="",
                objective=(),
                trace=(),
                ssim=None,
            ),
        ),
        members=(),
        membership=(
            schema.Membership(
                signal="loss",
                summary="Loss of the true label.",
                paper="arXiv:1709.01604",
                status="skipped",
                reason="needs labels",
                auc=None,
                tpr_at_fpr=None,
                test=None,
                n_members=2,
                n_controls=3,
                roc=(),
            ),
        ),
        evidence=None,
        controls=schema.Controls(
            n_members=2,
            n_controls=3,
            controls_to_flag_one=39,
            alpha=0.05,
            false_discovery_rate=0.05,
            negative_alpha=0.001,
            reconstruction_test=None,
            negative=None,
            members_ssim=(0.91, 0.4),
            controls_ssim=(0.1, 0.2, 0.3),
            positive=(
                schema.PositiveControl(
                    kind="reconstruction",
                    method="kkt",
                    fixture="mlp-leaky",
                    recovered=9,
                    of=10,
                    passed=True,
                    detail="as many as it must",
                ),
            ),
        ),
        gallery=(),
        redaction=schema.Redaction(names="hashed", reconstructions="left out", images=False),
        interrupted=interrupted,
        manifest=schema.Manifest(
            privaudit="0.1.0",
            python="3.11",
            torch="2.13.0",
            cuda=None,
            platform="Linux",
            packages={},
            files=(schema.FileHash(role="model", name="model.safetensors", sha256="0" * 64),),
            command="privaudit scan model.safetensors",
            started=datetime(2026, 1, 1, tzinfo=UTC),
            finished=datetime(2026, 1, 1, 0, 1, tzinfo=UTC),
        ),
    )
