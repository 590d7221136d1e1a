"""LooC and LooC++: the published sum, image by image; the keys, queues and branches; and f with several last stages."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augaware import lookup
from augaware.augment.plan import Camera
from augaware.awareness.base import Setting
from augaware.errors import RequestError
from augaware.frozen import load_encoder
from augaware.hosts.base import Moment
from augaware.nets.base import Encoder, build_encoder
from augaware.nets.branched import Fork, branched
from augaware.objective import Objective, encoder_spec
from augaware.pretrain import start
from augaware.recipe import Recipe
from augaware.views import View

BATCH, SIZE, QUEUE, T = 8, 16, 24, 0.2
TINY, DIM = "tiny(widths=(8, 16))", 16
AUGMENT = (
    "crop(scale=(0.2, 1.0))",
    "flip()",
    "color_jitter(0.4, 0.4, 0.4, 0.1, p=1)",
    "grayscale(p=0.5)",
    "gaussian_blur(p=1)",
)
CONTINUOUS = ("crop", "color_jitter", "gaussian_blur")  # no two images draw the same
HOSTS = {
    "simclr": "simclr(proj_hidden_dim=16, proj_output_dim=8)",
    "moco_v2": f"moco_v2(queue={QUEUE}, proj_hidden_dim=16, proj_output_dim=8)",
    "moco_v3": "moco_v3(hidden_dim=16, output_dim=8)",
}
NAMES = [["color_jitter"], ["color_jitter", "flip"]]


@cache
def camera() -> Camera:
    return Camera(Recipe(data="shapes", size=SIZE, augment=AUGMENT))


def objective(host: str, *aware: str, encoder: str = TINY) -> Objective:
    spaces = camera().pipelines[0].spaces
    torch.manual_seed(0)
    f = build_encoder(encoder_spec(encoder, aware, spaces))
    return Objective.from_specs(f, HOSTS.get(host, host), aware, spaces, classes=4)


def pixels() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    images = torch.randint(0, 256, (BATCH, 3, 24, 20), dtype=torch.uint8, generator=generator)
    return images, torch.tensor([[24, 20]]).expand(BATCH, 2)


def take(whole: Objective, epoch: int = 0) -> list[View]:
    return camera().take(whole.plan(2), *pixels(), torch.arange(BATCH), 0, epoch)


def step(whole: Objective, epoch: int, optimizer: torch.optim.Optimizer) -> tuple[Tensor, list[Tensor | None]]:
    """One step of training: its loss and the gradients."""
    now = Moment(epoch, 10, 10)
    whole.before_step(now)
    loss = whole(take(whole, epoch))["loss"]
    optimizer.zero_grad()
    loss.backward()
    whole.after_backward(now)
    gradients = [p.grad if p.grad is None else p.grad.clone() for p in whole.parameters()]
    optimizer.step()
    whole.after_step(now)
    return loss.detach(), gradients


def embeddings(whole: Objective, views: Sequence[View]) -> tuple[list[Tensor], list[Tensor]]:
    """z of all views by the online network and by the target, as one step sees them; [] where it has none."""
    numbered = dict(enumerate(views))
    with torch.no_grad():
        seen = {0: numbered[0]} if whole.host.name == "moco_v2" else numbered
        compared = {n: view for n, view in numbered.items() if n not in seen} or numbered
        online = {n: e.z for n, e in whole.online(seen).items()}
        target = {} if whole.target is None else {n: e.z for n, e in whole.target(compared).items()}
    blank = torch.empty(0)
    return [online.get(n, blank) for n in numbered], [target.get(n, blank) for n in numbered]


def units(z: Tensor, branch: int, branches: int) -> list[list[float]]:
    """n(z) of one branch, in Python floats."""
    rows = z.double().chunk(branches, dim=1)[branch].tolist()
    return [[v / math.sqrt(sum(w * w for w in row)) for v in row] for row in rows]


def e(a: Sequence[float], b: Sequence[float]) -> float:
    """exp(a . b / T)."""
    return math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / T)


# --- no names: the host itself


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("host", HOSTS)
def test_without_names_looc_is_the_host_bit_for_bit(host: str, separate: bool) -> None:
    plain, looc = objective(host), objective(host, f"looc(names=(), separate={separate})")
    optimizers = [torch.optim.SGD([p for p in o.parameters() if p.requires_grad], 0.1, 0.9) for o in (plain, looc)]
    for epoch in range(3):
        (one, one_grad), (two, two_grad) = (
            step(o, epoch, optimizer) for o, optimizer in zip((plain, looc), optimizers, strict=True)
        )
        assert torch.equal(one, two)
        assert any(g is not None and g.any() for g in one_grad)
        for a, b in zip(one_grad, two_grad, strict=True):
            assert (a is None and b is None) or torch.equal(a, b)
    for a, b in zip(plain.state_dict().values(), looc.state_dict().values(), strict=True):  # queues too
        assert torch.equal(a, b)


# --- the loss


@pytest.mark.parametrize("names", NAMES, ids=len)
def test_the_loss_on_moco_is_the_published_sum_image_by_image(names: list[str]) -> None:
    whole = objective("moco_v2", f"looc({names})")
    for epoch in range(2):  # so that the queues differ from each other
        step(whole, epoch, torch.optim.SGD(whole.online.parameters(), 0.1))
    queues = [host.queue.double().tolist() for host in whole.hosts]
    views = take(whole, 5)
    found = whole(views)["loss/host"].item()
    online, target = embeddings(whole, views)
    n = len(names)
    total = 0.0
    for image in range(BATCH):
        for j in range(n + 1):
            q, k = units(online[0], 0, n + 1)[image], units(target[1 + j], 0, n + 1)[image]
            total += math.log(e(q, k) / (e(q, k) + sum(e(q, row) for row in queues[0])))
        for i in range(1, n + 1):
            q = units(online[0], i, n + 1)[image]
            keys = [units(target[1 + j], i, n + 1)[image] for j in range(n + 1)]
            total += math.log(e(q, keys[i]) / (sum(e(q, k) for k in keys) + sum(e(q, row) for row in queues[i])))
    assert found == pytest.approx(-total / (n + 1) / BATCH, rel=1e-6)


def slow_nce(anchor: list[float], positive: list[float], negatives: list[list[float]]) -> float:
    return -math.log(e(anchor, positive) / (e(anchor, positive) + sum(e(anchor, n) for n in negatives)))


Rows = list[list[float]]


def slow_simclr(q: Rows, k: Rows, foils: list[Rows]) -> float:
    rows, total = q + k, 0.0
    for a in range(2 * BATCH):
        positive = (a + BATCH) % (2 * BATCH)
        negatives = [row for b, row in enumerate(rows) if b not in (a, positive)]
        total += slow_nce(rows[a], rows[positive], negatives + [foil[a % BATCH] for foil in foils])
    return total / (2 * BATCH)


def slow_ctr(q: Rows, k: Rows, foils: list[Rows]) -> float:
    total = 0.0
    for a in range(BATCH):
        negatives = [row for b, row in enumerate(k) if b != a]
        total += slow_nce(q[a], k[a], negatives + [foil[a] for foil in foils])
    return 2 * T * total / BATCH


@pytest.mark.parametrize("names", NAMES, ids=len)
@pytest.mark.parametrize("host", ["simclr", "moco_v3"])
def test_the_loss_on_hosts_without_a_queue_has_the_batchs_negatives(host: str, names: list[str]) -> None:
    whole = objective(host, f"looc({names})")
    views = take(whole)
    found = whole(views)["loss/host"].item()
    online, target = embeddings(whole, views)
    branches = len(names) + 1
    keys = range(1, branches + 1)

    def pair(branch: int, key: int, foils: list[int]) -> float:
        if host == "simclr":
            z = [units(v, branch, branches) for v in online]
            return slow_simclr(z[0], z[key], [z[foil] for foil in foils])
        h = copy.deepcopy(whole.hosts[branch].h).double()
        with torch.no_grad():
            q, p = (units(h(online[v].double().chunk(branches, dim=1)[branch]), 0, 1) for v in (0, key))
        k = [units(v, branch, branches) for v in target]
        apart = [k[foil] for foil in foils]
        return slow_ctr(q, k[key], apart) + slow_ctr(p, k[0], apart)

    total = sum(pair(0, key, []) for key in keys)
    total += sum(pair(i, 1 + i, [k for k in keys if k != 1 + i]) for i in range(1, branches))
    assert found == pytest.approx(total / branches, rel=1e-6)


@pytest.mark.parametrize("names", NAMES, ids=len)
def test_the_invariant_branch_has_k_negatives_and_each_other_one_its_images_n_keys_more(names: list[str]) -> None:
    whole = objective("moco_v2", f"looc({names})")
    counted: list[list[int]] = [[] for _ in whole.hosts]

    def counting(branch: int) -> object:
        def score(positive: Tensor, negatives: Tensor, temperature: float) -> Tensor:
            counted[branch].append(negatives.shape[1])
            return positive.sum()

        return score

    for branch, host in enumerate(whole.hosts):
        host.score = counting(branch)
    whole(take(whole))
    n = len(names)
    assert counted == [[QUEUE] * (n + 1), *[[QUEUE + n]] * n]


# --- keys and queues


def test_each_queue_takes_its_own_branchs_key_only() -> None:
    whole = objective("moco_v2", "looc(['color_jitter', 'flip'])")
    assert len({id(host.queue) for host in whole.hosts}) == 3
    for epoch in range(2):
        before = [host.queue.clone() for host in whole.hosts]
        views = take(whole, epoch)
        whole(views)
        _, target = embeddings(whole, views)
        whole.after_step(Moment(epoch, 10, 10))
        for branch, host in enumerate(whole.hosts):
            key = F.normalize(target[1 + branch].chunk(3, dim=1)[branch], dim=1)
            new = slice(epoch * BATCH, (epoch + 1) * BATCH)
            assert torch.equal(host.queue[new], key)
            assert torch.equal(host.queue[new.stop :], before[branch][new.stop :])
            assert torch.equal(host.queue[: new.start], before[branch][: new.start])
            assert host.place == new.stop % QUEUE


def test_key_i_has_the_querys_parameters_of_augmentation_i_and_draws_the_others() -> None:
    names = ["color_jitter", "crop", "flip", "gaussian_blur"]
    whole = objective("moco_v2", f"looc({names})")
    views = take(whole)
    assert len(views) == 2 + len(names)
    of = camera().pipelines[0]
    query, k_0, *keys = views
    for name, key in zip(names, keys, strict=True):
        assert torch.equal(key.omega[name], query.omega[name])
        for other in set(CONTINUOUS) - {name}:
            assert (key.omega[other] != query.omega[other]).any(dim=1).all()
            assert (key.omega[other] != k_0.omega[other]).any(dim=1).all()
        for other in {"flip", "grayscale"} - {name}:
            assert not torch.equal(key.omega[other], query.omega[other])
        replayed = of.apply(*pixels(), key.omega | {name: query.omega[name]})
        assert torch.equal(replayed.image, key.image)
        changed = of.apply(*pixels(), key.omega | {name: k_0.omega[name]})
        assert not torch.equal(changed.image, key.image)


@pytest.mark.parametrize("aware", [["shared()", "looc(['crop'])"], ["looc(['crop'])", "shared()"]], ids=str)
def test_keys_share_what_the_hosts_second_view_shares_in_either_order(aware: list[str]) -> None:
    query, *keys = take(objective("simclr", *aware))
    assert len(keys) == 2
    for key in keys:
        assert all(torch.equal(key.omega[n], query.omega[n]) for n in ("color_jitter", "grayscale", "gaussian_blur"))
    assert not torch.equal(keys[0].omega["crop"], query.omega["crop"])
    assert torch.equal(keys[1].omega["crop"], query.omega["crop"])


# --- branches and gradients


@pytest.mark.parametrize("host", HOSTS)
def test_z_is_every_heads_embedding_of_the_same_features_side_by_side(host: str) -> None:
    whole = objective(host, "looc(['color_jitter', 'flip'])")
    assert whole.online.f.dim == DIM
    (seen,) = whole.online({0: take(whole)[0]}).values()
    heads = whole.online.g.heads
    assert len(heads) == len(whole.hosts) == 3
    assert seen.z.shape == (BATCH, 3 * 8)
    assert torch.equal(seen.z, torch.cat([head(seen.y) for head in heads], dim=1))
    first = [next(head.parameters()) for head in heads]
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[1], first[2])


@pytest.mark.parametrize("host", HOSTS)
def test_gradients_reach_f_all_heads_and_all_predictors_and_no_target(host: str) -> None:
    whole = objective(host, "looc(['color_jitter', 'flip'])")
    whole(take(whole))["loss"].backward()
    for part in (whole.online.f, *whole.online.g.heads, *whole.hosts):
        for p in part.parameters():
            assert p.grad is not None
            assert p.grad.any()
    assert whole.target is None or all(p.grad is None for p in whole.target.parameters())


@pytest.mark.parametrize("host", HOSTS)
def test_keys_carry_a_gradient_only_where_the_host_encodes_them_online(host: str) -> None:
    whole = objective(host, "looc(['color_jitter'])")
    views = [View(view.image.requires_grad_(), view.omega) for view in take(whole)]
    slopes = torch.autograd.grad(whole(views)["loss"], [view.image for view in views], allow_unused=True)
    reached = [slope is not None and bool(slope.any()) for slope in slopes]
    assert reached == [True, *[host != "moco_v2"] * 2]


def test_the_target_follows_all_branches() -> None:
    whole = objective("moco_v2(queue=24, momentum=0.5)", "looc(['color_jitter'], separate=True)")
    assert whole.target is not None
    start = [p.clone() for p in whole.target.parameters()]
    step(whole, 0, torch.optim.SGD(whole.online.parameters(), 0.1))
    for before, target, online in zip(start, whole.target.parameters(), whole.online.parameters(), strict=True):
        assert torch.allclose(target, (before + online) / 2, atol=1e-6)
        assert not torch.equal(target, before)


# --- LooC++


@pytest.mark.parametrize("host", HOSTS)
def test_in_looc_plus_plus_each_branch_moves_its_own_last_stage_and_head_and_the_trunk(host: str) -> None:
    whole = objective(host, "looc(['color_jitter', 'flip'], separate=True)")
    (fork,) = (m for m in whole.online.f.modules() if isinstance(m, Fork))
    assert whole.online.f.dim == 3 * DIM
    own = [nn.ModuleList([fork.stages[i], whole.online.g.heads[i]]) for i in range(3)]
    apart = {p for part in own for p in part.parameters()}
    trunk = [p for p in whole.online.f.parameters() if p not in apart]
    assert trunk
    scores = [h.score for h in whole.hosts]
    for branch in range(3):
        for i, h in enumerate(whole.hosts):
            h.score = scores[i] if i == branch else lambda positive, negatives, t: 0 * positive.sum()
        whole.zero_grad()
        whole(take(whole))["loss"].backward()
        assert all(p.grad is not None and p.grad.any() for p in [*trunk, *own[branch].parameters()])
        others = [p for i in range(3) if i != branch for p in own[i].parameters()]
        assert all(p.grad is None or not p.grad.any() for p in others)


def parent(f: Encoder) -> tuple[nn.Module, str, Fork]:
    """Where f forks: the module, the name of its child, and the fork."""
    found = [(m, name, c) for m in f.modules() for name, c in m.named_children() if isinstance(c, Fork)]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("encoder", ["resnet18", TINY, "timm/resnet18"])
def test_a_branched_encoder_is_its_last_stages_run_one_by_one(encoder: str) -> None:
    torch.manual_seed(0)
    plain = build_encoder(encoder)
    torch.manual_seed(0)
    f = branched(encoder, branches=2)
    assert (f.dim, f.branches, plain.branches) == (2 * plain.dim, 2, 1)
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    holder, name, fork = parent(f)
    with torch.no_grad():
        parts = f(x).chunk(2, dim=1)
        assert torch.allclose(parts[0], plain(x), atol=1e-6)  # the first branch starts as the encoder itself
        for part, stage in zip(parts, fork.stages, strict=True):
            setattr(holder, name, stage)
            assert torch.allclose(f(x), part, atol=1e-6)
    setattr(holder, name, fork)
    assert not torch.allclose(parts[0], parts[1], atol=1e-2)
    numbers = [sum(p.numel() for p in m.parameters()) for m in (plain, *fork.stages, f)]
    assert numbers[1] == numbers[2]
    assert numbers[3] == numbers[0] + numbers[1]


@pytest.mark.parametrize("encoder", ["resnet18(stem='cifar')", "timm/resnet10t", "torchvision/resnet18"])
def test_any_resnet_branches_by_its_spec(encoder: str) -> None:
    f = build_encoder(f"branched({encoder!r}, branches=1)")
    assert f.dim == 512
    assert len(parent(f)[2].stages) == 1


@pytest.mark.parametrize("encoder", ["vit_small(size=32)", "timm/vit_tiny_patch16_224"])
def test_an_encoder_without_a_last_stage_cannot_branch(encoder: str) -> None:
    with pytest.raises(RequestError) as refused:
        branched(encoder, branches=1)
    assert (
        str(refused.value)
        == f"encoder 'branched': {encoder!r} has no last stage to repeat; use a ResNet, such as resnet18"
    )


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("branched('tiny', branches=0)", ["branches=0", "at least 1"]),
        ("branched('tiny', branches=1.5)", ["branches=1.5", "whole number"]),
        ("branched(18)", ["encoder=18", "a spec in quotes", "resnet18"]),
        ("branched('resnet8')", ["unknown encoder 'resnet8'", "did you mean"]),
    ],
)
def test_a_wrong_branched_encoder_is_refused_in_one_line(spec: str, words: list[str]) -> None:
    with pytest.raises(RequestError) as refused:
        build_encoder(spec)
    assert all(word in str(refused.value) for word in words), str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_encoder_spec_branches_only_where_looc_is_separate() -> None:
    spaces = camera().pipelines[0].spaces
    assert encoder_spec(TINY, ["looc(['flip', 'crop'])"], spaces) == TINY
    assert encoder_spec(TINY, ["looc('flip', separate=True)"], spaces) == f"branched({TINY!r}, branches=2)"
    spec = encoder_spec("resnet18(stem='cifar')", ["augself", "looc(['flip', 'crop'], separate=True)"], spaces)
    assert lookup.parse(spec).kwargs == {"branches": 3}
    assert lookup.parse(spec).args == ("resnet18(stem='cifar')",)


def test_the_weights_of_a_branched_encoder_load_into_one_that_is_built_again() -> None:
    spec = f"branched({TINY!r}, branches=2)"
    one, two = build_encoder(spec).eval(), build_encoder(spec).eval()
    x = torch.randn(2, 3, SIZE, SIZE)
    assert not torch.equal(one(x), two(x))
    two.load_state_dict(one.state_dict())
    assert torch.equal(one(x), two(x))


def test_a_run_of_looc_plus_plus_is_loaded_finished_or_not(small: Recipe, tmp_path: Path) -> None:
    recipe = replace(small, host=HOSTS["moco_v2"], aware=("looc('color_jitter', separate=True)",), epochs=1)
    run = start(recipe, tmp_path / "run")
    state = run.load_state()
    assert state is not None
    trained = build_encoder(f"branched({recipe.encoder!r}, branches=2)").eval()
    prefix = "online.f."
    trained.load_state_dict({k.removeprefix(prefix): v for k, v in state["model"].items() if k.startswith(prefix)})
    x = torch.randn(4, 3, SIZE, SIZE)
    finished = load_encoder(str(run.path), device="cpu")
    weights = load_encoder(str(run.exported), device="cpu")
    run.exported.rename(tmp_path / "elsewhere.safetensors")
    stopped = load_encoder(str(run.path), device="cpu")
    for frozen in (finished, weights, stopped):
        assert frozen.dim == 2 * DIM
        assert torch.allclose(frozen(x), trained(x), atol=1e-6)


# --- wrong requests, and beside others


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("looc('rotate90')", ["names", "'rotate90'", "not in the pipeline", "color_jitter, crop"]),
        ("looc(['flop'])", ["'flop'", "did you mean 'flip'"]),
        ("looc(['color_diff'])", ["names", "'color_diff'", "measured", "accepted: crop, flip, color_jitter"]),
        ("looc(5)", ["names=(5,)", "must be names"]),
        ("looc([1])", ["names=(1,)", "must be names"]),
        ("looc(None)", ["names=(None,)", "must be names"]),
        ("looc(separate=1)", ["separate=1", "True or False"]),
        ("looc(separate='yes')", ["separate='yes'", "True or False"]),
        ("looc(name='flip')", ["'name'", "did you mean 'names'"]),
    ],
)
def test_a_wrong_looc_is_refused_in_one_line(spec: str, words: list[str]) -> None:
    with pytest.raises(RequestError) as refused:
        lookup.build("awareness", spec, Setting(DIM, camera().pipelines[0].spaces))
    assert all(word in str(refused.value) for word in words), str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("host", ["byol", "vicreg", "supervised"])
def test_a_host_without_negatives_is_refused_with_what_would_work(host: str) -> None:
    with pytest.raises(RequestError, match=r"'looc' needs negatives, .* use a contrastive host: moco_v2, moco_v3"):
        objective(host, "looc")


@pytest.mark.parametrize("other", ["cassle", "sie"])
def test_two_projectors_are_refused_by_name(other: str) -> None:
    with pytest.raises(RequestError, match=f"'looc' and '{other}' both make their own projector"):
        objective("simclr", "looc", other)


@pytest.mark.parametrize("aware", [["looc('color_jitter')", "shared"], ["shared", "looc('color_jitter')"]], ids=str)
def test_a_name_that_another_makes_equal_in_both_views_is_refused(aware: list[str]) -> None:
    with pytest.raises(RequestError, match=r"'looc' learns from what differs in 'color_jitter'.* leave 'color_jitter'"):
        objective("simclr", *aware)


@pytest.mark.parametrize("host", ["simclr", "moco_v2"])
def test_ifm_weighs_the_contrast_of_every_branch(host: str) -> None:
    spec = "looc(['color_jitter', 'flip'])"
    alone, none = objective(host, spec), objective(host, spec, "ifm(eps=0)")
    views = take(alone)
    none.plan(2)
    assert torch.equal(none(views)["loss"], alone(views)["loss"])
    for branch in range(3):  # one branch at a time, as the others are made to count nothing
        heard = [objective(host, *aware) for aware in ([spec], [spec, "ifm(eps=0.1)"])]
        for whole in heard:
            whole.plan(2)
            for i, h in enumerate(whole.hosts):
                if i != branch:
                    h.score = lambda positive, negatives, t: 0 * positive.sum()
        assert heard[0](views)["loss"] < heard[1](views)["loss"]
