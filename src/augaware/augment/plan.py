"""The plan of views: how many, how large, and where one differs from the others, as the recipe writes it
(:mod:`augaware.augment.written`).

An awareness may plan more views than the recipe, or change what the recipe's have in common (:class:`ViewPlan`);
:class:`Camera` takes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from augaware.augment.base import Augmentation
from augaware.augment.engine.fused import failure, warm
from augaware.augment.pipeline import Pipeline
from augaware.augment.written import Written, changed, laws
from augaware.errors import RequestError
from augaware.ragged import Ragged
from augaware.random import Draws
from augaware.spaces import Space, known_spaces
from augaware.threads import one_thread
from augaware.views import Plan, View, ViewPlan


class Planned(Written, Protocol):
    """What a plan needs of a recipe."""

    @property
    def mean(self) -> Sequence[float]: ...  # noqa: D102
    @property
    def std(self) -> Sequence[float]: ...  # noqa: D102
    @property
    def engine(self) -> str: ...  # noqa: D102


class Stating(Planned, Protocol):
    """A recipe that says what its data knows of each photograph too."""

    @property
    def known(self) -> Sequence[str]: ...  # noqa: D102


class Photographs(Protocol):
    """One photograph of each thing of a batch, their sizes (B, 2) and what is known of each, name -> (B, columns)."""

    @property
    def images(self) -> Tensor | Ragged: ...  # noqa: D102
    @property
    def sizes(self) -> Tensor: ...  # noqa: D102
    @property
    def omega(self) -> Mapping[str, Tensor]: ...  # noqa: D102


@dataclass(frozen=True)
class Shot:
    """The :class:`Photographs` of things that have one each."""

    images: Tensor | Ragged
    sizes: Tensor
    omega: Mapping[str, Tensor]


def pipelines(recipe: Planned) -> list[Pipeline]:
    """One pipeline per view of the recipe, in order. Raises :class:`RequestError` for a plan that cannot be."""
    return Camera(recipe).pipelines


def recorded(recipe: Stating) -> Mapping[str, Space]:
    """Name -> space of all that omega of the recipe's views can hold: drawn, measured, known of the photograph."""
    made, known = pipelines(recipe)[0].spaces, known_spaces(recipe.known)
    for name in sorted(set(made) & set(known)):
        raise RequestError(f"data {recipe.known}: {name!r} is what an augmentation records; give it another name")
    return {**made, **known}


