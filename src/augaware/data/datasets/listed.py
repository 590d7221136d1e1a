"""Data sets whose images are files that lists name: what their plug-ins share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from augaware.data.base import Source
from augaware.data.datasets.base import DataSet
from augaware.data.files import FileSource, digest, images_below
from augaware.data.layout import shuffled
from augaware.data.loader import keep
from augaware.data.store import Part
from augaware.errors import RequestError

Entries = Sequence[tuple[str, int]]  # the path of an image below the folder of images, and its label


@dataclass(frozen=True)
class Lists:
    """The entries of each split, and the names of the classes, in the order of the labels: none without labels."""

    classes: Sequence[str]
    splits: Mapping[str, Entries]


class Listed(FileSource):
    """The images ``entries`` below ``folder``, in that order, whose sizes in bytes are ``sizes``."""

    def __init__(
        self,
        name: str,
        folder: Path,
        entries: Entries,
        classes: Sequence[str],
        sizes: Mapping[str, int],
        short_side: int | None,
    ) -> None:
        names = [path for path, _ in entries]
        super().__init__(name, names, short_side, digest((path, label, sizes[path]) for path, label in entries))
        self.folder, self.classes = folder, tuple(classes)
        self.labels = torch.tensor([label for _, label in entries]) if classes else None

    def read(self, index: int) -> bytes:
        """The bytes of file ``index``."""
        return (self.folder / self.names[index]).read_bytes()


class ListedSet(DataSet):
    """A data set of image files, split by lists that :meth:`lists` reads or draws.

    ``places`` are the folders below ROOT that may hold it, ``needs`` the files and folders that it has there,
    ``images`` the folder of images among them, to which the entries of lists refer.
    """

    places: ClassVar[tuple[str, ...]]
    needs: ClassVar[tuple[str, ...]]
    images: ClassVar[str] = ""

    @abstractmethod
    def lists(self, home: Path) -> Lists:
        """The splits of the data set in the folder ``home``. Raises :class:`RequestError` for a damaged list."""

    def present(self) -> bool:
        """Whether a file or a folder that it needs lies in one of its places."""
        return self._home() is not None

    def home(self) -> Path:
        """Its folder. Raises :class:`RequestError` where it is not there, or lacks what it needs."""
        home = self._home()
        if home is None:
            raise self.absent()
        lost = [need for need in self.needs if not (home / need).exists()]
        if lost:
            raise RequestError(f"data set {self.name!r}: {home} lacks {', '.join(lost)}; expected: {self.layout}")
        return home

    def splits(self, short_side: int | None, memory: int) -> dict[str, Source]:
        """The splits of its lists. Raises :class:`RequestError` where images or lists are missing or damaged."""
        home = self.home()
        lists, sizes = self._checked(home), self._sizes(home)
        paths = {path for entries in lists.splits.values() for path, _ in entries}
        if lost := sorted(paths - sizes.keys()):
            raise RequestError(
                f"data set {self.name!r}: {len(lost)} of {len(paths)} listed images are not in {home / self.images}, "
                f"the first is {lost[0]}; unpack the archive again"
            )
        return {
            split: keep(
                Listed(f"{self.name} {split}", home / self.images, entries, lists.classes, sizes, short_side),
                short_side,
                memory,
            )
            for split, entries in lists.splits.items()
        }

    def found(self) -> dict[str, int]:
        """How many of the listed images lie there."""
        home = self.home()
        sizes = self._sizes(home)
        return {
            split: sum(path in sizes for path, _ in entries) for split, entries in self._checked(home).splits.items()
        }

    def _home(self) -> Path | None:
        folders = (self.root / place for place in self.places)
        return next((f for f in folders if any((f / need).exists() for need in self.needs)), None)

    def _sizes(self, home: Path) -> dict[str, int]:
        try:
            return images_below(home / self.images)
        except OSError as error:
            raise RequestError(
                f"data set {self.name!r}: cannot list {error.filename or home / self.images}: {error.strerror}"
            ) from None

    def _checked(self, home: Path) -> Lists:
        """The lists; a split without images and a label without a class are refused."""
        lists = self.lists(home)
        for split, entries in lists.splits.items():
            if not entries:
                raise RequestError(f"data set {self.name!r}: no image is listed for {split} in {home}")
            wrong = [entry for entry in entries if not 0 <= entry[1] < max(1, len(lists.classes))]
            if wrong:
                raise RequestError(
                    f"data set {self.name!r}: {wrong[0][0]} has label {wrong[0][1]}, and there are "
                    f"{len(lists.classes)} classes, counted from 0: the lists in {home} do not belong together"
                )
        return lists


def random_split(entries: Entries, train: int, val: int, seed: int) -> dict[str, Entries]:
    """``entries`` in the order of ``torch.randperm`` with ``seed``: the first are train, the others val.

    ``torch.utils.data.random_split`` with a seeded generator does so. Where there are other than ``train + val``
    entries, they are shared in that ratio.
    """
    order = torch.randperm(len(entries), generator=torch.Generator().manual_seed(seed)).tolist()
    first = len(entries) - round(len(entries) * val / (train + val))
    return {"train": [entries[i] for i in order[:first]], "val": [entries[i] for i in order[first:]]}


def with_val(whole: Source, counts: Mapping[str, int], seed: int, name: str) -> dict[str, Source]:
    """train and val of ``whole``, split as :func:`random_split` does; ``name`` formats the split into their names."""
    drawn = random_split([("", i) for i in range(len(whole))], counts["train"], counts["val"], seed)
    return {split: Part(whole, torch.tensor([i for _, i in part]), name.format(split)) for split, part in drawn.items()}


def per_class(entries: Entries, *sizes: int) -> list[Entries]:
    """``sizes`` images of each class, drawn by a fixed seed and the place in ``entries``, and the rest of all.

    For sets whose authors drew a split and did not publish its seed; entries keep their order.
    """
    parts: list[list[int]] = [[] for _ in range(len(sizes) + 1)]
    for members in shuffled(torch.tensor([label for _, label in entries], dtype=torch.int64)):
        for part, chosen in zip(
            parts, members.tensor_split([sum(sizes[: i + 1]) for i in range(len(sizes))]), strict=True
        ):
            part += chosen.tolist()
    return [[entries[i] for i in sorted(part)] for part in parts]


def read_lines(path: Path) -> list[str]:
    """The lines of a list, without blank ones. Raises :class:`RequestError`, also where there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RequestError(f"list {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RequestError(f"list {path} is damaged: it is no text; unpack the archive again") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise RequestError(f"list {path} is empty; unpack the archive again")
    return lines


def read_columns(path: Path, columns: int) -> list[list[str]]:
    """The lines of a list, cut at white space; the last of ``columns`` takes the rest. Raises :class:`RequestError`."""
    rows = [line.split(maxsplit=columns - 1) for line in read_lines(path)]
    for line, row in enumerate(rows, start=1):
        if len(row) < columns:
            raise RequestError(
                f"list {path} is damaged at its entry {line}, {' '.join(row)!r}: {columns} words expected"
            )
    return rows


def numbered(rows: Iterable[Sequence[str]], path: Path) -> dict[str, int]:
    """First word -> second word as a number. Raises :class:`RequestError`."""
    try:
        return {first: int(second) for first, second, *_ in rows}
    except ValueError:
        raise RequestError(f"list {path} is damaged: the second word of every line must be a whole number") from None


def number_of(name: str, classes: Mapping[str, int], path: Path) -> int:
    """The label of class ``name``. Raises :class:`RequestError`."""
    if name not in classes:
        raise RequestError(f"list {path}: {name!r} is none of the {len(classes)} classes, which begin {[*classes][:2]}")
    return classes[name]


def read_mat(path: Path, *keys: str) -> list[Any]:
    """The arrays ``keys`` of a MATLAB file, lists in one dimension.

    Raises :class:`RequestError`, also where scipy is missing.
    """
    try:
        from scipy.io import loadmat
    except ImportError:
        raise RequestError(f"{path} needs scipy to be read: pip install 'augaware[datasets]'") from None
    try:
        found = loadmat(path, squeeze_me=True, appendmat=False, chars_as_strings=True)
        return [np.atleast_1d(found[key]) for key in keys]
    except KeyError as error:
        raise RequestError(f"list {path} has no {error}; unpack the archive again") from None
    except Exception as error:  # scipy's reader raises ValueError, TypeError, zlib.error, ... on damaged bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RequestError(f"list {path} is damaged ({reason}); unpack the archive again") from None
