"""The frozen values that travel between the stages, and nothing else.

One type per arrow::

    path --load--> Checkpoint --identify--> Profile --build--> Target --attack(budget)--> Reconstruction
    Reconstructions, members, controls --score, calibrate--> Findings --judge--> Verdict

Dimensions: n candidates, r restarts, m members, k controls, d = c*h*w input values, c h w channels, height, width.
Pixels are float32 in [0, 1]; `seconds`, `steps` and `bytes` name their unit; every probability is in [0, 1].
"""

from auditcli.types.attack import Budget, Progress, Reconstruction, Step, StopReason, Watcher
from auditcli.types.checkpoint import Checkpoint, Format, Graph, Node
from auditcli.types.finding import (
    Evidence,
    Exposure,
    Interval,
    Level,
    MemberFinding,
    PositiveControl,
    Reason,
    SignalFinding,
    Similarity,
    Test,
    Verdict,
)
from auditcli.types.plan import Plan, PlannedTest
from auditcli.types.profile import Assumption, Family, Layer, Normalisation, Profile, Statement, Trait
from auditcli.types.sample import Comparability, LeftOut, Sample, Shadows
from auditcli.types.target import BinarisedStack, DenseStack, Head, Target, WeightSpan

__all__ = [
    "Assumption",
    "BinarisedStack",
    "Budget",
    "Checkpoint",
    "Comparability",
    "DenseStack",
    "Evidence",
    "Exposure",
    "Family",
    "Format",
    "Graph",
    "Head",
    "Interval",
    "Layer",
    "LeftOut",
    "Level",
    "MemberFinding",
    "Node",
    "Normalisation",
    "Plan",
    "PlannedTest",
    "PositiveControl",
    "Profile",
    "Progress",
    "Reason",
    "Reconstruction",
    "Sample",
    "Shadows",
    "SignalFinding",
    "Similarity",
    "Statement",
    "Step",
    "StopReason",
    "Target",
    "Test",
    "Trait",
    "Verdict",
    "Watcher",
    "WeightSpan",
]
