"""E-SSL, EquiMod, SIE, CARE, STL and shared parameters: their views, their losses by hand, and what must be learnt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augaware import lookup
from augaware.augment.pipeline import Pipeline
from augaware.augment.plan import Camera
from augaware.awareness.base import Awareness, Embedding, Setting
from augaware.awareness.care import gram_change
from augaware.data.shapes import Shapes
from augaware.errors import RequestError
from augaware.nets.base import Encoder, build_encoder
from augaware.objective import Objective
from augaware.recipe import DEFAULT_AUGMENT, Recipe
from augaware.views import View, plain_plan

BATCH, SIZE, DIM, T = 8, 16, 16, 0.2
CROP, FLIP, JITTER = "crop(scale=(0.2, 1.0))", "flip()", "color_jitter(0.4, 0.4, 0.4, 0.1, p=1)"
AUGMENT = (CROP, FLIP, JITTER, "grayscale(p=0.5)", "gaussian_blur(p=1)")
CONTINUOUS = ("crop", "color_jitter", "gaussian_blur")  # no two images draw the same
SIMCLR, MOCO = "simclr(proj_hidden_dim=16, proj_output_dim=8)", "moco_v2(queue=24, proj_output_dim=8)"
SMALL = {
    "essl": "essl(hidden=16",
    "equimod": "equimod(hidden_dim=16, output_dim=16, told_dim=8",
    "sie": "sie(hidden_dim=16, output_dim=8",
    "care": "care(chunk=4",
    "stl": "stl(hidden=16, output=8",
    "shared": "shared(",
}


def small(name: str, **arguments: object) -> str:
    """The spec of a narrow form, with ``arguments``."""
    more = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return SMALL[name] + (", " if more and not SMALL[name].endswith("(") else "") + more + ")"


@cache
def camera(augment: tuple[str, ...] = AUGMENT) -> Camera:
    return Camera(Recipe(data="shapes", size=SIZE, augment=augment))


def spaces(augment: tuple[str, ...] = AUGMENT) -> Any:
    return camera(augment).pipelines[0].spaces


def objective(host: str, *aware: str, f: Encoder | None = None, augment: tuple[str, ...] = AUGMENT) -> Objective:
    torch.manual_seed(0)
    f = build_encoder("tiny(widths=(8, 16))") if f is None else f
    return Objective.from_specs(f, host, aware, spaces(augment), classes=4)


def images(count: int = BATCH) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    pixels = torch.randint(0, 256, (count, 3, 24, 20), dtype=torch.uint8, generator=generator)
    return pixels, torch.tensor([[24, 20]]).expand(count, 2), torch.arange(count)


def take(of: Objective | Awareness, augment: tuple[str, ...] = AUGMENT, count: int = BATCH) -> list[View]:
    """The views that an objective, or an awareness alone, plans."""
    if isinstance(of, Objective):
        plan = of.plan(2)
    else:
        plan = of.plan(plain_plan(2))
        of.own = range(2, len(plan))
    return camera(augment).take(plan, *images(count), 0, 0)


def embedded(of: Awareness, count: int = BATCH) -> dict[int, Embedding]:
    """Random features in float64 with true omegas."""
    generator = torch.Generator().manual_seed(1)
    found = {}
    for number, view in enumerate(take(of, count=count)):
        y, z = (torch.randn(count, d, dtype=torch.float64, generator=generator) for d in (DIM, 8))
        found[number] = Embedding({k: w.double() for k, w in view.omega.items()}, y, z)
    return found


def double(name: str, **arguments: object) -> Any:
    """An awareness alone, in float64 and in training."""
    torch.manual_seed(3)
    return lookup.build("awareness", small(name, **arguments), Setting(DIM, spaces())).double()


def spied(whole: Objective, name: str, monkeypatch: pytest.MonkeyPatch) -> list[dict[int, Embedding]]:
    """What an awareness will be shown: online and target."""
    part, shown = whole.awareness[name], [dict[int, Embedding]()] * 2
    losses = part.losses

    def spy(online: dict[int, Embedding], target: dict[int, Embedding]) -> object:
        shown[:] = [dict(online), dict(target)]
        return losses(online, target)

    monkeypatch.setattr(part, "losses", spy)
    return shown


def gradients(whole: Objective, views: Sequence[View]) -> tuple[Tensor, list[Tensor]]:
    """The loss, and its gradients by f and g."""
    loss = whole(views)["loss"]
    loss.backward()
    return loss.detach(), [p.grad for p in whole.online.parameters()]


# --- slow forms


def by_hand(module: nn.Module, x: Tensor) -> Tensor:
    """An MLP in training, layer by layer."""
    layers = [m for m in module.modules() if not isinstance(m, nn.Sequential)]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            x = x @ layer.weight.T + (0 if layer.bias is None else layer.bias)
        elif isinstance(layer, nn.BatchNorm1d):
            x = (x - x.mean(0)) / (x - x.mean(0)).square().mean(0).add(layer.eps).sqrt()
            x = x if layer.weight is None else x * layer.weight + layer.bias
        elif isinstance(layer, nn.LayerNorm):
            x = x - x.mean(1, keepdim=True)
            x = x / x.square().mean(1, keepdim=True).add(layer.eps).sqrt() * layer.weight + layer.bias
        else:
            assert isinstance(layer, nn.ReLU)
            x = x.clamp_min(0)
    return x


def slow_nt_xent(a: Tensor, b: Tensor) -> float:
    rows = [[v / math.sqrt(sum(w * w for w in row)) for v in row] for row in torch.cat((a, b)).tolist()]
    n, total = len(a), 0.0
    for i, row in enumerate(rows):
        odds = {
            j: math.exp(sum(x * y for x, y in zip(row, other, strict=True)) / T)
            for j, other in enumerate(rows)
            if j != i
        }
        total -= math.log(odds[(i + n) % (2 * n)] / sum(odds.values()))
    return total / (2 * n)


def slow_condition(omega: dict[str, Tensor], row: int) -> list[float]:
    """What is told of one view, augmentation by augmentation in alphabetical order; crop mirrored by its own flip."""
    w = {name: value[row].tolist() for name, value in omega.items()}
    y, x, h, width = w["crop"]
    crop = [y, 1 - x if w["flip"][0] == 1 else x, h, width]
    return [*w["color_jitter"][:4], *crop, *w["flip"], *w["gaussian_blur"], *w["grayscale"]]


def told(view: Embedding) -> Tensor:
    return torch.tensor([slow_condition(dict(view.omega), i) for i in range(len(view.y))], dtype=torch.float64)


# --- E-SSL


@pytest.mark.parametrize("size", [None, 12])
@pytest.mark.parametrize("augment", [AUGMENT, (*AUGMENT, "rotate90")], ids=len)
def test_essl_adds_four_views_that_differ_by_k_quarter_turns_only(augment: tuple[str, ...], size: int | None) -> None:
    whole = objective(SIMCLR, small("essl", size=size, scale=(0.3, 0.9)), augment=augment)
    views = take(whole, augment)
    plain = camera(augment).take(plain_plan(2), *images(), 0, 0)
    assert len(views) == 6
    assert all(torch.equal(one.image, two.image) for one, two in zip(views, plain, strict=False))
    first = views[2]
    assert first.image.shape == (BATCH, 3, size or SIZE, size or SIZE)
    for k, view in enumerate(views[2:]):
        assert torch.equal(view.image, torch.rot90(first.image, k, dims=(2, 3)))
        assert torch.equal(view.omega["rotate90"], torch.full((BATCH, 1), float(k)))
        for name in set(first.omega) - {"rotate90"}:
            assert torch.equal(view.omega[name], first.omega[name])
    for name in CONTINUOUS:
        assert (first.omega[name] != views[0].omega[name]).any(dim=1).all()
    area = first.omega["crop"][:, 2:].prod(dim=1)
    assert ((area > 0.25) & (area < 0.95)).all()  # scale=(0.3, 0.9), in whole pixels


def test_essl_is_a_cross_entropy_of_the_features_of_each_turn() -> None:
    part = double("essl", lam=0.5)
    seen = embedded(part)
    found = part.losses(seen, {})["rotation"]
    total = 0.0
    for k in range(4):
        for row in by_hand(part.p, seen[2 + k].y).tolist():
            total -= math.log(math.exp(row[k]) / sum(map(math.exp, row)))
    assert found.lam == 0.5
    assert found.loss.item() == pytest.approx(total / (4 * BATCH), rel=1e-6)
    assert found.nothing.item() == pytest.approx(math.log(4), rel=1e-6)


def test_an_untrained_essl_guesses() -> None:
    whole = objective(SIMCLR, "essl(hidden=64)")
    parts = whole(take(whole))
    assert parts["loss/essl/rotation"].item() == pytest.approx(math.log(4), abs=0.1)
    assert parts["nothing/essl/rotation"].item() == pytest.approx(math.log(4), rel=1e-6)


def test_the_head_of_essl_is_d_2048_2048_4_with_layer_normalisation() -> None:
    p = lookup.build("awareness", "essl", Setting(512, spaces())).p
    assert [m.weight.shape for m in p if isinstance(m, nn.Linear)] == [(2048, 512), (2048, 2048), (4, 2048)]
    assert [m.normalized_shape for m in p if isinstance(m, nn.LayerNorm)] == [(2048,), (2048,)]


# --- what must be learnt, in a short training


LEARNT = (CROP, FLIP, JITTER)
GROUP = 32  # images in a batch of the trainings


@cache
def source() -> Shapes:
    return Shapes(n=384, size=24)


def drawn(whole: Objective, index: Tensor, lit: bool = False) -> list[View]:
    """Views of drawn images, ``lit`` from above: theirs point to all sides alike, so that none is upright."""
    batch = source().batch(index)
    pixels = batch.pixels.float() / 255
    if lit:
        pixels = pixels * torch.linspace(1, 0.3, 24)[:, None]
    return camera(LEARNT).take(whole.plan(2), pixels, batch.sizes, batch.index, 0, 0)


def trained(aware: str, lr: float, steps: int, lit: bool = False) -> Objective:
    """A tiny network after some steps on 256 drawn images; the other 128 are new to it."""
    whole = objective("simclr(proj_hidden_dim=32, proj_output_dim=16)", aware, augment=LEARNT)
    optimizer = torch.optim.SGD(whole.parameters(), lr, momentum=0.9)
    batches = [drawn(whole, index, lit) for index in torch.arange(256).split(GROUP)]
    for step in range(steps):
        optimizer.zero_grad()
        whole(batches[step % len(batches)])["loss"].backward()
        optimizer.step()
    return whole


def new_images() -> Tensor:
    return torch.arange(256, 384)


def swapped(views: Sequence[View], which: Sequence[int] = (0, 1)) -> list[View]:
    """Views whose omega is that of the next image."""
    return [
        View(view.image, {k: w.roll(1, dims=0) for k, w in view.omega.items()} if number in which else view.omega)
        for number, view in enumerate(views)
    ]


def test_essl_learns_to_tell_the_turn_of_images_that_have_an_upright() -> None:
    whole = trained(small("essl", lam=5, scale=(0.6, 1.0)), lr=0.01, steps=40, lit=True)
    with torch.no_grad():
        parts = whole(drawn(whole, new_images(), lit=True))
    assert parts["loss/essl/rotation"] < 0.6 * math.log(4)


@pytest.mark.parametrize(
    ("aware", "part", "lr", "steps"),
    [
        ("equimod(hidden_dim=64, output_dim=64, told_dim=32)", "equimod/equi", 0.1, 32),
        ("sie(hidden_dim=32, output_dim=16)", "sie/equi", 0.05, 64),
        ("augself({'color_jitter': 10}, hidden=64)", "augself/color_jitter", 0.05, 96),
        ("equimod(condition='all', hidden_dim=64, output_dim=64, told_dim=32)", "equimod/equi", 0.1, 32),
    ],
    ids=["equimod", "sie", "augself", "equimod_all"],
)
def test_another_images_omega_raises_the_loss_of_what_uses_it(aware: str, part: str, lr: float, steps: int) -> None:
    """In training mode on new images: BN sees the same set of omegas, in another order."""
    whole = trained(aware, lr, steps)
    views = drawn(whole, new_images())
    with torch.no_grad():
        own, other = (whole(seen)[f"loss/{part}"].item() for seen in (views, swapped(views)))
    assert other > 1.1 * own


def test_with_another_images_omega_the_positives_of_cassle_lie_further_apart() -> None:
    whole = trained("cassle(width=16, depth=2)", lr=0.1, steps=64)
    views = drawn(whole, new_images())

    def cosine(seen: Sequence[View]) -> float:
        with torch.no_grad():
            z = whole.online(dict(enumerate(seen)))
        return F.cosine_similarity(z[0].z, z[1].z).mean().item()

    assert cosine(swapped(views)) < cosine(views) - 0.03
    assert cosine(swapped(views, (1,))) < cosine(views) - 0.015


# --- lambda 0


@pytest.mark.parametrize("host", [SIMCLR, MOCO])
@pytest.mark.parametrize(
    "aware", [small(n, lam=0) for n in ("essl", "equimod", "care")] + [small("stl", equi=0, trans=0)], ids=lambda s: s
)
def test_with_weight_0_the_host_and_its_gradients_are_as_if_alone(host: str, aware: str) -> None:
    whole, plain = objective(host, aware), objective(host)
    views = take(whole)
    (one, one_grad), (two, two_grad) = gradients(whole, views), gradients(plain, views[:2])
    assert one.item() == pytest.approx(two.item(), rel=1e-6)
    for a, b in zip(one_grad, two_grad, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-8)


class FirstHalf(Encoder):
    """The first half of another encoder's features."""

    def __init__(self, f: Encoder) -> None:
        super().__init__(f.backbone, f.dim // 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.backbone(x)[:, : self.dim]
        return y


@pytest.mark.parametrize("host", [SIMCLR, "moco_v2(queue=24, proj_hidden_dim=12, proj_output_dim=8)"])
def test_sie_with_weight_0_is_the_host_on_a_network_of_half_the_features(host: str) -> None:
    whole = objective(host, small("sie", lam=0))
    torch.manual_seed(0)
    half = objective(host, f=FirstHalf(build_encoder("tiny(widths=(8, 16))")))
    half.load_state_dict({k: v for k, v in whole.state_dict().items() if not k.startswith("awareness.")})
    views = take(whole)
    (one, one_grad), (two, two_grad) = gradients(whole, views), gradients(half, views)
    assert one.item() == pytest.approx(two.item(), rel=1e-6)
    for a, b in zip(one_grad, two_grad, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-8)


# --- EquiMod


def test_equimods_third_view_is_the_plain_image_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = objective(SIMCLR, small("equimod"))
    shown = spied(whole, "equimod", monkeypatch)
    views = take(whole)
    given = Recipe(data="shapes", size=SIZE)
    nothing = Pipeline.from_specs((), SIZE, given.mean, given.std)
    assert len(views) == 3
    assert torch.equal(views[2].image, nothing.view(*images(), 0, 0, 2).image)
    whole(views)
    assert shown[0][2].y.shape == (BATCH, DIM)
    assert shown[0][2].z.shape == (BATCH, 0)  # it is not projected


def test_equimod_is_nt_xent_between_embeddings_and_what_was_predicted_for_them() -> None:
    part = double("equimod", lam=0.5)
    seen = embedded(part)
    found = part.losses(seen, {})["equi"]
    with torch.no_grad():
        e = by_hand(part.g, torch.cat((seen[2].y, seen[0].y, seen[1].y)))
        omega = by_hand(part.t, torch.cat((told(seen[0]), told(seen[1]))))
        plain = e[:BATCH]
        predicted = by_hand(part.u, torch.cat((torch.cat((plain, plain)), omega), dim=1))
    assert found.lam == 0.5
    assert found.loss.item() == pytest.approx(slow_nt_xent(e[BATCH:], predicted), rel=1e-6)


def test_equimod_is_told_what_is_drawn_or_all() -> None:
    setting = Setting(16, spaces())
    drawn, told = (lookup.build("awareness", f"equimod({c})", setting).told.names for c in ("", "condition='all'"))
    assert set(told) - set(drawn) == {"color_diff"}
    assert told == tuple(sorted(setting.spaces))


def test_the_parts_of_equimod_are_those_of_the_paper() -> None:
    part = lookup.build("awareness", "equimod", Setting(512, spaces()))
    widths = [[m.weight.shape for m in p.modules() if isinstance(m, nn.Linear)] for p in (part.g, part.t, part.u)]
    assert widths == [[(2048, 512), (2048, 2048), (128, 2048)], [(128, 11)], [(128, 128 + 128)]]
    last = [[m for m in p.modules() if isinstance(m, nn.BatchNorm1d)][-1] for p in (part.g, part.t, part.u)]
    assert [m.affine for m in last] == [False, True, False]


# --- SIE


def slow_sie(part: Any, one: Embedding, two: Embedding) -> float:
    half = DIM // 2
    with torch.no_grad():
        e = by_hand(part.g, torch.cat((one.y[:, half:], two.y[:, half:])))
        e_1, e_2 = e[:BATCH].tolist(), e[BATCH:].tolist()
        weight = part.w.weight.tolist()
    d = len(e_1[0])
    w_1, w_2 = told(one).tolist(), told(two).tolist()
    predicted = []
    for i in range(BATCH):
        r = [1.0, *(b - a for a, b in zip(w_1[i], w_2[i], strict=True))]
        maps = [sum(w * v for w, v in zip(row, r, strict=True)) for row in weight]
        predicted.append([sum(maps[o * d + k] * e_1[i][k] for k in range(d)) for o in range(d)])

    def column(rows: list[list[float]], k: int) -> list[float]:
        mean = sum(row[k] for row in rows) / BATCH
        return [row[k] - mean for row in rows]

    def v(rows: list[list[float]]) -> float:
        variances = [sum(x * x for x in column(rows, k)) / (BATCH - 1) for k in range(d)]
        return sum(max(0.0, 1 - math.sqrt(variance + 1e-4)) for variance in variances) / d

    def c(rows: list[list[float]]) -> float:
        columns = [column(rows, k) for k in range(d)]
        return sum(
            (sum(x * y for x, y in zip(columns[a], columns[b], strict=True)) / (BATCH - 1)) ** 2 / d
            for a in range(d)
            for b in range(d)
            if a != b
        )

    s = sum((p - q) ** 2 for row, other in zip(predicted, e_2, strict=True) for p, q in zip(row, other, strict=True))
    variance = (v(e_1) + v(e_2)) / 2 + v(predicted)
    return part.alpha * s / (BATCH * d) + part.beta * variance + part.gamma * (c(e_1) + c(e_2))


@pytest.mark.parametrize("weights", [{}, {"invariance": 1, "variance": 0, "covariance": 3}], ids=["paper", "other"])
def test_sie_is_the_published_sum(weights: dict[str, float]) -> None:
    part = double("sie", lam=0.5, **weights)
    seen = embedded(part)
    found = part.losses(seen, {})["equi"]
    assert found.lam == 0.5
    assert found.loss.item() == pytest.approx(slow_sie(part, seen[0], seen[1]), rel=1e-6)


@pytest.mark.parametrize("host", [SIMCLR, MOCO])
def test_in_sie_z_reads_the_first_half_of_y_and_the_extra_loss_the_second(host: str) -> None:
    whole = objective(host, small("sie"))
    features: list[Tensor] = []
    whole.online.f.register_forward_hook(lambda module, inputs, y: features.append(y))
    parts = whole(take(whole))
    (y,), half = features, DIM // 2
    (of_host,) = torch.autograd.grad(parts["loss/host"], y, retain_graph=True)
    (of_equi,) = torch.autograd.grad(parts["loss/sie/equi"], y)
    assert of_host[:, :half].any(dim=0).all()
    assert not of_host[:, half:].any()
    assert of_equi[:, half:].any(dim=0).all()
    assert not of_equi[:, :half].any()


def test_the_map_of_sie_is_linear_in_r_and_its_own_where_omega_is_equal() -> None:
    part = double("sie")
    assert part.w.bias is None
    seen = embedded(part)
    told_to_w: list[Tensor] = []
    part.w.register_forward_pre_hook(lambda module, inputs: told_to_w.append(inputs[0]))
    part.losses(seen, {})
    part.losses({0: seen[0], 1: Embedding(seen[0].omega, seen[1].y, seen[1].z)}, {})
    r, equal = told_to_w
    assert torch.allclose(r, torch.cat((torch.ones(BATCH, 1), told(seen[1]) - told(seen[0])), dim=1))
    assert torch.equal(equal, torch.eye(1, r.shape[1], dtype=r.dtype).expand(BATCH, -1))
    assert torch.allclose(part.w(2 * r - 3 * equal), 2 * part.w(r) - 3 * part.w(equal))
    assert part.w(equal).any()


# --- CARE


def turned(rows: Tensor) -> Tensor:
    """Rows, all rotated by one random orthogonal matrix."""
    generator = torch.Generator().manual_seed(2)
    q, _ = torch.linalg.qr(torch.randn(rows.shape[1], rows.shape[1], dtype=rows.dtype, generator=generator))
    return rows @ q


def slow_gram_change(a: Tensor, b: Tensor) -> float:
    def angles(z: Tensor) -> list[list[float]]:
        rows = [[v / math.sqrt(sum(w * w for w in row)) for v in row] for row in z.tolist()]
        return [[sum(x * y for x, y in zip(p, q, strict=True)) for q in rows] for p in rows]

    one, two, n = angles(a), angles(b), len(a)
    return 2 * sum((one[i][j] - two[i][j]) ** 2 for i in range(n) for j in range(n) if j != i) / n


def test_a_common_rotation_costs_care_nothing_and_anything_else_something() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (F.normalize(torch.randn(6, 5, dtype=torch.float64, generator=generator), dim=1) for _ in range(2))
    assert gram_change(a, turned(a)).item() == pytest.approx(0, abs=1e-12)
    assert gram_change(a, -a).item() == pytest.approx(0, abs=1e-12)
    moved = torch.cat((turned(a)[:1], a[1:]))  # one image alone
    assert gram_change(a, moved) > 1e-3
    assert gram_change(a, b).item() == pytest.approx(slow_gram_change(a, b), rel=1e-12)


def test_care_is_the_mean_over_chunks_of_the_change_of_angles() -> None:
    part = double("care", lam=0.5)
    seen = embedded(part)
    found = part.losses(seen, {})["gram"]
    a, b = seen[2].z, seen[3].z
    expected = sum(slow_gram_change(a[i : i + 4], b[i : i + 4]) for i in (0, 4)) / 2
    assert found.lam == 0.5
    assert found.loss.item() == pytest.approx(expected, rel=1e-6)
    turned_views = {2: seen[2], 3: Embedding(seen[3].omega, seen[3].y, 3 * turned(a))}
    assert part.losses(turned_views, {})["gram"].loss.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("host", [SIMCLR, MOCO])
def test_cares_two_views_have_one_omega_per_chunk_and_are_projected(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = objective(host, small("care"))
    shown = spied(whole, "care", monkeypatch)
    views = take(whole)
    assert len(views) == 4
    a, b = views[2:]
    for name in (augmentation.name for augmentation in camera().pipelines[0].augmentations):
        for view in (a, b):
            chunks = view.omega[name].split(4)
            assert all(torch.equal(chunk, chunk[:1].expand_as(chunk)) for chunk in chunks)
            assert name not in CONTINUOUS or not torch.equal(*chunks)
        assert name not in CONTINUOUS or (a.omega[name] != b.omega[name]).any(dim=1).all()
        assert name not in CONTINUOUS or len(views[0].omega[name].unique(dim=0)) == BATCH  # the host's views: as ever
    whole(views)
    for number in (2, 3):
        seen = shown[0][number]
        assert seen.z.shape == (BATCH, 8)
    both = whole.online.g(torch.cat([shown[0][n].y for n in (2, 3)]), {})
    assert torch.allclose(both, torch.cat([shown[0][n].z for n in (2, 3)]), atol=1e-6)


def test_a_batch_size_that_is_no_multiple_of_the_chunk_is_refused_before_training() -> None:
    whole = objective(SIMCLR, "care(chunk=6)")
    camera().check(whole.plan(2), 12)
    with pytest.raises(RequestError, match=r"batch_size=16 is no multiple of the 6 images .* use --batch-size 1[28]"):
        camera().check(whole.plan(2), 16)


# --- STL


def slow_stl(part: Any, one: Embedding, two: Embedding) -> tuple[float, float]:
    n = len(one.y) // 2 * 2
    y_1, y_2 = one.y[:n], two.y[:n]
    with torch.no_grad():
        t = by_hand(part.tb, torch.cat((torch.cat((y_1, y_2), 1), torch.cat((y_2, y_1), 1))))
        forth, back, moved = t[:n], t[n:], []
        for y, ts in ((y_2, back), (y_1, forth)):
            for i in range(n):
                partner = i + 1 if i % 2 == 0 else i - 1
                moved.append((part.w.weight @ ts[partner]).reshape(DIM, DIM) @ y[i])
        e = by_hand(part.g, torch.cat((y_1, y_2, torch.stack(moved))))
        pairs = [[ts[i] for ts in (forth, back) for i in range(first, n, 2)] for first in (0, 1)]
        shown = by_hand(part.g_t, torch.stack(pairs[0] + pairs[1]))
    return slow_nt_xent(e[: 2 * n], e[2 * n :]), slow_nt_xent(shown[:n], shown[n:])


@pytest.mark.parametrize("count", [BATCH, 7, 2])
def test_stl_is_its_two_contrasts_with_the_partners_transformation(count: int) -> None:
    part = double("stl", equi=0.5, trans=0.25)
    seen = embedded(part, count=count)
    found = part.losses(seen, {})
    equi, trans = slow_stl(part, seen[0], seen[1])
    assert (found["equi"].lam, found["trans"].lam) == (0.5, 0.25)
    assert found["equi"].loss.item() == pytest.approx(equi, rel=1e-6)
    assert found["trans"].loss.item() == pytest.approx(trans, rel=1e-6)


def test_stl_leaves_an_odd_image_at_the_end_out() -> None:
    part = double("stl")
    seen = embedded(part, count=7)
    six = {n: Embedding({k: w[:6] for k, w in e.omega.items()}, e.y[:6], e.z[:6]) for n, e in seen.items()}
    odd, even = part.losses(seen, {}), part.losses(six, {})
    assert all(torch.equal(odd[name].loss, even[name].loss) for name in ("equi", "trans"))


def test_stls_partners_share_crop_jitter_and_grayscale_and_not_flip_and_blur() -> None:
    whole = objective(SIMCLR, small("stl"))
    views = take(whole)
    assert len(views) == 2
    for view in views:
        for name in ("crop", "color_jitter", "grayscale"):
            assert torch.equal(view.omega[name][0::2], view.omega[name][1::2])
        assert (view.omega["crop"][0] != view.omega["crop"][2]).any()
        assert not torch.equal(view.omega["gaussian_blur"][0::2], view.omega["gaussian_blur"][1::2])
    assert any(not torch.equal(view.omega["flip"][0::2], view.omega["flip"][1::2]) for view in views)
    assert not torch.equal(views[0].omega["crop"], views[1].omega["crop"])


def test_stl_ties_what_there_is_of_its_three_and_what_it_is_told() -> None:
    assert lookup.build("awareness", "stl", Setting(4, spaces((CROP, FLIP)))).tied == ("crop",)
    assert lookup.build("awareness", "stl(tied='flip')", Setting(4, spaces())).tied == ("flip",)
    assert lookup.build("awareness", "stl(tied=['flip', 'crop'])", Setting(4, spaces())).tied == ("crop", "flip")


def test_phi_is_linear_in_the_features_and_in_the_transformation() -> None:
    part = double("stl")
    generator = torch.Generator().manual_seed(4)
    y, other = torch.randn(2, 3, DIM, dtype=torch.float64, generator=generator)
    t, more = torch.randn(2, 3, 8, dtype=torch.float64, generator=generator)
    assert part.w.bias is None
    assert torch.allclose(part.phi(2 * y - 3 * other, t), 2 * part.phi(y, t) - 3 * part.phi(other, t))
    assert torch.allclose(part.phi(y, 2 * t - 3 * more), 2 * part.phi(y, t) - 3 * part.phi(y, more))
    assert part.phi(y, t).shape == (3, DIM)


# --- contrasts at the start


@pytest.mark.parametrize(
    ("aware", "part", "views"),
    [
        ("equimod(temperature=2.0, hidden_dim=64, output_dim=256)", "equimod/equi", 4),
        ("stl(temperature=2.0)", "stl/equi", 4),
        ("stl(temperature=2.0)", "stl/trans", 2),
    ],
)
def test_an_untrained_contrast_is_the_logarithm_of_what_it_chooses_among(aware: str, part: str, views: int) -> None:
    """log(4N - 1) and log(2N - 1), within 5% at a temperature where what the images have in common weighs little."""
    whole = objective(SIMCLR, aware)
    found = whole(take(whole))[f"loss/{part}"].item()
    assert found == pytest.approx(math.log(views * BATCH - 1), rel=0.05)


# --- shared parameters


def test_shared_views_have_equal_colours_and_crops_and_flips_of_their_own() -> None:
    whole = objective(SIMCLR, "shared")
    one, two = take(whole.aware[0])  # alone: everything is measured
    for name in ("color_jitter", "grayscale", "gaussian_blur"):
        assert torch.equal(one.omega[name], two.omega[name])
    assert (one.omega["crop"] != two.omega["crop"]).any(dim=1).all()
    assert not torch.equal(one.omega["flip"], two.omega["flip"])
    assert not torch.equal(one.omega["color_diff"], two.omega["color_diff"])  # measured, on another crop
    assert whole.awareness["shared"].names == ("color_jitter", "gaussian_blur", "grayscale")


def test_shared_names_alone_are_shared() -> None:
    one, two = take(objective(SIMCLR, "shared('flip')"))
    assert torch.equal(one.omega["flip"], two.omega["flip"])
    assert not torch.equal(one.omega["color_jitter"], two.omega["color_jitter"])


@pytest.mark.parametrize("aware", [["shared", small("equimod")], [small("equimod"), "shared"]], ids=["first", "last"])
def test_views_that_others_add_share_nothing(aware: list[str]) -> None:
    plain = take(objective(SIMCLR, small("equimod")))[2]
    view = take(objective(SIMCLR, *aware))[2]
    assert torch.equal(view.image, plain.image)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("other", ["augself(['crop', 'color_jitter'])", "looc('color_jitter')"])
def test_what_learns_from_a_shared_difference_is_refused(other: str, order: int) -> None:
    with pytest.raises(RequestError) as refused:
        objective(SIMCLR, *["shared", other][::order])
    line = str(refused.value)
    assert all(word in line for word in (other.partition("(")[0], "learns from what differs", "gives both the same"))
    assert "'color_jitter'" in line
    assert "\n" not in line


def test_augself_on_what_is_not_shared_works() -> None:
    whole = objective(SIMCLR, "shared", "augself(['crop', 'flip'], hidden=8)")
    assert all(value.isfinite() for value in whole(take(whole)).values())


# --- wrong requests


WRONG: list[tuple[str, list[str]]] = [
    ("essl(lam=-1)", ["lam=-1", "at least 0"]),
    ("essl(lam='much')", ["lam='much'", "a number, at least 0"]),
    ("essl(hidden=0)", ["hidden=0", "at least 1"]),
    ("essl(size=0)", ["size=0", "at least 1"]),
    ("essl(size=1.5)", ["size=1.5", "whole number"]),
    ("equimod(lam=-0.1)", ["lam=-0.1", "at least 0"]),
    ("equimod(temperature=0)", ["temperature=0", "above 0"]),
    ("equimod(condition='rotate90')", ["condition", "'rotate90'", "not in the pipeline", "color_jitter, crop"]),
    ("equimod(condition=['flop'])", ["condition", "'flop'", "did you mean 'flip'"]),
    ("equimod(condition=[])", ["condition is empty", "accepted: crop, flip"]),
    ("equimod(condition=3)", ["condition=(3,)", "must be names"]),
    ("equimod(hidden_dim=0)", ["hidden_dim=0", "at least 1"]),
    ("equimod(output_dim=-2)", ["output_dim=-2", "at least 1"]),
    ("equimod(told_dim=True)", ["told_dim=True", "whole number"]),
    ("sie(lam=None)", ["lam=None", "at least 0"]),
    ("sie(condition=['solarize'])", ["condition", "'solarize'", "not in the pipeline"]),
    ("sie(condition=())", ["condition is empty", "accepted: crop, flip"]),
    ("sie(invariance=-1)", ["invariance=-1", "at least 0"]),
    ("sie(variance='x')", ["variance='x'", "at least 0"]),
    ("sie(covariance=-1)", ["covariance=-1", "at least 0"]),
    ("sie(hidden_dim=0)", ["hidden_dim=0", "at least 1"]),
    ("sie(output_dim=0)", ["output_dim=0", "at least 1"]),
    ("care(lam=-1)", ["lam=-1", "at least 0"]),
    ("care(chunk=1)", ["chunk=1", "at least 2"]),
    ("care(chunk=0)", ["chunk=0", "at least 1"]),
    ("care(chunk=2.0)", ["chunk=2.0", "whole number"]),
    ("stl(equi=-1)", ["equi=-1", "at least 0"]),
    ("stl(trans=-1)", ["trans=-1", "at least 0"]),
    ("stl(temperature=-0.2)", ["temperature=-0.2", "above 0"]),
    ("stl(tied=['rotate90'])", ["tied", "'rotate90'", "not in the pipeline"]),
    ("stl(tied='color_diff')", ["tied", "'color_diff'", "measured", "accepted: crop, flip, color_jitter"]),
    ("stl(tied=[])", ["tied is empty", "accepted: crop, flip, color_jitter"]),
    ("stl(tied=None)", ["tied=(None,)", "must be names"]),
    ("stl(tied=2)", ["tied=(2,)", "must be names"]),
    ("stl(hidden=0)", ["hidden=0", "at least 1"]),
    ("stl(output=0)", ["output=0", "at least 1"]),
    ("shared('color_dif')", ["names", "'color_dif'", "did you mean 'color_diff'"]),
    ("shared(['color_diff'])", ["names", "'color_diff'", "measured", "accepted: crop, flip, color_jitter"]),
    ("shared([])", ["names is empty", "accepted: crop, flip, color_jitter"]),
    ("shared(1)", ["names=(1,)", "must be names"]),
    ("stl(tie='crop')", ["'tie'", "did you mean 'tied'"]),
]


@pytest.mark.parametrize(("spec", "words"), WRONG, ids=[spec for spec, _ in WRONG])
def test_a_wrong_argument_is_refused_in_one_line(spec: str, words: list[str]) -> None:
    with pytest.raises(RequestError) as refused:
        lookup.build("awareness", spec, Setting(DIM, spaces(DEFAULT_AUGMENT)))
    line = str(refused.value)
    assert all(word in line for word in (spec.partition("(")[0], *words)), line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("augment", "spec", "words"),
    [
        ((FLIP,), "essl", ["'essl'", "'crop'", "add it to augment"]),
        ((CROP, "rotate90", FLIP), "essl", ["'flip' stands after 'rotate90'", "put rotate90 last"]),
        ((), "equimod", ["condition is empty"]),
        ((), "sie", ["condition is empty"]),
        ((FLIP,), "stl", ["tied is empty", "accepted: flip"]),
        ((CROP, FLIP), "shared", ["names is empty", "accepted: crop, flip"]),
    ],
)
def test_a_pipeline_without_what_is_needed_is_refused(augment: tuple[str, ...], spec: str, words: list[str]) -> None:
    with pytest.raises(RequestError) as refused:
        lookup.build("awareness", spec, Setting(DIM, spaces(augment)))
    assert all(word in str(refused.value) for word in words), str(refused.value)


@pytest.mark.parametrize("scale", ["large", (0.5, 0.1), (0, 0.5), 0.1])
def test_a_wrong_scale_of_essls_crop_is_refused_before_training(scale: object) -> None:
    whole = objective(SIMCLR, f"essl(hidden=8, scale={scale!r})")
    with pytest.raises(RequestError) as refused:
        camera().check(whole.plan(2), 8)
    assert f"scale={scale!r}" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_one_shares_and_another_ties_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match="'color_jitter' of a view is to be shared with view 1 and tied"):
        objective(SIMCLR, "stl", "shared('color_jitter')")


