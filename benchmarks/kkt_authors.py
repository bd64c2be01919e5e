"""`kkt` on the victims of Haim et al., scored by their rule: `python benchmarks/kkt_authors.py --data DIR`.

`--n 500 --device cuda` is their size; the default of 50 images runs on a CPU. Victims and candidates are kept in
`--cache`; `--write` puts the table into the page, and contact sheets beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from kkt_rule import PUBLISHED, TOP, Ranking, ranked, stretched
from kkt_victims import RECIPES, Recipe, alignment, cross_entropy, dense_target, images_of, train
from page import inserted, machine, markdown
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from auditcli.attacks import all_attacks, run
from auditcli.scoring.agreement import agreement, distinct
from auditcli.types import Budget, DenseStack, Normalisation, Reconstruction, Target
from auditcli.weights import span

_TASKS = ("mnist", "cifar")
_HIDDEN = (1000, 1000)
_SHOWN = 15
_AGREEMENT = 0.9


@dataclass(frozen=True, slots=True)
class Subject:
    """A victim that reads pixels less the mean image of the training set, and the images the scoring sees."""

    target: Target
    """Each pixel is a channel of its own, so that it has its own mean and its own range."""
    members: Tensor
    controls: Tensor
    """(m, c, h, w) as many test images as there are members."""
    loss: float
    alignment: float
    seconds: float
    """Of training; 0 where it was trained before."""


def subject(task: str, arguments: argparse.Namespace) -> Subject:
    """Train the authors' network on the first images of each side, or read it.

    It is D-1000-1000-1 with one bias, its first layer starts at 1e-4, and it reads pixels less the mean image, as
    theirs. We differ in how it comes to rest: they take a million steps of plain gradient descent at 0.01, we the
    momentum and weight decay of `kkt_victims.py`.
    """
    recipe = replace(RECIPES[task], images=arguments.n, mean=0.0, std=1.0, hidden=_HIDDEN, steps=arguments.training)
    path = arguments.data / recipe.file
    members, labels = images_of(path, "train", recipe.sides, recipe.images)
    controls, _ = images_of(path, "test", recipe.sides, recipe.images)
    with np.load(path, allow_pickle=False) as stored:
        mean = torch.from_numpy(stored["x_train"].mean(axis=0, dtype=np.float64) / 255).float()
    mean = (mean[None] if mean.ndim == 2 else mean.permute(2, 0, 1)).contiguous()
    kept = arguments.cache / f"authors-{task}-{recipe.key}.safetensors"
    seconds = 0.0
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        device = torch.device(arguments.device)
        net = train(recipe, (members - mean).to(device), labels.to(device))
        seconds = time.perf_counter() - started
        save_file({name: value.contiguous().cpu() for name, value in net.state_dict().items()}, kept)
    stored = load_file(kept)
    weights = tuple(value for name, value in stored.items() if name.endswith("weight"))
    dense = DenseStack(weights, (stored["1.bias"], None, None), "relu")
    shape = (mean.numel(), 1, 1)
    target = dense_target(dense, shape, Normalisation(tuple(mean.flatten().tolist()), (1.0,)))
    with torch.no_grad():
        loss = float(cross_entropy(target((members).reshape(-1, *shape)), labels))
    return Subject(target, members, controls, loss, _aligned(recipe, target, members - mean, labels), seconds)


def _aligned(recipe: Recipe, target: Target, inputs: Tensor, labels: Tensor) -> float:
    plain = replace(target, profile=replace(target.profile, normalisation=Normalisation((0.0,), (1.0,))))
    return alignment(plain, inputs, labels)


def reconstructed(task: str, found: Subject, arguments: argparse.Namespace) -> tuple[Reconstruction, float]:
    """Run `kkt` with its defaults and nothing chosen by hand; seconds are of the wall on a GPU, else of the process."""
    (kkt,) = (attack for attack in all_attacks() if attack.name == "kkt")
    budget = Budget(arguments.steps, float("inf"), 2 * len(found.members), arguments.restarts)
    started, clock = time.process_time(), time.perf_counter()
    result = run(kkt, found.target, budget, seed=arguments.seed)
    seconds = time.process_time() - started if arguments.device == "cpu" else time.perf_counter() - clock
    shape = found.members.shape[1:]
    return replace(result, candidates=result.candidates.cpu().unflatten(2, shape).flatten(4)), seconds


def scored(task: str, found: Subject, result: Reconstruction) -> Iterator[tuple[object, ...]]:
    """Lines of the table: members, controls and what was chosen without them, beside the published pairs."""
    candidates = result.candidates.flatten(0, 1)
    for name, images in (("members", found.members), ("controls", found.controls)):
        for one_to_one in (False, True):
            ranking = ranked(candidates, images, halved=task == "cifar", one_to_one=one_to_one)
            yield f"{name}, {'one to one' if one_to_one else 'many to one'}", *_summary(ranking.top)
            if not one_to_one:
                few = ranking.ssim[: max(1, round(len(images) * TOP / 500))]
                yield f"{name}, the best 6% alone ({len(few)})", *_summary(few)
    if len(result.candidates) > 1:
        yield _agreed(task, found, result)
    best, mean, half, fair = PUBLISHED[task]
    yield "published pairs, n=500, many to one", f"{best:.3f}", f"{mean:.3f}", half, fair


def _agreed(task: str, found: Subject, result: Reconstruction) -> tuple[object, ...]:
    """What restarts agree on best, chosen without any image, each against its nearest member."""
    scores = agreement(result.candidates)
    chosen = distinct(result.candidates, scores, _AGREEMENT)[:TOP]
    if not chosen:
        return "restarts agree on none", "-", "-", "-", "-"
    picked = result.candidates.flatten(0, 1)[list(chosen)]
    best = []
    for image in picked:
        copies = found.members
        best.append(max(ranked(image[None], copies, halved=task == "cifar", one_to_one=False).ssim))
    return f"the {len(chosen)} images that restarts agree on, to any member", *_summary(sorted(best, reverse=True))


def _summary(values: tuple[float, ...] | list[float]) -> tuple[object, ...]:
    return (
        f"{values[0]:.3f}",
        f"{sum(values) / len(values):.3f}",
        sum(value > 0.5 for value in values),
        sum(value > 0.4 for value in values),
    )


def sheet(task: str, found: Subject, result: Reconstruction, path: Path) -> None:
    """A contact sheet of the best members, their candidates below."""
    candidates = result.candidates.flatten(0, 1)
    ranking: Ranking = ranked(candidates, found.members, halved=task == "cifar", one_to_one=True)
    members = found.members[list(ranking.image[:_SHOWN])]
    images = candidates[list(ranking.candidate[:_SHOWN])]
    rows = [torch.cat(list(batch), dim=2) for batch in (members, images.clamp(0, 1), stretched(images))]
    pixels = (torch.cat(rows, dim=1).permute(1, 2, 0) * 255).round().byte().numpy()
    picture = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST).save(path, optimize=True)


def main() -> None:
    """Prints a table a task, and writes it where asked."""
    arguments = _arguments()
    torch.set_num_threads(1 if arguments.device == "cpu" else torch.get_num_threads())
    header = ("of the top thirty by SSIM", "best", "mean", "above 0.5", "above 0.4")
    for task in arguments.task or _TASKS:
        found = subject(task, arguments)
        found = replace(found, target=_moved(found.target, arguments.device))
        print(f"{task}: trained in {found.seconds:.0f} s", file=sys.stderr, flush=True)
        result, seconds = _kept(task, found, arguments)
        about = _about(task, found, result, seconds, arguments)
        lines = [machine(torch.device(arguments.device)), "", about, "", *markdown(header, scored(task, found, result))]
        print("\n".join(lines))
        sheet(task, found, result, arguments.figures / f"kkt-authors-{task}-{arguments.n}.png")
        if arguments.write:
            inserted(arguments.write, f"authors-{task}-{arguments.n}", lines)


def _kept(task: str, found: Subject, arguments: argparse.Namespace) -> tuple[Reconstruction, float]:
    """The attack's result, from the cache where it is."""
    name = f"authors-{task}-{arguments.n}-{arguments.training}-{arguments.steps}-{arguments.restarts}-{arguments.seed}"
    path = arguments.cache / f"{name}.safetensors"
    about = path.with_suffix(".json")
    if not about.exists():
        result, seconds = reconstructed(task, found, arguments)
        save_file({"candidates": result.candidates.contiguous()}, path)
        rest = {**asdict(replace(result, candidates=torch.empty(0))), "seconds": seconds}
        about.write_text(json.dumps({key: value for key, value in rest.items() if key != "candidates"}) + "\n")
    rest = json.loads(about.read_text())
    return Reconstruction(candidates=load_file(path)["candidates"], **rest), rest["seconds"]


