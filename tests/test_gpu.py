"""What a GPU adds: views made on the CPU arrive whole, and a step that is launched as a graph is the same step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from augaware import lookup
from augaware.gpu import ALIKE, Captured, Carrier, Passes
from augaware.objective import mismatch
from augaware.pretrain import Trainer, start
from augaware.progress import Display
from augaware.recipe import Recipe
from small_runs import losses

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
BATCH, STEPS = 32, 2 * ALIKE + 4
HOSTS = [name for name in lookup.names("hosts")]
AWARE = [name for name in lookup.names("awareness")]
AUGMENT = ("crop()", "flip()", "color_jitter()", "grayscale()", "gaussian_blur()", "rotate90(p=0.5)")


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 is float32: products in TF32 change with the order in which a graph computes them."""
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def trainer(small: Recipe, graph: bool, **changes: Any) -> Trainer:
    """On the GPU, in float32, its steps captured or kernel by kernel; at a rate at which rounding does not grow."""
    changes = {"device": "cuda", "batch_size": BATCH, "augment": AUGMENT, "epochs": 8, "base_lr": 1e-3, **changes}
    with Display("", 1) as display:
        made = Trainer(small.changed(changes), display)
    if not graph:
        made.passes = Passes(made.objective, made.optimizer, made.fabric.backward)
    return made


def compared(small: Recipe, **changes: Any) -> str:
    """Both ways from the same weights; why no graph was made, or nothing."""
    captured, plain = (trainer(small, graph, **changes) for graph in (True, False))
    assert losses(captured, STEPS) == pytest.approx(losses(plain, STEPS), rel=1e-3, abs=1e-4)
    assert isinstance(captured.passes, Captured)
    return captured.passes.refused


@pytest.mark.parametrize("host", HOSTS)
def test_a_captured_step_of_every_host_is_the_step(host: str, small: Recipe) -> None:
    assert compared(small, host=f"{host}()", aware=("augself(hidden=16)", "cassle(depth=2)")) == ""


@pytest.mark.parametrize("name", AWARE)
def test_a_captured_step_of_every_awareness_is_the_step(name: str, small: Recipe) -> None:
    host = "byol" if mismatch(lookup.load("hosts", "byol"), lookup.load("awareness", name)) is None else "simclr"
    assert compared(small, host=f"{host}()", aware=(f"{name}()",)) == ""


@pytest.mark.parametrize("host", ["swav(prototypes=8, freeze=7)", "dino(output_dim=32, warmup_epochs=2)"])
def test_what_a_host_changes_on_the_way_is_not_built_in(host: str, small: Recipe) -> None:
    """Prototypes that begin to move, a temperature that rises."""
    compared(small, host=host)


def test_compiled_networks_compute_the_same(small: Recipe) -> None:
    aware = ("augself(hidden=16)", "cassle(depth=2)")
    compiled, plain = (trainer(small, True, host="byol()", aware=aware, compile=how) for how in ("yes", "no"))
    assert losses(compiled, STEPS) == pytest.approx(losses(plain, STEPS), rel=1e-3, abs=1e-4)
    assert compiled.passes.refused == ""
    assert (
        compiled.state.network().f.backbone.state_dict().keys() == plain.state.network().f.backbone.state_dict().keys()
    )


def test_a_run_with_all_of_it_resumes_and_ends(small: Recipe, tmp_path: Path) -> None:
    """Views ahead, a graph, compiled networks; what is exported is finite and reads as any."""
    run = start(
        small.changed({"device": "cuda", "precision": "auto", "compile": "yes", "health_images": 32}), tmp_path / "r"
    )
    assert run.exported.exists()
    assert all(bool(w.isfinite().all()) for w in load_file(run.exported).values() if w.is_floating_point())


def test_views_arrive_as_they_were_made(small: Recipe) -> None:
    made = trainer(small, graph=False)
    assert made.camera.fused
    batch = made.source.batch(torch.arange(BATCH))
    on_cpu = made.camera.take(made._objective.plan(2), batch.images, batch.sizes, batch.index, 0, 0)
    assert all(view.image.is_pinned() for view in on_cpu)
    arrived = Carrier(made.fabric.device)(on_cpu)
    for view, there in zip(on_cpu, arrived, strict=True):
        assert there.image.is_cuda
        assert there.image.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(there.image.cpu(), view.image)
        assert all(torch.equal(there.omega[name].cpu(), w) for name, w in view.omega.items())


def test_memory_is_not_lent_again_before_it_was_read(small: Recipe) -> None:
    made = trainer(small, graph=False, size=64)
    carry, batch = Carrier(made.fabric.device), made.source.batch(torch.arange(BATCH))
    plan = made._objective.plan(2)
    torch.cuda._sleep(200_000_000)  # the GPU is busy, and reads late
    arrived = []
    for epoch in range(20):
        arrived += carry(made.camera.take(plan, batch.images, batch.sizes, batch.index, 0, epoch))
    torch.cuda.synchronize()
    for epoch in range(20):
        again = made.camera.take(plan, batch.images, batch.sizes, batch.index, 0, epoch)
        assert all(torch.equal(a.image.cpu(), b.image) for a, b in zip(arrived[2 * epoch :], again, strict=False))


def test_a_step_that_draws_on_the_cpu_is_not_captured(small: Recipe) -> None:
    made = trainer(small, graph=True)
    host = made._objective.host
    loss = host.loss
    host.loss = lambda online, target: loss(online, target) + 0 * torch.rand(()).item()  # type: ignore[method-assign]
    assert all(value > 0 for value in losses(made, STEPS))
    assert made.passes.refused == "it draws numbers on the CPU"
