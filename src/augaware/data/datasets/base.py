"""What a data set of the papers is: its splits, what it should hold, and how to get it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from augaware.data.base import Source
from augaware.data.tables import BoxTable, LandmarkTable
from augaware.errors import RequestError


class DataSet(ABC):
    """A published data set below ``root``, the folder of data sets, split as the papers split it.

    ``title`` its name in print; ``classes`` how many (0 without labels); ``counts`` images per split as the papers use
    it; ``metric`` the papers' for its linear probe; ``layout`` what is expected below ROOT, for whoever has to put it
    there; ``url`` where it is published.
    """

    title: ClassVar[str]
    classes: ClassVar[int]
    counts: ClassVar[Mapping[str, int]]
    metric: ClassVar[str] = "top1"
    layout: ClassVar[str]
    url: ClassVar[str]

    def __init__(self, root: Path) -> None:
        self.root = root

    @abstractmethod
    def present(self) -> bool:
        """Whether something of it lies below root: cheap, opens no image."""

    @abstractmethod
    def splits(self, short_side: int | None, memory: int) -> dict[str, Source]:
        """Its splits, such as train, val and test. Raises :class:`RequestError` for what is missing or damaged."""

    def download(self) -> None:
        """Fetch it to where :meth:`splits` finds it. Raises :class:`RequestError` where that cannot be."""
        raise RequestError(f"{self.title} cannot be fetched automatically; see {self.url}, then: {self.layout}")

    def boxes(self) -> BoxTable | None:
        """Boxes of its images, where it has them."""
        return None

    def landmarks(self) -> LandmarkTable | None:
        """Landmarks of its images, where it has them."""
        return None
