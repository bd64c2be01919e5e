"""How many threads torch uses inside one operation. Public name: `one_thread`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[int]:
    """One thread inside each operation of torch, until the block ends.

    Attacks and similarities are many short operations. Several threads inside each would wait for one another most of
    the time, and far longer than they work where another process wants the same cores: beside one other busy process on
    two cores, a step of `kkt` took thirty times as long with two threads as with one.

    Yields:
        How many threads torch had, for use one level up.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
