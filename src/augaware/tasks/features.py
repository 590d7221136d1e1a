"""Features of whole, un-augmented images from a frozen encoder: what every task starts from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from augaware.data.base import Source
from augaware.data.centre import centre_batch
from augaware.distributed import rank, total, world
from augaware.errors import RequestError
from augaware.nets.base import evaluating
from augaware.tasks.base import FrozenEncoder
from augaware.tasks.kept import Kept


def extract(encoder: FrozenEncoder, source: Source, batch_size: int = 256, short_side: int | None = None) -> Tensor:
    """y = f(x) for every image of ``source`` in its order: (N, dim) float32 on the encoder's device.

    Short side resized bicubically, by default to ``encoder.size``, and centre crop of ``encoder.size``, normalised;
    each image once, no augmentation, no L2-normalisation (AugSelf and CASSLE, linear evaluation). Raises
    :class:`RequestError` when there is no image, they have other channels than the encoder takes, or a feature is not
    finite.

    Each of several processes takes every so-manieth image, and all get all of y; no image is taken twice. Where the
    encoder has a ``kept`` (:class:`augaware.tasks.kept.Kept`), features are looked for there first.
    """
    check_channels(encoder, source)
    device = device_of(encoder)
    mean, std = (torch.tensor(v, device=device).view(-1, 1, 1) for v in (encoder.mean, encoder.std))

    def make() -> Tensor:
        rows = torch.arange(rank(), len(source), world())
        pieces = torch.split(rows, batch_size) if len(rows) else ()
        crops = (centre_batch(source, index, encoder.size, short_side).to(device) for index in pieces)
        return encode(encoder, source, ((x - mean) / std for x in crops), rows)

    kept: Kept | None = getattr(encoder, "kept", None)
    if kept is None:
        return make()
    return kept.features(source, [encoder.size, encoder.mean, encoder.std, short_side], make).to(device)


def encode(encoder: FrozenEncoder, source: Source, batches: Iterable[Tensor], rows: Tensor | None = None) -> Tensor:
    """y of normalised ``batches``, a row for every image of ``source``: as :func:`extract`, which see.

    ``rows`` (M,) are the images of this process's batches; None is all, in each process.
    """
    if len(source) == 0:
        raise RequestError(f"data {source.name!r} holds no image: give a folder or an archive with images")
    y = torch.zeros(len(source), encoder.dim, device=device_of(encoder))
    place, done = torch.arange(len(source)) if rows is None else rows, 0
    with evaluating(encoder), torch.inference_mode():
        for x in batches:
            found = encoder(x.to(y.device).contiguous(memory_format=torch.channels_last)).float()
            y[place[done : done + len(x)].to(y.device)] = found
            done += len(x)
    if rows is not None:
        y = total(y)  # a row that is another process's is 0 here
    broken = int((~y.isfinite()).any(1).sum())
    if broken:
        raise RequestError(
            f"encoder {encoder.name!r} gives NaN or infinity on {broken} of {len(y)} images of {source.name!r}: "
            "its training diverged; take an earlier checkpoint or train with a lower learning rate"
        )
    return y


def check_channels(encoder: FrozenEncoder, source: Source) -> None:
    """Raise :class:`RequestError` where the images are not of as many channels as the encoder takes."""
    if len(encoder.mean) != source.channels:
        raise RequestError(
            f"encoder {encoder.name!r} takes images of {len(encoder.mean)} channels, those of {source.name!r} have "
            f"{source.channels}; give data of the kind that it was trained on"
        )


def device_of(encoder: FrozenEncoder) -> torch.device:
    """Where its weights are; the CPU for an encoder without."""
    return next(iter(encoder.parameters()), torch.empty(0)).device


@dataclass(frozen=True)
class Labelled:
    """Features (N, d) and labels (N,) int64 of one split, on one device."""

    features: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __add__(self, other: Labelled) -> Labelled:
        return Labelled(torch.cat([self.features, other.features]), torch.cat([self.labels, other.labels]))

    def first(self, n: int) -> Labelled:
        """The first ``n`` images."""
        return Labelled(self.features[:n], self.labels[:n])


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


def labelled(encoder: FrozenEncoder, source: Source, short_side: int | None = None) -> Labelled:
    """:func:`extract` the features of a source with labels."""
    labels = known_labels(source)
    features = extract(encoder, source, short_side=short_side)
    return Labelled(features, labels.to(features.device))
