"""A picture of nearest neighbours: each query left of what was found, framed green where it is of its class."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from augaware.data.base import Source
from augaware.data.centre import centre_batch
from augaware.tasks.sheet import BAD, GOOD, PLAIN, SIDE, Tile, sheet_png


def tiles(source: Source, index: Tensor, label: int | None = None) -> list[Tile]:
    """The images ``index`` (k,) with their class below, where there are classes, and a grey frame.

    ``label``: that of a query; the frame is green where an image is of its class, else red.
    """
    classes = source.labels if len(source.classes) > 1 else None
    found = []
    for image, i in zip(centre_batch(source, index, SIDE), index.tolist(), strict=True):
        other = None if classes is None else int(classes[i])
        frame = PLAIN if label is None or other is None else GOOD if other == label else BAD
        found.append(Tile(image, "" if other is None else source.classes[other], frame))
    return found


def neighbours_png(source: Source, queries: Tensor, nearest: Mapping[str, Tensor]) -> bytes:
    """Encoders below each other for each query: the query, then what each finds ``nearest``.

    ``queries`` (q,) and ``nearest``, encoder's name -> (q, k), say which images of ``source``.
    """
    rows, titles = [], []
    for place, query in enumerate(queries.tolist()):
        label = None if source.labels is None else int(source.labels[query])
        for name, found in nearest.items():
            rows.append([*tiles(source, torch.tensor([query])), *tiles(source, found[place], label)])
            titles.append(name)
    return sheet_png(rows, titles)
