"""Images with the boxes of their objects: what localisation and detection read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from augaware.data.base import Source, Unreadable
from augaware.data.files import digest
from augaware.data.root import open_dataset
from augaware.data.store import Part
from augaware.data.tables import Boxes, BoxTable, boxes
from augaware.errors import RequestError
from augaware.tasks.features import pick


class Boxed(Source):
    """The images of ``whole`` with their ``objects`` (N,), from the rows of split ``split`` of ``table``.

    ``classes`` are the names of the objects of the whole table, sorted; an image itself has no label. Raises
    :class:`RequestError` for images without a row.
    """

    def __init__(self, whole: Source, split: str, table: BoxTable) -> None:
        lost = [name for name in whole.names if (split, name) not in table]
        if lost:
            raise RequestError(
                f"data {whole.name!r}: {len(lost)} of {len(whole)} images have no boxes of split {split!r}, such as "
                f"{lost[0]}: add their rows or remove the images"
            )
        self.objects: tuple[Boxes, ...] = tuple(table[split, name] for name in whole.names)
        self.whole, self.name, self.names, self.skipped = whole, whole.name, whole.names, whole.skipped
        self.classes = tuple(sorted({label for found in table.values() for label in found.labels}))
        self.labels, self.factors = None, {}
        self.fingerprint = digest([whole.fingerprint, self.objects])

    @property
    def content(self) -> str:
        """The whole images', whose pixels these are."""
        return self.whole.content

    def __len__(self) -> int:
        return len(self.whole)

    def load(self, index: int) -> Tensor:
        """Image number ``index``: (3, H, W) uint8, RGB. Raises :class:`RequestError` if size or file is wrong."""
        try:
            image = self.whole.load(index)
        except Unreadable as error:
            raise RequestError(f"data {self.name!r}: {self.names[index]} cannot be read ({error})") from None
        height, width = image.shape[1:]
        stated = self.objects[index].size
        if stated not in (None, (width, height)):
            raise RequestError(
                f"data {self.name!r}: {self.names[index]} has {width} x {height} pixels and {stated[0]} x {stated[1]} "
                "in its table: boxes must be in pixels of the stored image"
            )
        return image

    def size(self, index: int) -> tuple[int, int]:
        """Width and height of image number ``index``; it is read where the table does not say."""
        stated = self.objects[index].size
        if stated is not None:
            return stated
        height, width = self.load(index).shape[1:]
        return width, height


def open_boxed(root: str | Path, name: str) -> dict[str, Source]:
    """The splits of data set ``name`` in ``root`` with their boxes; a val split that was carved has train's rows.

    Raises :class:`RequestError` for a set without boxes.
    """
    sources, table = open_dataset(root, name), boxes(root, name)
    rows = {"train": "train", "val": "val", "test": "test"}
    if isinstance(sources.get("val"), Part):
        rows["val"] = "train"
        if not any(split == "test" for split, _ in table):  # it has train and val, and val serves as test
            rows["test"] = "val"
    return {split: Boxed(source, rows[split], table) for split, source in sources.items()}


def boxed(splits: Mapping[str, Source], name: str) -> Boxed:
    """The split ``name``, which must have boxes."""
    source = pick(splits, name)
    if not isinstance(source, Boxed):
        raise RequestError(f"data {source.name!r} has no boxes: open it with the task's own splits(root)")
    return source
