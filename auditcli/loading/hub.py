"""Models of the Hugging Face hub, by id: `is_hub_id`, `fetch`.

`hf://owner/name[@revision]` is downloaded through huggingface_hub into its cache: configurations and safetensors alone,
after a look at their size. The cache answers where the hub cannot be reached. The user's token is used from where
huggingface_hub keeps it, and is never shown: no text of that library is printed.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditcli.errors import LoadError
from auditcli.loading._files import names, printable
from auditcli.loading.huggingface import CONFIG, PROCESSORS, refusal, weights

MAX_BYTES = 20_000_000_000
"""Largest download."""
_WRITTEN = "hf://owner/name, or hf://owner/name@revision"
_TIMEOUT = 20.0
_COMMIT = re.compile(r"[0-9a-f]{40}")
# A path takes the second slash away.
_ID = re.compile(r"hf:/{1,2}(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w.-]+(?:/[\w.-]+)*))?/?")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Files of one commit in the cache."""

    path: Path
    origin: str
    """`hf://owner/name@commit`."""


@dataclass(frozen=True, slots=True)
class _HubId:
    repo: str
    revision: str | None

    def __str__(self) -> str:
        return f"hf://{self.repo}" + (f"@{self.revision}" if self.revision else "")


def is_hub_id(path: str | Path) -> bool:
    """Whether this names a model of the hub, and not a file."""
    return str(path).startswith(("hf:/", "hf:\\"))


def fetch(text: str | Path) -> Snapshot:
    """The model's files of a hub id, downloaded where the cache does not hold them.

    Args:
        text: `hf://owner/name` for the main branch, `hf://owner/name@revision` for a branch, tag or commit.

    Raises:
        LoadError: not an id, no such model or revision, no access, too large, no safetensors, or no connection and
            nothing complete in the cache.
    """
    hub_id = _parsed(str(text).replace("\\", "/"))
    hub = _library()
    try:
        info = hub.HfApi(library_name="privaudit").model_info(
            hub_id.repo, revision=hub_id.revision, files_metadata=True, timeout=_TIMEOUT
        )
    except Exception as error:  # huggingface_hub and the HTTP library below it have no common base.
        if (refused := _refused(hub_id, error)) is not None:
            raise refused from error
        return _cached(hub, hub_id, error)
    return _downloaded(hub, hub_id, info)


def _parsed(text: str) -> _HubId:
    found = _ID.fullmatch(text)
    if found is None or len(text) > 200 or ".." in text or "--" in found["repo"]:
        raise LoadError(f"{printable(text)} is no id of a model; {_WRITTEN} was expected", hint=f"privaudit {_WRITTEN}")
    return _HubId(found["repo"], found["revision"])


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise LoadError(
            "an hf:// id needs huggingface_hub, which is not installed", hint="pip install 'privaudit[hf]'"
        ) from error
    return huggingface_hub


def _downloaded(hub: Any, hub_id: _HubId, info: Any) -> Snapshot:
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    files = _wanted(hub_id, list(sizes))
    total = sum(sizes[name] for name in files)
    if total > MAX_BYTES:
        raise LoadError(
            f"{hub_id} is {total / 1e9:.1f} GB; at most {MAX_BYTES / 1e9:.0f} GB are downloaded",
            hint=f"hf download {hub_id.repo} --local-dir F, then privaudit F",
        )
    patterns = list(map(_literal, files))
    try:  # By the revision as it was given, so that the cache remembers which commit it stands for.
        folder = Path(
            hub.snapshot_download(
                hub_id.repo, revision=hub_id.revision, allow_patterns=patterns, tqdm_class=_bar_on_terminals()
            )
        )
    except Exception as error:
        raise _refused(hub_id, error) or _cut_short(hub_id, _reason(error)) from error
    if folder.name != info.sha:
        raise _cut_short(hub_id, "its owner changed it meanwhile")
    return Snapshot(folder, f"hf://{hub_id.repo}@{info.sha}")


def _bar_on_terminals() -> type:
    """The library's progress bar, which shows itself in log files too."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            hidden = {"disable": not sys.stderr.isatty()}
            super().__init__(*args, **(options | hidden))  # type: ignore[no-untyped-call]

    return Bar


def _wanted(hub_id: _HubId, held: list[str]) -> list[str]:
    """Names of the files to download, none of them in a folder of the repository."""
    held = [name for name in held if "/" not in name]
    if CONFIG not in held:
        raise LoadError(
            f"{hub_id} holds no {CONFIG}; a model of transformers or timm was expected",
            hint=f"hf download {hub_id.repo} --local-dir F, and give the model file itself",
        )
    found = weights(held)
    if not found:
        raise refusal(str(hub_id), held)
    return [CONFIG, *(name for name in PROCESSORS if name in held), *found]


def _cached(hub: Any, hub_id: _HubId, cause: Exception) -> Snapshot:
    """What the cache holds of the model where the hub does not answer."""
    try:
        configurations = [CONFIG, *PROCESSORS]
        folder = Path(
            hub.snapshot_download(
                hub_id.repo, revision=hub_id.revision, local_files_only=True, allow_patterns=configurations
            )
        )
    except Exception as error:
        raise _unreachable(hub_id, cause, "is not in the cache") from error
    held = [name for name in names(folder) if (folder / name).exists()]
    if CONFIG not in held or not weights(held):
        raise _unreachable(hub_id, cause, "is not complete in the cache") from cause
    return Snapshot(folder, f"hf://{hub_id.repo}@{folder.name}")


def _refused(hub_id: _HubId, error: Exception) -> LoadError | None:
    """The error that the hub's own answer asks for; None where there was no answer."""
    from huggingface_hub import errors

    if isinstance(error, errors.HFValidationError):
        return LoadError(f"{hub_id} is no id of a model; {_WRITTEN} was expected", hint=f"privaudit {_WRITTEN}")
    if isinstance(error, errors.GatedRepoError):
        return LoadError(
            f"{hub_id} is gated: its owner grants access on request, and your token has none",
            hint="ask for access on the model's page, then: hf auth login",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return LoadError(f"{hub_id}: the model has no such revision", hint=f"privaudit hf://{hub_id.repo}")
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.RepositoryNotFoundError) or status in {401, 403}:
        return LoadError(
            f"{hub_id} does not exist, or is private and your token does not open it",
            hint="check the name; for a private model: hf auth login",
        )
    return None


def _cut_short(hub_id: _HubId, reason: str) -> LoadError:
    return LoadError(
        f"{hub_id} could not be downloaded: {reason}",
        hint="run the same command again: what was downloaded is kept",
    )


def _unreachable(hub_id: _HubId, cause: Exception, what: str) -> LoadError:
    return LoadError(
        f"{hub_id} {what}, and the hub cannot be reached: {_reason(cause)}",
        hint=f"with a connection: hf download {hub_id.repo}; or give a folder that you have",
    )


def _reason(error: Exception) -> str:
    """Why, in our words: what the library says may hold addresses and headers."""
    if type(error).__name__ == "OfflineModeIsEnabled":
        return "HF_HUB_OFFLINE is set"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"it answered {status}"
    return (getattr(error, "strerror", None) or type(error).__name__).lower()


def _literal(name: str) -> str:
    """A pattern of huggingface_hub that fits this name alone."""
    return re.sub(r"([*?[])", r"[\1]", name)
