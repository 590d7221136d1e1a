"""What a run keeps of itself: weights, buffers and the optimiser, whole wherever they lie, saved and put back."""

from __future__ import annotations

from typing import Any

import torch

from augaware.checkpoint import EXPORT, Run
from augaware.distributed import total
from augaware.errors import RequestError
from augaware.objective import Network, Objective
from augaware.processes import Processes
from augaware.recipe import Recipe
from augaware.saves import Saver, read_newest, say
from augaware.sharded import Shards, load, whole


class State:
    """The state of a run in training; process 0 writes it. ``shards``: how it comes together where it is in parts."""

    def __init__(
        self,
        recipe: Recipe,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        fingerprint: str,
        group: Processes,
        shards: Shards | None,
        device: torch.device,
    ) -> None:
        self.recipe, self.objective, self.optimizer, self.fingerprint = recipe, objective, optimizer, fingerprint
        self.group, self.shards, self.device = group, shards, device

    def network(self) -> Network:
        """The online network; where it is in parts, all processes put it together."""
        return self.objective.online if self.shards is None else self.shards.network().to(self.device)

    def export(self, run: Run, name: str = EXPORT) -> None:
        """Write f's weights into the run's folder."""
        network = self.network()
        if self.group.first:
            run.export(network.f, name)

    def due(self, now: bool) -> bool:
        """Whether this process takes part in a checkpoint: process 0, by whose clock it is due, or all with parts."""
        now = now and self.group.first
        return now if self.shards is None else bool(total(torch.tensor(float(now), device=self.device)))

    def save(self, saver: Saver, step: int) -> None:
        """Begin to write the state after ``step``."""
        state: dict[str, Any] = {"model": self.objective.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.shards is not None:
            state = whole(state)
        if self.group.first:
            saver.save({"step": step, "fingerprint": self.fingerprint, "recipe": self.recipe.to_json(), **state})

    def restore(self, run: Run) -> tuple[int, Saver]:
        """The step to go on from, 0 for a new run; and who saves from there on.

        Raises :class:`RequestError` where recipe or data are not those that the checkpoint was made with.
        """
        found, keep = read_newest(run.last, say if self.group.first else lambda line: None), self.recipe.checkpoints
        if found is None:
            return 0, Saver(run.last, keep)
        state, file = found
        run.check_unchanged(state.get("recipe"))
        if state["fingerprint"] != self.fingerprint:
            raise RequestError(
                f"data {self.recipe.data!r} has changed since {str(run.path)!r} was started; put the same images back"
            )
        step = int(state["step"])
        try:
            load(self.objective, self.optimizer, state)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError):
            raise RequestError(
                f"the checkpoint of {str(run.path)!r} does not fit its recipe.json, which was changed; put it back"
            ) from None
        return step, Saver(run.last, keep, step, whole=file == run.last)
