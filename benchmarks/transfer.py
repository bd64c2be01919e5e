"""What `transfer` gets out of heads on frozen backbones: `python benchmarks/transfer.py --data DIR --cache DIR`.

Trained heads and what was measured on them are kept in the cache, so that a run that was stopped goes on. Writes
`transfer.md` (tables) and `transfer-DATA.png` (pictures) into the folder of `--write`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from page import markdown
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transfer_victims import BACKBONES, Recipe, Subject, subject

from auditcli.attacks import all_attacks
from auditcli.attacks.transfer._clusters import agreement, representatives
from auditcli.attacks.transfer._embeddings import Settings, search
from auditcli.attacks.transfer._prior import Priors
from auditcli.attacks.transfer._typical import typical_norm
from auditcli.effort import EFFORTS
from auditcli.scoring.ssim import pairwise_ssim
from auditcli.weights import span

_CIFAR = BACKBONES["cifar10"]
CASES: Mapping[str, Recipe] = MappingProxyType(
    {
        "CIFAR-10, 10 classes": Recipe(_CIFAR),
        "other images, other start": Recipe(_CIFAR, seed=1),
        "features not whitened": Recipe(BACKBONES["cifar10, not whitened"]),
        "2 classes": Recipe(_CIFAR, classes=2),
        "50 images": Recipe(_CIFAR, images=50),
        "200 images": Recipe(_CIFAR, images=200),
        "weight decay 1e-3": Recipe(_CIFAR, weight_decay=1e-3),
        "weight decay 2e-2": Recipe(_CIFAR, weight_decay=2e-2),
        "no weight decay": Recipe(_CIFAR, weight_decay=0.0),
        "hidden 500-500": Recipe(_CIFAR, hidden=(500, 500)),
        "Fashion-MNIST, 10 classes": Recipe(BACKBONES["fashion_mnist"]),
        "untrained": Recipe(_CIFAR, epochs=0),
    }
)
CHANGED: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "rate 0.05": {"rate": 0.05},
        "explained 0.001": {"explained": 0.001},
        "norm_weight 0": {"norm_weight": 0.0},
        "exponent 0": {"exponent": 0.0},
    }
)
"""The first head again, with one setting of the attack changed."""
PICTURED = ("CIFAR-10, 10 classes", "Fashion-MNIST, 10 classes")
_NEAR = 0.9
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured on one head."""

    case: str
    loss: float
    rank: int
    residual: float
    """Share of the layer that the best start leaves unexplained."""
    members: int
    """Members with a candidate at cosine 0.9 or more."""
    of: int
    centred: int
    """The same by the cosine of features minus the mean of the controls' features."""
    controls: float
    """Share of controls with such a candidate, by the larger of both cosines."""
    highest: float
    """Cosine of the best control."""
    strangers: int
    """As `members`, for as many images drawn like members that the head never saw."""
    agreed: int
    """Clusters that at least half of the starts share."""
    precise: float
    """Share of these whose nearest member is at cosine 0.9 or more, and their nearest control further off."""
    distinct: int
    """Members that these stand for."""
    all_precise: float
    """The same share of all candidates, for comparison."""
    seconds: float
    """Of processor time, for the search."""


def main() -> None:
    """Measures what the cache does not hold, and prints the table."""
    arguments = _arguments()
    rows = [measured(case, arguments.data, arguments.cache) for case in arguments.case or [*CASES, *CHANGED]]
    text = "\n".join(table(rows)) + "\n"
    print(text)
    if arguments.write is not None:
        arguments.write.mkdir(parents=True, exist_ok=True)
        (arguments.write / "transfer.md").write_text(text)
        for case in PICTURED:
            print(pictures(case, arguments.data, arguments.cache, arguments.write))


