"""The steps of lightly and solo-learn, each made of its own parts as its own examples do; nothing of ours within.

Encoder, batch, views and the widths of the projector are ours; a peer is handed the views, and neither logs nor waits
for data. By default both compute in float32 and channels first, as their examples do without a GPU; at our precision
they get bf16 by autocast and channels last, as Lightning would. A peer is imported in its own class.
"""

from __future__ import annotations

import copy
import sys
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from augaware.bench.base import Work
from augaware.bench.own_steps import Job
from augaware.lookup import parse
from augaware.nets.base import build_encoder
from augaware.recipe import Recipe

QUEUE, MOMENTUM = 4096, 0.999
HOSTS = ("simclr", "moco_v2")


class Peer(Work):
    """A peer's steps; ``bf16``: at our precision."""

    package: ClassVar[str]
    module: ClassVar[str]
    note: ClassVar[str]

    def __init__(self, job: Job, folder: Path, device: str, bf16: bool) -> None:
        self.items, self.device, self.bf16 = job.batch, device, bf16
        layout = torch.channels_last if bf16 else torch.contiguous_format
        self.views = [view.image.contiguous(memory_format=layout) for view in job.views(folder, device)]
        torch.manual_seed(0)
        encoder = build_encoder(job.encoder)
        self.recipe = Recipe(data="", batch_size=job.batch)
        self.net = self.build(encoder.backbone, encoder.dim, parse(job.host).name).to(device).to(memory_format=layout)
        self.optimizer = self.optimise()

    @abstractmethod
    def build(self, backbone: nn.Module, dim: int, host: str) -> nn.Module:
        """All that is trained, for one of HOSTS."""

    @abstractmethod
    def loss(self, one: Tensor, two: Tensor) -> Tensor:
        """The loss of a step, from its two views."""

    def optimise(self) -> torch.optim.Optimizer:
        """SGD with momentum, as our recipes have it."""
        trained = [p for p in self.net.parameters() if p.requires_grad]
        return torch.optim.SGD(trained, lr=0.06, momentum=0.9, weight_decay=5e-4)

    def after(self) -> None:
        """What follows the optimiser's step."""

    def __call__(self, passes: int) -> float:
        """One pass is one step."""
        for _ in range(passes):
            with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
                loss = self.loss(*self.views)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.after()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return 0.0


class Lightly(Peer):
    """lightly's heads, NTXentLoss and update_momentum, as in its examples of SimCLR and MoCo."""

    package = module = "lightly"
    note = "its heads, loss and momentum update, the views one after the other as in its examples"

    def build(self, backbone: nn.Module, dim: int, host: str) -> nn.Module:
        """Backbone and head; for MoCo their copies, which take no gradient, and a bank of keys."""
        from lightly.loss import NTXentLoss
        from lightly.models.modules.heads import MoCoProjectionHead, SimCLRProjectionHead

        self.moco = host == "moco_v2"
        head = (MoCoProjectionHead if self.moco else SimCLRProjectionHead)(dim, dim, 128)
        self.criterion = NTXentLoss(0.2, memory_bank_size=(QUEUE, 128) if self.moco else 0)
        net = nn.ModuleDict({"backbone": backbone, "head": head, "criterion": self.criterion})
        if self.moco:
            from lightly.models.utils import deactivate_requires_grad

            for name in ("backbone", "head"):
                net[f"{name}_momentum"] = copy.deepcopy(net[name])
                deactivate_requires_grad(net[f"{name}_momentum"])
        return net

    def loss(self, one: Tensor, two: Tensor) -> Tensor:
        """SimCLR: of the two; MoCo: of a query and its key, the momentum update before."""
        net: Any = self.net
        if not self.moco:
            both = [net["head"](net["backbone"](view)) for view in (one, two)]
            return self.criterion(*both)  # type: ignore[no-any-return]
        from lightly.models.utils import update_momentum

        for name in ("backbone", "head"):
            update_momentum(net[name], net[f"{name}_momentum"], m=MOMENTUM)
        query = net["head"](net["backbone"](one))
        with torch.no_grad():
            key = net["head_momentum"](net["backbone_momentum"](two))
        return self.criterion(query, key)  # type: ignore[no-any-return]


class Solo(Peer):
    """solo-learn's methods: their training_step, their optimiser, their momentum update, without Lightning's loop."""

    package, module = "solo-learn", "solo"
    note = "its training_step, with the online classifier; its MoCo v2 is symmetric, twice the passes of ours"

    def build(self, backbone: nn.Module, dim: int, host: str) -> nn.Module:
        """Its LightningModule, with the encoder of all sides in the place of its own."""
        _old_bolts()
        from solo.methods.mocov2plus import MoCoV2Plus
        from solo.methods.simclr import SimCLR

        given: dict[str, Any] = {
            **{"encoder": "resnet18", "backbone_args": {}, "num_classes": 10, "max_epochs": 1, "scheduler": "none"},
            **{"batch_size": self.items, "optimizer": "sgd", "lars": False, "exclude_bias_n_norm": False, "lr": 0.06},
            **{"weight_decay": 5e-4, "classifier_lr": 0.1, "accumulate_grad_batches": 1, "min_lr": 0.0},
            **{"extra_optimizer_args": {"momentum": 0.9}, "warmup_start_lr": 0.0, "warmup_epochs": 0},
            **{"num_large_crops": 2, "num_small_crops": 0, "temperature": 0.2},
            **{"proj_output_dim": 128, "proj_hidden_dim": dim},
        }
        self.moco = host == "moco_v2"
        if self.moco:
            given |= {"base_tau_momentum": MOMENTUM, "final_tau_momentum": 1.0, "momentum_classifier": False}
            method = MoCoV2Plus(queue_size=QUEUE, **given)
            method.momentum_encoder = copy.deepcopy(backbone).requires_grad_(False)
        else:
            method = SimCLR(**given)
        if method.features_dim != dim:
            raise ValueError(f"its projectors are for {method.features_dim} features, the encoder has {dim}")
        method.encoder = backbone
        method.log = method.log_dict = lambda *_, **__: None
        index, labels = torch.arange(self.items, device=self.device), torch.zeros(self.items, dtype=torch.int64)
        self.index, self.labels = index, labels.to(self.device)
        made: nn.Module = method
        return made

    def optimise(self) -> torch.optim.Optimizer:
        """Its own."""
        method: Any = self.net
        found: torch.optim.Optimizer = method.configure_optimizers()
        return found

    def loss(self, one: Tensor, two: Tensor) -> Tensor:
        """Its training_step."""
        method: Any = self.net
        found: Tensor = method.training_step((self.index, [one, two], self.labels), 0)
        return found

    def after(self) -> None:
        """Its momentum update."""
        method: Any = self.net
        for pair in method.momentum_pairs if self.moco else ():
            method.momentum_updater.update(*pair)


def _old_bolts() -> None:
    """solo-learn imports one schedule, which is not used here, from lightning-bolts; that does not import any more."""
    name = "pl_bolts.optimizers.lr_scheduler"
    for parent in ("pl_bolts", "pl_bolts.optimizers", name):
        sys.modules[parent] = sys.modules.get(parent) or ModuleType(parent)
    vars(sys.modules[name]).setdefault("LinearWarmupCosineAnnealingLR", SimpleNamespace)


PEERS: Mapping[str, type[Peer]] = MappingProxyType({"lightly": Lightly, "solo-learn": Solo})
