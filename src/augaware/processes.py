"""The processes that train one run: who starts them, which one this is, what they tell each other beside tensors.

torchrun and SLURM's srun start them and leave in the environment how many there are; without either there is one. They
meet at a store (a small server of texts), through which they agree: what one of them cannot do, none does, and all say
the same line. The tensors' way is :mod:`augaware.distributed`.
"""

from __future__ import annotations

import inspect
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.strategies.strategy import Strategy
from torch import nn
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from augaware import auto, launched
from augaware.errors import RequestError, RunError
from augaware.quiet import quiet
from augaware.recipe import Recipe
from augaware.watch import BEAT, Watch

LONG = timedelta(days=7)  # a collective's own time-out: the watch is the one that ends
PORTS = 15000  # from here on, SLURM's jobs meet at one of 10000 ports, by their number


class Started(ClusterEnvironment):
    """Which process this is, as torchrun (``RANK``, ...) or srun (``SLURM_PROCID``, ...) says; what Fabric asks."""

    creates_processes_externally = True

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        slurm = launched.by_slurm(environ)
        self._rank, self.world, self._local, self._node = launched.place(environ)
        if slurm:
            self.nodes = int(environ.get("SLURM_STEP_NUM_NODES", "1"))
            nodes = environ.get("SLURM_STEP_NODELIST", "127.0.0.1")
            address = SLURMEnvironment.resolve_root_node_address(nodes)
            port = PORTS + int(environ.get("SLURM_JOB_ID", "0")) % 10000
        else:
            self.nodes = self.world // int(environ.get("LOCAL_WORLD_SIZE", str(self.world)))
            address, port = "127.0.0.1", 12910
        if self.world % self.nodes:
            raise RequestError(
                f"{self.world} processes on {self.nodes} machines: start as many on each, "
                f"such as {-(-self.world // self.nodes)}"
            )
        self._address = environ.get("MASTER_ADDR", address)
        self._port = int(environ.get("MASTER_PORT", port))

    @property
    def here(self) -> int:
        """The number of processes on this machine."""
        return self.world // self.nodes

    @property
    def main_address(self) -> str:
        """Where process 0 is."""
        return self._address

    @property
    def main_port(self) -> int:
        """Where the store listens."""
        return self._port

    @staticmethod
    def detect() -> bool:
        """Never found by Fabric itself: it is handed over."""
        return False

    def world_size(self) -> int:
        """The number of processes."""
        return self.world

    def set_world_size(self, size: int) -> None:
        """Nothing: it is given."""

    def global_rank(self) -> int:
        """The number of this process."""
        return self._rank

    def set_global_rank(self, rank: int) -> None:
        """Nothing: it is given."""

    def local_rank(self) -> int:
        """The number of this process on its machine."""
        return self._local

    def node_rank(self) -> int:
        """The number of its machine."""
        return self._node


class Processes:
    """All processes of a run, seen from this one; a single one has no store and is alone with itself."""

    def __init__(self, started: Started, patience: float) -> None:
        self.started, self.rank, self.world = started, started.global_rank(), started.world
        self.first = self.rank == 0
        self._store: Store | None = None
        self._rounds = 0
        self.watch: Watch | None = None
        if self.world > 1:
            self._store, beats = _met(started, patience)
            names = dict(enumerate(self.told(f"process {self.rank} of {self.world} on {socket.gethostname()}")))
            self.watch = Watch(beats, self.rank, names, patience)

    def share(self, batch_size: int) -> int:
        """How many of a batch's images each process takes. Raises :class:`RequestError`."""
        if batch_size % self.world or batch_size < 2 * self.world:
            fit = max(2, round(batch_size / self.world)) * self.world
            raise RequestError(
                f"batch_size={batch_size} cannot be divided among {self.world} processes, two images or more each; "
                f"use --batch-size {fit}"
            )
        return batch_size // self.world

    def told(self, text: str, last: bool = False) -> list[str]:
        """The texts of all processes, in the order of their numbers: it waits for each.

        Process 0, which may keep the store, comes back once all have read; ``last``: and no process watches any more.
        """
        if self._store is None:
            return [text]
        self._rounds += 1
        keys = [f"round {self._rounds}/{rank}" for rank in range(self.world)]
        self._store.set(keys[self.rank], text)
        found = [self._read(key) for key in keys]
        if last and self.watch is not None:
            self.watch.stop()
        self._store.set(f"{keys[self.rank]} has read", "")
        if self.first:
            for key in keys:
                self._read(f"{key} has read")
        return found

    def _read(self, key: str) -> str:
        """What is in the store at ``key``, once it is there."""
        assert self._store is not None
        while not self._store.check([key]):
            time.sleep(0.02)
        return self._store.get(key).decode()

    @contextmanager
    def agreeing(self) -> Iterator[None]:
        """A block in which a :class:`RequestError` of one process is raised by all, once all have come to its end."""
        refused = ""
        try:
            yield
        except RequestError as error:
            refused = str(error)
        lines = [line for line in self.told(refused) if line]
        if lines:
            raise RequestError(lines[0]) from None

    @contextmanager
    def holding(self, context: AbstractContextManager[object]) -> Iterator[None]:
        """A block in which process 0 is inside ``context``; where it cannot be, all raise."""
        with ExitStack() as held:
            with self.agreeing():
                if self.first:
                    held.enter_context(context)
            yield

    def equal(self, text: str, refusal: str) -> None:
        """Raise :class:`RequestError` of ``refusal`` unless all processes say the same ``text``."""
        if len(set(self.told(text))) > 1:
            raise RequestError(refusal)

    def at(self, step: int, late: bool = False) -> None:
        """This process begins ``step``, or, ``late`` in it, the part in which it waits for the others."""
        if self.watch is not None:
            self.watch.at(2 * step + 1 + late, f"step {step + 1}")


