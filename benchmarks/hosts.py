"""Pretrain with each host and seed on CIFAR-10, put kNN to the encoders, print RESULTS.md's tables.

    python benchmarks/hosts.py --data ../shared/data --out runs/hosts --seeds 20 21 22
    python benchmarks/hosts.py --data ../shared/data --time

Each run is the two commands of the README, in a process of its own with one thread, as many at a time as there are
cores. Encoder, views, batch and steps are the same for all hosts; a host's arguments are to be chosen on
seed 0 alone. What is there already is not run again, so the script may be stopped and started. The settings below are
provisional: at this length BYOL and SimSiam are well above the untrained encoder, and not yet above pixels.

``--time`` trains nothing to the end: it measures a step of every host on one and the same batch, the hosts in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SIZE = 24
ENCODER = "tiny(widths=(16, 32, 64, 128))"
SHARED: dict[str, Any] = {
    "augment": (
        "crop(scale=(0.4, 1.0))",
        "flip()",
        "color_jitter(0.4, 0.4, 0.4, 0.1)",
        "grayscale(p=0.2)",
    ),
    "batch_size": 128,
    "optimizer": "adamw",
    "base_lr": 4e-3,
    "weight_decay": 1e-4,
    "warmup_epochs": 0.5,
    "clip_norm": 3.0,
}
EPOCHS = 10  # of 390 steps
SGD = {"optimizer": "sgd", "base_lr": 0.4, "weight_decay": 5e-4}
HOSTS: dict[str, tuple[str, dict[str, Any]]] = {  # name -> host, what differs from SHARED
    "simclr": ("simclr(proj_hidden_dim=256)", {}),
    "moco_v2": ("moco_v2(4096, momentum=0.98, proj_hidden_dim=256)", {}),
    "moco_v3": (
        "moco_v3(momentum=0.98, proj_layers=2, hidden_dim=512, output_dim=128, predictor_bn=False)",
        {},
    ),
    "byol": ("byol(momentum=0.98, momentum_end=0.98, hidden_dim=1024, output_dim=256)", SGD),
    "simsiam": ("simsiam(proj_layers=2, hidden_dim=1024, pred_hidden_dim=256)", SGD),
    "swav": ("swav(prototypes=100, freeze=50, hidden_dim=512)", {}),
    "barlow_twins": ("barlow_twins(hidden_dim=512, output_dim=512)", {}),
    "vicreg": ("vicreg(hidden_dim=512, output_dim=512)", {}),
    "dino": (
        "dino(output_dim=1024, hidden_dim=512, bottleneck_dim=128, warmup_epochs=0, teacher_temperature_end=0.04, "
        "momentum=0.98, freeze_epochs=0.1)",
        {},
    ),
    "supervised": ("supervised()", {}),
}
TASKS = {20: "knn('cifar10')", 200: "knn('cifar10', k=200)"}  # neighbours -> task
BASELINES = {"pixels": "random/pixels", "random": f"random/{ENCODER}"}


def augaware(*arguments: str) -> None:
    """One command of the library, with one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "augaware.cli", *arguments], check=True, env=environment)


def fields(name: str, epochs: int) -> dict[str, Any]:
    """The recipe of a host, without its data and seed."""
    host, own = HOSTS[name]
    return {"host": host, "encoder": ENCODER, "size": SIZE, "epochs": epochs} | SHARED | own


def run(name: str, seed: int, epochs: int, data: Path, out: Path) -> None:
    """Pretrain one host with one seed and score it; pixels and random are only scored."""
    folder = place(name, seed, out)
    if name not in BASELINES:
        if folder.exists():
            augaware("resume", str(folder))
        else:
            chosen = [part for key, value in fields(name, epochs).items() for part in ("--set", f"{key}={value}")]
            source = str(data / "cifar10" / "train.tar.gz")
            augaware("pretrain", "--data", source, "--seed", str(seed), "--out", str(folder), *chosen)
    missing = [part for k, task in TASKS.items() if not result(folder, k).exists() for part in ("--task", task)]
    if missing:
        encoder = BASELINES.get(name, str(folder))
        augaware("eval", encoder, *missing, "--data", str(data), "--out", str(folder), "--size", str(SIZE))


