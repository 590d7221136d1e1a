"""What the benchmarks share: runs as commands in processes of their own, scores, tables, the time of a step."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

T_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78}  # two-sided 95 % of Student's t, by degrees of freedom
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def augaware(*arguments: str) -> None:
    """One command of the library, with one thread."""
    subprocess.run([sys.executable, "-m", "augaware.cli", *arguments], check=True, env=os.environ | ONE_THREAD)


def trained(folder: Path, source: Path, seed: int, fields: Mapping[str, Any]) -> None:
    """The run of ``fields`` in ``folder``: pretrained, or continued where it was stopped."""
    if folder.exists():
        augaware("resume", str(folder))
    else:
        chosen = [part for key, value in fields.items() for part in ("--set", f"{key}={value}")]
        augaware("pretrain", "--data", str(source), "--seed", str(seed), "--out", str(folder), *chosen)


def evaluated(encoder: str, folder: Path, tasks: Sequence[str], data: Path, size: int) -> None:
    """The results of ``tasks`` in ``folder/eval``; those that are there are not made again."""
    missing = [part for task in tasks if not result(folder, task).exists() for part in ("--task", task)]
    if missing:
        augaware("eval", encoder, *missing, "--data", str(data), "--out", str(folder), "--size", str(size))


def result(folder: Path, task: str) -> Path:
    """The file of one result."""
    from augaware.evaluate import slug

    return folder / "eval" / f"{slug(task)}.json"


def score(folder: Path, task: str, part: str = "r2_pooled") -> float:
    """The result of one task in per cent; ``part`` of it where it has several."""
    test = json.loads(result(folder, task).read_text())["metrics"]["test"]
    return 100 * (test[part] if isinstance(test, dict) else test)


def side_by_side(jobs: Sequence[Callable[[], None]], workers: int) -> None:
    """Run all jobs, ``workers`` at a time."""
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(job) for job in jobs]:
            done.result()


def spread(numbers: Sequence[float], sign: str = "", digits: int = 1) -> str:
    """Mean and standard deviation of some runs."""
    sd = f" ± {statistics.stdev(numbers):.{digits}f}" if len(numbers) > 1 else ""
    return f"{statistics.fmean(numbers):{sign}.{digits}f}{sd}"


def interval(differences: Sequence[float]) -> str:
    """Mean and 95 % interval of paired differences (Student's t)."""
    if len(differences) < 2:
        return spread(differences, "+")
    mean, n = statistics.fmean(differences), len(differences)
    half = T_95[n - 1] * statistics.stdev(differences) / math.sqrt(n)
    return f"{mean:+.1f} [{mean - half:.1f}, {mean + half:.1f}]"


def middle(numbers: Sequence[float], digits: int) -> str:
    """Median, smallest and largest."""
    low, mid, high = (f"{f(numbers):.{digits}f}" for f in (min, statistics.median, max))
    return f"{mid} [{low}, {high}]"


def header(*heads: str) -> None:
    """Print the first two lines of a table."""
    print(f"\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")


def row(*cells: str) -> None:
    """Print a line of a table."""
    print(f"| {' | '.join(cells)} |")


def times(recipes: Mapping[str, Mapping[str, Any]], source: Path, rounds: int, steps: int) -> None:
    """Print what a step of each recipe takes: views, forward, backward, optimiser and target, one thread.

    A round gives each recipe in turn one step that is not counted and then ``steps`` that are; of these the median
    counts. The ratio to the first recipe is taken within a round, of CPU seconds, which a busy machine disturbs less.
    """
    import torch

    from augaware.pretrain import Trainer
    from augaware.progress import Display
    from augaware.recipe import Recipe

    torch.set_num_threads(1)
    names = list(recipes)
    with Display("reading images", total=1) as display:
        trainers = {n: Trainer(Recipe(data=str(source), health_images=0, **recipes[n]), display) for n in names}
    batch = trainers[names[0]].source.batch(torch.arange(trainers[names[0]].recipe.batch_size))
    clock: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for name in (*names[number % len(names) :], *names[: number % len(names)]):  # each round starts elsewhere
            spent = []
            for step in range(steps + 1):
                began = time.perf_counter(), time.process_time()
                trainers[name]._step(number * (steps + 1) + step, 0, batch)
                spent.append((time.perf_counter() - began[0], time.process_time() - began[1]))
            clock[name].append(1000 * statistics.median(s[0] for s in spent[1:]))
            cpu[name].append(1000 * statistics.median(s[1] for s in spent[1:]))
    header("run", "ms per step", "CPU ms per step", f"CPU, times {names[0]}'s in the same round")
    for name in names:
        ratios = [a / b for a, b in zip(cpu[name], cpu[names[0]], strict=True)]
        row(name, middle(clock[name], 0), middle(cpu[name], 0), middle(ratios, 2))


def peak_memory(fields: Mapping[str, Any], source: Path, steps: int = 3) -> float:
    """Largest resident memory of some steps, in MiB above that before the first; Linux, in a process of its own."""
    import torch

    from augaware.pretrain import Trainer
    from augaware.progress import Display
    from augaware.recipe import Recipe

    torch.set_num_threads(1)
    with Display("reading images", total=1) as display:
        trainer = Trainer(Recipe(data=str(source), health_images=0, **fields), display)
    batch = trainer.source.batch(torch.arange(trainer.recipe.batch_size))
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far, of reading and compiling, is forgotten
    before = resident("VmRSS")
    for step in range(steps):
        trainer._step(step, 0, batch)
    return resident("VmHWM") - before


def resident(kind: str) -> float:
    """Memory of this process in MiB: VmRSS is now, VmHWM the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(kind)).split()[1]) / 1024
