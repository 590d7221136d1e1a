"""A source whose images are encoded files with names: what a folder and a tar have in common."""

from __future__ import annotations

import hashlib
import os
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from augaware.data.base import ImageBatch, Skipped, Source, Unreadable, collate
from augaware.data.decode import ARRAYS, EXTENSIONS, decode
from augaware.data.planes import held
from augaware.errors import RequestError, RunError
from augaware.reading import PICTURES, Reading

V = TypeVar("V")

LISTS = (".txt", ".csv", ".tsv", ".jsonl")  # lists of files
_CLASSES = 1 << 16  # a number beyond is some other number
# First-level folders of these names are splits, not classes.
SPLITS = frozenset({"train", "trn", "training", "val", "valid", "validation", "test", "tst", "testing"})
_WIDE = (".png", ".tif", ".tiff")  # what may hold more than a picture shows
_PROBED = 64  # files that are tried for the kind of a source


class Missing(Unreadable):
    """The bytes of this image are not to be had: the file or the disk is gone."""


def is_image(name: str, endings: frozenset[str] = EXTENSIONS) -> bool:
    """Whether a path names an image: a known extension, and no hidden file or folder on the way.

    An array (.npy) is one where there is no other (:func:`pictures_first`): beside pictures it is a mask or a label.
    """
    parts = name.split("/")
    dot = parts[-1].rfind(".")
    return not any(part.startswith(".") for part in parts) and dot > 0 and parts[-1][dot:].lower() in endings


def pictures_first(found: Mapping[str, V]) -> dict[str, V]:
    """Those of ``found``, by path, that are pictures; where none is, the arrays."""
    return {name: value for name, value in found.items() if is_image(name)} or {
        name: value for name, value in found.items() if is_image(name, ARRAYS)
    }


def images_below(root: Path) -> dict[str, int]:
    """Path below ``root`` of every image, at any depth -> its size in bytes; each folder is visited once."""
    sizes: dict[str, int] = {}
    visited: set[tuple[int, int]] = set()
    todo = [""]
    while todo:
        prefix = todo.pop()
        here = os.stat(root / prefix)
        if (here.st_dev, here.st_ino) in visited:  # a link back to a parent
            continue
        visited.add((here.st_dev, here.st_ino))
        with os.scandir(root / prefix) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                name = f"{prefix}{entry.name}"
                if entry.is_dir() and not entry.name.startswith("."):
                    todo.append(f"{name}/")
                elif is_image(name, EXTENSIONS | ARRAYS) and (
                    entry.is_file() or entry.is_symlink()
                ):  # a dead link is listed, then skipped
                    sizes[name] = entry.stat().st_size if entry.is_file() else 0
    return pictures_first(sizes)


def digest(parts: Iterable[object]) -> str:
    """The sha256 of the parts' text, in order: a fingerprint."""
    state = hashlib.sha256()
    for part in parts:
        state.update(f"{part}\0".encode(errors="surrogateescape"))
    return state.hexdigest()


