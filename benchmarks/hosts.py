"""Pretrain with each host and seed on CIFAR-10, put kNN to the encoders, print RESULTS.md's tables.

    python benchmarks/hosts.py --data ../shared/data --out runs/hosts --seeds 20 21 22
    python benchmarks/hosts.py --data ../shared/data --time

Each run is the two commands of the README, in a process of its own with one thread, as many at a time as there are
cores. Encoder, views, batch and steps are the same for all hosts; a host's arguments were chosen on seed 0 alone. What
is there already is not run again, so the script may be stopped and started.

``--time`` trains nothing to the end: it measures a step of every host on one and the same batch, the hosts in turns.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from common import evaluated, header, row, score, side_by_side, spread, times, trained

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
        "momentum=0.98, momentum_end=0.98, freeze_epochs=0.1)",
        {},
    ),
    "supervised": ("supervised()", {}),
}
TASKS = {20: "knn('cifar10')", 200: "knn('cifar10', k=200)"}  # neighbours -> task
BASELINES = {"pixels": "random/pixels", "random": f"random/{ENCODER}"}


def fields(name: str, epochs: int) -> dict[str, Any]:
    """The recipe of a host, without its data and seed."""
    host, own = HOSTS[name]
    return {"host": host, "encoder": ENCODER, "size": SIZE, "epochs": epochs} | SHARED | own


def run(name: str, seed: int, epochs: int, data: Path, out: Path) -> None:
    """Pretrain one host with one seed and score it; pixels and random are only scored."""
    folder = place(name, seed, out)
    if name not in BASELINES:
        trained(folder, data / "cifar10" / "train.tar.gz", seed, fields(name, epochs))
    evaluated(BASELINES.get(name, str(folder)), folder, list(TASKS.values()), data, SIZE)


def place(name: str, seed: int, out: Path) -> Path:
    """The folder of one run."""
    return out / (name if name in BASELINES else f"{name}-seed{seed}")


def table(names: Sequence[str], seeds: Sequence[int], out: Path, k: int) -> None:
    """Print kNN of every host and its differences to the baselines, with the least of any seed."""
    bars = {name: score(place(name, 0, out), TASKS[k]) for name in BASELINES}
    header("host", f"kNN top-1, k = {k}", "minus random", "minus pixels")
    for name, bar in bars.items():
        row(name, f"{bar:.1f}", "", "")
    for name in names:
        scores = [score(place(name, seed, out), TASKS[k]) for seed in seeds]
        gains = [
            f"{spread([s - bars[b] for s in scores], '+')} (least {min(scores) - bars[b]:+.1f})"
            for b in ("random", "pixels")
        ]
        row(name, spread(scores), *gains)


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
        source = given.data / "cifar10" / "test.tar.gz"  # the smaller split: only one batch of it is used
        recipes = {name: fields(name, 1) for name in dict.fromkeys(["simclr", *given.hosts])}
        times(recipes, source, given.rounds, given.steps)
        return
    jobs = [(name, 0) for name in BASELINES] + [(name, seed) for seed in given.seeds for name in given.hosts]
    side_by_side([partial(run, *job, given.epochs, given.data, given.out) for job in jobs], given.workers)
    for k in TASKS:
        table(given.hosts, given.seeds, given.out, k)


if __name__ == "__main__":
    main()