def measured(case: str, data: Path, cache: Path) -> Row:
    """Search for the embeddings of one head, and compare them with its images."""
    changed = CHANGED.get(case, {})
    recipe = CASES.get(case, Recipe(_CIFAR))
    path = cache / f"row-{_key(recipe, changed)}.json"
    if path.exists():
        return Row(**json.loads(path.read_text()))
    victim = subject(recipe, data, cache)
    embeddings, residual, seconds = searched(victim, recipe, cache, changed)
    near, far, strange = (_features(victim, images) for images in (victim.members, victim.controls, victim.strangers))
    everything = embeddings.flatten(0, 1)
    chosen, shared = representatives(embeddings, _setting("reach"))
    chosen = chosen[shared >= agreement(len(embeddings), shared)] if _half(shared, len(embeddings)) else chosen[:0]
    mean = far.mean(dim=0)
    highest = _best(far, everything)
    controls = torch.maximum(highest, _best(far - mean, everything - mean))
    good, which = _right(chosen, near, far)
    row = Row(
        case=case,
        loss=victim.loss,
        rank=_rank(victim),
        residual=residual,
        members=int((_best(near, everything) >= _NEAR).sum()),
        of=len(near),
        centred=int((_best(near - mean, everything - mean) >= _NEAR).sum()),
        controls=float((controls >= _NEAR).double().mean()),
        highest=float(highest.max()),
        strangers=int((_best(strange, everything) >= _NEAR).sum()),
        agreed=len(chosen),
        precise=float(good.double().mean()) if len(chosen) else float("nan"),
        distinct=len(set(which[good].tolist())),
        all_precise=float(_right(everything, near, far)[0].double().mean()),
        seconds=seconds,
    )
    path.write_text(json.dumps(asdict(row)))
    return row


def searched(
    victim: Subject, recipe: Recipe, cache: Path, changed: Mapping[str, float] = MappingProxyType({})
) -> tuple[Tensor, float, float]:
    """Embeddings (s, n, f) of all starts, the least residual, and seconds of processor time: as `transfer` searches.

    With the settings of the attack, but for those changed, and one restart of `--profile standard`.
    """
    path = cache / f"found-{_key(recipe, changed)}.npz"
    if not path.exists():
        head, effort, rng = victim.target.head, EFFORTS["standard"], torch.Generator().manual_seed(0)
        if head is None:
            raise TypeError("the network of a recipe ends in a head")
        norm = typical_norm(head, victim.target.profile.input_shape, rng)
        began = time.process_time()
        for found in search(
            head.dense,
            victim.target.profile.classes,
            starts=int(_setting("starts")),
            candidates=effort.candidates,
            steps=round(_setting("share") * effort.steps),
            norm=norm,
            rng=rng,
            settings=Settings(**{name: changed.get(name, _setting(name)) for name in Settings.__slots__}),
        ):
            last = found
        seconds = time.process_time() - began
        np.savez(path, embeddings=last.embeddings, residual=float(last.residual.min()), seconds=seconds)
    with np.load(path, allow_pickle=False) as stored:
        return torch.from_numpy(stored["embeddings"]), float(stored["residual"]), float(stored["seconds"])


