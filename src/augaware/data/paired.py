"""Natural views: a source that has several photographs of each thing, and knows what differs between them.

View i of a thing is the recipe's augmentation of its photograph i, and what is known of that photograph (the angle of
the camera, the hour) is part of the view's omega, beside what was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from augaware.data.base import ImageBatch, Skipped, Source
from augaware.data.files import digest
from augaware.errors import RequestError
from augaware.random import Draws
from augaware.reading import Reading
from augaware.spaces import Space, stated


class Paired(Source):
    """N things with k photographs each: number j of thing i is image ``places[i, j]`` (N, k) of ``photographs``.

    ``omega`` is what is known of each, name -> (N, k, columns) float, and ``spaces`` where that lives; ``labels`` (N,)
    and ``classes`` are of things. By itself a thing is its first photograph. A thing of which one cannot be read is
    left out.
    """

    def __init__(
        self,
        name: str,
        photographs: Source,
        places: Tensor,
        omega: Mapping[str, Tensor],
        spaces: Mapping[str, Space],
        labels: Tensor | None = None,
        classes: tuple[str, ...] = (),
    ) -> None:
        self.name, self.photographs, self.places = name, photographs, places
        self.omega, self.spaces, self.labels, self.classes = omega, spaces, labels, classes
        self.names = [photographs.names[i] for i in places[:, 0].tolist()]
        self.factors: dict[str, Tensor] = {}
        self._take_kind()
        known = [(key, stated({key: spaces[key]}), values.tolist()) for key, values in omega.items()]
        self.fingerprint = digest([photographs.fingerprint, places.tolist(), known])

    def _take_kind(self) -> None:
        self.channels, self.dtype, self.notes = (
            getattr(self.photographs, key) for key in ("channels", "dtype", "notes")
        )

    def read_as(self, reading: Reading) -> None:
        """Have the photographs read so from here on."""
        self.photographs.read_as(reading)
        self._take_kind()
        self.fingerprint = digest([self.fingerprint, self.photographs.fingerprint])

    @property
    def skipped(self) -> tuple[Skipped, ...]:  # type: ignore[override]
        """The photographs that cannot be read."""
        return self.photographs.skipped

    def __len__(self) -> int:
        return len(self.places)

    def load(self, index: int) -> Tensor:
        """The first photograph of thing ``index``: (C, H, W), by default RGB, uint8."""
        return self.photographs.load(int(self.places[index, 0]))

    def batch(self, index: Tensor) -> ImageBatch:
        """The photographs of the things ``index`` (B,) int64: the first ones, and the others beside them."""
        asked = self.places[index]
        found = self.photographs.batch(asked.reshape(-1))
        read = torch.isin(asked, found.index)
        rows = (read.reshape(-1).cumsum(0) - 1).view_as(asked)[read.all(1)]
        index = index[read.all(1)]
        first, *others = (
            ImageBatch(found.images[r], found.sizes[r], index, {key: w[index, j] for key, w in self.omega.items()})
            for j, r in enumerate(rows.unbind(1))
        )
        return ImageBatch(first.images, first.sizes, index, first.omega, tuple(others))

    def shuffled(self, seed: int, epoch: int) -> Paired:
        """The photographs of each thing in an order of their own in each epoch, known from (seed, epoch, index).

        So each is seen as every view; a host that encodes its second view by the target alone learns from all.
        """
        draws = Draws.of(seed, epoch, torch.arange(len(self)), 0).stream("photographs")
        order = draws.uniform(self.places.shape[1]).argsort(dim=1, stable=True)
        omega = {key: w.gather(1, order[:, :, None].expand_as(w)) for key, w in self.omega.items()}
        return self._with(places=self.places.gather(1, order), omega=omega)

    def kept(self, photographs: Source) -> Paired:
        """The same things of ``photographs``, which are these in another form; without things of which one is lost."""
        number = {name: i for i, name in enumerate(photographs.names)}
        moved = torch.tensor([number.get(name, -1) for name in self.photographs.names], dtype=torch.int64)
        places = moved[self.places]
        whole = (places >= 0).all(1)
        if not whole.any():
            lost = photographs.skipped[0]
            raise RequestError(f"data {self.name!r}: nothing has all of its photographs; {lost.name}: {lost.reason}")
        omega = {key: w[whole] for key, w in self.omega.items()}
        labels = None if self.labels is None else self.labels[whole]
        return self._with(photographs=photographs, places=places[whole], omega=omega, labels=labels)

    def _with(self, **changed: Any) -> Paired:
        parts = {key: getattr(self, key) for key in ("photographs", "places", "omega", "spaces", "labels", "classes")}
        return Paired(self.name, **{**parts, **changed})


def check_known(source: Source, known: Sequence[str]) -> None:
    """Raise :class:`RequestError` unless ``source`` knows of each photograph what the recipe was made for."""
    found = stated(source.spaces)
    if found != tuple(known):
        raise RequestError(
            f"data {source.name!r} knows {', '.join(found) or 'nothing'} of each photograph, and the recipe was made "
            f"for {', '.join(known) or 'nothing'}; start a new run with it"
        )
