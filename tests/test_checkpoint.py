"""The run folder: made whole or not at all, read with care, nothing in it executed."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from augaware.checkpoint import Run, load_weights, plain_weights, seeded_encoder
from augaware.disk import write_file
from augaware.errors import RequestError
from augaware.nets.base import build_encoder
from augaware.recipe import Recipe

RECIPE = Recipe(data="shapes", encoder="tiny(widths=(4, 8))")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "deep" / "run", RECIPE, {"torch": "1"})


def test_a_new_run_folder_is_complete_and_reads_back(run: Run) -> None:
    assert sorted(entry.name for entry in run.path.iterdir()) == [
        "checkpoints", "env.json", "eval", "export", "recipe.json",
    ]  # fmt: skip
    assert Run.open(run.path).recipe == RECIPE
    assert json.loads((run.path / "env.json").read_text()) == {"torch": "1"}
    assert run.load_state() is None
    assert [entry.name for entry in run.path.parent.iterdir()] == ["run"]  # no draft beside it


def test_a_state_survives_and_the_newer_one_replaces_the_older(run: Run) -> None:
    for step in (1, 2):
        run.save_state({"step": step, "model": {"w": torch.full((3,), step / 3)}})
    found = run.load_state()
    assert found is not None
    assert found["step"] == 2
    assert torch.equal(found["model"]["w"], torch.full((3,), 2 / 3))
    assert [entry.name for entry in run.last.parent.iterdir()] == ["last.pt"]


class Evil:
    """A pickle that would make a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("through", ["torch.save", "pickle"])
def test_code_in_a_checkpoint_is_not_executed(run: Run, tmp_path: Path, through: str) -> None:
    trap = tmp_path / "trap"
    if through == "torch.save":
        torch.save({"version": 1, "step": 3, "model": Evil(trap)}, run.last)
    else:
        run.last.write_bytes(pickle.dumps(Evil(trap), protocol=2))
    with pytest.raises(RequestError, match=r"last\.pt' cannot be read") as refused:
        run.load_state()
    assert "\n" not in str(refused.value)
    assert not trap.exists()


@pytest.mark.parametrize("damage", ["empty", "half", "noise", "text", "list", "version", "no version"])
def test_a_damaged_checkpoint_is_refused_in_one_line(run: Run, damage: str) -> None:
    run.save_state({"step": 1, "model": {"w": torch.zeros(100)}})
    content = run.last.read_bytes()
    if damage in ("list", "version", "no version"):
        torch.save({"list": [1, 2], "version": {"version": 99}, "no version": {"step": 1}}[damage], run.last)
    else:
        texts = {
            "empty": b"",
            "half": content[: len(content) // 2],
            "noise": bytes(range(256)),
            "text": b"hello\nyou\n",
        }
        run.last.write_bytes(texts[damage])
    with pytest.raises(RequestError, match=r"last\.pt") as refused:
        run.load_state()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "{}", '{"epochs": 3}', "\xff"])
def test_a_damaged_recipe_is_refused_in_one_line(run: Run, text: str) -> None:
    (run.path / "recipe.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RequestError, match="damaged") as refused:
        Run.open(run.path)
    assert "\n" not in str(refused.value)


def test_a_recipe_of_unknown_fields_is_refused_by_name(run: Run) -> None:
    (run.path / "recipe.json").write_text('{"data": "shapes", "epoch": 3}')
    with pytest.raises(RequestError, match=r"'epoch'.*did you mean 'epochs'"):
        Run.open(run.path)


def test_what_is_no_run_folder_is_called_so(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RequestError, match="is not a run folder"):
            Run.open(path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot be made"):
        Run.create(tmp_path / "file" / "run", RECIPE, {})


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x"
    write_file(file, b"one")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_file(file, b"two")
    assert file.read_bytes() == b"one"
    write_file(file, b"three")
    assert file.read_bytes() == b"three"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_exported_weights_come_back_bit_for_bit(run: Run) -> None:
    f = seeded_encoder(RECIPE.encoder, 5)
    file = run.export(f)
    g = build_encoder(RECIPE.encoder)
    load_weights(g, file)
    assert all(torch.equal(value, g.state_dict()[key]) for key, value in f.state_dict().items())


def test_a_classifiers_extra_weights_are_left_out(tmp_path: Path) -> None:
    f = seeded_encoder("tiny(widths=(4, 8))", 0)
    save_file({**plain_weights(f), "fc.weight": torch.zeros(3, 8)}, tmp_path / "w.safetensors")
    load_weights(build_encoder("tiny(widths=(4, 8))"), tmp_path / "w.safetensors")


@pytest.mark.parametrize("other", ["tiny(widths=(4, 8, 16))", "tiny(widths=(4, 16))", "resnet18"])
def test_weights_of_another_architecture_are_refused_naming_a_tensor(tmp_path: Path, other: str) -> None:
    save_file(plain_weights(seeded_encoder("tiny(widths=(4, 8))", 0)), tmp_path / "w.safetensors")
    f = build_encoder(other)
    with pytest.raises(RequestError, match=r"does not fit the encoder: .* tensors .*, such as '") as refused:
        load_weights(f, tmp_path / "w.safetensors")
    named = str(refused.value).rsplit("such as '")[1].rstrip("'")
    assert named in f.backbone.state_dict()


@pytest.mark.parametrize(
    "content", [b"", b"hello", bytes(100), bytes(range(64))], ids=["empty", "text", "zeros", "noise"]
)
def test_a_damaged_safetensors_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(RequestError, match="is not a readable safetensors file") as refused:
        load_weights(build_encoder("tiny(widths=(4, 8))"), tmp_path / "w.safetensors")
    assert "\n" not in str(refused.value)
