"""What tasks that train on augmented images share: the views, the transform of val and test, and the new classifier.

Train: a random resized crop (area .08 to 1) to ``encoder.size`` and a horizontal flip. Val and test: the short side
resized to 256 / 224 of that, and the centre crop (MoCo's linear classification; its resizing is bilinear, ours at test
bicubic, as in every task).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from augaware.augment.pipeline import Pipeline
from augaware.data.base import Source
from augaware.data.centre import whole
from augaware.data.loader import Loader
from augaware.random import Draws
from augaware.tasks.base import FrozenEncoder

AUGMENT = ("crop(scale=(0.08, 1.0))", "flip()")
MOMENTUM = 0.9  # of SGD


def side(size: int) -> int:
    """To how many pixels the short side of a val or test image is resized, for crops of ``size``."""
    return round(size * 256 / 224)


def views(encoder: FrozenEncoder, source: Source, seed: int, batches: Iterable[tuple[int, Tensor]]) -> Iterator[Tensor]:
    """Augmented and normalised images (B, 3, size, size) of ``source``, for each (epoch, index (B,)) of ``batches``.

    A view is a function of (seed, epoch, index). Images that are not in memory are decoded ahead.
    """
    pipeline = Pipeline.from_specs(AUGMENT, encoder.size, encoder.mean, encoder.std)
    asked = list(batches)
    loader = Loader(source.batch, [index for _, index in asked], workers=os.cpu_count() or 1)
    for (epoch, index), batch in zip(asked, loader, strict=True):
        images = whole(batch, source, index)
        yield pipeline.view(images.images, images.sizes, images.index, seed, epoch, 0).image


def classifier(dim: int, classes: int, seed: int, device: torch.device) -> list[Tensor]:
    """A new classifier, to be trained: W (classes, dim) ~ N(0, .01) and b = 0."""
    W = 0.01 * Draws.of(seed, 0, torch.arange(classes), view=-1).stream("classifier").normal(dim)
    return [W.to(device).requires_grad_(), torch.zeros(classes, device=device).requires_grad_()]
