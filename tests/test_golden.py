"""Golden loss curves: twenty steps of every host with every awareness, as they were when last looked at.

A change that was not meant to move them is a bug. After one that was, or with a new host, write them again and say
why in the commit:

    .venv/bin/python tests/test_golden.py

That also takes each curve from pixels that differ by a millionth, and refuses one that then moves by more than a tenth
of the tolerance: rounding differs from one CPU to the next, and a chaotic curve would show nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from augaware import lookup
from augaware.pretrain import Trainer
from augaware.progress import Display
from augaware.random import epoch_order
from augaware.recipe import Recipe
from augaware.views import View
from small_hosts import narrow

FILE = Path(__file__).with_name("golden.json")
STEPS, TOLERANCE = 20, 1e-3  # absolute, and relative above 1
AUGSELF, CASSLE = "augself(hidden=64)", "cassle(depth=2, width=16)"
AWARE = {"vanilla": (), "augself": (AUGSELF,), "cassle": (CASSLE,), "both": (AUGSELF, CASSLE)}
HOSTS = {name: narrow(name) for name in lookup.names("hosts")} | {
    "supervised": "supervised()",
    "swav": "swav(prototypes=12, hidden_dim=32, output_dim=16, freeze=2, queue=32, queue_epoch=1)",
}


def recipe(host: str, aware: str) -> Recipe:
    """Five epochs of four steps of a tiny network on drawn images, the same on every machine."""
    return Recipe(
        data="shapes(n=64)",
        host=HOSTS[host],
        aware=AWARE[aware],
        encoder="tiny(widths=(8, 16))",
        size=16,
        epochs=5,
        batch_size=16,
        base_lr=0.1,
        clip_norm=0.2,  # small steps, whatever the host's scale: larger ones make the curves chaotic
        device="cpu",
        precision="fp32",
        health_images=0,
    )


class Golden(Trainer):
    """The loop's own steps, without the files."""

    def curve(self) -> list[float]:
        """The loss of each step."""
        found = []
        for step in range(STEPS):
            epoch, first = divmod(step, self.steps_per_epoch)
            order = epoch_order(len(self.source), self.recipe.seed, epoch).split(self.recipe.batch_size)
            parts, _ = self._step(step, epoch, self.source.batch(order[first]))
            found.append(parts["loss"].item())
        return found


def curve(host: str, aware: str, moved: float = 0.0) -> list[float]:
    """The curve of a host and an awareness; ``moved`` is added to the pixels of all views."""
    with Display("", total=1) as display:
        golden = Golden(recipe(host, aware), display)
    take = golden.camera.take

    def moved_views(*given: Any) -> list[View]:
        return [View(view.image + moved, view.omega) for view in take(*given)]

    golden.camera.take = moved_views  # type: ignore[method-assign]
    return golden.curve()


def distance(found: list[float], expected: list[float]) -> float:
    """The largest difference, relative to what is above 1."""
    return max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(found, expected, strict=True))


def write() -> None:
    """All curves, to :data:`FILE`, in five digits; one line each."""
    torch.set_num_threads(1)
    lines = []
    for host in HOSTS:
        curves = []
        for aware in AWARE:
            found = curve(host, aware)
            moved = max(distance(curve(host, aware, by), found) for by in (1e-6, -1e-6))
            print(f"{host} {aware}: {found[0]:.3f} to {found[-1]:.3f}, moved {moved:.0e}")
            assert moved < TOLERANCE / 10, "chaotic: lower the learning rate"
            curves.append(f"    {json.dumps(aware)}: {json.dumps([float(f'{value:.5g}') for value in found])}")
        lines.append(f"  {json.dumps(host)}: {{\n" + ",\n".join(curves) + "\n  }")
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


@pytest.mark.parametrize(
    "aware", ["vanilla", "both", *(pytest.param(one, marks=pytest.mark.slow) for one in ("augself", "cassle"))]
)
@pytest.mark.parametrize("host", HOSTS)
def test_golden_loss_curve(host: str, aware: str) -> None:
    golden = json.loads(FILE.read_text())
    assert host in golden, f"{host!r} has no golden curves yet: .venv/bin/python tests/test_golden.py"
    found = curve(host, aware)
    assert distance(found, golden[host][aware]) < TOLERANCE, str([float(f"{value:.5g}") for value in found])


if __name__ == "__main__":
    write()
