"""STL-10 (Coates et al., AISTATS 2011)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from augaware.data.base import Skipped, Source
from augaware.data.datasets.base import DataSet
from augaware.data.datasets.listed import with_val
from augaware.data.decode import to_pixels
from augaware.data.files import digest
from augaware.data.loader import keep
from augaware.errors import RequestError

__all__ = ["STL10"]

_SIDE = 96
_CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")


class STL10(DataSet):
    """Objects: 10 kinds, 96 pixels. val is random (seed 50) from the official train; unlabelled images are not read."""

    title = "STL-10"
    classes = 10
    counts: ClassVar = {"train": 4500, "val": 500, "test": 8000}
    layout = "stl10_binary/ with train_X.bin, train_y.bin, test_X.bin and test_y.bin"
    url = "https://cs.stanford.edu/~acoates/stl10/"
    fetched = (("STL10", {}),)

    def present(self) -> bool:
        """Whether its folder lies in ROOT or in ROOT/stl10."""
        return self._home() is not None

    def splits(self, short_side: int | None, memory: int) -> dict[str, Source]:
        """Train, val and test. Raises :class:`RequestError` where a file is missing or of a wrong length."""
        home = self._home()
        if home is None:
            raise self.absent()
        whole, test = (keep(_Planes(home, part, short_side), short_side, memory) for part in ("train", "test"))
        return with_val(whole, self.counts, 50, "stl10 {}") | {"test": test}

    def _home(self) -> Path | None:
        folders = (self.root / "stl10_binary", self.root / "stl10" / "stl10_binary")
        return next((folder for folder in folders if folder.is_dir()), None)


class _Planes(Source):
    """Images as they lie in ``X.bin``: each 3 x 96 x 96 bytes, every plane column by column."""

    def __init__(self, home: Path, part: str, short_side: int | None) -> None:
        paths = [home / f"{part}_{axis}.bin" for axis in "Xy"]
        try:
            pixels, labels = (np.memmap(path, np.uint8, "r") for path in paths)
        except (OSError, ValueError) as error:  # ValueError: an empty file
            reason = getattr(error, "strerror", None) or error
            raise RequestError(f"data set 'stl10': {paths[0]} and {paths[1].name} are needed ({reason})") from None
        if len(pixels) != len(labels) * 3 * _SIDE * _SIDE or labels.min() < 1 or labels.max() > len(_CLASSES):
            raise RequestError(
                f"data set 'stl10': {paths[0]} and {paths[1].name} do not belong together ({len(pixels)} bytes of "
                f"pixels and {len(labels)} labels from 1 to 10 expected to match); unpack the archive again"
            )
        self.name, self.short_side = f"stl10 {part}", short_side
        self.pixels = pixels.reshape(-1, 3, _SIDE, _SIDE)
        self.labels, self.classes = torch.from_numpy(labels.astype(np.int64)) - 1, _CLASSES
        self.names = [f"{part}/{i}" for i in range(len(labels))]
        self.factors: dict[str, Tensor] = {}
        self.skipped: tuple[Skipped, ...] = ()
        self.fingerprint = digest([self.name, len(self), labels.tobytes().hex(), self.pixels[::500].tobytes().hex()])

    def __len__(self) -> int:
        return len(self.names)

    def load(self, index: int) -> Tensor:
        """Image number ``index``: (3, 96, 96) uint8, RGB, or smaller."""
        return to_pixels(Image.fromarray(np.ascontiguousarray(self.pixels[index].transpose(2, 1, 0))), self.short_side)