def pictures(case: str, data: Path, cache: Path, folder: Path) -> str:
    """Draw the best agreed embeddings, and the true ones of the same members, and lay them side by side.

    Returns:
        A sentence with the medians of SSIM.
    """
    recipe = CASES[case]
    victim = subject(recipe, data, cache)
    near = _features(victim, victim.members)
    chosen, _ = representatives(searched(victim, recipe, cache)[0], _setting("reach"))
    which = _cosines(chosen, near).max(dim=1).indices
    first = [index for index in range(len(which)) if which[index] not in which[:index]][:_SHOWN]
    chosen, which = chosen[first], which[first]
    members = victim.members[which]
    drawn = inverted(victim, torch.cat([near[which], chosen]), cache / f"drawn-{recipe.key}.npz")
    ceiling, found = drawn.chunk(2)
    scores = pairwise_ssim(found, victim.controls)
    others = victim.controls[scores.argmax(dim=1)]
    rows = (members, ceiling, found, others)
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1).expand(3, -1, -1)
    picture = Image.fromarray((sheet.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    picture = picture.resize((picture.width * 3, picture.height * 3), Image.Resampling.NEAREST)
    picture.save(folder / f"transfer-{recipe.backbone.data}.png", optimize=True)
    own, possible = (pairwise_ssim(one, members).diagonal() for one in (found, ceiling))
    other = scores.amax(dim=1)
    return (
        f"{case}: median SSIM of {len(found)} chosen images with their members {own.median():.2f}, of images drawn of "
        f"the true features {possible.median():.2f}; with the nearest of {len(victim.controls)} controls "
        f"{other.median():.2f}; nearer to its member than to any control: {int((own > other).sum())}"
    )


def inverted(victim: Subject, features: Tensor, path: Path) -> Tensor:
    """Images (n, c, h, w) that deep image priors draw of features, as `transfer` does."""
    if not path.exists():
        head, shape = victim.target.head, victim.target.profile.input_shape
        if head is None:
            raise TypeError("the network of a recipe ends in a head")
        priors = Priors(len(features), shape, int(_setting("width")), torch.Generator().manual_seed(0))
        priors = priors.to(features.device)
        optimizer = torch.optim.Adam(priors.weights, lr=_setting("image_rate"))
        drawn = priors()
        for _ in range(_DRAWING):
            optimizer.zero_grad()
            (1 - functional.cosine_similarity(head.features(drawn), features, dim=1)).sum().backward()
            optimizer.step()
            drawn = priors()
        np.savez(path, drawn=drawn.detach())
    with np.load(path, allow_pickle=False) as stored:
        return torch.from_numpy(stored["drawn"])


_DRAWING = 200
"""Steps; the cosine is above 0.99 by then."""


def table(rows: list[Row]) -> list[str]:
    """Markdown, a line a head."""
    header = (
        *("head", "rank", "residual", "members >= 0.9", "centred", "controls >= 0.9 (best)", "strangers >= 0.9"),
        *("clusters", "of them right", "members in them", "all candidates right", "s"),
    )
    cells = [
        (
            row.case,
            row.rank,
            f"{row.residual:.2f}",
            f"{row.members} of {row.of}",
            row.centred,
            f"{row.controls:.1%} ({row.highest:.2f})",
            row.strangers,
            row.agreed,
            f"{row.precise:.0%}" if row.agreed else "-",
            row.distinct,
            f"{row.all_precise:.0%}",
            f"{row.seconds:.0f}",
        )
        for row in rows
    ]
    return markdown(header, cells)


def _key(recipe: Recipe, changed: Mapping[str, float]) -> str:
    return "-".join([recipe.key, *(f"{name}={value:g}" for name, value in changed.items())])


def _half(shared: Tensor, starts: int) -> bool:
    return int(shared.max()) >= (starts + 1) // 2


def _right(found: Tensor, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each found embedding is a member's rather than any control's, and which member's."""
    if not len(found):
        return torch.zeros(0, dtype=torch.bool), torch.zeros(0, dtype=torch.long)
    member = _cosines(found, near).max(dim=1)
    control = _cosines(found, far).max(dim=1).values
    return (member.values >= _NEAR) & (control < member.values), member.indices


def _best(images: Tensor, found: Tensor) -> Tensor:
    """Highest cosine of each image's features with any found embedding."""
    return _cosines(images, found).max(dim=1).values


def _cosines(one: Tensor, other: Tensor) -> Tensor:
    return functional.normalize(one, dim=1) @ functional.normalize(other, dim=1).T


def _features(victim: Subject, images: Tensor) -> Tensor:
    if victim.target.head is None:
        raise TypeError("the network of a recipe ends in a head")
    with torch.no_grad():
        return victim.target.head.features(images)


def _rank(victim: Subject) -> int:
    if victim.target.head is None:
        raise TypeError("the network of a recipe ends in a head")
    return span(victim.target.head.dense).rank


def _setting(name: str) -> float:
    attack = next(one for one in all_attacks() if one.name == "transfer")
    return float(attack.settings[name])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--cache", type=Path, required=True, help="where heads and results are kept")
    parser.add_argument("--case", choices=[*CASES, *CHANGED], action="append", help="repeatable; all unless given")
    parser.add_argument("--write", type=Path, help="folder of the table and the pictures")
    return parser.parse_args()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
