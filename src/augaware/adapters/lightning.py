"""Lightning's Trainer: a run's objective as a LightningModule, and callbacks for modules of anybody's.

    module = Pretraining({"host": "moco_v2(4096)", "aware": ["augself()"], "size": 96, "batch_size": 256})
    loader = DataLoader(module.views.of(dataset), batch_size=256, shuffle=True, drop_last=True, num_workers=4)
    Trainer(max_epochs=100).fit(module, loader)

The Trainer has the loop: epochs, device, precision and checkpoints are its own, in the place of the recipe's. Those of
:func:`augaware.pretrain` continue bit for bit after a kill; Lightning's do not.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from augaware import metrics
from augaware.awareness.base import Awareness
from augaware.errors import RequestError
from augaware.hosts.base import Moment
from augaware.initial import initialise
from augaware.nets.base import evaluating
from augaware.optim import build_optimizer, set_schedules
from augaware.parts import AugSelf, Views, objective
from augaware.random import seeded
from augaware.recipe import Recipe
from augaware.spaces import Space
from augaware.views import View

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ModuleNotFoundError:
    raise RequestError(
        "augaware.adapters.lightning needs Lightning, which is not installed: pip install lightning"
    ) from None

__all__ = ["AugSelfCallback", "HealthCallback", "Pretraining"]


class Pretraining(LightningModule):
    """Objective, optimiser and schedules of a recipe, for ``Trainer.fit``.

    ``recipe``: a :class:`augaware.recipe.Recipe`, or its fields; ``data`` is not read. ``f``: a network of yours in the
    place of the recipe's encoder. ``classes``: their number, for hosts that need labels. ``views`` makes what a batch
    has to be: the views, alone or first, ``(views, labels)``.

    One process, one batch a step: where memory is short, the recipe's ``chunk`` has the exact loss of the whole batch.
    """

    def __init__(
        self, recipe: Recipe | Mapping[str, Any], f: nn.Module | None = None, classes: int | None = None
    ) -> None:
        super().__init__()
        recipe = recipe if isinstance(recipe, Recipe) else Recipe.from_fields({"data": "", **recipe})
        self.save_hyperparameters({"recipe": asdict(recipe), "classes": classes})
        self.recipe = recipe
        self.views = Views(
            recipe.size, recipe.augment, recipe.views, recipe.seed, recipe.mean, recipe.std, recipe.engine
        )
        with seeded(torch.device("cpu"), recipe.seed):  # the weights that a run of this recipe starts from
            given = recipe.encoder if f is None else f
            self.objective = objective(given, recipe.host, recipe.aware, self.views, classes)
        if recipe.init:
            initialise(self.objective.online.f, recipe.init)
        self.objective.spare_memory(recipe.chunk, recipe.recompute)
        self.objective.to(memory_format=torch.channels_last)
        for a in self.objective.aware:
            if type(a).plan is not Awareness.plan:
                raise RequestError(
                    f"aware: {a.name!r} plans the views of each step, which a DataLoader's workers cannot know; "
                    "train it with augaware.pretrain"
                )

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) -> features y = f(v), (B, D)."""
        y: Tensor = self.objective.online.f(images)
        return y

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The recipe's."""
        return build_optimizer(self.objective, self.recipe)

    def on_train_start(self) -> None:
        """Take the number of epochs from the Trainer; raises :class:`RequestError` for what is not supported."""
        trainer = self.trainer
        for name, value in (
            ("accumulate_grad_batches", trainer.accumulate_grad_batches),
            ("devices", trainer.world_size),
        ):
            if value != 1:
                raise RequestError(
                    f"Trainer({name}={value}) is not supported by Pretraining; use 1, or augaware.pretrain"
                )
        if not trainer.max_epochs or trainer.max_epochs < 0 or trainer.num_training_batches == float("inf"):
            raise RequestError(
                "Pretraining: its schedules need an end; give Trainer(max_epochs=...) and a sized DataLoader"
            )
        self._per_epoch = int(trainer.num_training_batches)
        self._timed = self.recipe.changed({"epochs": trainer.max_epochs})

    def on_train_epoch_start(self) -> None:
        """Other views than in the epoch before."""
        self.views.set_epoch(self.current_epoch)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """The schedules of the optimiser and of the host."""
        self._now = Moment(self.global_step, self._timed.epochs * self._per_epoch, self._per_epoch)
        set_schedules(self.trainer.optimizers[0], self._timed, self.global_step, self._per_epoch)
        self.objective.before_step(self._now)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss; its parts are logged as they are called in metrics.jsonl."""
        views, labels = (batch, None) if _is_view(batch[0]) else batch[:2]
        if not _is_view(views[0]):
            raise RequestError(
                "Pretraining: a batch holds no views; load module.views.of(dataset), with torch's own collate"
            )
        if len(views[0].image) != self.recipe.batch_size:
            raise RequestError(
                f"Pretraining: a batch has {len(views[0].image)} images, and the recipe's rate is for batch_size="
                f"{self.recipe.batch_size}; use DataLoader(batch_size={self.recipe.batch_size}, drop_last=True)"
            )
        taken = [View(v.image.to(memory_format=torch.channels_last), v.omega) for v in views]
        parts: dict[str, Tensor] = self.objective(taken, labels)
        self.log_dict({name: value.detach() for name, value in parts.items()})
        return parts["loss"]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """The host's last word on gradients."""
        self.objective.after_backward(self._now)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """To the recipe's norm, or as the Trainer says."""
        clip = self.recipe.clip_norm or gradient_clip_val
        self.clip_gradients(
            optimizer, gradient_clip_val=clip, gradient_clip_algorithm=gradient_clip_algorithm or "norm"
        )

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """The EMA target moves, the host remembers."""
        self.objective.after_step(self._now)


