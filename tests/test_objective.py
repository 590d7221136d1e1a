"""The objective of a host with an EMA target."""

from __future__ import annotations

import copy

import pytest
import torch

from augaware.augment.pipeline import Pipeline
from augaware.errors import RequestError
from augaware.hosts.base import Moment
from augaware.nets.base import build_encoder
from augaware.objective import Objective
from augaware.views import View

NOW = Moment(0, 10, 5)
PIPELINE = Pipeline.from_specs(("crop", "flip"), 16, (0.5,) * 3, (0.25,) * 3)


def objective(host: str, aware: list[str]) -> Objective:
    torch.manual_seed(0)
    return Objective.from_specs(build_encoder("tiny(widths=(8, 16))"), host, aware, PIPELINE.spaces)


def views(epoch: int = 0) -> list[View]:
    pixels = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    sizes = torch.full((8, 2), 16)
    return [PIPELINE.view(pixels, sizes, torch.arange(8), 0, epoch, number) for number in range(2)]


@pytest.mark.parametrize("m", [0.0, 0.9, 1.0])
def test_after_a_step_the_target_is_m_target_plus_the_rest_online_gamma_included(m: float) -> None:
    whole = objective(f"augaware_test_hosts.ema(momentum={m})", ["cassle(depth=2, width=8)", "augself(['crop'])"])
    assert whole.target is not None
    assert {k for k, _ in whole.target.named_parameters()} == {k for k, _ in whole.online.named_parameters()}
    assert any(k.startswith("g.gamma.") for k, _ in whole.target.named_parameters())
    assert all(torch.equal(t, o) for t, o in zip(whole.target.parameters(), whole.online.parameters(), strict=True))

    optimizer = torch.optim.SGD([p for p in whole.parameters() if p.requires_grad], 0.5)
    for step in range(2):
        before = {k: p.detach().clone() for k, p in whole.target.named_parameters()}
        optimizer.zero_grad()
        whole(views(step))["loss"].backward()
        assert all(p.grad is None and not p.requires_grad for p in whole.target.parameters())
        optimizer.step()
        online = dict(whole.online.named_parameters())
        whole.after_step(NOW)
        for k, p in whole.target.named_parameters():
            expected = m * before[k].double() + (1 - m) * online[k].detach().double()
            assert torch.allclose(p.double(), expected, atol=1e-6), k
    moved = [not torch.equal(p, before[k]) for k, p in whole.target.named_parameters()]
    assert all(moved) if m < 1 else not any(moved)


def test_the_targets_bn_statistics_come_from_its_own_forward_passes() -> None:
    whole = objective("augaware_test_hosts.ema(momentum=0.5)", [])
    assert whole.target is not None
    buffers = copy.deepcopy(dict(whole.target.named_buffers()))
    whole.after_step(NOW)
    assert all(torch.equal(b, buffers[k]) for k, b in whole.target.named_buffers())
    whole(views())
    assert any(not torch.equal(b, buffers[k]) for k, b in whole.target.named_buffers())


def test_a_host_without_momentum_has_no_target() -> None:
    whole = objective("simclr", ["cassle()"])
    assert whole.target is None
    before = copy.deepcopy(whole.state_dict())
    whole.after_step(NOW)
    assert all(torch.equal(v, before[k]) for k, v in whole.state_dict().items())


def test_the_views_go_through_the_network_as_one_batch() -> None:
    """So BN sees all of them: y of a view depends on the other view in training, not in evaluation."""
    whole = objective("simclr", [])
    one, two = views()
    alone, together = whole.online({0: one})[0].y, whole.online({0: one, 1: two})[0].y
    assert not torch.allclose(alone, together)
    whole.eval()
    assert torch.allclose(whole.online({0: one})[0].y, whole.online({0: one, 1: two})[0].y, atol=1e-6)


def test_lambda_weighs_a_part_and_the_part_is_logged_before_it() -> None:
    for lam in (0.0, 1.0, 7.5):
        parts = objective("simclr", [f"augself({{'crop': {lam}}})"])(views())
        assert parts["loss"].item() == pytest.approx(
            parts["loss/host"].item() + lam * parts["loss/augself/crop"].item(), rel=1e-6
        )


def test_views_of_one_size_share_a_pass_and_come_back_under_their_numbers() -> None:
    small = Pipeline.from_specs(("crop", "flip"), 8, (0.5,) * 3, (0.25,) * 3)
    pixels, sizes = torch.rand(8, 3, 16, 16), torch.full((8, 2), 16)
    one, two = views()
    a, b = (small.view(pixels, sizes, torch.arange(8), 0, 0, number) for number in (2, 3))
    whole = objective("simclr", ["cassle(depth=1, width=8)"]).eval()
    seen: list[tuple[int, ...]] = []
    whole.online.f.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape)))
    mixed = whole.online({0: one, 1: a, 4: two, 7: b})
    assert seen == [(16, 3, 16, 16), (16, 3, 8, 8)]
    assert list(mixed) == [0, 1, 4, 7]
    for number, view in ((0, one), (1, a), (4, two), (7, b)):
        alone = whole.online({number: view})[number]
        assert mixed[number].omega is view.omega
        assert torch.allclose(mixed[number].y, alone.y, atol=1e-6)
        assert torch.allclose(mixed[number].z, alone.z, atol=1e-5)


@pytest.mark.parametrize(("host", "count"), [("simclr", 1), ("simclr", 3), ("swav", 1), ("byol(hidden_dim=8)", 4)])
def test_a_wrong_number_of_views_is_refused(host: str, count: int) -> None:
    with pytest.raises(RequestError, match=f"views: {count} are planned, but host"):
        objective(host, []).check_views(count)
