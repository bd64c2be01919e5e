"""Models of the hub: a real huggingface_hub against a hub on the loopback interface, and hand-made caches."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hub_server import COMMIT, Hub, Repository, hub_of
from safetensors.torch import save

import auditcli
from auditcli import arguments
from auditcli.errors import LoadError
from auditcli.inspection import inspect
from auditcli.loading import hub as hub_module
from auditcli.loading import load

constants = pytest.importorskip("huggingface_hub.constants")

TOKEN = "hf_secretsecretsecret"
WEIGHTS = {"a": torch.arange(4.0), "b": torch.ones(2, 2)}
CONFIG = json.dumps({"classes": 3}).encode()
FILES = {
    "config.json": CONFIG,
    "preprocessor_config.json": b'{"image_mean": [0.5]}',
    "model.safetensors": save(WEIGHTS),
    "pytorch_model.bin": b"\x80\x02pickle",
    "modeling.py": b"raise SystemExit",
    "onnx/model.safetensors": b"never read",
    "training_args.json": b"{}",
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no network but the loopback interface, and a token in the usual place."""
    cache = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    connect = socket.socket.connect

    def on_loopback(self: socket.socket, address: tuple[str, int]) -> None:
        assert address[0] == "127.0.0.1", f"the network was used: {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", on_loopback)
    return cache


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Starts a hub with some repositories, which huggingface_hub then takes for the hub."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(*repositories: Repository) -> Hub:
            hub = stack.enter_context(hub_of(*repositories))
            use(monkeypatch, hub.url)
            return hub

        yield start


def use(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


# ---- downloads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "hf://owner/name",
        "hf://owner/name@v1",
        f"hf://owner/name@{COMMIT}",
        "hf://owner/name@refs/pr/1",
        "hf://owner/name/",
    ],
)
def test_a_model_is_loaded_and_its_commit_recorded(serve, text: str) -> None:
    serve(Repository("owner/name", FILES))
    checkpoint = load(text)
    assert checkpoint.origin == checkpoint.name == f"hf://owner/name@{COMMIT}"
    assert {name: tensor.tolist() for name, tensor in checkpoint.tensors.items()} == {
        name: tensor.tolist() for name, tensor in WEIGHTS.items()
    }
    assert checkpoint.description["classes"] == 3


def test_only_configurations_and_the_weights_are_downloaded(serve) -> None:
    hub = serve(Repository("owner/name", FILES))
    load("hf://owner/name")
    assert hub.downloaded == {"config.json", "preprocessor_config.json", "model.safetensors"}


def test_a_path_that_lost_a_slash_is_the_same_id(serve) -> None:
    serve(Repository("owner/name", FILES))
    assert load(Path("hf://owner/name@v1")).origin == f"hf://owner/name@{COMMIT}"


def test_shards_are_downloaded_by_their_index(serve) -> None:
    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = {"weight_map": dict(zip(WEIGHTS, shards, strict=True))}
    files = {"config.json": CONFIG, "model.safetensors.index.json": json.dumps(index).encode()}
    files |= {shard: save({name: WEIGHTS[name]}) for name, shard in zip(WEIGHTS, shards, strict=True)}
    serve(Repository("owner/name", files))
    assert set(load("hf://owner/name").tensors) == set(WEIGHTS)


def test_the_token_is_used_and_never_shown(serve) -> None:
    hub = serve(Repository("owner/name", FILES, refusal=(401, "")))
    with pytest.raises(LoadError) as caught:
        load("hf://owner/name")
    assert {authorization for _, authorization in hub.requests} == {f"Bearer {TOKEN}"}
    assert TOKEN not in caught.value.message + caught.value.hint


