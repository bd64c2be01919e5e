"""The profile of a network that a library builds from a configuration: `library_profile`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditcli.families._kind import kind_of
from auditcli.families._layers import parameters, table
from auditcli.types import Profile, Trait

if TYPE_CHECKING:
    from auditcli.families._dossier import Dossier


def library_profile(
    dossier: Dossier, *, architecture: str, built_by: str, input_shape: tuple[int, int, int], outputs: int
) -> Profile:
    """What the configuration and the tensors give, once the library's network was seen to fit them.

    Args:
        dossier: Of the folder.
        architecture: One line for people.
        built_by: The class or name whose weights these are, and the library with its version.
        input_shape: Channels, height, width.
        outputs: Logits the network returned for one image of that shape.
    """
    dossier.note(f"weights: all those of {built_by}, and no others")
    classes = dossier.classes(outputs)
    norms = any(name.endswith(".running_var") for name in dossier.tensors)
    return Profile(
        family=kind_of(dossier.tensors),
        architecture=architecture,
        input_shape=input_shape,
        classes=classes,
        outputs=outputs,
        parameters=parameters(dossier.tensors),
        normalisation=dossier.normalisation(input_shape[0]),
        traits=frozenset({Trait.BATCH_NORM} if norms else ()),
        layers=table(dossier.tensors),
        labels=dossier.labels(classes),
        identified_by="config.json",
        evidence=tuple(dossier.evidence),
        assumptions=tuple(dossier.assumptions),
    )
