"""What a logger is: it takes a run's numbers elsewhere, and no run fails for it (feed.py)."""

from __future__ import annotations

import importlib.util
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from augaware.disk import write_file
from augaware.errors import RequestError

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class Logger(ABC):
    """Is built with the arguments of its spec, and does nothing before :meth:`begin`.

    All methods are called in one thread that is not the training's, in order, and may raise whatever they like.
    """

    package: ClassVar[str] = ""  # what it imports, and how it is installed
    install: ClassVar[str] = ""

    def check(self) -> None:
        """Raise :class:`RequestError` where its package is not installed; imports nothing."""
        if self.package and importlib.util.find_spec(self.package) is None:
            raise RequestError(f"the package {self.package!r} is not installed; {self.install}, or leave it out")

    @abstractmethod
    def begin(self, run: Path, recipe: Mapping[str, Any], step: int) -> str:
        """Numbers of the run in the folder ``run`` will come, those after ``step``; of those written before a kill some
        come again. -> where people see them, or an empty string.
        """

    @abstractmethod
    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """One line of numbers, of which some may be NaN."""

    @abstractmethod
    def close(self, complete: bool) -> None:
        """No more will come; ``complete`` where the run has come to its end."""


def remembered(run: Path, name: str) -> str | None:
    """What :func:`remember` kept: what a service calls this run, so that a resume goes on there.

    Services make folders of it, and the run may be a stranger's: what is no plain word is not known.
    """
    try:
        found = json.loads(_file(run, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, str) and PLAIN.fullmatch(found) else None


def remember(run: Path, name: str, identity: str) -> None:
    """Keep it in the run folder, as ``loggers/NAME.json``."""
    _file(run, name).parent.mkdir(exist_ok=True)
    write_file(_file(run, name), f"{json.dumps(identity)}\n".encode())


def _file(run: Path, name: str) -> Path:
    return run / "loggers" / f"{name}.json"
