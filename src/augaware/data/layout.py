"""A data set by its layout: a tar, shards, a folder or a list of files per split, all with the same classes."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from augaware.data.archive import TARS
from augaware.data.base import Source
from augaware.data.files import LISTS
from augaware.data.loader import open_source, resolved
from augaware.data.shards import BETWEEN, braced, tars_in
from augaware.data.store import Part
from augaware.errors import RequestError
from augaware.random import Draws
from augaware.reading import PICTURES, Reading

# What a split may be called on disk. tinyimagenet100 and ImageNet publish no test labels: there val serves as test.
SPLITS = {"train": ("train", "trn"), "val": ("val", "valid", "validation"), "test": ("test", "tst")}
HELD_OUT = 0.2
SEED = 20  # of the carved validation split, the same in every run


def located(folder: Path) -> dict[str, str]:
    """The SRC of each split that exists."""
    return {split: found for split, words in SPLITS.items() if (found := _split(folder, words))}


def counted(folder: Path, name: str, whole: bool = True) -> dict[str, int]:
    """How many images each split holds, nothing decoded and nothing carved; ``whole`` as in :func:`open_layout`."""
    found = _serving(located(folder), name, whole)
    return {split: len(resolved(src)) for split, src in found.items()}


def open_layout(
    folder: Path,
    name: str,
    short_side: int | None,
    memory: int,
    whole: bool = True,
    reading: Reading = PICTURES,
) -> dict[str, Source]:
    """The splits in ``folder``, of data set ``name``; ``whole``: train and one of val and test must be there.

    With val but no test, val serves as test first; then, without a val split, a fifth of train becomes one, per class
    and always the same. ``classes.txt`` (a class per line, in order, ``folder<TAB>plain name``) is checked and gives
    plain names. Raises :class:`RequestError`.
    """
    found = _serving(located(folder), name, whole)
    sources = {split: open_source(src, short_side, memory, reading=reading) for split, src in found.items()}
    _check_classes(folder, name, sources)
    if whole and "val" not in sources:
        sources["train"], sources["val"] = carve(sources["train"])
    return {split: sources[split] for split in SPLITS if split in sources}


def carve(train: Source, share: float = HELD_OUT) -> tuple[Source, Source]:
    """Split a source into train and val: ``share`` of each class, drawn by a fixed seed and the place, goes to val."""
    labels = torch.zeros(len(train), dtype=torch.int64) if train.labels is None else train.labels
    held = torch.zeros(len(train), dtype=torch.bool)
    for members in shuffled(labels):
        held[members[: round(share * len(members))]] = True
    place = torch.arange(len(train))
    return Part(train, place[~held], f"{train.name} (train)"), Part(train, place[held], f"{train.name} (val)")


def shuffled(labels: torch.Tensor) -> list[torch.Tensor]:
    """The places of each class of ``labels`` (N,) int64, in an order drawn by a fixed seed and the place."""
    order = torch.argsort(Draws.of(SEED, 0, torch.arange(len(labels)), view=-1).stream("val").key, stable=True)
    return [order[labels[order] == label] for label in torch.unique(labels)]


def _serving(found: dict[str, str], name: str, whole: bool) -> dict[str, str]:
    """Where each split is read, val serving as test where there is none."""
    if whole and ("train" not in found or len(found) < 2):
        raise RequestError(f"data set {name!r} has {' and '.join(found)} only; it needs train and one of test and val")
    if "test" not in found and "val" in found:
        found["test"] = found.pop("val")
    return found


def _split(folder: Path, words: tuple[str, ...]) -> str | None:
    """The tar, the folder, the shards or the list of one split, under any of its names."""
    for word in words:
        for tar in TARS:
            if (folder / f"{word}{tar}").is_file():
                return str(folder / f"{word}{tar}")
        if (folder / word).is_dir():
            return str(folder / word)
    for word in words if folder.is_dir() else ():
        numbered = re.compile(rf"{word}[-_.]?\d+\D*")
        if found := braced(name for name in tars_in(folder) if numbered.fullmatch(name)):
            return BETWEEN.join(str(folder / name) for name in found)
        for ending in LISTS:
            if (folder / f"{word}{ending}").is_file():
                return str(folder / f"{word}{ending}")
    return None


def _check_classes(folder: Path, title: str, sources: dict[str, Source]) -> None:
    """Check that all splits have the same classes and ``classes.txt``; plain names given there replace folders'.

    Classes that are numbers alone are those of all splits together, and are named by their place in ``classes.txt``.
    """
    plain: dict[str, str] = {}
    if next(iter(sources.values())).classes and (listed := folder / "classes.txt").is_file():
        lines = [line.partition("\t") for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
        plain = {key.strip(): name.strip() or key.strip() for key, _, name in lines}
    most = max(len(source.classes) for source in sources.values())
    if all(source.classes == _numbers(len(source.classes)) for source in sources.values()):
        plain = dict(zip(_numbers(len(plain)), plain.values(), strict=True))
        for source in sources.values():
            source.classes = _numbers(max(most, len(plain)))
    first = next(iter(sources))
    expected, where = (tuple(plain), str(listed)) if plain else (sources[first].classes, first)
    for split, source in sources.items():
        if source.classes != expected:
            odd = sorted(set(source.classes) ^ set(expected))
            raise RequestError(
                f"data set {title!r}: {split} has {len(source.classes)} classes and {where} {len(expected)}, "
                f"{f'{odd[0]!r} is in one only' if odd else 'in another order'}; give every split the same classes"
            )
        if plain:
            source.classes = tuple(plain.values())


def _numbers(n: int) -> tuple[str, ...]:
    return tuple(map(str, range(n)))
