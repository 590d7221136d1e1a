"""Published data sets in small: the files that their authors' archives unpack to, with a few images each.

Each function writes one below ``root`` and returns its splits as they must be read: (name, label) of each image. An
image has one colour, a function of its name, so that a test sees which file was read.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

Splits = dict[str, list[tuple[str, int]]]


def colour(name: str) -> tuple[int, int, int]:
    code = zlib.crc32(name.encode())
    return code & 255, code >> 8 & 255, code >> 16 & 255


def write(folder: Path, names: Iterable[str], size: tuple[int, int] = (6, 4)) -> None:
    for name in names:
        content = io.BytesIO()
        Image.new("RGB", size, colour(name)).save(content, "PNG")  # whatever it is called: JPEG would change colours
        text(folder / name, content.getvalue())


def text(path: Path, content: str | bytes | Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else "".join(f"{line}\n" for line in content))


def mat(path: Path, **arrays: object) -> None:
    savemat = pytest.importorskip("scipy.io", reason="no scipy: pip install 'augaware[datasets]'").savemat
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, arrays)


def drawn(entries: list[tuple[str, int]], train: int, seed: int) -> Splits:
    """What the papers' code does with its official train list."""
    order = torch.randperm(len(entries), generator=torch.Generator().manual_seed(seed)).tolist()
    return {"train": [entries[i] for i in order[:train]], "val": [entries[i] for i in order[train:]]}


def food101(root: Path) -> Splits:
    home = root / "food-101"
    train = {"tacos": [f"tacos/{i}" for i in range(10)], "apple_pie": [f"apple_pie/{i}" for i in (3, 1)]}
    test = {"apple_pie": ["apple_pie/9"], "tacos": ["tacos/90", "tacos/91"]}
    text(home / "meta/train.json", json.dumps(train))
    text(home / "meta/test.json", json.dumps(test))

    def entries(listed: dict[str, list[str]]) -> list[tuple[str, int]]:
        return [(f"{file}.jpg", ["apple_pie", "tacos"].index(name)) for name, files in listed.items() for file in files]

    write(home / "images", [name for name, _ in entries(train) + entries(test)])
    return {**drawn(entries(train), 11, 42), "test": entries(test)}


def pets(root: Path) -> Splits:
    home = root / "oxford-iiit-pet"
    trainval = [(f"Abyssinian_{i}.jpg", 0) for i in (4, 2, 1)] + [(f"great_pyrenees_{i}.jpg", 1) for i in range(7)]
    test = [("great_pyrenees_99.jpg", 1), ("Abyssinian_98.jpg", 0)]
    for split, entries in (("trainval", trainval), ("test", test)):
        text(home / f"annotations/{split}.txt", [f"{name[:-4]} {label + 1} 2 1" for name, label in entries])
    write(home / "images", [name for name, _ in trainval + test])
    return {**drawn(trainval, 8, 49), "test": test}


def flowers102(root: Path) -> Splits:
    home = root / "flowers-102"
    labels = np.array([77, 1, 102, 5, 5, 9, 1])
    parts = {"trnid": [2, 1], "valid": [3], "tstid": [7, 6, 5, 4]}
    mat(home / "imagelabels.mat", labels=labels)
    mat(home / "setid.mat", **{key: np.array(part) for key, part in parts.items()})
    write(home / "jpg", [f"image_{i:05d}.jpg" for i in range(1, 8)])
    splits = zip(("train", "val", "test"), parts.values(), strict=True)
    return {split: [(f"image_{i:05d}.jpg", int(labels[i - 1]) - 1) for i in part] for split, part in splits}


def caltech101(root: Path) -> Splits:
    """Which of a class are train is ours to draw: names are asserted by their counts."""
    home = root / "caltech101/101_ObjectCategories"
    names = {"Faces": 32, "wrench": 31}
    files = [f"{name}/image_{i:04d}.jpg" for name, count in names.items() for i in range(1, count + 1)]
    write(home, [*files, "BACKGROUND_Google/image_0001.jpg"])
    return {}


