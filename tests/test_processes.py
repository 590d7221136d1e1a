"""A run in several processes is that of one: order, views, loss curve, checkpoints; and none waits for ever."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from augaware.errors import RequestError
from augaware.pretrain import Trainer, resume, start
from augaware.processes import Processes, Started
from augaware.progress import Display
from augaware.recipe import Recipe
from augaware.saves import read
from augaware.sharded import OLDEST, check_shardable
from small_groups import Groups, Job, grouping
from small_hosts import EMA, HOSTS, narrow
from small_runs import start_and_kill

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("processes")]

STEPS = 8
CASES: dict[str, dict[str, Any]] = {
    "ema + augself + cassle": {"host": EMA, "aware": (narrow("augself"), narrow("cassle"))},
    "moco_v2 + looc": {"host": "moco_v2(queue=24)", "aware": ("looc(['color_jitter', 'crop'])",)},
    "byol + ai": {"host": narrow("byol"), "aware": ("ai()",)},  # each step leaves two of three predictors unused
}


@pytest.fixture(scope="module")
def groups() -> Iterator[Groups]:
    with grouping() as groups:
        yield groups


@pytest.fixture(scope="module")
def recipe(small: Recipe) -> Recipe:
    """Eight steps at a rate at which rounding does not grow; a checkpoint each step."""
    changes = {"epochs": 2, "base_lr": 0.1, "engine": "plain", "checkpoint_seconds": 0.0, "health_images": 16}
    return small.changed(changes)


def curve(run: Path) -> list[dict[str, float]]:
    """What each logged step says of the losses."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k == "step" or "loss" in k or "nothing" in k} for line in lines]


def deviation(run: Path, whole: Path) -> float:
    """The largest relative difference between the losses of two runs, in any step and part."""
    one, two = curve(run), curve(whole)
    assert [line.keys() for line in one] == [line.keys() for line in two]
    pairs = [(a[k], b[k]) for a, b in zip(one, two, strict=True) for k in a]
    return max(abs(a - b) / max(abs(b), 1e-3) for a, b in pairs)


def assert_same(run: Path, whole: Path, tolerance: float = 1e-5) -> None:
    assert deviation(run, whole) < tolerance
    one, two = (load_file(path / "export/encoder.safetensors") for path in (run, whole))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.allclose(value.double(), two[name].double(), rtol=1e-4, atol=1e-5), name