def place(name: str, seed: int, out: Path) -> Path:
    """The folder of one run."""
    return out / (name if name in BASELINES else f"{name}-seed{seed}")


def result(folder: Path, k: int) -> Path:
    """The file of a run's kNN."""
    return folder / "eval" / ("knn_cifar10.json" if k == 20 else f"knn_cifar10_k_{k}.json")


def score(folder: Path, k: int) -> float:
    """Top-1 of kNN in per cent."""
    return 100 * json.loads(result(folder, k).read_text())["metrics"]["test"]


def spread(numbers: Sequence[float], sign: str = "") -> str:
    """Mean and standard deviation of some runs."""
    sd = f" ± {statistics.stdev(numbers):.1f}" if len(numbers) > 1 else ""
    return f"{statistics.fmean(numbers):{sign}.1f}{sd}"


def table(names: Sequence[str], seeds: Sequence[int], out: Path, k: int) -> None:
    """Print kNN of every host and its differences to the baselines, with the least of any seed."""
    bars = {name: score(place(name, 0, out), k) for name in BASELINES}
    heads = ("host", f"kNN top-1, k = {k}", "minus random", "minus pixels")
    print(f"\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name, bar in bars.items():
        print(f"| {name} | {bar:.1f} | | |")
    for name in names:
        scores = [score(place(name, seed, out), k) for seed in seeds]
        gains = [
            f"{spread([s - bars[b] for s in scores], '+')} (least {min(scores) - bars[b]:+.1f})"
            for b in ("random", "pixels")
        ]
        print(f"| {name} | {spread(scores)} | {' | '.join(gains)} |")


def times(names: Sequence[str], data: Path, rounds: int, steps: int) -> None:
    """Print what a step of each host takes: views, forward, backward, optimiser and target, one thread.

    A round gives each host in turn one step that is not counted and then ``steps`` that are; of these the median
    counts. The ratio to SimCLR is taken within a round, of CPU seconds, which a busy machine disturbs less.
    """
    import torch

    from augaware.pretrain import Trainer
    from augaware.progress import Display
    from augaware.recipe import Recipe

    torch.set_num_threads(1)
    source = str(data / "cifar10" / "test.tar.gz")  # the smaller split: only one batch of it is used
    with Display("reading images", total=1) as display:
        trainers = {n: Trainer(Recipe(data=source, health_images=0, **fields(n, 1)), display) for n in names}
    batch = trainers[names[0]].source.batch(torch.arange(SHARED["batch_size"]))
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
    print("\n| host | ms per step | CPU ms per step | CPU, times simclr's in the same round |\n|---|---|---|---|")
    for name in names:
        ratios = [a / b for a, b in zip(cpu[name], cpu["simclr"], strict=True)]
        print(f"| {name} | {middle(clock[name], 0)} | {middle(cpu[name], 0)} | {middle(ratios, 2)} |")


def middle(numbers: Sequence[float], digits: int) -> str:
    """Median, smallest and largest."""
    low, mid, high = (f"{f(numbers):.{digits}f}" for f in (min, statistics.median, max))
    return f"{mid} [{low}, {high}]"


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="ROOT, the folder that holds cifar10/")
    parser.add_argument("--out", type=Path, default=Path("runs/hosts"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[20, 21, 22])
    parser.add_argument("--hosts", nargs="+", default=list(HOSTS), choices=list(HOSTS))
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--time", action="store_true", help="measure steps instead")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5, help="of a host in a round")
    given = parser.parse_args()
    if given.time:
        names = list(dict.fromkeys(["simclr", *given.hosts]))
        times(names, given.data, given.rounds, given.steps)
        return
    jobs = [(name, 0) for name in BASELINES] + [(name, seed) for seed in given.seeds for name in given.hosts]
    with ThreadPoolExecutor(given.workers) as pool:
        list(pool.map(lambda job: run(*job, given.epochs, given.data, given.out), jobs))
    for k in TASKS:
        table(given.hosts, given.seeds, given.out, k)


if __name__ == "__main__":
    main()
