"""ImageNet-100 as a source: which folders are read, in which order, and what is refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from augaware.data.folder import Folder
from augaware.data.imagenet100 import ImageNet100, class_ids
from augaware.data.loader import open_source
from augaware.errors import RequestError


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images per class of the list, red the class's number, green the image's; and two classes outside the list."""
    root = tmp_path_factory.mktemp("imagenet")
    for label, name in enumerate([*class_ids(), "n01440764", "n15075141"]):
        (root / name).mkdir()
        for number in (1, 0):
            picture = Image.new("RGB", (12, 8), (label, number, 0))
            picture.save(root / name / f"{name}_{number}.png")
    return root


def test_the_list_is_a_hundred_word_net_ids_in_cmcs_order() -> None:
    ids = class_ids()
    assert len(ids) == len(set(ids)) == 100
    assert all(len(i) == 9 and i[0] == "n" and i[1:].isdigit() for i in ids)
    assert ids[:3] == ("n02869837", "n01749939", "n02488291")
    assert ids[-2:] == ("n01855672", "n02090622")
    assert list(ids) != sorted(ids)


def test_labels_are_the_lines_of_the_list(train: Path) -> None:
    source = open_source(f"imagenet100({str(train)!r})")
    assert source.classes == class_ids()
    assert source.labels.tolist() == [label for label in range(100) for _ in range(2)]
    assert [name.split("/")[0] for name in source.names[::2]] == list(class_ids())
    for index in (0, 1, 77, 199):
        assert source.load(index)[:, 0, 0].tolist() == [index // 2, index % 2, 0]


def test_the_folders_of_other_classes_are_never_listed(train: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(Path(path).name) or scandir(path))
    monkeypatch.setattr(os, "listdir", lambda path: pytest.fail(f"listed {path}"))
    ImageNet100(str(train))
    assert listed == list(class_ids())


def test_fingerprint_follows_the_images(train: Path, tmp_path: Path) -> None:
    train = shutil.copytree(train, tmp_path / "copy")
    before = ImageNet100(str(train)).fingerprint
    (train / "n01440764" / "more.png").write_bytes(b"x")
    assert ImageNet100(str(train)).fingerprint == before
    (train / class_ids()[5] / "more.png").write_bytes(b"x")
    assert ImageNet100(str(train)).fingerprint != before


@pytest.mark.parametrize(
    ("arguments", "side"),
    [("", 4), (", short_side=6", 6), (", 2", 2), (", None", 8)],
    ids=["none", "key", "place", "off"],
)
def test_the_decoded_side_reaches_a_named_source_that_does_not_state_its_own(
    train: Path, arguments: str, side: int
) -> None:
    for name in ("imagenet100", "folder", "augaware.data.folder"):
        source = open_source(f"{name}({str(train)!r}{arguments})", short_side=4)
        assert source.load(3).shape == (3, side, side * 3 // 2)
    assert len(open_source("shapes(n=3)", short_side=4)) == 3  # takes none


def test_incomplete_folders_are_refused_in_one_line(train: Path, tmp_path: Path) -> None:
    train = shutil.copytree(train, tmp_path / "copy")
    for name in (class_ids()[7], class_ids()[40]):
        (train / name).rename(train / f"away-{name}")
    lines = {
        f"imagenet100({str(train)!r})": f"2 of 100 class folders are missing, the first is {class_ids()[7]}",
        f"imagenet100({str(train / 'gone')!r})": "no such folder",
        "imagenet100(3)": "path must be a folder's name",
        "imagenet100()": "missing a required argument: 'path'",
        "imagenet10('x')": "did you mean 'imagenet100'",
    }
    for src, words in lines.items():
        with pytest.raises(RequestError) as refused:
            open_source(src)
        assert words in str(refused.value)
        assert "\n" not in str(refused.value)
    for name in (class_ids()[7], class_ids()[40]):
        (train / name).mkdir()
    with pytest.raises(RequestError, match=f"2 of 100 class folders hold no image, the first is {class_ids()[7]}"):
        ImageNet100(str(train))


def test_a_folder_of_the_same_images_has_them_in_another_order(train: Path) -> None:
    assert Folder(str(train)).classes == tuple(sorted([*class_ids(), "n01440764", "n15075141"]))
