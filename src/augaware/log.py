"""The numbers of a run: metrics.jsonl and TensorBoard, one line per log step."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any, TextIO

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

    ``silent`` writes nothing.
    """

    def __init__(self, path: Path, step: int, silent: bool = False) -> None:
        self._silent = silent
        if silent:
            return
        from torch.utils.tensorboard import SummaryWriter

        self._file = path / "metrics.jsonl"
        kept = [line for line in self._lines() if line["step"] <= step]
        write_file(self._file, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._handle: TextIO = self._file.open("a", encoding="utf-8")
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
        self._handle.close()
        self._board.close()

    def write(self, step: int, epoch: float, numbers: dict[str, float]) -> None:
        """Append one line."""
        if self._silent:
            return
        finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}  # JSON has no NaN
        self._handle.write(json.dumps({"step": step, "epoch": round(epoch, 6), **finite}) + "\n")
        self._handle.flush()
        for name, value in numbers.items():
            self._board.add_scalar(name, value, step)
