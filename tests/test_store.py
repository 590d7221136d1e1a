"""The store on disk: the same pixels as decoding gives, built whole whatever interrupts it, and damage is named."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from augaware.cli import main
from augaware.data import mapped
from augaware.data.base import ImageBatch, Source, collate
from augaware.data.files import FileSource
from augaware.data.journal import JOURNAL, PIXELS, line, read_journal
from augaware.data.loader import Loader, open_source
from augaware.data.mapped import Mapped, check
from augaware.data.shapes import Shapes
from augaware.data.store import Stored
from augaware.errors import RequestError
from augaware.pretrain import resume, start
from augaware.ragged import Ragged, packed
from augaware.recipe import Recipe
from small_runs import Killed, Server, assert_same_run, fails_at, start_and_kill, wait_for

SIDE = 24  # shrinks some of the folder's images and not others


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk of four images, decoded two by two."""
    monkeypatch.setattr(mapped, "CHUNK", 4)
    monkeypatch.setattr("augaware.data.loader._PIECE", 2)


@pytest.fixture
def images(image_folder: Path, tmp_path: Path) -> Path:
    """A folder of 24 images and two that cannot be read, to be changed."""
    folder = tmp_path / "images"
    shutil.copytree(image_folder, folder)
    (folder / "disc" / "07.png").write_bytes(b"no image")
    (folder / "square" / "99.png").write_bytes(b"")
    return folder


def built(src: str | Path, store: Path, short_side: int | None = SIDE, **more: object) -> Mapped:
    source = open_source(str(src), short_side, store=str(store), **more)
    assert isinstance(source, Mapped)
    return source


def only(store: Path) -> Path:
    """The one folder in a store."""
    (folder,) = store.iterdir()
    return folder


def content(store: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in only(store).iterdir()}


