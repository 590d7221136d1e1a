"""The data sets of the papers: what each states, how its published files are read, and what is said of damaged ones."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from augaware import lookup
from augaware.data.base import Source
from augaware.data.datasets.base import DataSet, metric, plug_in
from augaware.data.datasets.listed import per_class, random_split
from augaware.data.layout import located
from augaware.data.root import open_dataset
from augaware.data.tables import boxes, landmarks
from augaware.errors import RequestError
from augaware.tasks.linear_probe import LinearProbe
from augaware.tasks.regression import Regression
from small_datasets import LISTED, cifar, colour, stl10, text, write

NAMES = lookup.names("data.datasets")
PREPARED = (
    *("tinyimagenet100", "tinyimagenet_loc20", "caltech3_loc", "cars50", "dtd10", "face_keypoints68"),
    *("medleaf36", "rsscn7", "fruit3_det"),
)
# Images in the publication, where all of them are used.
TOTALS = {
    **{"cifar10": 60000, "cifar100": 60000, "food101": 101000, "mit67": 6700, "pets": 7349, "flowers102": 8189},
    **{"caltech101": 9144 - 467, "cars": 16185, "aircraft": 10000, "dtd": 5640, "sun397": 39700, "cub200": 11788},
    **{"stl10": 13000, "dogs": 20580, "landmarks300w": 599, "fc100": 12000, "cifar_fs": 12000},
    **{"plant_disease": 54305, "voc0712": 5011 + 11540 + 4952, "imagenet": 1281167 + 50000, "imagenet100": 131689},
}
# The seeds of the papers' random validation splits, and their sizes.
RANDOM = {
    "cifar10": (45000, 5000, 43),
    "cifar100": (45000, 5000, 44),
    "food101": (68175, 7575, 42),
    "mit67": (4690, 670, 51),
    "pets": (2940, 740, 49),
    "cars": (7000, 1144, 51),
    "stl10": (4500, 500, 50),
}
CLASSES = {
    "aircraft": ("DHC-6", "707-320", "Falcon 900"),
    "caltech101": ("Faces", "wrench"),
    "cars": ("AM General Hummer SUV 2000", "Audi R8 2012"),
    "cub200": ("Black footed Albatross", "Laysan Albatross"),
    "dogs": ("Chihuahua", "Japanese spaniel"),
    "dtd": ("banded", "zigzagged"),
    "food101": ("apple pie", "tacos"),
    "mit67": ("bar", "gym"),
    "pets": ("Abyssinian", "great pyrenees"),
    "sun397": ("abbey", "apse/indoor"),
}
PER_CLASS = {
    "caltech101": (25, 5),
    "sun397": (4, 10),
    "cub200": (3, 5),
    "dogs": (2, 10),
}  # train and val in the small sets


DRAWN = ["1", "10", "12", "18", "20", "22", "27", "33", "41", "44", "50", "57", "59", "73", "85"]  # of 100, 5 per class


def refused(call, *arguments) -> str:
    with pytest.raises(RequestError) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def built(name: str, root: Path) -> DataSet:
    known = plug_in(name)
    assert known is not None
    return known(root)


def sizes(splits: dict[str, Source]) -> dict[str, int]:
    return {split: len(source) for split, source in splits.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_states_what_it_is(name: str, tmp_path: Path) -> None:
    found = built(name, tmp_path)
    assert found.name == name
    for attribute in ("title", "layout", "url"):
        assert getattr(found, attribute).strip()
        assert "\n" not in getattr(found, attribute)
    assert "://" in found.url
    assert set(found.counts) <= {"train", "val", "test"}
    assert "test" in found.counts
    assert min(found.counts.values()) > 0
    assert found.classes >= 0
    assert found.metric in {"top1", "class_average", "r2_pooled", "ap"}
    assert found.metric == metric(name)
    assert (name in TOTALS) != (name in PREPARED)
    if name in TOTALS:
        assert sum(found.counts.values()) == TOTALS[name]
    if name in RANDOM:
        assert (found.counts["train"], found.counts["val"]) == RANDOM[name][:2]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_there_is_one_line_that_says_how_to_get_it(name: str, tmp_path: Path) -> None:
    found = built(name, tmp_path)
    assert not found.present()
    for line in (refused(open_dataset, tmp_path, name), refused(found.found)):
        assert f"data set {name!r} is not in {tmp_path}" in line
        assert found.layout in line
        assert found.url in line or "doctor --data ROOT --download" in line
    (tmp_path / name).mkdir()
    assert not found.present()
    assert "holds neither splits nor its published form" in refused(open_dataset, tmp_path, name)


def test_the_metric_of_the_linear_probe_is_the_data_sets() -> None:
    chosen = {name: LinearProbe(name).metric for name in [*NAMES, "my_own", "shapes(size=8)", "a/b", "../pets"]}
    averaged = {name for name, chosen in chosen.items() if chosen == "class_average"}
    assert averaged == {"pets", "flowers102", "caltech101", "aircraft"}
    assert set(chosen.values()) == {"class_average", "top1"}


@pytest.mark.parametrize("name", RANDOM)
def test_random_splits_are_those_of_torch(name: str) -> None:
    train, val, seed = RANDOM[name]
    entries = [(str(i), 0) for i in range(train + val)]
    generator = torch.Generator().manual_seed(seed)
    expected = torch.utils.data.random_split(range(train + val), [train, val], generator)  # what the papers call
    found = random_split(entries, train, val, seed)
    assert [[int(i) for i, _ in part] for part in found.values()] == [list(part.indices) for part in expected]


def test_images_drawn_per_class_are_as_many_and_always_the_same() -> None:
    entries = [(f"{i}", i % 3) for i in range(100)]
    parts = per_class(entries, 25, 5)
    assert [Counter(label for _, label in part) for part in parts] == [
        {0: 25, 1: 25, 2: 25},
        {0: 5, 1: 5, 2: 5},
        {0: 4, 1: 3, 2: 3},
    ]
    assert sorted(entry for part in parts for entry in part) == sorted(entries)
    assert [name for name, _ in parts[1]] == DRAWN
    assert all(part == sorted(part, key=lambda entry: int(entry[0])) for part in parts)


@pytest.mark.parametrize("name", LISTED)
def test_published_files_are_read_as_the_papers_split_them(name: str, tmp_path: Path) -> None:
    expected = LISTED[name](tmp_path)
    found = open_dataset(tmp_path, name)
    assert list(found) == list(built(name, tmp_path).counts)
    names = [path for source in found.values() for path in source.names]
    assert len(set(names)) == len(names)
    for split, entries in expected.items():
        assert list(found[split].names) == [path for path, _ in entries]
        if found[split].labels is not None:
            assert found[split].labels.tolist() == [label for _, label in entries]
    for split, source in found.items():
        if name not in CLASSES and name != "flowers102":
            assert source.labels is None
            assert source.classes == ()
        assert source.classes == CLASSES.get(name, source.classes)
        assert source.skipped == ()
        for i in {0, len(source) // 2, len(source) - 1}:
            assert tuple(source.load(i)[:, 0, 0].tolist()) == colour(source.names[i]), (split, i)
    assert len({source.fingerprint for source in found.values()}) == len(found)
    small = open_dataset(tmp_path, name, short_side=2, memory=0)
    assert sizes(small) == sizes(found) == built(name, tmp_path).found()
    assert small["test"].load(0).shape[1] == 2


@pytest.mark.parametrize("name", PER_CLASS)
def test_of_each_class_as_many_are_val_as_in_the_papers(name: str, tmp_path: Path) -> None:
    LISTED[name](tmp_path)
    found = open_dataset(tmp_path, name, memory=0)
    train, val = PER_CLASS[name]
    assert found["train"].labels.bincount().tolist() == [train, train]
    assert found["val"].labels.bincount().tolist() == [val, val]
    for source in found.values():
        folders = {path.rpartition("/")[0] for path in source.names}
        by_folder = {
            (path.rpartition("/")[0], int(label)) for path, label in zip(source.names, source.labels, strict=True)
        }
        assert len(by_folder) == len(folders) == 2
    assert not any("BACKGROUND" in path for source in found.values() for path in source.names)


def test_flowers_have_their_names(tmp_path: Path) -> None:
    LISTED["flowers102"](tmp_path)
    found = open_dataset(tmp_path, "flowers102", memory=0)
    assert len(found["test"].classes) == 102
    assert found["test"].classes[0] == "pink primrose"


@pytest.mark.parametrize("name", LISTED)
def test_a_listed_image_that_is_absent_is_counted_and_named(name: str, tmp_path: Path) -> None:
    LISTED[name](tmp_path)
    known = built(name, tmp_path)
    whole = open_dataset(tmp_path, name, memory=0)
    if name in ("caltech101", "landmarks300w"):
        return  # what lies there is the list
    home = known.home() / known.images
    lost = sorted(whole["test"].names)[:1] + sorted(whole["train"].names)[:1]
    for path in lost:
        (home / path).unlink()
    total = sum(sizes(whole).values())
    line = refused(open_dataset, tmp_path, name)
    assert f"2 of {total} listed images are not in {home}, the first is {min(lost)}" in line
    assert known.found() == {**sizes(whole), "train": len(whole["train"]) - 1, "test": len(whole["test"]) - 1}


@pytest.mark.parametrize("name", LISTED)
def test_what_is_missing_or_damaged_is_one_line(name: str, tmp_path: Path) -> None:
    LISTED[name](tmp_path)
    known = built(name, tmp_path)
    home = known.home()
    for need in known.needs if len(known.needs) > 1 else ():
        (home / need).rename(home / "away")
        assert f"{home} lacks {need}; expected: {known.layout}" in refused(open_dataset, tmp_path, name)
        (home / "away").rename(home / need)
        if (home / need).is_file():
            content = (home / need).read_bytes()
            for damaged in (b"", content[: len(content) // 2] + b"\xff\xfe\x00", b"\x80 a b c d\n"):
                (home / need).write_bytes(damaged)
                line = refused(open_dataset, tmp_path, name)
                assert str(home) in line
            (home / need).write_bytes(content)
    open_dataset(tmp_path, name, memory=0)


@pytest.mark.parametrize(
    ("name", "file", "line", "words"),
    [
        ("aircraft", "images_variant_test.txt", "9 Zeppelin", "'Zeppelin' is none of the 3 classes, which begin"),
        ("aircraft", "images_variant_test.txt", "9", "damaged at its entry 2, '9': 2 words expected"),
        ("pets", "annotations/test.txt", "x_1 0 1 1", r"x_1.jpg has label -1, and there are 2 classes"),
        ("pets", "annotations/test.txt", "x_1 one 1 1", "second word of every line must be a whole number"),
        ("mit67", "TestImages.txt", "yard/1.jpg", "'yard' is none of the 2 classes"),
        ("sun397", "Testing_01.txt", "/b/bath/sun_1.jpg", "'b/bath' is none of the 2 classes"),
        ("cub200", "image_class_labels.txt", "99 1", "name different images"),
        ("cub200", "classes.txt", "", r"has label 1, and there are 1 classes, counted from 0"),
        ("food101", "meta/test.json", "{", "class -> images expected"),
        ("dtd", "labels/val1.txt", "banded/gone.jpg", "1 of 13 listed images are not in"),
    ],
)
def test_lists_that_do_not_belong_together_are_one_line(
    tmp_path: Path, name: str, file: str, line: str, words: str
) -> None:
    LISTED[name](tmp_path)
    path = built(name, tmp_path).home() / file
    path.write_text(f"{path.read_text().rstrip()}\n{line}\n" if line else path.read_text().splitlines()[0])
    with pytest.raises(RequestError, match=words):
        open_dataset(tmp_path, name)


def test_cars_of_a_class_without_a_name_are_refused(tmp_path: Path) -> None:
    from scipy.io import savemat

    LISTED["cars"](tmp_path)
    savemat(
        tmp_path / "stanford_cars/devkit/cars_meta.mat", {"class_names": np.array(["Audi", "BMW", "VW"], object)[:1]}
    )
    assert "has label 1, and there are 1 classes" in refused(open_dataset, tmp_path, "cars")
    savemat(tmp_path / "stanford_cars/devkit/cars_meta.mat", {"names": [1]})
    assert "has no 'class_names'" in refused(open_dataset, tmp_path, "cars")


def test_without_scipy_a_matlab_list_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LISTED["dogs"](tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "scipy.io", None)
    assert "needs scipy to be read: pip install 'augaware[datasets]'" in refused(open_dataset, tmp_path, "dogs")


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_read_where_torchvision_has_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = cifar(tmp_path, monkeypatch, name)
    n = 2 * len(classes)
    found = open_dataset(tmp_path, name)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(RANDOM[name][2]))
    assert sizes(found) == {"train": n * 9 // 10, "val": n // 10, "test": len(classes)}
    for split, part in (("train", order[: n * 9 // 10]), ("val", order[n * 9 // 10 :])):
        assert found[split].names == [f"train/{i}" for i in part]
        assert found[split].labels.tolist() == [int(i) % len(classes) for i in part]
        assert found[split].load(1)[:, 0, 0].tolist() == [int(part[1]), int(part[1]) % len(classes), 7]
        assert found[split].classes == tuple(classes)
    shutil.move(next(tmp_path.glob("cifar-*")), tmp_path / name / next(tmp_path.glob("cifar-*")).name)
    assert open_dataset(tmp_path, name)["val"].fingerprint == found["val"].fingerprint
    file = next((tmp_path / name).glob("cifar-*/train_file"))
    file.write_bytes(file.read_bytes()[:-1])
    assert "or damaged; fetch it once with" in refused(open_dataset, tmp_path, name)


def test_stl10_is_read_column_by_column(tmp_path: Path) -> None:
    stl10(tmp_path)
    found = open_dataset(tmp_path, "stl10")
    order = torch.randperm(20, generator=torch.Generator().manual_seed(50)).tolist()
    assert [found[s].names for s in ("train", "val")] == [[f"train/{i}" for i in p] for p in (order[:18], order[18:])]
    assert found["train"].labels.tolist() == [i % 10 for i in order[:18]]
    assert found["test"].load(5)[:, 7, 40].tolist() == [5 + 10 * c + 7 + 20 for c in range(3)]
    assert found["test"].classes[4:6] == ("deer", "dog")
    assert open_dataset(tmp_path, "stl10", short_side=48)["test"].load(0).shape == (3, 48, 48)
    home = tmp_path / "stl10_binary"
    home.rename(tmp_path / "moved")
    (tmp_path / "stl10").mkdir()
    (tmp_path / "moved").rename(tmp_path / "stl10/stl10_binary")
    assert sizes(open_dataset(tmp_path, "stl10")) == {"train": 18, "val": 2, "test": 6}
    labels = tmp_path / "stl10/stl10_binary/train_y.bin"
    for content in (b"\x01" * 19, b"\x00" * 20, b"\x0b" * 20):
        labels.write_bytes(content)
        assert "do not belong together" in refused(open_dataset, tmp_path, "stl10")
    labels.write_bytes(b"")
    assert "are needed" in refused(open_dataset, tmp_path, "stl10")
    labels.unlink()
    assert "are needed (No such file or directory)" in refused(open_dataset, tmp_path, "stl10")


@pytest.mark.parametrize("name", ["fc100", "cifar_fs"])
def test_few_shot_sets_pool_their_classes_of_cifar100(name: str, tmp_path: Path) -> None:
    known = built(name, tmp_path)
    assert len(set(known.members)) == known.classes == 20
    everything = sorted({*built("fc100", tmp_path).members, *built("cifar_fs", tmp_path).members, "apple", "tank"})
    for split, count in (("train", 5), ("test", 2)):
        write(tmp_path / "cifar100" / split, [f"{c}/{split}{i}.png" for c in everything for i in range(count)])
    found = open_dataset(tmp_path, name)
    assert list(found) == ["test"]
    test = found["test"]
    assert test.classes == known.members
    assert test.labels.bincount().tolist() == [7] * 20
    assert Counter(path.split("/")[0] for path in test.names) == {"train": 80, "val": 20, "test": 40}
    for i in (0, 60, 139):
        _, folder, file = test.names[i].split("/")
        assert test.classes[test.labels[i]] == folder
        assert tuple(test.load(i)[:, 0, 0].tolist()) == colour(f"{folder}/{file}")
    batch = open_dataset(tmp_path, name, memory=0)["test"].batch(torch.tensor([139, 0, 60]))
    assert batch.index.tolist() == [139, 0, 60]
    assert torch.equal(batch.cut()[2], test.load(60))
    shutil.rmtree(tmp_path / "cifar100/train/baby")
    shutil.rmtree(tmp_path / "cifar100/test/baby")
    assert "lacks 1 of 20 classes, such as baby" in refused(open_dataset, tmp_path, name)


def test_a_few_shot_set_prepared_by_hand_needs_no_train(tmp_path: Path) -> None:
    write(tmp_path / "fc100/test", ["baby/1.png", "bee/1.png"])
    assert sizes(open_dataset(tmp_path, "fc100")) == {"test": 2}
    write(tmp_path / "mine/test", ["baby/1.png", "bee/1.png"])
    assert "has test only; it needs train" in refused(open_dataset, tmp_path, "mine")


@pytest.mark.parametrize("name", ["plant_disease", "imagenet", *PREPARED])
def test_sets_without_a_form_of_their_own_are_read_by_layout(name: str, tmp_path: Path) -> None:
    known = built(name, tmp_path)
    places = [*known.places, name] if hasattr(known, "places") else [name]
    for place in places:
        for split, count in (("trn", 10), ("val", 3)):
            write(tmp_path / place / split, [f"{c}/{i}.png" for c in ("cat", "dog") for i in range(count)])
        assert known.present()
        assert known.found() == {"train": 20, "test": 6}
        assert sizes(open_dataset(tmp_path, name)) == {"train": 16, "val": 4, "test": 6}
        shutil.rmtree(tmp_path / Path(place).parts[0])


def test_imagenet100_is_read_from_imagenets_folders(tmp_path: Path) -> None:
    from augaware.data.imagenet100 import class_ids

    ids = [*class_ids(), "n01440764"]
    write(tmp_path / "imagenet/train", [f"{c}/{c}_{i}.JPEG" for c in ids for i in range(5)])
    write(tmp_path / "imagenet/val", [f"{c}/{c}_v.JPEG" for c in ids])
    found = open_dataset(tmp_path, "imagenet100", memory=0)
    assert sizes(found) == {"train": 400, "val": 100, "test": 100}
    assert found["test"].classes == class_ids()
    assert found["val"].labels.bincount().tolist() == [1] * 100
    assert built("imagenet100", tmp_path).found() == {"train": 500, "test": 100}
    shutil.rmtree(tmp_path / "imagenet/val" / class_ids()[3])
    assert "1 of 100 class folders are missing" in refused(open_dataset, tmp_path, "imagenet100")


def test_layout_wins_over_the_published_form(tmp_path: Path) -> None:
    LISTED["pets"](tmp_path)
    for split in ("train", "val", "test"):
        write(tmp_path / "pets" / split, ["a/1.png", "b/1.png"])
    assert sizes(open_dataset(tmp_path, "pets")) == {"train": 2, "val": 2, "test": 2}


def test_boxes_of_voc_are_those_of_its_annotations(tmp_path: Path) -> None:
    expected = LISTED["voc0712"](tmp_path)
    found = boxes(tmp_path, "voc0712")
    assert found.keys() == {(split, name) for split, entries in expected.items() for name, _ in entries}
    third = found["train", "VOC2007/JPEGImages/2007_trainval2.jpg"]
    assert third.corners == ((0, 1.5, 5, 4), (0, 1.5, 6, 4))
    assert (third.labels, third.difficult, third.size) == (("cat", "cat"), (False, True), (6, 4))
    assert found["train", "VOC2012/JPEGImages/2012_trainval0.jpg"].labels == ()
    file = tmp_path / "VOCdevkit/VOC2007/Annotations/2007_test1.xml"
    laughs = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;&b;">]>'
    for content, words in (
        (laughs + "<annotation>&c;</annotation>", "defines a document type"),
        (file.read_text()[:-9], r"2007_test1.xml is damaged"),
        (file.read_text().replace("<name>cat</name>", ""), r"damaged \(no name\)"),
        (file.read_text().replace("<ymax>4", "<ymax>four"), r"2007_test1.xml is damaged"),
        (file.read_text().encode("utf-16"), r"2007_test1.xml is damaged"),
    ):
        text(file, content)
        with pytest.raises(RequestError, match=words) as error:
            boxes(tmp_path, "voc0712")
        assert "\n" not in str(error.value)
    file.unlink()
    assert "cannot be read: No such file" in refused(boxes, tmp_path, "voc0712")


def test_boxes_of_cub_are_those_of_its_list(tmp_path: Path) -> None:
    LISTED["cub200"](tmp_path)
    found, splits = boxes(tmp_path, "cub200"), open_dataset(tmp_path, "cub200", memory=0)
    assert found.keys() == {(split, name) for split, source in splits.items() for name in source.names}
    image = found["test", "002.Laysan_Albatross/002.Laysan_Albatross_9.jpg"]  # number 20
    assert (image.labels, image.corners, image.size) == (("Laysan Albatross",), ((20, 2, 23, 6.5),), None)
    path = tmp_path / "CUB_200_2011/bounding_boxes.txt"
    path.write_text("\n".join(path.read_text().splitlines()[1:]))
    assert "lacks the box of 001.Black_footed_Albatross" in refused(boxes, tmp_path, "cub200")
    path.write_text("1 a b c d\n")
    assert "is damaged at image 1" in refused(boxes, tmp_path, "cub200")


def test_landmarks_of_300w_are_those_of_its_files_and_regression_takes_them(tmp_path: Path) -> None:
    expected = LISTED["landmarks300w"](tmp_path)
    found = landmarks(tmp_path, "landmarks300w")
    assert found.keys() == {(split, name) for split, entries in expected.items() for name, _ in entries}
    row = next(value for (_, name), value in found.items() if name == "02_Outdoor/o_003.png")  # number 14
    assert row[:6] == (44, 20, 4.5, 0.5, 5.5, 1)
    assert len(row) == 2 + 136
    assert sizes(Regression("landmarks300w").splits(tmp_path)) == {"train": 6, "val": 6, "test": 9}
    path = tmp_path / "300W/01_Indoor/i_000.pts"
    for content in ("version: 1\n{\n1 2\n}", path.read_text().replace("1.000000", "nan"), "junk"):
        path.write_text(content)
        assert "i_000.pts is damaged: 68 lines" in refused(landmarks, tmp_path, "landmarks300w")
    path.unlink()
    assert "i_000.pts cannot be read" in refused(landmarks, tmp_path, "landmarks300w")


def test_a_table_beside_prepared_splits_wins(tmp_path: Path) -> None:
    LISTED["cub200"](tmp_path)
    text(tmp_path / "cub200/boxes.csv", ["split,file,class,xmin,ymin,xmax,ymax", "test,1.png,a,1,2,3,4"])
    assert list(boxes(tmp_path, "cub200")) == [("test", "1.png")]


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name",
    [
        *PREPARED,
        *("cifar100", "flowers102", "caltech101"),
        pytest.param("cifar10", marks=pytest.mark.slow),  # 60,000 members of a tar
    ],
)
def test_the_real_small_sets(real_data: Path, name: str) -> None:
    """Counts and classes as the README of the sets has them; nothing is decoded."""
    if not located(real_data / name):
        pytest.skip(f"no {name} in {real_data}: set AUGAWARE_DATA")
    known = built(name, real_data)
    found = open_dataset(real_data, name, memory=0)
    assert list(found) == ["train", "val", "test"]
    whole = {
        "cifar10": {"train": 50000, "test": 10000},
        "cifar100": {"train": 5000, "test": 2000},
        "flowers102": {"train": 1020, "val": 510, "test": 1530},
        "caltech101": {"train": 1515, "val": 505, "test": 997},
    }.get(name, known.counts)
    assert sum(sizes(found).values()) == sum(whole.values())
    assert len(found["test"]) == whole["test"]
    assert len(found["val"]) == whole.get("val", whole["train"] // 5)
    labelled = known.classes if name != "fruit3_det" else 0  # an image can hold several
    assert {len(source.classes) for source in found.values()} == {labelled}


@pytest.mark.realdata
def test_the_few_shot_classes_are_those_of_the_real_list(real_data: Path) -> None:
    path = real_data / "cifar100/fewshot_classes.json"
    if not path.is_file():
        pytest.skip(f"no cifar100 in {real_data}: set AUGAWARE_DATA")
    listed = json.loads(path.read_text())
    for name in ("fc100", "cifar_fs"):
        known = built(name, real_data)
        assert list(known.members) == sorted(listed[name]["test"])
        assert known.found() == {"test": 1400}
