"""When a step is launched as a whole: once steps are alike, and only where that is the step. Without a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from augaware.gpu import ALIKE, SHOWN, Captured, Passes
from augaware.pretrain import Trainer
from augaware.progress import Display
from augaware.recipe import Recipe
from small_hosts import HOSTS, narrow
from small_runs import losses

BATCH, STEPS = 16, ALIKE + SHOWN + 3


class Replay:
    """In the place of a CUDA graph: the passes again, whose gradient may be ``wrong`` by a factor."""

    wrong = 1.0

    def __init__(self, passes: Captured, pattern: object) -> None:
        self.passes, self.pattern, self.replays = passes, pattern, 0

    def replay(self, views: Any, labels: Any) -> dict[str, torch.Tensor]:
        self.replays += 1
        parts = Passes.__call__(self.passes, views, labels)
        for p in self.passes.objective.parameters():
            if p.grad is not None:
                p.grad *= self.wrong
        return {name: part.detach() for name, part in parts.items()}


class Pretended(Captured):
    """Captured on a CPU."""

    made: Any = Replay

    def _graph_of(self, views: Any, labels: Any, pattern: object) -> Any:
        return self.made(self, pattern)

    def _wait(self) -> None:
        pass


def trainer(small: Recipe, made: type[Replay] | None, **changes: Any) -> Trainer:
    with Display("", 1) as display:
        built = Trainer(small.changed({"batch_size": BATCH, "epochs": 8, "base_lr": 1e-3, **changes}), display)
    if made is not None:
        built.passes = Pretended(built._objective, built.objective, built.optimizer, built.fabric.backward)
        built.passes.made = made
    return built


@pytest.mark.parametrize("host", HOSTS)
def test_comparing_a_replay_with_the_step_leaves_no_trace(host: str, small: Recipe) -> None:
    """Running statistics, queues, centres and draws are as if there had been the one step."""
    aware = ("augself(hidden=16)", "cassle(depth=2)")
    spec = host if host == "supervised" else narrow(host)
    replayed, plain = (trainer(small, made, host=spec, aware=aware) for made in (Replay, None))
    assert losses(replayed, STEPS) == losses(plain, STEPS)
    assert isinstance(replayed.passes, Pretended)
    assert replayed.passes.refused == ""
    graph: Any = replayed.passes._graph
    assert graph.replays == STEPS - ALIKE


@pytest.mark.parametrize(("wrong", "says"), [(1.1, "10%"), (float("nan"), "inf%")])
def test_a_replay_that_is_not_the_step_is_not_relied_on(wrong: float, says: str, small: Recipe) -> None:
    class Wrong(Replay):
        pass

    Wrong.wrong = wrong
    replayed, plain = (trainer(small, made) for made in (Wrong, None))
    assert losses(replayed, STEPS) == losses(plain, STEPS)
    assert replayed.passes.refused == f"its replay is not the step: {says} of the loss or gradient apart"


def test_a_wrong_second_replay_is_found_too(small: Recipe) -> None:
    class Stale(Replay):
        def replay(self, views: Any, labels: Any) -> dict[str, torch.Tensor]:
            self.wrong = 1.0 if self.replays == 0 else 0.5
            return super().replay(views, labels)

    replayed, plain = (trainer(small, made) for made in (Stale, None))
    assert losses(replayed, STEPS) == losses(plain, STEPS)
    assert "50% of the loss or gradient apart" in replayed.passes.refused


def test_what_is_not_alike_is_computed_kernel_by_kernel(small: Recipe) -> None:
    """A temperature that rises in each step: no graph is made as long as it does."""
    replayed, plain = (
        trainer(small, made, host="dino(output_dim=32, warmup_epochs=2)", aware=()) for made in (Replay, None)
    )
    assert losses(replayed, STEPS) == losses(plain, STEPS)
    assert isinstance(replayed.passes, Pretended)
    assert replayed.passes._graph is None
