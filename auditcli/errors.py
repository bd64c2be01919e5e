"""Everything privaudit raises on purpose. The CLI prints message and hint, no traceback, and exits 2.

AuditError(message, *, hint="")
  UsageError      an option that cannot be used as given
  LoadError       missing, corrupt or refused model file (pickles are never opened)
  UnknownModel    no family explains the weights
    OpenQuestion  one does, but leaves something open; the hint names the flag, `candidates` the answers
  SampleError     images that do not fit the model, overlap, or are too few
  AttackError     an attack diverged or ran out of memory; `audit` records it as failed and goes on
"""

from collections.abc import Mapping, Sequence

MAX_LENGTH = 1_000


class AuditError(Exception):
    """Base of all: a one-line `message` (what, where, what was expected) and a `hint` naming the next command."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message, self.hint = _one_line(message), _one_line(hint)
        super().__init__(self.message)


def _one_line(text: str) -> str:
    """One line without control characters, cut to 1,000: names of tensors and files are the text of strangers."""
    text = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for character in " ".join(text.splitlines())
    )
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 3]}..."


class UsageError(AuditError):
    """An option that cannot be used as given."""


class LoadError(AuditError):
    """A model file that is missing, corrupt or refused."""


class UnknownModel(AuditError):  # noqa: N818 - named for what the user holds
    """Weights that no family explains."""


class OpenQuestion(UnknownModel):
    """Weights that fit a family, or several, but leave a question open that only the user or images can answer."""

    def __init__(self, message: str, *, hint: str = "", candidates: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(message, hint=hint)
        self.candidates = tuple(candidates)
        """Possible answers, each as keys and values of `--assume`; empty where they cannot be listed."""


class SampleError(AuditError):
    """Reference or control images that cannot be used."""


class AttackError(AuditError):
    """An attack that could not go on."""
