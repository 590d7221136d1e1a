"""A run that is killed and resumed is the run that was never stopped: the same weights, bit for bit."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from augaware import checkpoint, saves
from augaware.checkpoint import Run
from augaware.cli import main
from augaware.errors import RequestError
from augaware.health import Panel
from augaware.log import Log
from augaware.pretrain import Trainer, resume, start
from augaware.recipe import Recipe
from augaware.state import State
from small_runs import Killed, Server, assert_same_run, fails_at, numbers, start_and_kill, wait_for

NEVER = 1e6  # seconds: checkpoints at the ends of epochs only


def hashes(folder: Path) -> dict[str, str]:
    """Every file below ``folder`` -> digest of its bytes."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module")
def recipe(small: Recipe) -> Recipe:
    """Twelve steps with everything that has a state: momentum, an EMA target, gamma, BN statistics, snapshots."""
    return small.changed(
        {
            "host": "augaware_test_hosts.ema(momentum=0.9)",
            "aware": ("augself(hidden=16)", "cassle(depth=2, width=8)"),
            "log_steps": 2,
            "health_images": 16,
            "snapshots": 4,
            "checkpoint_seconds": NEVER,
        }
    )


@pytest.fixture(scope="module")
def whole(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return start(recipe, tmp_path_factory.mktemp("whole") / "run").path


def in_step(call: int) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(Trainer, "_step", fails_at(call, Trainer._step))


def in_log_line(call: int) -> Callable[[pytest.MonkeyPatch], None]:
    def half(log: Log, step: int, epoch: float, found: dict[str, float]) -> None:
        log._handle.write(json.dumps({"step": step, "epoch": epoch, **found})[:25].encode())

    return lambda patch: patch.setattr(Log, "write", fails_at(call, Log.write, half))


def in_checkpoint_write(call: int) -> Callable[[pytest.MonkeyPatch], None]:
    def half(state: object, file: Path) -> None:
        file.write_bytes(b"PK half a checkpoint")

    return lambda patch: patch.setattr(torch, "save", fails_at(call, torch.save, half))


def before_checkpoint_replaces(call: int) -> Callable[[pytest.MonkeyPatch], None]:
    def patched(patch: pytest.MonkeyPatch) -> None:
        original, seen = saves.replace_file, [0]

        def replace(draft: Path, file: Path) -> None:
            seen[0] += file.name == "last.pt"
            if file.name == "last.pt" and seen[0] == call:
                raise Killed
            original(draft, file)

        patch.setattr(saves, "replace_file", replace)

    return patched


def in_export_of(name: str, folder: str) -> Callable[[pytest.MonkeyPatch], None]:
    def patched(patch: pytest.MonkeyPatch) -> None:
        original = checkpoint.write_file

        def write(file: Path, content: bytes) -> None:
            if file.name == name and file.parent.name == folder:
                file.with_name(f".{name}.draft").write_bytes(content[: len(content) // 2])
                raise Killed
            original(file, content)

        patch.setattr(checkpoint, "write_file", write)

    return patched


chosen = random.Random(20)
MOMENTS = {
    "in the first step": (NEVER, in_step(1)),
    "before the first checkpoint": (NEVER, in_step(3)),
    **{f"in step {n}, checkpoints per epoch": (NEVER, in_step(n)) for n in sorted(chosen.sample(range(5, 13), 2))},
    **{f"in step {n}, a checkpoint per step": (0.0, in_step(n)) for n in sorted(chosen.sample(range(2, 13), 2))},
    "between metrics and checkpoint": (
        NEVER,
        lambda patch: patch.setattr(State, "save", fails_at(2, State.save)),
    ),
    "in a look at the health": (NEVER, lambda patch: patch.setattr(Panel, "look", fails_at(2, Panel.look))),
    "in the middle of a metrics line": (NEVER, in_log_line(5)),
    "in the first metrics line": (NEVER, in_log_line(1)),
    "while the first checkpoint is written": (NEVER, in_checkpoint_write(1)),
    "while a later checkpoint is written": (0.0, in_checkpoint_write(7)),
    "before a checkpoint replaces the old one": (NEVER, before_checkpoint_replaces(2)),
    "in a snapshot": (NEVER, in_export_of("step-000006.safetensors", "snapshots")),
    "before the export": (NEVER, in_export_of("config.json", "export")),
    "between the two files of the export": (NEVER, in_export_of("encoder.safetensors", "export")),
}


def kill(patch: Callable[[pytest.MonkeyPatch], None], work: Callable[[], object]) -> None:
    """Run ``work`` until the patched place kills it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        patch(monkeypatch)
        with pytest.raises(Killed):
            work()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed(moment: str, recipe: Recipe, whole: Path, tmp_path: Path) -> None:
    """... at ``moment`` and resumed is the uninterrupted run."""
    seconds, patch = MOMENTS[moment]
    run = tmp_path / "run"
    kill(patch, lambda: start(recipe.changed({"checkpoint_seconds": seconds}), run))
    assert not (run / "export" / "encoder.safetensors").exists()
    resume(run)
    (run / "recipe.json").write_text(recipe.to_json())  # which differs in checkpoint_seconds only
    assert_same_run(run, whole, 12)


def test_a_run_killed_again_while_it_resumes_is_still_the_uninterrupted_run(
    recipe: Recipe, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    kill(in_step(6), lambda: start(recipe, run))
    kill(in_log_line(1), lambda: resume(run))
    kill(in_step(3), lambda: resume(run))
    kill(in_checkpoint_write(1), lambda: resume(run))
    resume(run)
    assert_same_run(run, whole, 12)


def test_adamw_with_warm_up_and_clipping_resumes_exactly_too(small: Recipe, tmp_path: Path) -> None:
    recipe = small.changed(
        {"optimizer": "adamw", "base_lr": 0.05, "warmup_epochs": 1.5, "clip_norm": 0.5, "checkpoint_seconds": 0.0}
    )
    whole = start(recipe, tmp_path / "whole").path
    kill(in_step(7), lambda: start(recipe, tmp_path / "run"))
    resume(tmp_path / "run")
    assert hashes(tmp_path / "run" / "export") == hashes(whole / "export")
    assert numbers(tmp_path / "run") == numbers(whole)


def test_a_run_on_files_resumes_exactly_too(image_folder: Path, small: Recipe, tmp_path: Path) -> None:
    recipe = small.changed({"data": str(image_folder), "batch_size": 8, "checkpoint_seconds": 0.0})
    whole = start(recipe, tmp_path / "whole").path
    kill(in_step(5), lambda: start(recipe, tmp_path / "run"))
    resume(tmp_path / "run")
    assert hashes(tmp_path / "run" / "export") == hashes(whole / "export")


def test_a_finished_run_is_left_as_it_is(whole: Path) -> None:
    before = hashes(whole)
    resume(whole)
    assert hashes(whole) == before


def test_an_existing_folder_is_never_touched(small: Recipe, whole: Path, tmp_path: Path) -> None:
    before = hashes(whole)
    with pytest.raises(RequestError, match=r"exists already and is not overwritten.*augaware resume"):
        start(small, whole)
    assert hashes(whole) == before
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "empty", "link"):
        with pytest.raises(RequestError, match="exists already"):
            start(small, tmp_path / name)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["empty", "file", "link"]
    assert (tmp_path / "file").read_text() == "mine"


HOLD = """
import sys, time
from augaware.checkpoint import Run
with Run.open(sys.argv[1]).alone():
    print(flush=True)
    time.sleep(600)
"""


def test_a_run_that_another_process_trains_is_left_alone_until_that_one_ends(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    start_and_kill(recipe, run, 3)
    before = hashes(run)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(run)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(RequestError, match="is in training in another process; wait for it, or stop it"):
            resume(run)
        assert hashes(run) == before
        other.kill()
    assert resume(run).exported.exists()


@pytest.mark.parametrize("change", ["one image more", "one image less", "other bytes"])
def test_changed_data_is_refused_and_the_run_left_as_it_is(
    change: str, image_folder: Path, small: Recipe, tmp_path: Path
) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(image_folder, data)
    recipe = small.changed({"data": str(data), "batch_size": 8, "checkpoint_seconds": 0.0})
    kill(in_step(4), lambda: start(recipe, run))
    image = data / "disc" / "00.png"
    if change == "one image more":
        shutil.copy(image, data / "disc" / "99.png")
    elif change == "one image less":
        image.unlink()
    else:
        shutil.copy(data / "square" / "11.png", image)
    before = hashes(run)
    with pytest.raises(RequestError, match="has changed since"):
        resume(run)
    assert hashes(run) == before


def test_a_changed_recipe_is_refused_and_the_difference_shown(recipe: Recipe, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    kill(in_step(6), lambda: start(recipe, run))
    changed = {"epochs": 9, "aware": (), "log_steps": 5, "checkpoints": 3, "data": "shapes(n=64, seed=0)"}
    changed |= {"stuck_seconds": 900.0}
    (run / "recipe.json").write_text(recipe.changed(changed).to_json())
    before = hashes(run)
    with pytest.raises(RequestError) as refused:
        resume(run)
    for words in ("epochs: 3 -> 9;", "aware: ('augself(hidden=16)', 'cassle(depth=2, width=8)') -> ();", "--init-from"):
        assert words in str(refused.value)
    assert not any(word in str(refused.value) for word in ("log_steps", "checkpoints", "data", "stuck_seconds", "\n"))
    assert hashes(run) == before
    (run / "recipe.json").write_text(recipe.changed({"checkpoints": 1, "data": "shapes(n=64, seed=0)"}).to_json())
    resume(run)
    assert sorted(file.name for file in (run / "checkpoints").iterdir()) == ["last.pt"]
    (run / "recipe.json").write_text(recipe.to_json())
    assert_same_run(run, whole, 12)


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(
    recipe: Recipe, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    kill(in_step(10), lambda: start(recipe, run))
    last = run / "checkpoints" / "last.pt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 4
    last.write_bytes(content)
    resume(run)
    shown = capsys.readouterr().err
    assert "its checksum does not fit its content; step-000004.pt is used instead: the steps after 4 are lost" in shown
    assert "resuming at step 4" in shown
    assert_same_run(run, whole, 12)
    assert [saves.read(file)["step"] for file in sorted(last.parent.iterdir())] == [12, 8]


def test_a_run_of_before_checksums_resumes(recipe: Recipe, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    kill(in_step(6), lambda: start(recipe, run))
    last = run / "checkpoints" / "last.pt"
    state = saves.read(last)
    torch.save({key: value for key, value in state.items() if key != "recipe"} | {"version": 1}, last)
    text = json.loads((run / "recipe.json").read_text())
    for field in ("checkpoints", "init"):
        del text[field]
    (run / "recipe.json").write_text(json.dumps(text))
    resume(run)
    (run / "recipe.json").write_text(recipe.to_json())
    assert_same_run(run, whole, 12)


# --- from another run's weights ---


def test_a_run_starts_from_an_encoder_and_says_which(small: Recipe, whole: Path, tmp_path: Path) -> None:
    given = small.changed({"base_lr": 1e-12, "epochs": 1, "checkpoint_seconds": NEVER, "init": str(whole)})
    run = start(given, tmp_path / "run")
    digest = hashlib.sha256((whole / "export" / "encoder.safetensors").read_bytes()).hexdigest()[:16]
    assert run.recipe.init == f"{whole}#{digest}"
    assert f"f starts from {whole}#{digest}" in (run.path / "log.txt").read_text()
    one, two = (load_file(r / "export" / "encoder.safetensors") for r in (run.path, whole))
    weights = [key for key in one if "running" not in key and "num_batches" not in key]
    assert all(torch.allclose(one[key], two[key], atol=1e-6) for key in weights)
    again = start(run.recipe.changed({"init": f"{whole / 'export' / 'encoder.safetensors'}"}), tmp_path / "again")
    assert hashes(again.path / "export") == hashes(run.path / "export")


def test_a_run_from_an_encoder_resumes_exactly_though_that_is_gone(small: Recipe, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "old")
    recipe = small.changed({"init": str(tmp_path / "old")})
    steady = start(recipe, tmp_path / "steady").path
    kill(in_step(6), lambda: start(recipe, tmp_path / "run"))
    shutil.rmtree(tmp_path / "old")
    resume(tmp_path / "run")
    assert_same_run(tmp_path / "run", steady, 12)


@pytest.mark.parametrize("wrong", ["nothing", "unfinished", "other", "changed"])
def test_what_cannot_be_started_from_is_refused(wrong: str, small: Recipe, whole: Path, tmp_path: Path) -> None:
    inits = {
        "nothing": (str(tmp_path / "none"), "was not found; accepted: a run folder or a .safetensors file"),
        "unfinished": (str(tmp_path / "unfinished"), "is not finished; resume it, or name one of its snapshots"),
        "other": (str(whole), "does not fit the encoder"),
        "changed": (f"{whole}#0123456789abcdef", "has other content"),
    }
    init, words = inits[wrong]
    if wrong == "unfinished":
        Run.create(tmp_path / "unfinished", small, {})
    encoder = "tiny(widths=(4, 8))" if wrong == "other" else small.encoder
    with pytest.raises(RequestError, match=words):
        start(small.changed({"init": init, "encoder": encoder}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_command_line_starts_from_an_encoder(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["pretrain", "--data", "shapes(n=16)", "--encoder", "tiny(widths=(8, 16))", "--size", "16", "--epochs", "1"]
    given += ["--batch-size", "8", "--device", "cpu", "--out", str(tmp_path / "run"), "--init-from"]
    assert main([*given, str(tmp_path / "none")]) == 2
    assert "--init-from" in capsys.readouterr().err
    assert main([*given, str(whole)]) == 0
    assert Run.open(tmp_path / "run").recipe.init.startswith(f"{whole}#")


def test_a_torn_metrics_line_and_lines_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step, "loss": step / 7}) for step in (2, 4, 6, 8)]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 10, "lo']))
    with Log(tmp_path, 6) as log:
        log.write(8, 1.0, {"loss": 0.5})
    found = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert found[:3] == [json.loads(line) for line in lines[:3]]
    assert found[3:] == [{"step": 8, "epoch": 1.0, "loss": 0.5}]


# --- kill -9 ---


LONG = [
    *("pretrain", "--encoder", "tiny(widths=(8, 16))", "--size", "16", "--batch-size", "8"),
    *("--aware", "augself(hidden=16)", "--aware", "cassle(depth=2, width=8)", "--epochs", "4"),
    *("--device", "cpu", "--precision", "fp32", "--set", "checkpoint_seconds=0.1", "--set", "health_images=16"),
    *("--set", "log_steps=1"),
]


def killed_at_random_moments(server: Server, folder: Path, count: int, images: int) -> None:
    """Runs of ``images`` / 2 steps."""
    folder.mkdir()
    command = [*LONG, "--data", f"shapes(n={images})", "--out"]
    server.start([*command, str(folder / "whole")])
    wait_for(folder / "whole")
    began = time.monotonic()
    assert server.ended() == 0
    seconds = time.monotonic() - began
    moments = random.Random(7)
    unfinished = 0
    for number in range(count):
        run = folder / f"run{number}"
        share = (number + moments.random()) / count  # one moment in each of ``count`` equal parts of the run
        pid = server.start([*command, str(run)])
        wait_for(run)
        time.sleep(share * seconds)
        with contextlib.suppress(ProcessLookupError):  # it was faster this time
            os.kill(pid, signal.SIGKILL)
        code = server.ended()
        assert code in (-signal.SIGKILL, 0)
        unfinished += code != 0
        logged = (run / "metrics.jsonl").read_text().count("\n") if (run / "metrics.jsonl").exists() else 0
        state = Run.open(run).load_state()
        print(
            f"kill -9 number {number + 1} at {share:.0%} of {seconds:.1f} s: {logged} lines logged, "
            f"checkpoint of step {state['step'] if state else 'none'}"
        )
        resume(run)
        assert hashes(run / "export") == hashes(folder / "whole" / "export")
        assert numbers(run) == numbers(folder / "whole")
    assert unfinished >= count // 2  # else the moments were none


@pytest.mark.long
@pytest.mark.xdist_group("killed")
def test_kill_minus_9_at_two_random_moments_changes_nothing(server: Server, tmp_path: Path) -> None:
    killed_at_random_moments(server, tmp_path / "runs", 2, images=64)


@pytest.mark.slow
def test_kill_minus_9_at_twenty_random_moments_changes_nothing(server: Server, tmp_path: Path) -> None:
    killed_at_random_moments(server, tmp_path / "runs", 20, images=128)
