"""What every host is: a projector's shape and a pure loss over embeddings. No host knows any awareness."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from augaware.losses import Score, info_nce


@dataclass(frozen=True)
class HostSetting:
    """What a host is built for: D, the width of y = f(v), and the number of classes where the images have labels."""

    dim: int
    classes: int | None = None


@dataclass(frozen=True)
class Moment:
    """Where a training stands before step ``step``, from 0, of ``steps``, ``per_epoch`` of them an epoch."""

    step: int
    steps: int
    per_epoch: int

    @property
    def progress(self) -> float:
        """The part of the training that is done, in [0, 1]."""
        return min(self.step / self.steps, 1.0)

    @property
    def epoch(self) -> float:
        """Epochs done."""
        return self.step / self.per_epoch


class Host(nn.Module, ABC):
    """One self-supervised method, built as ``NAME(setting, ...)``.

    What is trained beside f and g (a predictor, prototypes) and what is remembered between steps (a queue, a centre)
    are the host's own parameters and buffers.

    The class states which views it reads. ``online`` and ``target`` select those that go through the online network and
    through its EMA target; ``momentum`` is the target's coefficient m, None for hosts without a target; it rises to
    ``momentum_end``, where there is one, as half a cosine over the steps.
    ``multi_crop`` hosts take any number of views, the others two. ``needs_labels`` hosts compare with labels instead.
    """

    momentum: float | None = None
    momentum_end: float | None = None
    online: slice = slice(None)
    target: slice = slice(None)
    multi_crop: bool = False
    needs_labels: bool = False

    @property
    def name(self) -> str:
        """The name of the file that defines the host."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def projector(self, d_in: int) -> nn.Module:
        """A fresh projector g for inputs of width ``d_in``: D, or more where an awareness adds to y."""

    @abstractmethod
    def loss(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        """L_host, a scalar: pure, of one embedding (B, d) per view that the host reads.

        ``online`` are z_i = g(f(v_i)), in float32; ``target`` those of the EMA target, without gradient, empty for
        hosts without one, or the labels (B,) as its only entry for hosts that need them. With several processes these
        are this process's rows, and the mean of the processes' losses is the loss of the whole batch
        (:mod:`augaware.distributed`).
        """

    def momentum_at(self, now: Moment) -> float | None:
        """m of the EMA update that follows step ``now``."""
        if self.momentum is None or self.momentum_end is None:
            return self.momentum
        return cosine(self.momentum, self.momentum_end, now.progress)

    def before_step(self, now: Moment) -> None:
        """Prepare for a step: schedules, constraints on the host's own parameters."""

    def after_backward(self, now: Moment, g: nn.Module) -> None:
        """Last word on the gradients of the host's own parameters and of the online projector ``g``."""

    def after_step(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> None:
        """Remember the embeddings of the step, without gradient: a queue, a centre."""

    def constant_rate(self) -> Sequence[nn.Module]:
        """Parts whose learning rate is not scheduled."""
        return ()


class ContrastiveHost(Host):
    """A host with negatives.

    ``score`` is how it weighs positives against negatives, which an awareness may change (IFM, HCL).
    """

    score: Score = staticmethod(info_nce)

    @abstractmethod
    def loss(self, online: Sequence[Tensor], target: Sequence[Tensor], foils: Sequence[Tensor] = ()) -> Tensor:
        """As in :class:`Host`; ``foils`` are embeddings (B, d) of the same images that repel too (LooC)."""


def cosine(start: float, end: float, progress: float) -> float:
    """Half a cosine from ``start`` to ``end``."""
    return end - (end - start) * (math.cos(math.pi * progress) + 1) / 2
