"""A data set with its splits, by its name in ROOT, the folder of data sets."""

from __future__ import annotations

import inspect
from pathlib import Path

import torch

from augaware import lookup
from augaware.data.base import Source
from augaware.data.loader import open_source
from augaware.data.shapes import shapes_splits
from augaware.data.store import Part
from augaware.data.tar import TARS
from augaware.errors import RequestError, did_you_mean
from augaware.random import Draws

# What a split may be called on disk. tinyimagenet100 and ImageNet publish no test labels: there val serves as test.
SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
# Sets in torchvision's own layout: the class, the folder by which it is known, and the splits that it has.
TORCHVISION = {
    "cifar10": ("CIFAR10", "cifar-10-batches-py", ("train", "test")),
    "cifar100": ("CIFAR100", "cifar-100-python", ("train", "test")),
    "dtd": ("DTD", "dtd/dtd", ("train", "val", "test")),
    "flowers102": ("Flowers102", "flowers-102", ("train", "val", "test")),
}
HELD_OUT = 0.2
_SEED = 20  # of the carved validation split, the same in every run


def open_dataset(
    root: Path | str, name: str, short_side: int | None = None, memory: int = 4 << 30
) -> dict[str, Source]:
    """The splits ``train``, ``val`` and ``test`` of data set ``name`` in the folder ``root``.

    ``root/name`` holds split tars (``train.tar``, ``.tar.gz``, ``.tgz``), a folder per split (an ImageFolder when it
    has labels), or torchvision's layout of cifar10, cifar100, dtd or flowers102. ``shapes`` and ``shapes(size=32)``
    are drawn and need no root. Without a val split, a fifth of train becomes one, per class and always the same; with
    val but no test, val serves as test first. ``classes.txt`` (a class per line, in order, ``folder<TAB>plain name``)
    is checked and gives plain names. ``short_side`` and ``memory`` as in :func:`augaware.data.loader.open_source`.
    Raises :class:`RequestError`.
    """
    if name.partition("(")[0].strip() == "shapes":
        return _drawn(name)
    sources = {
        split: open_source(src, short_side, memory) for split, src in _locate(Path(root).expanduser(), name).items()
    }
    if "train" not in sources or len(sources) < 2:
        raise RequestError(
            f"data set {name!r} has {' and '.join(sources)} only; it needs train and one of test and val"
        )
    _check_classes(Path(root).expanduser() / name, name, sources)
    if "test" not in sources:
        sources["test"] = sources.pop("val")
    if "val" not in sources:
        sources["train"], sources["val"] = carve(sources["train"])
    return {split: sources[split] for split in SPLITS}


def carve(train: Source, share: float = HELD_OUT) -> tuple[Source, Source]:
    """Split a source into train and val: ``share`` of each class, drawn by a fixed seed and the place, goes to val."""
    place = torch.arange(len(train))
    order = torch.argsort(Draws.of(_SEED, 0, place, view=-1).stream("val").key, stable=True)
    labels = torch.zeros_like(place) if train.labels is None else train.labels
    held = torch.zeros(len(train), dtype=torch.bool)
    for label in torch.unique(labels):
        members = order[labels[order] == label]
        held[members[: round(share * len(members))]] = True
    return Part(train, place[~held], f"{train.name} (train)"), Part(train, place[held], f"{train.name} (val)")


def _drawn(name: str) -> dict[str, Source]:
    spec = lookup.parse(name, "data set")
    accepted = list(inspect.signature(shapes_splits).parameters)
    if spec.args or not spec.kwargs.keys() <= set(accepted):
        raise RequestError(f"data set {name!r}: accepted arguments, by name: {', '.join(accepted)}")
    return dict(shapes_splits(**spec.kwargs))


def _locate(root: Path, name: str) -> dict[str, str]:
    """The SRC of each split that exists."""
    if not root.is_dir():
        raise RequestError(f"data root {str(root)!r}: there is no such folder")
    folder = root / name
    held = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if name in held:
        found = {split: src for split, words in SPLITS.items() if (src := _split(folder, words))}
        if found:
            return found
    if name in TORCHVISION:
        dataset, marker, splits = TORCHVISION[name]
        base = root if (root / marker).is_dir() else folder
        return {split: f"torchvision:{dataset}(root={str(base)!r}, split={split!r})" for split in splits}
    if name in held:
        raise RequestError(
            f"data set {name!r}: {folder} holds no split; expected train.tar and test.tar (or .tar.gz), "
            "or the folders train and test"
        )
    accepted = [*held, "shapes"]
    raise RequestError(f"no data set {name!r} in {root}; accepted: {', '.join(accepted)}{did_you_mean(name, accepted)}")


def _split(folder: Path, words: tuple[str, ...]) -> str | None:
    """The tar or the folder of one split, under any of its names."""
    for word in words:
        for tar in TARS:
            if (folder / f"{word}{tar}").is_file():
                return str(folder / f"{word}{tar}")
        if (folder / word).is_dir():
            return str(folder / word)
    return None


def _check_classes(folder: Path, title: str, sources: dict[str, Source]) -> None:
    """Check that all splits have the classes of train and ``classes.txt``; plain names given there replace folders'."""
    expected, where = sources["train"].classes, "train"
    plain: dict[str, str] = {}
    if expected and (listed := folder / "classes.txt").is_file():
        lines = [line.partition("\t") for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
        plain = {key.strip(): name.strip() or key.strip() for key, _, name in lines}
        expected, where = tuple(plain), str(listed)
    for split, source in sources.items():
        if source.classes != expected:
            odd = sorted(set(source.classes) ^ set(expected))
            raise RequestError(
                f"data set {title!r}: {split} has {len(source.classes)} classes and {where} {len(expected)}, "
                f"{f'{odd[0]!r} is in one only' if odd else 'in another order'}; give every split the same classes"
            )
        if plain:
            source.classes = tuple(plain.values())
