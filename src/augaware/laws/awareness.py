"""Laws of every awareness: tried in an objective, beside hosts without and with an EMA target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from augaware import lookup
from augaware.augment.plan import Camera
from augaware.hosts.base import Moment
from augaware.laws.base import Given, Law
from augaware.nets.base import build_encoder
from augaware.objective import Objective, encoder_spec, mismatch
from augaware.random import seeded
from augaware.recipe import Recipe
from augaware.views import View

SIZE, BATCH, STEPS = 16, 12, 3
CPU = torch.device("cpu")
HOSTS = ("simclr()", "byol(hidden_dim=32, output_dim=16)", "moco_v2(queue=48)")


def camera() -> Camera:
    """What takes views by all of the library's augmentations."""
    augment = ("crop(scale=(0.2, 1.0))", *(name for name in lookup.names("augment") if name != "crop"))
    return Camera(Recipe(data="", size=SIZE, augment=augment, mean=(0.5,) * 3, std=(0.25,) * 3))


def hosts(given: Given) -> list[str]:
    """The hosts that it is tried with: those with which it means something."""
    return [spec for spec in HOSTS if mismatch(lookup.load("hosts", lookup.parse(spec).name), given.target) is None]


def objective(given: Given, host: str, of: Camera) -> Objective:
    """The whole around it, with the first weights of seed 0."""
    spaces = of.pipelines[0].spaces
    with seeded(CPU, 0):
        f = build_encoder(encoder_spec("tiny(widths=(8, 16))", [given.spec], spaces))
        return Objective.from_specs(f, host, [given.spec], spaces, classes=4)


def steps(whole: Objective, of: Camera, everything: bool = True) -> Iterator[tuple[Moment, list[View]]]:
    """A few steps: when, and the views that are planned, with all that can be measured or what is read."""
    pixels = torch.randint(0, 256, (BATCH, 3, 24, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))
    sizes = torch.tensor([[24, 20]]).expand(BATCH, 2)
    for step in range(STEPS):
        now = Moment(step, STEPS, STEPS)
        whole.before_step(now)
        plan = whole.plan(2)
        of.check(plan, BATCH)
        if everything:
            plan = tuple(replace(view, measure=None) for view in plan)
        yield now, of.take(plan, pixels, sizes, torch.arange(BATCH), 0, step)


def trained(
    whole: Objective, of: Camera, names: frozenset[str] | None = None
) -> Iterator[tuple[dict[str, Tensor], str]]:
    """The losses of each step, and what of the views the objective changed; views of ``names`` alone, None is all."""
    optimizer = torch.optim.SGD([p for p in whole.parameters() if p.requires_grad], 0.1)
    for now, taken in steps(whole, of, names is None):
        views = taken if names is None else [_told(view, names, of) for view in taken]
        kept = [(view.image.clone(), {name: w.clone() for name, w in view.omega.items()}) for view in views]
        parts = whole(views, torch.arange(BATCH) % 4)
        optimizer.zero_grad()
        parts["loss"].backward()
        whole.after_backward(now)
        optimizer.step()
        whole.after_step(now)
        changed = [
            not torch.equal(view.image, image) or any(not torch.equal(view.omega[name], w) for name, w in omega.items())
            for view, (image, omega) in zip(views, kept, strict=True)
        ]
        yield parts, f"view {changed.index(True) + 1}" if any(changed) else ""


def _told(view: View, names: frozenset[str], of: Camera) -> View:
    """``view`` with no more than ``names`` of what its pipeline recorded; crop brings flip along."""
    wanted = names | ({"flip"} if "crop" in names else set())
    recorded = of.pipelines[0].spaces
    return View(view.image, {name: w for name, w in view.omega.items() if name in wanted or name not in recorded})


def trains(given: Given) -> str:
    """It trains with every kind of host: losses are finite, gradients reach f, g and every weight of its own."""
    for host in hosts(given):
        of, reached = camera(), set[str]()
        with seeded(CPU, 1):
            whole = objective(given, host, of)
            for parts, _ in trained(whole, of):
                for name, value in parts.items():
                    if value.shape != () or not value.isfinite():
                        return f"with {host}: {name} is {value.detach().tolist()}"
                reached |= {name for name, p in whole.named_parameters() if p.grad is not None and p.grad.any()}
        own = [name for name, p in whole.named_parameters() if name.startswith("awareness.") and p.requires_grad]
        missed = [name for name in own if name not in reached]
        missed += [part for part in ("online.f", "online.g") if not any(name.startswith(part) for name in reached)]
        if missed:
            return f"with {host}: no gradient reaches {missed[0]}"
    return ""


def repeatable(given: Given) -> str:
    """What it draws it draws from torch's state, which is that of the step: two trainings are the same bit for bit."""
    host, found = hosts(given)[0], []
    for _ in range(2):
        of = camera()
        with seeded(CPU, 2):
            found.append([parts["loss"].item() for parts, _ in trained(objective(given, host, of), of)])
    return "" if found[0] == found[1] else f"losses {found[0]}, then {found[1]}"


def untouched(given: Given) -> str:
    """It leaves the views and their omega as they are."""
    for host in hosts(given):
        of = camera()
        with seeded(CPU, 3):
            for _, changed in trained(objective(given, host, of), of):
                if changed:
                    return f"{changed} changed in place"
    return ""


def reads(given: Given) -> str:
    """What it says that it reads of omega is all that it reads: with no more than that the losses are the same."""
    host, found = hosts(given)[0], []
    for alone in (False, True):
        of = camera()
        whole = objective(given, host, of)
        if whole.reads is None:
            return ""  # says nothing: gets all there is
        with seeded(CPU, 4):
            found.append([parts["loss"].item() for parts, _ in trained(whole, of, whole.reads if alone else None)])
    return "" if found[0] == found[1] else f"losses {found[0]}, and {found[1]} of what it says that it reads"


LAWS: tuple[Law, ...] = (trains, repeatable, untouched, reads)
