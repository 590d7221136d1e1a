"""What goes wrong ends in one clear line and a run that resumes to the same weights (docs/faults.md)."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import augaware
from augaware import saves
from augaware.cli import main
from augaware.data.base import ImageBatch
from augaware.data.folder import Folder
from augaware.data.store import Stored
from augaware.errors import RequestError, RunError
from augaware.log import Log
from augaware.pretrain import Trainer, resume, start
from augaware.recipe import Recipe
from augaware.replay import replay
from augaware.stop import NAMES, Stop
from small_runs import assert_same_run, start_and_kill


@pytest.fixture(scope="module")
def recipe(small: Recipe) -> Recipe:
    """Twelve steps, a checkpoint after each."""
    return small.changed({"checkpoint_seconds": 0.0})


@pytest.fixture(scope="module")
def whole(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return start(recipe, tmp_path_factory.mktemp("whole") / "run").path


def fails(work: Callable[[], object], run: Path) -> str:
    """The one line of a run that could not go on, which says how to."""
    with pytest.raises(RunError) as failed:
        work()
    line = str(failed.value)
    assert "\n" not in line
    assert line.endswith(f"continue with: augaware resume {run}")
    assert line in (run / "log.txt").read_text()
    return line


def in_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], object]) -> None:
    """``act`` as ``step`` begins."""
    original = Trainer._step

    def stepped(self: Trainer, number: int, *given: Any) -> tuple[dict[str, Tensor], float]:
        if number == step:
            act()
        return original(self, number, *given)

    monkeypatch.setattr(Trainer, "_step", stepped)


# --- signals ---


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(
    name: str, recipe: Recipe, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, before = tmp_path / "run", signal.getsignal(getattr(signal, name))
    raised = KeyboardInterrupt if name == "SIGINT" else SystemExit
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_JOB_ID", "77")
        in_step(patch, 6, lambda: os.kill(os.getpid(), getattr(signal, name)))
        with pytest.raises(raised) as stopped:
            start(recipe.changed({"checkpoint_seconds": 1e6}), run)
    if raised is SystemExit:
        assert stopped.value.code == 130  # type: ignore[attr-defined]
    line = f"{name}: stopped after step 7, which is saved; continue with: augaware resume {run}"
    assert f"{line} (in a job that does so: scontrol requeue 77)" in (run / "log.txt").read_text()
    assert line in capsys.readouterr().err
    assert saves.read(run / "checkpoints" / "last.pt")["step"] == 7
    assert signal.getsignal(getattr(signal, name)) is before
    if name == "SIGTERM":
        resume(run)
        (run / "recipe.json").write_text(recipe.to_json())
        assert_same_run(run, whole, 12)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_command_line_ends_with_130(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    in_step(monkeypatch, 1, lambda: os.kill(os.getpid(), getattr(signal, name)))
    out = str(tmp_path / "run")
    given = ["pretrain", "--data", "shapes(n=16)", "--encoder", "tiny(widths=(4, 8))", "--size", "16", "--out", out]
    assert main([*given, "--batch-size", "4", "--epochs", "1", "--device", "cpu"]) == 130
    assert f"augaware resume {out}" in capsys.readouterr().err


def test_a_second_interrupt_stops_at_once_and_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.asked
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.asked
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_run_in_another_thread_leaves_signals_alone() -> None:
    seen: list[object] = []

    def work() -> None:
        with Stop():
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


# --- the disk ---


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("no mount here")
    if made.returncode:
        pytest.skip(f"a disk of its own needs root: {made.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)  # TensorBoard keeps a file open that it could not close


def fill(place: Path) -> None:
    """Leave no room in ``place``, once the checkpoint that is being written beside the step is whole."""
    for thread in threading.enumerate():
        if thread.name == "augaware-checkpoint":
            thread.join()
    with (place / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while ballast.write(bytes(1 << 12)):
            pass


def test_a_full_disk(recipe: Recipe, whole: Path, small_disk: Path, tmp_path: Path) -> None:
    """... in the middle of a run: the step before is kept, and with room again it goes on."""
    run = small_disk / "run"
    with pytest.MonkeyPatch.context() as patch:
        in_step(patch, 6, lambda: fill(small_disk))
        line = fails_without_log(lambda: start(recipe, run))
    assert "No space left on device" in line
    assert "the checkpoint of step 6 is kept" in line
    assert not list(run.rglob("*.draft"))
    (small_disk / "ballast").unlink()
    resume(run)
    assert_same_run(run, whole, 12)


def fails_without_log(work: Callable[[], object]) -> str:
    with pytest.raises(RunError) as failed:
        work()
    return str(failed.value)


def test_a_checkpoint_that_cannot_be_written(
    recipe: Recipe, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same on any system: the write says that there is no room."""
    run, original, calls = tmp_path / "run", torch.save, [0]

    def full(state: object, file: Path) -> None:
        calls[0] += 1
        if calls[0] == 5:
            file.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        original(state, file)

    monkeypatch.setattr(torch, "save", full)
    line = fails(lambda: start(recipe, run), run)
    assert "No space left on device" in line
    assert "the checkpoint of step 4 is kept" in line
    resume(run)
    assert_same_run(run, whole, 12)


