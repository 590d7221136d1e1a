"""Images of several sizes end to end in one buffer: how a store keeps them, and how they are handed on uncopied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
        return padded(self.images(), self.channels)


def padded(images: Sequence[Tensor], channels: int = 3) -> Tensor:
    """Images (channels, h, w) of any sizes as (B, channels, H, W): each in the top left corner, zeros beside it."""
    if not len(images):
        return torch.zeros(0, channels, 1, 1, dtype=torch.uint8)
    if len({image.shape for image in images}) == 1:
        return torch.stack(list(images))
    height, width = (max(image.shape[d] for image in images) for d in (1, 2))
    pixels = images[0].new_zeros(len(images), channels, height, width)
    for row, image in zip(pixels, images, strict=True):
        row[:, : image.shape[1], : image.shape[2]] = image
    return pixels


def as_ragged(pixels: Tensor) -> Ragged:
    """Padded images (B, C, H, W) as they lie in memory, whole: the boxes of a crop say what is image."""
    b, channels, height, width = pixels.shape
    return Ragged(
        pixels.contiguous().view(-1),
        torch.arange(b) * (channels * height * width),
        torch.tensor([[height, width]]).expand(b, 2),
        channels,
    )
