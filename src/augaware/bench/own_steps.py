"""Our side of the bench of steps: the trainer's own step, its parts timed where they begin and end."""

from __future__ import annotations

import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from augaware.augment.plan import Camera
from augaware.bench import pictures
from augaware.bench.base import Work
from augaware.data.base import ImageBatch
from augaware.data.loader import Loader
from augaware.gpu import Passes
from augaware.pretrain import Trainer
from augaware.progress import Display
from augaware.recipe import Recipe
from augaware.supply import Made
from augaware.views import View, plain_plan

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Job:
    """What a step is of: a spec of an encoder, pixels, images in a batch, and a host; ``compile``: as in a recipe."""

    encoder: str
    size: int
    batch: int
    host: str
    compile: str = "no"

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
            compile=self.compile,
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

    ``found``: milliseconds of the parts of a step, and how far its memory rose, in MiB. On a CPU the parts are those of
    the last pass. A GPU is not asked while it is timed: they are those of a few further steps, launched kernel by
    kernel, in which each part is waited for; and ``TFLOP``, the floating-point operations for an image, ``rate``, how
    many of those the GPU does in a second of one large product of bf16 matrices, and how steps are launched.
    """

    def __init__(self, job: Job, folder: Path, device: str, precision: str, aware: Sequence[str], given: bool) -> None:
        self.items, self.batch, self.steps, self.given = job.batch, job.images(folder), 0, given
        self.before = _memory("VmRSS")
        with Display("", total=1) as display:
            self.trainer = Trainer(job.recipe(device, precision, aware), display)
        self.device = self.trainer.fabric.device
        self.milliseconds: dict[str, float] = {}
        self._spent: dict[str, float] = defaultdict(float)
        self._on_gpu: dict[str, Any] = {}
        if given:
            views, make = list[list[View]](), self.trainer.supply.views
            self.trainer.supply.views = lambda *args: views[0] if views else views.append(make(*args)) or views[0]  # type: ignore[method-assign, func-returns-value]

    def __call__(self, passes: int) -> float:
        """One pass is one step."""
        with self._watched() if self.device.type == "cpu" else nullcontext():
            self._take(passes)
        return 0.0

    def found(self) -> dict[str, Any]:
        """Parts, memory, operations."""
        if self.device.type == "cpu":
            return {"ms": self.milliseconds, "MiB": _memory("VmHWM") - self.before}
        self._on_gpu = self._on_gpu or self._looked_into()  # once: it is the same in every round
        return self._on_gpu

    def _looked_into(self) -> dict[str, Any]:
        """What a GPU is not asked while it is timed."""
        most, trainer, passes = torch.cuda.max_memory_allocated() / 2**20, self.trainer, self.trainer.passes
        trainer.passes = Passes(trainer.objective, trainer.optimizer, trainer.fabric.backward)
        with torch.compiler.set_stance("force_eager"):
            with FlopCounterMode(display=False) as counter:
                self._take(1)
            with self._watched():
                self._take(3)
        trainer.passes = passes
        found = {"ms": self.milliseconds, "MiB": most, "TFLOP": counter.get_total_flops() / self.items / 1e12}
        found |= {"rate": _rate(), "launched": passes.refused or type(passes).__name__}
        torch.cuda.empty_cache()  # other sides share the GPU
        return found

    def _take(self, steps: int) -> None:
        self._spent.clear()
        began = self._now()
        for batch, views in self._supplied(steps):
            self.trainer._step(self.steps % self.trainer.total_steps, 0, batch, views)
            self.steps += 1
        whole = self._now() - began
        rest = whole - sum(self._spent.values())
        self.milliseconds = {k: 1e3 * v / steps for k, v in {"step": whole, **self._spent, "rest": rest}.items()}

    def _supplied(self, steps: int) -> Iterator[tuple[ImageBatch, Made]]:
        """What the steps are fed with: as in a run, but for the images, which are there."""
        if self.given:
            yield from itertools.repeat((self.batch, None), steps)
        else:
            prepared = self.trainer.supply.prepared(lambda index: self.batch, epoch=0)
            yield from Loader(prepared, itertools.repeat(self.batch.index, steps))

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Time what a step calls, in the order in which it does."""
        trainer, objective = self.trainer, self.trainer._objective
        online, target = objective.online, objective.target
        places: list[tuple[str, Any, str]] = [("f", online.f, "forward"), ("g", online.g, "forward")]
        if target is not None:
            places.append(("target", target, "forward"))
        places += [("host", host, "loss") for host in objective.hosts]
        places += [("aware", a, "losses") for a in objective.aware]
        places += [("backward", trainer.passes, "backward"), ("optimiser", trainer.optimizer, "step")]
        places += [("after", objective, "after_step")]
        if not self.given:
            places.insert(0, ("views", trainer.supply, "views"))
        were = [(owner, method, getattr(owner, method), method in vars(owner)) for _, owner, method in places]
        for (name, owner, method), (_, _, was, _) in zip(places, were, strict=True):
            setattr(owner, method, self._timed(name, was))
        try:
            yield
        finally:
            for owner, method, was, own in were:
                setattr(owner, method, was) if own else delattr(owner, method)

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


def _rate(n: int = 8192, times: int = 20) -> float:
    """Floating-point operations, in units of 1e12, that the GPU does in a second of a product of bf16 matrices."""
    a, b = torch.randn(2, n, n, device="cuda", dtype=torch.bfloat16)
    seconds = []
    for _ in range(times):
        torch.cuda.synchronize()
        began = time.perf_counter()
        a @ b
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return 2 * n**3 / statistics.median(seconds) / 1e12
