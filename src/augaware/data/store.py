"""Sources made of other sources: decoded once and kept in memory, or a part of one."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from augaware.data.base import ImageBatch, Source, collate
from augaware.data.files import digest


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


class TooLarge(Exception):  # noqa: N818 - it reads as the sentence it is
    """The decoded images do not fit in the memory that was granted."""


class Stored(Source):
    """The images of ``source`` decoded once and kept as uint8: one tensor, so a batch is one gather, if sizes agree.

    ``batches`` are those of ``source``, all of it and in order. Images that could not be read are left out, so the
    places of the others close up. Raises :class:`TooLarge` as soon as the pixels exceed ``memory`` bytes.
    """

    def __init__(self, source: Source, batches: Iterable[ImageBatch], memory: int) -> None:
        self._images: list[Tensor] = []
        kept: list[Tensor] = []
        for batch in batches:
            kept.append(batch.index)
            for image, (height, width) in zip(batch.pixels, batch.sizes.tolist(), strict=True):
                self._images.append(image[:, :height, :width].clone())
                memory -= 3 * height * width
            if memory < 0:
                raise TooLarge
        part = Part(source, torch.cat([*kept, torch.empty(0, dtype=torch.int64)]), source.name)
        self.name, self.names, self.labels, self.classes = part.name, part.names, part.labels, part.classes
        self.factors, self.skipped = part.factors, tuple(sorted(source.skipped, key=lambda image: image.name))
        self.fingerprint = source.fingerprint if len(part) == len(source) else part.fingerprint
        self._stack = self._stacked()

    def _stacked(self) -> Tensor | None:
        """All images as one tensor (N, 3, H, W), and the list emptied; None when sizes differ."""
        if len({image.shape for image in self._images}) != 1:
            return None
        stack = torch.empty(len(self._images), *self._images[0].shape, dtype=torch.uint8)
        for place in reversed(range(len(stack))):
            stack[place] = self._images.pop()  # freed one by one: never two copies of everything
        return stack

    def __len__(self) -> int:
        return len(self.names)

    def load(self, index: int) -> Tensor:
        """Image number ``index``: (3, H, W) uint8, RGB."""
        return self._images[index] if self._stack is None else self._stack[index]

    def batch(self, index: Tensor) -> ImageBatch:
        """The images ``index`` (B,) int64."""
        if self._stack is None:
            return collate([self._images[i] for i in index.tolist()], index)
        pixels = self._stack[index]
        return ImageBatch(pixels, torch.tensor(pixels.shape[2:]).expand(len(index), 2), index)
