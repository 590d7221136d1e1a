"""IFM and HCL: how positives are weighed against negatives, against slow transcriptions and their identities."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from augaware import lookup
from augaware.awareness.base import Setting
from augaware.errors import RequestError
from augaware.hosts.base import ContrastiveHost
from augaware.losses import info_nce
from augaware.nets.base import build_encoder
from augaware.objective import Objective
from small_hosts import HOSTS, narrow

SETTING = Setting(16, {})
CONTRASTIVE = ["simclr", "moco_v2", "moco_v3"]


def cosines(rows: int = 6, negatives: int = 9) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    draws = 2 * torch.rand(rows, negatives + 1, generator=generator, dtype=torch.float64) - 1
    return draws[:, 0], draws[:, 1:]


def slow_nce(positive: list[float], negatives: list[list[float]], t: float) -> float:
    losses = [
        -math.log(math.exp(p / t) / (math.exp(p / t) + sum(math.exp(v / t) for v in n)))
        for p, n in zip(positive, negatives, strict=True)
    ]
    return sum(losses) / len(losses)


def slow_hcl(positive: list[float], negatives: list[list[float]], t: float, beta: float, tau: float) -> float:
    total = 0.0
    for p, n in zip(positive, negatives, strict=True):
        weights = [math.exp(beta * v / t) for v in n]
        mean = sum(weights) / len(n)
        r = sum(w / mean * math.exp(v / t) for w, v in zip(weights, n, strict=True))
        g = max((r - tau * len(n) * math.exp(p / t)) / (1 - tau), len(n) * math.exp(-1 / t))
        total -= math.log(math.exp(p / t) / (math.exp(p / t) + g))
    return total / len(positive)


@pytest.mark.parametrize("t", [0.1, 0.2, 1.0])
def test_info_nce_is_its_formula_row_by_row(t: float) -> None:
    p, n = cosines()
    assert info_nce(p, n, t).item() == pytest.approx(slow_nce(p.tolist(), n.tolist(), t), rel=1e-9)


@pytest.mark.parametrize(("eps", "alpha"), [(0.1, 1.0), (0.05, 0.5), (0.2, 2.0)])
def test_ifm_is_the_plain_and_the_perturbed_term(eps: float, alpha: float) -> None:
    p, n = cosines()
    found = lookup.build("awareness", f"ifm(eps={eps}, alpha={alpha})", SETTING).score(p, n, 0.2).item()
    plain = slow_nce(p.tolist(), n.tolist(), 0.2)
    hard = slow_nce([v - eps for v in p.tolist()], [[v + eps for v in row] for row in n.tolist()], 0.2)
    assert found == pytest.approx((plain + alpha * hard) / (1 + alpha), rel=1e-9)
    assert plain <= hard <= plain + 2 * eps / 0.2


def test_ifms_perturbed_term_is_a_margin_on_the_odds() -> None:
    p, n = cosines()
    eps, t = 0.1, 0.2
    hard = 2 * lookup.build("awareness", f"ifm(eps={eps})", SETTING).score(p, n, t) - info_nce(p, n, t)
    margin = torch.log1p(math.exp(2 * eps / t) * ((n - p[:, None]) / t).exp().sum(dim=1)).mean()
    assert hard.item() == pytest.approx(margin.item(), rel=1e-9)


def test_ifms_perturbation_is_the_worst_in_its_ball() -> None:
    """No change of the keys within eps makes the loss of a unit query larger than p - eps, n + eps."""
    generator = torch.Generator().manual_seed(1)
    q, k, others = (torch.randn(*s, generator=generator, dtype=torch.float64) for s in ((1, 8), (1, 8), (5, 8)))
    q, k, others = (v / v.norm(dim=1, keepdim=True) for v in (q, k, others))
    worst = info_nce((q * k).sum(1) - 0.1, q @ others.T + 0.1, 0.2)
    at_bound = info_nce((q * (k - 0.1 * q)).sum(1), q @ (others + 0.1 * q).T, 0.2)
    assert at_bound.item() == pytest.approx(worst.item(), rel=1e-9)
    for _ in range(50):
        moves = torch.randn(6, 8, generator=generator, dtype=torch.float64)
        moves = 0.1 * moves / moves.norm(dim=1, keepdim=True)
        assert info_nce((q * (k + moves[:1])).sum(1), q @ (others + moves[1:]).T, 0.2) <= worst


@pytest.mark.parametrize(("beta", "tau"), [(1.0, 0.1), (0.5, 0.0), (0.0, 0.1), (2.0, 0.3)])
@pytest.mark.parametrize("t", [0.2, 0.5])
def test_hcl_is_its_formula_row_by_row(beta: float, tau: float, t: float) -> None:
    p, n = cosines()
    found = lookup.build("awareness", f"hcl(beta={beta}, tau={tau})", SETTING).score(p, n, t).item()
    assert found == pytest.approx(slow_hcl(p.tolist(), n.tolist(), t, beta, tau), rel=1e-9)


@pytest.mark.parametrize("spec", ["ifm", "hcl"])
def test_a_negative_of_minus_infinity_is_none(spec: str) -> None:
    p, n = cosines()
    padded = torch.cat((n[:, :4], torch.full((len(n), 2), -math.inf, dtype=n.dtype), n[:, 4:]), dim=1)
    score = lookup.build("awareness", spec, SETTING).score
    one, two = n.clone().requires_grad_(), padded.clone().requires_grad_()
    whole, with_gaps = score(p, one, 0.2), score(p, two, 0.2)
    assert with_gaps.item() == pytest.approx(whole.item(), rel=1e-9)
    (slope,), (slope_gaps,) = torch.autograd.grad(whole, one), torch.autograd.grad(with_gaps, two)
    assert torch.allclose(torch.cat((slope_gaps[:, :4], slope_gaps[:, 6:]), dim=1), slope)
    assert not slope_gaps[:, 4:6].any()


def losses(host: str, aware: list[str]) -> tuple[Tensor, Objective]:
    torch.manual_seed(0)
    whole = Objective.from_specs(build_encoder("tiny(widths=(8, 16))"), narrow(host), aware, {}, classes=4)
    generator = torch.Generator().manual_seed(2)
    g = whole.online.g.g
    z = [g(torch.randn(12, 16, generator=generator)) for _ in range(2)]
    online, target = z[whole.host.online], [v.detach() for v in z[whole.host.target]]
    return whole.host.loss(online, target if whole.target is not None else []), whole


@pytest.mark.parametrize("host", CONTRASTIVE)
def test_ifm_with_eps_0_and_hcl_with_beta_and_tau_0_are_the_host(host: str) -> None:
    plain, _ = losses(host, [])
    assert torch.equal(losses(host, ["ifm(eps=0)"])[0], plain)
    assert losses(host, ["hcl(beta=0, tau=0)"])[0].item() == pytest.approx(plain.item(), rel=1e-5)
    assert losses(host, ["ifm()"])[0] > plain
    assert not torch.isclose(losses(host, ["hcl()"])[0], plain)


@pytest.mark.parametrize("aware", ["ifm", "hcl"])
@pytest.mark.parametrize("host", sorted(set(HOSTS) - set(CONTRASTIVE)))
def test_on_a_host_without_negatives_it_is_refused_with_what_would_work(host: str, aware: str) -> None:
    with pytest.raises(RequestError, match=f"{aware!r} needs negatives, .* use a contrastive host: moco_v2, moco_v3"):
        losses(host, [aware])


def test_two_ways_to_weigh_are_refused_by_name() -> None:
    with pytest.raises(RequestError, match="'ifm' and 'hcl' both make their own score"):
        losses("simclr", ["ifm", "hcl"])


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("ifm(eps=-1)", "eps=-1 must be a number, at least 0"),
        ("ifm(alpha='x')", "alpha='x'"),
        ("hcl(beta=-1)", "beta=-1"),
        ("hcl(tau=1.0)", "tau=1.0 must be a number, at least 0 and below 1"),
        ("hcl(tau=True)", "tau=True"),
    ],
)
def test_a_wrong_argument_is_refused(spec: str, word: str) -> None:
    with pytest.raises(RequestError) as refused:
        lookup.build("awareness", spec, SETTING)
    assert word in str(refused.value)


def test_the_contrastive_hosts_are_those_with_negatives() -> None:
    contrastive = [n for n in lookup.names("hosts") if issubclass(lookup.load("hosts", n), ContrastiveHost)]
    assert contrastive == sorted(CONTRASTIVE)
