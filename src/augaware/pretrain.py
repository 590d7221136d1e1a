"""The loop, top to bottom. One step is:

views with omega -> objective -> backward -> optimiser -> EMA target

Order, draws and dropout are functions of (seed, epoch, index, view) and of the step, so a run that was killed
continues from its last checkpoint as if nothing had happened: on a CPU the final weights are the same bit for bit.
What goes wrong meanwhile is for faults.py, what asks to stop for stop.py; saves.py writes checkpoints beside the step.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from augaware import lookup
from augaware.augment.engine.fused import failure, require
from augaware.augment.plan import Camera
from augaware.checkpoint import Run, check_device, environment, refuse_existing, resuming
from augaware.data.base import ImageBatch
from augaware.data.loader import Loader, open_source
from augaware.data.tar import TARS
from augaware.disk import write_file
from augaware.errors import RequestError
from augaware.faults import Watch, diverged, resumable
from augaware.health import Panel
from augaware.hosts.base import Moment
from augaware.initial import initialise, pinned
from augaware.log import Clock, Log
from augaware.memory import keep_freed
from augaware.nets.base import build_encoder
from augaware.objective import Network, Objective, encoder_spec
from augaware.optim import build_optimizer, set_schedules, trained
from augaware.progress import Display
from augaware.random import epoch_order, reseed, word
from augaware.recipe import Recipe
from augaware.saves import Saver, read_newest
from augaware.stop import Stop
from augaware.views import View

SETTLED = 100  # steps before which the embeddings of a healthy run may still all point one way


def start(recipe: Recipe, out: Path | str) -> Run:
    """Pretrain a new run in the folder ``out``, which must not exist. Raises :class:`RequestError` before making it."""
    refuse_existing(out, resuming(out))  # before the images are read
    recipe = pinned(recipe)
    with Display("reading images", total=1) as display:
        trainer = Trainer(recipe, display)
    run = Run.create(out, recipe, environment())
    with run.alone():
        trainer.train(run)
    return run


def resume(path: Path | str) -> Run:
    """Continue a run that was stopped, from its last checkpoint; one that has ended is left as it is."""
    run = Run.open(path)
    if run.exported.exists():
        return run
    data = run.recipe.data
    if not (data.endswith(TARS) or Path(data).expanduser().exists()):
        lookup.check_trusted([data.partition("(")[0]], str(run.path / "recipe.json"))
    with run.alone():
        with Display("reading images", total=1) as display:
            trainer = Trainer(run.recipe, display, begun=run.begun)
        trainer.train(run)
    return run


class Trainer:
    """All that a recipe names, built; wrong requests are found here, before anything is written.

    A run that has ``begun`` has its weights in a checkpoint, not where the recipe's ``init`` says.
    """

    def __init__(self, recipe: Recipe, display: Display, begun: bool = False) -> None:
        self.recipe, self._init = recipe, "" if begun else recipe.init
        check_device(recipe.device)
        self.fabric = Fabric(accelerator=recipe.device, devices=1, precision=_precision(recipe))
        if self.fabric.device.type == "cpu":
            keep_freed()
        self.camera = Camera(recipe)
        self._built(classes=1)  # a wrong spec is found before the images are read
        compiled = self.camera.warm() if self.fabric.device.type == "cpu" else None
        memory = int(recipe.memory_gib * 2**30)
        self.source = open_source(
            recipe.data, recipe.decoded_side, memory, display.reading, store=recipe.store, say=display.line
        )
        objective = self._built(len(self.source.classes) if self.source.labels is not None else None)
        if compiled is not None:
            if not compiled.done():
                display.line("compiling the fused augmentations, once on this machine: some 15 seconds")
            reason = compiled.result()
            if recipe.engine == "fused":
                require(reason)
        self._told = 0  # how many of the source's skipped images the log names
        self.steps_per_epoch = len(self.source) // recipe.batch_size
        if self.steps_per_epoch == 0:
            raise RequestError(
                f"batch_size={recipe.batch_size} is larger than the data: "
                f"{recipe.data!r} has {len(self.source)} images; use --batch-size {max(2, len(self.source))} or less"
            )
        self.total_steps = recipe.epochs * self.steps_per_epoch
        objective.to(memory_format=torch.channels_last)
        optimizer = build_optimizer(objective, recipe)
        self.objective, self.optimizer = self.fabric.setup(objective, optimizer)
        self.panel = Panel(self.source, self.camera.pipelines[0], recipe.health_images, recipe.seed)

    def _built(self, classes: int | None) -> Objective:
        """The objective with the initial weights of the recipe's seed."""
        recipe = self.recipe
        torch.manual_seed(word(recipe.seed))
        spaces = self.camera.pipelines[0].spaces
        f = build_encoder(encoder_spec(recipe.encoder, recipe.aware, spaces))
        initialise(f, self._init)
        objective = Objective.from_specs(f, recipe.host, recipe.aware, spaces, classes)
        objective.check_views(len(self.camera.pipelines))
        self.camera.check(objective.plan(len(self.camera.pipelines)), recipe.batch_size)
        if not any(p.requires_grad for p in f.parameters()):
            raise RequestError(f"encoder {recipe.encoder!r} has nothing to train")
        return objective

    def train(self, run: Run) -> None:
        """Train from the run's last checkpoint to the end, then export f."""
        recipe, step, saver = self.recipe, *self._restore(run)
        kept = {round((i + 1) * self.total_steps / recipe.snapshots) for i in range(recipe.snapshots)}
        title = f"{recipe.host} + {' + '.join(recipe.aware) or 'vanilla'}"
        with (
            resumable(run.path, lambda: saver.step),
            Display(title, self.total_steps, run.path / "log.txt", start=step) as display,
            Log(run.path, step, display.line) as log,
            Stop() as stop,
            saver,
        ):
            self._describe(display, step)
            if step == 0:
                self._draw(run, display)
            watch, saved = Watch(), time.monotonic()
            while step < self.total_steps:
                epoch, first = divmod(step, self.steps_per_epoch)
                batches = self._batches(epoch)[first : self.steps_per_epoch]
                loader = Loader(self.source, batches)
                clock, parts = Clock(), dict[str, Tensor]()
                for batch in loader:
                    if len(batch) > 1:  # fewer are left only where images of a large source cannot be read
                        parts, seconds = self._step(step, epoch, batch)
                        clock.add(len(batch), seconds)
                        watch.see(step, parts["loss"])
                    step += 1
                    saver.check()
                    ended, asked = step % self.steps_per_epoch == 0, stop.agreed()
                    due = ended or asked or time.monotonic() - saved >= recipe.checkpoint_seconds
                    logged = step % recipe.log_steps == 0 or ended
                    if logged or due or self.fabric.device.type == "cpu":
                        self._check_finite(run, watch, parts)
                    if logged:
                        numbers = {k: v.item() for k, v in parts.items()} | clock.rates(loader.waited)
                        log.write(step, step / self.steps_per_epoch, numbers)
                        display.update(step, _shown(step / self.steps_per_epoch, numbers))
                    if step in kept:
                        run.export(self._network.f, f"snapshots/step-{step:06d}.safetensors")
                    if ended:
                        self._tell_skipped(display)
                    if ended and recipe.health_images:
                        self._look(step, display, log)
                    if due:
                        log.settle()
                        self._save(saver, step)
                        saved = time.monotonic()
                    if asked and step < self.total_steps:
                        saver.wait()
                        display.line(stop.line(step, run.path))
                        stop.leave()
            saver.wait()
            run.export(self._network.f)
            display.line(f"done: {self.total_steps} steps in {run.path}")

    def _batches(self, epoch: int) -> Sequence[Tensor]:
        """The indices of each step's images in ``epoch``."""
        return torch.split(epoch_order(len(self.source), self.recipe.seed, epoch), self.recipe.batch_size)

    def _check_finite(self, run: Run, watch: Watch, parts: dict[str, Tensor]) -> None:
        """Raise :class:`RunError` where the loss of a step was NaN or infinite."""
        bad = watch.first()
        if bad is not None:
            epoch, first = divmod(bad, self.steps_per_epoch)
            raise diverged(run.path, bad, epoch, self._batches(epoch)[first], self.source.names, parts)

    def _step(self, step: int, epoch: int, batch: ImageBatch) -> tuple[dict[str, Tensor], float]:
        """One step; the loss and its parts, and the seconds that the views took."""
        recipe, now = self.recipe, Moment(step, self.total_steps, self.steps_per_epoch)
        set_schedules(self.optimizer, recipe, step, self.steps_per_epoch)
        self._objective.before_step(now)
        reseed(self.fabric.device, recipe.seed, step)  # dropout, and whatever else a network draws
        began = time.perf_counter()
        labels = None
        if self._objective.host.needs_labels and self.source.labels is not None:
            labels = self.source.labels[batch.index].to(self.fabric.device)
        batch = batch.to(self.fabric.device)
        views = self.views(batch, epoch)
        seconds = time.perf_counter() - began
        parts: dict[str, Tensor] = self.objective(views, labels)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(parts["loss"])
        self._objective.after_backward(now)
        if recipe.clip_norm:
            nn.utils.clip_grad_norm_(trained(self.optimizer), recipe.clip_norm)
        self.optimizer.step()
        self._objective.after_step(now)
        return {k: v.detach() for k, v in parts.items()}, seconds

    def views(self, batch: ImageBatch, epoch: int) -> list[View]:
        """The views of a step, as the objective plans them."""
        plan = self._objective.plan(len(self.camera.pipelines))
        return self.camera.take(plan, batch.images, batch.sizes, batch.index, self.recipe.seed, epoch)

    def _look(self, step: int, display: Display, log: Log) -> None:
        health = self.panel.look(self._network, self.fabric.device)
        log.write(step, step / self.steps_per_epoch, {f"health/{k}": v for k, v in health.numbers.items()})
        display.line(
            f"epoch {step // self.steps_per_epoch}: " + "  ".join(f"{k} {v:.3f}" for k, v in health.numbers.items())
        )
        if health.warning and (step >= SETTLED or not health.numbers):  # no numbers: it has diverged
            display.line(f"WARNING: {health.warning}")

    def _draw(self, run: Run, display: Display) -> None:
        """What the network will see: four images with their views of epoch 0. No run fails for a picture."""
        try:
            from augaware.picture import views_png

            index = torch.linspace(0, len(self.source) - 1, min(4, len(self.source))).long()
            png = views_png(self.source, self.camera.pipelines[:4], index, self.recipe.seed)
            write_file(run.path / "views.png", png)
        except Exception as error:
            display.line(f"views.png was not drawn: {error}")

    def _describe(self, display: Display, step: int) -> None:
        recipe = self.recipe
        display.line(
            f"{'resuming at step ' + str(step) if step else 'pretraining'}: {recipe.encoder} with {recipe.host}, "
            f"aware {', '.join(recipe.aware) or 'vanilla'}; "
            f"{len(self.source)} images of {recipe.data!r} at {recipe.size} px; {recipe.epochs} epochs of "
            f"{self.steps_per_epoch} steps; {self.fabric.device}, {_precision(recipe)}, views {self._engine()}"
        )
        if self._init:
            display.line(f"f starts from {recipe.init} (file#sha256)")
        self._tell_skipped(display)

    def _engine(self) -> str:
        """Which engine makes the views, and why."""
        if self.fabric.device.type != "cpu":
            return f"by plain torch on {self.fabric.device}"
        if self.recipe.engine == "plain":
            return "by the plain engine"
        return "by the fused engine" if failure() is None else f"by the plain engine: {failure()}"

    def _tell_skipped(self, display: Display) -> None:
        """Name the images found unreadable since the last call, twenty at most, and say how many there are."""
        skipped = tuple(self.source.skipped)
        for image in skipped[self._told :][:20]:
            display.line(f"skipped unreadable image {image.name}: {image.reason}")
        if len(skipped) > self._told:
            display.line(f"skipped {len(skipped)} unreadable images so far")
        self._told = len(skipped)

    @property
    def _objective(self) -> Objective:
        """The objective without Fabric's wrapper."""
        module = self.objective.module
        assert isinstance(module, Objective)
        return module

    @property
    def _network(self) -> Network:
        return self._objective.online

    def _save(self, saver: Saver, step: int) -> None:
        state = {"model": self._objective.state_dict(), "optimizer": self.optimizer.state_dict()}
        saver.save({"step": step, "fingerprint": self.source.fingerprint, "recipe": self.recipe.to_json(), **state})

    def _restore(self, run: Run) -> tuple[int, Saver]:
        """The step to go on from, 0 for a new run; and who saves from there on."""
        found, keep = read_newest(run.last), self.recipe.checkpoints
        if found is None:
            return 0, Saver(run.last, keep)
        state, file = found
        run.check_unchanged(state.get("recipe"))
        if state["fingerprint"] != self.source.fingerprint:
            raise RequestError(
                f"data {self.recipe.data!r} has changed since {str(run.path)!r} was started; put the same images back"
            )
        step = int(state["step"])
        try:
            self._objective.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError):
            raise RequestError(
                f"the checkpoint of {str(run.path)!r} does not fit its recipe.json, which was changed; put it back"
            ) from None
        return step, Saver(run.last, keep, step, whole=file == run.last)


def _precision(recipe: Recipe) -> Any:
    """Fabric's name for the recipe's precision; auto is bf16 where the hardware multiplies it natively."""
    if recipe.precision != "auto":
        return {"fp32": "32-true", "bf16": "bf16-mixed"}[recipe.precision]
    if recipe.device != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    native = torch.cpu.get_capabilities()
    return "bf16-mixed" if native.get("avx512_bf16") or native.get("amx_bf16") else "32-true"


def _shown(epoch: float, numbers: dict[str, float]) -> str:
    losses = "  ".join(f"{k.removeprefix('loss/')} {v:.3f}" for k, v in numbers.items() if k.startswith("loss"))
    return (
        f"epoch {epoch:.1f}  {losses}  {numbers['images_per_second']:.0f} images/s  "
        f"waiting for data {numbers['data_wait']:.0%}  views {numbers['views_share']:.0%}"
    )
