"""The bench of steps, and what makes a step fast: the same numbers as the slow way, in the trainer's own step."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from augaware.bench import own_steps, pictures
from augaware.bench.base import OURS, Round, Side
from augaware.bench.own_steps import Job, Own
from augaware.bench.peer_steps import PEERS, Peer
from augaware.bench.rows import remarks, rows, table
from augaware.bench.step import Step
from augaware.cli import main
from augaware.memory import keep_freed
from augaware.optim import trained
from augaware.pretrain import Trainer
from augaware.progress import Display
from augaware.random import reseed, word
from augaware.recipe import Recipe

JOB = Job("tiny(widths=(4, 8))", 16, 6, "simclr()")
PARTS = {"step", "f", "g", "host", "backward", "optimiser", "after", "rest"}
AWARE = ["augself(hidden=8)", "cassle(depth=2, width=8)"]
NAMES = ["augaware augself", "augaware cassle", "augaware augself+cassle"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures.write(tmp_path, 16, 6, None)
    return tmp_path


# --- ours ---


@pytest.mark.long
def test_the_command_tells_where_a_step_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "step.json"
    spec = "step(jobs=['tiny(widths=(4, 8)) 16x6'], aware=[], precision='fp32', rounds=2, seconds=0)"
    assert main(["bench", spec, "--json", str(file)]) == 0
    record = json.loads(file.read_text())
    assert (record["bench"], record["unit"], record["measure"]) == ("step", "images", "job")
    assert [row["side"] for row in record["rows"]] == [OURS, "augaware with views"]
    for row in record["rows"]:
        assert {"side", "size", "threads", "per_core", "wall", "spread"} <= row.keys()
        parts = row["compared"]["parts"]
        assert parts.keys() == PARTS | ({"views"} if row["side"] != OURS else set())
        assert sum(part["share"][0] for part in parts.values()) == pytest.approx(2, abs=0.3)  # the step is one of them
        assert all(part["ms"] >= 0 for part in parts.values())
    shown = capsys.readouterr().out
    assert "augaware with views, tiny(widths=(4, 8)) 16x6: step" in shown
    assert "backward" in shown


@pytest.mark.parametrize("given", [True, False])
def test_a_pass_is_a_step_of_the_trainer_and_its_parts_are_all_of_it(given: bool, folder: Path) -> None:
    work = Own(JOB, folder, "cpu", "fp32", AWARE, given)
    f = work.trainer.state.network().f
    before = {name: w.clone() for name, w in f.state_dict().items()}
    assert work(3) == 0.0
    assert work.steps == 3
    assert any(not torch.equal(w, before[name]) for name, w in f.state_dict().items())
    parts = work.found()["ms"]
    assert parts.keys() == PARTS | {"aware"} | (set() if given else {"views"})
    assert sum(parts.values()) == pytest.approx(2 * parts["step"])
    assert min(parts.values()) > 0


def test_views_that_are_given_are_made_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    take = own_steps.Camera.take

    def counted(*arguments: Any) -> Any:
        made.append(1)
        return take(*arguments)

    monkeypatch.setattr(own_steps.Camera, "take", counted)
    Own(JOB, folder, "cpu", "fp32", [], given=True)(3)
    assert len(made) == 1
    Own(JOB, folder, "cpu", "fp32", [], given=False)(3)
    assert len(made) == 4


def test_an_ema_target_is_a_part(folder: Path) -> None:
    work = Own(Job(JOB.encoder, 16, 6, "moco_v2(length=12)"), folder, "cpu", "fp32", [], given=True)
    work(1)
    assert work.found()["ms"].keys() == PARTS | {"target"}


def test_sides_are_ours_with_each_awareness_and_the_peers_at_both_precisions() -> None:
    ours = [OURS, "augaware fp32", *NAMES, "augaware with views"]
    assert [side.name for side in Step(aware=AWARE).sides(peers=False)] == ours
    peers = ["lightly", "lightly bf16", "solo-learn", "solo-learn bf16"]
    assert [side.name for side in Step(aware=AWARE).sides(peers=True)] == ours + peers
    assert [side.name for side in Step(aware=[], precision="fp32", host="byol()").sides(peers=True)] == [
        OURS,
        "augaware with views",
    ]


def test_the_side_is_what_its_name_says(folder: Path) -> None:
    bench = Step(jobs=["tiny(widths=(4, 8)) 16x6"], aware=AWARE)
    found = {side.name: bench.work(side.name, 1, bench.sizes[0], folder) for side in bench.sides(peers=False)}
    recipes = {name: work.trainer.recipe for name, work in found.items() if isinstance(work, Own)}
    assert [recipes[name].aware for name in NAMES] == [(AWARE[0],), (AWARE[1],), tuple(AWARE)]
    assert {name for name, recipe in recipes.items() if recipe.precision == "fp32"} == {"augaware fp32"}
    assert {name for name, work in found.items() if isinstance(work, Own) and not work.given} == {"augaware with views"}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("step(jobs='resnet18 96x32')", ["jobs='resnet18 96x32'", "must be a list"]),
        ("step(jobs=['resnet18'])", ["'resnet18'", "such as 'resnet18 96x32'"]),
        ("step(jobs=['resnet18 96x1'])", ["'resnet18 96x1'", "images in a batch"]),
        ("step(aware='augself()')", ["aware='augself()'", "list of specs"]),
        ("step(precision='fp16')", ["precision='fp16'", "accepted: auto, fp32, bf16"]),
        ("step(threads=0)", ["threads=0", "at least 1"]),
    ],
)
def test_a_wrong_request_is_one_line(spec: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", spec]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(word in error for word in words), error


def test_parts_are_lines_and_no_columns() -> None:
    turns = [Round(6, 1.0, 1.0, {"ms": {"step": 10.0, "f": 4.0}, "MiB": 7.0})] * 2
    peer = [Round(6, 4.0, 4.0)] * 2
    sides = {Side(OURS, 1): turns, Side("augaware fp32", 1): [Round(6, 2.0, 2.0, turns[0].found)] * 2}
    found = rows({"tiny 16x6": sides | {Side("lightly", 1): peer}}, Step().compare)
    assert found[0]["compared"]["parts"]["f"] == {"ms": 4.0, "share": [0.4, 0.4, 0.4]}
    assert found[2]["compared"] == {"ours in fp32": [2.0, 2.0, 2.0]}
    columns, _ = table(found, "images", "job")
    assert columns[-2:] == ["MiB", "ours in fp32"]
    assert "augaware, tiny 16x6: step 10 ms, 100 [100, 100] %" in remarks(found)
    assert "    f 4 ms, 40 [40, 40] %" in remarks(found)


# --- peers ---


@pytest.mark.parametrize("host", ["simclr()", "moco_v2()"])
@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.filterwarnings("ignore")  # what a peer says is its own
def test_a_peer_trains_its_encoder_on_views_like_ours(name: str, host: str, bf16: bool, folder: Path) -> None:
    if importlib.util.find_spec(PEERS[name].module) is None:  # its import needs what the side puts in place
        pytest.skip(f"{name} is not installed")
    job = Job("resnet18", 16, 4, host)
    work: Peer = PEERS[name](job, folder, "cpu", bf16)
    before = {key: w.clone() for key, w in work.net.state_dict().items()}
    work(2)
    moved = {key for key, w in work.net.state_dict().items() if not torch.equal(w, before[key])}
    assert any("conv1.weight" in key for key in moved)
    assert any("momentum" in key for key in moved if "tracked" not in key and "running" not in key) == ("moco" in host)
    assert all(
        view.is_contiguous(memory_format=torch.channels_last if bf16 else torch.contiguous_format)
        for view in work.views
    )


# --- what makes a step fast ---


def test_fused_optimisers_take_a_first_gradient_late(small: Recipe) -> None:
    with Display("", 1) as display:
        trainer = Trainer(small.changed({"host": "swav(prototypes=6, hidden_dim=8, output_dim=4, freeze=2)"}), display)
    batch = trainer.source.batch(torch.arange(16))
    prototypes = trainer._objective.host.c
    start = prototypes.detach().clone()
    for step in range(4):
        trainer._step(step, 0, batch)
        held = torch.allclose(prototypes, start, atol=1e-6)
        assert held == (step < 2), step
    assert all(group["fused"] for group in trainer.optimizer.param_groups)


def test_the_trained_parameters_are_those_with_a_gradient(small: Recipe) -> None:
    with Display("", 1) as display:
        trainer = Trainer(small.changed({"host": "augaware_test_hosts.ema()"}), display)
    expected = {id(p) for p in trainer._objective.parameters() if p.requires_grad}
    assert {id(p) for p in trained(trainer.optimizer)} == expected


def test_a_step_s_draws_are_those_of_manual_seed() -> None:
    torch.manual_seed(word(3, 7))
    expected = torch.rand(5)
    torch.rand(3)
    reseed(torch.device("cpu"), 3, 7)
    assert torch.equal(torch.rand(5), expected)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_kept() -> None:
    import resource

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(5):
            torch.empty(20 << 20).fill_(1.0)  # 80 MB: above what glibc keeps by itself
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    if not keep_freed():
        pytest.skip("not glibc")
    faults()
    assert faults() < 1000  # of 4 kB, else some 20000 for each


@pytest.mark.parametrize("error", [TypeError, OSError])
def test_where_no_allocator_can_be_told_nothing_happens(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str | None) -> None:
        raise error("no library")

    monkeypatch.setattr("augaware.memory.ctypes.CDLL", missing)
    assert keep_freed() is False


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("host", ["simclr()", "moco_v2(length=64)", "byol()"])
def test_a_step_on_a_gpu_never_waits_for_it(host: str, small: Recipe) -> None:
    changes = {"device": "cuda", "precision": "auto", "host": host, "aware": ("augself(hidden=16)", "cassle(depth=2)")}
    with Display("", 1) as display:
        trainer = Trainer(small.changed(changes), display)
    batch = trainer.source.batch(torch.arange(16))
    for step in range(8):  # the last of them are replayed
        trainer._step(step, 0, batch)
    assert trainer.passes.refused == ""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer._step(8, 0, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
