"""Pretrain with each awareness on Tiny-ImageNet, probe on real data, print RESULTS.md's table of methods.

    python benchmarks/methods.py --data ../shared/data --out runs/methods --seeds 20 21 22
    python benchmarks/methods.py --data ../shared/data --cost

Host, encoder, views, batch, optimiser and steps are the same for all; a method's weight was chosen on seed 0 alone.
Each run is the two commands of the README, in a process of its own with one thread, as many at a time as there are
cores. What is there already is not run again, so the script may be stopped and started. ``--cost`` prints time per step
(the methods in turns) and the memory of a step.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from common import (
    ONE_THREAD,
    evaluated,
    header,
    interval,
    peak_memory,
    result,
    row,
    score,
    side_by_side,
    spread,
    times,
    trained,
)

SIZE = 24
ENCODER = "tiny(widths=(16, 32, 64, 128))"
SHARED: dict[str, Any] = {
    "host": "simclr(temperature=0.2, proj_hidden_dim=256)",
    "encoder": ENCODER,
    "size": SIZE,
    "augment": (
        "crop(scale=(0.2, 1.0))",
        "flip()",
        "color_jitter(0.8, 0.8, 0.8, 0.2)",
        "grayscale(p=0.2)",
        "gaussian_blur(p=0.5)",
    ),
    "epochs": 6,  # of 156 steps
    "batch_size": 128,
    "optimizer": "adamw",
    "base_lr": 4e-3,
    "weight_decay": 1e-4,
    "warmup_epochs": 0.3,
    "clip_norm": 3.0,
}
AUGSELF = "augself(targets={'crop': 2, 'color_jitter': 10}, hidden=256)"
CASSLE = "cassle(depth=2, scale=0.1)"
METHODS: dict[str, tuple[str, ...]] = {
    "vanilla": (),
    "augself": (AUGSELF,),
    "cassle": (CASSLE,),
    "augself+cassle": (AUGSELF, CASSLE),
    "looc": ("looc(['color_jitter', 'crop'])",),
    "ai": ("ai(form='film')",),
    "ifm": ("ifm()",),
    "hcl": ("hcl()",),
    "essl": ("essl(size=16, hidden=256)",),
    "equimod": ("equimod(hidden_dim=256, output_dim=256)",),
    "stl": ("stl(hidden=256)",),
    "sie": ("sie(lam=0.1, hidden_dim=256)",),
    "care": ("care(chunk=16)",),
    "shared": ("shared()",),
    "ours": ("equimod(lam=2, condition='all', hidden_dim=256, output_dim=256)",),
}
SETS = ("flowers102", "cifar100", "caltech101", "cars50", "dtd10")
CODE_EPOCHS = 20
LANDMARKS = "regression('face_keypoints68')"
TASKS = [f"linear_probe('{name}')" for name in SETS] + [LANDMARKS]
BASELINES = {"pixels": "random/pixels", "random": f"random/{ENCODER}"}


def fields(name: str) -> dict[str, Any]:
    """The recipe of a method, without its data and seed."""
    return SHARED | {"aware": METHODS[name]}


def run(name: str, seed: int, data: Path, out: Path) -> None:
    """Pretrain one method with one seed and probe it; pixels and random are only probed."""
    folder = place(name, seed, out)
    if name not in BASELINES:
        trained(folder, data / "tinyimagenet100" / "train.tar.gz", seed, fields(name))
    if name == "ai":
        probed_at_learnt_codes(folder, data)
    evaluated(BASELINES.get(name, str(folder)), folder, TASKS, data, SIZE)


def probed_at_learnt_codes(folder: Path, data: Path) -> None:
    """AI's linear probes: for each data set at the code that its train split chose; landmarks at .5."""
    from augaware.evaluate import evaluate
    from augaware.frozen import load_encoder

    for name in SETS:
        code, probe = f"learned_code('{name}', epochs={CODE_EPOCHS})", f"linear_probe('{name}')"
        if not result(folder, probe).exists():
            frozen = load_encoder(str(folder), size=SIZE)
            [learnt] = evaluate(frozen, [code], data, folder / "eval")
            frozen.f = frozen.f.at(learnt["metrics"]["code"])
            evaluate(frozen, [probe], data, folder / "eval")


def place(name: str, seed: int, out: Path) -> Path:
    """The folder of one run."""
    return out / (name if name in BASELINES else f"{name}-seed{seed}")


def table(names: Sequence[str], seeds: Sequence[int], out: Path) -> None:
    """Print the scores, the mean rank, and the differences to vanilla of the same seed."""
    scores = {n: {t: [score(place(n, s, out), t) for s in seeds] for t in TASKS} for n in names}
    heads = [*SETS, "landmarks"]
    header("method", *heads, "mean rank")
    for name in BASELINES:
        row(name, *(f"{score(place(name, 0, out), task):.1f}" for task in TASKS), "")
    for name in names:
        row(name, *(spread(scores[name][task]) for task in TASKS), f"{mean_rank(name, scores):.1f}")
    header("minus vanilla, same seed", *heads)
    for name in names:
        if name != "vanilla" and "vanilla" in scores:
            pairs = [zip(scores[name][task], scores["vanilla"][task], strict=True) for task in TASKS]
            row(name, *(interval([a - b for a, b in pair]) for pair in pairs))


def mean_rank(name: str, scores: dict[str, dict[str, list[float]]]) -> float:
    """The mean over tasks of a method's place by its mean over seeds, 1 the best."""
    means = {n: {t: statistics.fmean(scores[n][t]) for t in TASKS} for n in scores}
    return statistics.fmean(1 + sum(means[n][t] > means[name][t] for n in means) for t in TASKS)


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="ROOT, the folder of data sets")
    parser.add_argument("--out", type=Path, default=Path("runs/methods"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[20, 21, 22])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--cost", action="store_true", help="measure steps instead")
    parser.add_argument("--memory", choices=list(METHODS), help="print the memory of one method's step")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5, help="of a method in a round")
    given = parser.parse_args()
    source = given.data / "tinyimagenet100" / "val.tar.gz"  # the smaller split: only one batch of it is used
    if given.memory:
        print(f"{peak_memory(fields(given.memory), source):.0f}")
        return
    if given.cost:
        names = list(dict.fromkeys(["vanilla", *given.methods]))
        times({name: fields(name) for name in names}, source, given.rounds, given.steps)
        header("method", "memory of a step, MiB")
        for name in names:
            command = [sys.executable, __file__, "--data", str(given.data), "--memory", name]
            row(
                name,
                subprocess.run(
                    command, check=True, capture_output=True, text=True, env=os.environ | ONE_THREAD
                ).stdout.strip(),
            )
        return
    jobs = [(name, 0) for name in BASELINES] + [(name, seed) for seed in given.seeds for name in given.methods]
    side_by_side([partial(run, *job, given.data, given.out) for job in jobs], given.workers)
    table(given.methods, given.seeds, given.out)


if __name__ == "__main__":
    main()
