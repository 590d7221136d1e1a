"""Image retrieval with frozen features: which images lie nearest to an image by cosine, and are they of its class?

CASSLE shows the nearest neighbours of ten test images, itself among them, on raw pooled features. Here they are counted
for every image too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from augaware.checks import check_widths
from augaware.data.base import Source
from augaware.errors import RequestError
from augaware.random import epoch_order
from augaware.tasks.base import FrozenEncoder, Task
from augaware.tasks.features import Labelled, labelled, pick
from augaware.tasks.neighbours_png import tiles
from augaware.tasks.sheet import sheet_png

__all__ = ["Retrieval"]

_BLOCK = 256
_SHOWN, _NEAREST = 10, 8  # queries and neighbours of the picture


class Retrieval(Task):
    """Cosine ranking of the ``gallery`` split for each image of the ``queries`` split; ``ks`` are where it is cut.

    Within one split a query leaves itself out. ``recall@k`` is the share of queries with an image of their class among
    the k nearest, ``precision@k`` (k > 1; at 1 they are one) the mean share of such images among them, ``map`` the mean
    over queries of the average precision of the whole ranking. Of equal cosines, those of other classes come first:
    features that are all the same find nothing. A query whose class has no other image in the gallery is left out.

    Metrics: ``test``, a dict of these; ``standard_error`` of each, std over the queries / sqrt(queries); ``classes``;
    ``n``: ``queries``, ``gallery`` and ``without_partner``, the queries left out.
    """

    protocol: ClassVar[str] = "retrieval/1"

    def __init__(
        self, dataset: str, queries: str = "test", gallery: str = "test", ks: Sequence[int] = (1, 5, 10)
    ) -> None:
        super().__init__(dataset)
        if not isinstance(ks, (tuple, list)) or not ks:
            raise RequestError(f"task 'retrieval': ks={ks!r} must be a list of numbers, such as (1, 5, 10)")
        for k in ks:
            check_widths("task 'retrieval'", ks=k)
        self.queries, self.gallery, self.ks = queries, gallery, tuple(ks)

    def __call__(self, encoder: FrozenEncoder, splits: Mapping[str, Source]) -> dict[str, object]:
        """The metrics of the class docstring.

        Raises :class:`RequestError` when a split, its labels or all partners are missing, or k exceeds the gallery.
        """
        queries, gallery, itself = self._features(encoder, splits)
        if max(self.ks) > len(gallery) - itself:
            raise RequestError(
                f"task 'retrieval': ks={self.ks} exceeds the {len(gallery) - itself} images to find in split "
                f"{self.gallery!r} of {self.dataset!r}: lower ks"
            )
        found = [self._scores(ranks) for ranks in partner_ranks(queries, gallery, itself)]
        if not found:
            raise RequestError(f"task 'retrieval': no image of {self.dataset!r} has another of its class to be found")
        scores = {name: torch.cat([block[name] for block in found]) for name in found[0]}
        n = len(scores["map"])
        return {
            "test": {name: float(values.mean()) for name, values in scores.items()},
            "standard_error": {name: float(values.std(correction=0)) / n**0.5 for name, values in scores.items()},
            "classes": len(splits[self.queries].classes),
            "n": {"queries": n, "gallery": len(gallery), "without_partner": len(queries) - n},
        }

    def picture(self, encoder: FrozenEncoder, splits: Mapping[str, Source]) -> bytes:
        """Ten queries, always the same, each left of its eight nearest, framed green where of its class, else red."""
        queries, gallery, itself = self._features(encoder, splits)
        bank, rows = F.normalize(gallery.features, dim=1), []
        for query in epoch_order(len(queries), seed=0, epoch=0)[:_SHOWN]:
            cosine = bank @ F.normalize(queries.features[query], dim=0)
            if itself:
                cosine[query] = -torch.inf
            nearest = cosine.topk(min(_NEAREST, len(gallery) - itself)).indices.cpu()
            asked = tiles(splits[self.queries], query[None])
            rows.append([*asked, *tiles(splits[self.gallery], nearest, int(queries.labels[query]))])
        return sheet_png(rows)

    def _features(self, encoder: FrozenEncoder, splits: Mapping[str, Source]) -> tuple[Labelled, Labelled, bool]:
        """Queries, gallery, and whether they are one split."""
        sources = pick(splits, self.queries), pick(splits, self.gallery)
        queries = labelled(encoder, sources[0])
        itself = self.queries == self.gallery
        return queries, queries if itself else labelled(encoder, sources[1]), itself

    def _scores(self, ranks: Tensor) -> dict[str, Tensor]:
        """Each metric of each query, (B,) float64, from the ascending ``ranks`` (B, m) of its m partners."""
        recall = {f"recall@{k}": (ranks[:, 0] <= k).double() for k in self.ks}
        precision = {f"precision@{k}": (ranks <= k).sum(1).double() / k for k in self.ks if k > 1}
        at = torch.arange(1, ranks.shape[1] + 1, device=ranks.device)
        return recall | precision | {"map": (at / ranks.double()).mean(1)}


def partner_ranks(queries: Labelled, gallery: Labelled, itself: bool) -> Iterator[Tensor]:
    """Blocks (B, m) int64 of queries of one class: the ranks, from 1, of its m images in the gallery, ascending.

    ``itself``: both are one split, and a query's own row is no image to be found. Queries without a partner have no
    block. Nothing but the partners is sorted, and memory grows with the gallery alone.
    """
    bank = F.normalize(gallery.features, dim=1)
    for label in torch.unique(queries.labels):
        same = gallery.labels == label
        m = int(same.sum()) - itself
        if m < 1:
            continue
        for rows in (queries.labels == label).nonzero()[:, 0].split(_BLOCK):
            cosine = F.normalize(queries.features[rows], dim=1) @ bank.T
            if itself:
                cosine.scatter_(1, rows[:, None], -torch.inf)
            partners = cosine[:, same].sort(1).values[:, int(itself) :].contiguous()
            passed = torch.searchsorted(partners, cosine[:, ~same], right=True)  # partners no nearer than this other
            others = torch.zeros(len(rows), m + 1, dtype=torch.int64, device=rows.device)
            others.scatter_add_(1, passed, torch.ones_like(passed))
            # The j-th best partner stands behind the others that pass m - j + 1 partners or more, and j - 1 partners.
            yield others.flip(1).cumsum(1)[:, :m] + torch.arange(1, m + 1, device=rows.device)
