"""Sources made of other sources: a part of one, or one whose images are decoded once and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cached_property

import torch
from torch import Tensor

from augaware.data.base import ImageBatch, Skipped, Source, collate
from augaware.data.files import digest
from augaware.ragged import Ragged, room, starts


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
        self.channels, self.dtype = whole.channels, whole.dtype
        self._place = torch.full((len(whole),), -1)
        self._place[index] = torch.arange(len(index))

    @property
    def content(self) -> str:
        """That of the whole, and which part it is."""
        return digest([self.whole.content, self.index.tolist()])

    def __len__(self) -> int:
        return len(self.index)

    def load(self, index: int) -> Tensor:
        """Image number ``index``: (C, H, W)."""
        return self.whole.load(int(self.index[index]))

    def batch(self, index: Tensor) -> ImageBatch:
        """The images ``index`` (B,) int64 of this part."""
        found = self.whole.batch(self.index[index])
        self.skipped = self.whole.skipped
        return ImageBatch(found.images, found.sizes, self._place[found.index])


class Joined(Source):
    """The images of ``parts``, one source after the other; a name begins with its part's. All have the same classes."""

    def __init__(self, parts: Mapping[str, Source], name: str) -> None:
        self.name, self.parts = name, dict(parts)
        first = next(iter(self.parts.values()))
        self.channels, self.dtype = first.channels, first.dtype
        self.names = [f"{part}/{path}" for part, source in self.parts.items() for path in source.names]
        labels = [source.labels for source in self.parts.values() if source.labels is not None]
        self.labels, self.classes = torch.cat(labels) if labels else None, first.classes
        self.factors: dict[str, Tensor] = {}
        self.skipped = self._skipped()
        self.fingerprint = digest(source.fingerprint for source in self.parts.values())

    @property
    def content(self) -> str:
        """That of the parts."""
        return digest(source.content for source in self.parts.values())

    def __len__(self) -> int:
        return len(self.names)

    def load(self, index: int) -> Tensor:
        """Image number ``index``: (C, H, W)."""
        for source in self.parts.values():
            if index < len(source):
                return source.load(index)
            index -= len(source)
        raise IndexError(index)

    def batch(self, index: Tensor) -> ImageBatch:
        """The images ``index`` (B,) int64, in that order."""
        images: dict[int, Tensor] = {}
        begin = 0
        for source in self.parts.values():
            rows = index[(index >= begin) & (index < begin + len(source))] - begin
            if len(rows):
                batch = source.batch(rows)
                images |= zip((batch.index + begin).tolist(), batch.cut(), strict=True)
            begin += len(source)
        self.skipped = self._skipped()
        kept = [i for i in index.tolist() if i in images]
        return collate([images[i] for i in kept], torch.tensor(kept, dtype=torch.int64))

    def _skipped(self) -> tuple[Skipped, ...]:
        return tuple(Skipped(f"{part}/{i.name}", i.reason) for part, s in self.parts.items() for i in s.skipped)


class Stored(Source):
    """The images ``index`` (M,) int64 of ``source``, decoded: end to end in one buffer, where a batch finds them.

    ``skipped`` are those that could not be read. Nothing is copied for a batch.
    """

    def __init__(self, source: Source, index: Tensor, images: Ragged, skipped: Iterable[Skipped]) -> None:
        part = Part(source, index, source.name)
        self.name, self.names, self.labels, self.classes = part.name, part.names, part.labels, part.classes
        self.factors, self.images = part.factors, images
        self.channels, self.dtype, self.notes = source.channels, source.dtype, source.notes
        self.skipped = tuple(sorted({image.name: image for image in skipped}.values(), key=lambda image: image.name))
        self.fingerprint = source.fingerprint if len(part) == len(source) else part.fingerprint

    @cached_property
    def content(self) -> str:
        """The sha256 of sizes and pixels."""
        state = hashlib.sha256(self.images.sizes.contiguous().numpy().data)
        for image in self.images.images():
            state.update(image.contiguous().numpy().data)
        return state.hexdigest()

    def __len__(self) -> int:
        return len(self.names)

    def load(self, index: int) -> Tensor:
        """Image number ``index``: (C, H, W)."""
        return self.images[torch.tensor([index])].images()[0]

    def batch(self, index: Tensor) -> ImageBatch:
        """The images ``index`` (B,) int64."""
        images = self.images[index]
        return ImageBatch(images, images.sizes, index)


class TooLarge(Exception):  # noqa: N818 - it reads as the sentence it is
    """The decoded images do not fit in the memory that was granted."""


def in_memory(source: Source, batches: Iterable[ImageBatch], expected: int, memory: int) -> Stored:
    """Keep the images of ``batches``, which are those of all of ``source`` in order, in memory.

    Images that could not be read are left out, so the places of the others close up. ``expected`` is about how many
    bytes they take; raises :class:`TooLarge` as soon as they exceed ``memory``.
    """
    width, channels = source.dtype.itemsize, source.channels
    most = memory // width  # numbers
    data, end = room(min(most, 2 * expected // width), source.dtype), 0  # what is never written to costs nothing
    index, sizes = [torch.empty(0, dtype=torch.int64)], [torch.empty(0, 2, dtype=torch.int64)]
    for batch in batches:
        begin, end = end, end + channels * int(batch.sizes.prod(1).sum())
        if end > most:
            raise TooLarge
        if end > len(data):  # only here, where the expectation was wrong by far, are there two copies for a moment
            data = torch.cat((data[:begin], room(min(most, 2 * end) - begin, source.dtype)))
        if len(batch):
            torch.cat([image.reshape(-1) for image in batch.cut()], out=data[begin:end])
        index.append(batch.index)
        sizes.append(batch.sizes)
    shapes = torch.cat(sizes)
    images = Ragged(data[:end], starts(shapes, channels), shapes, channels)
    return Stored(source, torch.cat(index), images, source.skipped)
