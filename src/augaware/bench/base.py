"""What a bench is: a job, the sides that do it, and how often each is asked.

Every side at every number of threads is a process of its own (:mod:`augaware.bench.turns`), which makes its part of the
bench anew from the spec. So a bench holds plain values only, and hands over what the sides work on in files.
"""

from __future__ import annotations

import importlib.util
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from augaware.errors import RequestError

OURS = "augaware"


@dataclass(frozen=True)
class Side:
    """One library at one number of threads; ``name`` is ``"augaware"``, a variant of it, or the peer's name.

    ``note``: how it is run, and in what its job differs. ``package`` (the distribution) and ``module`` say what must be
    installed. ``part``: not the job but a part of ours, measured alone to see its share.
    """

    name: str
    threads: int
    note: str = ""
    package: str = "augaware"
    module: str = "augaware"
    part: bool = False

    @property
    def installed(self) -> bool:
        """Whether its package is there."""
        return importlib.util.find_spec(self.module) is not None


class Work(Protocol):
    """A side that is ready: its images are in memory, its transforms are made."""

    @property
    def items(self) -> int:
        """How many items one pass treats."""

    def __call__(self, passes: int) -> float:
        """Do the job ``passes`` times; the CPU seconds that other processes spent on it."""


class Bench(ABC):
    """A job at several ``sizes``, measured in ``rounds`` of at least ``seconds`` per side.

    ``unit`` is what is counted.
    """

    unit = "images"

    def __init__(self, sizes: Sequence[int], rounds: int, seconds: float) -> None:
        self.sizes, self.rounds, self.seconds = tuple(sizes), rounds, seconds
        if not self.sizes or any(type(size) is not int or size < 1 for size in self.sizes):
            raise RequestError(f"bench: sizes={sizes!r} must be whole numbers, at least 1, such as [96]")
        if type(rounds) is not int or rounds < 1:
            raise RequestError(f"bench: rounds={rounds!r} must be a whole number, at least 1")
        if not isinstance(seconds, (int, float)) or not 0 <= seconds < float("inf"):
            raise RequestError(f"bench: seconds={seconds!r} must be a number, 0 or more")

    @abstractmethod
    def prepare(self, folder: Path, data: str | None) -> str:
        """Write what the sides work on into ``folder``, from SRC ``data`` or drawn; what that is, in a line."""

    @abstractmethod
    def sides(self, peers: bool) -> list[Side]:
        """All sides, ours first; ``peers``: other libraries too, installed or not."""

    @abstractmethod
    def work(self, name: str, threads: int, size: int, folder: Path) -> Work:
        """Make the side of this name and number of threads ready for ``size``; called in its process."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
