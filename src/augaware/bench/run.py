"""Run a bench by its name: prepare, take turns, rows."""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path
from typing import Any

from augaware import lookup
from augaware.bench.base import Bench, cores
from augaware.bench.rows import rows
from augaware.bench.turns import take_turns
from augaware.errors import RequestError
from augaware.progress import Display


def run(spec: str, peers: bool, data: str | None) -> dict[str, Any]:
    """The record of the bench ``spec``: its name, what it worked on, rows, the sides that were left out.

    Raises :class:`RequestError` for a wrong request.
    """
    bench = lookup.build("bench", spec)
    if not isinstance(bench, Bench):
        raise RequestError(f"bench {spec!r} gives a {type(bench).__name__}, not an augaware.bench.base.Bench")
    sides = bench.sides(peers)
    present = [side for side in sides if side.installed]
    skipped = {side.name: f"not installed; pip install {side.package}" for side in sides if not side.installed}
    with tempfile.TemporaryDirectory(prefix="augaware-bench-") as folder:
        made = bench.prepare(Path(folder), data)
        with Display("bench", len(bench.sizes) * len(present) * (bench.rounds + 1)) as display:
            for name, reason in skipped.items():
                display.line(f"{name} is skipped: {reason}")
            display.line(made)
            measured = take_turns(bench, spec, present, Path(folder), display)
    return {
        "bench": lookup.parse(spec, "bench").name,
        "unit": bench.unit,
        "measure": bench.measure,
        "rows": rows(measured, bench.compare),
        "data": made,
        "skipped": skipped,
        "machine": {"cores": cores(), "cpu": _cpu()},
    }


def _cpu() -> str:
    """The processor's own name, where the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
