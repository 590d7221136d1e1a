"""Optimisers against slow transcriptions of their formulas, their parameter groups, and the schedules."""

from __future__ import annotations

import io
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from augaware.augment.plan import pipelines
from augaware.nets.base import build_encoder
from augaware.objective import Objective
from augaware.optim import build_optimizer, learning_rate, peak_rate, set_schedules
from augaware.recipe import OPTIMIZERS, Recipe
from small_hosts import narrow

STEPS, PER_EPOCH = 5, 5
SIMSIAM = narrow("simsiam")


def recipe(**changes: Any) -> Recipe:
    """One epoch of five steps with everything that an optimiser has away from its default."""
    values = {"batch_size": 256, "epochs": 1, "momentum": 0.8, "weight_decay": 0.05, "base_lr": 0.3}
    return Recipe(data="shapes", encoder="tiny(widths=(4, 6))", size=16, **(values | changes))


def objective(of: Recipe) -> Objective:
    torch.manual_seed(0)
    f = build_encoder(of.encoder)
    return Objective.from_specs(f, of.host, of.aware, pipelines(of)[0].spaces)


def gradients(whole: nn.Module, step: int) -> None:
    """Random gradients, those of one tensor all zero."""
    generator = torch.Generator().manual_seed(step)
    for number, p in enumerate(p for p in whole.parameters() if p.requires_grad):
        p.grad = torch.randn(p.shape, generator=generator) * (0.0 if number == 2 else 10.0 ** (number % 3 - 1))


def norm(numbers: list[float]) -> float:
    return math.sqrt(sum(x * x for x in numbers))


def trained(of: Recipe) -> tuple[Objective, dict[str, list[list[float]]]]:
    """An objective after the steps of ``of``, and each parameter at the start, and after each step by ``slow``."""
    whole = objective(of)
    optimizer = build_optimizer(whole, of)
    slow = {name: Slow(p, of) for name, p in whole.named_parameters() if p.requires_grad}
    for step in range(STEPS):
        set_schedules(optimizer, of, step, PER_EPOCH)
        gradients(whole, step)
        for name, p in whole.named_parameters():
            if p.requires_grad:
                slow[name].step(p.grad, step)
        optimizer.step()
    return whole, {name: s.path for name, s in slow.items()}


class Slow:
    """One tensor under LARS, SGD or AdamW, in Python floats, from the papers' formulas."""

    def __init__(self, w: Tensor, of: Recipe) -> None:
        self.recipe, self.flat = of, w.ndim < 2
        self.path = [w.detach().double().flatten().tolist()]
        self.m = [0.0] * w.numel()
        self.v = [0.0] * w.numel()

    def step(self, grad: Tensor | None, step: int) -> None:
        assert grad is not None
        of, w, g = self.recipe, self.path[-1], grad.double().flatten().tolist()
        excluded = self.flat and of.exclude_1d
        decay = 0.0 if excluded else of.weight_decay
        rate = learning_rate(of, step, PER_EPOCH) * (of.lr_1d if self.flat else 1.0)
        if of.optimizer == "adamw":  # Loshchilov and Hutter 2019, algorithm 2, in PyTorch's scaling of the decay
            t = step + 1
            self.m = [0.9 * m + 0.1 * x for m, x in zip(self.m, g, strict=True)]
            self.v = [0.999 * v + 0.001 * x * x for v, x in zip(self.v, g, strict=True)]
            hat = [
                m / (1 - 0.9**t) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8) for m, v in zip(self.m, self.v, strict=True)
            ]
            self.path.append([x - rate * decay * x - rate * h for x, h in zip(w, hat, strict=True)])
            return
        ratio = 1.0
        if of.optimizer == "lars" and not excluded and norm(w) > 0 and norm(g) > 0:
            # You, Gitman, Ginsburg 2017, equation 6: the local rate, with eta = 0.001
            ratio = 0.001 * norm(w) / (norm(g) + decay * norm(w))
        # algorithm 1: v <- m v + rate ratio (g + decay w); here the rate multiplies at the end, as all SSL codes do
        self.m = [of.momentum * m + ratio * (x + decay * y) for m, x, y in zip(self.m, g, w, strict=True)]
        self.path.append([x - rate * m for x, m in zip(w, self.m, strict=True)])


def assert_same_steps(of: Recipe) -> None:
    whole, expected = trained(of)
    for name, p in whole.named_parameters():
        start, end = (torch.tensor(expected[name][k], dtype=torch.float64) for k in (0, -1))
        moved = p.detach().double().flatten() - start
        # float32 holds w to 6e-8 |w| at each step, so that this is what a step can be seen to
        atol = 2e-6 * (start.abs().max().item() + 1e-3)
        assert torch.allclose(moved, end - start, rtol=1e-4, atol=atol), name
        assert (end - start).abs().max() > 10 * atol or not p.numel() or (end == start).all(), f"{name} does not move"


