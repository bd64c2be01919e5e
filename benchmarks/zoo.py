"""How often is a verdict wrong? Trains victims whose leak is known, audits each with default settings, and counts.

    OMP_NUM_THREADS=1 python benchmarks/zoo.py --data DIR --cache DIR --summary docs
    OMP_NUM_THREADS=1 python benchmarks/zoo.py --data DIR --cache DIR --small

Nothing is trained twice, and nothing audited twice by the same code; an interrupted run goes on where it stopped.
Exits with 1 where a null audit raised an alarm, a leaky victim was missed, or an audit failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import zoo_report
from zoo_audits import Audit, audits_of, code, result_of, run
from zoo_cache import Cache, Victim
from zoo_recipes import Recipe
from zoo_rows import Row, row
from zoo_summary import wrong
from zoo_victims import SMALL, VICTIMS


def main() -> int:
    """Parse, train, audit, summarise."""
    options = _arguments()
    torch.set_num_threads(1)
    cache = Cache(options.cache, options.data)
    victims = list(trained(cache, chosen(options.only, small=options.small), train=not options.no_train))
    audits = [audit for victim in victims for audit in audits_of(victim, seed=options.seed, shadows=options.shadows)]
    results, state = options.cache / "audits", code()
    failed = 0 if options.no_audit else audited(audits, results, state, options)
    rows = list(known(audits, results, state, any_code=options.any_code))
    if rows:
        print(zoo_report.text(rows))
    if rows and options.summary:
        _say(f"wrote {zoo_report.write(rows, _run(audits, results, state, options), options.summary)}")
    return 1 if failed or wrong(rows) else 0


def chosen(only: Sequence[str], *, small: bool) -> list[Recipe]:
    """Victims of the zoo with one of these texts as truth or family or in their name; all where none is given."""
    return [
        recipe
        for recipe in VICTIMS
        if (not small or recipe.name in SMALL)
        and (not only or any(text in {recipe.truth, recipe.family} or text in recipe.name for text in only))
    ]


def trained(cache: Cache, recipes: Sequence[Recipe], *, train: bool) -> Iterator[Victim]:
    """Victims that are there already, and those trained now where that is wanted."""
    for recipe in recipes:
        before = cache.known(recipe)
        if before is not None:
            yield before
        elif train:
            began = time.monotonic()
            victim = cache.victim(recipe)
            stated = victim.stated
            _say(
                f"trained {recipe.name}: accuracy {stated['train_accuracy']:.3f} / {stated['test_accuracy']:.3f}, "
                f"loss AUC {stated['loss_auc']:.3f}, {time.monotonic() - began:.0f} s"
            )
            yield victim


def audited(audits: Sequence[Audit], results: Path, state: str, options: argparse.Namespace) -> int:
    """Run the audits that have no result yet; how many failed."""
    missing = [audit for audit in audits if result_of(audit, results, state, any_code=options.any_code) is None]
    failed = 0
    for number, (audit, problem) in enumerate(run(missing, results, state, options.jobs), 1):
        path = result_of(audit, results, state)
        said = problem if path is None else _row(audit, path).level
        failed += path is None
        _say(f"[{number}/{len(missing)}] {audit.victim.recipe.name}, {audit.sample}, {audit.truth}: {said}")
    return failed


def known(audits: Sequence[Audit], results: Path, state: str, *, any_code: bool) -> Iterator[Row]:
    """What is known of these audits."""
    for audit in audits:
        path = result_of(audit, results, state, any_code=any_code)
        if path is not None:
            yield _row(audit, path)


def _row(audit: Audit, path: Path) -> Row:
    recipe = audit.victim.recipe
    about = {
        "name": recipe.name,
        "truth": audit.truth.value,
        "family": recipe.family,
        "data": recipe.data.value,
        "sample": audit.sample,
        "shadows": audit.shadows,
    }
    return row(about, json.loads(path.read_text(encoding="utf-8")), audit.victim.stated)


def _run(audits: Sequence[Audit], results: Path, state: str, options: argparse.Namespace) -> zoo_report.Run:
    """Where the rows come from; folders of this machine stay out of the page."""
    paths = [result_of(audit, results, state, any_code=options.any_code) for audit in audits]
    folders = {"--data": "DIR", "--cache": "DIR"}
    words, command = sys.argv[1:], []
    for before, word in zip(["", *words], words, strict=False):
        command.append(folders.get(before, word))
    states = sorted({path.parent.name for path in paths if path is not None})
    return zoo_report.Run(f"python benchmarks/zoo.py {' '.join(command)}", ", ".join(states))


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the .npz data sets")
    parser.add_argument("--cache", type=Path, required=True, help="folder of trained victims and of audits")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="truth, family or part of a name")
    parser.add_argument("--small", action="store_true", help="a part of the zoo that takes minutes")
    parser.add_argument("--no-train", action="store_true", help="leave out victims that are not trained yet")
    parser.add_argument("--no-audit", action="store_true", help="run no audit; summarise those there are")
    parser.add_argument("--any-code", action="store_true", help="accept audits by other states of the code")
    parser.add_argument("--summary", type=Path, metavar="DIR", help="write zoo.md, zoo-signals.md and figures there")
    parser.add_argument("--jobs", type=int, default=2, help="audits at a time, each with one thread")
    parser.add_argument("--seed", type=int, default=0, help="of the audits")
    parser.add_argument("--shadows", type=int, default=0, metavar="K", help="shadow models of each audit")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
