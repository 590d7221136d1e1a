"""Images of several sizes end to end in one buffer: how a store keeps them, and how they are handed on uncopied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Ragged:
    """B images of ``channels`` channels and any sizes.

    Image b is (channels, h, w), row by row, in ``data`` (M,) from ``offsets`` (B,) int64 on; ``sizes`` (B, 2) int64 are
    its h and w. ``data`` may hold more than these images, in any order: an index into a large buffer copies nothing.
    """

    data: Tensor
    offsets: Tensor
    sizes: Tensor
    channels: int = 3

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index: Tensor) -> Ragged:
        """The images ``index`` (B',) of the same buffer."""
        return Ragged(self.data, self.offsets[index], self.sizes[index], self.channels)

    def images(self) -> list[Tensor]:
        """Each image (channels, h, w), as a view of the buffer."""
        return [
            self.data[at : at + self.channels * h * w].view(self.channels, h, w)
            for at, (h, w) in zip(self.offsets.tolist(), self.sizes.tolist(), strict=True)
        ]

    def padded(self) -> Tensor:
        """(B, channels, H, W), H and W the largest there are: each image in the top left corner, zeros beside it."""
        if not len(self):
            return self.data.new_zeros(0, self.channels, 1, 1)
        height, width = self.sizes.amax(0).tolist()
        length = self.channels * height * width
        if bool((self.sizes == self.sizes[0]).all() and (self.offsets % length == 0).all()):  # rows of a table
            table = self.data[: len(self.data) // length * length].view(-1, length)
            rows = room(len(self) * length, self.data.dtype).view(-1, length)
            torch.index_select(table, 0, self.offsets // length, out=rows)
            return rows.view(-1, self.channels, height, width)
        pixels = room(len(self) * length, self.data.dtype).zero_().view(-1, self.channels, height, width)
        for row, image in zip(pixels, self.images(), strict=True):
            row[:, : image.shape[1], : image.shape[2]] = image
        return pixels


def packed(images: Sequence[Tensor], channels: int = 3) -> Ragged:
    """Images (channels, h, w) of any sizes, copied end to end into a buffer of their own."""
    sizes = torch.tensor([image.shape[1:] for image in images], dtype=torch.int64).reshape(-1, 2)
    data = room(channels * int(sizes.prod(1).sum()), images[0].dtype if len(images) else torch.uint8)
    if len(images):
        torch.cat([image.reshape(-1) for image in images], out=data)
    return Ragged(data, starts(sizes, channels), sizes, channels)


def room(count: int, dtype: torch.dtype = torch.uint8) -> Tensor:
    """(count,), not filled: numpy's memory, which asks the system for huge pages, is written four times as fast."""
    return torch.from_numpy(np.empty(count * dtype.itemsize, np.uint8)).view(dtype)


def starts(sizes: Tensor, channels: int = 3) -> Tensor:
    """Where each image of ``sizes`` (B, 2) begins when they lie end to end: (B,) int64."""
    lengths = channels * sizes.prod(1)
    return lengths.cumsum(0) - lengths


def as_ragged(pixels: Tensor) -> Ragged:
    """Padded images (B, C, H, W) as they lie in memory, whole: the boxes of a crop say what is image."""
    b, channels, height, width = pixels.shape
    return Ragged(
        pixels.contiguous().view(-1),
        torch.arange(b) * (channels * height * width),
        torch.tensor([[height, width]]).expand(b, 2),
        channels,
    )
