"""AugSelf and CASSLE against slow transcriptions of their formulas, and laws of every host x awareness by name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augaware import lookup
from augaware.augment.pipeline import Pipeline
from augaware.augment.plan import Camera
from augaware.awareness.base import Awareness, Embedding, Setting
from augaware.errors import RequestError
from augaware.hosts.base import HostSetting, Moment
from augaware.nets.base import Encoder, build_encoder
from augaware.nets.heads import mlp
from augaware.objective import Objective, encoder_spec
from augaware.random import Draws
from augaware.recipe import DEFAULT_AUGMENT, Recipe
from augaware.spaces import Space
from augaware.views import View, difference
from small_hosts import HOSTS, narrow

SIZE, BATCH, DIM = 16, 12, 16
EMA = "augaware_test_hosts.ema(momentum=0.9)"
MOCO = narrow("moco_v2")
AWARENESS = lookup.names("awareness")
CONTRASTIVE = ("simclr", "moco_v2", "moco_v3")
EVERYTHING = tuple(lookup.names("augment"))


def pipeline(*specs: str) -> Pipeline:
    """The pipeline of ``specs``, crop first; all augmentations that exist when none is named."""
    chosen = specs or ("crop(scale=(0.2, 1.0))", *sorted(set(EVERYTHING) - {"crop"}))
    return Pipeline.from_specs(chosen, SIZE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def views(of: Pipeline, epoch: int = 0) -> list[View]:
    """Two views of the same random images."""
    pixels = torch.randint(0, 256, (BATCH, 3, 24, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))
    sizes = torch.tensor([[24, 20]]).expand(BATCH, 2)
    return [of.view(pixels, sizes, torch.arange(BATCH), 0, epoch, number) for number in range(2)]


def encoder() -> Encoder:
    return build_encoder("tiny(widths=(8, 16))")


def objective(host: str, aware: list[str], spaces: object, seed: int = 0) -> Objective:
    torch.manual_seed(seed)
    return Objective.from_specs(encoder(), host, aware, spaces, classes=4)  # type: ignore[arg-type]


def numbered(seen: list[View]) -> dict[int, View]:
    """Views as a network takes them, by their numbers."""
    return dict(enumerate(seen))


def layers(module: nn.Module) -> list[tuple[type, object]]:
    """Kind and shape of each layer of an MLP."""
    assert isinstance(module, nn.Sequential)
    return [
        (type(m), (m.in_features, m.out_features, m.bias is not None) if isinstance(m, nn.Linear) else None)
        for m in module
    ]


# --- AugSelf
# -------------------------------------------------------------------------------------------------------------


def slow_difference(name: str, w_1: dict[str, Tensor], w_2: dict[str, Tensor], row: int) -> list[float]:
    """omega_diff of AugSelf for 1 -> 2, one image, as in the fact sheet's table."""
    a, b = w_1[name][row].tolist(), w_2[name][row].tolist()
    if name == "flip":
        return [1.0 if a[0] == b[0] else 0.0]
    if name == "crop":
        sign = -1.0 if w_1["flip"][row, 0] == 1 else 1.0
        return [a[0] - b[0], sign * (a[1] - b[1]), a[2] - b[2], a[3] - b[3]]
    return [p - q for p, q in zip(a, b, strict=True)][:4]


def slow_augself(
    phi: dict[str, nn.Module], y_1: Tensor, y_2: Tensor, w_1: dict[str, Tensor], w_2: dict[str, Tensor]
) -> dict[str, float]:
    """L_aug per augmentation: the mean over the 2B ordered pairs, which heads see as one batch, in Python floats."""
    pairs = [torch.cat((y_1[i], y_2[i])) for i in range(BATCH)]
    pairs += [torch.cat((y_2[i], y_1[i])) for i in range(BATCH)]
    found = {}
    for name, head in phi.items():
        predictions = head(torch.stack(pairs)).double().tolist()
        differences = [slow_difference(name, w_1, w_2, i) for i in range(BATCH)]
        differences += [slow_difference(name, w_2, w_1, i) for i in range(BATCH)]
        terms = []
        for p, d in zip(predictions, differences, strict=True):
            for p_k, d_k in zip(p, d, strict=True):
                if name == "flip":
                    q = 1 / (1 + math.exp(-p_k))
                    terms.append(-(d_k * math.log(q) + (1 - d_k) * math.log(1 - q)))
                else:
                    terms.append((math.tanh(p_k) - d_k) ** 2)
        found[name] = sum(terms) / len(terms)
    return found


