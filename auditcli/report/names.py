"""Ids in place of file names: `member-3f9a1c2b`. Public names: `Alias`, `Aliases`, `of_images`, `at_random`.

The secret behind the ids is made of the images themselves: whoever holds the sample makes the same ids again, in this
audit and the next, and whoever does not cannot find out which name an id stands for by trying names.
"""

import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from auditcli.report.marks import Role
from auditcli.report.schema import canonical

DOMAIN = b"privaudit names 1"
"""Keeps the secret apart from the sha256 of a sample that a report publishes, which is made of the same lines."""
FEWEST_DIGITS, MOST_DIGITS = 8, 64


@dataclass(frozen=True, slots=True)
class Alias:
    """Gives the images of one sample their ids."""

    role: Role
    key: bytes
    digits: int = FEWEST_DIGITS
    """Hexadecimal digits of an id: as many as keep the ids of the sample apart."""

    def __call__(self, name: str) -> str:
        """The id of an image, the same for the same name of the same sample."""
        return f"{self.role}-{self._digest(name)[: self.digits]}"

    def _digest(self, name: str) -> str:
        said = f"{self.role}\0{canonical(name)}".encode()
        return hmac.digest(self.key, said, "sha256").hex()

    def apart(self, names: Iterable[str]) -> "Alias":
        """The same with as many digits as keep these names apart."""
        digests = {self._digest(name) for name in names}
        enough = (d for d in range(FEWEST_DIGITS, MOST_DIGITS) if len({text[:d] for text in digests}) == len(digests))
        return Alias(self.role, self.key, next(enough, MOST_DIGITS))


Aliases = Mapping[Role, Alias]


def of_images(role: Role, hashes: Sequence[str], names: Sequence[str]) -> Alias:
    """Ids that whoever holds the same images under the same names makes again, in whatever order.

    Args:
        role: Of the sample.
        hashes: sha256 of the pixels of each image.
        names: One an image.
    """
    lines = sorted(f"{digest}  {canonical(name)}\n" for digest, name in zip(hashes, names, strict=True))
    return Alias(role, hmac.digest(DOMAIN, "".join(lines).encode(), "sha256")).apart(names)


def at_random(role: Role, names: Iterable[str]) -> Alias:
    """Ids that nobody can make again, for where the images are not at hand."""
    return Alias(role, secrets.token_bytes(32)).apart(names)
