"""Features of whole, un-augmented images from a frozen encoder: what every task starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from augaware.data.base import Source
from augaware.data.centre import centre_batch
from augaware.errors import RequestError
from augaware.nets.base import evaluating
from augaware.tasks.base import FrozenEncoder


def extract(encoder: FrozenEncoder, source: Source, batch_size: int = 256) -> Tensor:
    """y = f(x) for every image of ``source`` in its order: (N, dim) float32 on the encoder's device.

    Short side resized bicubically and centre crop of ``encoder.size``, normalised; each image once, no augmentation, no
    L2-normalisation (AugSelf and CASSLE, linear evaluation). Raises :class:`RequestError` when there is no image, or a
    feature is not finite.
    """
    if len(source) == 0:
        raise RequestError(f"data {source.name!r} holds no image: give a folder or an archive with images")
    device = next(iter(encoder.parameters()), torch.empty(0)).device
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (encoder.mean, encoder.std))
    y = torch.empty(len(source), encoder.dim, device=device)
    with evaluating(encoder), torch.inference_mode():
        for index in torch.split(torch.arange(len(source)), batch_size):
            x = centre_batch(source, index, encoder.size).to(device)
            y[index.to(device)] = encoder(((x - mean) / std).contiguous(memory_format=torch.channels_last)).float()
    broken = int((~y.isfinite()).any(1).sum())
    if broken:
        raise RequestError(
            f"encoder {encoder.name!r} gives NaN or infinity on {broken} of {len(y)} images of {source.name!r}: "
            "its training diverged; take an earlier checkpoint or train with a lower learning rate"
        )
    return y


@dataclass(frozen=True)
class Labelled:
    """Features (N, d) and labels (N,) int64 of one split, on one device."""

    features: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __add__(self, other: Labelled) -> Labelled:
        return Labelled(torch.cat([self.features, other.features]), torch.cat([self.labels, other.labels]))


def pick(splits: Mapping[str, Source], name: str) -> Source:
    """The split ``name``, or a :class:`RequestError` that lists what there is."""
    if name not in splits:
        raise RequestError(f"the data has no split {name!r}, only {', '.join(splits) or 'none'}: add a {name!r} split")
    return splits[name]


def known_labels(source: Source) -> Tensor:
    """The labels (N,) of a source that has some, or a :class:`RequestError`."""
    if source.labels is None or len(source.classes) < 2:
        raise RequestError(
            f"data {source.name!r} has no two classes to tell apart: put its images in a folder per class"
        )
    return source.labels


def labelled(encoder: FrozenEncoder, source: Source) -> Labelled:
    """Extract the features of a source with labels."""
    labels = known_labels(source)
    features = extract(encoder, source)
    return Labelled(features, labels.to(features.device))
