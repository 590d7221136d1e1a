"""Views that chosen augmentations made: each alone, always applied, at any strength; or all as in training."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from augaware import lookup
from augaware.augment.base import Augmentation
from augaware.augment.pipeline import Pipeline
from augaware.data.base import ImageBatch, Source, collate
from augaware.data.centre import whole
from augaware.random import Draws
from augaware.spaces import Interval
from augaware.views import View

LOOKING = -2  # the "epoch" of these views: no training draws them
TRIES = 256  # draws until an augmentation is applied; one that is drawn in two of a hundred views is found


class Alone:
    """The augmentations ``augment`` (specs), and after them those of the library that these do not name and that act on
    images of as many channels.

    One that is never applied, such as solarize(p=0), counts as not named. What is looked at is the central square of an
    image, whole: the identity of every augmentation is that square, resized to ``size``. ``names`` in the order in
    which they act, ``specs`` how each was built, ``own`` those of them that ``augment`` applies, ``gradual`` those that
    have a strength. One of yours, ``my_lab.dim()``, has the name of its file, ``dim``.
    """

    def __init__(self, augment: Sequence[str], size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        built = [(lookup.build("augment", spec, size), spec) for spec in augment]
        given = {a.name: spec for a, spec in built if _acts(a)}
        channels = None, len(tuple(mean))
        others = [
            n for n in lookup.names("augment") if n not in given and lookup.load("augment", n).channels in channels
        ]
        self.specs = (
            *(["crop"] if "crop" in others else []),
            *given.values(),
            *(name for name in others if name != "crop"),
        )
        self.pipeline = Pipeline.from_specs(self.specs, size, mean, std)
        self.own = tuple(given)

    @property
    def names(self) -> tuple[str, ...]:
        """All augmentations."""
        return tuple(a.name for a in self.pipeline.augmentations)

    @property
    def gradual(self) -> tuple[str, ...]:
        """Those that can be done by half: omega is real."""
        return tuple(a.name for a in self.pipeline.augmentations if isinstance(a.space, Interval))

    def view(
        self,
        squares: ImageBatch,
        names: Collection[str],
        seed: int,
        number: int = 0,
        strength: float = 1.0,
        always: bool = True,
    ) -> View:
        """View ``number`` of :func:`squares` by the augmentations ``names``, the others at their identity.

        ``always``: each is applied in every view, whatever its p; else as often as in training. ``strength`` in
        [0, 1]: how far omega goes from the identity to what was drawn, for those that are ``gradual``. omega holds all
        augmentations, and what was measured.
        """
        omega = {}
        for a in self.pipeline.augmentations:
            identity = torch.tensor([a.identity]).repeat(len(squares), 1)
            drawn = self._drawn(a, squares, seed, number, always) if a.name in names else identity
            omega[a.name] = towards(a, drawn, strength)
        return self.pipeline.apply(squares.images, squares.sizes, omega)

    def _drawn(self, a: Augmentation, squares: ImageBatch, seed: int, number: int, always: bool) -> Tensor:
        """omega of one augmentation as training would draw it; ``always``: drawn again where it is not applied."""
        identity, found = torch.tensor(a.identity), torch.empty(0)
        for again in range(TRIES if always else 1):
            draws = Draws.of(seed, LOOKING, squares.index, number + 2 * again)
            omega = a.sample(draws.stream(a.name), squares.sizes)
            found = omega if not again else torch.where((found == identity).all(1, keepdim=True), omega, found)
            if bool((found != identity).any(1).all()):
                break
        return found


def _acts(a: Augmentation) -> bool:
    """Whether an augmentation ever does anything; what only a replay reads of omega does nothing."""
    draws = Draws.of(0, LOOKING, torch.arange(4096), 0).stream(a.name)
    changed = a.sample(draws, torch.full((4096, 2), 64)) != torch.tensor(a.identity)
    return bool(changed[:, : a.space.d if isinstance(a.space, Interval) else 1].any())


def towards(a: Augmentation, omega: Tensor, strength: float) -> Tensor:
    """omega (B, columns) at ``strength`` of its way from the identity; unchanged where there is no half of it."""
    if not isinstance(a.space, Interval) or strength == 1:
        return omega
    d = a.space.d
    identity = omega.new_tensor(a.identity)[:d]
    return torch.cat((identity + strength * (omega[:, :d] - identity), omega[:, d:]), dim=1)


def squares(source: Source, index: Tensor) -> ImageBatch:
    """The central square of each image ``index`` (B,), at its own resolution."""
    batch = whole(source.batch(index), source, index)
    cut = []
    for image in batch.cut():
        height, width = image.shape[1:]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        cut.append(image[:, top : top + side, left : left + side])
    return collate(cut, index)
