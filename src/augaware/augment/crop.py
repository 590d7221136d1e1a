"""Random resized crop. omega = (y_c, x_c, h, w), the box's centre and size in fractions of the source image."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from augaware.augment.base import Augmentation, check_range
from augaware.augment.separable import resize_matrix, separable
from augaware.errors import RequestError
from augaware.random import Draws
from augaware.spaces import Interval

__all__ = ["Crop"]

ATTEMPTS = 10


class Crop(Augmentation):
    """Random resized crop, antialiased: area fraction ~ U(scale), log aspect ~ U(log ratio); omega (y_c, x_c, h, w).

    The boxes follow the law of torchvision's RandomResizedCrop: whole pixels, ten attempts, then the largest central
    box of an allowed aspect. x_c is that of the image as it lies in the source; how a flip mirrors it is in
    :mod:`augaware.views`. Identity: the whole image, (0.5, 0.5, 1, 1).
    """

    space = Interval(4, geometric=True, names=("y", "x", "height", "width"))
    identity = (0.5, 0.5, 1.0, 1.0)

    def __init__(
        self, size: int, scale: tuple[float, float] = (0.2, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)
    ) -> None:
        check_range("crop", "scale", scale, 0, 1)
        check_range("crop", "ratio", ratio, 0, math.inf)
        if min(*scale, *ratio) <= 0:
            raise RequestError(f"augmentation 'crop': scale={scale!r} and ratio={ratio!r} must be above 0")
        self.size, self.scale, self.ratio = size, tuple(scale), tuple(ratio)

    def sample(self, draws: Draws, sizes: Tensor) -> Tensor:
        """omega (B, 4) of random boxes in images of ``sizes`` (B, 2)."""
        box, fits = self._attempted(draws, sizes, 1)
        rest = (~fits).nonzero()[:, 0]
        if len(rest):  # few, and the first attempt is theirs too
            others = sizes[rest]
            again, fits = self._attempted(draws[rest], others, ATTEMPTS)
            height, width = others[:, :1].float(), others[:, 1:].float()
            box[rest] = torch.where(fits[:, None], again, self._central(height, width))
        return box_to_omega(box, sizes)

    def _attempted(self, draws: Draws, sizes: Tensor, attempts: int) -> tuple[Tensor, Tensor]:
        """The first of so many boxes that fits, (B, 4), or just the first; and whether it fits, (B,)."""
        u = draws.uniform(4 * attempts).view(-1, attempts, 4)
        height, width = sizes[:, :1].float(), sizes[:, 1:].float()
        area = height * width * (self.scale[0] + (self.scale[1] - self.scale[0]) * u[..., 0])
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        aspect = torch.exp(low + (high - low) * u[..., 1])
        w, h = torch.sqrt(area * aspect).round_(), torch.sqrt(area / aspect).round_()
        top = torch.floor(u[..., 2] * (height - h + 1))
        left = torch.floor(u[..., 3] * (width - w + 1))
        fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
        boxes = torch.stack((top, left, h, w), dim=2)  # (B, attempts, 4)
        if attempts == 1:
            return boxes[:, 0], fits[:, 0]
        first = fits.int().argmax(dim=1)
        return boxes[torch.arange(len(boxes)), first], fits.any(dim=1)

    def _central(self, height: Tensor, width: Tensor) -> Tensor:
        """The largest central box whose aspect is allowed, (B, 4) = top, left, h, w."""
        w = torch.minimum(width, torch.round(height * self.ratio[1]))
        h = torch.minimum(height, torch.round(width / self.ratio[0]))
        box = (torch.floor((height - h) / 2), torch.floor((width - w) / 2), h.clamp_min(1), w.clamp_min(1))
        return torch.cat(box, dim=1)

    def apply(self, x: Tensor, omega: Tensor, sizes: Tensor | None = None) -> Tensor:
        """Cut and resize x (B, C, H, W) to (B, C, size, size); ``sizes`` (B, 2) where images lie padded in x."""
        if sizes is None:
            sizes = torch.tensor([x.shape[2:]], device=x.device).expand(len(x), 2)
        box = omega_to_box(omega, sizes)
        if x.device.type == "cpu":  # image by image costs what the boxes hold, a batch what the largest image holds
            views = x.new_empty(len(x), x.shape[1], self.size, self.size)
            for image, view, (top, left, h, w) in zip(x, views, box.long().tolist(), strict=True):
                part = image[None, :, top : top + h, left : left + w]
                view[:] = F.interpolate(part, (self.size, self.size), mode="bilinear", antialias=True)[0]
            return views
        return self.batched(x, box)

    def batched(self, x: Tensor, box: Tensor) -> Tensor:
        """The same of (top, left, h, w) in pixels, (B, 4), as two matrix products of the whole batch."""
        top, left, h, w = box.unbind(dim=1)
        rows = resize_matrix(top, h, x.shape[2], self.size)
        columns = resize_matrix(left, w, x.shape[3], self.size)
        return separable(x, rows, columns)


def box_to_omega(box: Tensor, sizes: Tensor) -> Tensor:
    """(top, left, h, w) in pixels, (B, 4), as omega = (y_c, x_c, h, w) in fractions of ``sizes`` (B, 2)."""
    corner, extent = box[:, :2], box[:, 2:]
    return torch.cat(((corner + extent / 2) / sizes, extent / sizes), dim=1)


def omega_to_box(omega: Tensor, sizes: Tensor) -> Tensor:
    """omega (B, 4) as whole pixels (top, left, h, w), at least one pixel and inside the image."""
    extent = torch.minimum(torch.round(omega[:, 2:] * sizes).clamp_min(1), sizes)
    corner = torch.round(omega[:, :2] * sizes - extent / 2)
    corner = torch.minimum(corner.clamp_min(0), sizes - extent)
    return torch.cat((corner, extent), dim=1)