# --- together


def test_sie_beside_another_projector_is_refused() -> None:
    with pytest.raises(RequestError, match="'sie' and 'cassle' both make their own projector"):
        objective(SIMCLR, "sie", "cassle")


@pytest.mark.parametrize(("host", "reverse"), [(SIMCLR, False), (SIMCLR, True), (MOCO, False)])
def test_all_that_can_stand_together_trains_together(host: str, reverse: bool) -> None:
    names = ["essl", "equimod", "care", "stl"]
    aware = ["augself(hidden=8)", "cassle(width=4, depth=2)", *map(small, names)]
    whole = objective(host, *(aware[::-1] if reverse else aware))
    plan = whole.plan(2)
    camera().check(plan, BATCH)
    assert len(plan) == 2 + 4 + 1 + 2
    start = {name: p.detach().clone() for name, p in whole.named_parameters() if p.requires_grad}
    parts = whole(take(whole))
    assert all(value.isfinite() for value in parts.values())
    logged = {key.split("/")[1] for key in parts if key.startswith("loss/")}
    assert logged == {"host", "augself", *names}
    parts["loss"].backward()
    torch.optim.SGD([p for p in whole.parameters() if p.requires_grad], 0.05).step()
    for name, p in whole.named_parameters():
        assert name not in start or (p.isfinite().all() and not torch.equal(p, start[name])), name
