"""How a run is asked to stop: Ctrl-C, ``kill``, a scheduler's signal. The step is finished and saved first."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP")  # SLURM's --signal, a terminal that is closed
CODE = 130  # of a process that was stopped, whichever signal it was: nothing is wrong, and resume goes on


class Stop:
    """Notes the signals that ask a run to stop, while its block runs; as they were, afterwards.

    Signals reach a program's main thread only: elsewhere nothing is noted. One that is ignored, as under ``nohup``,
    stays ignored. A second SIGINT interrupts at once.
    """

    def __init__(self) -> None:
        self.asked: int = 0  # the signal's number; 0 is none
        self._before: dict[int, Callable[..., Any] | int | None] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == self.asked == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = number

    def line(self, step: int, run: Path) -> str:
        """What to say once ``step`` is saved."""
        job = os.environ.get("SLURM_JOB_ID")
        requeued = f" (in a job that does so: scontrol requeue {job})" if job else ""
        name = signal.Signals(self.asked).name
        return f"{name}: stopped after step {step}, which is saved; continue with: augaware resume {run}{requeued}"

    def leave(self) -> NoReturn:
        """End as the signal would have ended it: :class:`KeyboardInterrupt` for SIGINT, else the process, code 130."""
        if self.asked == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(CODE)
