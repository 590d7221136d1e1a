"""Spaces: where one augmentation's omega lives.

A space decides omega_diff, the loss L_aug of AugSelf and what CASSLE's gamma reads, so that no other file asks for an
augmentation's name (AugSelf, Lee et al. 2021, section 3; CASSLE, Przewiezlikowski et al. 2023, section 3).

=============  ====================  =====================  =====================
space          omega^aug             omega_diff             L_aug
=============  ====================  =====================  =====================
Interval(d)    d real numbers        w1 - w2                MSE(tanh(p), w_diff)
Binary()       0 or 1                1 if w1 = w2 else 0    BCE with logits
Cyclic(n)      integers mod n        (w1 - w2) mod n        cross-entropy
=============  ====================  =====================  =====================

omega is a (B, columns) float tensor. Columns past the space's own width are what a replay of the view needs beyond
omega^aug (the order of the four jitter operations); no awareness sees them.

What is known of a photograph, the angle of the camera, is omega too (:mod:`augaware.data.paired`). A recipe says its
spaces as text, ``"angle = interval(1, reach=2.5)"``: :func:`known_spaces` reads it, :func:`stated` writes it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from augaware import lookup
from augaware.errors import RequestError


class Space(ABC):
    """Where omega^aug lives: its difference, its loss and its form as an input of a network.

    ``measured``: omega is read off the pixels, or known of the photograph; not drawn. ``geometric``: it says where
    pixels go, not what they become.
    """

    measured: bool = False
    geometric: bool = False

    @property
    def columns(self) -> int:
        """Width of omega^aug."""
        return 1

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Width of the prediction that :meth:`loss` takes."""

    @property
    @abstractmethod
    def inputs(self) -> int:
        """Width of what :meth:`encode` returns."""

    @abstractmethod
    def encode(self, omega: Tensor) -> Tensor:
        """omega (B, columns) as numbers for a network, (B, inputs)."""

    @abstractmethod
    def difference(self, omega_1: Tensor, omega_2: Tensor) -> Tensor:
        """omega_diff of the ordered pair 1 -> 2, from two (B, columns)."""

    def scaled(self, difference: Tensor) -> Tensor:
        """What :meth:`difference` returned, within reach of a prediction: divided by its largest value."""
        return difference

    @abstractmethod
    def loss(self, prediction: Tensor, difference: Tensor) -> Tensor:
        """L_aug, a scalar, of (B, outputs) against what :meth:`difference` or :meth:`scaled` returned."""


@dataclass(frozen=True)
class Interval(Space):
    """d real numbers in documented units; ``reach`` is the largest |w1 - w2| that its augmentation makes.

    ``names``: what people call each number; () where one has no need to.
    """

    d: int = 1
    reach: float = 1.0
    measured: bool = False
    geometric: bool = False
    names: tuple[str, ...] = ()

    @property
    def columns(self) -> int:
        """One number per dimension."""
        return self.d

    @property
    def outputs(self) -> int:
        """One number per dimension."""
        return self.d

    @property
    def inputs(self) -> int:
        """One number per dimension."""
        return self.d

    def encode(self, omega: Tensor) -> Tensor:
        """The numbers themselves, (B, d)."""
        return omega[:, : self.d]

    def difference(self, omega_1: Tensor, omega_2: Tensor) -> Tensor:
        """w1 - w2, (B, d)."""
        return omega_1[:, : self.d] - omega_2[:, : self.d]

    def scaled(self, difference: Tensor) -> Tensor:
        """In [-1, 1], where tanh can follow."""
        return difference / self.reach

    def loss(self, prediction: Tensor, difference: Tensor) -> Tensor:
        """Mean over batch and dimensions of (tanh(p) - w_diff)^2."""
        return F.mse_loss(torch.tanh(prediction), difference)


@dataclass(frozen=True)
class Binary(Space):
    """Applied or not."""

    geometric: bool = False
    measured: bool = False

    @property
    def outputs(self) -> int:
        """One logit."""
        return 1

    @property
    def inputs(self) -> int:
        """The flag."""
        return 1

    def encode(self, omega: Tensor) -> Tensor:
        """The flag, (B, 1)."""
        return omega[:, :1]

    def difference(self, omega_1: Tensor, omega_2: Tensor) -> Tensor:
        """1 where the two flags are equal, (B, 1)."""
        return (omega_1[:, :1] == omega_2[:, :1]).float()

    def loss(self, prediction: Tensor, difference: Tensor) -> Tensor:
        """Binary cross-entropy with logits."""
        return F.binary_cross_entropy_with_logits(prediction, difference)


@dataclass(frozen=True)
class Cyclic(Space):
    """Integers mod n."""

    n: int
    geometric: bool = False
    measured: bool = False

    @property
    def outputs(self) -> int:
        """n logits."""
        return self.n

    @property
    def inputs(self) -> int:
        """A one-hot code."""
        return self.n

    def encode(self, omega: Tensor) -> Tensor:
        """One-hot, (B, n)."""
        return F.one_hot(omega[:, 0].long() % self.n, self.n).float()

    def difference(self, omega_1: Tensor, omega_2: Tensor) -> Tensor:
        """(w1 - w2) mod n, (B,) int64."""
        return (omega_1[:, 0].long() - omega_2[:, 0].long()) % self.n

    def loss(self, prediction: Tensor, difference: Tensor) -> Tensor:
        """Cross-entropy over the n residues."""
        return F.cross_entropy(prediction, difference)


KNOWN = {"interval": Interval, "binary": Binary, "cyclic": Cyclic}
_STATED = re.compile(r"\s*(?P<name>[A-Za-z]\w*)\s*=\s*(?P<space>\w+\(.*\))\s*")


def known_spaces(texts: Iterable[str]) -> dict[str, Space]:
    """Name -> space of what is known of each photograph. Raises :class:`RequestError`."""
    found: dict[str, Space] = {}
    for text in texts:
        match = _STATED.fullmatch(text)
        spec = None if match is None else lookup.parse(match["space"], "known")
        if match is None or spec is None or spec.args or match["name"] in found:
            raise RequestError(f"known: {text!r} does not state a space; as: angle = interval(d=1, reach=2.5)")
        try:
            found[match["name"]] = KNOWN[spec.name](**spec.kwargs, measured=True)
        except (KeyError, TypeError):
            raise RequestError(f"known: {text!r}; accepted: interval(d=1, reach=1.0), binary(), cyclic(n=4)") from None
    return found


def stated(spaces: Mapping[str, Space]) -> tuple[str, ...]:
    """The texts that :func:`known_spaces` reads."""

    def arguments(space: Space) -> str:
        if isinstance(space, Interval):
            return f"d={space.d}, reach={space.reach!r}"
        return f"n={space.n}" if isinstance(space, Cyclic) else ""

    return tuple(f"{name} = {type(space).__name__.lower()}({arguments(space)})" for name, space in spaces.items())
