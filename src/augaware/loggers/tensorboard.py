"""TensorBoard's files, in the run folder: every run has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from augaware.loggers.base import Logger

__all__ = ["TensorBoard"]


class TensorBoard(Logger):
    """Curves in DIR/tensorboard, for ``tensorboard --logdir``; always on."""

    package: ClassVar[str] = "tensorboard"
    install: ClassVar[str] = "pip install tensorboard"

    def __init__(self) -> None:
        self._writer: Any = None

    def begin(self, run: Path, recipe: Mapping[str, Any], step: int) -> str:
        """Points after ``step`` that a killed run wrote are hidden."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)
        return ""

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """A scalar for each."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self, complete: bool) -> None:
        """Flush."""
        self._writer.close()
