"""The loop, top to bottom. One step is:

views with omega -> objective -> backward -> optimiser -> EMA target

Order, draws and dropout are functions of (seed, epoch, index, view) and of the step, so a run that was killed
continues from its last checkpoint as if nothing had happened: on a CPU the final weights are the same bit for bit.
What goes wrong meanwhile is for faults.py, what asks to stop for stop.py; saves.py writes checkpoints beside the step,
processes.py knows of the others, where several train one run, and telling.py says what there is to say.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import wait
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from augaware import auto
from augaware.augment.engine.fused import require
from augaware.augment.plan import Camera, recorded
from augaware.checkpoint import Run, check_device, environment, refuse_existing, resuming
from augaware.data.base import ImageBatch
from augaware.data.loader import Loader, known
from augaware.distributed import averaged, local, total
from augaware.errors import RequestError
from augaware.faults import LossWatch, diverged, resumable
from augaware.gpu import Captured, Passes, compile_networks
from augaware.health import Panel
from augaware.hosts.base import Moment
from augaware.images import check_data, check_share, opened
from augaware.initial import initialise, pinned
from augaware.log import Clock, Log, build_loggers, check_installed
from augaware.memory import keep_freed
from augaware.nets.base import build_encoder
from augaware.nets.synchronised import synchronised
from augaware.objective import Objective, encoder_spec
from augaware.optim import build_optimizer, set_schedules, trained
from augaware.processes import Processes, Started, fabric, together
from augaware.progress import Display
from augaware.random import epoch_order, reseed, word
from augaware.recipe import Recipe
from augaware.sharded import Shards, check_shardable
from augaware.state import State
from augaware.stop import Stop
from augaware.supply import Made, Supply
from augaware.telling import Teller

PATIENT = 3.0  # seconds in which augmentations that are compiled already are read from the disk
SETTLED = 100  # steps before which the embeddings of a healthy run may still all point one way


def start(recipe: Recipe, out: Path | str) -> Run:
    """Pretrain a new run in the folder ``out``, which must not exist. Raises :class:`RequestError` before making it."""
    with together(recipe) as group:
        with group.agreeing():
            if group.first:
                refuse_existing(out, resuming(out))  # before the images are read
                check_installed(recipe.loggers)
            recipe = pinned(recipe).changed({"known": known(recipe.data)})
        with Display("reading images", total=1, silent=not group.first) as display:
            trainer = Trainer(recipe, display, group)
        with group.agreeing():
            run = Run.create(out, trainer.recipe, environment()) if group.first else Run(Path(out), trainer.recipe)
        with group.holding(run.alone()):
            trainer.train(run)
    return run


def resume(path: Path | str) -> Run:
    """Continue a run that was stopped, from its last checkpoint; one that has ended is left as it is."""
    run = Run.open(path)
    if run.exported.exists():
        return run
    check_data(run)
    with together(run.recipe) as group, group.holding(run.alone()):
        with Display("reading images", total=1, silent=not group.first) as display:
            trainer = Trainer(run.recipe, display, group, begun=run.begun)
        trainer.train(run)
    return run


class Trainer:
    """All that a recipe names, built; wrong requests are found here, before anything is written.

    A run that has ``begun`` has its weights in a checkpoint, not where the recipe's ``init`` says. ``group``: the
    processes that train it; None is this one alone.
    """

    def __init__(self, recipe: Recipe, display: Display, group: Processes | None = None, begun: bool = False) -> None:
        check_device(recipe.device)
        self.recipe, self._init = recipe, "" if begun else recipe.init
        self.group = group or Processes(Started({}), recipe.stuck_seconds)
        sharded = recipe.strategy == "fsdp" and self.group.world > 1
        with self.group.agreeing():  # a wrong spec is found before the images are read
            self.share = self.group.share(recipe.batch_size)
            self.camera, self.loggers = Camera(recipe), build_loggers(recipe.loggers)
            self.camera.check_acting(recipe.channels or 3)
            draft = self._built(classes=1)
            if sharded:
                check_shardable(draft, recipe)
        resting = any(a.resting for a in draft.aware) and any(True for _ in draft.hosts.parameters())
        self.fabric = fabric(self.group, recipe, some_unused=resting, shard=Shards.shard)
        keep_freed()
        with self.group.agreeing():
            objective = self._opened(display)
        recipe = self.recipe
        data = f"{self.source.fingerprint} {recipe.mean} {recipe.std}"
        self.group.equal(data, f"data {recipe.data!r} is not the same for all processes")
        layout = torch.contiguous_format if sharded else torch.channels_last  # torch divides no other
        objective.to(self.fabric.device).to(memory_format=layout)
        if self.group.world > 1:
            synchronised(objective)
        alone, device = self.group.world == 1, self.fabric.device
        if auto.compile(device.type, self.total_steps, alone).taken(recipe.compile) == "yes":
            compile_networks(objective)
        shards = Shards(objective) if sharded else None
        self.objective = self.fabric.setup_module(objective)
        optimizer = build_optimizer(objective, recipe)
        self.optimizer: Any = self.fabric.setup_optimizers(optimizer)
        self.state = State(recipe, objective, optimizer, self.source.fingerprint, self.group, shards, device)
        step = self.objective, self.optimizer, self.fabric.backward
        self.passes = Captured(objective, *step) if device.type == "cuda" and alone else Passes(*step)
        self.supply = Supply(self.camera, objective, device, recipe.seed)
        self.panel = Panel(self.source, self.camera.pipelines[0], recipe.health_images, recipe.seed)

    def _opened(self, display: Display) -> Objective:
        """The objective, once the images are read and the augmentations compiled."""
        recipe = self.recipe
        compiled = self.camera.warm()
        self.source, recipe = opened(recipe, display)
        self.recipe = recipe
        self.camera = Camera(recipe, pinned=self.fabric.device.type == "cuda")
        objective = self._built(len(self.source.classes) if self.source.labels is not None else None)
        self.steps_per_epoch = len(self.source) // recipe.batch_size
        if self.steps_per_epoch == 0:
            raise RequestError(
                f"batch_size={recipe.batch_size} is larger than the data: "
                f"{recipe.data!r} has {len(self.source)} images; use --batch-size {max(2, len(self.source))} or less"
            )
        if compiled is not None:  # last: a wrong request is said without waiting, and without a line before it
            if not wait([compiled], PATIENT).done:
                display.line("compiling the fused augmentations, once on this machine: some 15 seconds")
            reason = compiled.result()
            if recipe.engine == "fused":
                require(reason)
        self.total_steps = recipe.epochs * self.steps_per_epoch
        return objective

    def _built(self, classes: int | None) -> Objective:
        """The objective with the initial weights of the recipe's seed."""
        recipe = self.recipe
        torch.manual_seed(word(recipe.seed))
        spaces = recorded(recipe)
        f = build_encoder(encoder_spec(recipe.encoder, recipe.aware, spaces))
        initialise(f, self._init)
        objective = Objective.from_specs(f, recipe.host, recipe.aware, spaces, classes)
        objective.check_views(len(self.camera.pipelines))
        self.camera.check(objective.plan(len(self.camera.pipelines)), self.share)
        objective.spare_memory(recipe.chunk, recipe.recompute)
        if not any(p.requires_grad for p in f.parameters()):
            raise RequestError(f"encoder {recipe.encoder!r} has nothing to train")
        return objective

    def train(self, run: Run) -> None:
        """Train from the run's last checkpoint to the end, then export f."""
        recipe, silent = self.recipe, not self.group.first
        with self.group.agreeing():
            step, saver = self.state.restore(run)
        self.group.equal(str(step), f"{str(run.path)!r} has not the same checkpoint for all processes")
        kept = {round((i + 1) * self.total_steps / recipe.snapshots) for i in range(recipe.snapshots)}
        title = f"{recipe.host} + {' + '.join(recipe.aware) or 'vanilla'}"
        with (
            resumable(run.path, None if silent else lambda: saver.step),
            Display(title, self.total_steps, run.path / "log.txt", start=step, silent=silent) as display,
            Log(run.path, step, display.line, silent, self.loggers, asdict(recipe)) as log,
            Stop() as stop,
            saver,
        ):
            teller = Teller(self, display)
            teller.begin(step, self._init)
            if step == 0 and not silent:
                teller.draw(run.path, self.camera.pipelines)
            watch, saved = LossWatch(), time.monotonic()
            while step < self.total_steps:
                epoch, place = divmod(step, self.steps_per_epoch)
                batches = self._batches(epoch)[place : self.steps_per_epoch]
                source = self.source.shuffled(recipe.seed, epoch)
                loader = Loader(self.supply.prepared(source.batch, epoch), [local(batch) for batch in batches])
                clock, parts = Clock(), dict[str, Tensor]()
                for batch, views in loader:
                    if self.group.world > 1:
                        check_share(self.source, batch, self.share, step)
                    if len(batch) > 1:  # fewer are left only where images of a large source cannot be read
                        parts, seconds = self._step(step, epoch, batch, views)
                        clock.add(len(batch) * self.group.world, seconds)
                        watch.see(step, parts["loss"])
                    step += 1
                    saver.check()
                    ended = step % self.steps_per_epoch == 0
                    logged = step % recipe.log_steps == 0 or ended
                    asked = self._agreed(stop, logged)
                    due = self.state.due(ended or asked or time.monotonic() - saved >= recipe.checkpoint_seconds)
                    if logged or due or self.fabric.device.type == "cpu":
                        self._check_finite(run, watch, parts)
                    if logged:
                        numbers = {k: v.item() for k, v in averaged(parts).items()} | clock.rates(loader.waited)
                        log.write(step, step / self.steps_per_epoch, numbers)
                        teller.numbers(step, numbers)
                    if step in kept:
                        self.state.export(run, f"snapshots/step-{step:06d}.safetensors")
                    if ended:
                        teller.skipped()
                    if ended and recipe.health_images:
                        self._look(step, teller, log)
                    if due:
                        log.settle()
                        self.state.save(saver, step)
                        saved = time.monotonic()
                    if asked and step < self.total_steps:
                        saver.wait()
                        # none leaves before process 0 has saved; all leave as one of those that were asked
                        stop.asked = max(int(number) for number in self.group.told(str(stop.asked)))
                        display.line(stop.line(step, run.path))
                        stop.leave()
            saver.wait()
            self.state.export(run)
            display.line(f"done: {self.total_steps} steps in {run.path}")

    def _batches(self, epoch: int) -> Sequence[Tensor]:
        """The indices of each step's images in ``epoch``."""
        return torch.split(epoch_order(len(self.source), self.recipe.seed, epoch), self.recipe.batch_size)

    def _check_finite(self, run: Run, watch: LossWatch, parts: dict[str, Tensor]) -> None:
        """Raise :class:`RunError` where the loss of a step was NaN or infinite."""
        bad = watch.first()
        if bad is not None:
            epoch, place = divmod(bad, self.steps_per_epoch)
            raise diverged(run.path, bad, epoch, self._batches(epoch)[place], self.source.names, parts)

    def _step(self, step: int, epoch: int, batch: ImageBatch, made: Made = None) -> tuple[dict[str, Tensor], float]:
        """One step; the loss and its parts, and the seconds that the views took, unless they were ``made`` before."""
        self.group.at(step)
        recipe, now = self.recipe, Moment(step, self.total_steps, self.steps_per_epoch)
        set_schedules(self.optimizer, recipe, step, self.steps_per_epoch)
        self._objective.before_step(now)
        reseed(self.fabric.device, recipe.seed, step)  # dropout, and whatever else a network draws
        began = time.perf_counter()
        labels = None
        if self._objective.host.needs_labels and self.source.labels is not None:
            labels = self.source.labels[batch.index].to(self.fabric.device)
        views = self.supply.views(batch, epoch, made)
        seconds = time.perf_counter() - began
        if self.group.world > 1:  # each process draws for its own images; what was planned is the same for all
            reseed(self.fabric.device, recipe.seed, step, self.group.rank)
        self.group.at(step, late=True)
        parts = self.passes(views, labels)
        self._objective.after_backward(now)
        if recipe.clip_norm:
            nn.utils.clip_grad_norm_(trained(self.optimizer), recipe.clip_norm)
        self.optimizer.step()
        self._objective.after_step(now)
        return {k: v.detach() for k, v in parts.items()}, seconds

    def _look(self, step: int, teller: Teller, log: Log) -> None:
        network = self.state.network()
        if not self.group.first:
            return
        health = self.panel.look(network, self.fabric.device)
        log.write(step, step / self.steps_per_epoch, {f"health/{k}": v for k, v in health.numbers.items()})
        settled = step >= SETTLED or not health.numbers  # no numbers: it has diverged
        teller.health(step, health.numbers, health.warning if settled else None)

    @property
    def _objective(self) -> Objective:
        """The objective without Fabric's wrapper."""
        module = self.objective.module
        assert isinstance(module, Objective)
        return module

    def _agreed(self, stop: Stop, now: bool) -> bool:
        """Whether to stop after this step; of several processes one is enough, and all hear of it where they log."""
        if self.group.world == 1:
            return stop.asked != 0
        return now and bool(total(torch.tensor(float(stop.asked != 0), device=self.fabric.device)))
