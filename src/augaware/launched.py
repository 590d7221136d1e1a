"""Which process this is, as torchrun or SLURM's srun says in the environment. Nothing heavy is needed to read it."""

from __future__ import annotations

import os
from collections.abc import Mapping

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "GROUP_RANK")
SRUN = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_NODEID")


def by_slurm(environ: Mapping[str, str]) -> bool:
    """Whether srun started several and torchrun none."""
    return TORCHRUN[0] not in environ and int(environ.get(SRUN[1], "1")) > 1


def place(environ: Mapping[str, str]) -> tuple[int, int, int, int]:
    """The number of this process, how many there are, its number on its machine and the number of that."""
    names = SRUN if by_slurm(environ) else TORCHRUN
    rank, world, local, node = (int(environ.get(name, default)) for name, default in zip(names, "0100", strict=True))
    return rank, world, local, node


def first() -> bool:
    """Whether this is process 0, which speaks for all."""
    return place(os.environ)[0] == 0
