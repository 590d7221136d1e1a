"""Images with the boxes of their objects: what localisation and detection read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from augaware.data.base import Source
from augaware.data.files import digest
from augaware.data.root import open_dataset
from augaware.data.store import Part
from augaware.data.tables import Boxes, BoxTable, boxes
from augaware.errors import RequestError
from augaware.tasks.annotated import Annotated
from augaware.tasks.features import pick


class Boxed(Annotated):
    """The images of ``whole`` with their ``objects`` (N,), from the rows of split ``split`` of ``table``.

    ``classes`` are the names of the objects of the whole table, sorted. Raises :class:`RequestError` for images without
    a row.
    """

    kind, missing, stated = "boxes", "no boxes of split {!r}", "its table"

    def __init__(self, whole: Source, split: str, table: BoxTable) -> None:
        super().__init__(whole, split, table)
        self.objects: tuple[Boxes, ...] = self.rows
        self.classes = tuple(sorted({label for found in table.values() for label in found.labels}))
        self.fingerprint = digest([whole.fingerprint, self.objects])

    @property
    def content(self) -> str:
        """The whole images', whose pixels these are."""
        return self.whole.content

    def load(self, index: int) -> Tensor:
        """Image number ``index``: (3, H, W) uint8, RGB. Raises :class:`RequestError` if size or file is wrong."""
        return self.stored(index, self.objects[index].size)

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