def flip(file: Path, at: int, bit: int = 0) -> None:
    with file.open("r+b") as handle:
        handle.seek(at)
        byte = handle.read(1)[0]
        handle.seek(at)
        handle.write(bytes([byte ^ 1 << bit]))


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The places of the images that are decoded from here on."""
    seen: list[int] = []
    load = FileSource.load

    def counting(source: FileSource, index: int) -> Tensor:
        seen.append(index)
        return load(source, index)

    monkeypatch.setattr(FileSource, "load", counting)
    return seen


# --- what is read ---


@pytest.mark.parametrize("short_side", [SIDE, None])
def test_a_store_holds_what_decoding_gives(images: Path, tmp_path: Path, short_side: int | None) -> None:
    stores = [built(images, tmp_path / "store", short_side) for _ in range(2)]  # built, then found
    memory, fresh = (open_source(str(images), short_side, memory=size) for size in (1 << 30, 1))
    assert isinstance(memory, Stored)
    assert not isinstance(fresh, Stored)
    for source in stores:
        assert list(source.names) == list(memory.names)
        assert torch.equal(source.labels, memory.labels)
        assert (source.classes, source.fingerprint, source.skipped) == (
            *(memory.classes, memory.fingerprint),
            memory.skipped,
        )
        assert [image.name for image in source.skipped] == ["disc/07.png", "square/99.png"]
        index = torch.tensor([3, 0, 22, 3])
        batch, other = source.batch(index), memory.batch(index)
        assert isinstance(batch.images, Ragged)
        assert torch.equal(batch.index, index)
        assert torch.equal(batch.sizes, other.sizes)
        assert torch.equal(batch.pixels, other.pixels)
        for i, name in enumerate(source.names):
            assert torch.equal(source.load(i), fresh.load(list(fresh.names).index(name)))


def test_a_batch_of_a_store_copies_nothing(tmp_path: Path) -> None:
    for source in (built("shapes(n=8)", tmp_path / "store"), open_source("shapes(n=8)")):
        images = source.batch(torch.tensor([5, 2])).images
        assert isinstance(images, Ragged)
        assert images.data.data_ptr() == source.images.data.data_ptr()
        assert source.batch(torch.tensor([5, 2])).pixels.data_ptr() != images.data.data_ptr()


def test_other_data_or_another_size_has_a_folder_of_its_own(images: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    places = {built(images, store, side).folder for side in (16, 24, None)}
    (images / "disc" / "98.png").write_bytes((images / "disc" / "00.png").read_bytes())
    places |= {built(images, store, 16).folder, built("shapes(n=4)", store, 16).folder}
    assert len(places) == 5
    assert sorted(places) == sorted(store.iterdir())
    assert check(str(store)) == []


def test_nothing_is_decoded_again_but_a_sample(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = built(images, tmp_path / "store")
    seen = counted(monkeypatch)
    assert torch.equal(built(images, tmp_path / "store").images.data, first.images.data)
    assert len(seen) == 26  # up to 64, compared with what the store holds


def test_a_file_that_changed_under_its_name_and_size_is_found(images: Path, tmp_path: Path) -> None:
    built(images, tmp_path / "store")
    one, two = images / "disc" / "00.png", images / "disc" / "04.png"
    length = max(one.stat().st_size, two.stat().st_size)
    for file in (one, two):  # a PNG may be followed by anything
        file.write_bytes(file.read_bytes().ljust(length, b"\0"))
    built(images, tmp_path / "other")
    one.write_bytes(two.read_bytes())
    with pytest.raises(RequestError, match=r"disc/00\.png does not decode to what store .* holds.*remove that folder"):
        built(images, tmp_path / "other")


READ = """
import hashlib, sys, torch
from augaware.data.loader import open_source
source = open_source(sys.argv[1], 24, store=sys.argv[2])
order = torch.arange(len(source)).flip(0)
print(hashlib.sha256(source.batch(order).pixels.numpy().tobytes()).hexdigest())
"""


def test_processes_that_start_at_once_build_one_store_and_read_the_same(images: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", READ, str(images), str(tmp_path / "store")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    found = {process.communicate(timeout=120)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert len(found) == 1
    built(images, tmp_path / "alone")
    assert content(tmp_path / "store") == content(tmp_path / "alone")


def test_who_comes_while_another_builds_waits_and_says_so(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, False, True])
    monkeypatch.setattr(mapped, "held", lambda folder: next(answers))
    said: list[str] = []
    built(images, tmp_path / "store", say=said.append)
    assert "another process is building it" in said[0]
    assert next(answers, None) is None


# --- training ---


def test_training_is_the_same_bit_for_bit_wherever_the_images_come_from(
    images: Path, small: Recipe, tmp_path: Path
) -> None:
    for name in ("disc/07.png", "square/99.png"):
        (images / name).unlink()  # on demand they would count as images
    recipe = small.changed({"data": str(images), "batch_size": 8})
    weights = set()
    for name, more in {"memory": {}, "decoded": {"memory_gib": 0.0}, "store": {"store": str(tmp_path / "s")}}.items():
        run = start(recipe.changed(more), tmp_path / name)
        weights.add(run.exported.read_bytes())
    assert len(weights) == 1


def test_a_run_may_go_on_with_a_store(images: Path, small: Recipe, tmp_path: Path) -> None:
    recipe = small.changed({"data": str(images), "batch_size": 8, "checkpoint_seconds": 0.0, "log_steps": 2})
    whole, run = start(recipe, tmp_path / "whole").path, tmp_path / "run"
    start_and_kill(recipe, run, 5)
    (run / "recipe.json").write_text(recipe.changed({"store": str(tmp_path / "store")}).to_json())
    resume(run)
    (run / "recipe.json").write_text(recipe.to_json())
    assert_same_run(run, whole, 9)


# --- killed while it is built ---

MOMENTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before its header": lambda patch: patch.setattr(mapped, "_append", fails_at(1, mapped._append)),
    "while its first images are written": lambda patch: patch.setattr(
        mapped, "_written", fails_at(1, mapped._written, half_of_one)
    ),
    "while more are written": lambda patch: patch.setattr(
        mapped, "_written", fails_at(8, mapped._written, half_of_one)
    ),
    "between pixels and journal": lambda patch: patch.setattr(mapped, "_append", fails_at(4, mapped._append)),
    "in a line of the journal": lambda patch: patch.setattr(
        mapped, "_append", fails_at(4, mapped._append, half_a_line)
    ),
    "before its last line": lambda patch: patch.setattr(mapped, "_append", fails_at(9, mapped._append)),
    "in its last line": lambda patch: patch.setattr(mapped, "_append", fails_at(9, mapped._append, half_a_line)),
}


def half_of_one(source: Source, index: Tensor, batch: ImageBatch, pixels: object) -> None:
    pixels.write(batch.cut()[0].numpy().tobytes()[:100])
    pixels.flush()


def half_a_line(log: object, record: object) -> None:
    log.write(line(record)[:30])
    log.flush()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_store_killed(
    moment: str, images: Path, tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """... at ``moment`` and built to its end is the store that was never interrupted, and one chunk is lost at most."""
    whole, store = tmp_path / "whole", tmp_path / "store"
    built(images, whole)
    with pytest.MonkeyPatch.context() as patch:
        MOMENTS[moment](patch)
        with pytest.raises(Killed):
            built(images, store)
    journal = read_journal(only(store))
    done = len(journal.entries) if journal is not None else 0
    if journal is not None:
        assert "is not finished" in check(str(store))[0]
        written = os.stat(only(store) / PIXELS).st_size - journal.bytes
        assert written < mapped.CHUNK * 3 * SIDE * 48
    seen, said = counted(monkeypatch), list[str]()
    built(images, store, say=said.append)
    assert content(store) == content(whole)
    assert sorted(seen[26:]) == list(range(done, 26))  # after the sample of 26
    assert (f"continuing at image {done}" in said[0]) == bool(done)


@pytest.mark.xdist_group("killed")
def test_kill_minus_9_at_random_moments_costs_the_current_chunk(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = "shapes(n=1000)"
    command = ["store", "--data", data, "--size", "96"]
    server.start([*command, str(tmp_path / "whole")])
    wait_for(tmp_path / "whole")
    began = time.monotonic()
    assert server.ended() == 0
    seconds = time.monotonic() - began
    moments, interrupted = random.Random(3), 0
    for number in range(3):
        store = tmp_path / f"store{number}"
        pid = server.start([*command, str(store)])
        wait_for(store)
        time.sleep((number + moments.random()) / 3 * seconds)
        with contextlib.suppress(ProcessLookupError):  # it was faster this time
            os.kill(pid, signal.SIGKILL)
        server.ended()
        folder = next(iter(store.iterdir()), None) if store.exists() else None
        journal = read_journal(folder) if folder is not None else None
        done = len(journal.entries) if journal is not None else 0
        if journal is not None:
            interrupted += journal.content is None
            assert os.stat(folder / PIXELS).st_size - journal.bytes <= mapped.CHUNK * 3 * 48 * 48
        print(f"kill -9 number {number + 1}: {done} of 1000 images kept")
        drawn: list[int] = []
        original = Shapes.batch

        def counting(self: Shapes, index: Tensor, drawn: list[int] = drawn, original=original) -> ImageBatch:
            drawn += index.tolist()
            return original(self, index)

        with monkeypatch.context() as patch:
            patch.setattr(Shapes, "batch", counting)
            built(data, store, 3 * 96)
        assert sorted(drawn[64:]) == list(range(done, 1000))  # after the sample of 64
        assert content(store) == content(tmp_path / "whole")
    assert interrupted  # else the moments were none


# --- damage ---


def test_a_flipped_bit_is_found_and_its_image_named(images: Path, tmp_path: Path) -> None:
    source = built(images, tmp_path / "store")
    folder = only(tmp_path / "store")
    ends = (source.images.offsets + 3 * source.images.sizes.prod(1)).tolist()
    chosen = random.Random(1)
    for i in chosen.sample(range(len(source)), 5):
        at, bit = chosen.randrange(int(source.images.offsets[i]), ends[i]), chosen.randrange(8)
        flip(folder / PIXELS, at, bit)
        (damage,) = check(str(tmp_path / "store"))
        assert f"image {source.names[i]} is damaged" in damage
        flip(folder / PIXELS, at, bit)
    assert check(str(folder)) == []


def test_a_flipped_bit_of_the_journal_is_found(images: Path, tmp_path: Path, small_chunks: None) -> None:
    built(images, tmp_path / "store")
    journal = only(tmp_path / "store") / JOURNAL
    chosen = random.Random(1)
    length = journal.stat().st_size
    for at in [*chosen.sample(range(length), 60), length - 1]:
        bit = chosen.randrange(8)
        flip(journal, at, bit)
        assert check(str(tmp_path / "store"))
        flip(journal, at, bit)
    flip(journal, 300)
    with pytest.raises(RequestError, match="line 2 of its journal is damaged; remove"):
        built(images, tmp_path / "store")


def test_a_file_of_pixels_that_is_cut_is_refused(images: Path, tmp_path: Path) -> None:
    built(images, tmp_path / "store")
    pixels = only(tmp_path / "store") / PIXELS
    os.truncate(pixels, pixels.stat().st_size - 1)
    with pytest.raises(RequestError, match=rf"{PIXELS} has \d+ bytes where the journal says \d+; remove"):
        built(images, tmp_path / "store")
    assert "bytes where the journal says" in check(str(tmp_path / "store"))[0]


def test_a_store_of_another_version_is_refused(images: Path, tmp_path: Path) -> None:
    built(images, tmp_path / "store")
    journal = only(tmp_path / "store") / JOURNAL
    first, rest = journal.read_bytes().split(b"\n", 1)
    header = json.loads(first.split(b" ", 1)[1])
    journal.write_bytes(line({**header, "format": 99}) + rest)
    with pytest.raises(RequestError, match="has format 99, this augaware reads 1; remove"):
        built(images, tmp_path / "store")


def test_a_disk_without_room_is_refused_before_anything_is_decoded(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**6, 10**6 - 5000, 5000))
    with pytest.raises(RequestError, match=r"26 images of .* decoded take about 62\.2 KiB, and 4\.9 KiB are free"):
        built(images, tmp_path / "store")
    assert content(tmp_path / "store") == {}


def test_a_disk_that_fills_up_costs_nothing_that_was_done(
    images: Path, tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(mapped, "_sync", fails_at(6, mapped._sync, full))
        with pytest.raises(RequestError, match=r"cannot be written \(No space left on device\); what is there is kept"):
            built(images, tmp_path / "store")
    built(images, tmp_path / "store")
    built(images, tmp_path / "whole")
    assert content(tmp_path / "store") == content(tmp_path / "whole")


def test_a_place_that_cannot_be_made_is_refused(images: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot be written"):
        built(images, tmp_path / "file")


def test_a_store_without_an_image_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"no image")
    for _ in range(2):
        with pytest.raises(RequestError, match=r"none of its 1 images can be read; a\.png: not an image"):
            built(tmp_path / "images", tmp_path / "store")


# --- the command ---


def test_the_command_builds_checks_and_names_damage(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert main(["store", str(store), "--data", str(images), "--size", "8", "--check"]) == 0
    captured = capsys.readouterr()
    assert str(only(store)) in captured.out
    assert "sound" in captured.out
    assert "26 images, decoded about" in captured.err
    flip(only(store) / PIXELS, 0)
    assert main(["store", str(store), "--check"]) == 1
    assert "image disc/00.png is damaged" in capsys.readouterr().out
    for wrong, words in ((["store", str(store)], "--data SRC"), (["store", str(images), "--check"], "there is none")):
        assert main(wrong) == 2
        assert words in capsys.readouterr().err


# --- what it stands on ---


@pytest.mark.parametrize("sizes", [[(3, 4)] * 5, [(3, 4), (1, 9), (5, 2)], []])
def test_images_end_to_end(sizes: list[tuple[int, int]]) -> None:
    images = [torch.randint(0, 255, (3, h, w), dtype=torch.uint8) for h, w in sizes]
    ragged = packed(images)
    assert all(torch.equal(a, b) for a, b in zip(ragged.images(), images, strict=True))
    padded = ragged.padded()
    for row, image in zip(padded, images, strict=True):
        _, h, w = image.shape
        assert torch.equal(row[:, :h, :w], image)
        assert int(row.sum()) == int(image.sum())
    if sizes:
        order = torch.tensor([2, 0])
        assert torch.equal(ragged[order].padded(), packed([images[2], images[0]]).padded())


def test_equal_sizes_that_lie_anywhere() -> None:
    ragged = Ragged(torch.arange(40, dtype=torch.uint8), torch.tensor([1, 20]), torch.tensor([[2, 2], [2, 2]]))
    assert ragged.padded().flatten(1).tolist() == [list(range(1, 13)), list(range(20, 32))]


class Tracked(Source):
    """Knows which of the batches it gave are still alive."""

    def __init__(self) -> None:
        self.alive: weakref.WeakSet[Tensor] = weakref.WeakSet()

    def __len__(self) -> int:
        return 64

    def load(self, index: int) -> Tensor:
        return torch.full((3, 4, 4), index, dtype=torch.uint8)

    def batch(self, index: Tensor) -> ImageBatch:
        batch = collate([self.load(int(i)) for i in index], index.clone())
        self.alive.add(batch.index)
        return batch


@pytest.mark.parametrize(("workers", "prefetch"), [(1, 2), (3, 2), (2, 4)])
def test_no_more_batches_are_alive_than_the_loader_says(workers: int, prefetch: int) -> None:
    source = Tracked()
    most = 0
    for _ in Loader(source.batch, torch.arange(64).split(2), workers, prefetch):
        time.sleep(0.005)
        most = max(most, len(source.alive))
    assert most == max(workers, prefetch)
