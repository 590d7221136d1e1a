"""Folders, tars and torchvision's sets: what is found, how it is labelled, what is refused."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from augaware.data.base import Source, collate
from augaware.data.centre import centre_batch
from augaware.data.fetch import fetch_archive
from augaware.data.folder import Folder
from augaware.data.loader import open_source
from augaware.data.tar import Tar
from augaware.errors import RequestError


def png(level: int, width: int = 10, height: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (level, level, level)).save(buffer, "PNG")
    return buffer.getvalue()


def write(root: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return str(root)


def pack(path: Path, files: dict[str, bytes], *others: tarfile.TarInfo) -> str:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in others:
            archive.addfile(member)
    return str(path)


def levels(source: Source) -> list[int]:
    return [int(source.load(i)[0, 0, 0]) for i in range(len(source))]


CLASSES = {"cat/a.png": png(1), "cat/deep/b.PNG": png(2), "dog/c.png": png(3)}
BROKEN = {"dog/0.jpg": b"", "dog/z.jpg": b"text", "cat/ab.png": png(9)[:40]}


def as_folder(tmp_path: Path, files: dict[str, bytes]) -> str:
    return write(tmp_path / "images", files)


def as_tar(tmp_path: Path, files: dict[str, bytes]) -> str:
    return pack(tmp_path / "images.tar", files)


def as_gzip(tmp_path: Path, files: dict[str, bytes]) -> str:
    return pack(tmp_path / "images.tar.gz", files)


KINDS = pytest.mark.parametrize("kind", [as_folder, as_tar, as_gzip])


@KINDS
@pytest.mark.parametrize("memory", [1 << 20, 1], ids=["stored", "on demand"])
def test_labels_names_and_order(kind, tmp_path: Path, memory: int) -> None:
    files = {"dog/.hidden.png": png(0), "notes.txt": b"x", ".cache/x.png": png(0), **dict(reversed(CLASSES.items()))}
    source = open_source(kind(tmp_path, files), memory=memory)
    assert list(source.names) == list(CLASSES)
    assert source.classes == ("cat", "dog")
    assert source.labels.tolist() == [0, 0, 1]
    assert levels(source) == [1, 2, 3]
    batch = source.batch(torch.tensor([2, 0]))
    assert batch.pixels.shape == (2, 3, 8, 10)
    assert batch.pixels[:, 0, 0, 0].tolist() == [3, 1]
    assert batch.index.tolist() == [2, 0]
    assert source.skipped == ()


@KINDS
def test_broken_images_are_counted_named_and_left_out(kind, tmp_path: Path) -> None:
    source = open_source(kind(tmp_path, {**CLASSES, **BROKEN}))
    assert list(source.names) == list(CLASSES)
    assert source.labels.tolist() == [0, 0, 1]
    assert levels(source) == [1, 2, 3]
    assert [image.name for image in source.skipped] == ["cat/ab.png", "dog/0.jpg", "dog/z.jpg"]
    assert all(image.reason for image in source.skipped)


@KINDS
def test_on_demand_a_broken_image_is_dropped_from_its_batch(kind, tmp_path: Path) -> None:
    source = open_source(kind(tmp_path, {**CLASSES, **BROKEN}), memory=1)
    for _ in range(2):  # found twice, listed once
        batch = source.batch(torch.arange(len(source)))
        assert [source.names[i] for i in batch.index.tolist()] == list(CLASSES)
    assert sorted(image.name for image in source.skipped) == sorted(BROKEN)
    with pytest.raises(RequestError, match=r"cat/ab\.png cannot be read"):
        centre_batch(source, torch.arange(len(source)), 8)


@KINDS
def test_nothing_but_broken_images(kind, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"none of its 3 images can be read; cat/ab\.png: "):
        open_source(kind(tmp_path, BROKEN))


@KINDS
def test_nothing_at_all(kind, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds no image"):
        open_source(kind(tmp_path, {"notes.txt": b"x"}))


@pytest.mark.parametrize(
    "files",
    [{"a.png": png(1), "cat/b.png": png(2)}, {"cat/b.png": png(2)}, {"train/a.png": png(1), "val/b.png": png(2)}],
)
def test_folders_that_are_no_classes(tmp_path: Path, files: dict[str, bytes]) -> None:
    source = open_source(as_folder(tmp_path, files))
    assert source.labels is None
    assert source.classes == ()


@KINDS
def test_fingerprint_follows_the_images(kind, tmp_path: Path) -> None:
    def of(place: str, files: dict[str, bytes]) -> str:
        (tmp_path / place).mkdir()
        return open_source(kind(tmp_path / place, files)).fingerprint

    assert of("a", CLASSES) == of("b", CLASSES)
    assert of("c", {**CLASSES, "dog/d.png": png(4)}) != of("d", CLASSES)
    assert of("e", {**CLASSES, "dog/c.png": png(3) + b"\0"}) != of("f", CLASSES)


def test_folder_follows_links_once(tmp_path: Path) -> None:
    root = Path(as_folder(tmp_path, CLASSES))
    (root / "cat" / "loop").symlink_to(root)
    (root / "dog" / "dead.png").symlink_to(root / "gone.png")
    source = open_source(str(root))
    assert list(source.names) == list(CLASSES)
    assert [(s.name, s.reason) for s in source.skipped] == [("dog/dead.png", "No such file or directory")]


def test_hostile_tar_members_are_refused_by_name(tmp_path: Path) -> None:
    link = tarfile.TarInfo("cat/link.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard = tarfile.TarInfo("cat/hard.png")
    hard.type, hard.linkname = tarfile.LNKTYPE, "cat/a.png"
    pipe = tarfile.TarInfo("cat/pipe.png")
    pipe.type = tarfile.FIFOTYPE
    files = {"../up.png": png(7), "cat/../../up.png": png(7), "/abs.png": png(7), **CLASSES}
    before = sorted(os.listdir(tmp_path))
    source = open_source(pack(tmp_path / "x.tar", files, link, hard, pipe))
    assert list(source.names) == list(CLASSES)
    assert len(source.skipped) == 6
    assert sorted(os.listdir(tmp_path)) == [*before, "x.tar"]


def test_a_compressed_tar_that_expands_without_end_is_refused(tmp_path: Path) -> None:
    """120 MiB of zeros in 120 KiB; no more is expanded than a tar of images of that length can be."""
    with gzip.open(tmp_path / "bomb.tar.gz", "wb") as bomb:
        for _ in range(120):
            bomb.write(bytes(1 << 20))
    with pytest.raises(RequestError, match=r"it expands to more than \d+ MiB: expand it to a \.tar first"):
        open_source(str(tmp_path / "bomb.tar.gz"))


HOSTILE = ["absolute", "parent", "link", "device", "large", "zip parent", "zip large"]


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_download_is_refused_and_writes_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = tmp_path / "root", tmp_path / "out"

    def archive(url: str, root: str, filename: str, md5: str | None) -> None:
        if kind.startswith("zip"):
            with zipfile.ZipFile(Path(root) / filename, "w") as zipped:
                zipped.writestr("a.png", png(1))
                zipped.writestr("b.png" if kind == "zip large" else "../out", b"x")
            return
        bad = tarfile.TarInfo({"absolute": str(out), "parent": "../out"}.get(kind, "x.png"))
        bad.type = {"link": tarfile.SYMTYPE, "device": tarfile.CHRTYPE}.get(kind, tarfile.REGTYPE)
        bad.linkname = "/etc/passwd"
        pack(Path(root) / filename, {"a.png": png(1)}, bad)

    monkeypatch.setattr("torchvision.datasets.utils.download_url", archive)
    if "large" in kind:
        monkeypatch.setattr("augaware.data.fetch.shutil.disk_usage", lambda _: SimpleNamespace(free=3))
    with pytest.raises(RequestError, match=r"leads out of the folder|is a link or a device|are free"):
        fetch_archive("http://nowhere/archive.tar", root)
    assert [file.name for file in root.iterdir()] == ["archive.tar"]
    assert not out.exists()


def test_a_download_is_unpacked_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def archive(url: str, root: str, filename: str, md5: str | None) -> None:
        pack(Path(root) / filename, {"b/a.png": png(1)})

    monkeypatch.setattr("torchvision.datasets.utils.download_url", archive)
    fetch_archive("http://nowhere/archive.tar", tmp_path)
    assert [str(file.relative_to(tmp_path)) for file in sorted(tmp_path.rglob("*"))] == ["b", "b/a.png"]


def test_damaged_tars(tmp_path: Path) -> None:
    for name, at in (("x.tar", 0.6), ("x.tar", 0.1), ("x.tar.gz", 0.6), ("x.tgz", 0.1)):
        path = Path(pack(tmp_path / name, {f"{i}.png": png(i, 64, 64) for i in range(9)}))
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * at)])
        with pytest.raises(RequestError, match="is not a whole tar"):
            Tar(str(path))
    path = Path(pack(tmp_path / "x.tar", CLASSES))
    content = bytearray(path.read_bytes())
    content[1024:1100] = b"\xff" * 76  # the second member's header
    path.write_bytes(content)
    with pytest.raises(RequestError, match="damaged header at byte 1024"):
        Tar(str(path))
    for content in (b"", b"hello" * 500):
        path.write_bytes(content)
        with pytest.raises(RequestError, match="is not a whole tar"):
            Tar(str(path))


def test_short_side(tmp_path: Path) -> None:
    source = open_source(as_folder(tmp_path, {"a.png": png(1, 40, 20), "b.png": png(2, 4, 9)}), short_side=10)
    assert [tuple(source.load(i).shape) for i in range(2)] == [(3, 10, 20), (3, 9, 4)]
    batch = source.batch(torch.tensor([0, 1]))
    assert batch.pixels.shape == (2, 3, 10, 20)
    assert batch.sizes.tolist() == [[10, 20], [9, 4]]
    assert int(batch.pixels[1, :, 9:].max()) == int(batch.pixels[1, :, :, 4:].max()) == 0
    assert centre_batch(source, torch.tensor([0, 1]), 8).shape == (2, 3, 8, 8)


def test_collate_of_nothing() -> None:
    batch = collate([], torch.empty(0, dtype=torch.int64))
    assert len(batch) == 0
    assert batch.sizes.shape == (0, 2)


def test_progress(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    open_source(as_folder(tmp_path, CLASSES), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(3, 3)]


@pytest.mark.parametrize(
    ("src", "line"),
    [
        ("", "data is empty"),
        ("no/such/folder", "no such folder or file"),
        ("gone.tar.gz", "no such folder or file"),
        ("shaped", "did you mean 'shapes'"),
        ("shapes(m=3)", "unknown argument 'm'"),
        ("shapes(n=0)", "n at least 1"),
        ("shapes(size='big')", "whole numbers"),
        ("hf:", "no such folder"),
        ("torchvision:CIFAR11", "did you mean 'CIFAR10'"),
        ("torchvision:CIFAR10(root='/nowhere')", r"fetch it once with: python -c .*datasets\.CIFAR10\(.*download=True"),
        ("torchvision:CIFAR10(split='val')", "has no split 'val'; accepted: train, test"),
        ("torchvision:DTD(root='/nowhere', split='all')", "all"),
        ("torchvision:FakeData(split='test')", "has no split 'test'; accepted: train$"),
        ("no_lab.images(n=3)", "cannot import"),
    ],
)
def test_wrong_requests_are_one_clear_line(src: str, line: str) -> None:
    with pytest.raises(RequestError, match=line) as error:
        open_source(src)
    assert "\n" not in str(error.value)


def test_wrong_files(tmp_path: Path) -> None:
    write(tmp_path, {"x.zip": b"PK", "sets/train.tar": b"", "sets/test.tar": b""})
    with pytest.raises(RequestError, match="is a file but no tar"):
        open_source(str(tmp_path / "x.zip"))
    with pytest.raises(RequestError, match=r"it holds test\.tar, train\.tar: name the one you want"):
        open_source(str(tmp_path / "sets"))
    with pytest.raises(RequestError, match="no such folder"):
        Folder(str(tmp_path / "gone"))
    with pytest.raises(RequestError, match="no such file"):
        Tar(str(tmp_path / "gone.tar"))
    with pytest.raises(RequestError, match="short_side=0"):
        open_source("shapes", short_side=0)


def test_torchvision_set_offline() -> None:
    source = open_source("torchvision:FakeData", short_side=16, memory=1)
    assert len(source) == 1000
    assert source.batch(torch.tensor([3, 5])).pixels.shape == (2, 3, 16, 16)
    assert source.fingerprint == open_source("torchvision:FakeData", short_side=16, memory=1).fingerprint


def test_torchvision_labels(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 2)):
        lists = "".join(f"banded/{split}_{i}.png\n" if i else f"blotchy/{split}_{i}.png\n" for i in range(count))
        files = {f"dtd/dtd/images/{line}": png(50) for line in lists.split()}
        write(tmp_path, {**files, f"dtd/dtd/labels/{split}1.txt": lists.encode()})
    source = open_source(f"torchvision:DTD(root={str(tmp_path)!r}, split='val')")
    assert source.classes == ("banded", "blotchy")
    assert source.labels.tolist() == [1, 0]
    assert levels(source) == [50, 50]