@pytest.mark.parametrize("host", ["simclr", EMA, MOCO])
def test_augself_is_the_published_sum(host: str) -> None:
    of = pipeline("crop", "flip", "color_jitter(0.4, 0.4, 0.4, 0.1)", "gaussian_blur", "solarize")
    weights = {"crop": 0.5, "color_jitter": 2.0, "flip": 1.0, "gaussian_blur": 0.25, "solarize": 3}
    whole = objective(host, [f"augself(targets={weights}, hidden=32, scaled=False)"], of.spaces)
    seen = views(of)
    parts = whole(seen)
    with torch.no_grad():
        online = whole.online({n: view for n, view in numbered(seen).items() if host != MOCO or n == 0})
        y_2 = online[1].y if host != MOCO else whole.target({1: seen[1]})[1].y
        phi = dict(whole.awareness["augself"].phi.items())
        expected = slow_augself(phi, online[0].y, y_2, seen[0].omega, seen[1].omega)
    logged = (f"{kind}/augself/{name}" for kind in ("loss", "nothing") for name in weights)
    assert set(parts) == {"loss", "loss/host", *logged}
    for name in weights:
        assert parts[f"loss/augself/{name}"].item() == pytest.approx(expected[name], rel=1e-4, abs=1e-6)
    total = parts["loss/host"].item() + sum(weights[name] * expected[name] for name in weights)
    assert parts["loss"].item() == pytest.approx(total, rel=1e-4)


def test_a_blur_target_is_scaled_into_the_reach_of_tanh_unless_the_authors_form_is_asked_for() -> None:
    of = pipeline("crop", "gaussian_blur(p=1, sigma=(0.1, 2.0))")
    seen = numbered(views(of))
    found = {}
    for scaled in (True, False):
        whole = objective("simclr", [f"augself('gaussian_blur', hidden=8, scaled={scaled})"], of.spaces)
        found[scaled] = whole.awareness["augself"].losses(whole.online(seen), {})["gaussian_blur"].nothing.item()
    d = seen[0].omega["gaussian_blur"] - seen[1].omega["gaussian_blur"]
    assert found == pytest.approx({True: (d / 2).square().mean().item(), False: d.square().mean().item()}, rel=1e-5)


@pytest.mark.parametrize("mirror", ["first", "own"])
def test_the_centres_are_mirrored_by_the_first_views_flip_or_by_each_views_own(mirror: str) -> None:
    crop_1, crop_2 = torch.tensor([[0.5, 0.2, 1, 1]] * 4), torch.tensor([[0.5, 0.9, 1, 1]] * 4)
    flip_1, flip_2 = torch.tensor([[0.0], [0.0], [1.0], [1.0]]), torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    one, two = {"crop": crop_1, "flip": flip_1}, {"crop": crop_2, "flip": flip_2}
    x = difference(one, two, pipeline("crop", "flip").spaces, "crop", mirror)[:, 1]
    expected = [-0.7, -0.7, 0.7, 0.7] if mirror == "first" else [-0.7, 0.2 - 0.1, 0.8 - 0.9, 0.7]
    assert torch.allclose(x, torch.tensor(expected), atol=1e-6)


def test_augself_predicts_a_rotation_difference_as_a_class_mod_4() -> None:
    of = pipeline("crop", "rotate90")
    whole = objective("simclr", ["augself('rotate90')"], of.spaces)
    seen = views(of)
    parts = whole(seen)
    online = whole.online(numbered(seen))
    pairs = torch.cat((torch.cat((online[0].y, online[1].y), 1), torch.cat((online[1].y, online[0].y), 1)))
    logits = whole.awareness["augself"].phi["rotate90"](pairs).double()
    k_1, k_2 = (view.omega["rotate90"][:, 0].long().tolist() for view in seen)
    classes = [(a - b + 4) % 4 for a, b in zip(k_1, k_2, strict=True)]
    classes += [(b - a + 4) % 4 for a, b in zip(k_1, k_2, strict=True)]
    assert len(set(classes)) > 2
    slow = -sum(math.log(math.exp(r[c]) / sum(map(math.exp, r))) for r, c in zip(logits.tolist(), classes, strict=True))
    assert parts["loss/augself/rotate90"].item() == pytest.approx(slow / (2 * BATCH), rel=1e-4)


def test_the_augself_head_is_2d_512_512_k_without_biases_in_hidden_layers() -> None:
    spaces = pipeline().spaces
    phi = lookup.build("awareness", f"augself({list(spaces)})", Setting(512, spaces)).phi
    assert set(phi) == set(spaces)
    for name, head in phi.items():
        assert layers(head) == [
            (nn.Linear, (1024, 512, False)),
            (nn.BatchNorm1d, None),
            (nn.ReLU, None),
            (nn.Linear, (512, 512, False)),
            (nn.BatchNorm1d, None),
            (nn.ReLU, None),
            (nn.Linear, (512, spaces[name].outputs, True)),
        ]
    outputs = {
        "crop": 4,
        "color_jitter": 4,
        "color_diff": 3,
        "flip": 1,
        "gaussian_blur": 1,
        "rotate90": 4,
        "solarize": 1,
    }
    assert outputs.items() <= {name: spaces[name].outputs for name in spaces}.items()