@contextmanager
def together(recipe: Recipe) -> Iterator[Processes]:
    """The processes of a run, joined inside: tensors pass between them, and each watches over the others."""
    group = Processes(Started(), recipe.stuck_seconds)
    if group.watch is None or group._store is None:
        yield group
        return
    group.equal(recipe.to_json(), "the processes were not started with the same recipe; give all the same arguments")
    cuda = recipe.device != "cpu" and torch.cuda.is_available()
    if cuda and group.started.here > torch.cuda.device_count():
        raise RequestError(
            f"{group.started.here} processes are on this machine, and each sees {torch.cuda.device_count()} CUDA "
            "devices; start one for each device, and let each see all (without --gpus-per-task)"
        )
    joined = dist.is_initialized()
    if not joined:
        store = PrefixStore("tensors", group._store)
        backend = "nccl" if cuda else "gloo"
        dist.init_process_group(backend, store=store, rank=group.rank, world_size=group.world, timeout=LONG)
    group.watch.start()
    try:
        yield group
        group.told("done", last=True)  # nobody leaves while another may wait for it
    except BaseException as error:
        # torch has no one class for a collective that failed, and a run says in a line of its own what it met
        met = (isinstance(error, RunError) and error.__cause__) or error
        failed = isinstance(met, RuntimeError) and not isinstance(met, RunError)
        found = group.watch.culprit() if failed else None
        group.watch.stop(f"{type(met).__name__}: {met}".splitlines()[0])
        if group.first and isinstance(error, Exception):
            time.sleep(2 * BEAT)  # the store goes with it: the others read its last words before
        if found is None:
            raise
        raise RunError(f"{found}; the run goes on from its last checkpoint with: augaware resume DIR") from None
    finally:
        if not joined:
            dist.destroy_process_group()


def fabric(group: Processes, recipe: Recipe, some_unused: bool, shard: Callable[..., nn.Module]) -> Fabric:
    """Lightning's Fabric for this process.

    ``some_unused``: a step does not use all parameters. ``shard`` divides a module over a mesh, for FSDP.
    """
    with quiet("lightning_fabric", logging.WARNING):
        return _fabric(group, recipe, some_unused, shard)


def _fabric(group: Processes, recipe: Recipe, some_unused: bool, shard: Callable[..., nn.Module]) -> Fabric:
    if group.world == 1:
        return Fabric(accelerator=recipe.device, devices=1, precision=precision(recipe))
    buffers = "forward_sync_buffers"  # torch 2.15's name of broadcast_buffers
    if buffers not in inspect.signature(DistributedDataParallel).parameters:
        buffers = "broadcast_buffers"
    # they are equal as they are: statistics, queues and centres are gathered
    given: dict[str, Any] = {buffers: False, "find_unused_parameters": some_unused}
    strategy: Strategy = DDPStrategy(**given)
    if recipe.strategy == "fsdp":
        strategy = ModelParallelStrategy(shard, data_parallel_size=group.world, tensor_parallel_size=1)
    made = Fabric(
        accelerator=recipe.device,
        devices=group.started.here,
        num_nodes=group.started.nodes,
        strategy=strategy,
        plugins=[group.started],
        precision=precision(recipe),
    )
    made.launch()
    return made


def precision(recipe: Recipe) -> Any:
    """Fabric's name for the recipe's precision; auto is bf16 where the hardware multiplies it natively."""
    device = "cuda" if recipe.device != "cpu" and torch.cuda.is_available() else "cpu"
    return {"fp32": "32-true", "bf16": "bf16-mixed"}[auto.precision(device).taken(recipe.precision)]


def _met(started: Started, patience: float) -> tuple[Store, Store]:
    """Two connections to the store, once all processes have come to it."""
    query = f"rank={started.global_rank()}&world_size={started.world}"
    url = f"tcp://{started.main_address}:{started.main_port}/?{query}"
    try:
        store, _, _ = next(rendezvous(url, timeout=timedelta(seconds=patience)))
    except RuntimeError as error:
        raise RequestError(
            f"process {started.global_rank()} of {started.world} did not meet the others at {started.main_address}:"
            f"{started.main_port} within {patience:g} s: {str(error).splitlines()[0]}"
        ) from None
    call = store.add(f"calls of {started.global_rank()}", 1)  # a program may train more than one run
    return PrefixStore(f"run {call}", store), PrefixStore(f"run {call}", _again(store))


def _again(store: Store) -> Store:
    """A second connection to a store."""
    if hasattr(store, "clone"):
        return store.clone()
    while isinstance(store, PrefixStore):  # an older torch cannot say a prefix, which is the attempt of torchrun
        store = store.underlying_store
    assert isinstance(store, TCPStore)
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return PrefixStore(f"attempt {attempt}", TCPStore(store.host, store.port, is_master=False, wait_for_workers=False))
