"""What a step is fed with: the images of its indices and, where nobody plans anew, their views, made ahead of it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from augaware.augment.plan import Camera
from augaware.data.base import ImageBatch
from augaware.gpu import Carrier
from augaware.objective import Objective
from augaware.views import Plan, View

Made = list[View] | None


class Supply:
    """The views of a run's steps, for ``device``.

    On a GPU they are made beside the step before, by the thread that loads the images, unless an awareness plans the
    views, which it may do anew for each step. On a CPU there is nothing to be gained: the cores are the step's.
    """

    def __init__(self, camera: Camera, objective: Objective, device: torch.device, seed: int) -> None:
        self.camera, self.objective, self.device, self.seed = camera, objective, device, seed
        self.count = len(camera.pipelines)
        self.carrier = Carrier(device) if device.type == "cuda" else None
        self.ahead = self.carrier is not None and camera.fused and not objective.planning

    def prepared(self, load: Callable[[Tensor], ImageBatch], epoch: int) -> Callable[[Tensor], tuple[ImageBatch, Made]]:
        """Indices -> what ``load`` gives, and the views of it that are made already."""
        plan = self.objective.plan(self.count) if self.ahead else ()

        def prepare(index: Tensor) -> tuple[ImageBatch, Made]:
            batch = load(index)
            return batch, self._taken(plan, batch, epoch) if plan and len(batch) > 1 else None

        return prepare

    def views(self, batch: ImageBatch, epoch: int, made: Made = None) -> list[View]:
        """The views of a step, where it reads them, as the objective plans them now; ``made`` before, or here."""
        plan = self.objective.plan(self.count)
        views = self._taken(plan, batch, epoch) if made is None else made
        return views if self.carrier is None else self.carrier(views)

    def _taken(self, plan: Plan, batch: ImageBatch, epoch: int) -> list[View]:
        if not self.camera.fused:
            batch = batch.to(self.device)
        several = batch.photographs if batch.others else ()
        return self.camera.take(plan, batch.images, batch.sizes, batch.index, self.seed, epoch, several)
