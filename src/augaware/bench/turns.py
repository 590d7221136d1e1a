"""Sides in processes of their own, asked in turns: what disturbs the machine then disturbs all of them alike.

This file is also the program of such a process: ``python -m augaware.bench.turns SPEC SIDE THREADS FOLDER``. It reads
requests, one JSON object a line, and answers each with one.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from augaware import lookup
from augaware.bench.base import OURS, Bench, Round, Side, Size, Work
from augaware.progress import Display


class Failed(Exception):  # noqa: N818 - it reads as the sentence it is
    """The process of a side ended; the message is the last that it said."""


class Process:
    """The process of one side. Used as a context manager."""

    def __init__(self, spec: str, side: Side, folder: Path) -> None:
        self.side = side
        self._said = folder / f"{side.name.replace(' ', '-')}-{side.threads}.txt"
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(side.threads))
        arguments = ["-m", "augaware.bench.turns", spec, side.name, str(side.threads), str(folder)]
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(  # noqa: S603 - this very program
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                env=os.environ | threads | {"NO_ALBUMENTATIONS_UPDATE": "1"},
            )

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind:
            self._process.kill()
        try:
            self._process.communicate(timeout=30)  # no more requests: it ends
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def ask(self, **request: Any) -> None:
        """Send a request."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, and so gives no answer
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """The answer to the last request. Raises :class:`Failed`."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            said = self._said.read_text(errors="replace").strip()
            raise Failed(said.splitlines()[-1] if said else f"exit code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def take_turns(
    bench: Bench, spec: str, sides: Sequence[Side], folder: Path, display: Display
) -> dict[Size, dict[Side, list[Round]]]:
    """Size -> side -> its rounds. A peer that fails is left out, and said; where we fail, so does the bench."""
    measured: dict[Size, dict[Side, list[Round]]] = {}
    steps = itertools.count(1)
    with ExitStack() as stack:
        processes = [stack.enter_context(Process(spec, side, folder)) for side in sides]

        def each(at_once: bool = False, **request: Any) -> dict[Process, dict[str, Any]]:
            answers = {}
            for process in processes if at_once else []:
                process.ask(**request)
            for process in processes:
                try:
                    if not at_once:
                        process.ask(**request)
                    answers[process] = process.answer()
                except Failed as failed:
                    side = f"{process.side.name}, {process.side.threads} threads"
                    line = f"{side}, at {size} {bench.measure}: ended ({failed})"
                    if process.side.name == OURS:
                        raise RuntimeError(line) from None
                    display.line(f"{line}; left out")
                display.update(next(steps), f"{process.side.name}, {size} {bench.measure}")
            return answers

        for size in bench.sizes:
            processes = list(each(bench.at_once, size=size, seconds=bench.seconds))
            rounds: dict[Side, list[Round]] = {side: [] for side in sides}
            for _ in range(bench.rounds):
                answers = each(passes=True)
                for process, answer in answers.items():
                    rounds[process.side].append(Round(**answer))
                processes = [process for process in processes if process in answers]
                processes = [*processes[1:], *processes[:1]]  # each round begins with another
            measured[size] = {side: turns for side, turns in rounds.items() if len(turns) == bench.rounds}
    return measured


def timed(work: Work, passes: int) -> Round:
    """Do the job ``passes`` times."""
    wall, cpu = time.perf_counter(), time.process_time()
    elsewhere = work(passes)
    return Round(work.items * passes, time.process_time() - cpu + elsewhere, time.perf_counter() - wall)


def enough(work: Work, seconds: float) -> int:
    """How many passes a round needs to last ``seconds``; the job is done at least twice, and so is warm."""
    passes = 1
    timed(work, passes)
    while (wall := timed(work, passes).wall) < seconds:
        passes = math.ceil(passes * min(1.2 * seconds / max(wall, 1e-9), 10))
    return passes


def main(spec: str, name: str, threads: str, folder: str) -> None:
    """Answer requests until there are no more: a new size to get ready for, or a round."""
    import torch

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    bench: Bench = lookup.build("bench", spec)
    work, passes = None, 0
    for line in sys.stdin:
        request = json.loads(line)
        if "size" in request:
            work = None  # its memory and its processes go before the next comes
            work = bench.work(name, int(threads), request["size"], Path(folder))
            passes = enough(work, request["seconds"]) if request["seconds"] else 1
            answer: dict[str, Any] = {}
        else:
            assert work is not None
            done = timed(work, passes)
            answer = asdict(replace(done, found=work.found()))
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
