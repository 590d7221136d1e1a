"""CIFAR, whose images are arrays that torchvision reads: what both sets share."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from augaware.data.base import Source
from augaware.data.datasets.base import DataSet
from augaware.data.datasets.listed import with_val
from augaware.data.loader import open_source


class Cifar(DataSet):
    """The official train, of which a random part (``seed``) is val, and test, in ``folder`` as torchvision has it."""

    folder: ClassVar[str]
    seed: ClassVar[int]

    def present(self) -> bool:
        """Whether its folder lies in ROOT or in ROOT/NAME."""
        return self._home() is not None

    def splits(self, short_side: int | None, memory: int) -> dict[str, Source]:
        """Train, val and test. Raises :class:`RequestError` where a file is missing or not the published one."""
        home = self._home()
        if home is None:
            raise self.absent()
        whole, test = (
            open_source(f"torchvision:{self.fetched[0][0]}(root={str(home)!r}, split={split!r})", short_side, memory)
            for split in ("train", "test")
        )
        return with_val(whole, self.counts, self.seed, f"{whole.name} ({{}})") | {"test": test}

    def _home(self) -> Path | None:
        return next((f for f in (self.root, self.root / self.name) if (f / self.folder).is_dir()), None)
