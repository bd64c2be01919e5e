"""Reconstruction as a bilevel problem: images above, their multipliers below. Public name: `bilevel`."""

from __future__ import annotations

from functools import partial
from math import cos, pi
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import one_hot

from auditcli.attacks._attack import attack
from auditcli.attacks._start import begin
from auditcli.types import Step, Trait
from auditcli.weights import Lower, Sides, backward, flat_inputs, flat_normalisation, margin_pull, span_of, terms, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from auditcli.types import Budget, Profile, Target, WeightSpan

_SURE = 5.0
"""Logit by which a label is chosen over the others before it is learnt."""


@attack(
    paper="arXiv:2412.08544",
    requires=frozenset({Trait.DENSE, Trait.FIRST_LAYER_LINEAR}),
    on_request=True,
)
def bilevel(
    target: Target,
    budget: Budget,
    rng: torch.Generator,
    *,
    pixel_rate: float = 0.01,
    label_rate: float = 0.0,
    exponent: float = 0.6,
    ridge: float = 1e-3,
    evenness: float = 10.0,
    upper: float = 0.0,
    sharpness: float = 20.0,
    start: float = 0.035,
    span_weight: float = 3.0,
    box_weight: float = 8.0,
    initial: Tensor | None = None,
) -> Iterator[Step]:
    """Solves for images at which training could rest, with the best multipliers for them at each step.

    A network at rest under weight decay is stationary: its weights theta are a sum of the gradients g_i of its
    training images, with multipliers lambda_i >= 0 that the loss and the decay make. We minimise over the images x

        min over lambda >= 0 of  |theta - sum_i lambda_i g_i(x_i)|^2 + ridge |lambda|^2 + evenness |lambda - mean|^2
        + span_weight * mean_i offspan(x_i) + box_weight * mean_i box(x_i)

    with theta and all g_i scaled to norm 1, the first layer in its span and preconditioned as at the end of `kkt`, or
    whole where the network is affine. The lower level is solved exactly at each step, in inner products alone, and by
    the envelope theorem nothing is differentiated through its solution: `weights.Lower`. Restarts run in one batch.

    Args:
        target: A dense network on pixels; one logit (binary) or one a class.
        budget: At most `candidates` images a restart are guessed: twice the rank of the span, as many of each class.
        rng: Of the starting images.
        pixel_rate: Adam step of the images, in pixel units.
        label_rate: Adam step of the logits of soft labels; 0 keeps the labels, as many of each class, as they are.
        exponent: Power of the singular values by which directions of the first layer are divided.
        ridge: Of the multipliers; it makes them unique where images are alike.
        evenness: Of the multipliers. At 0 many end at 0, and their images are not led by anything any more.
        upper: Weight of each layer above the first, which has weight 1.
        sharpness: Of the smoothed step of a ReLU, see `weights.margin_gradients`.
        start: Standard deviation of the starting images around the mean image, in pixel units.
        span_weight: Of the share of [x, 1] outside the span.
        box_weight: Of the squared distance to pixels in [0, 1], in pixel units.
        initial: Images to begin from, the i-th of class i modulo the classes; None in every audit.

    Yields:
        Candidates (r, n, c, h, w) in [0, 1]; the objective is the squared residual, with the multipliers scaled
        together to fit best: 0 where the images explain the weights, 1 where they explain nothing.

    Reference:
        Runkel et al. 2024, arXiv:2412.08544, eq. 1 and the bilevel problem that follows from it: the condition
        `sum_i grad L(theta; x_i, y_i) = 0`, here with weight decay. We differ: the loss's own factors of the gradients
        and the decay are unknowns of the lower level; span, preconditioning and evenness are ours.
    """
    dense, profile = target.dense, target.profile
    if dense is None:
        raise TypeError("a target with Trait.DENSE has no dense stack")
    weights = spanned(target)
    n = min(budget.candidates, 2 * weights.basis.shape[1] if initial is None else len(initial))
    shape = (budget.restarts, n, dense.weights[0].shape[1])
    mean, _ = flat_normalisation(profile, dense.weights[0])
    noise = torch.randn(shape, generator=rng) * start
    pixels = (mean + begin(noise, mean, initial)).requires_grad_()
    labels, pull = _labels(n, budget.restarts, profile, learnt=label_rate > 0, like=mean)
    optimizer = torch.optim.Adam([{"params": [pixels]}, {"params": [labels]}])
    lower, free = Lower(ridge, evenness), None
    for number in range(budget.steps):
        cosine = 0.5 * (1 + cos(pi * number / budget.steps))
        for group, rate in zip(optimizer.param_groups, (pixel_rate, label_rate), strict=True):
            group["lr"] = rate * cosine
        images = pixels.flatten(0, 1).unflatten(1, profile.input_shape)
        inputs = flat_inputs(dense, profile.normalisation, images)
        coordinates = weights.coordinates(inputs)
        passed = backward(dense, coordinates @ weights.image.T, pull, sharpness=sharpness)
        present = terms(
            *(dense, weights, coordinates, passed), exponent=exponent, upper=upper, restarts=budget.restarts
        )
        multipliers, free = lower.solve(present, free)
        loss = (
            lower.value(present, multipliers)
            + span_weight * weights.residual(inputs).unflatten(0, shape[:2]).mean(dim=1)
            + box_weight * (pixels - pixels.detach().clamp(0, 1)).square().sum(dim=2).mean(dim=1)
        ).sum()
        with torch.no_grad():
            objective = present.scaled(multipliers)
            candidates = images.clamp(0, 1).unflatten(0, shape[:2])
        yield Step(candidates, objective)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def spanned(target: Target) -> WeightSpan:
    """The directions of the first layer that are used: its span, or all of them where there is no other layer.

    Raises:
        TypeError: the target has no dense stack.
    """
    dense = target.dense
    if dense is None:
        raise TypeError("a target with Trait.DENSE has no dense stack")
    if len(dense.weights) == 1:
        return whole(dense)
    return span_of(target, at_least=2 * target.profile.classes)


def _labels(
    n: int, restarts: int, profile: Profile, *, learnt: bool, like: Tensor
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Logits of the labels (restarts * n, classes), and the pull of the loss at the network's logits under them."""
    sides = Sides.balanced(n, profile.classes)
    everyone = Sides(sides.labels.repeat(restarts).to(like.device), sides.classes)
    logits = (_SURE * one_hot(everyone.labels, everyone.classes).to(like)).requires_grad_(learnt)
    return logits, partial(soft_pull, labels=logits) if learnt else partial(margin_pull, sides=everyone)


def soft_pull(logits: Tensor, labels: Tensor) -> Tensor:
    """Direction (n, outputs) in which cross-entropy with soft labels pulls the logits: labels less probabilities.

    Where a label tends to one class, this is the gradient of the margin, up to a positive factor, which the scaling of
    gradients to norm 1 takes away.

    Args:
        logits: (n, outputs) of the network; a single one is that of the second of two classes.
        labels: (n, classes) logits of the labels.
    """
    if logits.shape[1] == 1:
        return labels.softmax(dim=1)[:, 1:] - logits.sigmoid()
    return labels.softmax(dim=1) - logits.softmax(dim=1)