def test_a_model_of_the_hub_is_reported_by_its_commit(serve, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"image_size": 16, "patch_size": 8, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    model = transformers.ViTForImageClassification(transformers.ViTConfig(**sizes, num_attention_heads=2)).eval()
    model.save_pretrained(tmp_path / "saved")
    files = {file.name: file.read_bytes() for file in (tmp_path / "saved").iterdir()}
    serve(Repository("owner/name", files))
    assert inspect("hf://owner/name").path == f"hf://owner/name@{COMMIT}"
    images = torch.rand(2, 3, 16, 16)
    assert torch.allclose(auditcli.load("hf://owner/name", device="cpu")(images), model(images).logits, atol=1e-5)


def test_a_download_writes_no_bar_into_a_log(serve, capfd: pytest.CaptureFixture[str]) -> None:
    serve(Repository("owner/name", FILES))
    load("hf://owner/name")
    assert capfd.readouterr() == ("", "")


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repository", "text", "message"),
    [
        (Repository("owner/name", FILES), "hf://owner/other", "does not exist, or is private"),
        (
            Repository("owner/name", FILES, refusal=(401, "RepoNotFound")),
            "hf://owner/name",
            "does not exist, or is private",
        ),
        (Repository("owner/name", FILES, refusal=(403, "")), "hf://owner/name", "does not exist, or is private"),
        (Repository("owner/name", FILES, refusal=(403, "GatedRepo")), "hf://owner/name", "is gated"),
        (Repository("owner/name", FILES, download_refusal=(403, "GatedRepo")), "hf://owner/name", "is gated"),
        (Repository("owner/name", FILES), "hf://owner/name@v2", "no such revision"),
        (
            Repository("owner/name", FILES, claimed={"model.safetensors": 10**11}),
            "hf://owner/name",
            "100.0 GB; at most",
        ),
        (
            Repository("owner/name", {"config.json": CONFIG, "pytorch_model.bin": b"x"}),
            "hf://owner/name",
            "pickles are",
        ),
        (Repository("owner/name", {"model.safetensors": b"x"}), "hf://owner/name", r"holds no config\.json"),
        (
            Repository("owner/name", {"config.json": CONFIG, "adapter_model.safetensors": b"x"}),
            "hf://owner/name",
            "adapter",
        ),
        (Repository("owner/name", FILES, refusal=(500, "")), "hf://owner/name", "it answered 500"),
        (
            Repository("owner/name", FILES, download_refusal=(404, "EntryNotFound")),
            "hf://owner/name",
            "not be downloaded",
        ),
    ],
)
def test_what_cannot_be_had_is_one_line_with_a_way_out(serve, repository: Repository, text: str, message: str) -> None:
    hub = serve(repository)
    with pytest.raises(LoadError, match=message) as caught:
        load(text)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert TOKEN not in caught.value.message + caught.value.hint
    if not repository.download_refusal:
        assert not hub.downloaded


@pytest.mark.parametrize(
    "text",
    [
        "hf://name",
        "hf://",
        "hf://a/b/c",
        "hf://a/b@",
        "hf://../name",
        "hf://a/b@../x",
        "hf://a--b/c",
        "hf://a/b\n",
        "hf://.a/b",
        f"hf://a/{'b' * 200}",
        "hf://a/ b",
        "hf://a/b.git",
    ],
)
def test_what_is_no_id_is_refused_without_a_request(serve, text: str) -> None:
    hub = serve(Repository("owner/name", FILES))
    with pytest.raises(LoadError, match="is no id of a model"):
        load(text)
    assert hub.requests == []


def test_damaged_files_are_named_by_the_id(serve) -> None:
    serve(Repository("owner/name", {**FILES, "config.json": b"{"}))
    with pytest.raises(LoadError, match=r"config\.json is not valid JSON"):
        load("hf://owner/name")
    serve(Repository("other/name", {**FILES, "model.safetensors": save({})}))
    with pytest.raises(LoadError, match=f"hf://other/name@{COMMIT} holds no tensors"):
        load("hf://other/name")


def test_without_huggingface_hub_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(LoadError) as caught:
        load("hf://owner/name")
    assert caught.value.hint == "pip install 'privaudit[hf]'"


