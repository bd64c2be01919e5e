"""Realistic reports for the tests: one for each level, made of fixed random numbers; no model is involved."""

from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from random import Random

import numpy as np
from PIL import Image

from auditcli.report import Report
from auditcli.report import schema as s

LEVELS = ("none-detected", "low", "moderate", "high", "critical", "inconclusive")
MEMBERS, CONTROLS, ALPHA, SIDE = 60, 400, 0.05, 16
HASH = sha256(b"weights").hexdigest()
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
LEAKED = {"none-detected": 0, "low": 0, "moderate": 0, "high": 0, "critical": 14, "inconclusive": 0}
SHIFT = {"none-detected": 0.0, "low": 0.02, "moderate": 0.04, "high": 0.12, "critical": 0.05, "inconclusive": 0.0}
AUC = {"none-detected": 0.508, "low": 0.561, "moderate": 0.668, "high": 0.741, "critical": 0.874}
RECONSTRUCTION_P = {"none-detected": 0.43, "low": 0.021, "moderate": 0.0031, "high": 0.00008, "critical": 0.0000002}
HEADLINES = {
    "none-detected": "No training-data leak was detected within 10 min on one CPU (3 attacks, 2 membership signals).",
    "low": "A weak leak of training data was measured within 10 min on one CPU.",
    "moderate": "Training images can be told from others better than chance: found within 10 min on one CPU.",
    "high": "As a group, training images can be reconstructed from the weights: found within 10 min on one CPU.",
    "critical": "14 of 60 training images were recovered from the weights within 10 min on one CPU.",
    "inconclusive": "Whether the model leaks could not be established within 10 min on one CPU.",
}


def example(level: str, *, pictures: bool = True, **changes: object) -> Report:
    """A report of that level: 60 members and 400 controls; the inconclusive one had no images at all."""
    rng = Random(level)
    blind = level == "inconclusive"
    members, controls = ((), ()) if blind else _similarities(rng, level)
    images = _pictures(level, blind) if pictures else {}
    fields = {
        "verdict": _verdict(level),
        "model": _model(),
        "budget": s.Budget(
            seconds=600, seconds_used=552.4, stopped_by="steps", device="cpu", profile="standard", seed=0
        ),
        "attacks": _attacks(rng, level, members, controls),
        "members": _members(level, members, controls),
        "membership": _membership(rng, level),
        "evidence": _evidence(rng, level),
        "plan": _plan(blind),
        "comparability": None if blind else _comparability(level),
        "controls": _controls(level, members, controls),
        "gallery": _gallery(rng, level, images, members),
        "redaction": s.Redaction(names="shown", reconstructions="sharp" if pictures else "left out", images=pictures),
        "interrupted": False,
        "manifest": _manifest(blind),
    }
    report = Report(**(fields | changes))
    return report.with_pictures({picture.file: images[picture.file] for picture in report.named_pictures()})


def undrawn(report: Report) -> Report:
    """The same without what is plotted: rendering it takes milliseconds."""
    return report.model_copy(
        update={
            "attacks": tuple(attack.model_copy(update={"trace": ()}) for attack in report.attacks),
            "membership": tuple(signal.model_copy(update={"roc": ()}) for signal in report.membership),
            "controls": report.controls.model_copy(update={"members_ssim": (), "controls_ssim": ()}),
        }
    )


