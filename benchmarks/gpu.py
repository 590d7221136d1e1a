"""Steps on a GPU: launched kernel by kernel or as one graph, compiled or not, with each awareness, with their views.

    python benchmarks/gpu.py [--quick]

One process, one after the other, so that minutes of a GPU are enough; ``augaware bench step`` takes turns with other
libraries. Prints milliseconds of a step (median, least and most of three rounds), images per second, the most memory
that torch had allocated, and TFLOP/s as a part of what a large bf16 product reaches on the same GPU.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from augaware.bench import pictures
from augaware.bench.own_steps import Job, Own
from augaware.gpu import Passes

R18, R50 = ("resnet18", 96, 256), ("resnet50", 224, 128)
BOTH = ("augself()", "cassle()")


@dataclass(frozen=True)
class Side:
    """What differs from a graph of a vanilla step on views that are given."""

    name: str
    aware: tuple[str, ...] = ()
    host: str = "simclr()"
    given: bool = True
    graph: bool = True
    compile: str = "no"


SIDES = (
    Side("kernel by kernel", graph=False),
    Side("graph"),
    Side("graph, compiled", compile="yes"),
    Side("graph, AugSelf", aware=BOTH[:1]),
    Side("graph, CASSLE", aware=BOTH[1:]),
    Side("graph, both", aware=BOTH),
    Side("graph, MoCo v2", host="moco_v2()"),
    Side("graph, views made too", given=False),
    Side("graph, compiled, AugSelf", aware=BOTH[:1], compile="yes"),
    Side("graph, compiled, CASSLE", aware=BOTH[1:], compile="yes"),
    Side("graph, compiled, views made too", given=False, compile="yes"),
)


def measure(side: Side, encoder: str, size: int, batch: int, steps: int) -> str:
    """One side, in a line."""
    with tempfile.TemporaryDirectory() as folder:
        pictures.write(Path(folder), size, batch, None)
        job = Job(encoder, size, batch, side.host, compile=side.compile)
        own = Own(job, Path(folder), "cuda", "auto", side.aware, side.given)
    trainer = own.trainer
    if not side.graph:
        trainer.passes = Passes(trainer.objective, trainer.optimizer, trainer.fabric.backward)
    torch.cuda.reset_peak_memory_stats()
    own(10)
    rounds = []
    for _ in range(3):
        began = time.perf_counter()
        own(steps)
        rounds.append((time.perf_counter() - began) / steps)
    middle, gib = statistics.median(rounds), torch.cuda.max_memory_allocated() / 2**30
    found = own.found()
    share = found["TFLOP"] * batch / middle / found["rate"]
    name = f"{encoder} {size} px, {batch} images"
    return (
        f"{name:32} {side.name:32} {1e3 * middle:7.2f} ms [{1e3 * min(rounds):.2f}, {1e3 * max(rounds):.2f}]  "
        f"{batch / middle:6.0f} images/s  {gib:5.2f} GiB  {share:.1%} of {found['rate']:.0f} TFLOP/s  "
        f"{found['launched']}"
    )


def main() -> None:
    """Every side of both networks; ``--quick`` leaves out what compiles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out what compiles")
    quick = parser.parse_args().quick
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}, {torch.get_num_threads()} threads", flush=True)
    for network, steps in ((R18, 40), (R50, 10)):
        for side in SIDES:
            if side.compile == "no" or not quick:
                print(measure(side, *network, steps), flush=True)
                torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
