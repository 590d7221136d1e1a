"""What a data set of the papers is: its splits, what it should hold, and how to get it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from augaware import lookup
from augaware.data.base import Source
from augaware.data.fetch import fetch
from augaware.errors import RequestError

if TYPE_CHECKING:  # tables asks here for the sets that have some
    from augaware.data.tables import BoxTable, LandmarkTable


class DataSet(ABC):
    """A published data set below ``root``, the folder of data sets, split as the papers split it.

    ``title`` its name in print; ``classes`` how many (0 without labels); ``counts`` images per split as the papers use
    it; ``metric`` the papers' for its linear probe; ``layout`` what is expected below ROOT, for whoever has to put it
    there; ``url`` where it is published; ``fetched`` the classes of torchvision that download it, with arguments.

    A data set may be there in part: what is missing is said by :meth:`splits`, and counted by :meth:`found`.
    """

    title: ClassVar[str]
    classes: ClassVar[int]
    counts: ClassVar[Mapping[str, int]]
    metric: ClassVar[str] = "top1"
    layout: ClassVar[str]
    url: ClassVar[str]
    fetched: ClassVar[tuple[tuple[str, Mapping[str, object]], ...]] = ()

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def name(self) -> str:
        """Its public name, that of its file."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def present(self) -> bool:
        """Whether something of it lies below root: cheap, opens no image."""

    @abstractmethod
    def splits(self, short_side: int | None, memory: int) -> dict[str, Source]:
        """Its splits, such as train, val and test. Raises :class:`RequestError` for what is missing or damaged."""

    def found(self) -> dict[str, int]:
        """How many images of each split lie there, without decoding any. Raises :class:`RequestError` where unknown."""
        return {split: len(source) for split, source in self.splits(None, 0).items()}

    def download(self) -> None:
        """Fetch it to where :meth:`splits` finds it. Raises :class:`RequestError` where that cannot be."""
        if not self.fetched:
            raise RequestError(f"{self.title} cannot be fetched automatically; see {self.url}, then: {self.layout}")
        for dataset, arguments in self.fetched:
            fetch(dataset, self.root, arguments)

    def prepared(self) -> bool:
        """Whether it was made for ROOT by somebody, so that it may well hold other images than the published set."""
        return False

    @property
    def how(self) -> str:
        """How to get it, in short."""
        if self.fetched or type(self).download is not DataSet.download:
            return f"augaware doctor --data ROOT --download {self.name}"
        return f"{self.url}, as {self.layout}"

    def absent(self) -> RequestError:
        """What to say where nothing of it is there."""
        folder = self.root / self.name
        where = f"{folder}, which holds neither splits nor its published form" if folder.is_dir() else str(self.root)
        return RequestError(f"data set {self.name!r} is not in {where}; expected: {self.layout}; to get it: {self.how}")

    def boxes(self) -> BoxTable | None:
        """Boxes of its images, where it has them."""
        return None

    def landmarks(self) -> LandmarkTable | None:
        """Landmarks of its images, where it has them."""
        return None


def plug_in(name: str) -> type[DataSet] | None:
    """The data set of ``augaware list datasets`` called ``name``, or of a dotted module of yours; None if unknown."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts) or (len(parts) == 1 and not lookup.has(_ROOM, name)):
        return None
    found: type[DataSet] = lookup.load(_ROOM, name)
    return found


def metric(name: str) -> str:
    """The papers' metric for the linear probe on data set ``name``; top-1 where they have none."""
    found = plug_in(name)
    return "top1" if found is None else found.metric


_ROOM = "data.datasets"