def hostile(text: str) -> Report:
    """A report that says `text` in every place that a stranger's file or its author's images can reach."""
    report = example("critical")
    model = report.model.model_copy(
        update={
            "path": text,
            "architecture": text,
            "labels": (text, text),
            "traits": (text,),
            "identified_by": text,
            "evidence": (text,),
            "assumptions": (s.Assumption(what=text, value=text, why=text, flag=text),),
            "layers": (s.Layer(name=text, kind=text, shape=(1, 2), parameters=2),),
            "statements": (s.Statement(what=text, value=text, why=text),),
        }
    )
    attacks = tuple(
        attack.model_copy(
            update={"name": text, "summary": text, "paper": text, "reason": text, "settings": {text: text}}
        )
        for attack in report.attacks
    )
    membership = tuple(
        signal.model_copy(
            update={
                "signal": text,
                "summary": text,
                "paper": text,
                "reason": text,
                "exposed": tuple(exposure.model_copy(update={"id": text}) for exposure in signal.exposed),
            }
        )
        for signal in report.membership
    )
    gallery = tuple(
        item.model_copy(
            update={
                "attack": text,
                "label": text,
                "evidence": text,
                "member_id": text,
                "control_id": text,
                "reconstruction": item.reconstruction and item.reconstruction.model_copy(update={"alt": text}),
            }
        )
        for item in report.gallery
    )
    verdict = s.Verdict(
        level="critical",
        headline=text,
        reasons=(s.Reason(text=text, level="high"),),
        next_steps=(text,),
        mitigations=(text,),
    )
    positive = tuple(
        c.model_copy(update={"method": text, "fixture": text, "detail": text}) for c in report.controls.positive
    )
    test = s.Test(name=text, statistic=1.0, p_value=0.01)
    changed = report.model_copy(
        update={
            "verdict": verdict,
            "model": model,
            "attacks": attacks,
            "members": tuple(m.model_copy(update={"id": text, "attack": text}) for m in report.members),
            "membership": membership,
            "gallery": gallery,
            "plan": report.plan and report.plan.model_copy(update={"sentences": (text,)}),
            "comparability": report.comparability
            and report.comparability.model_copy(
                update={
                    "tells": (text,),
                    "left_out": (s.LeftOut(id=text, role="control", like=text, why="near copy"),),
                }
            ),
            "evidence": report.evidence and report.evidence.model_copy(update={"attack": text, "test": test}),
            "controls": report.controls.model_copy(update={"positive": positive, "reconstruction_test": test}),
            "manifest": report.manifest.model_copy(
                update={
                    "command": text,
                    "platform": text,
                    "packages": {text: text},
                    "torch": text,
                    "privaudit": text,
                    "files": tuple(f.model_copy(update={"name": text}) for f in report.manifest.files),
                }
            ),
        }
    )
    return Report.model_validate(changed.model_dump()).with_pictures(report.pictures)


def _verdict(level: str) -> s.Verdict:
    reasons = {
        "none-detected": [
            ("Members do not score above controls in reconstruction (p = 0.43).", "none-detected"),
            ("No membership signal tells members from controls (best AUC 0.508).", "none-detected"),
            (
                "The positive controls passed: the same attacks at this budget find the leak of a shipped model.",
                "none-detected",
            ),
        ],
        "low": [("Members score slightly above controls in reconstruction (p = 0.021).", "low", "PA002")],
        "moderate": [("The signal loss ranks members above controls: AUC 0.668, at least 0.60.", "moderate", "PA004")],
        "high": [
            ("Reconstructions match members better than controls (p < 0.0001).", "high", "PA002"),
            ("The signal loss ranks members above controls: AUC 0.741.", "moderate", "PA004"),
        ],
        "critical": [
            ("14 training images were recovered, each at q of at most 0.05 against 400 controls.", "critical", "PA001"),
            ("Independent restarts agree on 17 images; on shuffled weights they agree on none.", "high", "PA006"),
            ("The signal loss tells members from controls: AUC 0.874.", "moderate", "PA004"),
        ],
        "inconclusive": [
            (
                "No training images were given, so nothing could be compared with the originals.",
                "inconclusive",
                "PA106",
            ),
            (
                "The positive control recovered 3 of 20 images at this budget, fewer than the 10 it needs.",
                "inconclusive",
                "PA113",
            ),
        ],
    }[level]
    mitigations = {
        "critical": (
            "Do not publish these weights. Whoever holds the file can repeat this.",
            "Retrain with differential privacy, or on more images for fewer epochs, and audit again.",
            "Tell the people whose images came back, where your law asks for it.",
        ),
        "high": ("Hold the release back until the model was retrained with regularisation.", "Audit again after that."),
        "moderate": ("Weigh whether being known as part of the training set harms anyone.",),
        "low": ("Write the figures into the model card.",),
    }.get(level, ())
    next_steps = {
        "inconclusive": (
            "Give images the model was trained on, and images it never saw: --reference DIR --controls DIR",
            "Give more time: --budget 2h",
        ),
        "none-detected": ("Give 1199 controls, to be able to flag a single image: --controls DIR",),
        "low": ("Give more time: --budget 2h",),
    }.get(level, ())
    return s.Verdict(
        level=level,
        headline=HEADLINES[level],
        reasons=tuple(s.Reason(text=text, level=name, id="".join(ids)) for text, name, *ids in reasons),
        next_steps=next_steps,
        mitigations=mitigations,
    )


