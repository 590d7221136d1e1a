"""Laws of every host."""

from __future__ import annotations

import torch
from torch import Tensor

from augaware.hosts.base import Host, HostSetting, Moment
from augaware.laws.base import Given, Law
from augaware.nets.base import build_encoder
from augaware.objective import Objective
from augaware.random import seeded
from augaware.views import View

DIM, BATCH, CLASSES = 24, 16, 4
CPU = torch.device("cpu")
NOW = Moment(step=40, steps=100, per_epoch=2)
MOVES = ("running_mean", "running_var", "num_batches_tracked")  # what a loss may move: a predictor's BN


def build(given: Given) -> Host:
    """The host, with the first weights of seed 0."""
    with seeded(CPU, 0):
        made: Host = given.build(HostSetting(DIM, CLASSES))
    return made


def embeddings(host: Host, views: int = 2, seed: int = 0) -> tuple[list[Tensor], list[Tensor]]:
    """What an objective hands the host: of the views that it reads, as wide as its projector makes them."""
    with seeded(CPU, seed):
        g, y = host.projector(DIM), torch.randn(BATCH, DIM)
        z = [g(y + 0.3 * torch.randn_like(y)) for _ in range(views)]
        z_target = [t.detach() + 0.1 * torch.randn_like(t) for t in z]
        if host.needs_labels:
            return z[host.online], [torch.randint(CLASSES, (BATCH,))]
    return z[host.online], z_target[host.target] if host.momentum is not None else []


def used(given: Given) -> Host:
    """The host some steps into its training: what it remembers is no longer what it started with."""
    host = build(given)
    with torch.no_grad():
        for seed in range(2):
            host.before_step(NOW)
            host.after_step(*embeddings(host, seed=seed + 10))
        host.before_step(NOW)
    return host


def scalar(given: Given) -> str:
    """The loss is one finite number, with a finite gradient into the embedding of every image."""
    host = used(given)
    online, target = embeddings(host)
    for z in online:
        z.retain_grad()
    loss = host.loss(online, target)
    if loss.shape != () or not loss.isfinite():
        return f"a loss of shape {tuple(loss.shape)}, {float(loss.detach().mean()):g} on average"
    loss.backward()  # type: ignore[no-untyped-call]
    for number, z in enumerate(online):
        if z.grad is None or not z.grad.isfinite().all():
            return f"no finite gradient into z_{number + 1}"
        if not (z.grad.abs().sum(dim=1) > 0).all():
            return f"no gradient into some images of z_{number + 1}"
    return ""


def pure(given: Given) -> str:
    """The loss changes nothing, and is the same when asked again."""
    host = used(given)
    online, target = embeddings(host)
    kept = [*online, *target, *(v for k, v in host.state_dict().items() if not k.endswith(MOVES))]
    before = [t.clone() for t in kept]
    one, two = host.loss(online, target), host.loss(online, target)
    if not torch.equal(one, two):
        return f"{one.item():g}, then {two.item():g}"
    same = all(torch.equal(a, b) for a, b in zip(before, kept, strict=True))
    return "" if same else "it changed embeddings, parameters or buffers; remember in after_step"


def order(given: Given) -> str:
    """The order of the images is nothing to the loss, but which embeddings are of one image is."""
    host = used(given)
    online, target = embeddings(host)
    shuffled = torch.randperm(BATCH, generator=torch.Generator().manual_seed(1))
    loss = host.loss(online, target).item()
    other = host.loss([z[shuffled] for z in online], [z[shuffled] for z in target]).item()
    if abs(other - loss) > 1e-5 * max(abs(loss), abs(other)):
        return f"{loss:g}, and {other:g} of the same images in another order"
    if target or len(online) > 1:
        wrong = host.loss([online[0][shuffled], *online[1:]], target).item()
        if abs(wrong - loss) <= 1e-3 * abs(loss):
            return f"{loss:g} also where view 1 is of other images than view 2"
    return ""


def projectors(given: Given) -> str:
    """Each projector is a fresh one, for any width, and all give embeddings of one width."""
    host = build(given)
    one, two = host.projector(DIM + 5), host.projector(DIM + 5)
    owned = [{id(p) for p in module.parameters()} for module in (one, two, host)]
    if owned[0] & owned[1] or owned[0] & owned[2]:
        return "parameters are shared"
    pairs = list(zip(one.parameters(), two.parameters(), strict=True))
    if pairs and all(torch.equal(p, q) for p, q in pairs):
        return "two projectors start with the same weights"
    widths = {one(torch.randn(4, DIM + 5)).shape[1], host.projector(DIM)(torch.randn(4, DIM)).shape[1]}
    return "" if len(widths) == 1 else f"embeddings of {sorted(widths)} numbers"


def in_an_objective(given: Given) -> str:
    """A step gives f and g a gradient, the EMA target none, and the loss sees float32 in half precision too."""
    with seeded(CPU, 0):
        host = given.build(HostSetting(16, CLASSES))
        whole = Objective(build_encoder("tiny(widths=(8, 16))"), host, [])
        views = [View(torch.randn(BATCH, 3, 16, 16), {}) for _ in range(2)]
    seen: list[Tensor] = []
    loss = host.loss

    def watched(online: list[Tensor], target: list[Tensor]) -> Tensor:
        seen.extend((*online, *target))
        result: Tensor = loss(online, target)
        return result

    host.loss = watched
    whole.before_step(NOW)
    with torch.autocast("cpu", torch.bfloat16):
        total = whole(views, torch.arange(BATCH) % CLASSES)["loss"]
    if total.dtype != torch.float32 or not total.isfinite():
        return f"a loss of {total.dtype}: {total.detach()}"
    if any(z.dtype not in (torch.float32, torch.int64) for z in seen):
        return "embeddings in half precision"
    total.backward()
    if not all(p.grad is not None for p in whole.online.parameters() if p.requires_grad):
        return "some weights of f or g get no gradient"
    if whole.target is not None and any(p.grad is not None for p in whole.target.parameters()):
        return "the EMA target gets a gradient"
    whole.after_backward(NOW)
    whole.after_step(NOW)
    return ""


LAWS: tuple[Law, ...] = (scalar, pure, order, projectors, in_an_objective)
