"""Weights that no process holds whole: each keeps, and optimises, its part of them (FSDP, torch's ``fully_shard``).

f's stages are gathered as they are needed and let go again; the rest for the whole of a step. What leaves a step is
whole: a checkpoint, an export and the health panel are those of one process, so that a run may go on either way.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from augaware.errors import RequestError
from augaware.nets.recomputed import stages
from augaware.objective import Network, Objective
from augaware.recipe import Recipe

OLDEST = "2.11"  # of torch


def check_shardable(objective: Objective, recipe: Recipe) -> None:
    """Raise :class:`RequestError` for what would be wrong in parts."""
    refused = {
        f"encoder {recipe.encoder!r} has its weights made anew in each step": objective.online.f.reads is not None,
        f"optimizer={recipe.optimizer!r} adapts to the norms of whole weights": recipe.optimizer == "lars",
        f"chunk={recipe.chunk} runs f many times in a step": recipe.chunk > 0,
    }
    for reason, found in refused.items():
        if found:
            raise RequestError(f"strategy='fsdp': {reason}, which is not possible in parts; use --set strategy=ddp")
    if torch.__version__ < OLDEST:  # 2.6 cannot do all that hosts do with weights in parts
        raise RequestError(f"strategy='fsdp' needs torch {OLDEST} or newer, and this is {torch.__version__}; use ddp")


class Shards:
    """How an objective in parts comes together; made before it is put into parts."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self._plain = copy.deepcopy(objective.online)

    @staticmethod
    def shard(objective: nn.Module, mesh: DeviceMesh) -> nn.Module:
        """Put an objective into parts, in place; what Fabric asks for."""
        assert isinstance(objective, Objective)
        for network in (objective.online, objective.target):
            if network is not None:
                for stage in stages(network.f.backbone):
                    fully_shard(stage, mesh=mesh["data_parallel"])
        fully_shard(objective, mesh=mesh["data_parallel"])
        return objective

    def network(self) -> Network:
        """The online network, whole; all processes call it."""
        self._plain.load_state_dict(whole(self.objective.online.state_dict()))
        return self._plain


def whole(state: Any) -> Any:
    """``state`` with whole tensors in the place of parts, on the CPU; all processes call it."""
    if isinstance(state, DTensor):
        return state.full_tensor().cpu()
    if isinstance(state, Mapping):
        return {key: whole(value) for key, value in state.items()}
    return [whole(value) for value in state] if isinstance(state, list) else state


def load(objective: Objective, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load a whole state, in parts where the objective is: what has the shape of its parameter is divided as it is."""
    own = objective.state_dict()
    objective.load_state_dict({key: _like(own.get(key), value) for key, value in state["model"].items()})
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    kept = state["optimizer"]
    moved = {n: {k: _like(parameters[n], v) for k, v in entry.items()} for n, entry in kept["state"].items()}
    optimizer.load_state_dict({**kept, "state": moved})


def _like(own: Any, value: Any) -> Any:
    """``value`` divided as ``own`` is, where that is divided."""
    if isinstance(own, DTensor) and isinstance(value, Tensor) and value.shape == own.shape:
        return distribute_tensor(value.to(own.device), own.device_mesh, own.placements)
    return value
