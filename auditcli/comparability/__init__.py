"""Whether members and controls can be compared at all: the same kind of images, and no image counted twice.

Public names: `blind`, `Blind`, `Difference`, `vet`, `Vetted`, `without`. See `docs/comparability.md`.
"""

from auditcli.comparability._blind import Blind, Difference, blind
from auditcli.comparability._copies import Vetted, vet, without

__all__ = ["Blind", "Difference", "Vetted", "blind", "vet", "without"]
