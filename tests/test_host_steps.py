"""What hosts do around a step: the EMA target, what is frozen, what is remembered, schedules; through the objective."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from augaware import lookup
from augaware.hosts.base import HostSetting, Moment
from augaware.hosts.dino import UnitVectors
from augaware.nets.base import build_encoder
from augaware.objective import Objective
from augaware.views import View
from small_hosts import EMA, HOSTS, narrow

BATCH, STEPS, PER_EPOCH = 12, 20, 4
LABELS = torch.arange(BATCH) % 4
NARROW_DINO = "dino(output_dim=48, hidden_dim=32, bottleneck_dim=16, {})"


def objective(spec: str) -> Objective:
    torch.manual_seed(0)
    host = lookup.build("hosts", spec, HostSetting(16, classes=4))
    return Objective(build_encoder("tiny(widths=(8, 16))"), host, [])


def views(step: int, count: int = 2) -> list[View]:
    generator = torch.Generator().manual_seed(step)
    return [View(torch.randn(BATCH, 3, 16, 16, generator=generator), {}) for _ in range(count)]


class Training:
    """An objective under SGD with momentum and weight decay, step by step."""

    def __init__(self, spec: str) -> None:
        self.whole, self.step = objective(spec), 0
        trained = [p for p in self.whole.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(trained, 0.3, momentum=0.9, weight_decay=0.01)

    def forward(self, count: int = 2) -> Moment:
        """Up to the gradients."""
        now = Moment(self.step, STEPS, PER_EPOCH)
        self.whole.before_step(now)
        self.optimizer.zero_grad()
        self.whole(views(self.step, count), LABELS)["loss"].backward()
        self.whole.after_backward(now)
        return now

    def go(self, count: int = 2) -> Moment:
        """One whole step."""
        now = self.forward(count)
        self.optimizer.step()
        self.whole.after_step(now)
        self.step += 1
        return now


WITH_TARGET = [*(n for n in lookup.names("hosts") if objective(narrow(n)).target is not None), EMA]


# The target


@pytest.mark.parametrize("name", WITH_TARGET)
def test_the_target_of_every_host_follows_by_its_momentum(name: str) -> None:
    training = Training(narrow(name))
    whole = training.whole
    assert whole.target is not None
    followed = {f"online.{k}" for k, _ in whole.target.named_parameters()}
    assert followed == {
        k for k, _ in whole.named_parameters() if k.startswith("online.")
    }  # no predictor, no prototypes
    moved = 0
    for _ in range(3):
        before = {k: p.double() for k, p in whole.target.named_parameters()}
        now = training.go()
        online, m = dict(whole.online.named_parameters()), whole.host.momentum_at(now)
        assert m is not None
        for k, p in whole.target.named_parameters():
            expected = m * before[k] + (1 - m) * online[k].detach().double()
            torch.testing.assert_close(p.double(), expected, rtol=0, atol=1e-6)
            moved += not torch.equal(p.double(), before[k])
            assert p.grad is None
    assert moved


@pytest.mark.parametrize("name", HOSTS)
def test_what_a_host_remembers_has_a_fixed_size_and_no_gradient(name: str) -> None:
    training = Training(narrow(name))
    shapes = {k: v.shape for k, v in training.whole.state_dict().items()}
    for _ in range(3):
        training.go()
    assert {k: v.shape for k, v in training.whole.state_dict().items()} == shapes
    assert all(b.grad_fn is None and not b.requires_grad for b in training.whole.buffers())


@pytest.mark.parametrize("name", HOSTS)
def test_every_trained_parameter_of_every_host_moves(name: str) -> None:
    training = Training(narrow(name))
    before = {k: p.detach().clone() for k, p in training.whole.named_parameters() if p.requires_grad}
    for _ in range(2):
        training.go()
    after = dict(training.whole.named_parameters())
    assert before
    assert not [k for k, p in before.items() if torch.equal(p, after[k])]


def test_the_online_network_of_moco_v2_sees_view_1_alone_and_its_target_view_2_alone() -> None:
    whole = objective(narrow("moco_v2"))
    assert whole.target is not None
    seen: dict[str, list[Tensor]] = {"online": [], "target": []}
    whole.online.f.register_forward_pre_hook(lambda module, inputs: seen["online"].append(inputs[0]))
    whole.target.f.register_forward_pre_hook(lambda module, inputs: seen["target"].append(inputs[0]))
    one, two = views(0)
    whole([one, two])
    assert [torch.equal(x, one.image) for x in seen["online"]] == [True]
    assert [torch.equal(x, two.image) for x in seen["target"]] == [True]


def test_the_teacher_of_dino_sees_the_first_two_views_of_four() -> None:
    whole = objective(narrow("dino"))
    assert whole.target is not None
    seen: list[Tensor] = []
    whole.target.f.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    given = views(0, 4)
    whole(given)
    assert torch.equal(torch.cat(seen), torch.cat([v.image for v in given[:2]]))


# SwAV


def test_the_prototypes_of_swav_are_unit_vectors_at_every_step() -> None:
    training = Training(narrow("swav"))
    host = training.whole.host
    for _ in range(4):
        training.go()
        assert (host.c.norm(dim=1) - 1).abs().max() > 1e-4  # the optimiser leaves the sphere
        host.before_step(Moment(training.step, STEPS, PER_EPOCH))
        torch.testing.assert_close(host.c.norm(dim=1), torch.ones(12))


@pytest.mark.parametrize("freeze", [0, 1, 3])
def test_the_prototypes_of_swav_do_not_move_while_they_are_frozen(freeze: int) -> None:
    training = Training(f"swav(prototypes=12, hidden_dim=32, output_dim=16, freeze={freeze})")
    c = training.whole.host.c
    for step in range(5):
        before = c.detach().clone()
        training.forward()
        assert (c.grad is None) == (step < freeze)
        training.go()
        moved = (c - before).abs().max().item()
        assert moved < 1e-6 if step < freeze else moved > 1e-4


def test_the_queue_of_swav_opens_at_its_epoch_with_the_embeddings_of_both_coded_views() -> None:
    training = Training("swav(prototypes=12, hidden_dim=32, output_dim=16, queue=30, queue_epoch=1)")
    host = training.whole.host
    kept: list[Tensor] = []
    training.whole.online.g.register_forward_hook(lambda module, inputs, z: kept.append(z.detach()))
    for step in range(PER_EPOCH + 3):
        training.go(count=3)
        if step < PER_EPOCH:
            assert not host.queue.any()
            assert host.pushed == 0
        else:
            one, two, _ = F.normalize(kept[-1], dim=1).chunk(3)
            at = (torch.arange(BATCH) + (step - PER_EPOCH) * BATCH) % 30
            torch.testing.assert_close(host.queue[:, at], torch.stack((one, two)))
    assert host.pushed == 3 * BATCH


# DINO


@pytest.mark.parametrize("momentum", [0.9, 0.5])
def test_the_centre_of_dino_follows_the_mean_of_the_teachers_outputs(momentum: float) -> None:
    training = Training(NARROW_DINO.format(f"centre_momentum={momentum}"))
    target, host = training.whole.target, training.whole.host
    assert target is not None
    kept: list[Tensor] = []
    target.g.register_forward_hook(lambda module, inputs, z: kept.append(z.double()))
    expected = torch.zeros(48, dtype=torch.float64)
    for _ in range(4):
        training.go(count=4)
        assert len(kept[-1]) == 2 * BATCH
        expected = momentum * expected + (1 - momentum) * kept[-1].mean(dim=0)
        torch.testing.assert_close(host.centre.double(), expected, rtol=0, atol=1e-6)


def test_the_temperature_of_dinos_teacher_rises_linearly_and_stays() -> None:
    host = objective(NARROW_DINO.format("teacher_temperature=0.04, teacher_temperature_end=0.07, warmup_epochs=3")).host
    found = []
    for step in range(20):
        host.before_step(Moment(step, STEPS, PER_EPOCH))
        found.append(host.t_t)
    assert found == [pytest.approx(0.04 + 0.03 * min(step / (3 * PER_EPOCH), 1)) for step in range(20)]
    host = objective(NARROW_DINO.format("warmup_epochs=0")).host
    host.before_step(Moment(0, STEPS, PER_EPOCH))
    assert host.t_t == 0.07


@pytest.mark.parametrize(("epochs", "steps"), [(0, 0), (0.5, 2), (1, 4)])
def test_the_unit_vectors_of_dino_do_not_move_while_they_are_frozen(epochs: float, steps: int) -> None:
    training = Training(NARROW_DINO.format(f"freeze_epochs={epochs}"))
    (weight,) = (m.weight for m in training.whole.online.modules() if isinstance(m, UnitVectors))
    for step in range(6):
        before = weight.detach().clone()
        training.forward()
        assert (weight.grad is None) == (step < steps)
        training.go()
        assert torch.equal(weight, before) == (step < steps)


def test_the_outputs_of_dinos_head_are_cosines() -> None:
    host = objective(NARROW_DINO.format("freeze_epochs=0")).host
    g = host.projector(16)
    y = torch.randn(BATCH, 16)
    bottleneck, weight = g[0](y).tolist(), g[1].weight.tolist()
    for row, expected in zip(g(y).tolist(), bottleneck, strict=True):
        for value, w in zip(row, weight, strict=True):
            dot = sum(a * b for a, b in zip(expected, w, strict=True))
            assert value == pytest.approx(dot / math.hypot(*expected) / math.hypot(*w), abs=1e-6)
