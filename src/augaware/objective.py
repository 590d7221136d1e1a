"""L_total = L_host + sum lambda L_aware: the only place where a host meets an awareness.

v_i = t_{omega_i}(x),   y_i = f(v_i),   z_i = g(y_i, omega_i)
L   = L_host(z_1, z_2, ...) + sum lambda L_aware(y, z, omega)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from augaware import lookup
from augaware.awareness.base import Awareness, Embedding, Setting
from augaware.errors import RequestError
from augaware.hosts.base import Host, HostSetting, Moment
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

    def forward(self, views: Mapping[int, View]) -> dict[int, Embedding]:
        """View number -> its embedding. Views of one size go through f, and all of them through g, as one batch."""
        sizes: dict[torch.Size, list[int]] = {}
        for number, view in views.items():
            sizes.setdefault(view.image.shape[1:], []).append(number)
        numbers = [number for group in sizes.values() for number in group]
        y = torch.cat([self.f(torch.cat([views[n].image for n in group])) for group in sizes.values()])
        names = views[numbers[0]].omega
        omega = {name: torch.cat([views[n].omega[name] for n in numbers]) for name in names}
        z = self.g(y, omega)
        lengths = [len(views[n]) for n in numbers]
        parts = dict(zip(numbers, zip(torch.split(y, lengths), torch.split(z, lengths), strict=True), strict=True))
        return {n: Embedding(view.omega, *parts[n]) for n, view in views.items()}


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
        self.online = Network(f, _owner(awareness, "projector").projector(host.projector, f.dim))
        scorer = _owner(awareness, "score")
        if type(scorer) is not Awareness:
            if host.score is None:
                contrastive = [name for name in lookup.names("hosts") if lookup.load("hosts", name).score is not None]
                raise RequestError(
                    f"aware: {scorer.name!r} weighs negatives, and host {host.name!r} has none; "
                    f"use a contrastive host: {', '.join(contrastive)}"
                )
            host.score = scorer.score
        self.target = None if host.momentum is None else ema_copy(self.online)
        self.host = host
        self.awareness = nn.ModuleDict({a.name: a for a in awareness})
        self._seen: tuple[list[Tensor], list[Tensor]] = [], []

    @classmethod
    def from_specs(
        cls,
        f: Encoder,
        host: str,
        awareness: Sequence[str],
        spaces: Mapping[str, Space],
        classes: int | None = None,
    ) -> Objective:
        """The objective of a host spec and awareness specs, for a pipeline that records ``spaces``.

        ``classes`` is the number of classes where the images have labels.
        """
        setting = Setting(f.dim, spaces)
        built = lookup.build("hosts", host, HostSetting(f.dim, classes))
        with torch.random.fork_rng(devices=[]):  # g starts the same whatever an awareness draws for its own heads
            torch.manual_seed(word(torch.initial_seed()))
            aware = [lookup.build("awareness", a, setting) for a in awareness]
        return cls(f, built, aware)

    def forward(self, views: Sequence[View], labels: Tensor | None = None) -> dict[str, Tensor]:
        """``"loss"``, the scalar to minimise, and each part before its lambda, ``"loss/<part>"``.

        ``"nothing/<part>"`` is the loss/<part> of a prediction that looks at nothing.
        """
        self.check_views(len(views))
        host, numbered = self.host, dict(enumerate(views))
        online: dict[int, Embedding] = self.online({n: numbered[n] for n in list(numbered)[host.online]})
        target: dict[int, Embedding] = {}
        if self.target is not None:
            with torch.no_grad():
                target = self.target({n: numbered[n] for n in list(numbered)[host.target]})
        z = [e.z.float() for e in online.values()]
        compared = [e.z.float() for e in target.values()]
        if host.needs_labels:
            assert labels is not None
            compared = [labels]
        self._seen = [t.detach() for t in z], compared
        with torch.autocast(z[0].device.type, enabled=False):  # a loss is not computed in half precision
            loss = host.loss(z, compared)
        found = {"loss": loss, "loss/host": loss}
        for name, awareness in self.awareness.items():
            assert isinstance(awareness, Awareness)
            for part, extra in awareness.losses(online, target).items():
                found["loss"] = found["loss"] + extra.lam * extra.loss
                found[f"loss/{name}/{part}"] = extra.loss
                if extra.nothing is not None:
                    found[f"nothing/{name}/{part}"] = extra.nothing
        return found

    def check_views(self, count: int) -> None:
        """Raise :class:`RequestError` unless the host takes ``count`` views."""
        if count < 2 or (count > 2 and not self.host.multi_crop):
            accepted = "two or more" if self.host.multi_crop else "two"
            raise RequestError(f"views: {count} are planned, but host {self.host.name!r} takes {accepted}")

    def before_step(self, now: Moment) -> None:
        """What precedes the forward pass of a step."""
        self.host.before_step(now)

    def after_backward(self, now: Moment) -> None:
        """What stands between the gradients and the optimiser."""
        self.host.after_backward(now, self.online.g)

    @torch.no_grad()
    def after_step(self, now: Moment) -> None:
        """What follows the optimiser: the EMA target moves, the host remembers what it saw."""
        m = self.host.momentum_at(now)
        if self.target is not None and m is not None:
            ema_update(self.target, self.online, m)
        self.host.after_step(*self._seen)


def _owner(awareness: Sequence[Awareness], hook: str) -> Awareness:
    """The one that overrides ``hook``; plain :class:`Awareness`, whose defaults are vanilla, when none does."""
    owners = [a for a in awareness if getattr(type(a), hook) is not getattr(Awareness, hook)]
    if len(owners) > 1:
        names = " and ".join(repr(a.name) for a in owners)
        raise RequestError(f"aware: {names} both make their own {hook}; keep one of them")
    return owners[0] if owners else Awareness()
