"""What a frozen encoder is good for: ``task(encoder, splits) -> metrics``, for any encoder, ours or timm's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Protocol

from torch import Tensor, nn

from augaware.data.base import Source
from augaware.data.root import open_dataset
from augaware.errors import RequestError
from augaware.reading import PICTURES, Reading


class FrozenEncoder(Protocol):
    """f: normalised images (B, C, size, size) float32 -> pooled features y (B, dim).

    Any ``nn.Module`` with these attributes: ``size`` the side of the images in pixels; ``mean`` and ``std`` per
    channel, of pixels in [0, 1]; ``name`` what reports print.
    """

    name: str
    dim: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor, /) -> Tensor:
        """The features of ``images``."""

    def eval(self) -> nn.Module:
        """Leave training mode."""

    def modules(self) -> Iterator[nn.Module]:
        """The network and all its parts."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """All weights; an encoder may have none."""


class Task(ABC):
    """A question put to a frozen encoder, on one data set.

    ``protocol`` is the name and the version of the procedure, ``"linear_probe/1"``: numbers compare only within one.
    ``dataset`` names the data, ``reading`` how its files become pixels: as those that the encoder was trained on. A
    task never changes the encoder: neither weights, nor buffers, nor training flags.
    """

    protocol: ClassVar[str]
    reading: Reading = PICTURES

    def __init__(self, dataset: str) -> None:
        if not isinstance(dataset, str) or not dataset:
            raise RequestError(f"task data {dataset!r} is not a name: write it in quotes, such as knn('flowers102')")
        self.dataset = dataset

    def splits(self, root: str | Path) -> Mapping[str, Source]:
        """Open the data set in the folder of data sets ``root``: ``{"train": ..., "val": ..., "test": ...}``."""
        return open_dataset(root, self.dataset, reading=self.reading)

    @abstractmethod
    def __call__(self, encoder: FrozenEncoder, splits: Mapping[str, Source]) -> dict[str, object]:
        """Metrics as JSON holds them: numbers, text, lists, dicts, None. ``"test"`` is the result, in fractions."""

    def picture(self, encoder: FrozenEncoder, splits: Mapping[str, Source]) -> bytes | None:
        """A PNG for people to look at, written beside the result; None where there is nothing to draw."""
        return None