def _model() -> s.Model:
    shapes = (
        ("net.0.weight", (500, 768)),
        ("net.0.bias", (500,)),
        ("net.2.weight", (500, 500)),
        ("net.4.weight", (10, 500)),
    )
    layers = tuple(s.Layer(name=n, kind="linear", shape=shape, parameters=int(np.prod(shape))) for n, shape in shapes)
    return s.Model(
        path="thumbnails-mlp.safetensors",
        sha256=HASH,
        bytes=2_558_544,
        format="safetensors",
        family="mlp",
        architecture="768-500-500-10, relu",
        parameters=sum(layer.parameters for layer in layers),
        input_shape=(3, SIDE, SIDE),
        classes=10,
        labels=CLASSES,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.247, 0.2435, 0.2616),
        traits=("dense", "first-layer-linear", "homogeneous"),
        identified_by="a chain of linear layers whose shapes fit end to end",
        evidence=("net.0.weight (500, 768) reads 3 x 16 x 16", "no normalisation layers"),
        assumptions=(
            s.Assumption(
                what="activation", value="relu", why="the weights do not tell", flag="--assume activation=relu"
            ),
            s.Assumption(
                what="mean, std",
                value="those of CIFAR-10",
                why="3 x 16 x 16, 10 classes",
                flag="--mean R,G,B --std R,G,B",
            ),
        ),
        layers=layers,
    )


