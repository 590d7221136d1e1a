"""Laws of every host, swept by name: a new file in hosts/ is tested by existing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from augaware import lookup
from augaware.errors import RequestError
from augaware.hosts.base import Host

DIM, BATCH = 24, 16
HOSTS = [*lookup.names("hosts"), "augaware_test_hosts.ema"]
SYMMETRIC = HOSTS  # a host whose loss is not symmetric in its views is left out here, by name


def host(spec: str) -> Host:
    torch.manual_seed(0)
    made = lookup.build("hosts", spec, DIM)
    assert isinstance(made, Host)
    return made


def embeddings(given: Host, seed: int = 0) -> tuple[list[Tensor], list[Tensor]]:
    """Online and target embeddings of two views as wide as the host's projector makes them."""
    torch.manual_seed(seed)
    g = given.projector(DIM)
    y = torch.randn(BATCH, DIM)
    online = [g(y + 0.3 * torch.randn_like(y)) for _ in range(2)]
    target = [z.detach() + 0.1 * torch.randn_like(z) for z in online]
    return online, target if given.momentum is not None else []


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_loss_is_a_finite_scalar_with_a_gradient_into_the_online_embeddings(name: str) -> None:
    given = host(name)
    online, target = embeddings(given)
    for z in online:
        z.retain_grad()
    loss = given.loss(online, target)
    assert loss.shape == ()
    assert loss.isfinite()
    loss.backward()
    assert any(z.grad is not None and z.grad.abs().sum() > 0 for z in online)


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_loss_is_pure(name: str) -> None:
    given = host(name)
    online, target = embeddings(given)
    before = [t.clone() for t in (*online, *target, *given.state_dict().values())]
    first, second = given.loss(online, target), given.loss(online, target)
    assert torch.equal(first, second)
    after = [*online, *target, *given.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_loss_ignores_the_order_of_the_batch(name: str) -> None:
    given = host(name)
    online, target = embeddings(given)
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(1))
    shuffled = given.loss([z[order] for z in online], [z[order] for z in target])
    assert shuffled.item() == pytest.approx(given.loss(online, target).item(), abs=1e-5)


@pytest.mark.parametrize("name", SYMMETRIC)
def test_a_host_loss_ignores_the_order_of_the_views(name: str) -> None:
    given = host(name)
    online, target = embeddings(given)
    assert given.loss(online[::-1], target[::-1]).item() == pytest.approx(given.loss(online, target).item(), abs=1e-5)


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_makes_fresh_projectors_of_any_input_width(name: str) -> None:
    given = host(name)
    one, two = given.projector(DIM + 5), given.projector(DIM + 5)
    assert not {id(p) for p in one.parameters()} & {id(p) for p in two.parameters()}
    assert one(torch.randn(4, DIM + 5)).shape == two(torch.randn(4, DIM + 5)).shape
    assert one(torch.randn(4, DIM + 5)).shape == given.projector(DIM)(torch.randn(4, DIM)).shape


def test_the_simclr_projector_is_d_d_128_with_bn_in_the_hidden_layer_only() -> None:
    g = lookup.build("hosts", "simclr", 512).projector(512)
    assert [type(layer) for layer in g] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    hidden, output = g[0], g[3]
    assert (hidden.in_features, hidden.out_features, hidden.bias) == (512, 512, None)
    assert (output.in_features, output.out_features) == (512, 128)
    assert output.bias is not None


def test_projector_weights_start_uniform_within_one_over_sqrt_fan_in() -> None:
    g = lookup.build("hosts", "simclr(proj_hidden_dim=256)", 64).projector(64)
    for layer, fan_in in ((g[0], 64), (g[3], 256)):
        bound = 1 / math.sqrt(fan_in)
        for parameter in layer.parameters():
            assert parameter.abs().max() <= bound
            assert parameter.abs().max() > 0.95 * bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)


def test_an_untrained_simclr_starts_near_log_2n_minus_1() -> None:
    given = host("simclr")
    g = given.projector(DIM)
    y = torch.randn(64, DIM)
    z_1, z_2 = g(y), g(torch.randn(64, DIM))
    # Unrelated views: what the positive's cosine brings and what the spread of the others costs cancel roughly.
    assert given.loss([z_1, z_2], []).item() == pytest.approx(math.log(2 * 64 - 1), abs=0.7)


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("simclr(temperature=0)", "temperature=0"),
        ("simclr(temperature=-0.2)", "temperature=-0.2"),
        ("simclr(temperature='cold')", "temperature='cold'"),
        ("simclr(proj_output_dim=0)", "proj_output_dim=0"),
        ("simclr(proj_hidden_dim=1.5)", "proj_hidden_dim=1.5"),
        ("simclr(temprature=0.2)", "did you mean 'temperature'"),
        ("simclr(dim=3)", "unknown argument 'dim'"),
        ("simclr(0.2, 3, 4, 5)", "too many positional arguments"),
        ("simclr(temperature=open('x'))", "must be literals"),
        ("simklr", "did you mean 'simclr'"),
        ("no_such_package_of_mine.host", "cannot import"),
    ],
)
def test_a_wrong_host_spec_is_refused_in_one_line_that_names_it(spec: str, word: str) -> None:
    with pytest.raises(RequestError) as refused:
        lookup.build("hosts", spec, DIM)
    assert word in str(refused.value)
    assert "\n" not in str(refused.value)
