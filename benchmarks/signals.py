"""All membership signals on the same victims, with enough controls for a false-positive rate of 0.1%.

    OMP_NUM_THREADS=1 python benchmarks/signals.py --data DIR --cache DIR --write docs/signals.md

Victims are those of the zoo, trained now where they are not there yet. Each becomes a JSON file in the cache as soon
as it is measured, and shadow models are kept there too; an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from signals_page import Bout, Run, Score, bout, page, table
from signals_page import draw as draw_figure
from zoo_audits import code
from zoo_cache import Cache, Victim
from zoo_images import Images, draw, for_backbones, load_pool, save
from zoo_recipes import Head, Recipe
from zoo_rows import Estimate
from zoo_victims import VICTIMS

from auditcli import training
from auditcli.auditing import load
from auditcli.comparability import vet
from auditcli.images import read_sample
from auditcli.membership import Signal, all_signals
from auditcli.outcomes import measure
from auditcli.types import Interval, Sample, Shadows, Target

CHOSEN = (
    *("mlp-fashion-decay-0", "mlp-mnist-decay-0", "mlp-cifar-decay-0", "head-cifar-60"),
    *("cnn-fashion-300", "cnn-cifar-200", "vit-fashion-150", "vit-cifar-200"),
    *("mlp-fashion-many-0", "cnn-fashion-many", "vit-fashion-many", "head-fashion-many"),
)
"""Leaky and honest ones of each family."""
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Settings:
    """What is the same for all victims."""

    data: Path
    cache: Path
    shadows: int
    controls: int
    """Drawn for each victim; half of them train shadow models."""
    seed: int

    def result(self, recipe: Recipe) -> Path:
        """The file of a victim's bout."""
        setting = f"controls{self.controls}-shadows{self.shadows}-seed{self.seed}"
        return self.cache / "signals" / f"{recipe.name}-{recipe.key}-{setting}.json"


def main() -> None:
    """Measure what is missing, and report all of it."""
    options = _arguments()
    settings = Settings(options.data, options.cache, options.shadows, options.controls, options.seed)
    recipes = chosen(options.victim or CHOSEN)
    missing = [recipe for recipe in recipes if known(recipe, settings, any_code=options.any_code) is None]
    for number, done in enumerate(held(missing, settings, options.jobs), 1):
        _say(f"[{number}/{len(missing)}] {done.victim}")
    bouts = [found for recipe in recipes if (found := known(recipe, settings, any_code=True)) is not None]
    print("\n".join(table(bouts)))
    if options.write:
        figure = draw_figure(bouts, options.write.parent / "figures")
        options.write.write_text(page(bouts, Run(_command(), figure)), encoding="utf-8")


def chosen(names: Sequence[str]) -> list[Recipe]:
    """The zoo's recipes of these names, in their order.

    Raises:
        ValueError: the zoo has no victim of a name.
    """
    by_name = {recipe.name: recipe for recipe in VICTIMS}
    if unknown := [name for name in names if name not in by_name]:
        raise ValueError(f"the zoo has no victim {', '.join(unknown)}; zoo_victims.py lists them")
    return [by_name[name] for name in names]


def known(recipe: Recipe, settings: Settings, *, any_code: bool) -> Bout | None:
    """What was measured before, by this state of the code or by any."""
    path = settings.result(recipe)
    found = bout(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
    return found if found is not None and (any_code or found.code == code()) else None


def held(recipes: Sequence[Recipe], settings: Settings, jobs: int) -> Iterator[Bout]:
    """Measure victims, so many at a time, each in a process with one thread; yields them as they end."""
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(hold, recipe, settings) for recipe in recipes]
        try:
            for done in as_completed(running):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def hold(recipe: Recipe, settings: Settings) -> Bout:
    """Measure all signals on one victim, and keep what was measured.

    Every signal sees the same members and the same compared half of the controls, in the same order. The other half is
    all that shadow models are trained on.

    Args:
        recipe: Which victim; trained now if it is not in the cache.
        settings: The same for all.
    """
    torch.set_num_threads(1)
    victim = Cache(settings.cache, settings.data).victim(recipe)
    target = load(victim.model, device="cpu")
    members, controls = samples(victim, target, settings)
    population, compared = training.split(controls, settings.seed)
    models, spent = _shadows(target, population, settings)
    found = Bout(
        victim=recipe.name,
        truth=recipe.truth,
        images=recipe.images,
        architecture=target.profile.architecture,
        members=len(members),
        controls=len(compared),
        population=len(population),
        shadows=len(models.targets),
        shadow_seconds=_seconds_before(recipe, settings) if spent is None else spent,
        code=code(),
        day=f"{datetime.now(UTC):%Y-%m-%d}",
        scores=tuple(score(one, target, members, compared, models, settings.seed) for one in all_signals()),
    )
    _write(settings.result(recipe), found)
    return found


