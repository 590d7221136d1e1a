"""What every awareness is: optional hooks whose defaults are vanilla. No awareness knows any host."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from augaware.errors import RequestError, did_you_mean
from augaware.losses import info_nce
from augaware.spaces import Space
from augaware.views import Omega, Plan, condition

MakeProjector = Callable[[int], nn.Module]


@dataclass(frozen=True)
class Setting:
    """What an awareness is built for: D, the width of y = f(v), and the spaces of the pipeline's parameters."""

    dim: int
    spaces: Mapping[str, Space]

    @property
    def drawn(self) -> tuple[str, ...]:
        """The augmentations: what is drawn, not measured."""
        return tuple(name for name, space in self.spaces.items() if not space.measured)

    @property
    def geometric(self) -> tuple[str, ...]:
        """The augmentations that move pixels and leave their colours."""
        return tuple(name for name in self.drawn if self.spaces[name].geometric)

    def check(
        self, awareness: str, argument: str, names: Iterable[str], drawn: bool = False, empty: bool = True
    ) -> tuple[str, ...]:
        """The names, sorted; one name is a list of one.

        Raises :class:`RequestError` for one that the pipeline does not record, for one that is measured where all have
        to be ``drawn``, and for none where they must not be ``empty``.
        """
        names = tuple(names) if isinstance(names, Iterable) and not isinstance(names, str) else (names,)
        if not all(isinstance(name, str) for name in names):
            raise RequestError(f"awareness {awareness!r}: {argument}={names!r} must be names, such as ['crop', 'flip']")
        chosen = sorted(set(names))
        for name in chosen:
            if name not in self.spaces:
                raise RequestError(
                    f"awareness {awareness!r}: {argument} names {name!r}, which is not in the pipeline; it records: "
                    f"{', '.join(sorted(self.spaces)) or 'nothing'}{did_you_mean(name, self.spaces)}"
                )
        accepted = self.drawn if drawn else self.spaces
        measured = [name for name in chosen if name not in accepted]
        if measured or not (chosen or empty):
            what = f"holds {measured[0]!r}, which is measured, not drawn" if measured else "is empty"
            raise RequestError(
                f"awareness {awareness!r}: {argument} {what}; accepted: {', '.join(accepted) or 'nothing'}"
            )
        return tuple(chosen)


@dataclass(frozen=True)
class Embedding:
    """What the network made of one view: ``omega``, features y = f(v) (B, D) and embedding z = g(y, omega) (B, d).

    z is (B, 0) for a view that an awareness added and did not want projected.
    """

    omega: Omega
    y: Tensor
    z: Tensor


Views = Mapping[int, Embedding]  # view number, from 0 -> what a network made of it


def first_two(online: Views, target: Views) -> tuple[Embedding, Embedding]:
    """The host's first two views, each as the online network made it, or as the target did where that alone did."""
    one, two = (online.get(number) or target[number] for number in (0, 1))
    return one, two


@dataclass(frozen=True)
class Extra:
    """An extra loss L with its weight lam; ``nothing`` is L of a prediction that looks at nothing, where there is one.

    Training must bring L clearly below ``nothing``.
    """

    lam: float
    loss: Tensor
    nothing: Tensor | None = None


class Projector(nn.Module):
    """z = g(y): the projector of a host, which ignores omega."""

    def __init__(self, g: nn.Module) -> None:
        super().__init__()
        self.g = g

    def forward(self, y: Tensor, omega: Omega) -> Tensor:
        """y (B, D) -> z (B, d)."""
        z: Tensor = self.g(y)
        return z


class HostLoss(Protocol):
    """L_host of chosen views, for :meth:`Awareness.pair`."""

    def __call__(self, views: Sequence[int] | None = None, branch: int = 0, foils: Sequence[int] = ()) -> Tensor:
        """L_host as if ``views`` were all there are; None is the recipe's own.

        ``branch``: which of the awareness' ``branches``; its host (with queue, predictor, prototypes) reads that part
        of z and remembers what it saw first in a step. ``foils``: views that repel, of the same images (contrastive
        hosts).
        """