@pytest.mark.parametrize("name", sorted(pipeline().spaces))
def test_any_recorded_parameter_can_be_a_target_and_a_condition(name: str) -> None:
    of = pipeline()
    whole = objective("simclr", [f"augself({name!r}, hidden=8)", f"cassle([{name!r}], depth=1, width=4)"], of.spaces)
    parts = whole(views(of))
    assert parts["loss"].isfinite()
    parts[f"loss/augself/{name}"].backward()
    assert whole.awareness["augself"].phi[name][0].weight.grad.abs().sum() > 0


def test_a_list_of_targets_is_weight_one_for_each_and_the_papers_pair_is_the_default() -> None:
    setting = Setting(8, pipeline().spaces)
    assert lookup.build("awareness", "augself", setting).lam == {"color_jitter": 1.0, "crop": 1.0}
    assert lookup.build("awareness", "augself(['flip', 'crop'])", setting).lam == {"crop": 1.0, "flip": 1.0}
    assert lookup.build("awareness", "augself('flip')", setting).lam == {"flip": 1.0}
    assert lookup.build("awareness", "augself({'flip': 0.5, 'crop': 0})", setting).lam == {"crop": 0.0, "flip": 0.5}


def test_where_only_the_target_sees_view_2_its_feature_stands_in_without_a_gradient() -> None:
    of = pipeline()
    whole = objective(MOCO, ["augself(hidden=8)"], of.spaces)
    assert whole.target is not None
    with torch.no_grad():
        for parameter in whole.target.f.parameters():
            parameter.mul_(1.5)  # so that the target's y differs from the online one
    seen = views(of)
    online = whole.online({0: seen[0]})
    with torch.no_grad():
        target = whole.target({1: seen[1]})
    loss = whole.awareness["augself"].losses(online, target)["crop"].loss
    y_1, y_2 = online[0].y, target[1].y
    pairs = torch.cat((torch.cat((y_1, y_2), 1), torch.cat((y_2, y_1), 1)))
    spaces = whole.awareness["augself"].spaces
    d = torch.cat([difference(a.omega, b.omega, spaces, "crop") for a, b in (seen, seen[::-1])])
    expected = F.mse_loss(torch.tanh(whole.awareness["augself"].phi["crop"](pairs)), d)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    (slope,) = torch.autograd.grad(loss, online[0].y)
    assert slope.abs().sum() > 0
    assert not y_2.requires_grad


def test_where_the_host_encodes_both_views_online_augself_reads_the_online_features() -> None:
    of = pipeline()
    whole = objective(EMA, ["augself(hidden=8)"], of.spaces)
    seen = numbered(views(of))
    online, target = whole.online(seen), whole.target(seen)
    loss = whole.awareness["augself"].losses(online, target)["crop"].loss
    slopes = torch.autograd.grad(loss, (online[0].y, online[1].y))
    assert all(slope.abs().sum() > 0 for slope in slopes)


def test_with_small_crops_augself_reads_the_first_two_views_only() -> None:
    small = Pipeline.from_specs(("crop(scale=(0.05, 0.2))", "flip"), 8, (0.5,) * 3, (0.25,) * 3)
    of = pipeline("crop", "flip")
    pixels, sizes = torch.rand(BATCH, 3, 24, 20), torch.tensor([[24, 20]]).expand(BATCH, 2)
    crops = [small.view(pixels, sizes, torch.arange(BATCH), 0, 0, number) for number in (2, 3)]
    whole = objective(narrow("swav"), ["augself(['crop', 'flip'], hidden=8)"], of.spaces)
    online = whole.online(numbered([*views(of), *crops]))
    extra = whole.awareness["augself"].losses(online, {})
    pair = whole.awareness["augself"].losses({n: online[n] for n in (0, 1)}, {})
    assert {name: part.loss.item() for name, part in extra.items()} == {n: part.loss.item() for n, part in pair.items()}


