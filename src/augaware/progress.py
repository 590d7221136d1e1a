"""What people see while they wait: one rich line on a terminal, plain lines elsewhere, both also in a log file."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Display:
    """Reports a job of ``total`` steps. Used as a context manager.

    On a terminal :meth:`update` moves a bar; elsewhere it prints a plain line at most every ``every`` seconds.
    :meth:`line` always prints. All lines also go to ``log`` when one is given. ``silent`` shows and writes nothing.
    """

    def __init__(
        self,
        title: str,
        total: int,
        log: Path | None = None,
        every: float = 5.0,
        start: int = 0,
        silent: bool = False,
    ) -> None:
        self.title, self.total, self.every, self.start, self.silent = title, total, every, start, silent
        self._log_path = None if silent else log
        self._log: TextIO | None = None
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._began = self._shown = time.monotonic()
        self._spoken = False  # a job that is over at once says nothing

    def __enter__(self) -> Display:
        if self._log_path is not None:
            self._log = self._log_path.open("a", encoding="utf-8")
        if self._console.is_terminal and not self.silent:
            columns = (TextColumn("[bold]{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
            times = (
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[numbers]}"),
            )
            self._bar = Progress(*columns, *times, console=self._console)
            self._task = self._bar.add_task(self.title, total=self.total, completed=self.start, numbers="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._log is not None:
            with contextlib.suppress(OSError):
                self._log.close()

    def line(self, text: str) -> None:
        """Print one line."""
        if self.silent:
            return
        self._spoken = True
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            _print(text)
        self._write(text)

    def update(self, step: int, numbers: str) -> None:
        """``step`` of the job is done; ``numbers`` describe it."""
        if self.silent:
            return
        now = time.monotonic()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step, numbers=numbers)
        last = step == self.total and self._spoken
        if now - self._shown < self.every and not last:
            return
        self._shown, self._spoken = now, True
        text = f"{self.title}  {step}/{self.total}  {numbers}  left {self._left(step, now)}"
        if self._bar is None:
            _print(text)
        self._write(text)

    def reading(self, done: int, total: int) -> None:
        """:meth:`update` for a job whose length is found on the way, such as opening a data set."""
        self.total = total
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=total)
        self.update(done, "images")

    def _left(self, step: int, now: float) -> str:
        done = step - self.start
        seconds = (self.total - step) * (now - self._began) / done if done else 0.0
        return duration(seconds)

    def _write(self, text: str) -> None:
        if self._log is not None:
            with contextlib.suppress(OSError):  # a full disk is said by what cannot do without it
                self._log.write(time.strftime("%Y-%m-%d %H:%M:%S  ") + text + "\n")
                self._log.flush()


def _print(text: str) -> None:
    with contextlib.suppress(OSError):  # a terminal that was closed
        print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """``4125.0`` as ``"1:08:45"``, ``65`` as ``"1:05"``."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


def amount(size: float) -> str:
    """A number of bytes: ``2684354560`` as ``"2.5 GiB"``."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
