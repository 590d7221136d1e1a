"""What every augmentation is: a space for its omega, a way to draw it, and a pure function of (x, omega)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from augaware.errors import RequestError
from augaware.random import Draws
from augaware.spaces import Space

A = TypeVar("A", bound="Augmentation")


class Augmentation(ABC):
    """One augmentation. Both ``sample`` and ``apply`` are pure; omega is what passes between them.

    Built as ``NAME(size, ...)`` with ``size`` the side of the views in pixels. ``space`` is where omega^aug lives,
    ``identity`` the omega of "not applied" (there is no second mechanism), one number per column of omega. ``measures``
    names what :meth:`measure` reads off the pixels, with its spaces. ``fused`` names the operation of the fused kernel
    (:mod:`augaware.augment.engine.kernel`) that does what ``apply`` does, with the numbers of :meth:`arguments`; an
    augmentation without one acts in its plain form. ``channels`` is how many it needs; None is any number.
    """

    space: Space
    identity: tuple[float, ...]
    measures: ClassVar[Mapping[str, Space]] = {}
    fused: str | None = None
    channels: int | None = None

    @property
    def name(self) -> str:
        """The name of the file that defines the augmentation."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def sample(self, draws: Draws, sizes: Tensor) -> Tensor:
        """Draw omega, (B, columns), for images of ``sizes`` (B, 2) = height and width in pixels."""

    @abstractmethod
    def apply(self, x: Tensor, omega: Tensor) -> Tensor:
        """Apply to x, (B, C, H, W) float in [0, 1]. With a stored omega this replays the view bit for bit."""

    def arguments(self, omega: Tensor) -> Tensor:
        """What the kernel's operation reads, (B, numbers), of omega (B, columns)."""
        return omega

    def measure(self, before: Tensor, after: Tensor) -> dict[str, Tensor]:
        """Parameters that only the pixels tell, (B, columns) each; empty for most."""
        return {}

    def measured(self, before: Tensor, after: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """What :meth:`measure` reads, where it is among ``names``; not called where nothing is."""
        if not any(name in names for name in self.measures):
            return {}
        return {name: w for name, w in self.measure(before, after).items() if name in names}

    def off(self, draws: Draws, omega: Tensor, p: float) -> Tensor:
        """omega with "not applied" in each row with probability 1 - p."""
        identity = omega.new_tensor(self.identity)
        return torch.where(draws.stream("applied").happens(p), omega, identity)


def where_applied(apply: Callable[[A, Tensor, Tensor], Tensor]) -> Callable[[A, Tensor, Tensor], Tensor]:
    """Run ``apply`` on the rows whose omega is not the identity; the other images stay untouched, and cost nothing."""

    @wraps(apply)
    def applied(self: A, x: Tensor, omega: Tensor) -> Tensor:
        changed = (omega != omega.new_tensor(self.identity)).any(dim=1)
        rows = changed.nonzero()[:, 0]
        if len(rows) == 0:
            return x
        if len(rows) == len(x):
            return apply(self, x, omega)
        return x.index_copy(0, rows, apply(self, x[rows], omega[rows]))

    return applied


def check_probability(name: str, p: float) -> None:
    """Raise :class:`RequestError` unless 0 <= p <= 1."""
    if not isinstance(p, (int, float)) or not 0 <= p <= 1:
        raise RequestError(f"augmentation {name!r}: p={p!r} is not a probability; give a number from 0 to 1")


def check_range(name: str, key: str, value: tuple[float, float], lowest: float, highest: float) -> None:
    """Raise :class:`RequestError` unless ``value`` is (low, high) within [lowest, highest]."""
    numbers = isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(v, (int, float)) for v in value)
    if not numbers or not lowest <= value[0] <= value[1] <= highest or math.isinf(value[1]):
        raise RequestError(
            f"augmentation {name!r}: {key}={value!r} is not a range; "
            f"give (low, high) with {lowest:g} <= low <= high <= {highest:g}"
        )
