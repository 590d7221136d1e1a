"""L_total = L_host + sum lambda L_aware: the only place where a host meets an awareness.

v_i = t_{omega_i}(x),   y_i = f(v_i),   z_i = g(y_i, omega_i)
L   = L_host(z_1, z_2, ...) + sum lambda L_aware(y, z, omega)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from augaware import lookup
from augaware.awareness.base import Awareness, Embedding, Setting
from augaware.errors import RequestError
from augaware.hosts.base import ContrastiveHost, Host, HostSetting, Moment
from augaware.nets.base import Encoder
from augaware.nets.ema import ema_copy, ema_update
from augaware.nets.recomputed import in_chunks, in_stages
from augaware.random import word
from augaware.spaces import Space
from augaware.views import Plan, Shown, plain_plan

HOOKS = ("encoder", "projector", "pair", "score")  # of each, at most one awareness may have its own


class Network(nn.Module):
    """f and g: what an EMA target copies, gamma of a conditioned g included.

    f takes at most ``chunk`` images at a time and computes them twice (:mod:`augaware.nets.recomputed`); 0 is all once.
    """

    def __init__(self, f: Encoder, g: nn.Module) -> None:
        super().__init__()
        self.f, self.g = f, g
        self.chunk = 0

    def forward(self, views: Mapping[int, Shown], project: bool = True) -> dict[int, Embedding]:
        """View number -> its embedding. Views of one size go through f, and all of them through g, as one batch."""
        sizes: dict[torch.Size, list[int]] = {}
        for number, view in views.items():
            sizes.setdefault(view.image.shape[1:], []).append(number)
        numbers = [number for group in sizes.values() for number in group]
        names = set.intersection(*(set(view.omega) for view in views.values()))
        omega = {name: torch.cat([views[n].omega[name] for n in numbers]) for name in names}
        y = torch.cat([self._encode([views[n] for n in group]) for group in sizes.values()])
        z = self.g(y, omega) if project else y[:, :0]
        lengths = [len(views[n].image) for n in numbers]
        parts = dict(zip(numbers, zip(torch.split(y, lengths), torch.split(z, lengths), strict=True), strict=True))
        return {n: Embedding(view.omega, *parts[n]) for n, view in views.items()}

    def _encode(self, views: Sequence[Shown]) -> Tensor:
        images, reads = torch.cat([view.image for view in views]), self.f.reads
        told = [view.omega[reads] for view in views if reads in view.omega] if reads else []
        return in_chunks(self.f, self.chunk, images, *([torch.cat(told)] if told and len(told) == len(views) else []))


class Objective(nn.Module):
    """The trained whole: online network, EMA target where the host has one, host and awareness parts.

    ``awareness`` holds any number of methods, of which at most one may have its own of each of ``HOOKS``; none is
    vanilla. Between the passes of a step: ``planned``, its views, and ``seen``, branch -> what the host compared.
    """

    def __init__(self, f: Encoder, host: Host, awareness: Sequence[Awareness]) -> None:
        super().__init__()
        given = [a.name for a in awareness]
        for name in given:
            if given.count(name) > 1:
                raise RequestError(f"aware: {name!r} stands twice in {given}; name each awareness once")
        owners = {hook: _owner(awareness, hook) for hook in HOOKS}
        for a in awareness:
            refused = mismatch(type(host), type(a))
            if refused:
                raise RequestError(f"aware: {refused}")
        self.online = Network(f, owners["projector"].projector(host.projector, f.dim))
        self.target = None if host.momentum is None else ema_copy(self.online)
        self.hosts = nn.ModuleList([host, *(copy.deepcopy(host) for _ in range(owners["pair"].branches - 1))])
        for own in self.hosts:  # not before they are copied, or each copy would score by a copy of the awareness
            if isinstance(own, ContrastiveHost) and type(owners["score"]) is not Awareness:
                own.score = owners["score"].score
        self.awareness = nn.ModuleDict({a.name: a for a in awareness})
        self._pair = [owners["pair"]]  # in a list: a module's module is registered once
        self.planned: Plan = ()
        self.seen: dict[int, tuple[list[Tensor], list[Tensor]]] = {}
        self._check_compared()

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

        ``classes`` is the number of classes where the images have labels. f is what :func:`encoder_spec` names.
        """
        built = lookup.build("hosts", host, HostSetting(f.dim // f.branches, classes))
        return cls(f, built, _awareness(awareness, Setting(f.dim, spaces)))

    @property
    def host(self) -> Host:
        """The host; its copies for further branches of z are in ``hosts``."""
        host = self.hosts[0]
        assert isinstance(host, Host)
        return host

    @property
    def aware(self) -> list[Awareness]:
        """The awareness parts."""
        return [a for a in self.awareness.values() if isinstance(a, Awareness)]

    @property
    def reads(self) -> frozenset[str] | None:
        """Names of what f and the awareness read of a view's omega; None is all there is."""
        found = set() if self.online.f.reads is None else {self.online.f.reads}
        for a in self.aware:
            if a.reads is None:
                return None
            found |= set(a.reads)
        return frozenset(found)

    def spare_memory(self, chunk: int, recompute: bool) -> None:
        """Both networks take at most ``chunk`` images at a time, 0 is all; ``recompute``: and forget their stages."""
        for network in (self.online, self.target):
            if network is not None:
                network.chunk = chunk
        if recompute:
            in_stages(self.online.f)  # the target has no backward pass

    def plan(self, count: int) -> Plan:
        """The views of the next step: the recipe's own ``count``, with what the awareness changes and adds.

        Who makes f plans last: what f is told, all views carry. Nothing is measured that nobody reads.
        """
        plan = plain_plan(count)
        for a in sorted(self.aware, key=lambda a: type(a).encoder is not Awareness.encoder):
            before = len(plan)
            plan = a.plan(plan)
            a.own = range(before, len(plan))
        reads = self.reads
        plan = self.planned = tuple(replace(view, measure=reads) for view in plan)
        return plan

    @property
    def planning(self) -> bool:
        """Whether an awareness plans the views, which it may do anew for each step."""
        return any(type(a).plan is not Awareness.plan for a in self.aware)

    def sketch(self, count: int) -> Plan:
        """What :meth:`plan` may give, to be looked at: nothing is drawn for it, and no step is planned."""
        with torch.random.fork_rng(devices=[]):
            plan = self.plan(count)
        self.planned = ()
        for a in self.aware:
            a.own = range(0)
        return plan

    def _check_compared(self) -> None:
        """Raise :class:`RequestError` where an awareness compares what another makes equal in the host's two views."""
        shared = self.sketch(2)[1].share
        for a in self.aware:
            for name in sorted(set(a.compares) & set(shared)):
                raise RequestError(
                    f"aware: {a.name!r} learns from what differs in {name!r} between two views, and another awareness "
                    f"gives both the same; leave {name!r} out of one of them"
                )

    def forward(self, views: Sequence[Shown], labels: Tensor | None = None) -> dict[str, Tensor]:
        """``"loss"``, the scalar to minimise, and each part before its lambda, ``"loss/<part>"``.

        ``views`` are those of the last :meth:`plan`, or the recipe's own if there was none. ``"nothing/<part>"`` is the
        loss/<part> of a prediction that looks at nothing.
        """
        plan = self.planned or plain_plan(len(views))
        assert len(plan) == len(views), f"{len(plan)} views are planned, {len(views)} given"
        main = [number for number, planned in enumerate(plan) if planned.role == number]
        self.check_views(len(main))
        numbered = dict(enumerate(views))
        online, target = self._embeddings(plan, main, numbered)
        self.seen = {}

        def loss(views: Sequence[int] | None = None, branch: int = 0, foils: Sequence[int] = ()) -> Tensor:
            chosen, host = main if views is None else list(views), self.hosts[branch]
            assert isinstance(host, Host)
            z = [self._branch(online[n], branch).float() for n in chosen[host.online]]
            compared = [self._branch(target[n], branch).float() for n in chosen[host.target]] if target else []
            if host.needs_labels:
                assert labels is not None
                compared = [labels]
            self.seen.setdefault(branch, ([t.detach() for t in z], compared))
            if not foils:
                return host.loss(z, compared)
            assert isinstance(host, ContrastiveHost)
            return host.loss(z, compared, [self._branch((target or online)[n], branch).float() for n in foils])

        with torch.autocast(views[0].image.device.type, enabled=False):  # a loss is not computed in half precision
            total = self._pair[0].pair(loss)
        found = {"loss": total, "loss/host": total}
        for a in self.aware:
            for part, extra in a.losses(online, target).items():
                found["loss"] = found["loss"] + extra.lam * extra.loss
                found[f"loss/{a.name}/{part}"] = extra.loss
                if extra.nothing is not None:
                    found[f"nothing/{a.name}/{part}"] = extra.nothing
        return found

    def _embeddings(
        self, plan: Plan, main: Sequence[int], views: Mapping[int, Shown]
    ) -> tuple[dict[int, Embedding], dict[int, Embedding]]:
        """What the online network and the target make of the views that each of them encodes.

        Views that have a role go through a network as one batch; what an awareness adds beside, as one of its own.
        """
        seen, compared = main[self.host.online], main[self.host.target]
        online: dict[int, Embedding] = self.online({n: views[n] for n in views if plan[n].role in seen})
        target: dict[int, Embedding] = {}
        if self.target is not None:
            with torch.no_grad():
                target = self.target({n: views[n] for n in views if plan[n].role in compared})
        for a in self.aware:
            beside = {n: views[n] for n in a.own if plan[n].role is None}
            if beside:
                online |= self.online(beside, project=a.projected)
        return online, target

    def _branch(self, e: Embedding, branch: int) -> Tensor:
        """z of one branch, (B, d)."""
        return e.z.chunk(len(self.hosts), dim=1)[branch]

    def check_views(self, count: int) -> None:
        """Raise :class:`RequestError` unless the host takes ``count`` views."""
        if count < 2 or (count > 2 and not self.host.multi_crop):
            accepted = "two or more" if self.host.multi_crop else "two"
            raise RequestError(f"views: {count} are planned, but host {self.host.name!r} takes {accepted}")

    def before_step(self, now: Moment) -> None:
        """What precedes the forward pass of a step."""
        for host in self.hosts:
            host.before_step(now)  # type: ignore[operator]

    def after_backward(self, now: Moment) -> None:
        """What stands between the gradients and the optimiser."""
        for host in self.hosts:
            host.after_backward(now, self.online.g)  # type: ignore[operator]

    @torch.no_grad()
    def after_step(self, now: Moment) -> None:
        """What follows the optimiser: the EMA target moves, the hosts remember what they saw."""
        m = self.host.momentum_at(now)
        if self.target is not None and m is not None:
            ema_update(self.target, self.online, m)
        for branch, seen in self.seen.items():
            self.hosts[branch].after_step(*seen)  # type: ignore[operator]


def encoder_spec(encoder: str, awareness: Sequence[str], spaces: Mapping[str, Space]) -> str:
    """The spec of f: ``encoder``, or what the one awareness with an encoder of its own makes of it."""
    kinds = {spec: lookup.load("awareness", lookup.parse(spec, "awareness").name) for spec in awareness}
    makers = [spec for spec, kind in kinds.items() if kind.encoder is not Awareness.encoder]  # the others wait for D
    return _owner(_awareness(makers, Setting(1, spaces)), "encoder").encoder(encoder)


def mismatch(host: type[Host], awareness: type[Awareness]) -> str | None:
    """Why the two mean nothing together, and what would; None if they do."""
    if awareness.needs_negatives and not issubclass(host, ContrastiveHost):
        have = [name for name in lookup.names("hosts") if issubclass(lookup.load("hosts", name), ContrastiveHost)]
        a, h = (cls.__module__.rpartition(".")[2] for cls in (awareness, host))
        return f"{a!r} needs negatives, and host {h!r} has none; use a contrastive host: {', '.join(have)}"
    return None


def clash(awareness: Sequence[type[Awareness]]) -> str | None:
    """Why these mean nothing together; None if they do."""
    for hook in HOOKS:
        owners = [cls for cls in awareness if getattr(cls, hook) is not getattr(Awareness, hook)]
        if len(owners) > 1:
            names = " and ".join(repr(cls.__module__.rpartition(".")[2]) for cls in owners)
            return f"{names} both make their own {hook}; keep one of them"
    return None


def _awareness(specs: Sequence[str], setting: Setting) -> list[Awareness]:
    """Built with draws of their own, so that f and g start the same whatever an awareness draws for its heads."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(word(torch.initial_seed()))
        return [lookup.build("awareness", spec, setting) for spec in specs]


def _owner(awareness: Sequence[Awareness], hook: str) -> Awareness:
    """The one that overrides ``hook``; plain :class:`Awareness`, whose defaults are vanilla, when none does."""
    owners = [a for a in awareness if getattr(type(a), hook) is not getattr(Awareness, hook)]
    if len(owners) > 1:
        raise RequestError(f"aware: {clash([type(a) for a in owners])}")
    return owners[0] if owners else Awareness()
