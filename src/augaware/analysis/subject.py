"""Whom an analysis questions: a frozen encoder, its objective where it is of ours, and what it is shown."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from augaware.analysis.alone import Alone, squares
from augaware.awareness.base import Embedding
from augaware.data.base import ImageBatch, Source
from augaware.errors import RequestError
from augaware.nets.base import evaluating
from augaware.objective import Objective
from augaware.random import epoch_order, seeded
from augaware.spaces import Space
from augaware.tasks.base import FrozenEncoder
from augaware.tasks.features import device_of
from augaware.views import View

BATCH = 128


def ends(e: Embedding) -> dict[str, Tensor]:
    """Stage -> y, and z where there is one."""
    return {"y": e.y, "z": e.z} if e.z.shape[1] else {"y": e.y}


@dataclass
class Subject:
    """An encoder and the images and augmentations that it is questioned with.

    ``images``: ``count`` of them are looked at, or all, chosen by ``seed``; ``alone`` makes their views, for this
    encoder's input. ``objective``: all that a run of ours trained, with f as in ``encoder``; None for other encoders.
    ``references``: others that the same is asked of, by name. ``known``: what the run's data knew of its photographs;
    of these images it is not known, and they are said to have 0, the mean where it is standardised. Everything runs in
    eval mode.
    """

    encoder: FrozenEncoder
    images: Source
    alone: Alone
    count: int = 1000
    seed: int = 0
    objective: Objective | None = None
    references: Mapping[str, Subject] = field(default_factory=dict)
    known: Mapping[str, Space] = field(default_factory=dict)
    _seen: dict[object, Embedding] = field(default_factory=dict)

    @property
    def index(self) -> Tensor:
        """The images that are looked at, (n,) int64."""
        return epoch_order(len(self.images), self.seed, 0)[: self.count]

    @property
    def device(self) -> torch.device:
        """Where the encoder is."""
        return device_of(self.encoder)

    @property
    def factors(self) -> dict[str, Tensor]:
        """The known causes of the images that are looked at: name -> (n,) or (n, k); the label is ``"class"``."""
        found = {name: values[self.index] for name, values in self.images.factors.items()}
        if self.images.labels is not None and not found and len(self.images.classes) > 1:
            found["class"] = self.images.labels[self.index]
        return found

    def batches(self) -> Iterator[ImageBatch]:
        """The central squares of the images, as they lie on the disk."""
        for index in torch.split(self.index, BATCH):
            yield squares(self.images, index)

    def views(
        self, names: Collection[str] = (), number: int = 0, strength: float = 1.0, always: bool = True
    ) -> Iterator[View]:
        """Views of all images, in batches, on the encoder's device: as :meth:`Alone.view`, which see.

        No ``names``: the plain images.
        """
        for batch in self.batches():
            view = self.alone.view(batch.to(self.device), names, self.seed, number, strength, always)
            unknown = {name: view.image.new_zeros(len(view), space.columns) for name, space in self.known.items()}
            yield View(view.image, {**view.omega, **unknown})

    def embed(
        self, names: Collection[str] = (), number: int = 0, strength: float = 1.0, always: bool = True
    ) -> Embedding:
        """omega, y = f(v) (n, D) and z = g(y, omega) (n, d) of :meth:`views`, float32 on the CPU; made once.

        z is (n, 0) for an encoder without an objective.
        """
        key = frozenset(names), number, strength, always
        if key not in self._seen:
            with evaluating(self.encoder), torch.inference_mode():
                parts = [self.embedded(view) for view in self.views(names, number, strength, always)]
            self.remember(parts, names, number, strength, always)
        return self._seen[key]

    def remember(
        self,
        parts: Sequence[Embedding],
        names: Collection[str] = (),
        number: int = 0,
        strength: float = 1.0,
        always: bool = True,
    ) -> None:
        """What :meth:`embed` is to return of these views: all batches, in order, of :meth:`embedded`."""
        omega = {name: torch.cat([part.omega[name] for part in parts]).cpu() for name in parts[0].omega}
        seen = Embedding(omega, torch.cat([p.y for p in parts]).cpu(), torch.cat([p.z for p in parts]).cpu())
        broken = int((~seen.y.isfinite()).any(1).sum())
        if broken:
            raise RequestError(
                f"encoder {self.encoder.name!r} gives NaN or infinity on {broken} of {len(seen.y)} images of "
                f"{self.images.name!r}: its training diverged; take an earlier checkpoint"
            )
        self._seen[frozenset(names), number, strength, always] = seen

    def embedded(self, view: View) -> Embedding:
        """One batch of :meth:`embed`, on the encoder's device; the caller sees to eval mode."""
        y = self.encoder(view.image.contiguous(memory_format=torch.channels_last)).float()
        return Embedding(view.omega, y, self.project(y, view.omega))

    def project(self, y: Tensor, omega: Mapping[str, Tensor]) -> Tensor:
        """z = g(y, omega), (B, d) float32; (B, 0) for an encoder without an objective."""
        if self.objective is None:
            return y[:, :0]
        g = self.objective.online.g
        with evaluating(g), torch.inference_mode(), seeded(y.device, self.seed):  # "random" reads noise
            z: Tensor = g(y, omega)
        return z.float()
