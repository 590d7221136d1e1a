"""ImageNet-100: the hundred classes of ImageNet on which CMC, AugSelf and CASSLE train."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from augaware.data.base import Source
from augaware.data.datasets.base import DataSet
from augaware.data.layout import carve
from augaware.data.loader import open_source

__all__ = ["ImageNet100"]


class ImageNet100(DataSet):
    """Objects: 100 kinds, those of CMC's list in the folders of ImageNet. The official val serves as test.

    A fifth of train becomes val. Labels are places in the list, as those of the source ``imagenet100('FOLDER')``.
    """

    title = "ImageNet-100"
    classes = 100
    counts: ClassVar = {"train": 126689, "test": 5000}
    layout = "imagenet/ with train/ and val/, a folder per class (n01558993, ...) in each; other classes may be missing"
    url = "https://image-net.org/download-images.php"

    def present(self) -> bool:
        """Whether ImageNet's train or val is there."""
        return self._home() is not None

    def splits(self, short_side: int | None, memory: int) -> dict[str, Source]:
        """Train, val and test. Raises :class:`RequestError` where a class has no folder or no image."""
        train, test = self._sources(short_side, memory)
        train, val = carve(train)
        return {"train": train, "val": val, "test": test}

    def found(self) -> dict[str, int]:
        """Train and test, before val is carved."""
        return dict(zip(("train", "test"), map(len, self._sources(None, 0)), strict=True))

    def _sources(self, short_side: int | None, memory: int) -> list[Source]:
        home = self._home()
        if home is None:
            raise self.absent()
        return [open_source(f"imagenet100({str(home / s)!r})", short_side, memory) for s in ("train", "val")]

    def _home(self) -> Path | None:
        folders = (self.root / place for place in ("imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC"))
        return next((f for f in folders if (f / "train").is_dir() or (f / "val").is_dir()), None)
