"""The augmentation bench: two views per image, from uint8 in memory to two float32 batches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from augaware.augment.engine.fused import failure
from augaware.bench import pictures
from augaware.bench.base import Bench, Side, Work, cores
from augaware.bench.two_views import OURS, PARTS, PEERS, Part, TwoViews
from augaware.errors import RequestError
from augaware.ragged import Ragged

__all__ = ["Augment"]

PIECE = 8 << 20  # bytes of views that a worker process hands over at once: a container's shared memory is small


class Augment(Bench):
    """Two views per image, ours with omega, against torchvision v2, kornia, albumentationsx and lightly.

    ``images`` are treated at once, as a batch; None is 256, and 64 at sizes from 128 on.
    """

    sizes: tuple[int, ...]

    def __init__(
        self, sizes: Sequence[int] = (32, 96, 224), images: int | None = None, rounds: int = 7, seconds: float = 0.5
    ) -> None:
        super().__init__(sizes, rounds, seconds)
        if not self.sizes or any(type(size) is not int or size < 1 for size in self.sizes):
            raise RequestError(f"bench 'augment': sizes={sizes!r} must be whole numbers, at least 1, such as [96]")
        if images is not None and (type(images) is not int or images < 1):
            raise RequestError(f"bench 'augment': images={images!r} must be a whole number, at least 1, or None")
        self.images = images

    def count(self, size: int) -> int:
        """Images of a batch."""
        return self.images or (256 if size < pictures.MIXED else 64)

    def prepare(self, folder: Path, data: str | None) -> str:
        """Natural images of SRC, resized to the sizes of :func:`augaware.bench.pictures.shapes`, or drawn ones."""
        origins = [pictures.write(folder, size, self.count(size), data) for size in self.sizes]
        made = (
            f"images of {data} ({origins[-1]}), resized (bicubic)"
            if data
            else "drawn images (coloured noise and edges)"
        )
        slow = f"; ours is not compiled: {failure()}" if failure() else ""
        return f"{made}; {', '.join(pictures.described(size) for size in self.sizes)}{slow}"

    def sides(self, peers: bool) -> list[Side]:
        """Each with one core and with all, and with one the parts of our job."""
        kinds = {**OURS, **(PEERS if peers else {})}
        sides = [
            Side(name, threads, kind.note, kind.package, kind.module)
            for name, kind in kinds.items()
            for threads in sorted({1, cores()})
        ]
        return sides + ([] if failure() else [Side(name, 1, part.note, part=True) for name, part in PARTS.items()])

    def work(self, name: str, threads: int, size: int, folder: Path) -> Work:
        """One pass is one batch."""
        if name in PARTS:
            return InTurns(PARTS[name], pictures.load(folder, size), size)
        kind, found = {**OURS, **PEERS}[name], pictures.load(folder, size)
        if threads > 1 and kind.alone:
            return Apart(kind, found, size, threads)
        return Together(kind, found, size)


class Together(Work):
    """In this process, with its threads."""

    def __init__(self, kind: type[TwoViews], images: Ragged, size: int) -> None:
        self.items, self.views = len(images), kind(images, size)
        self.index = torch.arange(len(images))

    def __call__(self, passes: int) -> float:
        """All is done here."""
        for _ in self.views.stream(self.index, passes):
            pass
        return 0.0


class InTurns(Work):
    """Our job with a part of it and without, in turns in this process, on the same draws and in the same memory."""

    def __init__(self, part: Part, images: Ragged, size: int) -> None:
        self.items, self.index = 2 * len(images), torch.arange(len(images))
        self.less, self.more = part.less(images, size), part.more(images, size)
        self.more.camera = self.less.camera
        self.costs: list[float] = []

    def __call__(self, passes: int) -> float:
        """All is done here; each pass begins with the other."""
        self.costs = []
        for number in range(passes):
            spent = {}
            for views in (self.less, self.more) if number % 2 else (self.more, self.less):
                began = time.process_time()
                views(self.index)
                spent[views] = time.process_time() - began
            self.costs.append(spent[self.more] / max(spent[self.less], 1e-9) - 1)
        return 0.0

    def found(self) -> dict[str, Any]:
        """What the part costs: CPU time with it over that without, minus 1; the median of the passes."""
        return {"costs": statistics.median(self.costs)}


class Pieces(Dataset[tuple[Tensor, Tensor, float]]):
    """Views of ``piece`` images and the CPU seconds that its process spent since the piece before."""

    def __init__(self, kind: type[TwoViews], images: Ragged, size: int, piece: int) -> None:
        self.make, self.index = partial(kind, images, size), torch.split(torch.arange(len(images)), piece)
        self.views: TwoViews | None = None
        self.before = 0.0

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, float]:
        if self.views is None:  # in the worker: transforms need not travel
            self.views, self.before = self.make(), time.process_time()
        one, two = self.views(self.index[number % len(self.index)])
        now = time.process_time()
        spent, self.before = now - self.before, now
        return one, two, spent


class Apart(Work):
    """In ``workers`` processes that live as long as this, behind a DataLoader: how training has it."""

    def __init__(self, kind: type[TwoViews], images: Ragged, size: int, workers: int) -> None:
        torch.set_num_threads(1)  # this process only gathers
        self.items, self.workers = len(images), workers
        self.pieces = Pieces(kind, images, size, max(1, min(len(images), PIECE // (2 * 3 * 4 * size**2))))
        self.order: list[int] = []
        self.loader = DataLoader(
            self.pieces, batch_size=None, sampler=self.order, num_workers=workers, persistent_workers=True
        )

    def __call__(self, passes: int) -> float:
        """``passes`` times all pieces."""
        self.order[:] = range(passes * len(self.pieces.index))
        return sum(float(spent) for _, _, spent in self.loader)
