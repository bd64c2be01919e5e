"""Whose names and shapes the weights have: the shipped index of published models, and what a hit in it says.

`fingerprints` hashes names and shapes; `publications` looks them up; `as_published` says what follows for a profile.
The index is made by `fingerprints/make.py` from timm and torchvision.
"""

from __future__ import annotations

import json
import lzma
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from auditcli.families._names import readings
from auditcli.families._options import NORMALISATION
from auditcli.resources import resource
from auditcli.types import Assumption, Normalisation, Profile

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.families._dossier import Dossier

INDEX = ("fingerprints", "index.json.xz")
_HEAD = re.compile(r"(head|head_drop|head_dist|fc|classifier|last_linear|logits|output|linear)\d*\.")
_SIZED_BY_INPUT = re.compile(r"pos_embed|pos_embedding|position|relative_|rel_pos|attn_mask")
_IMAGE_CHANNELS = frozenset({1, 2, 3, 4})
_KEYS = (
    "activation",
    "eps",
    "final",
    "global_pool",
    "heads",
    "norm",
    "paddings",
    "pool",
    "shortcut",
    "stem",
    "strides",
)
_ANSWERED = frozenset(f"--assume {key}=..." for key in _KEYS)
"""What a published model settles, once the weights are taken for its own."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of the index."""

    library: str
    name: str
    whole: str
    """Fingerprint of all names and shapes."""
    body: str
    """Fingerprint of what neither the number of classes nor the size of images nor their channels change."""
    behaviour: int
    """Entries with one `body` and the same number compute the same from the same weights."""
    template: str
    """The template that computes the same from the same weights, or empty."""
    input: int

    @property
    def computes(self) -> str | int:
        """Entries with one `body` and the same value compute the same: one template that was seen to, reads sizes."""
        return self.template or self.behaviour


@dataclass(frozen=True, slots=True)
class Index:
    """The shipped index."""

    versions: Mapping[str, str]
    """Of the libraries."""
    inputs: tuple[tuple[tuple[int, int, int], tuple[float, ...], tuple[float, ...]], ...]
    """(channels, height, width), mean and deviation with which models are published."""
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Publication:
    """The published model whose names and shapes the weights have."""

    name: str
    libraries: tuple[tuple[str, str], ...]
    """That publish it, with their versions; the first builds it where no template does."""
    template: str
    twins: tuple[str, ...]
    """Other models with these names and shapes that compute something else."""
    input_shape: tuple[int, int, int]
    sides: tuple[int, ...]
    """Heights of the images of all models whose body it shares."""
    normalisation: Normalisation
    exact: bool = False
    """Whether the number of classes, the image size and its channels are those of the publication, too."""
    stated: bool = False
    """Whether the user or the file says that it is this one."""

    @property
    def title(self) -> str:
        """Libraries and name."""
        return f"{' and '.join(' '.join(library) for library in self.libraries)} {self.name}"


