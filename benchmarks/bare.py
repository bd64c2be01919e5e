"""What privaudit makes of hand-written models saved bare: the right graph, an honest question, or a wrong graph?

    python benchmarks/bare.py [--only TEXT] [--verbose]

Every module of `bare_models.py` is saved as a state dict and nothing else, identified twice, and compared with the
original (logits on four images, and the gradient of a random sum of them with respect to the pixels): once bare, once
with what its author could state by `--assume`. The outcomes:

    right                      no assumption was needed
    right, assumed             right, with assumptions listed
    question                   something is open, and the user is asked for it
    refused                    it is called none of the models that can be rebuilt
    wrong, assumption listed   not the original; every difference is listed as an assumption
    WRONG                      not the original, and something that differs is not listed: must not happen
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from bare_case import Case, saved
from bare_models import cases
from safetensors.torch import save_file
from torch import Tensor, nn

from auditcli.errors import AuditError, OpenQuestion
from auditcli.families import Options, build, identify
from auditcli.loading import load
from auditcli.types import Assumption, Profile, Target

LOGITS, GRADIENT = 1e-3, 1e-3
OUTCOMES = ("right", "right, assumed", "question", "refused", "wrong, assumption listed", "WRONG")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one saved module."""

    word: str
    """One of `OUTCOMES`."""
    detail: str
    logits: float | None = None
    gradient: float | None = None
    candidates: int = 0
    """Answers that a question lists."""


def bare(case: Case, folder: Path) -> Outcome:
    """Identified without a word from its author."""
    return judged(case, Options(), folder)


def stated(case: Case, folder: Path) -> Outcome:
    """Identified with everything that its author could state."""
    said = Options(input_shape=case.shape, mean=(0.0,), std=(1.0,), assume=_statable(case.truth))
    return judged(case, said, folder)


def judged(case: Case, options: Options, folder: Path) -> Outcome:
    """Save, identify, build, compare."""
    module, state = saved(case)
    path = folder / "model.safetensors"
    save_file(state, path)
    checkpoint = load(path)
    try:
        profile = identify(checkpoint, options)
        target = build(checkpoint, profile, options)
    except OpenQuestion as question:
        return Outcome("question", question.message.removeprefix(f"{path.name}: "), candidates=len(question.candidates))
    except AuditError as error:
        return Outcome("refused", error.message.removeprefix(f"{path.name}: "))
    logits, gradient = _differences(case, module, target)
    assumed = "; ".join(f"{one.what} = {one.value}" for one in profile.assumptions)
    if logits <= LOGITS and gradient <= GRADIENT:
        return Outcome("right, assumed" if profile.assumptions else "right", assumed, logits, gradient)
    word = "wrong, assumption listed" if _explained(case, profile, options, folder) else "WRONG"
    return Outcome(word, assumed, logits, gradient)


def _explained(case: Case, profile: Profile, options: Options, folder: Path) -> bool:
    """Whether it would be right, were the assumptions that differ from the truth the truth.

    What cannot be stated, such as a shortcut, explains it where an assumption is listed about just that.
    """
    assumed = {_key(one): one.value for one in profile.assumptions}
    truth = dict(case.truth) | {"input_shape": "x".join(map(str, case.shape))}
    different = {key: value for key, value in truth.items() if key in assumed and assumed[key] != value}
    said = _statable(different)
    if "input_shape" in different:
        options = replace(options, input_shape=case.shape)
    elif len(said) < len(different):
        return True
    elif not said:
        return False
    return judged(case, replace(options, assume={**options.assume, **said}), folder).word.startswith("right")


def _key(assumption: Assumption) -> str:
    """The key of `--assume` that corrects an assumption, else what it is about."""
    key = assumption.flag.removeprefix("--assume ").partition("=")[0]
    return key if "--assume" in assumption.flag else assumption.what.replace(" ", "_")


def _statable(truth: Mapping[str, str]) -> dict[str, str]:
    """What `--assume` can say of it."""
    said = {}
    for key, value in truth.items():
        with suppress(AuditError):
            Options(assume={key: value})
            said[key] = value
    return said


def _differences(case: Case, module: nn.Module, target: Target) -> tuple[float, float]:
    """Of logits (absolute, relative above 1) and of the gradient (relative)."""
    if case.shape != target.profile.input_shape:
        return float("inf"), float("inf")
    rng = torch.Generator().manual_seed(1)
    images = torch.rand(4, *case.shape, generator=rng)
    theirs, their_slope = _logits_and_slope(module, images, case)
    ours, our_slope = _logits_and_slope(target.module, images, case)
    if ours.shape != theirs.shape:
        return float("inf"), float("inf")
    largest = max(1.0, theirs.abs().max().item())
    slope = (our_slope - their_slope).norm() / their_slope.norm().clamp_min(1e-12)
    return (ours - theirs).abs().max().item() / largest, slope.item()


def _logits_and_slope(module: nn.Module, images: Tensor, case: Case) -> tuple[Tensor, Tensor]:
    images = images.clone().requires_grad_()
    logits = module(images)
    logits = logits.log_softmax(1) if case.probabilities else logits
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))
    (slope,) = torch.autograd.grad((logits * weights).sum(), images)
    return logits.detach(), slope


def main(words: Sequence[str] | None = None) -> int:
    """Print the table; exit 1 where a wrong graph was accepted without a word."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--verbose", action="store_true", help="also what was assumed, asked or refused")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    began, counts = time.monotonic(), (Counter[str](), Counter[str]())
    print("| model | saved bare | with its author's --assume |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for case in cases():
            if given.only.casefold() not in case.name.casefold():
                continue
            found = bare(case, Path(folder)), stated(case, Path(folder))
            for count, outcome in zip(counts, found, strict=True):
                count[outcome.word] += 1
            print(f"| {case.name} | {_cell(found[0])} | {_cell(found[1])} |", flush=True)
            if given.verbose:
                print("".join(f"|  | {one.detail} |\n" for one in found), end="")
    for name, count in zip(("bare", "stated"), counts, strict=True):
        print(f"\n{name}: " + ", ".join(f"{count[word]} {word}" for word in OUTCOMES))
    print(f"\n{counts[0].total()} models, {time.monotonic() - began:.0f} s")
    return int(any(count["WRONG"] for count in counts))


def _cell(outcome: Outcome) -> str:
    if outcome.word == "question" and outcome.candidates:
        return f"question, {outcome.candidates} answers listed"
    return outcome.word


if __name__ == "__main__":
    sys.exit(main())