def test_a_head_that_predicts_nothing_has_the_known_losses() -> None:
    """The fact sheet's baselines: colour .1333, crop .0312, flip .693, rotation 1.386."""
    of = Pipeline.from_specs(
        ("crop(scale=(0.2, 1.0))", "flip", "color_jitter(0.4, 0.4, 0.4, 0.1)", "rotate90(p=1)"),
        8,
        (0.5,) * 3,
        (1.0,) * 3,
    )
    n = 20000
    sizes, index = torch.full((n, 2), 1000), torch.arange(n)
    omegas = [of.sample(Draws.of(0, 0, index, number), sizes) for number in range(2)]
    online = {k: Embedding(omega, torch.zeros(n, DIM), torch.zeros(n, 1)) for k, omega in enumerate(omegas)}
    targets = ["crop", "flip", "color_jitter", "rotate90"]
    awareness = lookup.build("awareness", f"augself({targets}, hidden=2)", Setting(DIM, of.spaces))
    found = {name: part.nothing.item() for name, part in awareness.losses(online, {}).items()}
    assert found == pytest.approx(
        {"color_jitter": 0.1333, "crop": 0.0312, "flip": math.log(2), "rotate90": math.log(4)}, rel=0.015
    )


def test_weight_zero_is_the_host_alone() -> None:
    of = pipeline()
    plain = objective("simclr", [], of.spaces)
    zero = objective("simclr", ["augself({'crop': 0, 'flip': 0.0})"], of.spaces)
    zero.online.load_state_dict(plain.online.state_dict())
    seen = views(of)
    one, two = plain(seen)["loss"], zero(seen)["loss"]
    assert torch.equal(one, two)
    one.backward()
    two.backward()
    for a, b in zip(plain.online.parameters(), zero.online.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


# --- CASSLE
# --------------------------------------------------------------------------------------------------------------


def slow_condition(w: dict[str, Tensor], names: list[str], spaces: dict[str, Space]) -> Tensor:
    """The numbers CASSLE tells the projector, image by image, in alphabetical order of the names."""
    rows = []
    for i in range(BATCH):
        row: list[float] = []
        for name in sorted(names):
            value = w[name][i].tolist()
            if name == "crop":
                y_c, x_c, h, width = value
                row += [y_c, 1 - x_c if w["flip"][i, 0] == 1 else x_c, h, width]
            elif name == "rotate90":
                row += [1.0 if k == value[0] else 0.0 for k in range(4)]
            else:
                row += value[: spaces[name].inputs]
        rows.append(row)
    return torch.tensor(rows)


@pytest.mark.parametrize("chosen", [None, ["crop", "flip"], ["color_diff", "color_jitter", "rotate90"]])
def test_cassle_projects_the_features_next_to_gamma_of_omega(chosen: list[str] | None) -> None:
    of = pipeline()
    whole = objective("simclr", [f"cassle(condition={chosen}, depth=3, width=8)"], of.spaces)
    seen = views(of)
    z = [embedding.z for embedding in whole.online(numbered(seen)).values()]
    g, gamma = whole.online.g.g, whole.online.g.gamma
    names = list(of.spaces) if chosen is None else chosen
    omega = torch.cat([slow_condition(view.omega, names, dict(of.spaces)) for view in seen])
    y = whole.online.f(torch.cat([view.image for view in seen]))
    expected = g(torch.cat((y, gamma(omega)), dim=1))
    assert torch.allclose(torch.cat(z), expected, atol=1e-5)


@pytest.mark.parametrize(("depth", "width"), [(1, 4), (2, 16), (6, 64)])
def test_gamma_is_depth_linears_of_width_each_with_bn_the_last_too(depth: int, width: int) -> None:
    of = pipeline("crop", "flip")
    cassle = lookup.build("awareness", f"cassle(depth={depth}, width={width})", Setting(DIM, of.spaces))
    asked: list[int] = []

    def make(d_in: int) -> nn.Module:
        asked.append(d_in)
        return nn.Linear(d_in, 3)

    made = cassle.projector(make, DIM)
    assert asked == [DIM + width]
    expected: list[tuple[type, object]] = []
    for i in range(depth):
        expected += [(nn.Linear, (5 if i == 0 else width, width, False)), (nn.BatchNorm1d, None), (nn.ReLU, None)]
    assert layers(made.gamma) == expected[:-1]


def test_gamma_reads_13_numbers_of_the_readmes_set_and_14_of_all() -> None:
    spaces = pipeline("crop", "flip", "color_jitter", "grayscale", "gaussian_blur").spaces
    for condition, width in (
        (["gaussian_blur", "color_jitter", "color_diff", "crop", "grayscale"], 13),
        (None, 14),
        (list(spaces), 14),
        (["flip"], 1),
    ):
        cassle = lookup.build("awareness", f"cassle(condition={condition})", Setting(DIM, spaces))
        assert cassle.projector(lambda d_in: nn.Linear(d_in, 3), DIM).gamma[0].in_features == width


def test_with_gamma_zeroed_cassle_is_the_plain_projector_on_y_and_zeros() -> None:
    of = pipeline()
    whole = objective("simclr", ["cassle(scale=0, width=8)"], of.spaces)
    seen = views(of)
    y = whole.online.f(torch.cat([view.image for view in seen]))
    expected = whole.online.g.g(torch.cat((y, torch.zeros(2 * BATCH, 8)), dim=1))
    assert torch.equal(torch.cat([e.z for e in whole.online(numbered(seen)).values()]), expected)


def test_scale_is_the_weight_that_gammas_last_bn_starts_with() -> None:
    spaces = pipeline().spaces
    for spec, scale in (("cassle", 1.0), ("cassle(scale=0.25)", 0.25)):
        gamma = lookup.build("awareness", spec, Setting(DIM, spaces)).projector(lambda d: nn.Linear(d, 3), DIM).gamma
        assert torch.equal(gamma[-1].weight, torch.full((64,), scale))
        assert torch.equal(gamma[1].weight, torch.ones(64))


def test_the_crop_that_reaches_gamma_is_mirrored_by_the_views_own_flip() -> None:
    of = pipeline("crop", "flip")
    g = lookup.build("awareness", "cassle(['crop'])", Setting(DIM, of.spaces)).projector(lambda d: nn.Linear(d, 3), DIM)
    told: list[Tensor] = []
    g.gamma.register_forward_pre_hook(lambda module, inputs: told.append(inputs[0]))
    crop = torch.tensor([[0.5, 0.375, 0.5, 0.5]]).repeat(2, 1)  # the fact sheet's worked value
    g(torch.randn(2, DIM), {"crop": crop, "flip": torch.tensor([[0.0], [1.0]])})
    assert torch.equal(told[0], torch.tensor([[0.5, 0.375, 0.5, 0.5], [0.5, 0.625, 0.5, 0.5]]))


def test_the_target_of_an_ema_host_conditions_each_view_on_its_own_omega() -> None:
    of = pipeline()
    whole = objective(EMA, ["cassle(width=8, depth=2)"], of.spaces)
    assert whole.target is not None
    seen = views(of)
    swapped = [View(seen[0].image, seen[1].omega), View(seen[1].image, seen[0].omega)]
    one, two = whole.target(numbered(seen)), whole.target(numbered(swapped))
    assert torch.equal(one[0].y, two[0].y)
    assert not torch.allclose(one[0].z, two[0].z)


def slow_hyper(y: Tensor, weights: Tensor, widths: tuple[int, ...]) -> Tensor:
    """x W + b per sample with the weights cut from one row, ReLU between layers."""
    rows = []
    for x, numbers in zip(y.double().tolist(), weights.double().tolist(), strict=True):
        for layer, (n_in, n_out) in enumerate(pairwise(widths)):
            block, bias = numbers[: n_in * n_out], numbers[n_in * n_out : (n_in + 1) * n_out]
            numbers = numbers[(n_in + 1) * n_out :]
            x = [sum(x[i] * block[i * n_out + o] for i in range(n_in)) + bias[o] for o in range(n_out)]
            x = [max(v, 0.0) for v in x] if layer < len(widths) - 2 else x
        assert not numbers
        rows.append(x)
    return torch.tensor(rows)


@pytest.mark.parametrize("how", ["concat", "add", "multiply", "hyper"])
def test_the_four_ways_to_condition_a_projector(how: str) -> None:
    of = pipeline()
    spec = f"cassle(depth=3, width=8, how={how!r})"
    whole = objective("simclr(proj_hidden_dim=6, proj_output_dim=5)", [spec], of.spaces)
    seen = views(of)
    z = torch.cat([e.z for e in whole.online(numbered(seen)).values()])
    y = whole.online.f(torch.cat([view.image for view in seen]))
    told = torch.cat([slow_condition(view.omega, list(of.spaces), dict(of.spaces)) for view in seen])
    gamma, g = whole.online.g.gamma(told), whole.online.g.g
    if how == "hyper":
        expected = slow_hyper(y, gamma, (DIM, 6, 5))
    else:
        expected = g(torch.cat((y, gamma), dim=1) if how == "concat" else y + gamma if how == "add" else y * gamma)
    assert torch.allclose(z, expected.float(), atol=1e-4)
    shape = [m.out_features for m in whole.online.g.gamma if isinstance(m, nn.Linear)]
    assert shape == [8, 8, {"concat": 8, "hyper": (DIM + 1) * 6 + 7 * 5}.get(how, DIM)]


def test_the_hyper_network_of_the_papers_moco_makes_4458624_numbers() -> None:
    spaces = pipeline().spaces
    cassle = lookup.build("awareness", "cassle(how='hyper', width=2, depth=2)", Setting(2048, spaces))
    with torch.device("meta"):
        made = cassle.projector(lambda d_in: mlp((d_in, 2048, 128)), 2048)
    assert made.g.numbers == made.gamma[-1].num_features == 4_458_624
    assert not [m for m in made.g.modules() if isinstance(m, nn.BatchNorm1d)]


def test_hyper_bn_keeps_the_projectors_bn() -> None:
    of = pipeline()
    whole = objective("simclr", ["cassle(how='hyper_bn', width=4, depth=2)"], of.spaces)
    assert [m.num_features for m in whole.online.g.g.modules() if isinstance(m, nn.BatchNorm1d)] == [DIM]
    assert whole(views(of))["loss"].isfinite()


def test_depth_0_hands_omega_itself_to_the_projector() -> None:
    of = pipeline("crop", "flip")
    whole = objective("simclr", ["cassle(depth=0)"], of.spaces)
    seen = views(of)
    y = whole.online.f(torch.cat([view.image for view in seen]))
    told = torch.cat([slow_condition(view.omega, ["crop", "flip"], dict(of.spaces)) for view in seen])
    z = torch.cat([e.z for e in whole.online(numbered(seen)).values()])
    assert torch.allclose(z, whole.online.g.g(torch.cat((y, told), dim=1)), atol=1e-5)


def test_a_random_condition_is_as_wide_as_omega_and_knows_nothing_of_it() -> None:
    of = pipeline()
    true, noise = (objective("simclr", [f"cassle({c})"], of.spaces) for c in ("", "condition='random'"))
    assert true.online.g.gamma[0].in_features == noise.online.g.gamma[0].in_features
    seen = views(of)
    swapped = [View(seen[0].image, seen[1].omega), View(seen[1].image, seen[0].omega)]
    z = []
    for given in (seen, swapped, seen):
        torch.manual_seed(len(z) // 2)  # as the trainer does at each step: the third differs
        z.append(noise.online(numbered(given))[0].z)
    assert torch.equal(z[0], z[1])
    assert not torch.allclose(z[0], z[2])


# --- together, and laws
# ----------------------------------------------------------------------------------------------------


def test_augself_and_cassle_add_up() -> None:
    of = pipeline()
    both = objective("simclr", ["augself({'crop': 0.5, 'flip': 2})", "cassle()"], of.spaces)
    parts = both(views(of))
    expected = parts["loss/host"] + 0.5 * parts["loss/augself/crop"] + 2 * parts["loss/augself/flip"]
    assert parts["loss"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert both.online.g.gamma is not None


class Owner(Awareness):
    """A second awareness with a projector of its own."""

    def projector(self, make: object, dim: int) -> nn.Module:
        raise AssertionError("never built")


def test_two_owners_of_the_projector_are_refused_by_name() -> None:
    of = pipeline()
    cassle = lookup.build("awareness", "cassle", Setting(DIM, of.spaces))
    with pytest.raises(RequestError, match="'cassle' and 'test_awareness' both make their own projector"):
        Objective(encoder(), lookup.build("hosts", "simclr", HostSetting(DIM)), [cassle, Owner()])


def test_an_awareness_named_twice_is_refused() -> None:
    with pytest.raises(RequestError, match="'augself' stands twice"):
        objective("simclr", ["augself()", "augself('flip')"], pipeline().spaces)


TOGETHER = (
    ["augself", "cassle", "ifm"],
    ["augself", "ai", "essl", "care"],
    ["looc", "hcl", "stl"],
    ["shared", "cassle"],
)


def steps(
    whole: Objective, camera: Camera, count: int, everything: bool = False
) -> Iterator[tuple[Moment, list[View]]]:
    """``count`` steps of training: when, and the views planned, with ``everything`` measured or what is read.

    Where codes are drawn, each is drawn at least once.
    """
    pixels = torch.randint(0, 256, (BATCH, 3, 24, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))
    sizes, seen = torch.tensor([[24, 20]]).expand(BATCH, 2), set[int]()
    for step in range(count):
        now = Moment(step, count, count)
        whole.before_step(now)
        plan = whole.plan(2)
        while "ai" in whole.awareness and whole.awareness["ai"].drawn in seen and len(seen) < 3:
            plan = whole.plan(2)
        seen |= {whole.awareness["ai"].drawn} if "ai" in whole.awareness else set()
        camera.check(plan, BATCH)
        if everything:
            plan = tuple(replace(view, measure=None) for view in plan)
        yield now, camera.take(plan, pixels, sizes, torch.arange(BATCH), 0, step)


@pytest.mark.parametrize("aware", [[], *[[name] for name in AWARENESS], *TOGETHER], ids=str)
@pytest.mark.parametrize("host", HOSTS)
def test_every_host_trains_with_every_awareness(host: str, aware: list[str]) -> None:
    """Three steps: finite, the gradient reaches encoder, projector and all parts, and every trained weight moves.

    Or the clear error: what needs negatives needs a host that has them.
    """
    specs = [narrow(name) for name in aware]
    augment = ("crop(scale=(0.2, 1.0))", *sorted(set(EVERYTHING) - {"crop"}))
    camera = Camera(Recipe(data="", size=SIZE, augment=augment, mean=(0.5,) * 3, std=(0.25,) * 3))
    spaces = camera.pipelines[0].spaces
    torch.manual_seed(0)
    f = build_encoder(encoder_spec("tiny(widths=(8, 16))", specs, spaces))
    if {"ifm", "hcl", "looc"} & set(aware) and host not in CONTRASTIVE:
        with pytest.raises(RequestError, match="has none; use a contrastive host"):
            Objective.from_specs(f, narrow(host), specs, spaces, classes=4)
        return
    whole = Objective.from_specs(f, narrow(host), specs, spaces, classes=4)
    start = {name: p.detach().clone() for name, p in whole.named_parameters() if p.requires_grad}
    assert any(name.startswith("online.f.") for name in start)
    if "augself" in aware:
        assert any(name.startswith("awareness.augself.phi.crop.") for name in start)
    if "cassle" in aware:
        assert any(name.startswith("online.g.gamma.") for name in start)
    optimizer = torch.optim.SGD([p for p in whole.parameters() if p.requires_grad], 0.1)
    reached: set[str] = set()
    for now, seen in steps(whole, camera, 3):
        parts = whole(seen, torch.arange(BATCH) % 4)
        assert all(value.isfinite() and value.shape == () for value in parts.values())
        optimizer.zero_grad()
        parts["loss"].backward()
        whole.after_backward(now)
        for name, p in whole.named_parameters():
            assert p.grad is None or p.grad.isfinite().all(), name
            if p.grad is not None and p.grad.abs().sum() > 0:
                reached.add(name)
        optimizer.step()
        whole.after_step(now)
    assert reached == set(start)
    assert not any(name.startswith("target.") for name in reached)
    ended = dict(whole.named_parameters())
    assert all(not torch.equal(start[name], ended[name]) for name in start)


# --- what is read of omega

MEASURED = ("augself('color_diff', hidden=8)", "cassle(depth=2, width=8)", "equimod(condition='all', hidden_dim=32)")
READS = [
    *([narrow(name)] for name in AWARENESS),
    *([spec] for spec in MEASURED),
    *([f"cassle({text}, depth=2, width=8)"] for text in ("['crop', 'grayscale']", "condition='random'")),
    *(list(map(narrow, names)) for names in TOGETHER),
    [],
]


def reading(specs: list[str]) -> tuple[Objective, Camera]:
    augment = ("crop(scale=(0.2, 1.0))", *sorted(set(EVERYTHING) - {"crop"}))
    camera = Camera(Recipe(data="", size=SIZE, augment=augment, mean=(0.5,) * 3, std=(0.25,) * 3))
    spaces = camera.pipelines[0].spaces
    torch.manual_seed(0)
    f = build_encoder(encoder_spec("tiny(widths=(8, 16))", specs, spaces))
    return Objective.from_specs(f, MOCO, specs, spaces, classes=4), camera


def told(view: View, names: frozenset[str], without: str = "") -> View:
    """``view`` with no more than ``names`` of what its pipeline recorded; crop brings flip along."""
    others = set(view.omega) - set(pipeline().spaces)
    kept = (others | names | ({"flip"} if "crop" in names else set())) - {without}
    return View(view.image, {name: w for name, w in view.omega.items() if name in kept})


@pytest.mark.parametrize("specs", READS, ids=str)
def test_what_an_objective_reads_is_what_it_says_it_reads(specs: list[str]) -> None:
    """Trained on that alone the losses are those of all that can be recorded, bit for bit; without any of it, none."""
    found = []
    for everything in (True, False):
        whole, camera = reading(specs)
        optimizer = torch.optim.SGD([p for p in whole.parameters() if p.requires_grad], 0.1)
        for now, views in steps(whole, camera, 2, everything):
            assert whole.reads is not None
            assert everything == ("color_diff" in views[0].omega) or "color_diff" in whole.reads
            parts = whole(views if everything else [told(view, whole.reads) for view in views])
            optimizer.zero_grad()
            parts["loss"].backward()
            whole.after_backward(now)
            optimizer.step()
            whole.after_step(now)
            found.append(parts)
    for one, two in zip(found[:2], found[2:], strict=True):
        assert one.keys() == two.keys()
        assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert whole.reads is not None
    for a in whole.aware:
        assert a.reads is not None
        for name in a.reads:
            with pytest.raises(KeyError, match=name):
                whole([told(view, whole.reads, without=name) for view in views])


@pytest.mark.parametrize("specs", READS, ids=str)
def test_color_diff_is_measured_only_where_it_is_read(specs: list[str]) -> None:
    whole, _ = reading(specs)
    measured = {"color_diff" in (view.measure or ()) for view in whole.plan(2)}
    assert measured == {bool(set(MEASURED) & set(specs)) or any("random" in spec for spec in specs)}


def test_an_awareness_that_does_not_say_what_it_reads_gets_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup.load("awareness", "stl"), "reads", Awareness.reads)
    whole, camera = reading(["stl", "vanilla"])
    assert whole.reads is None
    assert all(view.measure is None for view in whole.plan(2))
    _, views = next(steps(whole, camera, 1))
    assert all(view.omega.keys() == camera.pipelines[0].spaces.keys() for view in views)


def test_what_f_reads_is_read() -> None:
    whole, _ = reading([narrow("ai")])
    assert whole.reads == {whole.online.f.reads}
    assert whole.online.f.reads is not None


@pytest.mark.parametrize("host", HOSTS)
def test_vanilla_is_no_awareness_at_all(host: str) -> None:
    of = pipeline()
    none, vanilla = (objective(narrow(host), aware, of.spaces) for aware in ([], ["vanilla()"]))
    assert set(none.state_dict()) == set(vanilla.state_dict())
    assert all(torch.equal(value, vanilla.state_dict()[name]) for name, value in none.state_dict().items())
    labels = torch.arange(BATCH) % 4
    one, two = none(views(of), labels), vanilla(views(of), labels)
    assert one.keys() == two.keys() == {"loss", "loss/host"}
    assert torch.equal(one["loss"], two["loss"])


# Where the argument is not a set of names, so that nothing is wrong with a number, a text or None there.
VALUES = ("text", -1, 1.5, None, [], {}, [1], True, {"crop": "x"}, ["no_such_augmentation"])


@pytest.mark.parametrize("name", AWARENESS)
def test_a_wrong_argument_of_an_awareness_is_refused_never_a_crash(name: str) -> None:
    spaces = pipeline(*DEFAULT_AUGMENT).spaces
    accepted = lookup.summary("awareness", name)["spec"]
    arguments = [part.split("=")[0].strip("( )") for part in accepted.removeprefix(name).split(", ") if "=" in part]
    refused: list[str] = []
    for argument in arguments:
        for value in VALUES:
            try:
                lookup.build("awareness", f"{name}({argument}={value!r})", Setting(DIM, spaces))
            except RequestError as error:
                refused.append(str(error))
    assert all(name in line and "\n" not in line for line in refused)
    assert len(refused) >= 3 * len(arguments)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("augself(['rotate90'])", ["'rotate90'", "not in the pipeline", "crop, flip"]),
        ("augself(['flop'])", ["'flop'", "not in the pipeline", "did you mean 'flip'"]),
        ("augself({'crop': -1})", ["'crop'", "-1"]),
        ("augself([])", ["targets is empty"]),
        ("augself('crop', hidden=0)", ["hidden=0"]),
        ("augself(target='crop')", ["'target'", "did you mean 'targets'"]),
        ("cassle(['solarize'])", ["'solarize'", "not in the pipeline", "crop, flip"]),
        ("cassle(['color_diff'])", ["'color_diff'", "not in the pipeline", "crop, flip"]),
        ("cassle([])", ["condition is empty", "vanilla"]),
        ("cassle(depth=-1)", ["depth=-1", "at least 0"]),
        ("cassle(depth=0, how='add')", ["depth=0", "how='concat' only"]),
        ("cassle(how='sum')", ["how='sum'", "concat, add, multiply, hyper, hyper_bn"]),
        ("cassle(width='wide')", ["width='wide'"]),
        ("vanilla(3)", ["vanilla(3)", "accepted: none"]),
        ("casle", ["did you mean 'cassle'"]),
    ],
)
def test_a_wrong_awareness_is_refused_with_what_the_pipeline_records(spec: str, words: list[str]) -> None:
    with pytest.raises(RequestError) as refused:
        lookup.build("awareness", spec, Setting(DIM, pipeline("crop", "flip").spaces))
    assert all(word in str(refused.value) for word in words), str(refused.value)