@pytest.fixture(scope="module")
def whole(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """One process throughout."""
    done: dict[str, Path] = {}

    def run(case: str) -> Path:
        if case not in done:
            done[case] = start(recipe.changed(CASES[case]), tmp_path_factory.mktemp("one") / "run").path
        return done[case]

    return run


@pytest.fixture(scope="module")
def two(groups: Groups, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of two processes, one after the other in the same two, and what they printed."""
    folder = tmp_path_factory.mktemp("two")
    first, *others = (recipe.changed(changes).to_json() for changes in CASES.values())
    jobs: list[Job] = [("small_groups:recorded", [first, str(folder / "run0"), str(folder)])]
    jobs += [("small_groups:pretrain", [r, str(folder / f"run{i}")]) for i, r in enumerate(others, start=1)]
    groups.run(2, jobs, folder)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one(case: str, two: Path, whole: Callable[[str], Path]) -> None:
    assert_same(two / f"run{list(CASES).index(case)}", whole(case))


def test_two_processes_share_the_order_and_the_views_of_one(
    two: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from small_groups import recorded

    monkeypatch.delenv("RANK", raising=False)
    recorded(recipe.changed(CASES["ema + augself + cassle"]).to_json(), str(tmp_path / "run"), str(tmp_path))
    expected, *found = (torch.load(path, weights_only=True) for path in (tmp_path / "0.pt", two / "0.pt", two / "1.pt"))
    assert len(expected) == STEPS
    for step, whole in enumerate(expected):
        parts = [one[step] for one in found]
        assert torch.equal(torch.cat([part["index"] for part in parts]), whole["index"])
        for number, view in enumerate(whole["views"]):
            for name, value in view.items():
                assert torch.equal(torch.cat([part["views"][number][name] for part in parts]), value), name


def test_one_process_writes_and_tells(two: Path) -> None:
    assert said(two / "1.txt") == ""
    assert "2 processes of 8 images" in (two / "0.txt").read_text()
    assert (two / "run0" / "log.txt").read_text().count("done: 8 steps") == 1
    lines = [json.loads(line) for line in (two / "run0" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, STEPS + 1))
    assert [line["step"] for line in lines if "health/effective_rank" in line] == [4, 8]


def test_a_run_of_one_process_goes_on_in_two_and_of_two_in_one(
    groups: Groups, recipe: Recipe, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    case = "ema + augself + cassle"
    changed = recipe.changed(CASES[case])
    start_and_kill(changed, tmp_path / "one", 4)
    jobs: list[Job] = [("small_groups:resumed", [str(tmp_path / "one")])]
    groups.run(2, [*jobs, ("small_groups:halted", [changed.to_json(), str(tmp_path / "two"), 6])], tmp_path / "said")
    resume(tmp_path / "two")
    assert "resuming at step 3" in (tmp_path / "one" / "log.txt").read_text()
    assert "resuming at step 5" in (tmp_path / "two" / "log.txt").read_text()
    for run in ("one", "two"):
        assert_same(tmp_path / run, whole(case))


@pytest.mark.skipif(torch.__version__ < OLDEST, reason=f"weights in parts need torch {OLDEST}")
@pytest.mark.parametrize("optimizer", ["sgd", pytest.param("adamw", marks=pytest.mark.slow)])
def test_weights_in_parts_train_resume_and_are_exported_as_whole_ones(
    optimizer: str, groups: Groups, recipe: Recipe, tmp_path: Path
) -> None:
    changes = {"host": narrow("swav"), "optimizer": optimizer, "base_lr": 0.05, "clip_norm": 1.0, "recompute": True}
    changes |= {"health_images": 0}
    plain = recipe.changed({**changes, "aware": (narrow("augself"),), "snapshots": 2})
    changed = plain.changed({"strategy": "fsdp", "host": narrow("byol")})
    jobs: list[Job] = [
        double("pretrain", plain.changed({"strategy": "fsdp"}).to_json(), tmp_path / "swav"),
        double("halted", changed.to_json(), tmp_path / "byol", 3),
        double("resumed", tmp_path / "byol"),
        double("halted", changed.to_json(), tmp_path / "last", 6),
    ]
    groups.run(2, jobs, tmp_path / "said")
    alone = [double("pretrain", plain.to_json(), tmp_path / "swav alone")]
    alone += [double("pretrain", plain.changed({"host": narrow("byol")}).to_json(), tmp_path / "byol alone")]
    groups.run(1, [double("resumed", tmp_path / "last"), *alone], tmp_path / "said alone")
    for name, one in (("swav", "swav alone"), ("byol", "byol alone"), ("last", "byol alone")):
        assert_same(tmp_path / name, tmp_path / one, 1e-9)
        assert (tmp_path / name / "snapshots" / "step-000004.safetensors").exists()


def double(job: str, *given: object) -> Job:
    return "small_groups:in_double", [job, *(str(each) if isinstance(each, Path) else each for each in given)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimizer": "lars"}, ["optimizer='lars'", "strategy=ddp"]),
        ({"chunk": 4}, ["chunk=4", "strategy=ddp"]),
        ({"aware": ("ai()",)}, ["encoder", "made anew", "strategy=ddp"]),
    ],
)
def test_what_would_be_wrong_in_parts_is_refused(changes: dict[str, Any], words: list[str], small: Recipe) -> None:
    recipe = small.changed(changes)
    with pytest.raises(RequestError) as refused:
        check_shardable(Trainer(recipe, Display("", 1, silent=True))._objective, recipe)
    assert all(word in str(refused.value) for word in words), str(refused.value)


# --- none waits for ever


ARGUMENTS = [
    *("pretrain", "--data", "shapes(n=64)", "--encoder", "tiny(widths=(8, 16))", "--size", "16", "--batch-size", "16"),
    *("--epochs", "2", "--device", "cpu", "--precision", "fp32", "--set", "health_images=0", "--set", "engine=plain"),
    *("--set", "checkpoint_seconds=0", "--set", "stuck_seconds=4", "--set", "base_lr=0.1", "--set", "log_steps=1"),
]
TROUBLES = {
    "stuck": "process 1 of 2 on {host} did not go on for 0:04; step 4;",
    "killed": "process 1 of 2 on {host} was killed or is cut off;",
    "broken": "process 1 of 2 on {host} stopped: OSError: [Errno 5] Input/output error: '/data';",
}


def said(file: Path) -> str:
    """What a process said; torch 2.8's gloo itself tells of its connections."""
    return "".join(line for line in file.read_text().splitlines(keepends=True) if not line.startswith("[Gloo]"))


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_process_in_trouble_is_named_and_the_run_goes_on(trouble: str, groups: Groups, tmp_path: Path) -> None:
    run = tmp_path / "run"
    groups.start(2, [("small_groups:troubled", [trouble, 3, [*ARGUMENTS, "--out", str(run)]])], tmp_path)
    codes = groups.ended()
    assert 0 not in codes
    said = (tmp_path / "0.txt").read_text().splitlines()
    line = f"augaware: {TROUBLES[trouble].format(host=socket.gethostname())} the run goes on from its last checkpoint"
    assert said[-1].startswith(line), said
    assert said[-1].endswith("augaware resume DIR")
    assert resume(run).exported.exists()
    assert "resuming at step 3" in (run / "log.txt").read_text()


def test_a_signal_to_one_process_stops_all_once_the_step_is_saved(groups: Groups, tmp_path: Path) -> None:
    """... however long that takes: none is taken for one that ended without the others."""
    run = tmp_path / "run"
    arguments = [*ARGUMENTS, "--set", "stuck_seconds=30", "--out", str(run)]
    groups.start(2, [("small_groups:troubled", ["asked", 3, arguments])], tmp_path)
    assert groups.ended() == [130, 130], [(tmp_path / f"{rank}.txt").read_text()[-2000:] for rank in range(2)]
    line = f"SIGTERM: stopped after step 4, which is saved; continue with: augaware resume {run}"
    assert (tmp_path / "0.txt").read_text().splitlines()[-1] == line
    assert said(tmp_path / "1.txt") == ""
    assert read(run / "checkpoints" / "last.pt")["step"] == 4


def test_a_full_disk_of_process_0_is_what_the_others_say_too(groups: Groups, tmp_path: Path) -> None:
    run = tmp_path / "run"
    groups.start(2, [("small_groups:troubled", ["full", 3, [*ARGUMENTS, "--out", str(run)]])], tmp_path)
    assert groups.ended() == [1, 1]
    first, other = ((tmp_path / f"{rank}.txt").read_text().splitlines()[-1] for rank in range(2))
    assert first.startswith("augaware: No space left on device: /disk; the checkpoint of step 3 is kept; ")
    assert other.startswith(f"augaware: process 0 of 2 on {socket.gethostname()} stopped: OSError: [Errno 28] No space")
    assert "nothing is saved yet" not in (run / "log.txt").read_text()


def test_a_damaged_checkpoint_is_told_of_once(groups: Groups, recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    start_and_kill(recipe, run, 4)
    (run / "checkpoints" / "last.pt").write_bytes(b"torn")
    groups.run(2, [("small_groups:resumed", [str(run)])], tmp_path)
    assert "step-000002.pt is used instead" in (tmp_path / "0.txt").read_text()
    assert said(tmp_path / "1.txt") == ""


def test_a_loss_that_is_nan_for_all_is_what_each_says(groups: Groups, tmp_path: Path) -> None:
    """... though they find it one after the other."""
    arguments = [*ARGUMENTS, "--set", "stuck_seconds=30", "--set", "log_steps=10", "--out", str(tmp_path / "run")]
    groups.start(2, [("small_groups:troubled", ["nan", 1, arguments])], tmp_path)
    assert groups.ended() == [1, 1]
    for rank in range(2):
        last = (tmp_path / f"{rank}.txt").read_text().splitlines()[-1]
        assert last.startswith("augaware: the loss is NaN or infinite in step 1 (counted from 0)"), last


def test_what_one_process_cannot_do_none_does(groups: Groups, tmp_path: Path) -> None:
    arguments = [*ARGUMENTS, "--out", str(tmp_path / "run")]
    groups.start(2, [("small_groups:without_data", [arguments])], tmp_path)
    assert groups.ended() == [2, 2]
    for rank in range(2):
        assert "there is no such folder or file" in (tmp_path / f"{rank}.txt").read_text()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 15}, ["batch_size=15", "2 processes", "--batch-size 16"]),
        ({"batch_size": 2}, ["batch_size=2", "--batch-size 4"]),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused(small: Recipe, changes: dict[str, Any], words: list[str]) -> None:
    group = Processes.__new__(Processes)
    group.world = 2
    with pytest.raises(RequestError) as refused:
        group.share(small.changed(changes).batch_size)
    assert all(word in str(refused.value) for word in words), str(refused.value)


# --- who this process is


TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "GROUP_RANK": "1"}
TORCHRUN |= {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
SLURM = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1", "SLURM_NODEID": "1"}
SLURM |= {"SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NODELIST": "node[017-018]", "SLURM_JOB_ID": "123456"}


@pytest.mark.parametrize(
    ("environ", "where"),
    [(TORCHRUN, ("10.0.0.1", 29500)), (SLURM, ("node017", 18456)), (SLURM | TORCHRUN, ("10.0.0.1", 29500))],
    ids=["torchrun", "srun", "torchrun within srun"],
)
def test_the_environment_says_which_process_this_is(environ: dict[str, str], where: tuple[str, int]) -> None:
    started = Started(environ)
    assert (started.global_rank(), started.world_size(), started.local_rank(), started.node_rank()) == (5, 8, 1, 1)
    assert (started.here, started.nodes) == (4, 2)
    assert (started.main_address, started.main_port) == where


def test_without_torchrun_or_srun_there_is_one_process() -> None:
    batch_script = {"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_ID": "7"}
    for environ in ({}, batch_script, {"SLURM_STEP_NUM_TASKS": "1"}):
        assert (Started(environ).world, Started(environ).here, Started(environ).nodes) == (1, 1, 1)


def test_machines_with_different_numbers_of_processes_are_refused() -> None:
    with pytest.raises(RequestError, match="7 processes on 2 machines: start as many on each, such as 4"):
        Started(SLURM | {"SLURM_STEP_NUM_TASKS": "7"})


# --- every host


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_every_host_has_one_loss_curve_however_many_processes(
    world: int, groups: Groups, small: Recipe, tmp_path: Path
) -> None:
    """50 steps at the default rate, in float64: in float32 a rounding error now and then switches a ReLU, and the
    curves part (ARCHITECTURE.md, One process or many).
    """
    base = small.changed({"data": "shapes(n=80)", "epochs": 10, "base_lr": 0.03, "engine": "plain"})
    specs = {host: narrow(host) for host in HOSTS} | {"supervised": "supervised()"}
    recipes = {host: base.changed({"host": spec}) for host, spec in specs.items()}
    for count in (1, world):
        jobs: list[Job] = [
            double("pretrain", recipe.to_json(), tmp_path / f"{host}-{count}") for host, recipe in recipes.items()
        ]
        groups.run(count, jobs, tmp_path / f"said{count}")
    found = {host: deviation(tmp_path / f"{host}-{world}", tmp_path / f"{host}-1") for host in recipes}
    for host, value in found.items():
        print(f"{host}, {world} processes: {value:.1e}")
    assert max(found.values()) < 1e-5, found
