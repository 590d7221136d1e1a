"""What ends a run before its time: said in one line, with what is kept and how to go on (docs/faults.md)."""

from __future__ import annotations

import contextlib
import json
import math
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from augaware.disk import write_file
from augaware.errors import RequestError, RunError

DIVERGED = "nan.json"
_NAMED = 8  # images that the line names; the file has all


@contextmanager
def resumable(run: Path, saved: Callable[[], int | None] | None) -> Iterator[None]:
    """Whatever goes wrong inside becomes a :class:`RunError` of one line; where it happened goes to log.txt.

    ``saved`` gives the step of the newest checkpoint, None before the first; it is None itself where process 0 saves
    and this is another.
    """
    try:
        yield
    except RequestError:
        raise
    except Exception as error:
        kept = "what process 0 has saved is kept"
        if saved is not None:
            step = saved()
            kept = "nothing is saved yet" if step is None else f"the checkpoint of step {step} is kept"
        line = f"{_said(error)}; {kept}; once that is mended, continue with: augaware resume {run}"
        with contextlib.suppress(OSError), (run / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"{''.join(traceback.format_exception(error))}{line}\n")
        raise RunError(line) from error


def _said(error: Exception) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{f': {error.filename}' if error.filename else ''}"
    if isinstance(error, RunError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class LossWatch:
    """Remembers the first step whose loss was NaN or infinite. On a GPU it is asked for only where the step waits
    anyway.
    """

    def __init__(self) -> None:
        self._first: Tensor | None = None
        self._step = -1

    def see(self, step: int, loss: Tensor) -> None:
        """The loss of ``step``; nothing here waits for the device."""
        if loss.device.type == "cpu":
            if self._step < 0 and not math.isfinite(loss.item()):
                self._step = step
            return
        if self._first is None:
            self._first = torch.full((), -1, dtype=torch.int64, device=loss.device)
        bad = (self._first < 0) & ~loss.detach().isfinite()
        self._first = torch.where(bad, step, self._first)

    def first(self) -> int | None:
        """The first such step so far; waits for a GPU."""
        if self._first is not None:
            self._step = int(self._first.item())
        return self._step if self._step >= 0 else None


def diverged(
    run: Path, step: int, epoch: int, index: Tensor, names: Sequence[str], parts: Mapping[str, Tensor]
) -> RunError:
    """What is said of a loss that is NaN or infinite in ``step``, on the images ``index``; nan.json has all of it."""
    values = {key: str(value.item()) for key, value in parts.items()}
    images = [names[i] for i in index.tolist()]
    found = {"step": step, "epoch": epoch, "losses": values, "index": index.tolist(), "images": images}
    with contextlib.suppress(OSError):
        write_file(run / DIVERGED, (json.dumps(found, indent=2) + "\n").encode())
    more = f" and {len(images) - _NAMED} more" if len(images) > _NAMED else ""
    return RunError(
        f"the loss is NaN or infinite in step {step} (counted from 0), epoch {epoch}, on {', '.join(images[:_NAMED])}"
        f"{more}: all in {run / DIVERGED}; augaware.replay.replay({str(run)!r}) makes that batch and its views again, "
        "and a lower base_lr or a clip_norm in a new run may avoid it"
    )
