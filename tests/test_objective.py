"""The objective of a host with an EMA target."""

from __future__ import annotations

import copy

import pytest
import torch

from augaware.augment.pipeline import Pipeline
from augaware.nets.base import build_encoder
from augaware.objective import Objective
from augaware.views import View

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
        whole.after_step()
        for k, p in whole.target.named_parameters():
            expected = m * before[k].double() + (1 - m) * online[k].detach().double()
            assert torch.allclose(p.double(), expected, atol=1e-6), k
    moved = [not torch.equal(p, before[k]) for k, p in whole.target.named_parameters()]
    assert all(moved) if m < 1 else not any(moved)


def test_the_targets_bn_statistics_come_from_its_own_forward_passes() -> None:
    whole = objective("augaware_test_hosts.ema(momentum=0.5)", [])
    assert whole.target is not None
    buffers = copy.deepcopy(dict(whole.target.named_buffers()))
    whole.after_step()
    assert all(torch.equal(b, buffers[k]) for k, b in whole.target.named_buffers())
    whole(views())
    assert any(not torch.equal(b, buffers[k]) for k, b in whole.target.named_buffers())


def test_a_host_without_momentum_has_no_target() -> None:
    whole = objective("simclr", ["cassle()"])
    assert whole.target is None
    before = copy.deepcopy(whole.state_dict())
    whole.after_step()
    assert all(torch.equal(v, before[k]) for k, v in whole.state_dict().items())


def test_the_views_go_through_the_network_as_one_batch() -> None:
    """So BN sees all of them: y of a view depends on the other view in training, not in evaluation."""
    whole = objective("simclr", [])
    one, two = views()
    alone, together = whole.online([one])[0].y, whole.online([one, two])[0].y
    assert not torch.allclose(alone, together)
    whole.eval()
    assert torch.allclose(whole.online([one])[0].y, whole.online([one, two])[0].y, atol=1e-6)


def test_lambda_weighs_a_part_and_the_part_is_logged_before_it() -> None:
    for lam in (0.0, 1.0, 7.5):
        parts = objective("simclr", [f"augself({{'crop': {lam}}})"])(views())
        assert parts["loss"].item() == pytest.approx(
            parts["loss/host"].item() + lam * parts["loss/augself/crop"].item(), rel=1e-6
        )