class Told(nn.Module):
    """What a network is told of a view: the encoded omega of ``names``, alphabetical, ``numbers`` of them."""

    def __init__(self, names: Iterable[str], spaces: Mapping[str, Space]) -> None:
        super().__init__()
        self.names, self.spaces = tuple(names), spaces
        self.numbers = sum(spaces[name].inputs for name in self.names)

    def forward(self, omega: Omega) -> Tensor:
        """omega -> (B, numbers)."""
        return condition(omega, self.spaces, self.names)


class Branches(nn.Module):
    """z = [h_0(y), h_1(y), ...]: a projector for each branch of z; where y has ``parts``, one for each of its own."""

    def __init__(self, heads: Iterable[nn.Module], parts: bool = False) -> None:
        super().__init__()
        self.heads, self.parts = nn.ModuleList(heads), parts

    def forward(self, y: Tensor, omega: Omega) -> Tensor:
        """y (B, D) -> z (B, branches d)."""
        ys = y.chunk(len(self.heads), dim=1) if self.parts else [y] * len(self.heads)
        return torch.cat([head(part) for head, part in zip(self.heads, ys, strict=True)], dim=1)


class Awareness(nn.Module, ABC):
    """One way of using omega, built as ``NAME(setting, ...)``. Override the hooks that the method changes.

    At most one awareness of an objective may override each of ``encoder``, ``projector``, ``pair`` and ``score``;
    ``plan`` and ``losses`` compose.

    ``branches`` is how many embeddings z holds, side by side, each with a copy of the host of its own (:meth:`pair`);
    ``resting``: in a step some of them are not trained.
    ``needs_negatives``: the method means nothing without negatives. ``compares``: names whose omega must differ between
    the host's views, or there is nothing to learn. ``projected``: the views that it adds go through g too. ``reads``:
    names of what it reads of omega (crop brings flip along); what is measured in the pixels is measured only where it
    is read. None is all there is. ``own``, set by the objective: the numbers of the views that it added.
    """

    branches: int = 1
    resting: bool = False
    needs_negatives: bool = False
    compares: Sequence[str] = ()
    projected: bool = False
    reads: Sequence[str] | None = None
    own: range = range(0)

    @property
    def name(self) -> str:
        """The name of the file that defines the awareness."""
        return type(self).__module__.rpartition(".")[2]

    def encoder(self, spec: str) -> str:
        """f, as the spec of an encoder; ``spec`` is the recipe's."""
        return spec

    def plan(self, plan: Plan) -> Plan:
        """Which views are made, anew for each step: change those there are, add others at the end.

        What it draws it draws from torch's random state, which is that of the step.
        """
        return plan

    def projector(self, make: MakeProjector, dim: int) -> nn.Module:
        """g, called as g(y, omega); ``make(d_in)`` gives a fresh projector of the host, ``dim`` is D."""
        return Projector(make(dim))

    def pair(self, loss: HostLoss) -> Tensor:
        """L_host: which views attract each other, in which branch of z."""
        return loss()

    def score(self, positive: Tensor, negatives: Tensor, temperature: float) -> Tensor:
        """The loss of positives (N,) against negatives (N, K), cosines, in the place of a host's InfoNCE.

        A negative of -inf is none.
        """
        return info_nce(positive, negatives, temperature)

    def losses(self, online: Views, target: Views) -> dict[str, Extra]:
        """Named extra losses. ``online`` and ``target`` hold the views that the host encodes by either network."""
        return {}

    def when_told(self, g: nn.Module, plain: Embedding, view: Embedding, omega: Omega) -> tuple[Tensor, Tensor] | None:
        """What the method makes of ``view`` when told that ``omega`` made it, and what that should equal, (B, d) each.

        ``plain`` is the image as it is, ``g`` the projector. For analyses; None for a method that is told nothing.
        """
        return None
