"""Which images lie nearest, by cosine."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from augaware.random import Draws

_BLOCK = 256


def too_few(n: int, k: int) -> str | None:
    """Why ``n`` images have no ``k`` neighbours each; None where they have."""
    return None if n > k else f"{n} images have no {k} neighbours each: show it more images, or lower k"


def nearest(queries: Tensor, images: Tensor, k: int, itself: bool, ties: str = "") -> Tensor:
    """Of each row of ``queries`` (m, d) the ``k`` nearest rows of ``images`` (n, d), nearest first: (m, k) int64.

    ``itself``: queries and images are the same n, and a query may find its own. Equal cosines come in an order drawn
    for each query and for the name ``ties``, so that features that are all the same find others at random.
    """
    bank, found = F.normalize(images.double(), dim=1), []
    for rows in torch.split(torch.arange(len(queries)), _BLOCK):
        cosine = F.normalize(queries[rows].double(), dim=1) @ bank.T
        if not itself:
            cosine.scatter_(1, rows[:, None], -torch.inf)
        order = Draws.of(0, 0, rows, view=-1).stream(f"nearest {ties}").uniform(len(bank)).argsort(1)
        found.append(order.gather(1, cosine.gather(1, order).topk(k, dim=1).indices))
    return torch.cat(found)
