"""The loop: what it writes, what it refuses, and that equal seeds are equal runs."""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from augaware import log
from augaware.checkpoint import Run
from augaware.errors import RequestError
from augaware.grid import RISING
from augaware.pretrain import start
from augaware.recipe import Recipe

AUGSELF, CASSLE = "augself(hidden=64)", "cassle(depth=2, width=16)"


def losses(run: Path, key: str = "loss") -> list[float]:
    """One number per logged step."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line[key] for line in lines if key in line]


def weights(run: Path) -> bytes:
    return (run / "export" / "encoder.safetensors").read_bytes()


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory, small: Recipe) -> Callable[..., Path]:
    """Train ``small`` with some fields changed; each setting once per module."""
    done: dict[str, Path] = {}

    def run(**changes: Any) -> Path:
        key = repr(sorted(changes.items()))
        if key not in done:
            out = tmp_path_factory.mktemp("runs") / "run"
            done[key] = start(small.changed(changes), out).path
        return done[key]

    return run


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    train: Callable[..., Path], small: Recipe, tmp_path: Path
) -> None:
    first = train(aware=(AUGSELF, CASSLE))
    torch.manual_seed(99)  # what ran before must not matter
    again = start(small.changed({"aware": (AUGSELF, CASSLE)}), tmp_path / "again").path
    assert weights(again) == weights(first)
    assert losses(again) == losses(first)
    other = start(small.changed({"aware": (AUGSELF, CASSLE), "seed": 1}), tmp_path / "other").path
    assert weights(other) != weights(first)


def test_looking_saving_and_logging_do_not_change_the_run(train: Callable[..., Path]) -> None:
    busy = train(health_images=32, checkpoint_seconds=0.0, snapshots=3, log_steps=5)
    assert weights(busy) == weights(train())


def test_a_run_folder_holds_what_the_contract_names(train: Callable[..., Path]) -> None:
    run = train(health_images=32, checkpoint_seconds=0.0, snapshots=3, log_steps=5)
    for name in ("recipe.json", "env.json", "metrics.jsonl", "log.txt", "checkpoints/last.pt", "tensorboard"):
        assert (run / name).exists(), name
    assert Run.open(run).recipe.snapshots == 3
    environment = json.loads((run / "env.json").read_text())
    assert {"command", "python", "torch", "augaware"} <= environment.keys()
    config = json.loads((run / "export" / "config.json").read_text())
    assert config["encoder"] == "tiny(widths=(8, 16))"
    assert (config["dim"], config["size"], len(config["mean"]), len(config["std"])) == (16, 16, 3, 3)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    logged = [line for line in lines if "loss" in line]
    assert [line["step"] for line in logged] == [4, 5, 8, 10, 12]  # every 5 and at each epoch's end
    assert [line["epoch"] for line in logged] == [1.0, 1.25, 2.0, 2.5, 3.0]
    assert {"loss", "loss/host", "images_per_second", "data_wait", "views_share"} <= logged[0].keys()
    assert list((run / "tensorboard").iterdir())
    text = (run / "log.txt").read_text()
    assert "pretraining: tiny(widths=(8, 16)) with simclr(), aware vanilla" in text
    assert "done: 12 steps" in text
    assert not list(run.rglob("*.draft"))


def test_the_shares_of_time_are_those_of_the_seconds_since_the_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([100.0, 104.0, 106.0])
    monkeypatch.setattr(log, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    clock = log.Clock()
    clock.add(8, views=0.5)
    clock.add(8, views=0.5)
    assert clock.rates(waited=1.0) == {"images_per_second": 4.0, "data_wait": 0.25, "views_share": 0.25}
    clock.add(8, views=0.0)
    assert clock.rates(waited=2.0) == {"images_per_second": 4.0, "data_wait": 0.5, "views_share": 0.0}


def test_snapshots_are_encoders_along_the_way_and_the_last_is_the_export(train: Callable[..., Path]) -> None:
    run = train(health_images=32, checkpoint_seconds=0.0, snapshots=3, log_steps=5)
    found = sorted(file.name for file in (run / "snapshots").glob("*.safetensors"))
    assert found == ["step-000004.safetensors", "step-000008.safetensors", "step-000012.safetensors"]
    assert (run / "snapshots" / found[2]).read_bytes() == weights(run)
    assert (run / "snapshots" / found[1]).read_bytes() != weights(run)
    assert (run / "snapshots" / "config.json").read_text() == (run / "export" / "config.json").read_text()


def test_training_lowers_the_loss(train: Callable[..., Path]) -> None:
    found = losses(train(epochs=5, base_lr=1.0, augment=("flip()", "gaussian_blur()")))
    assert sum(found[-4:]) < sum(found[:4]) - 4 * 0.3


def test_with_labels_the_health_panel_has_a_knn_accuracy_too(train: Callable[..., Path]) -> None:
    run = train(health_images=32, checkpoint_seconds=0.0, snapshots=3, log_steps=5)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    looks = [line for line in lines if "health/effective_rank" in line]
    assert [line["step"] for line in looks] == [4, 8, 12]
    names = {"feature_std", "effective_rank", "alignment", "uniformity", "instance_match", "knn"}
    assert {f"health/{name}" for name in names} > set(RISING)
    assert all(line.keys() == {"step", "epoch", *(f"health/{name}" for name in names)} for line in looks)
    assert all(math.isfinite(value) for line in looks for value in line.values())
    assert "epoch 3: feature_std" in (run / "log.txt").read_text()


def test_without_labels_the_health_panel_has_no_knn(image_folder: Path, small: Recipe, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in image_folder.rglob("*.png"):
        (flat / file.name).write_bytes(file.read_bytes())
    run = start(small.changed({"data": str(flat), "epochs": 1, "batch_size": 8, "health_images": 2}), tmp_path / "run")
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    health = lines[-1]
    assert "health/effective_rank" in health
    assert "health/knn" not in health


def test_a_collapsed_network_is_called_collapsed(
    small: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["augaware.pretrain"], "SETTLED", 0)
    # A decay so strong that it takes all weights to zero: every image has the same features.
    dead = small.changed({"weight_decay": 30.0, "base_lr": 0.5, "momentum": 0.0, "health_images": 32})
    run = start(dead, tmp_path / "run")
    warnings = [line for line in (run.path / "log.txt").read_text().splitlines() if "WARNING" in line]
    assert "collapsed" in warnings[-1]
    assert "Lower the learning rate" in warnings[-1]
    assert "WARNING: the embeddings have collapsed" in capsys.readouterr().err


def test_a_run_says_what_it_chose_and_the_library_under_it_nothing(small: Recipe, tmp_path: Path) -> None:
    heard: list[str] = []
    listener, logger = logging.Handler(), logging.getLogger("lightning_fabric")
    listener.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    level = logger.level
    logger.addHandler(listener)
    try:
        start(small.changed({"epochs": 1, "precision": "bf16"}), tmp_path / "run")
    finally:
        logger.removeHandler(listener)
    assert (heard, logger.level) == ([], level)


def test_bf16_trains_and_keeps_float32_weights(train: Callable[..., Path]) -> None:
    run = train(precision="bf16", aware=(AUGSELF, CASSLE))
    assert "bf16-mixed" in (run / "log.txt").read_text()
    assert all(math.isfinite(value) for value in losses(run))
    assert losses(run) != losses(train(aware=(AUGSELF, CASSLE)))
    assert losses(run)[0] == pytest.approx(losses(train(aware=(AUGSELF, CASSLE)))[0], rel=0.05)
    assert all(
        value.dtype in (torch.float32, torch.int64) for value in load_file(run / "export/encoder.safetensors").values()
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adamw", "base_lr": 0.01},
        {"clip_norm": 0.1},
        {"warmup_epochs": 1.0},
        {"host": "augaware_test_hosts.ema(momentum=0.9)", "aware": (AUGSELF, CASSLE)},
        {"augment": ("flip()",)},
        {"augment": ()},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_every_choice_of_the_recipe_trains_and_changes_the_result(
    train: Callable[..., Path], changes: dict[str, Any]
) -> None:
    run = train(epochs=1, **changes)
    assert all(math.isfinite(value) for value in losses(run))
    assert weights(run) != weights(train(epochs=1))


def test_a_folder_of_images_trains_and_its_unreadable_images_are_named_counted_and_skipped(
    image_folder: Path, small: Recipe, tmp_path: Path
) -> None:
    spoiled = tmp_path / "spoiled"
    for file in image_folder.rglob("*.png"):
        copy = spoiled / file.relative_to(image_folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    (spoiled / "disc" / "torn.png").write_bytes((image_folder / "disc" / "00.png").read_bytes()[:60])
    (spoiled / "square" / "text.jpg").write_text("no picture")
    (spoiled / "notes.txt").write_text("not an image")
    run = start(small.changed({"data": str(spoiled), "epochs": 1, "batch_size": 8}), tmp_path / "run")
    text = (run.path / "log.txt").read_text()
    assert "disc/torn.png" in text
    assert "square/text.jpg" in text
    assert "skipped 2 unreadable images" in text
    assert "notes.txt" not in text
    assert "24 images of" in text
    assert len(losses(run.path)) == 3

    # The images that are left are those of the clean folder; a source that is decoded anew each time skips them too.
    anew = start(
        small.changed({"data": str(spoiled), "epochs": 2, "batch_size": 8, "memory_gib": 0}), tmp_path / "anew"
    )
    assert "disc/torn.png" in (anew.path / "log.txt").read_text()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 65}, ["batch_size=65", "64 images", "--batch-size 64"]),
        ({"encoder": "pixels"}, ["'pixels'", "nothing to train"]),
        ({"device": "cuda"}, ["device='cuda'", "--device cpu"]),
        ({"augment": ("crop()", "crop()")}, ["'crop'", "twice"]),
        ({"augment": ("flip()", "crop()")}, ["'crop' must come first"]),
        ({"aware": ("augself(['solarize'])",)}, ["'solarize'", "not in the pipeline"]),
        ({"data": "no/such/folder"}, ["no/such/folder"]),
    ],
)
def test_a_wrong_request_leaves_nothing_behind(
    small: Recipe, tmp_path: Path, changes: dict[str, Any], words: list[str]
) -> None:
    if changes.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("has a CUDA device")
    with pytest.raises(RequestError) as refused:
        start(small.changed(changes), tmp_path / "deep" / "run")
    assert all(word in str(refused.value) for word in words), str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.realdata
def test_real_images_train(real_data: Path, small: Recipe, tmp_path: Path) -> None:
    tars = sorted((real_data / "dtd10").rglob("*.tar"))
    source = next((t for t in tars if "train" in t.name), None) or next(iter(tars), None) or real_data / "dtd10"
    run = start(
        small.changed({"data": str(source), "epochs": 1, "health_images": 64, "batch_size": 32}), tmp_path / "r"
    )
    assert all(math.isfinite(value) for value in losses(run.path))
    assert run.last.exists()


@pytest.mark.gpu
def test_a_gpu_run_logs_finite_losses(small: Recipe, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    run = start(small.changed({"device": "cuda", "precision": "auto", "health_images": 32}), tmp_path / "run")
    assert all(math.isfinite(value) for value in losses(run.path))


def test_png_is_what_the_folder_fixture_draws(image_folder: Path) -> None:
    with Image.open(image_folder / "disc" / "00.png") as picture:
        assert picture.size == (40, 30)
