"""The fused engine: each image goes through a run of augmentations at once, on the CPU.

Equal to the plain form of each augmentation to 1e-4 of [0, 1] (rounding of float32; see tests/test_engine.py). What the
kernel does not know, an augmentation of a user's own, acts at its place in its plain form, between two passes.

A pipeline's ``engine`` is ``"fused"``, ``"plain"`` (any device) or ``"auto"``: fused where numba works.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from augaware.augment.base import Augmentation
from augaware.augment.crop import omega_to_box
from augaware.errors import RequestError, did_you_mean
from augaware.ragged import Ragged, as_ragged
from augaware.threads import pool

UNITS = {torch.uint8: 1 / 255, torch.uint16: 1 / 65535}  # what takes a pixel to [0, 1]; floats are there
KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.uint8: 2}  # what the kernel writes (engine/write.py)
Omega = Mapping[str, Tensor]
Made = Callable[[], tuple[Tensor, dict[str, Tensor]]]
ENGINES = ("auto", "fused", "plain")


class Run:
    """Augmentations that follow each other in one pass, and what the kernel calls them."""

    def __init__(self, augmentations: Sequence[Augmentation]) -> None:
        from augaware.augment.engine.kernel import OPERATIONS

        self.augmentations = augmentations
        self.codes = np.array([OPERATIONS[operation(a) or ""] for a in augmentations], np.int64)
        self.kernels = np.array([getattr(a, "kernel", 0) for a in augmentations], np.int64)


class Fused:
    """t_omega of a pipeline: resampling, then ``augmentations`` in order, then normalisation.

    ``dtype``, ``planar`` and ``pinned``: see :class:`augaware.augment.pipeline.Pipeline`.
    """

    def __init__(
        self,
        augmentations: Sequence[Augmentation],
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        dtype: torch.dtype = torch.float32,
        planar: bool = False,
        pinned: bool = False,
    ) -> None:
        self.size, self.dtype, self.planar = size, dtype, planar
        self.memory: Memory | Pinned = Pinned() if pinned else Memory()
        self.scale = 1 / np.asarray(std, np.float32)
        self.shift = -np.asarray(mean, np.float32) * self.scale
        if dtype == torch.uint8:  # as it looks
            self.scale, self.shift = np.full_like(self.scale, 255), np.zeros_like(self.shift)
        self.stages: list[Augmentation | Run] = []
        for unknown, group in itertools.groupby(augmentations, key=lambda a: operation(a) is None):
            found = list(group)
            self.stages += found if unknown else [Run(found)]
        if not self.stages or not isinstance(self.stages[0], Run):
            self.stages.insert(0, Run([]))  # resampling
        if not isinstance(self.stages[-1], Run):
            self.stages.append(Run([]))  # normalisation

    def begin(self, images: Ragged, sizes: Tensor, omega: Omega, measure: Collection[str]) -> Made:
        """Images whose top left ``sizes`` (B, 2) count -> (B, C, size, size), normalised, and what was measured.

        ``measure`` names what is. With more than one thread, others make the last pass, and the call waits for them.
        """
        whole = torch.cat((torch.zeros_like(sizes), sizes), dim=1)
        boxes = omega_to_box(omega["crop"], sizes) if "crop" in omega else whole
        x, measured = torch.empty(0), dict[str, Tensor]()
        *before, last = self.stages
        for stage in before:
            if isinstance(stage, Run):
                x, found = self._pass(images, boxes, stage, omega, measure)()
            else:
                changed = stage.apply(x, omega[stage.name])
                found = stage.measured(x, changed, measure)
                x, sizes = changed, torch.tensor([[self.size, self.size]]).expand(len(x), 2)
                images, boxes = as_ragged(x), torch.cat((torch.zeros_like(sizes), sizes), dim=1)
            measured |= found
        assert isinstance(last, Run)
        made = self._pass(images, boxes, last, omega, measure, last=True)

        def wait() -> tuple[Tensor, dict[str, Tensor]]:
            image, found = made()
            return image, measured | found

        return wait

    def _pass(
        self, images: Ragged, boxes: Tensor, run: Run, omega: Omega, measure: Collection[str], last: bool = False
    ) -> Made:
        from augaware.augment.engine import kernel

        b, channels, data = len(images), images.channels, images.data
        unit = np.float32(UNITS.get(data.dtype, 1.0))
        data = data if data.dtype in UNITS else data.float()  # each type of pixels is a kernel to compile
        arguments = [a.arguments(omega[a.name]).float() for a in run.augmentations]
        numbers = torch.cat([*arguments, torch.zeros(b, 1)], dim=1).numpy()
        places = np.cumsum([0, *(w.shape[1] for w in arguments)])[:-1]
        scale, shift = (self.scale, self.shift) if last else (np.ones_like(self.scale), np.zeros_like(self.shift))
        dtype, planar = (self.dtype, self.planar) if last else (torch.float32, False)
        kind, memory = KINDS[dtype], self.memory.lend(b * channels * self.size**2, dtype)
        places_in_data = images.offsets.contiguous().numpy(), images.sizes.contiguous().numpy()
        given = *places_in_data, boxes.to(torch.int32).numpy(), numbers
        names = [name for a in run.augmentations for name in a.measures if name in measure]
        moved = np.zeros((b, 3 if names else 0), np.float32)
        what = unit, self.size, run.codes, places, run.kernels, scale, shift, kind, planar
        taken = np.zeros(1, np.int64)  # images that a thread has begun: each takes the next one

        def make() -> None:
            out = memory.view(torch.uint8).view(b, -1 if b else 0).numpy()  # as long as this works, memory is lent
            kernel.fused(data.numpy(), *given, out, moved, *what, taken)

        threads = min(torch.get_num_threads(), b)
        if threads <= 1 or not last:
            make()
            threads = 0
        others = [pool(os.getpid()).submit(make) for _ in range(threads)]

        def wait() -> tuple[Tensor, dict[str, Tensor]]:
            for other in others:
                other.result()
            shape = (channels, self.size, self.size) if planar else (self.size, self.size, channels)
            image = memory.view(b, *shape)
            image = image if planar else image.permute(0, 3, 1, 2)
            return image, {name: torch.from_numpy(moved) for name in names}

        return wait


class Memory:
    """Memory for views. A piece is lent again once nobody holds what lies in it: the first touch of fresh memory costs
    up to as much as the kernel (a quarter of that in the huge pages that numpy asks for), and threads wait for each
    other there.
    """

    def __init__(self) -> None:
        self._lent: list[tuple[np.ndarray, weakref.ref[np.ndarray]]] = []
        self._lock = threading.Lock()

    def lend(self, count: int, dtype: torch.dtype) -> Tensor:
        """(count,) of any value."""
        size = max(count, 1) * dtype.itemsize  # torch takes no bytes of nothing for numbers
        with self._lock:
            idle = [whole for whole, lent in self._lent if lent() is None]
            whole = next((a for a in idle if len(a) == size), None)
            if whole is None:  # those of other sizes are not wanted any more
                self._lent = [(a, lent) for a, lent in self._lent if lent() is not None]
                whole = np.empty(size, np.uint8)
            lent = whole.view()  # what a tensor made of it keeps alive
            self._lent = [pair for pair in self._lent if pair[0] is not whole] + [(whole, weakref.ref(lent))]
            return torch.from_numpy(lent).view(dtype)[:count]


class Pinned:
    """Memory that a GPU reads by itself, beside other work. Torch lends a piece again once no copy of it is under way,
    which :class:`Memory` cannot know.
    """

    def lend(self, count: int, dtype: torch.dtype) -> Tensor:
        """(count,) of any value."""
        return torch.empty(count, dtype=dtype, pin_memory=True)


def use_fused(engine: str) -> bool:
    """Whether ``engine`` means the fused one. Raises :class:`RequestError` where that cannot be had on this machine."""
    if engine not in ENGINES:
        raise RequestError(
            f"engine={engine!r} is unknown; accepted: {', '.join(ENGINES)}{did_you_mean(str(engine), ENGINES)}"
        )
    if engine == "fused":
        require(missing())
    return engine != "plain" and missing() is None


def require(reason: str | None) -> None:
    """Raise :class:`RequestError` where there is a ``reason`` not to use the fused engine, which was asked for."""
    if reason is not None:
        raise RequestError(f"engine='fused' cannot be used: {reason}; repair numba, or use engine='plain'")


@functools.cache
def missing() -> str | None:
    """Why numba cannot be imported on this machine, or None."""
    try:
        import augaware.augment.engine.kernel  # noqa: F401
    except Exception as error:  # whatever a broken numba says
        return _reason(error)
    return None


@functools.cache
def failure() -> str | None:
    """Why the kernel cannot be used on this machine, or None: it is compiled, or read from disk, and run once."""
    if missing() is None:
        pixels, sizes = torch.zeros((1, 3, 2, 2), dtype=torch.uint8), torch.tensor([[2, 2]])
        try:
            Fused([], 2, (0.0,) * 3, (1.0,) * 3).begin(as_ragged(pixels), sizes, {}, ())()
        except Exception as error:  # whatever a broken compiler says
            return _reason(error)
    return missing()


def _reason(error: Exception) -> str:
    return f"numba does not work here ({(str(error) or type(error).__name__).splitlines()[0]})"


def warm() -> Future[str | None]:
    """:func:`failure`, in a thread of its own."""
    return ThreadPoolExecutor(1).submit(failure)


def operation(a: Augmentation) -> str | None:
    """The kernel's operation that does what ``a`` does; None where a class has an ``apply`` of its own."""
    owner = next(c for c in type(a).__mro__ if "apply" in vars(c))
    return a.fused if "fused" in vars(owner) else None
