"""Laws of every host, swept by name: a new file in hosts/ is tested by existing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from augaware import lookup
from augaware.errors import RequestError
from augaware.hosts.base import Host, HostSetting, Moment
from augaware.laws import host as host_laws
from augaware.laws.base import Given, Law
from augaware.laws.host import embeddings
from augaware.nets.base import build_encoder
from augaware.objective import Objective
from augaware.views import View
from small_hosts import EMA, HOSTS, narrow

DIM, BATCH, CLASSES = 24, 16, 4
NOW = Moment(step=40, steps=100, per_epoch=2)
BUILT = {name: lookup.build("hosts", narrow(name), HostSetting(DIM, CLASSES)) for name in lookup.names("hosts")}
MULTI_CROP = [name for name, host in BUILT.items() if host.multi_crop]
WITH_TARGET = [*(name for name, host in BUILT.items() if host.momentum is not None), EMA]
SETTING = HostSetting(16, CLASSES)  # of the tiny encoder
LABELS = torch.arange(BATCH) % CLASSES
ASYMMETRIC = {"moco_v2"}  # view 1 is the query, view 2 the key, by definition


def build(name: str, **changed: object) -> Host:
    torch.manual_seed(0)
    spec = narrow(name)
    if changed:
        spec = f"{name}({', '.join(f'{key}={value!r}' for key, value in changed.items())})"
    made = lookup.build("hosts", spec, HostSetting(DIM, CLASSES))
    assert isinstance(made, Host)
    return made


def used(name: str) -> Host:
    """A host some steps into its training: what it remembers is no longer what it started with."""
    return host_laws.used(Given("hosts", narrow(name)))


def objective(name: str) -> Objective:
    torch.manual_seed(0)
    return Objective(build_encoder("tiny(widths=(8, 16))"), lookup.build("hosts", narrow(name), SETTING), [])


def views(count: int = 2) -> list[View]:
    generator = torch.Generator().manual_seed(3)
    return [View(torch.randn(BATCH, 3, 16, 16, generator=generator), {}) for _ in range(count)]


# The loss


@pytest.mark.parametrize("law", host_laws.LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", HOSTS)
def test_the_laws_of_hosts(name: str, law: Law) -> None:
    assert law(Given("hosts", narrow(name))) == ""


@pytest.mark.parametrize("name", [name for name in HOSTS if name not in ASYMMETRIC])
def test_a_host_loss_ignores_the_order_of_the_views(name: str) -> None:
    given = used(name)
    online, target = embeddings(given)
    swapped = given.loss(online[::-1], target[::-1])
    assert swapped.item() == pytest.approx(given.loss(online, target).item(), rel=1e-5)


@pytest.mark.parametrize("name", sorted(ASYMMETRIC))
def test_an_asymmetric_host_reads_one_view_online_and_the_other_in_its_target(name: str) -> None:
    given = build(name)
    assert [*range(2)][given.online] == [0]
    assert [*range(2)][given.target] == [1]
    (z_1,), (z_2,) = embeddings(given)
    assert given.loss([z_2], [z_1]).item() != pytest.approx(given.loss([z_1], [z_2]).item(), abs=1e-3)


@pytest.mark.parametrize("name", HOSTS)
def test_embeddings_of_half_precision_reach_the_loss_as_float32(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = objective(name)
    loss = type(whole.host).loss

    def watched(self: Host, online: list[Tensor], target: list[Tensor]) -> Tensor:
        assert all(z.dtype in (torch.float32, torch.int64) for z in (*online, *target))
        assert not torch.is_autocast_enabled("cpu")
        return loss(self, online, target)

    monkeypatch.setattr(type(whole.host), "loss", watched)
    with torch.autocast("cpu", torch.bfloat16):
        found = whole(views(), LABELS)["loss"]
    assert found.dtype == torch.float32
    assert found.isfinite()


# Views


@pytest.mark.parametrize("name", MULTI_CROP)
@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_multi_crop_host_takes_any_number_of_views_and_uses_all(name: str, count: int) -> None:
    given = used(name)
    online, target = embeddings(given, count)
    assert len(online) == count
    for z in online:
        z.retain_grad()
    loss = given.loss(online, target)
    assert loss.isfinite()
    loss.backward()
    assert all(z.grad is not None and z.grad.abs().sum() > 0 for z in online)
    small = given.loss([*online[:2], *online[:1:-1]], target)
    assert small.item() == pytest.approx(loss.item(), rel=1e-5)  # the order of the small crops is nothing


@pytest.mark.parametrize("name", HOSTS)
def test_the_objective_refuses_what_its_host_does_not_take(name: str) -> None:
    whole = objective(name)
    for count in range(6):
        fits = count >= 2 if whole.host.multi_crop else count == 2
        if fits:
            whole.check_views(count)
            continue
        with pytest.raises(RequestError) as refused:
            whole.check_views(count)
        assert str(refused.value).startswith(f"views: {count} are planned, but host {whole.host.name!r} takes two")
        assert "\n" not in str(refused.value)


def test_multi_crop_hosts_are_those_of_the_papers() -> None:
    assert set(MULTI_CROP) == {"dino", "supervised", "swav"}  # any number of labelled views is a mean over views


# Projectors


def shape(module: nn.Module) -> str:
    """Widths, and b: a bias, n: BN, N: BN without weight and bias, r: ReLU, g: GELU, u: unit vectors."""
    found = ""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            bias = "b" if layer.bias is not None else ""
            found += f"{'' if found else layer.in_features}-{bias}{layer.out_features}"
        elif isinstance(layer, nn.BatchNorm1d):
            found += "n" if layer.affine else "N"
        elif isinstance(layer, (nn.ReLU, nn.GELU)):
            found += "r" if isinstance(layer, nn.ReLU) else "g"
        else:
            found += "".join(f"u{len(p)}" for p in layer.parameters(recurse=False))
    return found


PROJECTORS = [
    ("simclr", "512-512nr-b128"),
    ("moco_v2", "512-512nr-b128"),
    ("moco_v2(64, bn=False)", "512-b512r-b128"),
    ("moco_v3", "512-4096nr-4096nr-256N"),
    ("moco_v3(proj_layers=2, predictor_bn=False)", "512-4096nr-256N"),
    ("byol", "512-4096nr-b256"),
    ("simsiam", "512-2048nr-2048nr-2048N"),
    ("simsiam(proj_layers=2, affine=True)", "512-2048nr-2048n"),
    ("swav", "512-2048nr-b128"),
    ("barlow_twins", "512-8192nr-8192nr-8192"),
    ("vicreg", "512-8192nr-8192nr-8192"),
    ("dino", "512-b2048g-b2048g-b256u65536"),
    ("supervised(classes=10)", "512-b10"),
]
PREDICTORS = [
    ("byol", "256-4096nr-b256"),
    ("simsiam", "2048-512nr-b2048"),
    ("moco_v3", "256-4096nr-256N"),
    ("moco_v3(proj_layers=2, predictor_bn=False)", "256-4096nr-256"),
]


@pytest.mark.parametrize(("spec", "expected"), PROJECTORS)
def test_a_projector_has_the_shape_of_its_paper(spec: str, expected: str) -> None:
    given = lookup.build("hosts", spec, HostSetting(512))
    with torch.device("meta"):  # nothing of that width is made
        assert shape(given.projector(512)) == expected


@pytest.mark.parametrize(("spec", "expected"), PREDICTORS)
def test_a_predictor_has_the_shape_of_its_paper(spec: str, expected: str) -> None:
    with torch.device("meta"):
        assert shape(lookup.build("hosts", spec, HostSetting(512)).h) == expected


def test_every_projector_is_compared_with_its_paper() -> None:
    assert {spec.partition("(")[0] for spec, _ in PROJECTORS} == set(lookup.names("hosts"))


def test_the_queue_of_moco_and_the_prototypes_of_swav_are_as_many_as_asked() -> None:
    for spec, rows in (("moco_v2", 65536), ("moco_v2(queue=4096)", 4096), ("moco_v2('query', 512)", 512)):
        assert lookup.build("hosts", spec, HostSetting(512)).queue.shape == (rows, 128)
    assert lookup.build("hosts", "swav(prototypes=3000)", HostSetting(512)).c.shape == (3000, 128)


def test_projector_weights_start_uniform_within_one_over_sqrt_fan_in() -> None:
    g = lookup.build("hosts", "simclr(proj_hidden_dim=256)", HostSetting(64)).projector(64)
    for layer, fan_in in ((g[0], 64), (g[3], 256)):
        bound = 1 / math.sqrt(fan_in)
        for parameter in layer.parameters():
            assert parameter.abs().max() <= bound
            assert parameter.abs().max() > 0.95 * bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)


# Targets, schedules


@pytest.mark.parametrize("name", WITH_TARGET)
def test_the_target_gets_no_gradient(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = objective(name)
    assert whole.target is not None
    seen: list[Tensor] = []
    loss = type(whole.host).loss

    def watched(self: Host, online: list[Tensor], target: list[Tensor]) -> Tensor:
        seen.extend(target)
        assert all(z.requires_grad for z in online)
        return loss(self, online, target)

    monkeypatch.setattr(type(whole.host), "loss", watched)
    whole(views(), LABELS)["loss"].backward()
    assert seen
    assert not any(t.requires_grad for t in seen)
    assert all(p.grad is None and not p.requires_grad for p in whole.target.parameters())
    assert all(p.grad is not None for p in whole.online.parameters())


@pytest.mark.parametrize("name", [name for name in HOSTS if name not in WITH_TARGET])
def test_a_host_without_momentum_has_no_target(name: str) -> None:
    whole = objective(name)
    assert whole.target is None
    assert whole.host.momentum_at(NOW) is None
    whole.host.loss(*embeddings(whole.host))  # and compares with nothing but labels


@pytest.mark.parametrize("name", [name for name in WITH_TARGET if getattr(BUILT.get(name), "momentum_end", None)])
@pytest.mark.parametrize(("start", "end"), [(0.9, 1.0), (0.996, 1.0), (0.99, 0.99)])
def test_the_momentum_goes_from_start_to_end_as_half_a_cosine(name: str, start: float, end: float) -> None:
    given = build(name, momentum=start, momentum_end=end, hidden_dim=8)
    steps = 64
    found = [given.momentum_at(Moment(k, steps, 8)) for k in range(steps + 1)]
    assert found[0] == start
    assert found[steps] == end
    assert found[steps // 2] == pytest.approx((start + end) / 2)
    for k, m in enumerate(found):
        assert m == pytest.approx(end - (end - start) * (math.cos(math.pi * k / steps) + 1) / 2, abs=1e-12)
    assert found == sorted(found)


def test_moco_v2_and_hosts_without_a_schedule_keep_their_momentum() -> None:
    for given in (build("moco_v2", queue=8, momentum=0.97), build(EMA, momentum=0.97)):
        assert {given.momentum_at(Moment(k, 10, 5)) for k in range(11)} == {0.97}


@pytest.mark.parametrize("name", HOSTS)
def test_the_rate_is_constant_for_simsiams_predictor_alone(name: str) -> None:
    given = build(name)
    assert [*given.constant_rate()] == ([given.h] if name == "simsiam" else [])


def test_progress_and_epoch_of_a_moment() -> None:
    assert (Moment(0, 40, 10).progress, Moment(0, 40, 10).epoch) == (0, 0)
    assert (Moment(30, 40, 10).progress, Moment(30, 40, 10).epoch) == (0.75, 3)
    assert Moment(50, 40, 10).progress == 1
