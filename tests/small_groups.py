"""Groups of processes that train together, forked from one that has imported everything."""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Job = tuple[str, list[Any]]  # a function of a test's module, "module:name", and what it is given


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(rank: int, world: int, port: int) -> dict[str, str]:
    """What torchrun sets."""
    found = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
    return {"MASTER_ADDR": "127.0.0.1"} | {name: str(value) for name, value in found.items()}


class Groups:
    """Starts groups of processes; what each prints goes to ``folder/<rank>.txt``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def start(self, world: int, jobs: Sequence[Job], folder: Path) -> list[int]:
        """Begin ``jobs``, one after the other, in ``world`` processes; their ids."""
        folder.mkdir(parents=True, exist_ok=True)
        ports = [free_port() for _ in jobs]
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([world, ports, list(jobs), str(folder)]) + "\n")
        self.process.stdin.flush()
        return self._numbers()

    def ended(self) -> list[int]:
        """Wait for all; the exit code of each."""
        return self._numbers()

    def run(self, world: int, jobs: Sequence[Job], folder: Path) -> None:
        """Do ``jobs`` in ``world`` processes, which must all end well."""
        self.start(world, jobs, folder)
        codes = self.ended()
        assert codes == [0] * world, [(folder / f"{rank}.txt").read_text()[-2000:] for rank in range(world)]

    def _numbers(self) -> list[int]:
        assert self.process.stdout is not None
        return [int(number) for number in self.process.stdout.readline().split()]


@contextmanager
def grouping() -> Iterator[Groups]:
    """A server of groups, until the end of the block."""
    paths = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-c", "import small_groups; small_groups.serve()"]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env={**os.environ, "PYTHONPATH": paths}) as process:
        yield Groups(process)
        assert process.stdin is not None
        process.stdin.close()


# --- in the server


def serve() -> None:
    import torch
    import torch.utils.tensorboard

    import augaware.pretrain

    assert augaware.pretrain
    torch.set_num_threads(1)
    for line in sys.stdin:
        world, ports, jobs, folder = json.loads(line)
        pids = []
        for rank in range(world):
            pid = os.fork()
            if not pid:
                os._exit(_do(rank, world, ports, jobs, Path(folder)))
            pids.append(pid)
        print(*pids, flush=True)
        print(*[os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids], flush=True)


def _do(rank: int, world: int, ports: list[int], jobs: list[Job], folder: Path) -> int:
    os.dup2(os.open(folder / f"{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(2, 1)
    for port, (name, given) in zip(ports, jobs, strict=True):
        if world > 1:
            os.environ.update(environment(rank, world, port))
        module, _, function = name.partition(":")
        try:
            code = getattr(importlib.import_module(module), function)(*given)
        except BaseException:
            traceback.print_exc()
            return 1
        if code:
            return int(code)
    return 0


# --- what they do


def command(arguments: list[str]) -> int:
    """A command line of augaware."""
    from augaware.cli import main

    return main(arguments)


def pretrain(recipe: str, out: str) -> None:
    """A run of a recipe in JSON."""
    from augaware.pretrain import start
    from augaware.recipe import Recipe

    start(Recipe.from_json(recipe), out)


def recorded(recipe: str, out: str, folder: str) -> None:
    """A run that leaves what the camera was asked for and gave in each step, ``folder/<rank>.pt``."""
    import torch

    from augaware.augment.plan import Camera

    taken: list[dict[str, Any]] = []
    original = Camera.take

    def take(camera: Camera, plan: Any, pixels: Any, sizes: Any, index: Any, *given: Any) -> Any:
        views = original(camera, plan, pixels, sizes, index, *given)
        taken.append({"index": index.clone(), "views": [{"image": v.image.clone(), **v.omega} for v in views]})
        return views

    Camera.take = take  # type: ignore[method-assign]
    try:
        pretrain(recipe, out)
    finally:
        Camera.take = original  # type: ignore[method-assign]
    torch.save(taken, Path(folder) / f"{os.environ.get('RANK', '0')}.pt")


def halted(recipe: str, out: str, step: int) -> None:
    """A run that all processes leave in a step, as if it had been killed."""
    import pytest

    from small_runs import start_and_kill

    assert pytest
    from augaware.recipe import Recipe

    start_and_kill(Recipe.from_json(recipe), Path(out), step)


def resumed(out: str) -> None:
    """A run that is continued."""
    from augaware.pretrain import resume

    resume(out)


def troubled(trouble: str, step: int, arguments: list[str]) -> int:
    """A command line in which process 1, or 0 with a full disk, or both with NaN, comes into ``trouble`` in a step."""
    import signal
    import time

    import pytest

    from augaware import saves, watch
    from augaware.pretrain import Trainer

    original, write = Trainer._step, saves.write

    def step_of(trainer: Trainer, number: int, *given: Any) -> Any:
        if trainer.group.rank == 1 and number == step:
            if trouble == "stuck":
                time.sleep(600)
            if trouble == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if trouble == "broken":
                raise OSError(5, "Input/output error", "/data")
            if trouble == "asked":
                os.kill(os.getpid(), signal.SIGTERM)
        parts, seconds = original(trainer, number, *given)
        if trouble == "nan" and number == step:
            time.sleep(2.0 * trainer.group.first)
            parts["loss"] = parts["loss"] * float("nan")
        return parts, seconds

    def written(state: Any, *given: Any) -> None:
        if trouble == "full" and state["step"] == step + 1:
            raise OSError(28, "No space left on device", "/disk")
        if trouble == "asked" and state["step"] == step + 1:
            time.sleep(4)
        write(state, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_step", step_of)
        patch.setattr(saves, "write", written)
        if trouble == "asked":
            patch.setattr(watch, "GRACE", 1.0)  # shorter than the write
        return command(arguments)


def without_data(arguments: list[str]) -> int:
    """A command line for which process 1 finds no data."""
    import pytest

    from augaware.errors import RequestError

    module = importlib.import_module("augaware.images")
    original = module.open_source

    def opened(src: str, *given: Any, **named: Any) -> Any:
        if os.environ["RANK"] == "1":
            raise RequestError(f"data {src!r}: there is no such folder or file")
        return original(src, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "open_source", opened)
        return command(arguments)


def in_double(job: str, *given: Any) -> None:
    """A job of this file in float64, views apart: rounding is too small to grow or to switch a ReLU in some steps."""
    import pytest
    import torch

    from augaware.augment.plan import Camera
    from augaware.pretrain import Trainer
    from augaware.views import View

    built, take = Trainer._built, Camera.take

    def taken(camera: Camera, *given: Any) -> list[View]:
        views = take(camera, *given)
        return [View(v.image.double(), {name: w.double() for name, w in v.omega.items()}) for v in views]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_built", lambda trainer, classes: built(trainer, classes).double())
        patch.setattr(Camera, "take", taken)
        as_float = torch.Tensor.float  # losses are computed in float32
        patch.setattr(torch.Tensor, "float", lambda t: t if t.dtype == torch.float64 else as_float(t))
        globals()[job](*given)
