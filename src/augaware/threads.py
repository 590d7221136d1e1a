"""How many threads torch uses, and a pool of as many for what holds no lock."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


@functools.cache
def pool(process: int) -> ThreadPoolExecutor:
    """The threads of this process, as many as torch's: none may wait for another of them."""
    return ThreadPoolExecutor(torch.get_num_threads(), thread_name_prefix="augaware-views")


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread of the caller's. Many short steps leave more threads waiting for each other than working: two
    were twelve times slower than one where other programs shared two cores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
