"""Data sets with splits: tars, folders, torchvision's layout, drawn ones, and the real small sets."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from augaware.data.layout import carve
from augaware.data.root import open_dataset
from augaware.data.shapes import Shapes
from augaware.errors import RequestError

REAL = Path(os.environ.get("AUGAWARE_DATA", Path(__file__).parents[2] / "shared" / "data"))


def png(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (10, 8), (level, level, level)).save(buffer, "PNG")
    return buffer.getvalue()


def write(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def pack(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def images(per_class: int, *classes: str, level: int = 0) -> dict[str, bytes]:
    return {f"{name}/{i}.png": png(level + i) for name in classes for i in range(per_class)}


def test_split_tars_with_plain_names(tmp_path: Path) -> None:
    home = tmp_path / "pets"
    home.mkdir()
    for split, count in (("train", 5), ("val", 2), ("test", 3)):
        pack(home / f"{split}.tar{'.gz' if split == 'val' else ''}", images(count, "n1", "n2"))
    (home / "classes.txt").write_text("n1\ta cat\nn2\n")
    found = open_dataset(tmp_path, "pets", short_side=4)
    assert {split: len(source) for split, source in found.items()} == {"train": 10, "val": 4, "test": 6}
    assert list(found) == ["train", "val", "test"]
    assert {source.classes for source in found.values()} == {("a cat", "n2")}
    assert found["val"].batch(torch.tensor([0])).pixels.shape == (1, 3, 4, 5)


def test_split_folders_and_a_carved_validation(tmp_path: Path) -> None:
    for split, count in (("train", 10), ("validation", 3)):
        write(tmp_path / "pets" / split, images(count, "cat", "dog"))
    found = open_dataset(tmp_path, "pets")
    assert {split: len(source) for split, source in found.items()} == {"train": 16, "val": 4, "test": 6}
    assert found["val"].labels.bincount().tolist() == [2, 2]
    assert not set(found["val"].names) & set(found["train"].names)
    assert found["val"].names == open_dataset(tmp_path, "pets")["val"].names
    assert len({source.fingerprint for source in found.values()}) == 3
    for source in (found["val"], found["train"]):
        batch = source.batch(torch.tensor([3, 1]))
        assert batch.index.tolist() == [3, 1]
        names = [source.names[3], source.names[1]]
        assert batch.pixels[:, 0, 0, 0].tolist() == [int(name.split("/")[1][:-4]) for name in names]
        assert torch.equal(source.load(3), batch.pixels[0])


def test_carving_keeps_labels_and_factors_together() -> None:
    whole = Shapes(100, 16)
    train, val = carve(whole)
    assert len(train) + len(val) == 100
    for part in (train, val):
        assert torch.equal(part.labels, part.factors["shape"])
        assert torch.equal(part.batch(torch.tensor([2])).pixels[0], whole.load(int(part.index[2])))


def test_flat_sets_have_no_labels(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write(tmp_path / "faces", {"classes.txt": b"face\n"})
        pack(tmp_path / "faces" / f"{split}.tar", {"1.png": png(1), "2.png": png(2)})
    found = open_dataset(tmp_path, "faces")
    assert all(source.labels is None and source.classes == () for source in found.values())


def test_torchvision_layout(tmp_path: Path) -> None:
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        lines = [f"{name}/{split}_{i}.png" for name in ("banded", "blotchy") for i in range(count)]
        write(tmp_path / "dtd/dtd/images", {line: png(50) for line in lines})
        write(tmp_path / "dtd/dtd/labels", {f"{split}1.txt": "\n".join(lines).encode()})
    found = open_dataset(tmp_path, "dtd")
    assert {split: len(source) for split, source in found.items()} == {"train": 8, "val": 4, "test": 4}
    assert found["test"].classes == ("banded", "blotchy")


def test_drawn_splits() -> None:
    found = open_dataset("/nowhere", "shapes(train=30, val=10, test=20, size=16)")
    assert {split: len(source) for split, source in found.items()} == {"train": 30, "val": 10, "test": 20}
    assert {len(source) for source in open_dataset("", "shapes").values()} == {2000, 500, 1500}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("pats", "accepted: bare, clash, lonely, pets, shapes; did you mean 'pets'"),
        ("bare", "holds no split; expected train.tar"),
        ("lonely", "has train only; it needs train and one of test and val"),
        ("clash", "test has 3 classes and train 2, 'eel' is in one only"),
        ("cifar10", r"'cifar10' is not in .*expected: cifar-10-batches-py/.*doctor --data ROOT --download cifar10"),
        ("shapes(n=3)", "accepted arguments, by name: train, val, test, size, seed"),
    ],
)
def test_wrong_requests(tmp_path: Path, name: str, line: str) -> None:
    write(tmp_path, {"bare/a.png": png(1), "pets/train/a.png": png(1)})
    write(tmp_path / "lonely/train", images(1, "cat", "dog"))
    write(tmp_path / "clash/train", images(1, "cat", "dog"))
    write(tmp_path / "clash/test", images(1, "cat", "dog", "eel"))
    with pytest.raises(RequestError, match=line) as error:
        open_dataset(tmp_path, name)
    assert "\n" not in str(error.value)


def test_classes_file_that_disagrees_and_damaged_tars(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path / "pets" / split, images(2, "cat", "dog"))
    (tmp_path / "pets/classes.txt").write_text("dog\ncat\n")
    with pytest.raises(RequestError, match="in another order"):
        open_dataset(tmp_path, "pets")
    (tmp_path / "pets/train.tar").write_bytes(b"junk" * 999)
    with pytest.raises(RequestError, match="is not a whole tar"):
        open_dataset(tmp_path, "pets")
    with pytest.raises(RequestError, match="there is no such folder"):
        open_dataset(tmp_path / "gone", "pets")


@pytest.mark.realdata
@pytest.mark.skipif(not (REAL / "flowers102").is_dir(), reason=f"no flowers102 in {REAL}: set AUGAWARE_DATA")
def test_flowers102() -> None:
    found = open_dataset(REAL, "flowers102")
    assert {split: len(source) for split, source in found.items()} == {"train": 1020, "val": 510, "test": 1530}
    assert {len(source.classes) for source in found.values()} == {102}
    assert all(source.skipped == () for source in found.values())
