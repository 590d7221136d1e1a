"""Sources made of other sources: a part of one, or one whose images are decoded once and kept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from augaware.data.base import ImageBatch, Skipped, Source
from augaware.data.files import digest
from augaware.ragged import Ragged, packed, starts


class Part(Source):
    """The images ``index`` (M,) int64 of ``whole``, in that order, with their labels, factors and names."""

    def __init__(self, whole: Source, index: Tensor, name: str) -> None:
        self.name = name
        self.whole = whole
        self.index = index
        self.names = [whole.names[i] for i in index.tolist()]
        self.labels = None if whole.labels is None else whole.labels[index]
        self.classes = whole.classes
        self.factors = {key: value[index] for key, value in whole.factors.items()}
        self.skipped = whole.skipped
        self.fingerprint = digest([whole.fingerprint, index.tolist()])
        self._place = torch.full((len(whole),), -1)
        self._place[index] = torch.arange(len(index))

    def __len__(self) -> int:
        return len(self.index)

    def load(self, index: int) -> Tensor:
        """Image number ``index``: (3, H, W) uint8, RGB."""
        return self.whole.load(int(self.index[index]))

    def batch(self, index: Tensor) -> ImageBatch:
        """The images ``index`` (B,) int64 of this part."""
        found = self.whole.batch(self.index[index])
        self.skipped = self.whole.skipped
        return ImageBatch(found.images, found.sizes, self._place[found.index])


class Stored(Source):
    """The images ``index`` (M,) int64 of ``source``, decoded: end to end in one buffer, where a batch finds them.

    ``skipped`` are those that could not be read. Nothing is copied for a batch; where ``images`` lie in a file, in the
    folder ``place``, their pages are read, so that this happens ahead of their use, in the loader's thread.
    """

    def __init__(
        self, source: Source, index: Tensor, images: Ragged, skipped: Iterable[Skipped], place: Path | None = None
    ) -> None:
        part = Part(source, index, source.name)
        self.name, self.names, self.labels, self.classes = part.name, part.names, part.labels, part.classes
        self.factors = part.factors
        self.skipped = tuple(sorted({image.name: image for image in skipped}.values(), key=lambda image: image.name))
        self.fingerprint = source.fingerprint if len(part) == len(source) else part.fingerprint
        self.images, self.place = images, place

    def __len__(self) -> int:
        return len(self.names)

    def load(self, index: int) -> Tensor:
        """Image number ``index``: (3, H, W) uint8, RGB."""
        return self.images[torch.tensor([index])].images()[0]

    def batch(self, index: Tensor) -> ImageBatch:
        """The images ``index`` (B,) int64."""
        images = self.images[index]
        if self.place is not None:
            images.touch()
        return ImageBatch(images, images.sizes, index)


class TooLarge(Exception):  # noqa: N818 - it reads as the sentence it is
    """The decoded images do not fit in the memory that was granted."""


def in_memory(source: Source, batches: Iterable[ImageBatch], memory: int) -> Stored:
    """Keep the images of ``batches``, which are those of all of ``source`` in order, in memory.

    Images that could not be read are left out, so the places of the others close up. Raises :class:`TooLarge` as soon
    as the pixels exceed ``memory`` bytes.
    """
    kept, parts = [torch.empty(0, dtype=torch.int64)], [packed([])]
    for batch in batches:
        kept.append(batch.index)
        parts.append(packed(batch.cut()))
        memory -= len(parts[-1].data)
        if memory < 0:
            raise TooLarge
    sizes = torch.cat([part.sizes for part in parts])
    end = sum(len(part.data) for part in parts)
    data = torch.empty(end, dtype=torch.uint8)
    while parts:  # from the end, and each freed once it is copied: never two copies of everything
        part = parts.pop()
        data[end - len(part.data) : end] = part.data
        end -= len(part.data)
    return Stored(source, torch.cat(kept), Ragged(data, starts(sizes), sizes), source.skipped)
