"""The hooks of an awareness, each with a small awareness of the test's own: what they change, and what they leave."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from augaware import lookup
from augaware.augment.plan import Camera
from augaware.awareness.base import Awareness, Embedding
from augaware.errors import RequestError
from augaware.hosts.base import ContrastiveHost, Host, HostSetting, Moment
from augaware.nets.base import build_encoder
from augaware.objective import HOOKS, Objective, clash, encoder_spec, mismatch
from augaware.pretrain import resume, start
from augaware.recipe import Recipe
from augaware.views import Plan, View, ViewPlan, plain_plan
from small_hosts import narrow
from small_runs import assert_same_run, start_and_kill

PACKAGE = "augaware_test_hooks"
HEAD = '''"""A test's awareness."""

from dataclasses import replace

import torch
from torch import nn

from augaware.awareness.base import Awareness, Extra
from augaware.losses import info_nce
from augaware.views import ViewPlan

__all__ = ["Plugin"]


class Seeing(Awareness):
    """Keeps what it was shown."""

    def losses(self, online, target):
        self.online, self.target = dict(online), dict(target)
        return {}


'''
BESIDE = """
class Plugin(Seeing):
    def __init__(self, setting, role=None, projected=False, lam=0.0, count=1, size=None):
        super().__init__()
        self.role, self.projected, self.lam, self.count, self.size = role, projected, lam, count, size

    def plan(self, plan):
        self.given = plan
        return (*plan, *(ViewPlan(0, self.role, self.size) for _ in range(self.count)))

    def losses(self, online, target):
        super().losses(online, target)
        seen = [online.get(n) or target[n] for n in self.own]
        return {"seen": Extra(self.lam, sum(e.y.square().mean() for e in seen))} if seen else {}
"""
CHANGE = '''
class Plugin(Seeing):
    """Takes ``name`` from all but the first view that there are, and adds nothing."""

    def __init__(self, setting, name="crop", how="share"):
        super().__init__()
        self.name_of, self.how = name, how

    def plan(self, plan):
        self.given = plan
        if self.how == "share":
            return (plan[0], *(replace(v, share={**v.share, self.name_of: 0}) for v in plan[1:]))
        return tuple(replace(v, only=frozenset({self.name_of})) for v in plan)
'''
PAIR = '''
class Plugin(Seeing):
    """A view of ``role`` more; L_host of ``views``, against ``foils``."""

    def __init__(self, setting, views=None, foils=(), role=None, projected=False, plain=False):
        super().__init__()
        self.views, self.foils, self.role, self.projected, self.plain = views, foils, role, projected, plain

    def plan(self, plan):
        return plan if self.role is None and not self.projected else (*plan, ViewPlan(0, self.role))

    def pair(self, loss):
        return loss() if self.plain else loss(views=self.views, foils=self.foils)
'''
SPLIT = '''
class Sides(nn.Module):
    def __init__(self, one, two):
        super().__init__()
        self.one, self.two = one, two

    def forward(self, y, omega):
        return torch.cat((self.one(y), self.two(y)), dim=1)


class Plugin(Seeing):
    """Two branches; ``calls`` names (branch, views) of each loss in turn. One more view, with role 1."""

    branches = 2

    def __init__(self, setting, calls=((0, (0, 1)), (1, (0, 2)))):
        super().__init__()
        self.calls = calls

    def plan(self, plan):
        return (*plan, ViewPlan(0, 1))

    def projector(self, make, dim):
        return Sides(make(dim), make(dim))

    def pair(self, loss):
        self.parts = [loss(views, branch) for branch, views in self.calls]
        return sum(self.parts)
'''
WEIGHED = '''
class Plugin(Awareness):
    """Two branches, and a score with a parameter."""

    branches = 2

    def __init__(self, setting):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def projector(self, make, dim):
        g = make(dim)
        return Twice(g)

    def pair(self, loss):
        return loss(branch=1)

    def score(self, positive, negatives, temperature):
        return self.weight * info_nce(positive, negatives, temperature)


class Twice(nn.Module):
    def __init__(self, g):
        super().__init__()
        self.g = g

    def forward(self, y, omega):
        return self.g(y).repeat(1, 2)
'''
OWNERS = {
    "encoder": "    def encoder(self, spec):\n        return f'augaware_test_hooks.reading({spec!r})'\n",
    "projector": "    def projector(self, make, dim):\n        return super().projector(make, dim)\n",
    "pair": "    def pair(self, loss):\n        return loss()\n",
    "score": "    def score(self, p, n, temperature):\n        return info_nce(p, n, temperature)\n",
}
NEEDY = """
class Plugin(Awareness):
    needs_negatives = True

    def __init__(self, setting):
        super().__init__()
"""
READING = '''"""A test's encoder, which reads omega."""

from augaware.nets.base import Encoder, build_encoder

__all__ = ["reading"]


class Reading(Encoder):
    def __init__(self, inner, reads):
        super().__init__(inner, inner.dim)
        self.reads, self.told = reads, []

    def forward(self, x, *told):
        self.told = [*self.told, (len(x), told)]
        return self.backbone(x)