def cars(root: Path) -> Splits:
    home = root / "stanford_cars"
    mat(home / "devkit/cars_meta.mat", class_names=np.array(["AM General Hummer SUV 2000", "Audi R8 2012"], object))
    train = [(f"cars_train/{i:05d}.jpg", i % 2) for i in range(1, 9)]
    test = [(f"cars_test/{i:05d}.jpg", (i + 1) % 2) for i in range(1, 4)]
    for path, entries in (
        ("devkit/cars_train_annos.mat", train),
        ("cars_test_annos_withlabels.mat", test),
    ):
        rows = np.zeros((1, len(entries)), dtype=[("class", "u1"), ("fname", "O")])
        for i, (name, label) in enumerate(entries):
            rows[0, i] = (label + 1, name.split("/")[1])
        mat(home / path, annotations=rows)
    write(home, [name for name, _ in train + test])
    return {**drawn(train, 7, 51), "test": test}


def aircraft(root: Path) -> Splits:
    home = root / "fgvc-aircraft-2013b/data"
    names = ["DHC-6", "707-320", "Falcon 900"]
    text(home / "variants.txt", names)
    splits: Splits = {"train": [("0034309.jpg", 2), ("1.jpg", 0)], "val": [("2.jpg", 1)], "test": [("3.jpg", 2)]}
    for split, entries in splits.items():
        text(home / f"images_variant_{split}.txt", [f"{name[:-4]} {names[label]}" for name, label in entries])
    write(home / "images", [name for entries in splits.values() for name, _ in entries])
    return splits


def dtd(root: Path) -> Splits:
    home = root / "dtd/dtd"
    names = ["banded", "zigzagged"]
    counts = (("train", 3), ("val", 2), ("test", 1))
    splits = {s: [(f"{c}/{c}_{s}{i}.jpg", names.index(c)) for c in names[::-1] for i in range(n)] for s, n in counts}
    for split, entries in splits.items():
        text(home / f"labels/{split}1.txt", [name for name, _ in entries])
        text(home / f"labels/{split}2.txt", ["banded/of_another_split.jpg"])
    write(home / "images", [name for entries in splits.values() for name, _ in entries])
    return splits


def mit67(root: Path) -> Splits:
    home = root / "mit67"
    train = [("bar/a.jpg", 0), ("bar/b.jpg", 0), *((f"gym/{i}.jpg", 1) for i in range(6))]
    test = [("bar/z.jpg", 0), ("gym/z.jpg", 1)]
    text(home / "TrainImages.txt", [name for name, _ in train[::-1]])
    text(home / "TestImages.txt", [name for name, _ in test])
    write(home / "Images", [name for name, _ in train + test])
    return {**drawn(train, 7, 51), "test": test}


def sun397(root: Path) -> Splits:
    home = root / "SUN397"
    names = ["a/abbey", "a/apse/indoor"]
    text(home / "ClassName.txt", [f"/{name}" for name in names])
    files = {"Training": 14, "Testing": 3}
    for split, count in files.items():
        listed = [f"/{name}/sun_{split}{i}.jpg" for name in names for i in range(count)]
        text(home / f"{split}_01.txt", listed)
        write(home, [name.lstrip("/") for name in listed])
    return {"test": [(f"{name}/sun_Testing{i}.jpg", label) for label, name in enumerate(names) for i in range(3)]}


def cub200(root: Path) -> Splits:
    home = root / "CUB_200_2011"
    names = ["001.Black_footed_Albatross", "002.Laysan_Albatross"]
    files = [(f"{name}/{name}_{i}.jpg", label, i < 8) for label, name in enumerate(names) for i in range(10)]
    text(home / "classes.txt", [f"{i} {name}" for i, name in enumerate(names, 1)])
    text(home / "images.txt", [f"{i} {name}" for i, (name, _, _) in enumerate(files, 1)])
    text(home / "image_class_labels.txt", [f"{i} {label + 1}" for i, (_, label, _) in enumerate(files, 1)])
    text(home / "train_test_split.txt", [f"{i} {int(train)}" for i, (_, _, train) in enumerate(files, 1)])
    text(home / "bounding_boxes.txt", [f"{i} {i}.0 2.0 3.0 4.5" for i, _ in enumerate(files, 1)])
    write(home / "images", [name for name, _, _ in files])
    return {"test": [(name, label) for name, label, train in files if not train]}


