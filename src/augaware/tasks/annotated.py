"""Images with rows of a table: what boxes and landmarks have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from augaware.data.base import Source, Unreadable
from augaware.errors import RequestError


class Annotated(Source):
    """The images of ``whole``, each with its row (N,) of split ``split`` of ``table``; an image itself has no label.

    ``kind`` is what a row holds, ``missing`` what an image without one lacks, ``stated`` where the size of an image is
    stated, as messages say it. Raises :class:`RequestError` for images without a row.
    """

    kind: ClassVar[str]
    missing: ClassVar[str]
    stated: ClassVar[str]

    def __init__(self, whole: Source, split: str, table: Mapping[tuple[str, str], Any]) -> None:
        lost = [name for name in whole.names if (split, name) not in table]
        if lost:
            raise RequestError(
                f"data {whole.name!r}: {len(lost)} of {len(whole)} images have {self.missing.format(split)}, such as "
                f"{lost[0]}: add the rows or remove the images"
            )
        self.rows = tuple(table[split, name] for name in whole.names)
        self.whole, self.name, self.names, self.skipped = whole, whole.name, whole.names, whole.skipped
        self.labels, self.classes, self.factors = None, (), {}

    def __len__(self) -> int:
        return len(self.whole)

    def stored(self, index: int, size: tuple[int, int] | None) -> Tensor:
        """Image number ``index`` of the whole: (3, H, W) uint8, RGB, of the ``size`` (W, H) that the table states.

        Raises :class:`RequestError` if it is of another, or cannot be read.
        """
        try:
            image = self.whole.load(index)
        except Unreadable as error:
            raise RequestError(f"data {self.name!r}: {self.names[index]} cannot be read ({error})") from None
        height, width = image.shape[1:]
        if size not in (None, (width, height)):
            raise RequestError(
                f"data {self.name!r}: {self.names[index]} has {width} x {height} pixels and {size[0]} x {size[1]} in "
                f"{self.stated}: {self.kind} must be in pixels of the stored image"
            )
        return image
