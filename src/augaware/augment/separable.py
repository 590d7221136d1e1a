"""Separable linear maps of images: resizing and blurring are both a matrix for the rows and one for the columns."""

from __future__ import annotations

import torch
from torch import Tensor


def separable(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """``rows @ x @ columns^T`` per sample and channel.

    x (B, C, H, W), rows (B, h, H), columns (B, w, W) -> (B, C, h, w); two batched matrix products.
    """
    b, c, height, width = x.shape
    h, w = rows.shape[1], columns.shape[1]
    y = torch.bmm(x.reshape(b, c * height, width), columns.transpose(1, 2))  # (B, C*H, w)
    y = y.reshape(b, c, height, w).transpose(1, 2).reshape(b, height, c * w)
    return torch.bmm(rows, y).reshape(b, h, c, w).transpose(1, 2).contiguous()


def resize_matrix(start: Tensor, length: Tensor, source: int, target: int) -> Tensor:
    """Antialiased linear resampling of the pixels [start, start + length) of ``source`` to ``target`` pixels.

    start, length (B,) -> (B, target, source). The kernel is the triangle that torchvision and Pillow use: as wide as a
    target pixel where it shrinks, one source pixel where it grows, cut at the edges of the box and normalised.
    """
    scale = (length / target)[:, None, None]
    support = scale.clamp_min(1.0)
    centre = (torch.arange(target, device=start.device) + 0.5)[None, :, None] * scale
    pixel = torch.arange(source, device=start.device)[None, None, :] - start[:, None, None]
    weight = (1 - (pixel + 0.5 - centre).abs() / support).clamp_min(0)
    weight = weight * ((pixel >= 0) & (pixel < length[:, None, None]))
    return weight / weight.sum(dim=2, keepdim=True)


def blur_matrix(sigma: Tensor, kernel: int, size: int) -> Tensor:
    """A Gaussian on the integer offsets of an odd ``kernel``, normalised to sum 1, with reflected borders.

    sigma (B,) in pixels, > 0 -> (B, size, size). The reflection repeats, so a kernel may be wider than the image.
    """
    offsets = torch.arange(kernel, device=sigma.device) - kernel // 2
    weight = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    weight = weight / weight.sum(dim=1, keepdim=True)  # (B, kernel)
    period = max(2 * (size - 1), 1)
    position = (torch.arange(size, device=sigma.device)[:, None] + offsets) % period  # (size, kernel)
    position = torch.where(position < size, position, period - position)
    matrix = torch.zeros(len(sigma), size, size, dtype=weight.dtype, device=sigma.device)
    return matrix.scatter_add_(
        2, position.expand(len(sigma), -1, -1), weight[:, None, :].expand(-1, size, -1).contiguous()
    )
