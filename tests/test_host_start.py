"""What the loss of every host is before anything is learnt, and what it is once everything has collapsed.

The values follow from the equations for random directions in R^d: the cosine of two has variance 1/d, so the logarithm
of a mean of exp(cos / T) is about 1 / (2 d T^2).
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from augaware import lookup
from augaware.hosts.base import Host, HostSetting, Moment

N = 256
START = Moment(step=0, steps=100, per_epoch=10)


def build(spec: str) -> Host:
    torch.manual_seed(0)
    made = lookup.build("hosts", spec, HostSetting(32, classes=100))
    assert isinstance(made, Host)
    made.before_step(START)
    return made


def directions(d: int, views: int = 2, n: int = N) -> list[Tensor]:
    """Unrelated views of unrelated images."""
    generator = torch.Generator().manual_seed(1)
    return [F.normalize(torch.randn(n, d, generator=generator), dim=1) for _ in range(views)]


def same(d: int, n: int = N) -> Tensor:
    """Every image the same."""
    return directions(d, 1, 1)[0].repeat(n, 1)


def loss(host: Host, online: list[Tensor], target: list[Tensor] | None = None) -> float:
    with torch.no_grad():
        return host.loss(online, target or []).item()


def test_simclr_starts_at_log_2n_minus_1_and_a_little() -> None:
    host = build("simclr(temperature=0.2)")
    assert loss(host, directions(128)) == pytest.approx(math.log(2 * N - 1) + 1 / (2 * 128 * 0.2**2), abs=0.04)
    assert loss(host, [same(128), same(128)]) == pytest.approx(math.log(2 * N - 1), abs=1e-5)


@pytest.mark.parametrize(("temperature", "value"), [(0.2, 6.19), (0.07, 0.087)])
def test_moco_v2_starts_low_because_its_queue_is_random(temperature: float, value: float) -> None:
    host, (z,) = build(f"moco_v2(temperature={temperature})"), directions(128, 1, 64)
    exact = math.log(1 + 65536 * math.exp(-1 / temperature + 1 / (2 * 128 * temperature**2)))
    assert exact == pytest.approx(value, abs=0.005)
    assert loss(host, [z], [z]) == pytest.approx(exact, abs=0.03)


def test_moco_v2_rises_to_log_k_plus_1_as_keys_replace_the_random_queue() -> None:
    host, everything = build("moco_v2(queue=512)"), same(128, 64)
    found = []
    for _ in range(9):
        found.append(loss(host, [everything], [everything]))
        host.after_step([everything], [everything])
    assert found == sorted(found)
    assert found[0] < 2
    assert found[-1] == pytest.approx(math.log(513), abs=1e-4)  # collapsed: flat from here


def test_moco_v3_starts_at_4_t_log_n() -> None:
    host = build("moco_v3(hidden_dim=256)")
    found = loss(host, directions(256), directions(256, 4)[2:])
    assert found == pytest.approx(0.8 * math.log(N), abs=0.06)
    assert found == pytest.approx(0.8 * (math.log(N) + 1 / (2 * 256 * 0.2**2)), abs=0.04)


def test_byol_starts_at_4_and_collapses_to_0() -> None:
    host = build("byol(hidden_dim=64)")
    assert loss(host, directions(256), directions(256, 4)[2:]) == pytest.approx(4, abs=0.05)
    p = host.h(torch.ones(N, 256)).detach()
    assert loss(host, [torch.ones(N, 256)] * 2, [p, p]) == pytest.approx(0, abs=1e-5)


def test_simsiam_starts_at_0_and_collapses_to_minus_1() -> None:
    host = build("simsiam(hidden_dim=512, pred_hidden_dim=64)")
    assert loss(host, directions(512)) == pytest.approx(0, abs=0.02)
    host.h = torch.nn.Identity()
    assert loss(host, [same(512), same(512)]) == pytest.approx(-1, abs=1e-5)


@pytest.mark.parametrize(("prototypes", "value"), [(100, 4.996), (3000, 8.397)])
@pytest.mark.parametrize("scale", [1, 2])
def test_swav_starts_at_log_c_and_a_little(prototypes: int, value: float, scale: int) -> None:
    host = build(f"swav(prototypes={prototypes}, scale={scale})")
    exact = math.log(prototypes) + 1 / (2 * 128 * 0.1**2)
    assert exact == pytest.approx(value, abs=1e-3)
    assert loss(host, directions(128, views=4)) == pytest.approx(scale * exact, abs=scale * 0.03)
    # When all images are one, Sinkhorn shares them out evenly, and what is predicted is their common softmax.
    assert loss(host, [same(128), same(128)]) >= scale * math.log(prototypes)


def dino_value(outputs: int, d: int, shared: float) -> float:
    """log K + Var(s) / 2 - Cov(s, t) of logits s = cos / T_s and t = cos / T_t, as both are Gaussian."""
    return math.log(outputs) + 1 / (2 * d * 0.1**2) - shared / (d * 0.1 * 0.04)


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
def test_dino_starts_where_the_cosine_of_two_views_puts_it(shared: float) -> None:
    """Teacher and student are equal at first, and two views of an untrained network have a cosine near .85."""
    host, d, outputs = build("dino(output_dim=4096, hidden_dim=8)"), 256, 4096
    unit_vectors = host.projector(32)[-1]
    a, b, c = directions(d, 3)
    b, c = (F.normalize(shared * a + math.sqrt(1 - shared**2) * (v - (v * a).sum(1, True) * a), dim=1) for v in (b, c))
    with torch.no_grad():
        student, teacher = unit_vectors(a), [unit_vectors(b), unit_vectors(c)]
    assert loss(host, [student, student], teacher) == pytest.approx(dino_value(outputs, d, shared), abs=0.06)


def test_dino_starts_again_once_the_centre_holds_what_all_images_share() -> None:
    host, d, outputs = build("dino(output_dim=4096, hidden_dim=8)"), 256, 4096
    assert dino_value(65536, d, 0.85) == pytest.approx(10.46, abs=0.01)  # as measured with the default head
    unit_vectors = host.projector(32)[-1]
    z = F.normalize(torch.cat(directions(d)) + 2 * same(d, 2 * N), dim=1)  # a cosine of .8 between any two
    with torch.no_grad():
        s_1, s_2 = unit_vectors(z).chunk(2)
        assert loss(host, [s_1, s_2], [s_1, s_2]) == pytest.approx(dino_value(outputs, d, 0.8), abs=0.08)
        for _ in range(60):
            host.after_step([], [s_1, s_2])
    assert loss(host, [s_1, s_2], [s_1, s_2]) == pytest.approx(dino_value(outputs, d, 0.0), abs=0.08)


def test_dino_costs_log_k_when_everything_is_uniform() -> None:
    host = build("dino(output_dim=64, hidden_dim=8)")
    assert loss(host, [torch.zeros(N, 64)] * 2, [torch.zeros(N, 64)] * 2) == pytest.approx(math.log(64), abs=1e-5)


def test_barlow_twins_starts_at_its_two_sums() -> None:
    host, d = build("barlow_twins(hidden_dim=8)"), 1024
    unrelated, redundancy = d * (1 + 1 / N), 0.0051 * d * (d - 1) / N
    found = loss(host, directions(d))
    assert found == pytest.approx(unrelated + redundancy, rel=0.005)
    assert found == pytest.approx(1049, abs=5)
    (z,) = directions(d, 1)
    assert loss(host, [z, z]) == pytest.approx(redundancy, rel=0.02)
    # Every dimension the same: c is all ones.
    line = torch.randn(N, 1).expand(N, d)
    assert loss(host, [line, line]) == pytest.approx(0.0051 * d * (d - 1), rel=1e-3)


def test_vicreg_starts_at_its_three_terms() -> None:
    """Of unrelated unit normal embeddings: s = 2, a deviation falls short of 1 by 1 / sqrt(4 pi N), Cov^2 = 1/(N-1)."""
    host, d = build("vicreg(hidden_dim=8)"), 512
    generator = torch.Generator().manual_seed(1)
    z_1, z_2 = torch.randn(2, N, d, generator=generator)
    expected = 25 * 2 + 25 / math.sqrt(4 * math.pi * N) + 2 * (d - 1) / (N - 1)
    assert loss(host, [z_1, z_2]) == pytest.approx(expected, rel=0.01)
    assert loss(host, [z_1, z_1]) == pytest.approx(expected - 50, rel=0.01)
    assert loss(host, [same(d), same(d)]) == pytest.approx(25 * (1 - 0.01), abs=1e-3)  # collapsed: sqrt(1e-4) is left


def test_supervised_starts_at_log_classes() -> None:
    host = build("supervised")
    y = torch.randn(N, 32, generator=torch.Generator().manual_seed(1))
    logits, labels = host.projector(32)(y), torch.arange(N) % 100
    assert loss(host, [logits, logits], [labels]) == pytest.approx(math.log(100), abs=0.25)
    assert loss(host, [torch.zeros(N, 100)] * 2, [labels]) == pytest.approx(math.log(100), abs=1e-5)