def fingerprints(state: Mapping[str, Tensor]) -> tuple[str, str]:
    """Hashes of names and shapes: of all, and of those that the number of classes and the images leave alone."""
    shapes = {name: list(tensor.shape) for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    body = {name: shape for name, shape in shapes.items() if not _HEAD.match(name) and not _SIZED_BY_INPUT.search(name)}
    for name, shape in body.items():
        if len(shape) == 4 and shape[1] in _IMAGE_CHANNELS:
            body[name] = [shape[0], 0, *shape[2:]]
    return _hash(shapes), _hash(body)


def _hash(shapes: Mapping[str, list[int]]) -> str:
    lines = (f"{name} {'x'.join(map(str, shapes[name]))}" for name in sorted(shapes))
    return sha256("\n".join(lines).encode(errors="replace")).hexdigest()[:16]


def read_index() -> Index:
    """The shipped index.

    Raises:
        AuditError: it is missing from the installation.
    """
    raw: dict[str, Any] = json.loads(lzma.decompress(resource(*INDEX).read_bytes()))
    return Index(
        versions=raw["versions"],
        inputs=tuple((tuple(shape), tuple(mean), tuple(std)) for shape, mean, std in raw["inputs"]),
        entries=tuple(Entry(*row) for row in raw["models"]),
    )


def publications(dossier: Dossier) -> tuple[Publication, ...]:
    """The published models whose names and shapes the weights have, one for each thing they compute.

    The first is the one stated, else the one that images chose, else the most common one, by its plainest name.

    Raises:
        OpenQuestion: the one stated by `--assume name=...` has other names or shapes.
    """
    index, stated = read_index(), dossier.stated("name")
    hits, exact = _hits(index, dossier.tensors)
    by_images = dossier.options.chosen.get("name")
    wanted = stated or (None if by_images is None else by_images.value)
    common = Counter((*(hit.computes for hit in hits), *(("alike", hit.behaviour) for hit in hits)))
    hits = sorted(
        hits,
        key=lambda hit: (
            hit.name != wanted,
            -common[hit.computes],
            -common["alike", hit.behaviour],
            len(hit.name),
            hit.name,
        ),
    )
    if stated is not None and (not hits or hits[0].name != stated):
        names = ", ".join(dict.fromkeys(hit.name for hit in hits))
        raise dossier.open_question(
            f"names and shapes of the weights are not those of {stated!r}",
            f"--assume name=NAME, one of {names}" if names else "leave --assume name=... out",
        )
    first = {hit.computes: hit for hit in reversed(hits)}
    found = [_publication(index, hit, hits) for hit in hits if first[hit.computes] is hit]
    return tuple(replace(one, exact=exact, stated=one.name == stated) for one in found)


def _publication(index: Index, hit: Entry, hits: Sequence[Entry]) -> Publication:
    shape, mean, std = index.inputs[hit.input]
    same = [other for other in hits if other.name == hit.name]
    others = dict.fromkeys(other.name for other in hits if other.computes != hit.computes)
    return Publication(
        name=hit.name,
        libraries=tuple((other.library, index.versions[other.library]) for other in same),
        template=hit.template,
        twins=tuple(others),
        input_shape=shape,
        sides=tuple(sorted({index.inputs[other.input][0][-1] for other in hits})),
        normalisation=Normalisation(mean, std),
    )


def _hits(index: Index, tensors: Mapping[str, Tensor]) -> tuple[list[Entry], bool]:
    for state in readings(tensors):
        whole, body = fingerprints(state)
        for hits, exact in (
            ([entry for entry in index.entries if entry.whole == whole], True),
            ([entry for entry in index.entries if entry.body == body], False),
        ):
            if hits:
                return hits, exact
    return [], False


def as_published(dossier: Dossier, profile: Profile, found: Publication) -> Profile:
    """A profile whose assumptions on the architecture are replaced by one: that it is what was published.

    What images chose stays as they chose it.
    """
    chosen = {f"--assume {key}=..." for key in dossier.options.chosen}
    settled = [one for one in profile.assumptions if one.flag in _ANSWERED - chosen]
    unseen = ", ".join(one.what for one in settled) or "all that it computes"
    why = f"weights do not show {unseen}" + (f"; {', '.join(found.twins)} have the same" if found.twins else "")
    named = Assumption("architecture", found.name, why, "--assume name=...", found.twins)
    rest = "" if found.exact else ", but for the number of classes, or the size or channels of images"
    profile = replace(
        profile,
        architecture=f"{found.name}: {profile.architecture}",
        evidence=(f"names and shapes of the weights are those of {found.title}{rest}", *profile.evidence),
        assumptions=(
            *(() if found.stated else (named,)),
            *(one for one in profile.assumptions if one not in settled),
        ),
    )
    return _normalised(dossier, profile, found)


def _normalised(dossier: Dossier, profile: Profile, found: Publication) -> Profile:
    """The normalisation of the publication, where none would be assumed."""
    usual, channels = found.normalisation, profile.input_shape[0]
    assumed = next((one for one in profile.assumptions if one.flag == "--mean/--std"), None)
    if assumed is None or NORMALISATION in dossier.options.chosen or len(usual.mean) != channels:
        return profile
    value = f"{_written(usual.mean)}/{_written(usual.std)}"
    why = f"{found.name} is published with it; nothing says what these weights were trained with"
    others = tuple(one for one in ("0/1", *assumed.alternatives) if one != value)
    changed = replace(assumed, value=value, why=why, alternatives=others)
    assumptions = tuple(changed if one is assumed else one for one in profile.assumptions)
    return replace(profile, normalisation=usual, assumptions=assumptions)


def _written(numbers: tuple[float, ...]) -> str:
    """As `--mean` and `--std` take them: one number where all channels have the same."""
    return ",".join(f"{number:g}" for number in (numbers if len(set(numbers)) > 1 else numbers[:1]))
