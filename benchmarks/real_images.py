"""Pretrain on Tiny-ImageNet with each variant and seed, probe on real data, print RESULTS.md's table.

    python benchmarks/real_images.py --data ../shared/data --out runs/real --seeds 20 21 22

Each run is the two commands of the README, in a process of its own with one thread, as many at a time as there are
cores.
What is there already is not run again, so the script may be stopped and started.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

VARIANTS = ("vanilla", "augself", "cassle", "augself+cassle")
SETS = ("flowers102", "cifar100", "caltech101", "dtd10", "cars50")
TASKS = [f"linear_probe('{name}')" for name in SETS]
BASELINES = {"pixels": "random/pixels", "random": "random/tiny(widths=(32, 64, 128, 256))"}
T_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78}  # two-sided 95 % of Student's t, by degrees of freedom


def augaware(*arguments: str) -> None:
    """One command of the library, with one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "augaware.cli", *arguments], check=True, env=environment)


def run(variant: str, seed: int, epochs: int, data: Path, out: Path) -> None:
    """Pretrain and probe one variant with one seed; pixels and random are only probed."""
    if variant in BASELINES:
        folder, encoder = (
            out / variant,
            {"pixels": "random/pixels", "random": "random/tiny(widths=(32, 64, 128, 256))"}[variant],
        )
    else:
        folder = out / f"{variant}-seed{seed}"
        encoder = str(folder)
        if folder.exists():
            augaware("resume", encoder)
        else:
            recipe = f"tinyimagenet100_cpu(variant='{variant}', epochs={epochs})"
            source = str(data / "tinyimagenet100" / "train.tar.gz")
            augaware("pretrain", "--recipe", recipe, "--data", source, "--seed", str(seed), "--out", encoder)
    missing = [task for task, name in zip(TASKS, SETS, strict=True) if not result(folder, name).exists()]
    if missing:
        chosen = [part for task in missing for part in ("--task", task)]
        augaware("eval", encoder, *chosen, "--data", str(data), "--out", str(folder), "--size", "32")


def result(folder: Path, name: str) -> Path:
    """The file of one probe."""
    return folder / "eval" / f"linear_probe_{name}.json"


def score(folder: Path, name: str) -> float:
    """Test score of one probe in percent."""
    return 100 * json.loads(result(folder, name).read_text())["metrics"]["test"]


def cell(numbers: list[float], interval: bool = False) -> str:
    """Mean and standard deviation, or mean and 95 % interval, of some runs."""
    mean = statistics.fmean(numbers)
    if len(numbers) < 2:
        return f"{mean:.1f}"
    sd = statistics.stdev(numbers)
    if not interval:
        return f"{mean:.1f} ± {sd:.1f}"
    half = T_95[len(numbers) - 1] * sd / math.sqrt(len(numbers))
    return f"{mean:+.1f} [{mean - half:.1f}, {mean + half:.1f}]"


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[20, 21, 22])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    given = parser.parse_args()
    jobs = [(v, s) for s in given.seeds for v in given.variants] + [(name, 0) for name in BASELINES]
    with ThreadPoolExecutor(given.workers) as pool:
        list(pool.map(lambda job: run(*job, given.epochs, given.data, given.out), jobs))
    print(f"| encoder | {' | '.join(SETS)} |\n|{'---|' * (len(SETS) + 1)}")
    for name in BASELINES:
        print(f"| {name} | {' | '.join(cell([score(given.out / name, s)]) for s in SETS)} |")
    folders = {v: [given.out / f"{v}-seed{seed}" for seed in given.seeds] for v in given.variants}
    for variant, runs in folders.items():
        print(f"| {variant} | {' | '.join(cell([score(f, s) for f in runs]) for s in SETS)} |")
    for variant, runs in folders.items():
        if variant != "vanilla":
            pairs = {
                s: [score(f, s) - score(v, s) for f, v in zip(runs, folders["vanilla"], strict=True)] for s in SETS
            }
            print(f"| {variant} - vanilla | {' | '.join(cell(pairs[s], interval=True) for s in SETS)} |")


if __name__ == "__main__":
    main()
