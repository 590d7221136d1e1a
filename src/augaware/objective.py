"""L_total = L_host + sum lambda L_aware: the only place where a host meets an awareness.

v_i = t_{omega_i}(x),   y_i = f(v_i),   z_i = g(y_i, omega_i)
L   = L_host(z_1, z_2) + sum lambda L_aware(y, z, omega)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from augaware import lookup
from augaware.awareness.base import Awareness, Embedding, Setting
from augaware.errors import RequestError
from augaware.hosts.base import Host
from augaware.nets.base import Encoder
from augaware.nets.ema import ema_copy, ema_update
from augaware.random import word
from augaware.spaces import Space
from augaware.views import View


class Network(nn.Module):
    """f and g: what an EMA target copies, gamma of a conditioned g included."""

    def __init__(self, f: Encoder, g: nn.Module) -> None:
        super().__init__()
        self.f, self.g = f, g

    def forward(self, views: Sequence[View]) -> list[Embedding]:
        """One embedding per view. The views go through f and g as one batch, so BN sees all of them."""
        lengths = [len(v) for v in views]
        y = self.f(torch.cat([v.image for v in views]))
        omega = {name: torch.cat([v.omega[name] for v in views]) for name in views[0].omega}
        z = self.g(y, omega)
        return [
            Embedding(v.omega, y_i, z_i) for v, y_i, z_i in zip(views, y.split(lengths), z.split(lengths), strict=True)
        ]


class Objective(nn.Module):
    """The trained whole: online network, EMA target where the host has one, host and awareness parts.

    ``awareness`` holds any number of methods of which at most one may own the projector; none is vanilla.
    """

    def __init__(self, f: Encoder, host: Host, awareness: Sequence[Awareness]) -> None:
        super().__init__()
        given = [a.name for a in awareness]
        for name in given:
            if given.count(name) > 1:
                raise RequestError(f"aware: {name!r} stands twice in {given}; name each awareness once")
        owners = [a for a in awareness if type(a).projector is not Awareness.projector]
        if len(owners) > 1:
            raise RequestError(
                f"aware: {' and '.join(repr(a.name) for a in owners)} both make their own projector; keep one of them"
            )
        owner = owners[0] if owners else Awareness()  # its defaults are vanilla
        self.online = Network(f, owner.projector(host.projector, f.dim))
        self.target = None if host.momentum is None else ema_copy(self.online)
        self.host = host
        self.awareness = nn.ModuleDict({a.name: a for a in awareness})

    @classmethod
    def from_specs(cls, f: Encoder, host: str, awareness: Sequence[str], spaces: Mapping[str, Space]) -> Objective:
        """The objective of a host spec and awareness specs, for a pipeline that records ``spaces``."""
        setting = Setting(f.dim, spaces)
        built = lookup.build("hosts", host, f.dim)
        with torch.random.fork_rng(devices=[]):  # g starts the same whatever an awareness draws for its own heads
            torch.manual_seed(word(torch.initial_seed()))
            aware = [lookup.build("awareness", a, setting) for a in awareness]
        return cls(f, built, aware)

    def forward(self, views: Sequence[View]) -> dict[str, Tensor]:
        """``"loss"``, the scalar to minimise, and each part before its lambda, ``"loss/<part>"``."""
        online = self.online(views)
        target: list[Embedding] = []
        if self.target is not None:
            with torch.no_grad():
                target = self.target(views)
        host = self.host.loss([e.z for e in online], [e.z for e in target])
        found = {"loss": host, "loss/host": host}
        for name, awareness in self.awareness.items():
            assert isinstance(awareness, Awareness)
            for part, (lam, loss) in awareness.losses(online, target).items():
                found["loss"] = found["loss"] + lam * loss
                found[f"loss/{name}/{part}"] = loss
        return found

    def after_step(self) -> None:
        """What follows each optimiser step: the EMA target moves."""
        if self.target is not None and self.host.momentum is not None:
            ema_update(self.target, self.online, self.host.momentum)
