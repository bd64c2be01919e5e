"""False alarms of the signals that need shadow models, by simulation: audits in which every member is a stranger."""

from functools import cache

import pytest
import torch
from scipy.stats import binomtest, kstest
from tiny_targets import dense_stack, dense_target, generator

from auditcli.membership import all_signals
from auditcli.outcomes import measure
from auditcli.training import Recipe, fit, part, shadows, split
from auditcli.types import Sample

CPU = torch.device("cpu")
SIGNALS = {signal.name: signal for signal in all_signals() if signal.shadows}
AUDITS, MEMBERS, CONTROLS = 40, 20, 60
LEARN = Recipe(steps=200, loss=0.02, rate=1e-2)


def strangers(n, seed):
    """Images of noise and drawn classes: nothing is to be learnt about them but themselves."""
    rng, names = generator(seed), tuple(map(str, range(n)))
    return Sample(torch.rand(n, 1, 8, 8, generator=rng), names, names, torch.randint(2, (n,), generator=rng), "all")


@cache
def audits():
    """p-values of each signal against the controls kept apart, and against those that shadow models were trained on."""
    apart, seen = ({name: [] for name in SIGNALS} for _ in range(2))
    for number in range(AUDITS):
        own, everyone = strangers(30, 2 * number), strangers(MEMBERS + CONTROLS, 2 * number + 1)
        plain = dense_target(dense_stack(64, 128, 2))
        target = fit(plain, own.images, own.labels, LEARN, seed=number, seconds=100).target
        members, controls = (part(everyone, index) for index in torch.arange(len(everyone)).split([MEMBERS, CONTROLS]))
        population, compared = split(controls, number)
        models = shadows(target, population, 2, seconds=100, seed=number)
        for name, signal in SIGNALS.items():
            for found, others in ((apart, compared), (seen, population)):
                outcome = measure(signal, target, members, others, CPU, seed=number, shadows=models)
                found[name].append(outcome.finding.test.p_value)
    return apart, seen


@pytest.mark.parametrize("name", ["lira", "rmia"])
def test_strangers_raise_no_more_alarms_than_promised(name):
    apart, _ = audits()
    assert kstest(apart[name], "uniform", alternative="greater").pvalue > 0.001
    assert binomtest(sum(p <= 0.1 for p in apart[name]), AUDITS, 0.1, alternative="greater").pvalue > 0.001


@pytest.mark.parametrize("name", ["lira", "rmia"])
def test_controls_that_shadow_models_saw_would_raise_them(name):
    _, seen = audits()
    assert kstest(seen[name], "uniform", alternative="greater").pvalue < 0.001