# --- optimisers


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
@pytest.mark.parametrize("exclude_1d", [True, False])
def test_lars_is_the_published_step_of_each_tensor(weight_decay: float, exclude_1d: bool) -> None:
    # a rate a thousand times that of SGD, because the trust ratio has its 0.001
    assert_same_steps(recipe(optimizer="lars", base_lr=40.0, exclude_1d=exclude_1d, weight_decay=weight_decay))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_is_its_formula_with_excluded_parameters_and_a_rate_of_their_own(optimizer: str) -> None:
    base_lr = {"sgd": 0.1, "adamw": 0.01, "lars": 20.0}[optimizer]
    assert_same_steps(recipe(optimizer=optimizer, base_lr=base_lr, exclude_1d=True, lr_1d=0.024))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_excluded_parameters_have_no_decay_and_under_lars_take_plain_sgd_steps(optimizer: str) -> None:
    of = recipe(optimizer=optimizer, exclude_1d=True, weight_decay=0.5)
    whole = objective(of)
    flat = {name: p for name, p in whole.named_parameters() if p.ndim < 2}
    before = {name: p.detach().clone() for name, p in whole.named_parameters()}
    optimizer_ = build_optimizer(whole, of)
    set_schedules(optimizer_, of, 0, PER_EPOCH)
    for p in whole.parameters():
        p.grad = torch.zeros_like(p)
    optimizer_.step()  # without a gradient only the decay moves a parameter
    assert flat
    assert all(torch.equal(p, before[name]) for name, p in flat.items())
    assert all(not torch.equal(p, before[name]) for name, p in whole.named_parameters() if name not in flat)
    if optimizer == "lars":
        for p in whole.parameters():
            p.grad = torch.full_like(p, 0.25)
        optimizer_.step()
        assert all(torch.allclose(p, before[name] - 0.3 * 0.25) for name, p in flat.items())


def test_without_exclusion_one_dimensional_parameters_decay_like_the_others() -> None:
    of = recipe(optimizer="sgd", exclude_1d=False)
    groups = build_optimizer(objective(of), of).param_groups
    assert [group["weight_decay"] for group in groups] == [0.05] * 2


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("host", ["simclr", SIMSIAM, narrow("byol"), narrow("swav")])
def test_every_trained_parameter_is_in_one_group_and_the_target_in_none(optimizer: str, host: str) -> None:
    of = recipe(optimizer=optimizer, host=host, aware=("augself(hidden=8)", "cassle(depth=2, width=8)"))
    whole = objective(of)
    groups = build_optimizer(whole, of).param_groups
    given = [id(p) for group in groups for p in group["params"]]
    assert sorted(given) == sorted(id(p) for p in whole.parameters() if p.requires_grad)
    assert all(group["params"] for group in groups)
    assert all(len({p.ndim < 2 for p in group["params"]}) == 1 for group in groups)


def test_sgd_and_lars_have_the_recipes_momentum() -> None:
    for optimizer in ("sgd", "lars"):
        groups = build_optimizer(objective(of := recipe(optimizer=optimizer)), of).param_groups
        assert {group["momentum"] for group in groups} == {0.8}


# --- schedules


def test_the_learning_rate_warms_up_linearly_then_falls_as_half_a_cosine() -> None:
    of = Recipe(data="shapes", epochs=10, batch_size=128, base_lr=0.4, warmup_epochs=2)
    rates = [learning_rate(of, step, 5) for step in range(50)]
    peak = 0.4 * 128 / 256
    assert rates[:10] == pytest.approx([peak * (step + 1) / 11 for step in range(10)])
    for step in range(10, 50):
        assert rates[step] == pytest.approx(peak * 0.5 * (1 + math.cos(math.pi * (step - 10) / 40)))
    assert max(rates) == rates[10] == pytest.approx(peak)
    assert 0 < rates[-1] < 0.01 * peak


def test_without_warm_up_the_first_step_has_the_full_rate() -> None:
    of = Recipe(data="shapes", epochs=4, batch_size=256, base_lr=0.03)
    assert [learning_rate(of, step, 3) for step in (0, 6, 12)] == pytest.approx([0.03, 0.015, 0.0])


def test_the_learning_rate_stays_finite_when_all_of_the_run_is_warm_up() -> None:
    of = Recipe(data="shapes", epochs=1, warmup_epochs=1)
    assert all(0 < learning_rate(of, step, 4) < 0.03 for step in range(4))