class FileSource(Source):
    """Images that :meth:`read` gives as encoded bytes, decoded on demand, their short side at most ``short_side`` px.

    When every image lies in one of at least two first-level folders, these are the classes, in sorted order.
    """

    def __init__(self, name: str, names: Sequence[str], short_side: int | None, fingerprint: str) -> None:
        self.name = name
        self.names = names
        self.short_side = short_side
        self.labels, self.classes = label_by_folder(names)
        self.factors: dict[str, Tensor] = {}
        self.skipped: tuple[Skipped, ...] = ()
        self.fingerprint = fingerprint
        self.reading, self._first = PICTURES, ""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def read(self, index: int) -> bytes:
        """The encoded file of image ``index``; called from many threads. Raises :class:`OSError`."""

    def gone(self) -> bool:
        """Whether what holds the files is not there any more."""
        return False

    def read_as(self, reading: Reading) -> None:
        """Have files read so from here on; the first that can be read says of how many bits all are.

        Raises :class:`RequestError` for arrays that were to be pictures, and for a range of pictures.
        """
        if not reading.channels:
            if reading.pixel_range:
                raise RequestError("pixel_range is for images that are read as they are; give channels too")
            if self.names and self.names[0].lower().endswith(tuple(ARRAYS)):
                raise RequestError(f"data {self.name!r} holds {self._arrays()}")
            return
        self.reading, self.channels = reading, reading.channels
        for index in range(min(_PROBED, len(self))):
            try:
                self.dtype, self._first = self._decoded(index).dtype, self.names[index]
                break
            except Unreadable:
                continue
        self.fingerprint = digest([self.fingerprint, reading.channels, reading.pixel_range, self.dtype])

    def _arrays(self) -> str:
        """What to do with arrays, where pictures were asked for."""
        try:
            channels, kind = held(self._content(0))
        except Unreadable as error:
            return f"arrays, and {self.names[0]} cannot be read: {error}"
        return (
            f"no pictures: {self.names[0]} is {kind} with {channels} channel{'s' * (channels > 1)}; "
            f"read them as they are with --recipe 'multichannel(channels={channels})', or channels={channels}"
        )

    def load(self, index: int) -> Tensor:
        """Image number ``index``: (C, H, W), by default RGB, uint8. Raises :class:`Unreadable`."""
        image = self._decoded(index)
        if image.dtype != self.dtype:
            raise Unreadable(
                f"{8 * image.dtype.itemsize} bits a channel, where {self._first} has {8 * self.dtype.itemsize}"
            )
        return image

    def _content(self, index: int) -> bytes:
        try:
            return self.read(index)
        except OSError as error:
            raise Missing(error.strerror or str(error)) from None

    def _decoded(self, index: int) -> Tensor:
        content, name = self._content(index), self.names[index]
        image = decode(content, self.short_side, self.reading)
        if not self.reading.channels and not self.notes and name.lower().endswith(_WIDE):
            channels, told = held(content)
            if told:
                note = f"{name} holds {told}, and is shown as RGB of 8 bits, as all are"
                self.notes = (f"{note}; channels={channels} reads files as they are",)
        return image

    def batch(self, index: Tensor) -> ImageBatch:
        """The images ``index`` (B,) int64, without those that cannot be read: they are added to ``skipped``.

        Raises :class:`RunError` where all files are gone, or all of several: not one of a batch is left out then.
        """
        images, kept, lost = [], [], 0
        for i in index.tolist():
            try:
                images.append(self.load(i))
                kept.append(i)
            except Unreadable as error:
                missing = isinstance(error, Missing)
                lost += missing
                if missing and (self.gone() or lost == len(index) > 1):  # a disk, where one file would be damaged
                    raise RunError(f"data {self.name!r} is gone: {self.names[i]} and others: {error}") from None
                self._skip(Skipped(self.names[i], str(error)))
        return collate(images, torch.tensor(kept, dtype=torch.int64))

    def _skip(self, image: Skipped) -> None:
        with self._lock:
            if image not in self.skipped:
                self.skipped = (*self.skipped, image)


def label_by_folder(names: Sequence[str]) -> tuple[Tensor | None, tuple[str, ...]]:
    """Labels (N,) int64 and class names from the first folder of each path; ``(None, ())`` without classes."""
    folders = [name.split("/", 1)[0] if "/" in name else "" for name in names]
    classes = sorted(set(folders))
    if len(classes) < 2 or "" in classes or SPLITS.issuperset(classes):
        return None, ()
    number = {name: label for label, name in enumerate(classes)}
    return torch.tensor([number[folder] for folder in folders]), tuple(classes)


def label_by_text(texts: Sequence[str], where: Callable[[int], str]) -> tuple[Tensor, tuple[str, ...]]:
    """Labels (N,) int64 and class names: whole numbers are those of classes, from 0; other texts name them, sorted.

    ``where`` says where the text of image i stands. Raises :class:`RequestError` for a number that can be none.
    """
    for i, text in enumerate(texts):
        digits = text.removeprefix("-")
        if digits.isascii() and digits.isdigit() and (text != digits or len(text) > 9 or int(text) >= _CLASSES):
            raise RequestError(f"{where(i)}: label {text} is no class: their numbers are 0 to {_CLASSES - 1}")
    if all(text.isascii() and text.isdigit() for text in texts):
        labels = torch.tensor([int(text) for text in texts])
        return labels, tuple(str(number) for number in range(int(labels.max()) + 1))
    classes = sorted(set(texts))
    number = {name: label for label, name in enumerate(classes)}
    return torch.tensor([number[text] for text in texts]), tuple(classes)