def reading(encoder, reads="crop"):
    return Reading(build_encoder(encoder), reads)
'''
DRAWS = '''
class Plugin(Seeing):
    """Draws which augmentations act in the second view, and how large the view is that it adds."""

    def __init__(self, setting):
        super().__init__()

    def plan(self, plan):
        names = ["crop", "flip", "color_jitter", "grayscale", "gaussian_blur"]
        kept = frozenset(name for name in names if torch.randint(2, ()))
        size = 8 + 4 * int(torch.randint(3, ()))
        return (plan[0], replace(plan[1], only=kept), ViewPlan(0, size=size))

    def losses(self, online, target):
        return {"y": Extra(1.0, (online[0].y - online[self.own[0]].y).square().mean())}
'''
BARE = "\nclass Plugin(Awareness):\n    def __init__(self, setting):\n        super().__init__()\n\n"
PLUGINS = {
    "beside": BESIDE,
    "again": BESIDE,
    "change": CHANGE,
    "pair": PAIR,
    "split": SPLIT,
    "weighed": WEIGHED,
    "needy": NEEDY,
    "draws": DRAWS,
    **{f"{hook}_{number}": BARE + text for hook, text in OWNERS.items() for number in (1, 2)},
}

ALL = ("simclr", "moco_v2", "moco_v3", "byol", "barlow_twins", "supervised", "swav")
CONTRASTIVE = ("simclr", "moco_v2", "moco_v3")
SEES = {  # host -> whether the online network and the target encode the second view
    "simclr": (True, False),
    "moco_v2": (False, True),
    "moco_v3": (True, True),
    "byol": (True, True),
    "barlow_twins": (True, False),
    "supervised": (True, False),
    "swav": (True, False),
}
ENCODER, SEED, BATCH, SIZE = "tiny(widths=(16,))", 5, 8, 16
CAMERA = Camera(Recipe(data="shapes", size=SIZE, views=("view(5)",)))
SPACES = CAMERA.pipelines[0].spaces
NOW = Moment(0, 10, 5)
LABELS = torch.arange(BATCH) % 4


@pytest.fixture(scope="module", autouse=True)
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The package ``augaware_test_hooks`` on the path."""
    place = tmp_path_factory.mktemp("hooks")
    package = place / PACKAGE
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "reading.py").write_text(READING)
    for name, text in PLUGINS.items():
        (package / f"{name}.py").write_text(HEAD + text)
    sys.path.insert(0, str(place))
    yield
    sys.path.remove(str(place))


def spec(name: str) -> str:
    return f"{PACKAGE}.{name}"


def cls(name: str) -> type[Awareness]:
    found: type[Awareness] = lookup.load("awareness", spec(name).partition("(")[0])
    return found


def objective(host: str, *aware: str) -> Objective:
    """The objective of a host and of awareness of the test's package, ready for its first step."""
    specs = [spec(name) for name in aware]
    torch.manual_seed(0)
    f = build_encoder(encoder_spec(ENCODER, specs, SPACES))
    whole = Objective.from_specs(f, narrow(host), specs, SPACES, classes=4)
    whole.before_step(NOW)
    return whole


TAKEN: dict[str, list[View]] = {}


def photographed(plan: Plan, epoch: int = 0) -> list[View]:
    """The views of a plan; those of equal plans are taken once."""
    key = f"{plan} {epoch}"
    if key not in TAKEN:
        TAKEN[key] = taken(plan, epoch)
    return TAKEN[key]


def taken(plan: Plan, epoch: int) -> list[View]:
    pixels = torch.randint(0, 256, (BATCH, 3, 24, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    return CAMERA.take(plan, pixels, torch.tensor([[24, 20]]).expand(BATCH, 2), torch.arange(BATCH), SEED, epoch)


def step(whole: Objective, epoch: int = 0, count: int = 2) -> dict[str, Tensor]:
    """The forward pass of a step."""
    return whole(photographed(whole.plan(count), epoch), LABELS)


def seen(whole: Objective, number: int = 0) -> tuple[dict[int, Embedding], dict[int, Embedding]]:
    """What an awareness was shown of the online network's views and of the target's."""
    a: Any = whole.aware[number]
    return a.online, a.target


def gradients(whole: Objective) -> dict[str, Tensor]:
    named = [*whole.online.named_parameters(prefix="online"), *whole.host.named_parameters(prefix="host")]
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


def passes(whole: Objective, network: str) -> list[int]:
    """How many images go through f in each of its passes, filled as they happen."""
    counted: list[int] = []
    of = whole.online if network == "online" else whole.target
    assert of is not None
    of.f.register_forward_pre_hook(lambda module, inputs: counted.append(len(inputs[0])))
    return counted


# --- plan: views that are added


@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize("host", ALL)
def test_a_view_without_a_role_and_with_lambda_0_leaves_loss_and_gradients_as_they_are(
    host: str, projected: bool
) -> None:
    plain, whole = objective(host), objective(host, f"beside(projected={projected}, count=2)")
    one, two = step(plain), step(whole)
    assert torch.equal(two["loss/host"], one["loss/host"])
    assert torch.equal(two["loss"], one["loss"])
    assert two["loss/beside/seen"] > 0
    one["loss"].backward()
    two["loss"].backward()
    expected, found = gradients(plain), gradients(whole)
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[k], g, rtol=1e-6, atol=1e-9) for k, g in expected.items())
    assert any(g.abs().sum() > 0 for g in expected.values())


@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize("host", ALL)
def test_a_view_without_a_role_is_a_batch_of_its_own_for_the_online_network_alone(host: str, projected: bool) -> None:
    whole = objective(host, f"beside(projected={projected})")
    counted, of_target = passes(whole, "online"), passes(whole, "target") if whole.target is not None else []
    step(whole)
    a = whole.aware[0]
    online, target = seen(whole)
    in_role = sum(1 for n in (0, 1) if n in online)
    assert counted == [in_role * BATCH, BATCH]
    assert of_target == [BATCH * len(target)] * bool(target)
    assert list(a.own) == [2]
    assert 2 in online
    assert 2 not in target
    assert online[2].z.shape == (BATCH, online[0].z.shape[1] if projected else 0)
    assert online[0].z.shape[1] > 0
    assert online[2].y.requires_grad
    alone = objective(host).online({2: photographed((*plain_plan(2), ViewPlan(0)))[2]})[2]
    assert torch.equal(online[2].y, alone.y)
    if projected:
        assert torch.equal(online[2].z, alone.z)


@pytest.mark.parametrize("role", [0, 1])
@pytest.mark.parametrize("host", ALL)
def test_a_view_with_a_role_is_encoded_as_the_host_encodes_the_view_of_that_number(host: str, role: int) -> None:
    whole = objective(host, f"beside(role={role})")
    counted, of_target = passes(whole, "online"), passes(whole, "target") if whole.target is not None else []
    step(whole)
    online, target = seen(whole)
    by_online, by_target = SEES[host] if role == 1 else (True, host in ("moco_v3", "byol"))
    assert (2 in online, 2 in target) == (by_online, by_target)
    assert ((role in online), (role in target)) == (by_online, by_target)
    assert counted == [BATCH * len(online)]
    assert of_target == [BATCH * len(target)] * bool(target)
    width = online[0].z.shape[1]
    for found in (online, target):
        assert all(e.z.shape == (BATCH, width) for e in found.values())
    if by_online:
        assert online[2].z.requires_grad
    if by_target:
        assert not target[2].z.requires_grad
        assert not torch.equal(target[2].z, target[role].z)


@pytest.mark.parametrize("host", ALL)
def test_a_view_with_a_role_is_no_view_of_the_hosts_loss(host: str) -> None:
    """In evaluation mode, where views that share a pass do not meet in BN."""
    losses = []
    for aware in ((), ("beside(role=1)",), ("beside(role=0, count=2)",)):
        whole = objective(host, *aware).eval()
        losses.append(step(whole)["loss/host"].item())
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


@pytest.mark.parametrize("role", [None, 2])
def test_views_are_added_behind_all_of_a_multi_crop_recipe(role: int | None) -> None:
    whole = objective("swav", f"beside(role={role}, count=2, size=8)")
    step(whole, count=3)
    online, _ = seen(whole)
    assert list(whole.aware[0].own) == [3, 4]
    assert sorted(online) == [0, 1, 2, 3, 4]
    assert [online[n].z.shape[1] for n in (3, 4)] == ([0, 0] if role is None else [16, 16])


@pytest.mark.parametrize("host", ["simclr", "moco_v2", "byol", "swav"])
def test_what_is_learnt_from_an_added_view_reaches_f(host: str) -> None:
    plain, whole = objective(host), objective(host, "beside(lam=2.0)")
    parts, expected = step(whole), step(plain)
    assert parts["loss"].item() == pytest.approx((expected["loss"] + 2 * parts["loss/beside/seen"]).item(), rel=1e-6)
    parts["loss"].backward()
    expected["loss"].backward()
    one, two = gradients(plain), gradients(whole)
    moved = {k.split(".")[1] for k in one if k.startswith("online.") and not torch.allclose(one[k], two[k], rtol=1e-4)}
    assert moved == {"f"}


# --- plan: composition


def test_changes_of_two_awareness_compose_in_their_order() -> None:
    shares_last = objective("simclr", "beside(count=2)", "change(how='share')")
    plan = shares_last.plan(2)
    assert [dict(v.share) for v in plan] == [{}, {"crop": 0}, {"crop": 0}, {"crop": 0}]
    adds_last = objective("simclr", "change(how='share')", "beside(count=2)")
    plan = adds_last.plan(2)
    assert [dict(v.share) for v in plan] == [{}, {"crop": 0}, {}, {}]
    first, second = (a for a in adds_last.aware)
    assert first.given == plain_plan(2)  # type: ignore[comparison-overlap]
    assert second.given == plan[:2]  # type: ignore[comparison-overlap]
    assert (list(first.own), list(second.own)) == ([], [2, 3])


@pytest.mark.parametrize(
    ("aware", "own", "widths"),
    [
        (["beside(count=2)", "again(projected=True)"], [[2, 3], [4]], [128, 128, 0, 0, 128]),
        (["again(projected=True)", "beside(count=2)"], [[2], [3, 4]], [128, 128, 128, 0, 0]),
        (["beside(role=1)", "change", "again(count=2)"], [[2], [], [3, 4]], [128, 128, 128, 0, 0]),
        (["beside(count=0)", "again"], [[], [2]], [128, 128, 0]),
    ],
)
def test_the_views_of_each_awareness_are_its_own(aware: list[str], own: list[list[int]], widths: list[int]) -> None:
    whole = objective("simclr", *aware)
    for epoch in range(2):
        step(whole, epoch)
        assert [list(a.own) for a in whole.aware] == own
        online, _ = seen(whole)
        assert [online[n].z.shape[1] for n in range(len(widths))] == widths


def test_the_views_of_two_awareness_are_two_batches() -> None:
    whole = objective("byol", "beside(count=2)", "again(count=3)")
    counted = passes(whole, "online")
    step(whole)
    assert counted == [2 * BATCH, 2 * BATCH, 3 * BATCH]


def test_what_one_awareness_takes_from_a_view_is_taken_from_the_pixels_that_all_see() -> None:
    whole = objective("simclr", "beside", "change(name='flip', how='only')")
    step(whole)
    identity = torch.tensor([[0.5, 0.5, 1.0, 1.0]]).expand(BATCH, 4)
    for number in (0, 1):
        online, _ = seen(whole, number)
        assert all(torch.equal(e.omega["crop"], identity) for e in online.values())
        assert any(e.omega["flip"].any() for e in online.values())


def test_without_an_awareness_that_plans_the_plan_is_the_recipes() -> None:
    assert objective("simclr").plan(2) == tuple(replace(view, measure=frozenset()) for view in plain_plan(2))
    assert objective("swav", "pair").plan(5) == plain_plan(5)


@pytest.mark.parametrize("role", [None, 1])
def test_without_a_plan_the_views_are_the_recipes_own(role: int | None) -> None:
    views = photographed(plain_plan(2))
    expected = objective("simclr")(views)["loss"]
    assert torch.equal(objective("simclr", f"beside(role={role})")(views)["loss"], expected)


# --- pair


@pytest.mark.parametrize("aware", ["pair(plain=True)", "pair(views=(0, 1))"])
@pytest.mark.parametrize("host", ALL)
def test_a_pair_of_the_recipes_views_is_the_default_bit_for_bit(host: str, aware: str) -> None:
    plain, whole = objective(host), objective(host, aware)
    one, two = step(plain), step(whole)
    assert torch.equal(one["loss"], two["loss"])
    one["loss"].backward()
    two["loss"].backward()
    expected, found = gradients(plain), gradients(whole)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[k], g) for k, g in expected.items())
    for each in (plain, whole):
        each.after_step(NOW)
    kept = dict(plain.host.named_buffers())
    assert all(torch.equal(b, kept[k]) for k, b in whole.host.named_buffers())


@pytest.mark.parametrize("host", ALL)
def test_the_default_is_the_hosts_loss_of_what_the_networks_made_bit_for_bit(host: str) -> None:
    whole = objective(host, "beside")
    parts = step(whole)
    online, target = seen(whole)
    z = [online[n].z for n in (0, 1)[whole.host.online]]
    compared = [LABELS] if whole.host.needs_labels else [target[n].z for n in (0, 1)[whole.host.target] if target]
    assert torch.equal(parts["loss/host"], whole.host.loss(z, compared))


@pytest.mark.parametrize("host", ["simclr", "moco_v2", "byol", "barlow_twins", "swav"])
def test_a_pair_with_an_added_view_is_the_hosts_loss_of_these_two(host: str) -> None:
    whole = objective(host, "pair(views=(0, 2), role=1)")
    parts = step(whole)
    online, target = seen(whole)
    z = [online[n].z for n in (0, 2)[whole.host.online]]
    compared = [target[n].z for n in (0, 2)[whole.host.target] if target]
    assert torch.equal(parts["loss"], whole.host.loss(z, compared))
    assert not torch.equal(parts["loss"], step(objective(host, "pair(views=(0, 1), role=1)"))["loss"])


# --- pair: branches


@pytest.mark.parametrize("host", ALL)
def test_each_branch_reads_its_own_half_of_z_with_its_own_host(host: str) -> None:
    whole = objective(host, "split")
    parts = step(whole)
    online, target = seen(whole)
    width = objective(host).online({0: photographed(plain_plan(1))[0]})[0].z.shape[1]
    assert online[0].z.shape == (BATCH, 2 * width)
    expected = []
    for each, views, half in zip(whole.hosts, [(0, 1), (0, 2)], [slice(None, width), slice(width, None)], strict=True):
        assert isinstance(each, Host)
        z = [online[n].z[:, half] for n in views[each.online]]
        compared = [target[n].z[:, half] for n in views[each.target]] if target else []
        expected.append(each.loss(z, [LABELS] if each.needs_labels else compared))
    a: Any = whole.aware[0]
    assert [torch.equal(one, two) for one, two in zip(a.parts, expected, strict=True)] == [True, True]
    assert torch.equal(parts["loss"], sum(expected))
    assert not torch.equal(expected[0], expected[1])


@pytest.mark.parametrize("host", ALL)
def test_the_state_of_an_objective_in_branches_holds_every_host(host: str) -> None:
    whole, plain = objective(host, "split"), objective(host)
    state, single = whole.state_dict(), {k for k in plain.state_dict() if k.startswith("hosts.0.")}
    assert {k for k in state if k.startswith("hosts.0.")} == single
    assert {k for k in state if k.startswith("hosts.")} == single | {k.replace("hosts.0", "hosts.1") for k in single}
    assert len(plain.hosts) == 1
    assert len(whole.hosts) == 2
    step(whole)["loss"].backward()
    whole.after_step(NOW)
    again = objective(host, "split")
    again.load_state_dict(whole.state_dict())
    assert torch.equal(step(again, epoch=1)["loss"], step(whole, epoch=1)["loss"])


@pytest.mark.parametrize("host", ["moco_v3", "byol", "swav"])
def test_the_parts_of_each_branchs_host_are_trained_by_that_branch_alone(host: str) -> None:
    for branch in (0, 1):
        whole = objective(host, f"split(calls=(({branch}, (0, 1)),))")
        step(whole)["loss"].backward()
        trained = [any(p.grad is not None for p in each.parameters()) for each in whole.hosts]
        assert trained == [branch == 0, branch == 1]
        g: Any = whole.online.g
        halves = [
            any(p.grad is not None and p.grad.abs().sum() > 0 for p in side.parameters()) for side in (g.one, g.two)
        ]
        assert halves == [branch == 0, branch == 1]


def test_a_queue_remembers_what_its_branch_saw_first_in_the_step() -> None:
    calls = "((0, (0, 1)), (0, (0, 2)), (1, (0, 2)), (1, (0, 1)))"
    whole = objective("moco_v2", f"split(calls={calls})")
    before = [each.queue.clone() for each in whole.hosts]  # type: ignore[operator, union-attr]
    step(whole)
    _, target = seen(whole)
    assert [int(each.place) for each in whole.hosts] == [0, 0]  # type: ignore[arg-type]
    whole.after_step(NOW)
    keys = [F.normalize(target[n].z.chunk(2, dim=1)[branch], dim=1) for branch, n in ((0, 1), (1, 2))]
    for each, old, new in zip(whole.hosts, before, keys, strict=True):
        assert int(each.place) == BATCH  # type: ignore[arg-type]
        assert torch.equal(each.queue[:BATCH], new)  # type: ignore[index]
        assert torch.equal(each.queue[BATCH:], old[BATCH:])  # type: ignore[index]
    assert torch.equal(before[0], before[1])


def test_a_branch_that_was_not_used_in_a_step_does_not_move() -> None:
    whole = objective("moco_v2", "split")
    a: Any = whole.aware[0]
    places = []
    for epoch, calls in enumerate([((0, (0, 1)),), ((1, (0, 1)),), ((0, (0, 1)), (1, (0, 2))), ((1, (0, 2)),)]):
        a.calls = calls
        before = [each.queue.clone() for each in whole.hosts]  # type: ignore[operator, union-attr]
        step(whole, epoch)
        whole.after_step(NOW)
        places.append([int(each.place) // BATCH for each in whole.hosts])  # type: ignore[arg-type]
        used = {branch for branch, _ in calls}
        moved = [not torch.equal(each.queue, old) for each, old in zip(whole.hosts, before, strict=True)]  # type: ignore[arg-type]
        assert moved == [branch in used for branch in (0, 1)]
    assert places == [[1, 0], [1, 1], [2, 2], [2, 3]]


def test_what_swav_remembers_it_remembers_in_each_branch() -> None:
    torch.manual_seed(0)
    host = narrow("swav").replace(")", ", queue=16, queue_epoch=0)")
    whole = Objective.from_specs(build_encoder(ENCODER), host, [spec("split(calls=((1, (0, 1)),))")], SPACES)
    whole.before_step(NOW)
    step(whole)
    whole.after_step(NOW)
    online, _ = seen(whole)
    pushed = [int(each.pushed) for each in whole.hosts]  # type: ignore[arg-type]
    assert pushed == [0, BATCH]
    for view in (0, 1):
        expected = F.normalize(online[view].z.detach().chunk(2, dim=1)[1], dim=1)
        assert torch.equal(whole.hosts[1].queue[view, :BATCH], expected)  # type: ignore[index]


@pytest.mark.parametrize("host", CONTRASTIVE)
def test_the_score_of_every_branch_is_the_awareness_own(host: str) -> None:
    whole = objective(host, "weighed")
    step(whole)["loss"].backward()
    weight = dict(whole.aware[0].named_parameters())["weight"]
    assert weight.grad is not None


# --- foils


def slow_nce(anchor: Tensor, positive: Tensor, negatives: Sequence[Tensor], temperature: float) -> float:
    """-log( e(p) / (e(p) + sum_k e(n_k)) ) of one anchor (d,), e(k) = exp(cos(anchor, k) / T)."""

    def e(key: Tensor) -> float:
        return math.exp(float(anchor @ key) / float(anchor.norm() * key.norm()) / temperature)

    return -math.log(e(positive) / (e(positive) + sum(e(n) for n in negatives)))


@torch.no_grad()
def slow_loss(name: str, host: Any, online: list[Tensor], target: list[Tensor], foils: list[Tensor]) -> float:
    """The host's loss, row by row; image i's foils are in its own denominators only."""
    n, t, rows = len(online[0]), host.temperature, []
    if name == "simclr":
        for here, there in ((online[0], online[1]), (online[1], online[0])):
            for i in range(n):
                others = [k[j] for j in range(n) if j != i for k in (here, there)]
                rows.append(slow_nce(here[i], there[i], [*others, *(foil[i] for foil in foils)], t))
        return sum(rows) / len(rows)
    if name == "moco_v2":
        for i in range(n):
            rows.append(slow_nce(online[0][i], target[0][i], [*host.queue, *(foil[i] for foil in foils)], t))
        return sum(rows) / len(rows)
    for z, k in ((online[0], target[1]), (online[1], target[0])):
        q = host.h(z)
        for i in range(n):
            others = [k[j] for j in range(n) if j != i]
            rows.append(slow_nce(q[i], k[i], [*others, *(foil[i] for foil in foils)], t))
    return 2 * t * sum(rows) / n


def contrast_of(name: str) -> tuple[Any, list[Tensor], list[Tensor], list[Tensor]]:
    """A contrastive host in float64, with embeddings of its views and three foils, not normalised."""
    torch.manual_seed(1)
    host = lookup.build("hosts", narrow(name), HostSetting(16)).double()
    width = 16 if name == "moco_v3" else 128
    z = [3 * torch.randn(6, width, dtype=torch.float64) for _ in range(5)]
    online, target = {"simclr": (z[:2], []), "moco_v2": (z[:1], z[1:2]), "moco_v3": (z[:2], z[3:])}[name]
    foils = [torch.randn(6, width, dtype=torch.float64) * scale for scale in (0.1, 1.0, 10.0)]
    foils[0] += z[0]
    return host, online, target, foils


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("name", CONTRASTIVE)
def test_a_foil_stands_in_the_denominator_of_its_own_image_only(name: str, count: int) -> None:
    host, online, target, foils = contrast_of(name)
    found = host.loss(online, target, foils[:count])
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(slow_loss(name, host, online, target, foils[:count]), abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_foils_raise_the_loss_and_none_leave_it_bit_for_bit(name: str) -> None:
    host, online, target, foils = contrast_of(name)
    losses = [host.loss(online, target, foils[:count]).item() for count in range(4)]
    assert losses == sorted(set(losses))
    assert torch.equal(host.loss(online, target), host.loss(online, target, ()))
    assert losses[0] == host.loss(online, target).item()


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_the_length_and_the_order_of_foils_do_not_count_but_whose_they_are_does(name: str) -> None:
    host, online, target, foils = contrast_of(name)
    loss = host.loss(online, target, foils).item()
    assert host.loss(online, target, [7 * foil for foil in foils[::-1]]).item() == pytest.approx(loss, rel=1e-12)
    assert abs(host.loss(online, target, [foil.roll(1, dims=0) for foil in foils]).item() - loss) > 1e-4


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_a_foil_is_pushed_away_by_its_gradient(name: str) -> None:
    host, online, target, foils = contrast_of(name)
    foil = foils[1].requires_grad_()
    host.loss(online, target, [foil]).backward()
    anchors = host.h(online[0]) if name == "moco_v3" else online[0]
    step = foil.detach() - 0.1 * foil.grad
    if name == "moco_v2":
        assert (F.cosine_similarity(step, anchors) < F.cosine_similarity(foil.detach(), anchors)).all()
    else:
        assert host.loss(online, target, [step]) < host.loss(online, target, [foil])


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_the_foils_of_a_pair_are_the_views_that_it_names(name: str) -> None:
    whole = objective(name, "pair(foils=(2,), role=1)")
    parts = step(whole)
    online, target = seen(whole)
    z, compared = ([of[n].z for n in (0, 1) if n in of] for of in (online, target))
    host: Any = whole.host
    foil = (target or online)[2].z
    assert torch.equal(parts["loss"], host.loss(z, compared, [foil]))
    assert parts["loss"] > host.loss(z, compared)
    exact = slow_loss(name, copy_double(host), *([t.detach().double() for t in of] for of in (z, compared, [foil])))
    assert parts["loss"].item() == pytest.approx(exact, rel=1e-5)


def copy_double(host: Host) -> Host:
    """The host in float64, in the same mode."""
    state = host.state_dict()
    again: Host = lookup.build("hosts", narrow(host.name), HostSetting(16))
    again.load_state_dict(state)
    return again.double().train(host.training)


def test_a_projected_view_without_a_role_can_be_a_foil_where_there_is_no_target() -> None:
    whole = objective("simclr", "pair(foils=(2,), projected=True)")
    parts = step(whole)
    online, _ = seen(whole)
    host: Any = whole.host
    assert torch.equal(parts["loss"], host.loss([online[0].z, online[1].z], [], [online[2].z]))


@pytest.mark.parametrize("aware", ["pair(foils=())", "pair_1"])
@pytest.mark.parametrize("name", CONTRASTIVE)
def test_a_pair_without_foils_is_the_plain_loss_bit_for_bit(name: str, aware: str) -> None:
    assert torch.equal(step(objective(name, aware))["loss"], step(objective(name))["loss"])


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_a_score_weighs_foils_as_negatives(name: str) -> None:
    host, online, target, foils = contrast_of(name)
    shapes: list[int] = []

    def score(positive: Tensor, negatives: Tensor, temperature: float) -> Tensor:
        shapes.append(negatives.shape[1])
        return negatives[:, -1].mean()

    host.score = score
    host.loss(online, target)
    calls, plain = len(shapes), shapes[-1]
    host.loss(online, target, foils)
    assert shapes == [plain] * calls + [plain + 3] * calls


# --- what is refused


def test_two_owners_of_one_hook_are_refused_by_name() -> None:
    assert set(OWNERS) == set(HOOKS)
    for hook in HOOKS:
        one, two = f"{hook}_1", f"{hook}_2"
        told = f"'{one}' and '{two}' both make their own {hook}; keep one of them"
        assert clash([cls(one), cls(two)]) == told
        f = build_encoder(ENCODER)
        with pytest.raises(RequestError) as refused:
            Objective.from_specs(f, "simclr", [spec(one), spec(two)], SPACES)
        assert str(refused.value) == f"aware: {told}"
    with pytest.raises(RequestError, match="'encoder_1' and 'encoder_2' both make their own encoder"):
        encoder_spec(ENCODER, [spec("encoder_1"), spec("encoder_2")], SPACES)


@pytest.mark.parametrize("count", [2, 3])
def test_clash_says_what_the_objective_says(count: int) -> None:
    names = [f"{hook}_{number}" for hook in HOOKS for number in (1, 2)] + ["beside", "split", "needy"]
    f = build_encoder(ENCODER)
    for chosen in list(combinations(names, count))[:: 1 if count == 2 else 7]:
        told = clash([cls(name) for name in chosen])
        raised = None
        try:
            Objective.from_specs(f, "simclr", [spec(name) for name in chosen], SPACES)
        except RequestError as refused:
            raised = str(refused)
        assert raised == (None if told is None else f"aware: {told}"), chosen


@pytest.mark.parametrize("host", lookup.names("hosts"))
def test_what_needs_negatives_is_refused_by_hosts_without_them_and_the_others_are_named(host: str) -> None:
    contrastive = issubclass(lookup.load("hosts", host), ContrastiveHost)
    told = mismatch(lookup.load("hosts", host), cls("needy"))
    assert (told is None) == contrastive
    assert mismatch(lookup.load("hosts", host), cls("beside")) is None
    if contrastive:
        assert torch.isfinite(step(objective(host, "needy"))["loss"])
        return
    with pytest.raises(RequestError) as refused:
        objective(host, "needy")
    assert str(refused.value) == f"aware: {told}"
    assert told == (
        f"'needy' needs negatives, and host {host!r} has none; use a contrastive host: moco_v2, moco_v3, simclr"
    )


def test_one_awareness_may_stand_once() -> None:
    with pytest.raises(RequestError, match=r"'beside' stands twice in \['beside', 'beside'\]"):
        objective("simclr", "beside", "beside(role=1)")


# --- encoder


def test_without_an_owner_the_encoder_is_the_recipes() -> None:
    for aware in ([], ["beside"], ["pair", "change"]):
        assert encoder_spec(ENCODER, [spec(name) for name in aware], SPACES) == ENCODER


def test_an_owner_makes_of_the_recipes_encoder_what_it_likes() -> None:
    found = encoder_spec("resnet18(stem='cifar')", [spec("beside"), spec("encoder_1")], SPACES)
    assert found == f"{PACKAGE}.reading({'''resnet18(stem='cifar')'''!r})"
    f = build_encoder(encoder_spec(ENCODER, [spec("encoder_1")], SPACES))
    assert (type(f).__name__, f.dim, f.reads) == ("Reading", 16, "crop")


def test_asking_for_the_encoder_leaves_the_random_state_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    encoder_spec(ENCODER, [spec("encoder_1"), spec("weighed"), spec("draws")], SPACES)
    assert torch.equal(torch.get_rng_state(), before)


def told(network: Any) -> list[tuple[int, tuple[Tensor, ...]]]:
    """Length of each batch that f encoded, and what it was told with it."""
    found: list[tuple[int, tuple[Tensor, ...]]] = network.f.told
    return found


@pytest.mark.parametrize("host", ["simclr", "moco_v2", "byol", "supervised"])
def test_an_encoder_that_reads_omega_is_told_that_of_all_views_of_its_batch(host: str) -> None:
    whole = objective(host, "encoder_1", "beside(count=2)")
    views = photographed(whole.plan(2))
    whole(views, LABELS)
    main = [n for n in (0, 1)[whole.host.online]]
    (length, (crop,)), (beside, (second,)) = told(whole.online)
    assert (length, beside) == (BATCH * len(main), 2 * BATCH)
    assert torch.equal(crop, torch.cat([views[n].omega["crop"] for n in main]))
    assert torch.equal(second, torch.cat([views[n].omega["crop"] for n in (2, 3)]))
    if whole.target is not None:
        ((length, (crop,)),) = told(whole.target)
        compared = [n for n in (0, 1)[whole.host.target]]
        assert torch.equal(crop, torch.cat([views[n].omega["crop"] for n in compared]))


def test_each_size_of_view_is_told_of_its_own() -> None:
    whole = objective("swav", "encoder_1", "beside(role=1, count=2, size=8)")
    views = photographed(whole.plan(2))
    whole(views)
    expected = [[0, 1], [2, 3]]
    assert [length for length, _ in told(whole.online)] == [2 * BATCH, 2 * BATCH]
    for (_, (crop,)), numbers in zip(told(whole.online), expected, strict=True):
        assert torch.equal(crop, torch.cat([views[n].omega["crop"] for n in numbers]))


def test_an_encoder_is_told_nothing_where_a_view_of_its_batch_lacks_it() -> None:
    whole = objective("simclr", "encoder_1")
    whole.online.f.reads = "angle"
    views = photographed((ViewPlan(0, 0, given={"angle": (1.0,)}), ViewPlan(0, 1)))
    whole.online(dict(enumerate(views)))
    assert told(whole.online) == [(2 * BATCH, ())]


def test_an_encoder_is_told_nothing_where_omega_lacks_it_or_it_does_not_ask() -> None:
    whole = objective("simclr", "encoder_1")
    views = [View(v.image, {k: w for k, w in v.omega.items() if k != "crop"}) for v in photographed(plain_plan(2))]
    whole.online(dict(enumerate(views)))
    assert told(whole.online) == [(2 * BATCH, ())]
    whole.online.f.reads = None
    whole.online(dict(enumerate(photographed(plain_plan(2)))))
    assert told(whole.online)[1] == (2 * BATCH, ())


def test_an_encoder_reads_what_a_plan_gives() -> None:
    whole = objective("simclr", "encoder_1")
    whole.online.f.reads = "angle"
    views = photographed(tuple(ViewPlan(n, n, given={"angle": (float(n), 1.0)}) for n in (0, 1)))
    whole(views)
    ((_, (angle,)),) = told(whole.online)
    assert torch.equal(angle, torch.tensor([[0.0, 1.0]] * BATCH + [[1.0, 1.0]] * BATCH))


def test_what_stands_in_no_omega_of_a_batch_but_one_is_not_told_to_g() -> None:
    whole = objective("simclr")
    keys: list[set[str]] = []
    whole.online.g.register_forward_pre_hook(lambda module, inputs: keys.append(set(inputs[1])))
    one, two = photographed((ViewPlan(0, 0), ViewPlan(0, 1, given={"angle": (1.0,)})))
    made = whole.online({0: one, 1: two})
    assert keys == [set(one.omega)]
    assert set(made[1].omega) == set(one.omega) | {"angle"}


# --- draws of a plan, from end to end


def test_a_run_whose_plan_is_drawn_ends_the_same_when_it_was_killed_and_resumed(
    small: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small.changed(
        {
            "data": "shapes(n=16)",
            "host": "moco_v2(queue=32)",
            "aware": (spec("draws"),),
            "epochs": 2,
            "batch_size": 8,
            "checkpoint_seconds": 0.0,
        }
    )
    take = Camera.take
    plans: list[Plan] = []

    def noted(camera: Camera, plan: Plan, *rest: Any) -> list[View]:
        plans.append(plan)
        return take(camera, plan, *rest)

    monkeypatch.setattr(Camera, "take", noted)
    whole = start(recipe, tmp_path / "whole").path
    drawn, plans[:] = list(plans), []
    assert len(drawn) == 4
    assert len({(plan[1].only, plan[2].size) for plan in drawn}) > 2

    start_and_kill(recipe, tmp_path / "run", 2)
    torch.manual_seed(99)
    resume(tmp_path / "run")
    assert plans == drawn
    assert_same_run(tmp_path / "run", whole, 4)