def _similarities(rng: Random, level: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    controls = tuple(round(min(0.6, max(0.02, rng.gauss(0.24, 0.06))), 4) for _ in range(CONTROLS))
    members = [round(min(0.6, max(0.02, rng.gauss(0.24 + SHIFT[level], 0.06))), 4) for _ in range(MEMBERS)]
    if LEAKED[level]:
        members = [min(ssim, 0.37) for ssim in members]
    for index in range(LEAKED[level]):
        members[index * 4] = round(rng.uniform(0.64, 0.91), 4)
    return tuple(members), controls


def _p_values(members: tuple[float, ...], controls: tuple[float, ...]) -> list[float]:
    return [(1 + sum(c >= m for c in controls)) / (len(controls) + 1) for m in members]


def _q_values(p_values: list[float]) -> list[float]:
    order = sorted(range(len(p_values)), key=p_values.__getitem__, reverse=True)
    q_values, lowest = [0.0] * len(p_values), 1.0
    for rank, index in zip(range(len(p_values), 0, -1), order, strict=True):
        lowest = min(lowest, p_values[index] * len(p_values) / rank)
        q_values[index] = round(lowest, 6)
    return q_values


def _members(level: str, members: tuple[float, ...], controls: tuple[float, ...]) -> tuple[s.Member, ...]:
    if not members:
        return ()
    p_values = _p_values(members, controls)
    return tuple(
        s.Member(
            id=f"{CLASSES[index % 10]}/{index:05d}.png",
            best_ssim=ssim,
            matched_ssim=ssim if index % 3 else -1.0,
            attack="kkt" if index % 4 == 0 else "span",
            p_value=round(p, 6),
            q_value=q,
            leaked=LEAKED[level] > 0 and q <= ALPHA,
        )
        for index, (ssim, p, q) in enumerate(zip(members, p_values, _q_values(p_values), strict=True))
    )


def _attacks(rng: Random, level: str, members: tuple[float, ...], controls: tuple[float, ...]) -> tuple[s.Attack, ...]:
    ran = "scored" if members else "unscored"
    unscored = "" if members else "no training images were given to compare with"
    definition = s.SsimDefinition(
        window="uniform-7", data_range=1.0, k1=0.01, k2=0.03, channels="mean", implementation="scikit-image 0.26.0"
    )

    def attack(name: str, summary: str, paper: str, start: float, ssim: tuple[float, ...], **more: object) -> s.Attack:
        trace = [
            (step, start * (0.12 + 0.88 / (1 + step / 180)) * (1 + 0.01 * rng.random())) for step in range(0, 4001, 80)
        ]
        fields = {
            "status": ran,
            "reason": unscored,
            "negative_control": False,
            "settings": {"lr": 0.01, "min_lambda": 0.05},
            "seconds": 171.3,
            "steps": 4000,
            "restarts": 3,
            "candidates": 200,
            "stopped_by": "steps",
            "objective": tuple(round(trace[-1][1] * factor, 5) for factor in (1, 1.02, 1.04)),
            "trace": tuple(s.TracePoint(step=step, objective=round(value, 5)) for step, value in trace),
            "ssim": _ssim(definition, ssim, controls) if ssim else None,
        }
        return s.Attack(name=name, summary=summary, paper=paper, **(fields | more))

    idle = {
        "seconds": 0.0,
        "steps": 0,
        "restarts": 0,
        "candidates": 0,
        "stopped_by": "",
        "objective": (),
        "trace": (),
        "settings": {},
    }
    return (
        attack(
            "kkt", "Match the weights to a weighted sum of per-candidate gradients.", "arXiv:2206.07758", 410.0, members
        ),
        attack(
            "span",
            "Unmix the rows of the first layer into the inputs they are made of.",
            "",
            3.2,
            tuple(round(m * 0.93, 4) for m in members),
            settings={"tolerance": 1e-6},
        ),
        attack(
            "deep_inversion",
            "Fit batch statistics and class logits.",
            "arXiv:1912.08795",
            1.0,
            (),
            status="skipped",
            reason="needs batch norm; this MLP has none",
            **idle,
        ),
        attack(
            "diffusion_prior",
            "Descend through a shipped image prior.",
            "",
            1.0,
            (),
            status="failed",
            reason="the objective became NaN at step 212; the attack was stopped",
            **(idle | {"steps": 212, "seconds": 9.8}),
        ),
        attack(
            "noise",
            "Guess without looking at the weights.",
            "",
            1.0,
            tuple(round(m * 0.4, 4) for m in members),
            negative_control=True,
            **(idle | {"steps": 1, "seconds": 0.2, "restarts": 1, "candidates": 200, "stopped_by": "exhausted"}),
        ),
    )


def _ssim(definition: s.SsimDefinition, members: tuple[float, ...], controls: tuple[float, ...]) -> s.Ssim:
    ordered = sorted(members, reverse=True)
    return s.Ssim(
        definition=definition,
        top=tuple(ordered[:10]),
        mean=round(sum(members) / len(members), 4),
        p95=ordered[2],
        members_over_half=sum(m >= 0.5 for m in members),
        members_over_half_matched=max(0, sum(m >= 0.5 for m in members) - 1),
        controls_over_half=sum(c >= 0.5 for c in controls),
        n_members=len(members),
        n_controls=len(controls),
    )


def _membership(rng: Random, level: str) -> tuple[s.Membership, ...]:
    if level == "inconclusive":
        return (
            s.Membership(
                signal="loss",
                summary="Cross-entropy of the true label.",
                paper="arXiv:1709.01604",
                status="skipped",
                reason="needs members and controls; none were given",
                auc=None,
                tpr_at_fpr=None,
                test=None,
                n_members=0,
                n_controls=0,
                roc=(),
            ),
        )
    return (
        _signal(rng, "loss", "Cross-entropy of the true label.", "arXiv:1709.01604", AUC[level]),
        _signal(rng, "gradient_norm", "Norm of the gradient at the image.", "", 0.5 + (AUC[level] - 0.5) * 0.6),
        s.Membership(
            signal="label_only",
            summary="Distance to the decision boundary.",
            paper="arXiv:2007.14321",
            status="failed",
            reason="ran out of its share of the budget before the first score",
            auc=None,
            tpr_at_fpr=None,
            test=None,
            n_members=MEMBERS,
            n_controls=CONTROLS,
            roc=(),
        ),
    )


def _signal(rng: Random, name: str, summary: str, paper: str, auc: float) -> s.Membership:
    shift = (auc - 0.5) * 4.2
    members = [rng.gauss(shift, 1) for _ in range(MEMBERS)]
    controls = [rng.gauss(0, 1) for _ in range(CONTROLS)]
    cuts = sorted({*members, *controls}, reverse=True)
    roc = [(0.0, 0.0)]
    roc += [(sum(c >= cut for c in controls) / CONTROLS, sum(m >= cut for m in members) / MEMBERS) for cut in cuts[::4]]

    def tpr(limit: float) -> float:
        return max(t for f, t in roc if f <= limit)

    def interval(value: float, half: float) -> s.Interval:
        low, high = round(max(0.0, value - half), 4), round(min(1.0, value + half), 4)
        return s.Interval(value=round(value, 4), low=low, high=high)

    return s.Membership(
        signal=name,
        summary=summary,
        paper=paper,
        status="scored",
        reason="",
        auc=interval(auc, 0.055),
        tpr_at_fpr=s.TprAtFpr(**{"0.1%": None, "1%": interval(tpr(0.01), 0.07), "10%": interval(tpr(0.1), 0.1)}),
        test=s.Test(
            name="Mann-Whitney, one-sided",
            statistic=round(auc * MEMBERS * CONTROLS, 1),
            p_value=0.41 if auc < 0.53 else 0.0004,
        ),
        n_members=MEMBERS,
        n_controls=CONTROLS,
        roc=tuple(s.RocPoint(fpr=round(f, 5), tpr=round(t, 5)) for f, t in [*roc, (1.0, 1.0)]),
        **_exposed(members, controls),
    )


def _exposed(members: list[float], controls: list[float]) -> dict[str, object]:
    ranked = sorted(enumerate(members), key=lambda pair: -pair[1])
    p_values = [(1 + sum(c >= score for c in controls)) / (CONTROLS + 1) for _, score in ranked]
    scaled = [min(1.0, p * MEMBERS / (place + 1)) for place, p in enumerate(p_values)]
    q_values = [min(scaled[place:]) for place in range(MEMBERS)]
    rows = [
        s.Exposure(id=f"member-{index:03}.png", score=round(score, 4), p_value=round(p, 5), q_value=round(q, 5))
        for (index, score), p, q in zip(ranked, p_values, q_values, strict=True)
    ]
    return {"exposed": tuple(rows[:5]), "named": sum(row.q_value <= 0.05 for row in rows)}


def _plan(blind: bool) -> s.Plan:
    """As `privaudit plan` has it for these numbers, rounded."""
    names = () if blind else ("reconstruction", "signal")
    return s.Plan(
        n_members=0 if blind else MEMBERS,
        n_controls=0 if blind else CONTROLS,
        shadow_controls=0,
        n_tests=4,
        alpha=0.01,
        tests=tuple(
            s.PlannedTest(
                name=name,
                n_members=MEMBERS,
                n_controls=CONTROLS,
                least_p=1e-72,
                significant=True,
                detectable_auc=0.637,
            )
            for name in names
        ),
        controls_to_flag_one=0 if blind else 1199,
        flagged_together=None if blind else 3,
        recovered_together=None if blind else 4,
        levels=("high", "none-detected") if blind else ("critical", "high", "moderate", "low", "none-detected"),
        without_images=blind,
        best_tpr=None if blind else 0.95,
        best_auc=None if blind else 0.98,
        moderate_auc=None if blind else 0.68,
        resolved_rates=() if blind else (0.01, 0.1),
        bounded_rates=() if blind else (0.01, 0.1),
        sentences=(
            "Without members and controls only the weights can speak. Add 20 members and 399 controls."
            if blind
            else "A single training image cannot be flagged: 3 of 60 must come back together. Add 799 controls.",
        ),
    )


def _comparability(level: str) -> s.Comparability:
    return s.Comparability(
        blind=s.Test(name="blind classifiers, 9,999 permutations", statistic=2.1, p_value=0.31),
        auc=0.54,
        tells=(),
        left_out=(s.LeftOut(id="control-017.png", role="control", like="control-003.png", why="repeat"),),
        accuracy_members=1.0 if level in ("critical", "high") else 0.91,
        accuracy_controls=0.88,
    )


def _evidence(rng: Random, level: str) -> s.Evidence:
    found = {"critical": 17, "high": 6}.get(level, 0)
    agreement = [round(rng.uniform(0.93, 0.99), 4) for _ in range(found)]
    agreement += [round(rng.uniform(0.05, 0.4), 4) for _ in range(24 - found)]
    return s.Evidence(
        attack="kkt",
        agreement=tuple(agreement),
        reproduced=found,
        threshold=0.9,
        explained=0.71 if found else 0.22,
        shuffled_reproduced=(0, 0, 0),
        shuffled_explained=(0.21, 0.22, 0.2),
        test=s.Test(name="exact permutation of restarts", statistic=float(found), p_value=0.002 if found else 0.61),
        significant=found > 0,
    )


def _controls(level: str, members: tuple[float, ...], controls: tuple[float, ...]) -> s.Controls:
    recovered = 3 if level == "inconclusive" else 18
    positive = [
        s.PositiveControl(
            kind="reconstruction",
            method="kkt",
            fixture="mlp-16x16",
            recovered=recovered,
            of=20,
            passed=recovered >= 10,
            detail="An image counts as recovered at SSIM of at least 0.5; 10 are needed.",
        )
    ]
    if members:
        positive.append(
            s.PositiveControl(
                kind="membership",
                method="loss",
                fixture="mlp-16x16",
                recovered=19,
                of=20,
                passed=True,
                detail="Counted at 10% false alarms.",
            )
        )
    test = (
        s.Test(name="Mann-Whitney, one-sided", statistic=15210.0, p_value=RECONSTRUCTION_P[level]) if members else None
    )
    return s.Controls(
        n_members=len(members),
        n_controls=len(controls),
        controls_to_flag_one=1199 if members else None,
        alpha=ALPHA,
        false_discovery_rate=0.05,
        negative_alpha=0.001,
        reconstruction_test=test,
        negative=s.Test(name="Mann-Whitney, one-sided", statistic=11987.0, p_value=0.52) if members else None,
        members_ssim=members,
        controls_ssim=controls,
        positive=tuple(positive),
    )


def _gallery(
    rng: Random, level: str, images: dict[str, bytes], members: tuple[float, ...]
) -> tuple[s.GalleryItem, ...]:
    def picture(rank: int, kind: str, alt: str) -> s.Picture | None:
        file = f"gallery/{rank:03d}-{kind}.png"
        return s.Picture(file=file, sha256=sha256(images[file]).hexdigest(), alt=alt) if file in images else None

    shown = sorted(range(len(members)), key=lambda index: -members[index])[:14] if members else range(6)
    items = []
    for rank, index in enumerate(shown, start=1):
        label = CLASSES[index % 10]
        agreement = round(rng.uniform(0.2, 0.99), 3)
        items.append(
            s.GalleryItem(
                rank=rank,
                attack="kkt",
                label=f"class {index % 10}: {label}",
                evidence="Three restarts arrived at this picture."
                if agreement > 0.9
                else "Restarts do not agree on it.",
                agreement=agreement,
                ssim=members[index] if members else None,
                control_ssim=round(rng.uniform(0.2, 0.4), 4) if members else None,
                member_id=f"{label}/{index:05d}.png" if members else None,
                control_id=f"controls.npz#{index}" if members else None,
                reconstruction=picture(rank, "reconstruction", f"Reconstruction {rank}: {label}"),
                member=picture(rank, "member", f"Training image {label}/{index:05d}.png") if rank % 5 else None,
                control=picture(rank, "control", f"Control number {index}"),
            )
        )
    return tuple(items)


def _pictures(level: str, blind: bool) -> dict[str, bytes]:
    """Small RGB pictures: a coloured disc before a gradient; the reconstruction is the noisy one."""
    rng = Random(f"{level} pictures")
    y, x = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1)
    pictures = {}
    for rank in range(1, 7 if blind else 15):
        disc = np.hypot(x - rng.uniform(0.3, 0.7), y - rng.uniform(0.3, 0.7)) < rng.uniform(0.15, 0.35)
        colours = [[rng.uniform(0.1, 0.9) for _ in range(3)] for _ in range(2)]
        image = np.where(disc[..., None], colours[0], np.stack([x, y, 1 - x], -1) * colours[1])
        noise = np.array([rng.gauss(0, 0.25 if blind else 0.1) for _ in range(image.size)]).reshape(image.shape)
        kinds = {"reconstruction": image + noise}
        if not blind:
            kinds |= {"member": image, "control": np.flip(image, (0, 1)) ** 2}
        for kind, pixels in kinds.items():
            pictures[f"gallery/{rank:03d}-{kind}.png"] = _png(pixels)
    return pictures


def _png(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8)).save(file, "PNG", compress_level=0)
    return file.getvalue()


def _manifest(blind: bool) -> s.Manifest:
    images = "" if blind else " --reference members --controls controls.npz"
    files = [s.FileHash(role="model", name="thumbnails-mlp.safetensors", sha256=HASH)]
    if not blind:
        files.append(s.FileHash(role="members", name="members", sha256=sha256(b"members").hexdigest()))
        files.append(s.FileHash(role="controls", name="controls.npz", sha256=sha256(b"controls").hexdigest()))
    return s.Manifest(
        privaudit="0.1.0",
        python="3.11.2",
        torch="2.13.0+cpu",
        cuda=None,
        platform="Linux x86_64",
        packages={"scikit-image": "0.26.0", "numpy": "2.4.0", "scipy": "1.17.1"},
        files=tuple(files),
        command=f"privaudit scan thumbnails-mlp.safetensors{images} --budget 10m --seed 0 --include-images",
        started=datetime(2026, 3, 2, 9, 14, 5, tzinfo=UTC),
        finished=datetime(2026, 3, 2, 9, 23, 17, tzinfo=UTC),
    )