def test_numbers_for_which_there_is_no_room_wait_and_are_not_lost(tmp_path: Path) -> None:
    said: list[str] = []
    with Log(tmp_path, 0, said.append) as log:
        handle = log._handle

        class Full:
            """Takes three bytes and no more."""

            def write(self, content: bytes) -> int:
                if len(content) > 20:
                    return handle.write(content[:3])
                raise OSError(errno.ENOSPC, "No space left on device")

            def close(self) -> None:
                handle.close()

        log._handle = Full()  # type: ignore[assignment]
        log.write(1, 0.1, {"loss": 0.5})
        log.write(2, 0.2, {"loss": 0.25})
        with pytest.raises(OSError, match="No space left"):
            log.settle()
        log._handle = handle
        log.write(3, 0.3, {"loss": 0.125})
    found = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in found] == [1, 2, 3]
    assert said == ["WARNING: metrics.jsonl cannot be written (No space left on device); its lines wait for room"]


def test_tensorboard_that_fails_is_left_out(
    recipe: Recipe, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.utils.tensorboard import SummaryWriter

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(SummaryWriter, "add_scalar", full)
    run = start(recipe, tmp_path / "run").path
    assert_same_run(run, whole, 12)
    assert (run / "log.txt").read_text().count("WARNING: logger tensorboard: OSError: No space left on device;") == 1


def test_an_output_that_became_read_only(
    recipe: Recipe, whole: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small_disk / "run"
    start_and_kill(recipe, run, 6)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert main(["pretrain", "--data", "shapes", "--out", str(small_disk / "other")]) == 2
    assert "cannot be made: Read-only file system" in capsys.readouterr().err
    assert main(["resume", str(run)]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("augaware: Read-only file system: ")
    assert last.endswith(f"continue with: augaware resume {run}")
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    resume(run)
    assert_same_run(run, whole, 12)


# --- the data ---


@pytest.fixture
def files(image_folder: Path, recipe: Recipe, tmp_path: Path) -> Recipe:
    """A recipe of a folder that is read anew for each batch."""
    shutil.copytree(image_folder, tmp_path / "data")
    return recipe.changed({"data": str(tmp_path / "data"), "batch_size": 8, "memory_gib": 0.0})


def test_a_data_disk_that_vanishes(files: Recipe, tmp_path: Path) -> None:
    run, away = tmp_path / "run", tmp_path / "away"
    whole = start(files, tmp_path / "whole").path
    with pytest.MonkeyPatch.context() as patch:
        in_step(patch, 3, lambda: Path(files.data).rename(away))
        line = fails(lambda: start(files, run), run)
    assert f"data {files.data!r} is gone" in line
    assert "No such file or directory" in line
    away.rename(files.data)
    resume(run)
    assert_same_run(run, whole, 9)


def test_a_data_disk_that_vanishes_while_a_batch_is_read_costs_no_image_of_it(files: Recipe) -> None:
    source, away = Folder(files.data), Path(files.data).with_name("away")
    original = source.read

    def read(index: int) -> bytes:
        content = original(index)
        if index == 2:
            Path(files.data).rename(away)
        return content

    source.read = read  # type: ignore[method-assign]
    with pytest.raises(RunError, match=f"data {files.data!r} is gone"):
        source.batch(torch.arange(8))  # three are there, five are not
    assert source.skipped == ()
    Path(files.data).mkdir()  # a mount point without its disk
    with pytest.raises(RunError, match="is gone"):
        source.batch(torch.arange(1))


def test_an_image_that_is_damaged_in_the_middle_of_a_run(files: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        in_step(patch, 3, lambda: (Path(files.data) / "disc" / "00.png").write_bytes(b"torn"))
        start(files, run)
    text = (run / "log.txt").read_text()
    assert "skipped unreadable image disc/00.png" in text
    assert "done: 9 steps" in text


@pytest.mark.parametrize("error", [RuntimeError("disk on fire"), MemoryError()])
def test_a_loader_that_dies(error: Exception, recipe: Recipe, whole: Path, tmp_path: Path) -> None:
    run, original, calls = tmp_path / "run", Stored.batch, [0]

    def batch(self: Stored, index: Tensor) -> ImageBatch:
        calls[0] += 1
        if calls[0] == 8:
            raise error
        return original(self, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stored, "batch", batch)
        line = fails(lambda: start(recipe, run), run)
    assert line.startswith(type(error).__name__)
    assert "Traceback" in (run / "log.txt").read_text()
    resume(run)
    assert_same_run(run, whole, 12)


# --- numbers ---


def test_a_loss_that_is_nan(recipe: Recipe, tmp_path: Path) -> None:
    """... stops the run at that step, names its images, and leaves the weights before it."""
    run, seen = tmp_path / "run", {}
    original = Trainer._step

    def poisoned(self: Trainer, step: int, *given: Any) -> tuple[dict[str, Tensor], float]:
        if step == 6:
            seen["views"] = None
            with torch.no_grad():
                for p in self._objective.parameters():
                    p.mul_(float("nan"))
        take = self.camera.take
        if step == 6:
            self.camera.take = lambda *given: seen.setdefault("taken", take(*given))  # type: ignore[method-assign]
        return original(self, step, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_step", poisoned)
        line = fails(lambda: start(recipe, run), run)
    found = json.loads((run / "nan.json").read_text())
    assert (found["step"], found["epoch"], found["losses"]["loss"]) == (6, 1, "nan")
    assert len(found["index"]) == len(found["images"]) == 16
    assert f"in step 6 (counted from 0), epoch 1, on {found['images'][0]}, " in line
    assert "the checkpoint of step 6 is kept" in line
    state = saves.read(run / "checkpoints" / "last.pt")
    assert state["step"] == 6
    assert all(value.isfinite().all() for value in state["model"].values())
    batch, views = replay(run)
    assert batch.index.tolist() == found["index"]
    assert len(views) == len(seen["taken"])
    assert all(torch.equal(one.image, two.image) for one, two in zip(views, seen["taken"], strict=True))


def test_a_run_that_diverges_stops_where_it_does(small: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    line = fails(lambda: start(small.changed({"base_lr": 1e30, "checkpoint_seconds": 0.0}), run), run)
    assert "NaN or inf" in line
    last = run / "checkpoints" / "last.pt"
    assert not last.exists() or all(v.isfinite().all() for v in saves.read(last)["model"].values())


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    last = tmp_path / "last.pt"
    with saves.Saver(last, keep=2) as saver:
        saver.save({"step": 1, "model": {"w": torch.ones(5), "count": torch.tensor(3)}})
        saver.save({"step": 2, "model": {"w": torch.tensor([1.0, float("inf"), float("-inf")])}})
        with pytest.raises(RunError, match="the weights hold NaN or infinity, in 'w'"):
            saver.wait()
        saver.save({"step": 3, "model": {"w": torch.full((4,), 3e38)}})  # whose sum is infinite, and which are not
        saver.wait()
    assert saves.read(last)["step"] == 3
    assert saves.read(tmp_path / "step-000001.pt")["step"] == 1


def test_replay_of_a_run_that_did_not_diverge_is_refused(whole: Path) -> None:
    with pytest.raises(RequestError, match=r"has not diverged: there is no nan\.json"):
        replay(whole)


def test_a_batch_is_replayed_though_what_the_run_started_from_is_gone(
    recipe: Recipe, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / "recipe.json").write_text(recipe.changed({"init": f"{tmp_path / 'gone'}#0123456789abcdef"}).to_json())
    (run / "nan.json").write_text(json.dumps({"step": 6, "epoch": 1, "index": [5, 3]}))
    assert replay(run)[0].index.tolist() == [5, 3]


# --- the clock ---


def test_a_clock_that_jumps(recipe: Recipe, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """... to and fro, by days, changes nothing: intervals are those of the monotonic clock."""
    calls = [0]

    def jumping() -> float:
        calls[0] += 1
        return 1.7e9 + 86400 * 400 * (-1) ** calls[0]

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(logging, "raiseExceptions", False)
    run = start(recipe.changed({"checkpoint_seconds": 1e6}), tmp_path / "run").path
    (run / "recipe.json").write_text(recipe.to_json())
    assert_same_run(run, whole, 12)
    images = [json.loads(line)["images_per_second"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(0 < speed < 1e7 for speed in images)


def test_no_file_asks_what_time_it_is() -> None:
    for file in Path(augaware.__file__).parent.rglob("*.py"):
        assert not re.search(r"\btime\.time\(|datetime\.(now|utcnow|today)\(", file.read_text()), file


# --- the table ---


def test_every_fault_of_the_table_has_its_test() -> None:
    table = (Path(__file__).parents[1] / "docs" / "faults.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| ") and "`test_" in line]
    assert len(rows) >= 15
    for row in rows:
        for file, name in re.findall(r"`(test_\w+)\.py::(test_\w+)`", row):
            text = (Path(__file__).parent / f"{file}.py").read_text()
            assert re.search(rf"^def {name}\(", text, re.MULTILINE), f"{file}.py has no {name}"
        assert "`test_" in row.rsplit("|", 2)[1]
