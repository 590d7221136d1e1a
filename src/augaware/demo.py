"""The main job, end to end, on images it draws itself.

Trains SimCLR vanilla, with AugSelf, with CASSLE and with both on ``shapes`` under strong colour jitter, over several
seeds; reads what each encoder kept off its frozen features; writes demo.json and one HTML page.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augaware.demo_page import page
from augaware.progress import Display, duration
from augaware.recipes.demo import demo as recipe

if TYPE_CHECKING:
    from augaware.data.base import Source
    from augaware.frozen import Frozen
    from augaware.recipe import Recipe

AUGSELF = "augself(targets={'crop': 0.5, 'color_jitter': 3}, hidden=256)"
CASSLE = "cassle(depth=2, scale=0.1)"
VARIANTS = {"vanilla": (), "augself": (AUGSELF,), "cassle": (CASSLE,), "augself+cassle": (AUGSELF, CASSLE)}
BASELINES = {"pixels": "random/pixels(side=12)", "random": f"random/{recipe().encoder}"}
SEEDS = (10, 11, 12)  # not those on which the setting was chosen
MATCHED = 500  # images of the host's own test

Result = dict[str, Any]


def demo(out: Path, quick: bool) -> Path:
    """Run the demo in the new folder ``out`` and return its page."""
    from augaware.checkpoint import refuse_existing

    refuse_existing(out)
    began = time.monotonic()
    seeds, settings = (SEEDS[:1], {"epochs": 1}) if quick else (SEEDS, {})
    jobs = [(name, seed, settings, out / f"{name}-seed{seed}") for seed in seeds for name in VARIANTS]
    out.mkdir(parents=True)
    results: list[Result] = []
    with Display("demo", total=len(jobs), every=0) as display:
        display.line(f"training {len(VARIANTS)} variants x {len(seeds)} seeds on drawn images, {_workers()} at a time")
        for result in _side_by_side(jobs):
            results.append(result)
            hue, match = result["factors"]["object_hue"], result["instance_match"]
            display.update(
                len(results),
                f"{result['variant']} seed {result['seed']}: object hue R2 {hue:.2f}, instances matched {match:.2f}",
            )
    baselines = [{"variant": name, "seed": seeds[0], **measure(e, seeds[0])} for name, e in BASELINES.items()]
    seconds = round(time.monotonic() - began, 1)
    record = {"results": results, "baselines": baselines, "seconds": seconds}
    (out / "demo.json").write_text(json.dumps(record, indent=2) + "\n")
    encoders = {"pixels": BASELINES["pixels"]} | {name: str(out / f"{name}-seed{seeds[0]}") for name in VARIANTS}
    html = page(out, results, baselines, encoders, seconds)
    print(f"\nwrote {html} in {duration(time.monotonic() - began)}")
    return html


def _workers() -> int:
    import torch

    return 1 if torch.cuda.is_available() else max(1, min(os.cpu_count() or 1, len(VARIANTS)))


def _side_by_side(jobs: list[tuple[str, int, dict[str, Any], Path]]) -> Iterable[Result]:
    """The results of ``jobs`` in order: one process per core, one thread each, so that no core waits for another."""
    with ProcessPoolExecutor(_workers(), mp_context=get_context("spawn"), initializer=_quiet) as pool:
        yield from pool.map(_train_and_measure, *zip(*jobs, strict=True))


def _quiet() -> None:
    """A worker's own lines would mix with the others'; they are in each run's log.txt."""
    import torch

    torch.set_num_threads(1 if not torch.cuda.is_available() else torch.get_num_threads())
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def _train_and_measure(variant: str, seed: int, settings: dict[str, Any], out: Path) -> Result:
    """Train one variant, then measure its encoder at each snapshot on the way and at the end."""
    from augaware.pretrain import start

    began = time.monotonic()
    start(recipe(VARIANTS[variant], seed).changed(settings), out)
    seconds = time.monotonic() - began
    snapshots = sorted((out / "snapshots").glob("step-*.safetensors"))[:-1]  # the last is the end
    trajectory = [measure(str(file), seed) for file in snapshots]
    final = measure(str(out), seed, results=out / "eval")
    trajectory.append(final)
    return {"variant": variant, "seed": seed, **final, "trajectory": trajectory, "train_seconds": round(seconds, 1)}


def measure(encoder: str, seed: int, results: Path | None = None) -> Result:
    """What ENCODER kept, factor by factor, and the host's own quality, both on images it was not trained on."""
    from augaware.evaluate import run_task, write_result
    from augaware.frozen import load_encoder
    from augaware.tasks.factors import Factors

    frozen = load_encoder(encoder, size=recipe().size, device="cpu")
    result = run_task(frozen, "factors('shapes')", Factors("shapes"), _splits())
    if results is not None:
        write_result(result, results)
    return {"factors": result["metrics"]["test"], "instance_match": instance_match(frozen, recipe(seed=seed))}


@cache
def _splits() -> dict[str, Source]:
    """The drawn train, val and test images, drawn once per process."""
    from augaware.data.loader import open_source
    from augaware.data.root import open_dataset

    return {split: open_source(source.name) for split, source in open_dataset(".", "shapes").items()}


def instance_match(frozen: Frozen, r: Recipe) -> float:
    """What SimCLR trains for, measured on f's features: how often the other view of an image is the nearest of all."""
    import torch

    from augaware import metrics
    from augaware.augment.plan import pipelines

    pipeline = pipelines(r)[0]
    images = _splits()["test"].batch(torch.arange(MATCHED))
    views = [pipeline.view(images.images, images.sizes, images.index, r.seed, 0, number) for number in range(2)]
    with torch.no_grad():
        return metrics.instance_match(*(frozen(view.image) for view in views))