class Camera:
    """Takes the views of a plan: draw omega for each view, bring it in line with the plan, apply it.

    The draws of view ``number`` depend on (seed, epoch, index, number) alone, whatever else is planned. ``pinned``:
    as in :class:`Pipeline`.
    """

    def __init__(self, recipe: Planned, pinned: bool = False) -> None:
        self.pinned = pinned
        self.mean, self.std, self.engine, self.laws = recipe.mean, recipe.std, recipe.engine, laws(recipe)
        made = {law: self._pipeline(*law) for law in self.laws}
        self.pipelines = [made[law] for law in self.laws]
        self._made: dict[tuple[int, int | None, tuple[str, ...]], Pipeline] = {}

    def pipeline(self, view: ViewPlan) -> Pipeline:
        """The pipeline of a planned view."""
        if view.size is None and not view.change:
            return self.pipelines[view.law]
        key = view.law, view.size, view.change
        if key not in self._made:
            specs, size = self.laws[view.law]
            specs = changed(specs, view.change, "an awareness", add=True)
            self._made[key] = self._pipeline(specs, view.size or size)
        return self._made[key]

    def _pipeline(self, specs: Sequence[str], size: int) -> Pipeline:
        return Pipeline.from_specs(specs, size, self.mean, self.std, self.engine, self.pinned)

    def check_acting(self, channels: int) -> None:
        """Raise :class:`RequestError` for an augmentation that cannot act on images of so many ``channels``."""
        for pipeline in self.pipelines:
            pipeline.check_acting(channels)

    def check(self, plan: Plan, batch_size: int) -> None:
        """Raise :class:`RequestError` for a plan that cannot be: what is named but not there, ties that do not fit."""
        names = [[a.name for a in self.pipeline(view).augmentations] for view in plan]
        for number, view in enumerate(plan):
            for name in sorted({*view.share, *view.tie, *(view.only or ())}):
                if name not in names[number]:
                    raise RequestError(
                        f"aware: a view is planned by {name!r}, which is not in the pipeline "
                        f"({', '.join(names[number])}); add it to augment"
                    )
            for name, other in view.share.items():
                if not 0 <= other < number or name not in names[other]:
                    raise RequestError(
                        f"aware: view {number + 1} cannot have the {name!r} of view {other + 1}; "
                        f"it can share with an earlier view that has it"
                    )
            for name in sorted(set(view.given) & set(names[number])):
                raise RequestError(f"aware: a view is given {name!r}, which its pipeline draws; use another name")
        together = math.lcm(*(images for view in plan for images in view.tie.values()))
        if batch_size % together:
            raise RequestError(
                f"batch_size={batch_size} is no multiple of the {together} images that share parameters; "
                f"use --batch-size {max(1, round(batch_size / together)) * together}"
            )

    @property
    def fused(self) -> bool:
        """Whether the fused engine makes the views, on the CPU."""
        return failure() is None and all(pipeline.fused for pipeline in self.pipelines)

    def warm(self) -> Future[str | None] | None:
        """Begin to compile what makes the views, beside other work: why that failed, or None.

        None at once where there is nothing to compile.
        """
        return warm() if any(pipeline.fused for pipeline in self.pipelines) else None

    def draw(
        self, plan: Plan, sizes: Tensor | Sequence[Tensor], index: Tensor, seed: int, epoch: int
    ) -> list[dict[str, Tensor]]:
        """The omega of each view of a batch, in line with the plan; ``sizes`` (B, 2) of all views, or of each."""
        pipelines = [self.pipeline(planned) for planned in plan]
        drawn = _drawn(pipelines, [sizes] * len(plan) if isinstance(sizes, Tensor) else sizes, index, seed, epoch)
        for planned, pipeline, omega in zip(plan, pipelines, drawn, strict=True):
            for a in pipeline.augmentations:
                omega[a.name] = _planned(planned, a, omega[a.name], drawn)
        return drawn

    def take(
        self,
        plan: Plan,
        pixels: Tensor | Ragged,
        sizes: Tensor,
        index: Tensor,
        seed: int,
        epoch: int,
        photographs: Sequence[Photographs] = (),
    ) -> list[View]:
        """The views of a batch, in the plan's order; arguments as in :meth:`Pipeline.view`.

        ``photographs``, where each thing has several, stand for ``pixels`` and ``sizes``: a view by law n is of number
        n, in turn, and what is known of that one is in its omega.
        """
        return self.begin(plan, pixels, sizes, index, seed, epoch, photographs)()

    def begin(
        self,
        plan: Plan,
        pixels: Tensor | Ragged,
        sizes: Tensor,
        index: Tensor,
        seed: int,
        epoch: int,
        photographs: Sequence[Photographs] = (),
    ) -> Callable[[], list[View]]:
        """:meth:`take`, begun: with more than one thread others are at work on it, and the call waits for them.

        Who begins the next batch before it waits for this one keeps all cores busy while the next is drawn.
        """
        several = photographs or (Shot(pixels, sizes, {}),)
        shots = [several[planned.law % len(several)] for planned in plan]
        drawn = self.draw(plan, [shot.sizes for shot in shots], index, seed, epoch)
        begun = [
            self.pipeline(planned).begin(shot.images, shot.sizes, omega, planned.measure)
            for planned, shot, omega in zip(plan, shots, drawn, strict=True)
        ]
        return lambda: [_taken(p, wait(), shot.omega) for p, wait, shot in zip(plan, begun, shots, strict=True)]


def _planned(planned: ViewPlan, a: Augmentation, omega: Tensor, drawn: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """``omega`` of one augmentation in line with the plan; ``drawn`` is that of all views, earlier ones in line."""
    if planned.only is not None and a.name not in planned.only:
        omega = omega.new_tensor(a.identity).expand_as(omega).contiguous()
    if a.name in planned.tie:
        rows = torch.arange(len(omega))
        omega = omega[rows - rows % planned.tie[a.name]]
    if a.name in planned.share:
        omega = drawn[planned.share[a.name]][a.name]
    return omega


def _taken(planned: ViewPlan, view: View, known: Mapping[str, Tensor]) -> View:
    """``view`` with what is known of its photograph and what the plan gives it."""
    told = {key: w.to(view.image.device, non_blocking=True) for key, w in known.items()}
    told |= {
        key: torch.tensor(row, device=view.image.device).repeat(len(view), 1) for key, row in planned.given.items()
    }
    return View(view.image, view.omega | told)


def _drawn(
    pipelines: Sequence[Pipeline], sizes: Sequence[Tensor], index: Tensor, seed: int, epoch: int
) -> list[dict[str, Tensor]]:
    """The omega of each view as its pipeline draws it: all views of one together, which costs little more than one."""
    found: dict[int, dict[str, Tensor]] = {}
    with one_thread():
        for pipeline in dict.fromkeys(pipelines):
            numbers = [number for number, other in enumerate(pipelines) if other is pipeline]
            draws = Draws.together([Draws.of(seed, epoch, index, number) for number in numbers])
            omega = pipeline.sample(draws, torch.cat([sizes[number] for number in numbers]))
            for place, number in enumerate(numbers):
                found[number] = {name: w[place * len(index) :][: len(index)] for name, w in omega.items()}
    return [found[number] for number in range(len(pipelines))]
