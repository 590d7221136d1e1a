"""What every host is: a projector's shape and a pure loss over embeddings. No host knows any awareness."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn


class Host(nn.Module, ABC):
    """One self-supervised method, built as ``NAME(dim, ...)`` with ``dim`` the width D of the features y = f(v).

    ``momentum`` is the EMA coefficient m of the target network, None for hosts without one.
    """

    momentum: float | None = None

    @abstractmethod
    def projector(self, d_in: int) -> nn.Module:
        """A fresh projector g for inputs of width ``d_in``: D, or more where an awareness adds to y."""

    @abstractmethod
    def loss(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        """L_host, a scalar: pure, of one embedding (B, d) per view.

        ``online`` are z_i = g(f(v_i)); ``target`` those of the EMA target, without gradient, empty when ``momentum``
        is None.
        """