class AugSelfCallback(Callback):
    """Adds AugSelf to a module of anybody's, by one hook: ``training_step`` returns a dict with

    ``"loss"``, ``"views"`` (two, with ``.omega``, as :class:`augaware.parts.Views` makes them) and ``"features"`` (of
    each, y = f(v), (B, ``dim``)). The heads become ``module.augself``, trained by what ``configure_optimizers`` makes
    of ``self.parameters()`` and kept in checkpoints (``load_from_checkpoint(..., strict=False)`` does without them).
    """

    def __init__(
        self,
        spaces: Mapping[str, Space],
        dim: int,
        weights: Mapping[str, float] | Sequence[str] = ("crop", "color_jitter"),
    ) -> None:
        self.heads = AugSelf(spaces, dim, weights)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the module its heads, and add their loss to what its step returns."""
        if "augself" not in dict(pl_module.named_children()):
            pl_module.augself = self.heads
        step = pl_module.training_step
        if stage != "fit" or "training_step" in vars(pl_module):  # it is there already
            return

        @functools.wraps(step)
        def with_augself(*given: Any) -> Any:
            made = step(*given)
            keys = set(made) if isinstance(made, dict) else set()
            if not {"loss", "views", "features"} <= keys:
                raise RequestError(
                    f"AugSelfCallback: training_step returns {sorted(keys) or type(made).__name__}; "
                    "it must return {'loss': ..., 'views': [v1, v2], 'features': [y1, y2]}"
                )
            told = self.heads(*made["views"][:2], *made["features"][:2])
            pl_module.log("loss/augself", told.detach())
            return {**made, "loss": made["loss"] + told}

        pl_module.training_step = with_augself

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise :class:`RequestError` where nothing trains the heads."""
        moved = {id(p) for optimizer in trainer.optimizers for group in optimizer.param_groups for p in group["params"]}
        if not {id(p) for p in self.heads.parameters()} <= moved:
            raise RequestError("AugSelfCallback: configure_optimizers leaves the heads out; give it self.parameters()")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """The module's own step again."""
        vars(pl_module).pop("training_step", None)


class HealthCallback(Callback):
    """Logs once an epoch what to watch when the loss says nothing: ``health/`` feature_std, effective_rank and knn.

    ``loader``: batches of (normalised images, labels); ``encoder``: the module's attribute that is f, or ``""`` for the
    module itself. Of the images every fifth asks its nearest neighbours among the others.
    """

    def __init__(self, loader: Iterable[Any], encoder: str = "") -> None:
        self.loader, self.encoder = loader, encoder

    @torch.no_grad()
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look, in eval mode."""
        f = pl_module.get_submodule(self.encoder)
        with evaluating(f):
            found = [(f(x.to(pl_module.device)).float().cpu(), labels) for x, labels in self.loader]
        y, labels = torch.cat([y for y, _ in found]), torch.cat([labels for _, labels in found])
        asks = torch.arange(len(y)) % 5 == 0
        knn = metrics.knn_accuracy(y[~asks], labels[~asks], y[asks], labels[asks], k=min(20, int((~asks).sum())))
        numbers = {"feature_std": metrics.feature_std(y), "effective_rank": metrics.effective_rank(y), "knn": knn}
        pl_module.log_dict({f"health/{name}": value for name, value in numbers.items()})


def _is_view(value: Any) -> bool:
    return hasattr(value, "image") and hasattr(value, "omega")