def dogs(root: Path) -> Splits:
    home = root / "dogs"
    names = ["n02085620-Chihuahua", "n02085782-Japanese_spaniel"]
    for split, count in (("train", 12), ("test", 3)):
        files = [f"{name}/{name.split('-')[0]}_{split}{i}.jpg" for name in names for i in range(count)]
        labels = np.array([[label + 1] for label in range(2) for _ in range(count)])
        mat(home / f"{split}_list.mat", file_list=np.array(files, object)[:, None], labels=labels)
        write(home / "Images", files)
    return {"test": [(file, i // 3) for i, file in enumerate(files)]}


def landmarks300w(root: Path) -> Splits:
    files = [
        f"{part}/{word}_{i:03d}.png" for part, word in (("01_Indoor", "i"), ("02_Outdoor", "o")) for i in range(11)
    ]
    for number, name in enumerate(files):
        write(root / "300W", [name], (30 + number, 20))
        points = [f"{k + number / 4:.6f} {k / 2:.3f}" for k in range(1, 69)]
        text((root / "300W" / name).with_suffix(".pts"), ["version: 1", "n_points:  68", "{", *points, "}"])
    rng = np.random.RandomState(0)
    order = [sorted(files)[:-1][i] for i in rng.permutation(21)]
    return {
        s: [(f, 0) for f in part] for s, part in zip(("train", "val", "test"), np.split(order, [6, 12]), strict=True)
    }


def voc0712(root: Path) -> Splits:
    splits: Splits = {"train": [], "test": []}
    lists = (("2007", "trainval", "train", 3), ("2012", "trainval", "train", 2), ("2007", "test", "test", 2))
    for year, part, split, count in lists:
        home = root / "VOCdevkit" / f"VOC{year}"
        numbers = [f"{year}_{part}{i}" for i in range(count)]
        text(home / f"ImageSets/Main/{part}.txt", numbers)
        for i, number in enumerate(numbers):
            things = "".join(
                f"<object><name>cat</name><difficult>{k}</difficult><part><bndbox><xmin>9</xmin></bndbox></part>"
                f"<bndbox><xmax>{5 + k}</xmax><xmin>1</xmin><ymin>2.5</ymin><ymax>4</ymax></bndbox></object>"
                for k in range(i)
            )
            size = "<size><width>6</width><height>4</height><depth>3</depth></size>"
            text(home / f"Annotations/{number}.xml", f"<annotation>{size}{things}</annotation>")
        names = [f"VOC{year}/JPEGImages/{number}.jpg" for number in numbers]
        write(root / "VOCdevkit", names)
        splits[split] += [(name, 0) for name in names]
    return splits


LISTED: Mapping[str, Callable[[Path], Splits]] = {
    f.__name__: f
    for f in (aircraft, caltech101, cars, cub200, dogs, dtd, flowers102, food101, landmarks300w, mit67, pets, sun397)
} | {"voc0712": voc0712}


def stl10(root: Path, train: int = 20, test: int = 6) -> None:
    """Pixel (channel c, row y, column x) of image i is i + 10 c + y + x / 2, in part."""
    y, x = np.arange(96)[:, None], np.arange(96)[None] // 2
    for part, count in (("train", train), ("test", test)):
        images = np.stack([[i + 10 * c + y + x for c in range(3)] for i in range(count)]).astype(np.uint8)
        text(root / f"stl10_binary/{part}_X.bin", images.transpose(0, 1, 3, 2).tobytes())  # column by column
        text(root / f"stl10_binary/{part}_y.bin", bytes(i % 10 + 1 for i in range(count)))


def cifar(root: Path, patch: pytest.MonkeyPatch, name: str, per_class: int = 2) -> list[str]:
    """CIFAR with images of one colour (i, label, 7), its checksums replaced by those of these files; its classes."""
    from torchvision import datasets

    known = getattr(datasets, name.upper())
    key, classes = ("labels", 10) if name == "cifar10" else ("fine_labels", 100)
    folder = root / known.base_folder

    def put(file: str, content: object) -> list[str]:
        text(folder / file, pickle.dumps(content))
        return [file, hashlib.md5((folder / file).read_bytes()).hexdigest()]

    def batch(count: int) -> dict[str, object]:
        labels = [i % classes for i in range(count)]
        rows = [np.repeat(np.array([i, label, 7], np.uint8), 1024) for i, label in enumerate(labels)]
        return {"data": np.stack(rows), key: labels}

    names = [f"class_{i}" for i in range(classes)]
    patch.setattr(known, "train_list", [put("train_file", batch(per_class * classes))])
    patch.setattr(known, "test_list", [put("test_file", batch(classes))])
    meta_key = known.meta["key"]
    file, md5 = put("meta_file", {meta_key: names})
    patch.setattr(known, "meta", {"filename": file, "key": meta_key, "md5": md5})
    return names
