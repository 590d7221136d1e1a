"""The numbers of a run: metrics.jsonl, TensorBoard, and the loggers that a recipe names; one line per log step."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from augaware import lookup
from augaware.disk import json_lines, write_file
from augaware.errors import RequestError
from augaware.loggers import feed
from augaware.loggers.base import Logger

ALWAYS = "tensorboard"


def build_loggers(specs: Sequence[str]) -> dict[str, Logger]:
    """TensorBoard and what ``specs`` name, by name. Raises :class:`RequestError` for a wrong spec; touches nothing."""
    found: dict[str, Logger] = {}
    for spec in (ALWAYS, *specs):
        name = lookup.parse(spec, "logger").name
        if name in found:
            raise RequestError(f"loggers={tuple(specs)!r}: {name} is there twice; each once, and {ALWAYS} always is")
        found[name] = lookup.build("loggers", spec)
    return found


def check_installed(specs: Sequence[str]) -> None:
    """Raise :class:`RequestError` where the package of a logger is not installed; that is for a new run only."""
    for name, logger in build_loggers(specs).items():
        try:
            logger.check()
        except RequestError as error:
            raise RequestError(f"logger {name!r}: {error}") from None


class Clock:
    """Rates since the last look."""

    def __init__(self) -> None:
        self._began, self._waited, self._images, self._views = time.perf_counter(), 0.0, 0, 0.0

    def add(self, images: int, views: float) -> None:
        """One more step of ``images`` images, whose views took ``views`` seconds."""
        self._images, self._views = self._images + images, self._views + views

    def rates(self, waited: float) -> dict[str, float]:
        """Images per second, and the shares of time spent waiting for data and making views."""
        now = time.perf_counter()
        seconds = max(now - self._began, 1e-9)
        found = {
            "images_per_second": self._images / seconds,
            "data_wait": (waited - self._waited) / seconds,
            "views_share": self._views / seconds,
        }
        self._began, self._waited, self._images, self._views = now, waited, 0, 0.0
        return found


class Log:
    """metrics.jsonl and ``loggers``, continued from ``step``: lines that a killed run wrote after it are dropped.

    Writing never fails. Lines of metrics.jsonl for which there is no room wait, and :meth:`settle` insists on them; a
    logger is given up. ``say`` hears of either, once. ``silent`` writes nothing. ``recipe`` is what loggers are told.
    """

    def __init__(
        self,
        path: Path,
        step: int,
        say: Callable[[str], None] = lambda line: None,
        silent: bool = False,
        loggers: Mapping[str, Logger] | None = None,
        recipe: Mapping[str, Any] | None = None,
    ) -> None:
        self._file, self._say, self._silent = path / "metrics.jsonl", say, silent
        self._pending, self._told = b"", False
        self._feeds: list[feed.Feed] = []
        if silent:
            return
        kept = [line for line in json_lines(self._file)[0] if line["step"] <= step]
        write_file(self._file, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._handle = self._file.open("ab", buffering=0)
        for name, logger in (loggers or {}).items():
            self._feeds.append(feed.Feed(name, logger, path, recipe or {}, step, say))

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._silent:
            return
        for each in self._feeds:
            each.end(complete=kind is None)
        with contextlib.suppress(OSError):
            self.settle()
        self._handle.close()
        until = time.monotonic() + feed.PATIENCE
        for each in self._feeds:
            each.wait(until)

    def write(self, step: int, epoch: float, numbers: dict[str, float]) -> None:
        """Append one line."""
        if self._silent:
            return
        finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}  # JSON has no NaN
        self._pending += (json.dumps({"step": step, "epoch": round(epoch, 6), **finite}) + "\n").encode()
        try:
            self.settle()
        except OSError as error:
            if not self._told:
                self._say(f"WARNING: metrics.jsonl cannot be written ({error.strerror}); its lines wait for room")
            self._told = True
        for each in self._feeds:
            each.write(step, numbers)

    def settle(self) -> None:
        """Write what waits; a checkpoint is not written before the numbers up to it are. Raises :class:`OSError`."""
        while self._pending:
            self._pending = self._pending[self._handle.write(self._pending) :]
