"""A view, how it was planned, and the one place where crop's omega meets flip.

A horizontal flip mirrors the image, and with it the place where the crop was taken from. The two papers handle this
differently, and both ways are here and nowhere else:

* CASSLE conditions each view on its own omega: x_c is mirrored where **this** view is flipped (:func:`condition`).
* AugSelf predicts the difference of the ordered pair 1 -> 2 as seen in the **first** view: both centres are mirrored
  where view 1 is flipped (:func:`difference`). So x_diff(2->1) = -x_diff(1->2) only where both views agree on the flip.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from augaware.errors import RequestError
from augaware.spaces import Space

X_CENTRE = 1  # column of crop's omega (y_c, x_c, h, w)


class View:
    """A batch of images and the parameters that made it.

    ``image`` (B, C, H, W) float; ``omega`` name -> (B, columns) float, units as documented by each augmentation.
    No dataclass: Fabric rounds the tensors inside one to bfloat16 on their way into a network, omega too.
    """

    def __init__(self, image: Tensor, omega: dict[str, Tensor]) -> None:
        self.image, self.omega = image, omega

    def __len__(self) -> int:
        return len(self.image)


Omega = Mapping[str, Tensor]


class Shown(Protocol):
    """What a loss reads of a view: a :class:`View` has it, and so does what a DataLoader of anybody's makes of one."""

    @property
    def image(self) -> Tensor: ...  # noqa: D102
    @property
    def omega(self) -> Omega: ...  # noqa: D102


@dataclass(frozen=True)
class ViewPlan:
    """One view to be made. A plan is a sequence of these: first the recipe's own, then what an awareness adds.

    ``law`` is the number of the recipe's view whose augmentations and size it has, but for ``size`` (pixels) and
    ``change`` (specs in the place of their namesakes; new names come last). ``role`` is the number of the recipe's view
    that the host would take it for, and which networks encode it with that; None is the online network alone.

    ``only`` names the augmentations that act, None is all of them, () is the whole image as it is. ``share`` names
    augmentations that take their omega from an earlier view, whether or not they are among those; ``tie`` those that
    have one omega for each so many consecutive images of a batch. ``given`` is omega that no augmentation draws, one
    row for the whole batch. ``measure`` names what is measured in the pixels, None is all there is; the objective says
    so, who knows what is read.
    """

    law: int
    role: int | None = None
    size: int | None = None
    change: tuple[str, ...] = ()
    only: frozenset[str] | None = None
    share: Mapping[str, int] = field(default_factory=dict)
    tie: Mapping[str, int] = field(default_factory=dict)
    given: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    measure: frozenset[str] | None = None

    def __post_init__(self) -> None:
        for name in sorted(set(self.share) & set(self.tie)):
            raise RequestError(
                f"aware: {name!r} of a view is to be shared with view {self.share[name] + 1} and tied between "
                f"{self.tie[name]} images at once; keep one of the two"
            )


Plan = tuple[ViewPlan, ...]


def plain_plan(count: int) -> Plan:
    """The recipe's own ``count`` views."""
    return tuple(ViewPlan(number, number) for number in range(count))


def _mirrored(crop: Tensor, flip: Tensor | None) -> Tensor:
    """crop (B, 4) with x_c -> 1 - x_c where ``flip`` (B, 1) is set; unchanged in a pipeline without flips."""
    if flip is None:
        return crop
    mirrored = crop.clone()
    mirrored[:, X_CENTRE] = torch.where(flip[:, 0] > 0.5, 1 - crop[:, X_CENTRE], crop[:, X_CENTRE])
    return mirrored


def condition(omega: Omega, spaces: Mapping[str, Space], names: Iterable[str]) -> Tensor:
    """What CASSLE tells the projector: the encoded omega of ``names``, alphabetical, (B, sum of inputs)."""
    parts = []
    for name in sorted(names):
        value = _mirrored(omega[name], omega.get("flip")) if name == "crop" else omega[name]
        parts.append(spaces[name].encode(value))
    return torch.cat(parts, dim=1)


def difference(omega_1: Omega, omega_2: Omega, spaces: Mapping[str, Space], name: str, mirror: str = "first") -> Tensor:
    """What AugSelf predicts: omega_diff of augmentation ``name`` for the ordered pair 1 -> 2.

    ``mirror``: crop's centres are mirrored both by the ``"first"`` view's flip (AugSelf), or each by its ``"own"``.
    """
    w1, w2 = omega_1[name], omega_2[name]
    if name == "crop":
        flip_1, flip_2 = omega_1.get("flip"), omega_2.get("flip")
        w1, w2 = _mirrored(w1, flip_1), _mirrored(w2, flip_1 if mirror == "first" else flip_2)
    return spaces[name].difference(w1, w2)
