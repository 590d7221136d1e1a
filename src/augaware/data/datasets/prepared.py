"""Data sets that lie as split tars or as a folder per split, wherever that is below ROOT."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from augaware.data import layout as on_disk
from augaware.data.base import Source
from augaware.data.datasets.base import DataSet


class Prepared(DataSet):
    """A data set read by its layout alone, in the first of ``places`` that has one; ROOT/NAME where none is given.

    ``counts`` are what lies there, before a val split is carved.
    """

    places: ClassVar[tuple[str, ...]] = ()
    layout = "ROOT/NAME/ with a tar or a folder for each split, train and test or val"

    def present(self) -> bool:
        """Whether a split lies there."""
        return bool(on_disk.located(self._home()))

    def splits(self, short_side: int | None, memory: int) -> dict[str, Source]:
        """Train, val and test, as :func:`augaware.data.layout.open_layout` gives them."""
        if not self.present():
            raise self.absent()
        return on_disk.open_layout(self._home(), self.name, short_side, memory)

    def found(self) -> dict[str, int]:
        """What lies there."""
        if not self.present():
            raise self.absent()
        return on_disk.counted(self._home(), self.name)

    def prepared(self) -> bool:
        """Always."""
        return True

    def _home(self) -> Path:
        folders = [self.root / place for place in (*self.places, self.name)]
        return next((folder for folder in folders if on_disk.located(folder)), folders[-1])