def _about(task: str, found: Subject, result: Reconstruction, seconds: float, arguments: argparse.Namespace) -> str:
    if found.target.dense is None:
        raise TypeError("a victim is a dense network")
    restarts, n = result.candidates.shape[:2]
    rank, best = span(found.target.dense).rank, min(result.objective)
    return (
        f"- {task}: {len(found.members)} images, {arguments.training} steps of training, loss {found.loss:.1e}, cosine "
        f"of layer 1 and its descent direction {found.alignment:.3f}, rank of the span {rank}; {restarts} restarts of "
        f"{n} candidates, {result.steps} steps in {seconds:.0f} s, objective {best:.2f}."
    )


def _moved(target: Target, device: str) -> Target:
    if target.dense is None:
        raise TypeError("a victim is a dense network")
    dense = replace(
        target.dense,
        weights=tuple(weight.to(device) for weight in target.dense.weights),
        biases=tuple(None if bias is None else bias.to(device) for bias in target.dense.biases),
    )
    return dense_target(dense, target.profile.input_shape, target.profile.normalisation)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of mnist.npz and cifar10.npz")
    parser.add_argument("--task", choices=_TASKS, action="append", help="default: both")
    parser.add_argument("--n", type=int, default=50, help="training images; the authors have 500")
    parser.add_argument("--training", type=int, default=8_000, help="steps of training")
    parser.add_argument("--steps", type=int, default=4_000, help="steps of the attack")
    parser.add_argument("--restarts", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cache", type=Path, default=Path("build/kkt"))
    parser.add_argument("--figures", type=Path, default=Path("build/kkt"), help="folder of the contact sheets")
    parser.add_argument("--write", type=Path, help="page whose table is replaced, e.g. docs/benchmarks-kkt.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
