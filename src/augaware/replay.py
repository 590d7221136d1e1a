"""The batch on which a run diverged, made again."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from augaware.checkpoint import Run
from augaware.data.base import ImageBatch
from augaware.errors import RequestError
from augaware.faults import DIVERGED
from augaware.images import check_data
from augaware.pretrain import Trainer
from augaware.progress import Display
from augaware.random import word
from augaware.views import View


def replay(path: Path | str) -> tuple[ImageBatch, list[View]]:
    """The images of the batch that nan.json in the run folder ``path`` names, and the views that the step saw of them.

    Raises :class:`RequestError` where there is none. ``augaware resume`` trains to that step again.
    """
    run = Run.open(path)
    try:
        found = json.loads((run.path / DIVERGED).read_text())
        step, epoch, index = int(found["step"]), int(found["epoch"]), torch.tensor(found["index"], dtype=torch.int64)
    except FileNotFoundError:
        raise RequestError(f"{str(run.path)!r} has not diverged: there is no {DIVERGED}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise RequestError(f"{str(run.path / DIVERGED)!r} is damaged") from None
    check_data(run)
    with Display("reading images", total=1) as display:
        trainer = Trainer(run.recipe, display, begun=True)  # views do not depend on weights
    if not len(index) or int(index.min()) < 0 or int(index.max()) >= len(trainer.source):
        raise RequestError(f"{str(run.path / DIVERGED)!r} names images that {run.recipe.data!r} does not have")
    batch = trainer.source.shuffled(run.recipe.seed, epoch).batch(index)
    torch.manual_seed(word(run.recipe.seed, step))  # as in the step: a plan may draw
    return batch, trainer.supply.views(batch, epoch)