def test_a_warm_up_starts_above_its_first_rate_and_a_cosine_ends_at_its_last() -> None:
    """SwAV: from 0.3 up to 4.8, then down to 0.0048."""
    of = Recipe(
        data="shapes",
        epochs=8,
        batch_size=256,
        base_lr=4.8,
        warmup_epochs=2,
        warmup_from=0.3 / 4.8,
        final_lr=0.0048 / 4.8,
    )
    rates = [learning_rate(of, step, 5) for step in range(41)]
    assert rates[:11] == pytest.approx([0.3 + 4.5 * (step + 1) / 11 for step in range(11)])
    assert rates[25] == pytest.approx((4.8 + 0.0048) / 2)
    assert rates[40] == pytest.approx(0.0048)
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))


def test_weight_decay_follows_half_a_cosine_to_its_end_but_not_where_it_is_excluded() -> None:
    """DINO: from 0.04 to 0.4."""
    of = recipe(optimizer="adamw", epochs=4, weight_decay=0.04, weight_decay_end=0.4, exclude_1d=True)
    optimizer = build_optimizer(objective(of), of)
    for step, expected in ((0, 0.04), (5, 0.4 - 0.36 * (1 + math.sqrt(0.5)) / 2), (10, 0.22), (20, 0.4)):
        set_schedules(optimizer, of, step, 5)
        found = {group["excluded"]: group["weight_decay"] for group in optimizer.param_groups}
        assert found == {False: pytest.approx(expected), True: 0.0}


def test_without_an_end_weight_decay_stays() -> None:
    of = recipe(exclude_1d=True)
    optimizer = build_optimizer(objective(of), of)
    for step in (0, 2, 4):
        set_schedules(optimizer, of, step, PER_EPOCH)
        assert {group["weight_decay"] for group in optimizer.param_groups} == {0.05, 0.0}


def test_the_factor_of_one_dimensional_parameters_multiplies_their_rate_at_every_step() -> None:
    """Barlow Twins: 0.2 for weights, 0.0048 for biases and normalisation, both scheduled."""
    of = recipe(optimizer="lars", base_lr=0.2, lr_1d=0.024, epochs=3, warmup_epochs=1, exclude_1d=True)
    optimizer = build_optimizer(objective(of), of)
    for step in range(15):
        set_schedules(optimizer, of, step, 5)
        rate = learning_rate(of, step, 5)
        for group in optimizer.param_groups:
            flat = group["params"][0].ndim < 2
            assert group["lr"] == pytest.approx(rate * (0.024 if flat else 1.0))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_simsiams_predictor_keeps_the_peak_while_the_rest_follows_the_schedule(optimizer: str) -> None:
    of = recipe(optimizer=optimizer, host=SIMSIAM, epochs=6, warmup_epochs=2, final_lr=0.01)
    whole = objective(of)
    made = build_optimizer(whole, of)
    predictor = {id(p) for p in whole.host.h.parameters()}
    for step in range(30):  # the first ten are warm-up
        set_schedules(made, of, step, 5)
        rates = {id(p): group["lr"] for group in made.param_groups for p in group["params"]}
        assert {rate for p, rate in rates.items() if p in predictor} == {peak_rate(of)}
        assert {rate for p, rate in rates.items() if p not in predictor} == {learning_rate(of, step, 5)}
    assert predictor <= rates.keys()


def test_a_host_without_a_constant_rate_has_none() -> None:
    of = recipe(host=narrow("byol"), exclude_1d=True)
    assert not any(group["constant"] for group in build_optimizer(objective(of), of).param_groups)


# --- state


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_optimizers_state_survives_a_checkpoint_with_its_groups(optimizer: str) -> None:
    of = recipe(
        optimizer=optimizer,
        host=SIMSIAM,
        epochs=2,
        base_lr=0.05,
        warmup_epochs=0.5,
        weight_decay_end=0.2,
        exclude_1d=True,
        lr_1d=0.1,
    )
    whole, again = objective(of), objective(of)
    one, two = build_optimizer(whole, of), build_optimizer(again, of)

    def steps(made: torch.optim.Optimizer, module: Objective, numbers: range) -> None:
        for step in numbers:
            set_schedules(made, of, step, 5)
            gradients(module, step)
            made.step()

    steps(one, whole, range(4))
    file = io.BytesIO()
    torch.save({"model": whole.state_dict(), "optimizer": one.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    again.load_state_dict(state["model"])
    two.load_state_dict(state["optimizer"])

    def told(made: torch.optim.Optimizer) -> list[dict[str, Any]]:
        return [{k: v for k, v in group.items() if k != "params"} for group in made.param_groups]

    assert told(two) == told(one)
    assert all({"excluded", "factor", "constant"} <= group.keys() for group in told(two))
    assert len({(g["excluded"], g["factor"], g["constant"]) for g in told(two)}) == 4
    steps(one, whole, range(4, 8))
    steps(two, again, range(4, 8))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
