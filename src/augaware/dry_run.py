"""A step of a recipe at its full shape, without data, memory or a GPU: whether it runs, and what it needs.

Tensors are fake: they have shapes and no numbers. What a step allocates and computes is counted as it passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from augaware.augment.plan import Camera, recorded
from augaware.data.loader import resolved
from augaware.errors import RequestError
from augaware.nets.base import build_encoder
from augaware.objective import Objective, encoder_spec
from augaware.optim import build_optimizer
from augaware.recipe import Recipe
from augaware.views import View

CLASSES = 1000  # of a host that needs labels, whatever the data
RATE = 116.0  # TFLOP/s that a step of ResNet-50 at 224 px reached on one H200 (RESULTS.md, section 11)


@dataclass(frozen=True)
class Needs:
    """What one step of a recipe needs, of each of ``gpus``.

    ``tflop``: floating-point operations of forward and backward pass, in units of 1e12; ``gib``: the most memory that
    its tensors take at once, without what kernels and the allocator add, about a tenth, as if nothing were spared by
    ``chunk`` or ``recompute``; ``kinds``: what it is made of.
    """

    gpus: int
    tflop: float
    gib: float
    kinds: dict[str, float]


def step(recipe: Recipe, gpus: int = 1) -> Needs:
    """One step with the batch divided among ``gpus``; each then takes its share of the negatives too.

    Raises :class:`RequestError` where the batch cannot be divided, or the recipe cannot be built.
    """
    if gpus < 1 or recipe.batch_size % gpus or recipe.batch_size // gpus < 2:
        raise RequestError(f"gpus={gpus} cannot divide batch_size={recipe.batch_size}; give a divisor of it")
    share = recipe.batch_size // gpus
    camera, spaces = Camera(recipe), recorded(recipe)
    f = build_encoder(encoder_spec(recipe.encoder, recipe.aware, spaces))
    objective = Objective.from_specs(f, recipe.host, recipe.aware, spaces, CLASSES)
    mode, counter = FakeTensorMode(), FlopCounterMode(display=False)
    _fake(objective, mode)
    with mode:
        optimizer = build_optimizer(objective, recipe)
        views = _views(objective, camera, recipe.channels or 3, share)
        labels = torch.zeros(share, dtype=torch.int64) if objective.host.needs_labels else None
        for p in objective.parameters():  # the tracker asks it of all, also of a target that has no backward pass
            p.requires_grad_(True)
        memory = _tracker(objective, optimizer)
        with memory, counter:
            for number in range(2):  # the optimiser's state comes with the first
                if number:
                    memory.reset_mod_stats()
                with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision != "fp32"):
                    parts = objective(views, labels)
                optimizer.zero_grad(set_to_none=True)
                parts["loss"].backward()
                optimizer.step()
    taken = memory.get_tracker_snapshot("peak")[torch.device("cpu")]
    kinds = {str(kind).rpartition(".")[2].lower(): size / 2**30 for kind, size in taken.items()}
    return Needs(gpus, counter.get_total_flops() / 2e12, kinds.pop("total"), kinds)


def counted(data: str) -> int | None:
    """How many images SRC ``data`` has; None where it cannot be opened here."""
    try:
        return len(resolved(data))
    except (RequestError, OSError):
        return None


def _fake(objective: Objective, mode: FakeTensorMode) -> None:
    """Put fake tensors in the place of all weights and buffers."""
    for module in objective.modules():
        for name, p in module._parameters.items():
            if p is not None:
                module._parameters[name] = nn.Parameter(mode.from_tensor(p.detach()), requires_grad=p.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = mode.from_tensor(buffer)


def _tracker(objective: Objective, optimizer: torch.optim.Optimizer) -> Any:
    from torch.distributed._tools.mem_tracker import MemTracker

    tracker = MemTracker()
    tracker.track_external(objective, optimizer)
    return tracker


def _views(objective: Objective, camera: Camera, channels: int, images: int) -> Sequence[View]:
    """The views that are planned, with all that their omega may hold."""
    found = []
    for planned in objective.plan(len(camera.pipelines)):
        pipeline = camera.pipeline(planned)
        columns = {a.name: len(a.identity) for a in pipeline.augmentations}
        columns |= {name: space.inputs for a in pipeline.augmentations for name, space in a.measures.items()}
        columns |= {name: len(row) for name, row in planned.given.items()}
        omega: dict[str, Tensor] = {name: torch.zeros(images, count) for name, count in columns.items()}
        found.append(View(torch.zeros(images, channels, pipeline.size, pipeline.size), omega))
    return found
