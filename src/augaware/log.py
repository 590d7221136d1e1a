"""The numbers of a run: metrics.jsonl and TensorBoard, one line per log step."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from augaware.disk import write_file


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
    """metrics.jsonl and TensorBoard, continued from ``step``: lines that a killed run wrote after it are dropped.

    Writing never fails. Lines of metrics.jsonl for which there is no room wait, and :meth:`settle` insists on them;
    TensorBoard is given up. ``say`` hears of either, once. ``silent`` writes nothing.
    """

    def __init__(
        self, path: Path, step: int, say: Callable[[str], None] = lambda line: None, silent: bool = False
    ) -> None:
        self._file, self._say, self._silent = path / "metrics.jsonl", say, silent
        self._pending, self._told = b"", False
        self._board: Any = None
        if silent:
            return
        kept = [line for line in self._lines() if line["step"] <= step]
        write_file(self._file, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._handle = self._file.open("ab", buffering=0)
        with self._boarding():
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(path / "tensorboard"), purge_step=step + 1)

    def _lines(self) -> list[dict[str, Any]]:
        found = []
        for line in self._file.read_text().splitlines() if self._file.exists() else []:
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:  # the half line of a kill
                break
        return found

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        if self._silent:
            return
        with contextlib.suppress(OSError):
            self.settle()
        self._handle.close()
        if self._board is not None:
            with self._boarding():
                self._board.close()

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
        if self._board is not None:
            with self._boarding():
                for name, value in numbers.items():
                    self._board.add_scalar(name, value, step)

    def settle(self) -> None:
        """Write what waits; a checkpoint is not written before the numbers up to it are. Raises :class:`OSError`."""
        while self._pending:
            self._pending = self._pending[self._handle.write(self._pending) :]

    @contextmanager
    def _boarding(self) -> Iterator[None]:
        """What TensorBoard does inside may fail, and then it is left out from there on."""
        try:
            yield
        except Exception as error:  # whatever it is, the run does not depend on it
            self._board = None
            self._say(
                f"WARNING: TensorBoard's file cannot be written ({' '.join(str(error).split())}); going on without"
            )
