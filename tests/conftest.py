"""The option that renews the stored reports: `pytest --update-golden`."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

# Before anything imports torch, here and in child processes: short operations on shared cores wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="store what the renderers now say under tests/golden")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with the stored file of that name; with `--update-golden` it stores it instead."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(text.encode())
        assert path.read_bytes().decode() == text, f"{name} changed: look at the difference, then --update-golden"

    return compare
