"""What a run says of itself: what it is, a picture of its views, its numbers, and which images it could not read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Protocol

import torch
from lightning_fabric import Fabric

from augaware import auto
from augaware.augment.engine.fused import failure
from augaware.augment.pipeline import Pipeline
from augaware.auto import Chosen
from augaware.data.base import Source
from augaware.data.mapped import Mapped
from augaware.data.paired import Paired
from augaware.data.store import Stored
from augaware.disk import write_file
from augaware.gpu import Passes
from augaware.processes import Processes, precision
from augaware.progress import Display, amount
from augaware.recipe import Recipe

UNUSUAL = ("chunk", "recompute", "strategy")  # said where they are not as usual
USUAL = {field.name: field.default for field in fields(Recipe)}
NAMED = 20  # unreadable images that are named at a time


class Told(Protocol):
    """The trainer, as far as it is spoken of."""

    recipe: Recipe
    source: Source
    fabric: Fabric
    group: Processes
    share: int
    steps_per_epoch: int
    passes: Passes


class Teller:
    """Speaks of ``trainer`` on ``display``."""

    def __init__(self, trainer: Told, display: Display) -> None:
        self.trainer, self.display = trainer, display
        self._named = 0  # how many of the source's skipped images were
        self._refused = ""  # why there is no graph, once it was said

    def begin(self, step: int, init: str) -> None:
        """What begins, or goes on from ``step``; f starts from ``init``, where that is not empty."""
        t, recipe = self.trainer, self.trainer.recipe
        self.display.line(
            f"{'resuming at step ' + str(step) if step else 'pretraining'}: {recipe.encoder} with {recipe.host}, "
            f"aware {', '.join(recipe.aware) or 'vanilla'}; "
            f"{len(t.source)} images of {recipe.data!r} at {recipe.size} px; {recipe.epochs} epochs of "
            f"{t.steps_per_epoch} steps; {t.fabric.device}, {precision(recipe)}, views {self._engine()}"
            + (f"; {t.group.world} processes of {t.share} images" if t.group.world > 1 else "")
            + "".join(f"; {name}={getattr(recipe, name)}" for name in UNUSUAL if getattr(recipe, name) != USUAL[name])
        )
        for line in self._chosen():
            self.display.line(line)
        if recipe.channels:
            mean, std = (", ".join(f"{n:g}" for n in numbers) for numbers in (recipe.mean, recipe.std))
            bits = 8 * t.source.dtype.itemsize
            self.display.line(f"files as they are: {recipe.channels} channels of {bits} bits; mean {mean}; std {std}")
        if init:
            self.display.line(f"f starts from {init} (file#sha256)")
        self.skipped()

    def _chosen(self) -> Iterator[str]:
        """What "auto" stands for here, and where the images are kept: a line each, with the reason."""
        recipe, device = self.trainer.recipe, self.trainer.fabric.device.type
        if recipe.device == auto.AUTO:
            found = auto.device()
            yield found.line if found.value == device else Chosen("device", device, "Lightning Fabric found it").line
        if recipe.precision == auto.AUTO:
            yield auto.precision("cuda" if device == "cuda" else "cpu").line
        if recipe.engine == auto.AUTO:
            yield self._engine_chosen().line
        if recipe.compile == auto.AUTO and device != "cpu":
            steps = recipe.epochs * self.trainer.steps_per_epoch
            yield auto.compile(device, steps, self.trainer.group.world == 1).line
        yield self._kept()

    def _engine_chosen(self) -> Chosen:
        device, reason = self.trainer.fabric.device, failure()
        if reason is not None:
            return Chosen("engine", "plain", reason)
        ahead = "" if device.type == "cpu" else f", on the CPU while {device} computes"
        return Chosen("engine", "fused", f"numba works here: one compiled pass for each image{ahead}")

    def _kept(self) -> str:
        """Where the decoded images are, and why there."""
        source, recipe = self.trainer.source, self.trainer.recipe
        source = source.photographs if isinstance(source, Paired) else source
        limit = f"memory_gib={recipe.memory_gib:g}"
        if isinstance(source, Mapped):
            return f"images are read from the store {source.folder}: {amount(source.images.data.nbytes)}, decoded once"
        if isinstance(source, Stored):
            return f"images are kept in memory: {amount(source.images.data.nbytes)}, decoded once, within {limit}"
        size = "" if source.decoded is None else f"about {amount(source.decoded)} do not fit in {limit}"
        return f"images are decoded anew for each batch: {size or limit}; to decode them once: --set store=DIR"

    def skipped(self) -> None:
        """Name the images found unreadable since the last call, and say how many there are."""
        skipped = tuple(self.trainer.source.skipped)
        for image in skipped[self._named :][:NAMED]:
            self.display.line(f"skipped unreadable image {image.name}: {image.reason}")
        if len(skipped) > self._named:
            self.display.line(f"skipped {len(skipped)} unreadable images so far")
        self._named = len(skipped)

    def numbers(self, step: int, numbers: Mapping[str, float]) -> None:
        """How far it is, with the losses and rates of ``step``."""
        losses = "  ".join(f"{k.removeprefix('loss/')} {v:.3f}" for k, v in numbers.items() if k.startswith("loss"))
        self.display.update(
            step,
            f"epoch {step / self.trainer.steps_per_epoch:.1f}  {losses}  {numbers['images_per_second']:.0f} images/s  "
            f"waiting for data {numbers['data_wait']:.0%}  views {numbers['views_share']:.0%}",
        )
        refused, self._refused = self._refused, self.trainer.passes.refused
        if self._refused and not refused:
            self.display.line(f"each step is launched kernel by kernel: no CUDA graph is used ({self._refused})")

    def health(self, step: int, numbers: Mapping[str, float], warning: str | None) -> None:
        """The health panel of the epoch that ends with ``step``."""
        shown = "  ".join(f"{name} {value:.3f}" for name, value in numbers.items())
        self.display.line(f"epoch {step // self.trainer.steps_per_epoch}: {shown}")
        if warning:
            self.display.line(f"WARNING: {warning}")

    def draw(self, folder: Path, pipelines: Sequence[Pipeline]) -> None:
        """What the network will see: four images with their views of epoch 0. No run fails for a picture."""
        source = self.trainer.source
        try:
            from augaware.picture import views_png

            index = torch.linspace(0, len(source) - 1, min(4, len(source))).long()
            write_file(folder / "views.png", views_png(source, pipelines[:4], index, self.trainer.recipe.seed))
        except Exception as error:
            self.display.line(f"views.png was not drawn: {error}")

    def _engine(self) -> str:
        """Which engine makes the views, and why."""
        device = self.trainer.fabric.device
        where = "" if device.type == "cpu" else f" on {device}"
        if self.trainer.recipe.engine == "plain":
            return f"by the plain engine{where}"
        return "by the fused engine" if failure() is None else f"by the plain engine{where}: {failure()}"
