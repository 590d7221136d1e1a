"""A run that is killed about every minute, beside one that is left alone: both must end with the same weights.

    python benchmarks/soak.py [SECONDS]      default 3600: about how long the run that is left alone takes

Two processes of one thread each. Most kills are SIGKILL at a random moment, every fifth is SIGTERM; after each the run
is resumed. Prints a line per kill with where it struck, then a report; exit code 0 only if all weights, optimiser
states and logged numbers are the same bit for bit.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

EVERY = float(os.environ.get("AUGAWARE_SOAK_EVERY", "60"))  # seconds between kills, on average
CLOCK = ("images_per_second", "data_wait", "views_share")
IMAGES = 1024
RUN = [
    *(
        "--data",
        f"shapes(n={IMAGES})",
        "--encoder",
        "tiny(widths=(16, 32, 64, 128))",
        "--size",
        "24",
        "--batch-size",
        "32",
    ),
    *("--host", "byol()", "--aware", "augself()", "--aware", "cassle()", "--device", "cpu", "--precision", "fp32"),
    *("--set", "checkpoint_seconds=2", "--set", "log_steps=5", "--set", "health_images=128", "--set", "snapshots=10"),
]


def augaware(*arguments: str) -> subprocess.Popen[bytes]:
    """A command line of augaware in a process of its own, on one thread."""
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    log = open(os.environ["AUGAWARE_SOAK_LOG"], "ab")  # noqa: SIM115 - the process has it
    return subprocess.Popen(
        [sys.executable, "-m", "augaware.cli", *arguments], stderr=log, stdout=log, env=os.environ | threads
    )


def finished(run: Path) -> bool:
    """Whether the run is complete."""
    return (run / "export" / "encoder.safetensors").exists()


def lines(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what the clock says; without a line that is torn."""
    found = []
    file = run / "metrics.jsonl"
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            found.append({key: value for key, value in json.loads(line).items() if key not in CLOCK})
        except json.JSONDecodeError:
            break
    return found


def struck(run: Path, before: int) -> str:
    """Where the process was, by what it left; ``before`` is how long log.txt was when it started."""
    if not (run / "log.txt").exists() or (run / "log.txt").stat().st_size <= before:
        return "at the start"
    if (run / "checkpoints" / "last.draft").exists():
        return "during a checkpoint write"
    return "in a step"


def same(one: Any, two: Any) -> bool:
    """Whether two states are equal, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)


def speed(folder: Path) -> float:
    """Epochs a second, of a short run beside another, as both will run."""
    runs = [folder / "speed-1", folder / "speed-2"]
    started = [augaware("pretrain", *RUN, "--epochs", "3", "--out", str(run)) for run in runs]
    if any(process.wait() for process in started):
        raise SystemExit(f"FAILED: see {folder / 'output.txt'}")
    logged = [json.loads(line) for line in (runs[0] / "metrics.jsonl").read_text().splitlines()]
    rates = sorted(line["images_per_second"] for line in logged if "images_per_second" in line)
    return float(rates[len(rates) // 2] / IMAGES)


def main(seconds: float) -> int:
    """Train both, kill one, compare."""
    folder = Path(tempfile.mkdtemp(prefix="augaware-soak-"))
    os.environ["AUGAWARE_SOAK_LOG"] = str(folder / "output.txt")
    chosen = random.Random(int(time.time()))
    epochs = max(3, round(seconds * speed(folder)))
    print(f"soak in {folder}: {epochs} epochs of 32 steps, a kill every {EVERY:.0f} s or so", flush=True)
    whole, run = folder / "whole", folder / "killed"
    began = time.monotonic()
    left_alone = augaware("pretrain", *RUN, "--epochs", str(epochs), "--out", str(whole))
    took: float | None = None
    kills: Counter[str] = Counter()
    while not finished(run):
        before = (run / "log.txt").stat().st_size if (run / "log.txt").exists() else 0
        command = (
            ["resume", str(run)] if run.exists() else ["pretrain", *RUN, "--epochs", str(epochs), "--out", str(run)]
        )
        process = augaware(*command)
        number = signal.SIGTERM if sum(kills.values()) % 5 == 4 else signal.SIGKILL
        at_start = chosen.random() < 1 / 6  # the others strike once it trains
        wait = chosen.uniform(0, 5) if at_start else EVERY * chosen.uniform(0.2, 1.8)
        until = time.monotonic() + wait
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
            if not at_start and struck(run, before) == "at the start":
                until = time.monotonic() + wait
            if took is None and left_alone.poll() is not None:
                took = time.monotonic() - began
        if process.poll() is None:
            process.send_signal(number)
            code = process.wait()
            where = f"{number.name} {struck(run, before)}"
            kills[where] += 1
            print(
                f"{time.monotonic() - began:7.0f} s  {where}, exit code {code}, {len(lines(run))} lines logged",
                flush=True,
            )
        elif process.returncode:
            print(f"FAILED: exit code {process.returncode}; see {folder / 'output.txt'}")
            left_alone.kill()
            return 1
    lasted = time.monotonic() - began
    code = left_alone.wait()
    took = took or time.monotonic() - began
    states = [torch.load(r / "checkpoints" / "last.pt", weights_only=True) for r in (whole, run)]
    checks = {
        "weights": all(
            (run / file.relative_to(whole)).read_bytes() == file.read_bytes()
            for file in [*(whole / "export").iterdir(), *(whole / "snapshots").iterdir()]
        ),
        "state": same(*states),
        "numbers": lines(run) == lines(whole),
    }
    print(f"left alone: {took:.0f} s, exit code {code}; killed {sum(kills.values())} times: {lasted:.0f} s")
    for where, count in sorted(kills.items()):
        print(f"  {count:4d}  {where}")
    for what, equal in checks.items():
        print(f"{what}: {'the same bit for bit' if equal else 'DIFFERENT'}")
    return 0 if code == 0 and all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 3600.0))
