"""Our side of the bench of steps: the trainer's own step, its parts timed where they begin and end."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from augaware.augment.plan import Camera
from augaware.bench import pictures
from augaware.bench.base import Work
from augaware.data.base import ImageBatch
from augaware.pretrain import Trainer
from augaware.progress import Display
from augaware.recipe import Recipe
from augaware.views import View, plain_plan

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Job:
    """What a step is of: a spec of an encoder, pixels, images in a batch, and a host."""

    encoder: str
    size: int
    batch: int
    host: str

    def recipe(self, device: str, precision: str, aware: Sequence[str] = ()) -> Recipe:
        """The recipe of a run with such steps."""
        return Recipe(
            data=f"shapes(n={self.batch})",  # its images are not used
            host=self.host,
            aware=tuple(aware),
            encoder=self.encoder,
            size=self.size,
            batch_size=self.batch,
            device=device,
            precision=precision,
            health_images=0,
        )

    def images(self, folder: Path) -> ImageBatch:
        """A batch of the images of :mod:`augaware.bench.pictures`."""
        images = pictures.load(folder, self.size)[torch.arange(self.batch)]
        return ImageBatch(images, images.sizes, torch.arange(self.batch))

    def views(self, folder: Path, device: str) -> list[View]:
        """Its two views, as a peer is handed them."""
        batch = self.images(folder).to(device)
        camera = Camera(self.recipe(device, "fp32"))
        return camera.take(plain_plan(2), batch.images, batch.sizes, batch.index, seed=0, epoch=0)


class Own(Work):
    """Steps of our trainer. ``given``: with views that were made before, as the peers' are.

    ``found``: milliseconds of the parts of a step in the last pass, and how far its memory rose, in MiB.
    """

    def __init__(self, job: Job, folder: Path, device: str, precision: str, aware: Sequence[str], given: bool) -> None:
        self.items, self.batch, self.steps = job.batch, job.images(folder), 0
        before = _memory("VmRSS")
        with Display("", total=1) as display:
            self.trainer = Trainer(job.recipe(device, precision, aware), display)
        self.device, self.before, self.given = self.trainer.fabric.device, before, given
        self.milliseconds: dict[str, float] = {}
        self._spent: dict[str, float] = defaultdict(float)
        self._watch()

    def __call__(self, passes: int) -> float:
        """One pass is one step."""
        self._spent.clear()
        began = self._now()
        for _ in range(passes):
            self.trainer._step(self.steps % self.trainer.total_steps, 0, self.batch)
            self.steps += 1
        whole = self._now() - began
        rest = whole - sum(self._spent.values())
        self.milliseconds = {k: 1e3 * v / passes for k, v in {"step": whole, **self._spent, "rest": rest}.items()}
        return 0.0

    def found(self) -> dict[str, Any]:
        """Parts and memory."""
        if self.device.type == "cuda":
            return {"ms": self.milliseconds, "MiB": torch.cuda.max_memory_allocated() / 2**20}
        return {"ms": self.milliseconds, "MiB": _memory("VmHWM") - self.before}

    def _watch(self) -> None:
        """Time what a step calls, in the order in which it does."""
        trainer, objective = self.trainer, self.trainer._objective
        take, online, target = trainer.camera.take, objective.online, objective.target
        places: list[tuple[str, Any, str]] = [("f", online.f, "forward"), ("g", online.g, "forward")]
        if target is not None:
            places.append(("target", target, "forward"))
        places += [("host", host, "loss") for host in objective.hosts]
        places += [("aware", a, "losses") for a in objective.aware]
        places += [("backward", trainer.fabric, "backward"), ("optimiser", trainer.optimizer, "step")]
        places += [("after", objective, "after_step")]
        if self.given:
            views: list[list[View]] = []
            trainer.camera.take = lambda *args: views[0] if views else views.append(take(*args)) or views[0]  # type: ignore[method-assign, func-returns-value]
        else:
            places.insert(0, ("views", trainer.camera, "take"))
        for name, owner, method in places:
            setattr(owner, method, self._timed(name, getattr(owner, method)))

    def _timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = self._now()
            made = call(*args, **kwargs)
            self._spent[name] += self._now() - began
            return made

        return timed

    def _now(self) -> float:
        """Seconds on the clock, once the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def _memory(which: str) -> float:
    """VmRSS, what the process has, or VmHWM, the most it had, in MiB; 0 where the system does not say."""
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{which}:")), 0.0)