# ---- the cache ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["hf://owner/name", f"hf://owner/name@{COMMIT}"])
def test_offline_the_cache_answers(serve, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    hub = serve(Repository("owner/name", FILES))
    online = load(text)
    seen = len(hub.requests)
    go_offline(monkeypatch)
    offline = load(text)
    assert (offline.origin, offline.sha256) == (online.origin, online.sha256)
    assert len(hub.requests) == seen


def test_where_the_hub_is_down_the_cache_answers(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(Repository("owner/name", FILES))
    online = load("hf://owner/name")
    with hub_of() as gone:
        use(monkeypatch, gone.url)
    assert load("hf://owner/name").sha256 == online.sha256


def test_offline_without_a_cache_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    go_offline(monkeypatch)
    with pytest.raises(LoadError, match=r"is not in the cache, and the hub cannot be reached: HF_HUB_OFFLINE is set"):
        load("hf://owner/name")


@pytest.mark.parametrize("lost", ["model.safetensors", "preprocessor_config.json"])
def test_offline_half_a_cache_is_refused(serve, cache: Path, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    serve(Repository("owner/name", FILES))
    snapshot = load("hf://owner/name").path
    (snapshot / lost).unlink()
    go_offline(monkeypatch)
    with pytest.raises(LoadError, match="in the cache, and the hub cannot be reached"):
        load("hf://owner/name")


def hand_made(cache: Path, *, store: Path | None = None) -> Path:
    """A cache as other versions of the library lay it out: links into the blobs, or further into a store of all."""
    repository = cache / "models--owner--name"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for number, name in enumerate(("config.json", "model.safetensors")):
        blob = repository / "blobs" / f"{number:040x}"
        if store is None:
            blob.write_bytes(FILES[name])
        else:
            store.mkdir(parents=True, exist_ok=True)
            (store / blob.name).write_bytes(FILES[name])
            blob.symlink_to(os.path.relpath(store / blob.name, blob.parent))
        (snapshot / name).symlink_to(f"../../blobs/{blob.name}")
    return snapshot


def test_a_hand_made_cache_answers_and_its_folder_loads_by_path(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = hand_made(cache)
    go_offline(monkeypatch)
    assert load("hf://owner/name").origin == f"hf://owner/name@{COMMIT}"
    by_path = load(snapshot)
    assert by_path.origin == ""
    assert set(by_path.tensors) == set(WEIGHTS)


def test_blobs_that_repositories_share_are_read(cache: Path) -> None:
    snapshot = hand_made(cache, store=cache / "blobs" / "00")
    with pytest.raises(LoadError, match="leads out of the folder"):
        load(snapshot)
    (cache / "blobs" / ".huggingface-shared-blobs").write_text("1\n")
    assert set(load(snapshot).tensors) == set(WEIGHTS)


def test_links_out_of_the_cached_repository_are_refused(cache: Path) -> None:
    snapshot = hand_made(cache)
    other = cache / "models--other--name" / "blobs"
    other.mkdir(parents=True)
    shutil.copy(snapshot / "model.safetensors", other / "x")
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).unlink()
    (snapshot / "config.json").write_bytes(CONFIG)
    (snapshot / "model.safetensors").symlink_to("../../../models--other--name/blobs/x")
    with pytest.raises(LoadError, match="leads out of the folder"):
        load(snapshot)
    blobs = snapshot.parent.parent / "blobs"
    shutil.rmtree(blobs)
    blobs.symlink_to(other)
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to("../../blobs/x")
    with pytest.raises(LoadError, match="leads out of the folder"):
        load(snapshot)


def test_a_folder_beside_blobs_that_is_no_cache_may_not_link_there(tmp_path: Path) -> None:
    folder = tmp_path / "share" / "snapshots" / "model"
    folder.mkdir(parents=True)
    (tmp_path / "share" / "blobs").mkdir()
    (tmp_path / "share" / "blobs" / "x").write_bytes(FILES["model.safetensors"])
    (folder / "config.json").write_bytes(CONFIG)
    (folder / "model.safetensors").symlink_to("../../blobs/x")
    with pytest.raises(LoadError, match="leads out of the folder"):
        load(folder)


# ---- the command line -----------------------------------------------------------------------------------------------


def test_the_recorded_command_keeps_an_id_whole() -> None:
    assert arguments.recorded(["hf://owner/name@v1", "--members", "a/b"]) == "privaudit hf://owner/name@v1 --members b"


def test_an_id_is_known_from_a_path() -> None:
    assert hub_module.is_hub_id("hf://owner/name")
    assert hub_module.is_hub_id(Path("hf://owner/name"))
    assert not hub_module.is_hub_id("hf/owner")
    assert not hub_module.is_hub_id(Path("/data/hf:/x"))


def test_privaudit_takes_an_id_for_a_scan(tmp_path: Path) -> None:
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "auditcli", "hf://owner/name", "--output", str(tmp_path / "report")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith("error: hf://owner/name is not in the cache")
    assert "hf download owner/name" in done.stderr
    assert "Traceback" not in done.stderr