def samples(victim: Victim, target: Target, settings: Settings) -> tuple[Sample, Sample]:
    """Members and all controls, read and freed of copies as the product does it."""
    shape = target.profile.input_shape
    members = read_sample(victim.images("members"), shape, role="members")
    pool = load_pool(victim.recipe.data, settings.data)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "controls.npz"
        save(path, strangers(victim.recipe, pool, settings.controls))
        controls = read_sample(path, shape, role="controls")
    vetted = vet(members, controls)
    return vetted.members, vetted.controls


def strangers(recipe: Recipe, pool: Images, count: int) -> Images:
    """At most so many images of the pool, at random, that play no part for a victim and look like none it learnt.

    Args:
        recipe: Whose training images, controls and so on are left out.
        pool: All images of its data set.
        count: To draw; exact copies of what it or its backbone was trained on leave.

    Raises:
        ValueError: the pool is too small; 15,000 images are, for a victim with a backbone and thousands of its own.
    """
    parts = draw(recipe, pool)
    dealt = sum(len(getattr(parts, part.name)) for part in fields(parts))
    # Parts are dealt out one after the other, training images first: with more of them, those beyond come next.
    further = draw(replace(recipe, images=dealt + count), pool).training.take(slice(dealt, None))
    learnt = [parts.training, *([for_backbones(pool)] if isinstance(recipe.net, Head) else [])]
    pixels = {image.tobytes() for images in learnt for image in images.pixels.numpy()}
    return further.take(torch.tensor([image.tobytes() not in pixels for image in further.pixels.numpy()]))


def score(signal: Signal, target: Target, members: Sample, compared: Sample, models: Shadows, seed: int) -> Score:
    """What one signal tells apart, and the processor time it took."""
    began = time.process_time()
    outcome = measure(signal, target, members, compared, _CPU, seed=seed, shadows=models)
    seconds = time.process_time() - began
    if outcome.finding is None:
        return Score(signal.name, seconds, outcome.reason)
    rates = {f"{100 * rate:g}%": None if tpr is None else _estimate(tpr) for rate, tpr in outcome.finding.tpr_at_fpr}
    return Score(signal.name, seconds, auc=_estimate(outcome.finding.auc), tpr=rates)


def _shadows(target: Target, population: Sample, settings: Settings) -> tuple[Shadows, float | None]:
    """Shadow models, and the mean processor time of those trained now; None where all were in the cache."""
    trained: set[str] = set()
    began = time.process_time()
    found = training.shadows(
        target,
        population,
        settings.shadows,
        seconds=float("inf"),
        seed=settings.seed,
        cache=settings.cache / "shadows",
        watch=lambda progress: trained.add(progress.attack),
    )
    return found, (time.process_time() - began) / len(trained) if trained else None


def _seconds_before(recipe: Recipe, settings: Settings) -> float | None:
    """What a shadow model took when it was trained, as an earlier result has it, maybe with more or fewer of them."""
    earlier = settings.result(recipe).parent.glob(f"{recipe.name}-{recipe.key}-controls{settings.controls}-*.json")
    found = (bout(json.loads(path.read_text(encoding="utf-8"))).shadow_seconds for path in sorted(earlier))
    return next((seconds for seconds in found if seconds is not None), None)


def _estimate(interval: Interval) -> Estimate:
    return Estimate(interval.value, interval.low, interval.high)


def _write(path: Path, found: Bout) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _command() -> str:
    """As it was given, without the folders of this machine."""
    folders, words, said = {"--data": "DIR", "--cache": "DIR"}, sys.argv[1:], []
    for before, word in zip(["", *words], words, strict=False):
        said.append(folders.get(before, word))
    return f"OMP_NUM_THREADS=1 python benchmarks/signals.py {' '.join(said)}"


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the .npz data sets")
    parser.add_argument("--cache", type=Path, required=True, help="folder of trained victims, shadow models, results")
    parser.add_argument("--victim", action="append", metavar="NAME", help="of the zoo; default: twelve of it")
    parser.add_argument("--shadows", type=int, default=8, metavar="K", help="shadow models of each victim")
    parser.add_argument("--controls", type=int, default=2400, metavar="N", help="drawn; half train shadow models")
    parser.add_argument("--jobs", type=int, default=1, help="victims at a time, each with one thread")
    parser.add_argument("--seed", type=int, default=0, help="of halves, shadow models and signals")
    parser.add_argument("--any-code", action="store_true", help="accept results by other states of the code")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the page; its figure goes to `figures` beside it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
