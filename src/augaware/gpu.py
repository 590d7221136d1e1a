"""A GPU kept busy: its views are made on the CPU and fetched while it works, its step is launched as a whole.

A small network's step has hundreds of kernels of some microseconds each; Python needs longer to launch them than the
GPU to compute. A CUDA graph is the same kernels on the same addresses, launched at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from augaware.objective import Objective
from augaware.views import View

Parts = dict[str, Tensor]
ALIKE = 3  # steps that must have been alike before the next one is taken for a pattern
AHEAD = 2  # steps that wait for the GPU: more would only fill memory with views
SHOWN = 2  # replays of a graph that are compared with the step before it is relied on
ALLOWED = 0.05  # how far they may be apart, as a share: more than rounding, less than a mistake


class Passes:
    """The forward and backward pass of a step: the parts of the loss, and each parameter's gradient.

    ``refused``: why no graph is made of it; empty where none was asked for, or one can be.
    """

    refused = ""

    def __init__(self, module: nn.Module, optimizer: Any, backward: Callable[[Tensor], object]) -> None:
        self.module, self.optimizer, self.backward = module, optimizer, backward

    def __call__(self, views: Sequence[View], labels: Tensor | None) -> Parts:
        """Of the views of a step, and of labels (B,) for hosts that read them."""
        parts: Parts = self.module(views, labels)
        self.optimizer.zero_grad(set_to_none=True)
        self.backward(parts["loss"])
        return parts


class Captured(Passes):
    """The same as one CUDA graph, from the moment on when steps are alike.

    What Python decides is built into a graph: which views there are, a temperature that a host schedules, the code that
    an awareness has drawn. So a step is replayed only where all that ``objective`` holds beside tensors, and the shapes
    of what it is given, are those of the captured one; any other is computed kernel by kernel, and once steps are alike
    again there is a new graph. A step that waits for the GPU or draws on the CPU cannot be captured, and none is then.
    Nor is one relied on whose first replays are not the step that is computed kernel by kernel from the same state.
    """

    def __init__(
        self, objective: Objective, module: nn.Module, optimizer: Any, backward: Callable[[Tensor], object]
    ) -> None:
        super().__init__(module, optimizer, backward)
        self.objective = objective
        parts = (*objective.hosts, *objective.aware, objective.online.g)
        self._modules = [module for part in parts for module in part.modules()]
        self._last: object = None
        self._alike = 0
        self._graph: _Graph | None = None
        self._unshown = SHOWN
        self._ahead: deque[torch.cuda.Event] = deque()

    def __call__(self, views: Sequence[View], labels: Tensor | None) -> Parts:
        """As :class:`Passes`. What is returned is overwritten by the next step."""
        shapes = [(name, tensor.shape, tensor.dtype) for name, tensor in _given(views, labels)]
        pattern = shapes, self._numbers()
        if self._graph is not None and self._graph.pattern == pattern:
            if self._unshown:
                return self._compared(self._graph, views, labels)
            parts = self._graph.replay(views, labels)
            self._wait()
            return parts
        self._alike = self._alike + 1 if pattern == self._last else 0
        self._last = pattern
        if self.refused or self._alike < ALIKE:
            return super().__call__(views, labels)
        return self._captured(views, labels, pattern)

    def _captured(self, views: Sequence[View], labels: Tensor | None, pattern: object) -> Parts:
        self._graph = None  # its memory first
        self.optimizer.zero_grad(set_to_none=True)
        drawn = torch.get_rng_state()
        try:
            graph = self._graph_of(views, labels, pattern)
            if not torch.equal(drawn, torch.get_rng_state()):
                raise RuntimeError("it draws numbers on the CPU")
        except RuntimeError as error:
            self.refused = str(error).strip().partition("\n")[0] or type(error).__name__
            torch.set_rng_state(drawn)
            return super().__call__(views, labels)
        self._graph, self._unshown = graph, SHOWN
        return self._compared(graph, views, labels)

    def _graph_of(self, views: Sequence[View], labels: Tensor | None, pattern: object) -> _Graph:
        return _Graph(self, views, labels, pattern)

    def _compared(self, graph: _Graph, views: Sequence[View], labels: Tensor | None) -> Parts:
        """The step, computed kernel by kernel after a replay from the same state, which has to give the same."""
        kept = [buffer.clone() for buffer in self.objective.buffers()]
        device = views[0].image.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            loss, gradient = graph.replay(views, labels)["loss"].clone(), self._gradient()
        with torch.no_grad():
            for buffer, before in zip(self.objective.buffers(), kept, strict=True):
                buffer.copy_(before)
        parts = super().__call__(views, labels)
        self._unshown -= 1
        apart = max(_apart(loss, parts["loss"].detach()), _apart(gradient, self._gradient()))
        if not apart <= ALLOWED:
            self.refused = f"its replay is not the step: {apart:.0%} of the loss or gradient apart"
            self._graph = None
        return parts

    def _gradient(self) -> Tensor:
        """All of it in one vector."""
        return torch.cat([p.grad.flatten() for p in self.objective.parameters() if p.grad is not None])

    def _numbers(self) -> list[object]:
        """All that Python holds beside tensors, in the hosts, the awareness and the projector."""
        planned = [view.role for view in self.objective.planned], [a.own for a in self.objective.aware]
        return [*map(_held, self._modules), planned]

    def _wait(self) -> None:
        """For the step before the last: a graph is launched in no time, and the CPU would run away."""
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record()
        self._ahead.append(done)
        if len(self._ahead) > AHEAD:
            self._ahead.popleft().synchronize()


class _Graph:
    """One captured forward and backward pass, on memory of its own."""

    def __init__(self, passes: Captured, views: Sequence[View], labels: Tensor | None, pattern: object) -> None:
        self.pattern, self.objective = pattern, passes.objective
        own = [View(v.image.clone(), {k: w.clone() for k, w in v.omega.items()}) for v in views]
        own_labels = None if labels is None else labels.clone()
        self.own = [tensor for _, tensor in _given(own, own_labels)]
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):  # a checkpoint may be on its way
            parts: Parts = passes.module(own, own_labels)
            passes.backward(parts["loss"])
        self.parts = {name: part.detach() for name, part in parts.items()}  # or autograd's graph would live on
        self.seen = self.objective.seen
        self.gradients = [(p, p.grad) for p in self.objective.parameters() if p.grad is not None]

    def replay(self, views: Sequence[View], labels: Tensor | None) -> Parts:
        """The parts of the loss for these views, in memory that the next replay overwrites."""
        given = [tensor for _, tensor in _given(views, labels)]
        for kind in {t.dtype for t in self.own}:
            torch._foreach_copy_([t for t in self.own if t.dtype == kind], [t for t in given if t.dtype == kind])
        for p, gradient in self.gradients:  # a host may have taken one away
            p.grad = gradient
        self.graph.replay()
        self.objective.seen = self.seen
        return self.parts


def compile_networks(objective: Objective) -> None:
    """torch.compile for f, and for the target's, when each is first called.

    What follows f has few kernels, and numbers that a host or an awareness changes: it stays as it is.
    """
    for network in (objective.online, objective.target):
        if network is not None:
            network.f.compile(dynamic=False)


class Carrier:
    """Takes views to ``device``: on a stream of its own, so that they arrive while the step before is computed."""

    def __init__(self, device: torch.device) -> None:
        self.device, self._stream = device, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, views: Sequence[View]) -> list[View]:
        """The same views there. Pinned memory is read without anybody waiting."""
        with torch.cuda.stream(self._stream):
            moved = [View(self._moved(v.image), {k: self._moved(w) for k, w in v.omega.items()}) for v in views]
        now = torch.cuda.current_stream(self.device)
        now.wait_stream(self._stream)
        for _, tensor in _given(moved, None):
            tensor.record_stream(now)
        return moved

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, non_blocking=True)


def _apart(a: Tensor, b: Tensor) -> float:
    """The difference of two vectors as a share of ``b``; where both are not finite there is none to be seen."""
    if not b.isfinite().all():
        return 0.0
    if a.shape != b.shape or not a.isfinite().all():
        return float("inf")
    return float((a - b).norm() / b.norm().clamp(min=1e-12))


_TORCH_S = frozenset(vars(nn.Module())) - {"training", "_parameters", "_buffers"}  # what it keeps in each module


def _given(views: Sequence[View], labels: Tensor | None) -> list[tuple[str, Tensor]]:
    """All that a step is given, always in the same order."""
    found = [(name, tensor) for v in views for name, tensor in (("image", v.image), *sorted(v.omega.items()))]
    return found if labels is None else [*found, ("labels", labels)]


def _held(module: nn.Module) -> dict[str, object]:
    """What a module holds, as it can be compared: equal as long as a graph of it is of use."""
    return {name: _plain(value) for name, value in vars(module).items() if name not in _TORCH_S}


def _plain(value: object) -> object:
    """Numbers are themselves, tensors where they lie; of what is neither, only which it is."""
    if value is None or isinstance(value, (bool, int, float, str, range, frozenset)):
        return value
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value.data_ptr() if isinstance(value, Tensor) else id(value)
