"""Where images come from: the source every part of the library reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import torch
from torch import Tensor

from augaware.errors import RequestError
from augaware.ragged import Ragged, packed
from augaware.reading import Reading
from augaware.spaces import Space


@dataclass(frozen=True)
class ImageBatch:
    """Images of a batch, not necessarily of one size.

    ``images`` of the source's kind, which is RGB, uint8, if nothing else was asked for: (B, C, H, W), each image in the
    top left corner and zeros beside it, or :class:`Ragged` where they lie in a buffer; ``sizes`` (B, 2) int64, the
    height and width of each; ``index`` (B,) int64, the place of each in its source.

    Where a source has several photographs of each thing, these are the first ones and ``others`` the further ones;
    ``omega`` is what is known of each, name -> (B, columns).
    """

    images: Tensor | Ragged
    sizes: Tensor
    index: Tensor
    omega: Mapping[str, Tensor] = field(default_factory=dict)
    others: tuple[ImageBatch, ...] = ()

    def __len__(self) -> int:
        return len(self.index)

    @property
    def pixels(self) -> Tensor:
        """(B, C, H, W): padded."""
        return self.images.padded() if isinstance(self.images, Ragged) else self.images

    def cut(self) -> list[Tensor]:
        """Each image (C, h, w) by itself, as a view."""
        if isinstance(self.images, Ragged):
            return self.images.images()
        return [image[:, :h, :w] for image, (h, w) in zip(self.images, self.sizes.tolist(), strict=True)]

    @property
    def photographs(self) -> tuple[ImageBatch, ...]:
        """All there are of each thing: view ``number`` is of ``photographs[number % len(photographs)]``."""
        return (self, *self.others)

    def to(self, device: torch.device | str) -> ImageBatch:
        """The same batch with its pixels on ``device``; elsewhere than on the CPU they are padded.

        ``sizes`` and ``index`` stay: what is drawn for them is drawn on the CPU.
        """
        if torch.device(device).type == "cpu":
            return self
        pixels, others = self.pixels.to(device, non_blocking=True), tuple(other.to(device) for other in self.others)
        return replace(self, images=pixels, others=others)


def collate(images: list[Tensor], index: Tensor) -> ImageBatch:
    """The batch of images (C, h, w) of one kind and any sizes."""
    together = packed(images, len(images[0]) if images else 3)
    return ImageBatch(together, together.sizes, index)


@dataclass(frozen=True)
class Skipped:
    """An image that could not be read, and why."""

    name: str
    reason: str


class Unreadable(Exception):  # noqa: N818 - it reads as the sentence it is
    """These bytes are no image that can be read; the message says why, in one line."""


class Source(ABC):
    """N images, addressed by index; the same index is always the same image.

    ``name`` says where they come from; ``names`` (N,) the path of each image in there, parts joined by ``/`` (tables
    of boxes and landmarks refer to it); ``labels`` (N,) int64 with ``classes`` naming them, or None; ``factors`` name
    -> (N,) or (N, k) float or int64 for drawn images whose causes are known; ``skipped`` what was left out and why;
    ``fingerprint`` a hex digest that changes when the images or their order change; ``decoded`` how many bytes all
    images take once they are, as a sample of them says where one was looked at. All images are of one kind,
    ``channels`` and ``dtype`` (uint8 or uint16). ``notes`` are sentences on what a reader may not expect. ``spaces`` of
    what is known of each photograph, if anything.
    """

    name: str
    names: Sequence[str]
    labels: Tensor | None
    classes: tuple[str, ...]
    factors: Mapping[str, Tensor]
    skipped: tuple[Skipped, ...]
    fingerprint: str
    decoded: int | None = None
    channels: int = 3
    dtype: torch.dtype = torch.uint8
    notes: tuple[str, ...] = ()
    spaces: Mapping[str, Space] = MappingProxyType({})

    def read_as(self, reading: Reading) -> None:
        """Have images read so from here on. Raises :class:`RequestError` where this source cannot."""
        if reading.pixel_range or reading.channels not in (0, self.channels):
            raise RequestError(
                f"data {self.name!r} has images of {self.channels} channels as they are; channels={reading.channels} "
                "and a pixel_range are for folders, lists and archives of image files"
            )

    @property
    def content(self) -> str:
        """A hex digest of the pixels, in order, where they are at hand; else the fingerprint."""
        return self.fingerprint

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def load(self, index: int) -> Tensor:
        """Image number ``index``: (C, H, W), by default RGB, uint8. Raises :class:`Unreadable`."""

    def batch(self, index: Tensor) -> ImageBatch:
        """The images ``index`` (B,) int64.

        A source of files leaves out those that it cannot read and adds them to ``skipped``.
        """
        return collate([self.load(int(i)) for i in index], index)

    def shuffled(self, seed: int, epoch: int) -> Source:
        """The same source; where there are several photographs of each thing, these in the order of ``epoch``."""
        return self
