"""The terms of network inversion, each a pure function. Public names: one a term.

Those of one image return (n,), those of a batch a number. `log_q` are the target's log-probabilities (n, classes), `p`
the conditioning distributions, `features` (n, f) what the target's last layer reads.

Reference:
    Suhail and Sethi, arXiv:2502.00760 (training-like data), after their network inversion: L_KL, L_CE, L_Cos, L_Ortho,
    the same L_KL and L_CE on perturbed images, L_Var, L_Pix and L_Grad. Their weights were never published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.func import functional_call
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.generator.reading import Reading
    from auditcli.types import Target


def kl(log_q: Tensor, p: Tensor) -> Tensor:
    """`sum_j p_j log(p_j / q_j)` of each image, (n,), at least 0."""
    return functional.kl_div(log_q, p, reduction="none").sum(dim=1)


def cross_entropy(log_q: Tensor, labels: Tensor) -> Tensor:
    """`-log q_y` of each image, (n,)."""
    return functional.nll_loss(log_q, labels, reduction="none")


def cosine(features: Tensor) -> Tensor:
    """Mean cosine of the features of two different images, in [-1, 1]; 0 for a single image."""
    n = len(features)
    gram = _gram(features)
    return (gram.sum() - gram.diagonal().sum()) / max(1, n * (n - 1))


def orthogonality(features: Tensor) -> Tensor:
    """Mean squared entry of the Gram matrix of normalised features minus the identity."""
    gram = _gram(features)
    return (gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device)).square().mean()


def variation(images: Tensor) -> Tensor:
    """Total variation of each image, (n,): mean distance of neighbours across plus that of neighbours down."""
    down = (images[:, :, 1:] - images[:, :, :-1]).abs().flatten(1).mean(dim=1)
    across = (images[..., 1:] - images[..., :-1]).abs().flatten(1).mean(dim=1)
    return down + across


def out_of_range(images: Tensor) -> Tensor:
    """Mean squared distance of each image's pixels to [0, 1], (n,)."""
    return (images - images.clamp(0, 1)).square().flatten(1).mean(dim=1)


def perturbed(images: Tensor, radius: float, rng: torch.Generator) -> Tensor:
    """The images (n, c, h, w) with noise added that is uniform in [-radius, radius]: bounded in the largest change."""
    noise = (2 * torch.rand(images.shape, generator=rng) - 1) * radius
    return images + noise.to(images.device)


def last_gradient(reading: Reading, labels: Tensor) -> Tensor:
    """Norm of the cross-entropy's gradient at the weights of the last linear layer, of each image, (n,).

    In closed form: the gradient is the outer product of (q - y) and of what the layer reads, with a 1 for a bias. For a
    last layer that is a convolution this bounds the norm from above, up to a constant.
    """
    if reading.logits.shape[1] == 1:
        error = reading.logits.sigmoid() - labels[:, None].to(reading.logits.dtype)
    else:
        error = reading.logits.softmax(dim=1) - functional.one_hot(labels, reading.logits.shape[1])
    inputs = reading.features.square().sum(dim=1) + float(reading.bias)
    return (error.square().sum(dim=1) * inputs + _TINY).sqrt()


def full_gradient(target: Target, images: Tensor, labels: Tensor) -> Tensor:
    """Norm of the gradient of the mean cross-entropy of all images at all weights, a number; a double backward pass."""
    weights = {
        name: value.detach().requires_grad_()
        for name, value in target.module.named_parameters()
        if value.is_floating_point()
    }
    with sdpa_kernel(SDPBackend.MATH):  # the fast kernels of attention cannot be differentiated twice
        logits = functional_call(target.module, weights, (images,))
        if logits.shape[1] == 1:
            loss = functional.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype))
        else:
            loss = functional.cross_entropy(logits, labels)
        gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True, materialize_grads=True)
    return (torch.stack([each.square().sum() for each in gradients]).sum() + _TINY).sqrt()


_TINY = 1e-12
"""Under a square root: its derivative at 0 is infinite."""


def _gram(features: Tensor) -> Tensor:
    unit = functional.normalize(features, dim=1, eps=1e-8)
    return unit @ unit.T
