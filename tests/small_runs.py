"""Runs that are killed on the way, and what it takes to call two runs the same."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from augaware.checkpoint import Run
from augaware.pretrain import Trainer, start
from augaware.recipe import Recipe

CLOCK = ("images_per_second", "data_wait", "views_share")


class Killed(BaseException):
    """What stands for a kill within one process: nothing in the library catches it."""


def fails_at(call: int, original: Callable[..., Any], before: Callable[..., None] | None = None) -> Callable[..., Any]:
    """``original``, but the ``call``-th time (from 1) ``before`` runs instead and the process is "killed"."""
    calls = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            if before is not None:
                before(*args, **kwargs)
            raise Killed
        return original(*args, **kwargs)

    return wrapped


def start_and_kill(recipe: Recipe, folder: Path, step: int) -> None:
    """A run in ``folder`` that is killed in its ``step``-th step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_step", fails_at(step, Trainer._step))
        with pytest.raises(Killed):
            start(recipe, folder)
    assert not Run.open(folder).exported.exists()


def numbers(run: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl without what the clock says."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in CLOCK} for line in lines]


def losses(trainer: Trainer, steps: int) -> list[float]:
    """Of so many steps on the same first batch."""
    batch = trainer.source.batch(torch.arange(trainer.recipe.batch_size))
    return [trainer._step(step, 0, batch)[0]["loss"].item() for step in range(steps)]


def assert_same_run(run: Path, whole: Path, steps: int) -> dict[str, Any]:
    """Both runs have the same bytes, numbers, snapshots and state after ``steps``; -> the model's state."""
    for name in ("export/encoder.safetensors", "export/config.json", "recipe.json"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    assert numbers(run) == numbers(whole)
    snapshots = sorted(file.name for file in (whole / "snapshots").glob("*"))
    assert snapshots == sorted(file.name for file in (run / "snapshots").glob("*"))
    for name in snapshots:
        assert (run / "snapshots" / name).read_bytes() == (whole / "snapshots" / name).read_bytes(), name
    one, two = Run.open(run).load_state(), Run.open(whole).load_state()
    assert one is not None
    assert two is not None
    assert one["step"] == two["step"] == steps
    model: dict[str, Any] = one["model"]
    assert model.keys() == two["model"].keys()
    assert all(torch.equal(value, two["model"][key]) for key, value in model.items())
    return model


# Imports once, then forks a process per run, so that twenty runs do not import torch twenty times.
SERVER = """
import json, os, sys
import torch
torch.set_num_threads(1)
import augaware.pretrain, torch.utils.tensorboard
from augaware.cli import main
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.dup2(2, 1)
        os._exit(main(json.loads(line)))
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Server:
    """Starts command lines of augaware in processes of their own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def start(self, arguments: list[str]) -> int:
        """Start one; its process id."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        return self._number()

    def ended(self) -> int:
        """Wait for it; its exit code."""
        return self._number()

    def _number(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@contextmanager
def serving() -> Iterator[Server]:
    """A server, until the end of the block."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdin=-1, stdout=-1, text=True) as process:
        yield Server(process)
        assert process.stdin is not None
        process.stdin.close()


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline, f"{file} did not appear"
        time.sleep(0.005)
