"""What a bench is: a job, the sides that do it, and how often each is asked.

Every side at every number of threads is a process of its own (:mod:`augaware.bench.turns`), which makes its part of the
bench anew from the spec. So a bench holds plain values only, and hands over what the sides work on in files.
"""

from __future__ import annotations

import importlib.util
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from augaware.errors import RequestError

OURS = "augaware"
Size = int | str


@dataclass(frozen=True)
class Round:
    """What one side did in one round; ``found`` is what its last pass ended with, where the bench compares that."""

    items: int
    cpu: float  # seconds, of all its processes
    wall: float
    found: Mapping[str, Any] = field(default_factory=dict)

    @property
    def per_core(self) -> float:
        """Items per CPU second."""
        return self.items / max(self.cpu, 1e-9)

    @property
    def per_second(self) -> float:
        """Items per second on the clock."""
        return self.items / max(self.wall, 1e-9)


@dataclass(frozen=True)
class Side:
    """One library at one number of threads; ``name`` is ``"augaware"``, a variant of it, or the peer's name.

    ``note``: how it is run, and in what its job differs. ``package`` (the distribution) and ``module`` say what must be
    installed. ``part``: not the job but a part of ours; ``costs`` in what a round found is its CPU time over the rest.
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
    """A side that is ready: what it works on is in memory. ``items``: how many one pass treats."""

    items: int

    def __call__(self, passes: int) -> float:
        """Do the job ``passes`` times; the CPU seconds that other processes spent on it."""

    def found(self) -> dict[str, Any]:
        """What the last pass ended with, as JSON holds it; not timed."""
        return {}


class Bench(ABC):
    """A job at several ``sizes``, measured in ``rounds`` of at least ``seconds`` per side.

    ``unit`` is what is counted, ``measure`` what a size is in. ``seconds`` 0: one pass a round, and none before it.
    """

    unit = "images"
    measure = "px"
    at_once = False  # whether sides are made ready beside each other: where that takes long, and disturbs nobody

    def __init__(self, sizes: Sequence[Size], rounds: int, seconds: float) -> None:
        self.sizes: tuple[Size, ...] = tuple(sizes)
        self.rounds, self.seconds = rounds, seconds
        if type(rounds) is not int or rounds < 1:
            raise RequestError(f"bench: rounds={rounds!r} must be a whole number, at least 1")
        if not isinstance(seconds, (int, float)) or not 0 <= seconds < float("inf"):
            raise RequestError(f"bench: seconds={seconds!r} must be a number, 0 or more")

    @abstractmethod
    def prepare(self, folder: Path, data: str | None) -> str:
        """Write what the sides work on into ``folder``, from ``data`` or drawn; what that is, in a line.

        ``sizes`` may change here, where they depend on what there is.
        """

    @abstractmethod
    def sides(self, peers: bool) -> list[Side]:
        """All sides, ours first; ``peers``: other libraries too, installed or not."""

    @abstractmethod
    def work(self, name: str, threads: int, size: Any, folder: Path) -> Work:
        """Make the side of this name and number of threads ready for ``size``; called in its process."""

    def compare(self, sides: Mapping[Side, Sequence[Round]]) -> Mapping[Side, dict[str, Any]]:
        """Further columns of the rows of one size: of a side, what its rounds found beside the others'."""
        return {}


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
