"""A Hugging Face hub on the loopback interface: the endpoints that a download needs, and what they answer when refused.

with hub_of(Repository("owner/name", {"config.json": b"{}"})) as hub:
    hub.url, hub.requests
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repository:
    """Files of one commit, and what stands in the way of them."""

    name: str
    files: Mapping[str, bytes]
    revisions: frozenset[str] = frozenset({"main", "v1", "refs/pr/1", COMMIT})
    claimed: Mapping[str, int] = field(default_factory=dict)
    """Sizes that are told instead of the true ones."""
    refusal: tuple[int, str] | None = None
    """Status and `X-Error-Code` of every answer."""
    download_refusal: tuple[int, str] | None = None
    """The same for files alone."""


@dataclass
class Hub:
    url: str
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Paths, and the authorization that came with them."""

    @property
    def downloaded(self) -> set[str]:
        return {path.rpartition("/")[2] for path, _ in self.requests if "/resolve/" in path}


@contextmanager
def hub_of(*repositories: Repository) -> Iterator[Hub]:
    """A hub that holds these repositories, and knows no other."""
    known = {repository.name: repository for repository in repositories}
    hub = Hub("")

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            hub.requests.append((path, self.headers.get("Authorization", "")))
            status, headers, content = _reply(known, path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


Reply = tuple[int, dict[str, str], bytes]


def _reply(known: Mapping[str, Repository], path: str) -> Reply:
    resolved = "/resolve/" in path
    parts = path.removeprefix("api/models/").split("/")
    repository = known.get("/".join(parts[:2]))
    if repository is None:
        return _error(404, "RepoNotFound")
    refusal = repository.refusal or (repository.download_refusal if resolved else None)
    if refusal:
        return _error(*refusal)
    if resolved:
        return _file(repository, path.partition("/resolve/")[2])
    what, revision = (parts[2], "/".join(parts[3:])) if len(parts) > 2 else ("revision", "main")
    if revision not in repository.revisions:
        return _error(404, "RevisionNotFound")
    sizes = {name: repository.claimed.get(name, len(content)) for name, content in repository.files.items()}
    if what == "tree":
        tree = [
            {"type": "file", "path": name, "size": size, "oid": _oid(repository, name)} for name, size in sizes.items()
        ]
        return _json(tree)
    siblings = [{"rfilename": name, "size": size} for name, size in sizes.items()]
    return _json({"id": repository.name, "modelId": repository.name, "sha": COMMIT, "siblings": siblings})


def _file(repository: Repository, rest: str) -> Reply:
    name = next((name for name in repository.files if rest.endswith(f"/{name}")), None)
    if name is None:
        return _error(404, "EntryNotFound")
    headers = {"ETag": f'"{_oid(repository, name)}"', "X-Repo-Commit": COMMIT}
    return 200, headers, repository.files[name]


def _oid(repository: Repository, name: str) -> str:
    return hashlib.sha1(repository.files[name]).hexdigest()


def _json(value: object) -> Reply:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


def _error(status: int, code: str) -> Reply:
    return status, {"X-Error-Code": code, "Content-Type": "application/json"}, b"{}"
