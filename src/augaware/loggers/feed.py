"""Between a run and a logger: a thread and a queue, so that a logger that is slow, stuck or broken costs no step."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Full, Queue
from threading import Thread
from typing import Any

from augaware.errors import RequestError
from augaware.loggers.base import Logger

WAITING = 1000  # lines that a logger may be behind
PATIENCE = 30.0  # seconds that the end of a run waits for all loggers


class Feed:
    """Hands numbers to ``logger``. The first thing that goes wrong is told once, and from there on it is left out.

    ``say`` is only ever called by the thread that calls this object.
    """

    def __init__(
        self, name: str, logger: Logger, run: Path, recipe: Mapping[str, Any], step: int, say: Callable[[str], None]
    ) -> None:
        self.name, self._logger, self._say = name, logger, say
        self._queue: Queue[tuple[int, dict[str, float]] | bool] = Queue(WAITING)
        self._place, self._trouble, self._left = "", "", False
        self._thread = Thread(
            target=self._work, args=(run, dict(recipe), step), name=f"augaware-logger-{name}", daemon=True
        )
        self._thread.start()

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Hand over one line, and wait for nothing."""
        self._put((step, dict(numbers)))

    def end(self, complete: bool) -> None:
        """No more will come."""
        self._put(complete)

    def wait(self, until: float) -> None:
        """Wait until what was handed over is written and the logger closed, until ``time.monotonic()`` is ``until``."""
        if not self._left:
            self._thread.join(max(0.0, until - time.monotonic()))
            late = self._thread.is_alive() and not self._trouble
            self._tell("it did not end in time; what it has not sent is lost" if late else "")

    def _put(self, item: tuple[int, dict[str, float]] | bool) -> None:
        self._tell()
        if self._left:
            return
        try:
            self._queue.put_nowait(item)
        except Full:
            self._tell(f"it is {WAITING} lines behind")

    def _tell(self, trouble: str = "") -> None:
        trouble = self._trouble or trouble
        if self._place and not trouble:
            self._say(f"{self.name}: {self._place}")
            self._place = ""
        if trouble and not self._left:
            self._left = True
            self._say(f"WARNING: logger {self.name}: {trouble}; going on without it; metrics.jsonl has all numbers")

    def _work(self, run: Path, recipe: dict[str, Any], step: int) -> None:
        """The thread. Its last word is ``_trouble``: nothing that a logger raises leaves it."""
        logger, closed = self._logger, False
        try:
            logger.check()
            self._place = logger.begin(run, recipe, step)
            while not isinstance(item := self._queue.get(), bool):
                logger.write(*item)
            closed = True
            logger.close(item)
        except BaseException as error:  # whatever it is, SystemExit too, the run does not depend on it
            text = " ".join(str(error).split())
            self._trouble = text if isinstance(error, RequestError) else f"{type(error).__name__}: {text}"
            if not closed:
                with contextlib.suppress(BaseException):
                    logger.close(False)
