"""Images that somebody hands over, not read from a source: tensors and Pillow images, as a pipeline takes them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from augaware.errors import RequestError
from augaware.ragged import Ragged, packed

WHOLE = (torch.uint8, torch.uint16)  # whole numbers whose largest is white; of others nobody knows
OVERSHOOT = 0.5  # a bicubic resize leaves [0, 1] by less; what leaves it by more is in other units


def pixels(images: Any) -> tuple[Tensor | Ragged, Tensor]:
    """``images``, and the height and width of each, (B, 2) int64.

    (B, C, H, W), or a list of tensors (C, h, w) and Pillow images of any sizes; uint8, uint16 or in [0, 1]. Raises
    :class:`RequestError`.
    """
    if isinstance(images, Tensor) and images.ndim == 4:
        _check_kind(images)
        return images, torch.tensor([images.shape[2:]]).expand(len(images), 2)
    if isinstance(images, Tensor) or not isinstance(images, (list, tuple)):
        shape = tuple(images.shape) if isinstance(images, Tensor) else f"a {type(images).__name__}"
        raise RequestError(f"Views: images are {shape}; accepted: (B, C, H, W), or a list of images")
    tensors = [_tensor(image) for image in images]
    channels = {len(image) for image in tensors}
    if len(channels) > 1 or len({image.dtype for image in tensors}) > 1:
        raise RequestError(f"Views: images of one batch must be of one kind; these have {sorted(channels)} channels")
    together = packed(tensors, *channels)
    return together, together.sizes


def _tensor(image: Any) -> Tensor:
    """(C, H, W) of a tensor or a Pillow image."""
    if isinstance(image, Tensor) and image.ndim == 3:
        _check_kind(image)
        return image
    if hasattr(image, "getexif"):  # Pillow's, which is asked for nothing where there are only tensors
        from augaware.data.decode import to_pixels

        return to_pixels(image)
    shape = tuple(image.shape) if isinstance(image, Tensor) else f"a {type(image).__name__}"
    raise RequestError(f"Views: an image is {shape}; accepted: a tensor (C, H, W) or a Pillow image")


def _check_kind(image: Tensor) -> None:
    """Raise :class:`RequestError` for numbers of which nobody knows what white is; a GPU is not waited for to look."""
    if image.is_floating_point():
        if image.device.type == "cpu" and image.numel():
            low, high = (float(end) for end in image.aminmax())
            if not (low >= -OVERSHOOT and high <= 1 + OVERSHOOT):  # nan too
                raise RequestError(
                    f"Views: images are floats from {low:.3g} to {high:.3g}; accepted: in [0, 1], such as images / "
                    "255, before they are normalised"
                )
    elif image.dtype not in WHOLE:
        raise RequestError(
            f"Views: images are of {image.dtype}; accepted: torch.uint8, torch.uint16, or floats in [0, 1], such as "
            "images / 255"
        )
