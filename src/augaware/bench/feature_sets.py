"""The features of a bench: of real images from a frozen encoder, or drawn to be like them, in splits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from augaware.data.root import open_dataset
from augaware.errors import RequestError
from augaware.evaluate import slug
from augaware.frozen import load_encoder
from augaware.tasks.features import Labelled, labelled, pick

SPLITS = ("train", "val", "test")
_PARTS = ("features", "labels")
_DRAWN = re.compile(r"(\d+)x(\d+)x(\d+)")


def write(folder: Path, name: str, data: str | None, pixels: int) -> str:
    """Write the splits of the set ``name`` into ``folder``; their numbers in words.

    ``NxDxC`` is drawn: N images of C classes to train on and half as many for val and for test, D features. ``"ENCODER
    DATASET"`` is real: the features of a data set below ``data``, its images ``pixels`` wide, from ENCODER as
    ``augaware eval`` takes it. Raises :class:`RequestError`.
    """
    if match := _DRAWN.fullmatch(name):
        n, d, c = (int(number) for number in match.groups())
        if min(n, d) < 1 or c < 2 or n < c:
            raise RequestError(f"bench 'probe': sets: {name!r} needs two classes or more and an image of each")
        splits = {split: draw(seed, n if seed == 0 else max(n // 2, 1), d, c) for seed, split in enumerate(SPLITS)}
    else:
        encoder, _, dataset = name.rpartition(" ")
        if not encoder:
            raise RequestError(f"bench 'probe': sets: {name!r} is neither 'ENCODER DATASET' nor NxDxC, as 1000x512x20")
        if data is None:
            raise RequestError(f"bench 'probe': sets: {name!r} needs --data ROOT, the folder of data sets")
        f, sources = load_encoder(encoder, size=pixels, device="cpu"), open_dataset(data, dataset)
        splits = {split: labelled(f, pick(sources, split)) for split in SPLITS}
    tensors = {f"{split}.{part}": getattr(found, part) for split, found in splits.items() for part in _PARTS}
    save_file(tensors, place(folder, name))
    train, val, test = (len(splits[split]) for split in SPLITS)
    classes, dim = count(splits), splits["train"].features.shape[1]
    return f"{name}: {train} + {val} + {test} images, {dim} features, {classes} classes"


def load(folder: Path, name: str) -> dict[str, Labelled]:
    """The splits that :func:`write` wrote."""
    found = load_file(place(folder, name))
    return {split: Labelled(*(found[f"{split}.{part}"] for part in _PARTS)) for split in SPLITS}


def count(splits: Mapping[str, Labelled]) -> int:
    """How many classes there are."""
    return 1 + max(int(found.labels.max()) for found in splits.values())


def place(folder: Path, name: str) -> Path:
    """The file of one set."""
    return folder / f"{slug(name)}.safetensors"


def draw(seed: int, n: int, d: int, c: int) -> Labelled:
    """Positive, correlated and badly scaled features (n, d) of overlapping classes, as pooled ReLU features are."""
    fixed, own = torch.Generator().manual_seed(99), torch.Generator().manual_seed(seed)
    means, mixing = torch.randn(c, d, generator=fixed), torch.randn(d, d, generator=fixed)
    labels = torch.arange(n) % c
    z: Tensor = means[labels] + 3 * torch.randn(n, d, generator=own)
    return Labelled((z @ (mixing / torch.arange(1, d + 1)).T + 0.5).relu(), labels)
