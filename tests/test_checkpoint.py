"""The run folder: made whole or not at all, read with care, nothing in it executed."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from augaware.checkpoint import Run, environment, load_weights, plain_weights, seeded_encoder
from augaware.disk import write_file
from augaware.errors import RequestError
from augaware.frozen import load_encoder
from augaware.nets.base import build_encoder
from augaware.pretrain import resume
from augaware.recipe import Recipe
from augaware.replay import replay
from augaware.saves import Damaged, Saver, copied, read, read_newest, write

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
        write({"step": step, "model": {"w": torch.full((3,), step / 3)}}, run.last)
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
    write({"step": 1, "model": {"w": torch.zeros(100)}}, run.last)
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


def three(folder: Path, keep: int = 2) -> Path:
    """Checkpoints of the steps 1, 2 and 3, of which the ``keep`` newest are left; the newest."""
    with Saver(folder / "last.pt", keep) as saver:
        for step in (1, 2, 3):
            saver.save({"step": step, "model": {"w": torch.full((500,), float(step))}})
    return folder / "last.pt"


@pytest.mark.parametrize("keep", [1, 2, 3, 9])
def test_as_many_checkpoints_are_kept_as_the_recipe_says(tmp_path: Path, keep: int) -> None:
    last = three(tmp_path, keep)
    kept = [f"step-00000{step}.pt" for step in (1, 2)][max(0, 3 - keep) :]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["last.pt", *kept]
    assert read(last)["step"] == 3
    for name in kept:
        assert read(tmp_path / name)["step"] == int(name[5:11])


def test_where_there_are_no_links_checkpoints_are_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", none)
    last = three(tmp_path)
    assert [read(file)["step"] for file in (last, tmp_path / "step-000002.pt")] == [3, 2]
    last.unlink()  # a kill between the two moves
    found = read_newest(last, [].append)
    assert found is not None
    assert found[0]["step"] == 2


def test_each_flipped_bit_and_each_cut_is_found_and_the_checkpoint_before_is_used(tmp_path: Path) -> None:
    last = three(tmp_path)
    content = last.read_bytes()
    drawn = random.Random(4)
    for _ in range(40):
        damaged, at = bytearray(content), drawn.randrange(len(content))
        damaged[at] ^= 1 << drawn.randrange(8)
        last.write_bytes(damaged if drawn.random() < 0.7 else content[:at])
        said: list[str] = []
        found = read_newest(last, said.append)
        assert found is not None
        assert (found[0]["step"], found[1].name) == (2, "step-000002.pt"), at
        assert len(said) == 1
        assert f"{str(last)!r} cannot be read: " in said[0]
        assert said[0].endswith("; step-000002.pt is used instead: the steps after 2 are lost")
    last.write_bytes(content)
    assert read_newest(last, said.append)[0]["step"] == 3  # type: ignore[index]


def test_where_every_checkpoint_is_damaged_the_run_is_refused(tmp_path: Path) -> None:
    last = three(tmp_path)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(RequestError, match=r"last\.pt' cannot be read: .*; no older checkpoint is left"):
        read_newest(last)


def test_a_checkpoint_of_before_is_read(tmp_path: Path) -> None:
    torch.save({"version": 1, "step": 7, "model": {}}, tmp_path / "last.pt")
    assert read(tmp_path / "last.pt")["step"] == 7


def test_a_checkpoint_that_claims_more_than_it_is_long_is_refused(tmp_path: Path) -> None:
    """A bomb: gigabytes of zeros in a small file."""
    torch.save({"version": 1, "step": 7, "model": {"w": torch.zeros(1 << 20)}}, tmp_path / "stored.pt")
    with zipfile.ZipFile(tmp_path / "stored.pt") as stored, zipfile.ZipFile(tmp_path / "last.pt", "w", 8) as packed:
        for member in stored.namelist():
            packed.writestr(member, stored.read(member))
    assert (tmp_path / "last.pt").stat().st_size < 1 << 16
    with pytest.raises(Damaged, match="claims to hold more than its length"):
        read(tmp_path / "last.pt")


def test_the_copy_is_the_state_as_it_was_and_keeps_the_order_in_memory(tmp_path: Path) -> None:
    w = torch.arange(48.0).reshape(1, 3, 4, 4).to(memory_format=torch.channels_last)
    f = torch.nn.BatchNorm2d(3)
    state = {"step": 1, "model": f.state_dict() | {"w": w}, "list": [w, (1, "a", None)]}
    first = copied(state)
    before = w.clone()
    w.zero_()
    assert torch.equal(first["model"]["w"], before)
    assert first["model"]["w"].stride() == w.stride()
    second = copied(state, first)
    assert second["model"]["w"].data_ptr() == first["model"]["w"].data_ptr()  # no new memory
    assert not second["list"][0].any()
    assert second["list"][1] == (1, "a", None)
    assert getattr(copied(f.state_dict()), "_metadata", None) == f.state_dict()._metadata


def test_the_step_waits_for_the_copy_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, writing, original = threading.Event(), threading.Event(), torch.save

    def slow(state: object, file: Path) -> None:
        writing.set()
        assert go.wait(20)
        original(state, file)

    monkeypatch.setattr(torch, "save", slow)
    w = torch.ones(9)
    with Saver(tmp_path / "last.pt", 1) as saver:
        saver.save({"step": 1, "model": {"w": w}})
        assert writing.wait(20)
        w.zero_()  # the next step
        saver.check()
        assert not (tmp_path / "last.pt").exists()
        go.set()
        saver.wait()
        assert read(tmp_path / "last.pt")["model"]["w"].tolist() == [1.0] * 9


def test_what_a_write_meets_is_raised_once_at_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(state: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    saver = Saver(tmp_path / "last.pt", 1)
    saver.save({"step": 1, "model": {}})
    with pytest.raises(OSError, match="No space left"):
        saver.wait()
    saver.check()
    assert not list(tmp_path.iterdir())


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


def tensors(**members: object) -> bytes:
    """A safetensors file with this header, and 64 bytes of data."""
    header = json.dumps(members).encode()
    return struct.pack("<Q", len(header)) + header + bytes(64)


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 1 << 62) + b"{}",
        struct.pack("<Q", 99_000_000) + b"{",
        tensors(a={"dtype": "F32", "shape": [16], "data_offsets": [0, 1 << 40]}),
        tensors(
            a={"dtype": "F32", "shape": [16], "data_offsets": [0, 64]},
            b={"dtype": "F32", "shape": [16], "data_offsets": [0, 64]},
        ),
        tensors(a={"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 64]}),
        tensors(a={"dtype": "PY", "shape": [16], "data_offsets": [0, 64]}),
        tensors(a={"dtype": "F32", "shape": [-16], "data_offsets": [64, 0]}),
    ],
    ids=["a header of exabytes", "a long header", "beyond the end", "overlapping", "too large", "dtype", "negative"],
)
def test_a_hostile_safetensors_header_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(RequestError, match="is not a readable safetensors file") as refused:
        load_weights(build_encoder("tiny(widths=(4, 8))"), tmp_path / "w.safetensors")
    assert "\n" not in str(refused.value)


def test_whole_numbers_do_not_stand_for_weights(tmp_path: Path) -> None:
    weights = plain_weights(seeded_encoder("tiny(widths=(4, 8))", 0))
    save_file({key: value.to(torch.int64) for key, value in weights.items()}, tmp_path / "w.safetensors")
    with pytest.raises(RequestError, match="tensors have another shape or kind"):
        load_weights(build_encoder("tiny(widths=(4, 8))"), tmp_path / "w.safetensors")


# --- a stranger's run folder ---


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module ``stranger.plug`` that can be imported, and makes the file that is returned when it is."""
    (tmp_path / "path" / "stranger").mkdir(parents=True)
    (tmp_path / "path" / "stranger" / "__init__.py").write_text("")
    code = f"open({str(tmp_path / 'sprung')!r}, 'w').close()\n__all__ = ['f']\ndef f(*a): raise SystemExit\n"
    (tmp_path / "path" / "stranger" / "plug.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    monkeypatch.setitem(sys.modules, "stranger", None)  # forgotten afterwards
    monkeypatch.delitem(sys.modules, "stranger")
    return tmp_path / "sprung"


HOSTILE: list[dict[str, Any]] = [
    {"host": "stranger.plug()"},
    {"aware": ("augself()", "stranger.plug")},
    {"encoder": "stranger.plug"},
    {"encoder": "branched('stranger.plug()', 2)"},
    {"augment": ("crop()", "stranger.plug(1)")},
    {"views": ("view(2, change=['stranger.plug()'])",)},
    {"host": "multiprocessing.popen_fork()"},
]


@pytest.mark.parametrize("changes", HOSTILE, ids=lambda changes: repr(next(iter(changes.values()))))
def test_a_hostile_recipe_runs_no_code(trap: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    run = Run.create(tmp_path / "run", RECIPE.changed(changes), {})
    for work in (Run.open, resume, load_encoder):
        with pytest.raises(RequestError, match=r"recipe\.json' names the module '.*set AUGAWARE_PLUGINS=") as refused:
            work(str(run.path))
        assert "\n" not in str(refused.value)
    assert not trap.exists()


def test_a_hostile_data_spec_runs_no_code_and_a_moved_tar_is_no_module(trap: Path, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", RECIPE.changed({"data": "stranger.plug(1)"}), {})
    (run.path / "nan.json").write_text(json.dumps({"step": 0, "epoch": 0, "index": [0]}))
    for work in (resume, replay):
        with pytest.raises(RequestError, match=r"names the module 'stranger\.plug'"):
            work(run.path)
    assert not trap.exists()
    moved = Run.create(tmp_path / "moved", RECIPE.changed({"data": "images.tar"}), {})
    with pytest.raises(RequestError, match="there is no such folder or file"):
        resume(moved.path)


def test_a_hostile_config_runs_no_code(run: Run, trap: Path, tmp_path: Path) -> None:
    file = run.export(seeded_encoder(RECIPE.encoder, 5))
    (file.parent / "config.json").write_text(json.dumps({"encoder": "stranger.plug()", "size": 16}))
    for encoder in (str(run.path), str(file)):
        with pytest.raises(RequestError, match=r"config\.json' names the module 'stranger\.plug'"):
            load_encoder(encoder)
    assert not trap.exists()


def test_a_module_that_the_user_trusts_is_followed(trap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create(tmp_path / "run", RECIPE.changed({"host": "stranger.plug()"}), {})
    monkeypatch.setenv("AUGAWARE_PLUGINS", "my_lab, stranger")
    assert Run.open(run.path).recipe.host == "stranger.plug()"
    monkeypatch.delenv("AUGAWARE_PLUGINS")
    monkeypatch.setitem(sys.modules, "stranger.plug", sys)  # loaded: the user's own doing
    assert Run.open(run.path).recipe.host == "stranger.plug()"


@pytest.mark.parametrize("text", ["[" * 100_000, '{"data": ' * 50_000, '{"data": "' + "x" * (2 << 20) + '"}'])
def test_a_recipe_that_is_made_to_break_the_reader_is_refused(run: Run, text: str) -> None:
    (run.path / "recipe.json").write_text(text)
    with pytest.raises(RequestError, match="damaged: not a recipe"):
        Run.open(run.path)


@pytest.mark.parametrize("change", [{"step": "3"}, {"step": None}, {"model": [1]}, {"version": True}])
def test_a_checkpoint_of_other_kinds_is_refused(run: Run, change: dict[str, Any]) -> None:
    torch.save({"version": 1, "step": 3, "model": {}} | change, run.last)
    with pytest.raises(RequestError, match=r"last\.pt"):
        run.load_state()


@pytest.mark.parametrize(
    ("argv", "python", "command"),
    [
        (
            ["/bin/augaware", "eval", "r", "--task", "knn('x')"],
            ["python"],
            "augaware eval r --task 'knn('\"'\"'x'\"'\"')'",
        ),
        (["/lib/augaware/cli.py", "list"], ["python", "-m", "augaware.cli", "list"], "augaware list"),
        (["mine.py", "--n", "3"], ["/bin/python3", "mine.py", "--n", "3"], "python mine.py --n 3"),
    ],
)
def test_the_command_is_what_a_shell_takes_again(
    argv: list[str], python: list[str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", argv)
    monkeypatch.setattr("sys.orig_argv", python)
    assert environment()["command"] == command
