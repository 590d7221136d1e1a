"""AI: a network that is told its invariances, codes drawn per step, and the code learnt with a task."""

from __future__ import annotations

import copy
import itertools
import json
import math
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import augaware
from augaware import lookup
from augaware.augment.plan import Camera
from augaware.awareness.base import Setting
from augaware.checkpoint import Run
from augaware.data.base import Source
from augaware.data.shapes import Shapes
from augaware.errors import RequestError
from augaware.frozen import Frozen, load_encoder
from augaware.hosts.base import Moment
from augaware.nets.base import Encoder, build_encoder, evaluating
from augaware.nets.ema import ema_copy
from augaware.nets.invariant import FORMS, Amortised, Invariant
from augaware.objective import Objective, encoder_spec
from augaware.pretrain import resume, start
from augaware.random import epoch_order, word
from augaware.recipe import Recipe
from augaware.tasks.learned_code import LearnedCode
from augaware.views import View, ViewPlan, plain_plan
from small_hosts import HOSTS, narrow

TINY = "tiny(widths=(8, 16))"
VIT = "vit_small(size=32, patch=16)"
NETWORKS = [
    (TINY, "film"),
    (TINY, "linear"),
    (TINY, "hyper"),
    ("resnet18", "film"),
    ("resnet18", "linear"),
    (VIT, "prompt"),
]
EACH = pytest.mark.parametrize(("encoder", "form"), NETWORKS)
APPEARANCE, SPATIAL, BOTH = (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)
AUGMENT = ("crop(scale=(0.2, 1.0))", "flip()", "color_jitter(0.4, 0.4, 0.4, 0.3, p=1)", "grayscale(p=0.2)")
BATCH = 12


def build(encoder: str, form: str, codes: int = 2) -> Invariant:
    torch.manual_seed(0)
    f = build_encoder(f"invariant({encoder!r}, codes={codes}, form={form!r}, hidden=4, prompts=3)")
    assert isinstance(f, Invariant)
    return f


built = cache(build)  # whose parameters a test leaves alone
ordinary = cache(build_encoder)


def images(count: int = 3, size: int = 32) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def rows(code: tuple[float, ...], count: int = 3) -> Tensor:
    return torch.tensor([code] * count)


# --- the encoder


@EACH
def test_at_one_code_it_is_an_ordinary_network(encoder: str, form: str) -> None:
    f, x = built(encoder, form), images()
    f.train()
    f(x, rows(BOTH))  # so that BN has statistics of its own
    for code in (APPEARANCE, (0.3, 0.6)):
        f.eval()
        plain = f.at(code)
        assert type(plain) is type(ordinary(encoder))
        assert not plain.training
        assert set(plain.state_dict()) - set(ordinary(encoder).state_dict()) == (
            {"backbone.norm_pre.token"} if form == "prompt" else set()
        )
        with torch.no_grad():
            assert torch.equal(plain(x), f(x, rows(code)))
            f.train()
            assert torch.equal(f.at(code)(x), f(x, rows(code)))  # by the batch's own statistics too


@EACH
def test_the_code_matters_and_has_a_gradient(encoder: str, form: str) -> None:
    f, x = built(encoder, form).train(), images()
    told = rows(SPATIAL).requires_grad_()
    y, direction = f(x, told), torch.randn(f.dim, generator=torch.Generator().manual_seed(2))
    (y @ direction).sum().backward()
    assert told.grad is not None
    assert told.grad[0].abs().min() > 0
    with torch.no_grad():
        assert (f(x, rows(APPEARANCE)) - y).norm() > 1e-3 * y.norm()


@EACH
def test_everything_in_it_is_trained_but_the_stored_code(encoder: str, form: str) -> None:
    f = built(encoder, form).train()
    trained = {name for name, p in f.named_parameters() if p.requires_grad}
    assert "backbone.code" not in trained
    for code in (APPEARANCE, BOTH):
        (f(images(), rows(code)) ** 3).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for name, p in f.named_parameters() if name in trained)
    if "resnet" not in encoder:  # its residual branches start at zero
        assert all(p.grad.abs().sum() > 0 for name, p in f.named_parameters() if name in trained), encoder


def test_the_stored_code_is_one_half_and_used_where_none_is_given() -> None:
    f, x = build(TINY, "film", codes=3).eval(), images()
    assert f.code.tolist() == [0.5, 0.5, 0.5]
    with torch.no_grad():
        assert torch.equal(f(x), f(x, rows((0.5, 0.5, 0.5))))
        before = f(x)
        f.code.copy_(torch.tensor([1.0, 0.0, 0.2]))
        assert torch.equal(f(x), f(x, rows((1.0, 0.0, 0.2))))
        assert not torch.equal(f(x), before)


def test_one_batch_has_one_network_that_of_its_first_row() -> None:
    f, x = build(TINY, "linear").eval(), images()
    with torch.no_grad():
        assert torch.equal(f(x, torch.tensor([SPATIAL, BOTH, APPEARANCE])), f(x, rows(SPATIAL)))


@pytest.mark.parametrize("form", ["film", "linear", "hyper"])
def test_the_parameters_are_those_of_the_formula(form: str) -> None:
    f, code = build(TINY, form), torch.tensor([0.3, 0.8])
    modules = dict(f.backbone.f.named_modules())
    made = f.backbone.made(code)
    if form == "film":
        assert {name.rpartition(".")[0] for name in made} == {
            name for name, m in modules.items() if isinstance(m, nn.BatchNorm2d)
        }
    else:  # every convolution but the stem's
        convolutions = [name for name, m in modules.items() if isinstance(m, nn.Conv2d)]
        assert list(made) == [f"{name}.weight" for name in convolutions[1:]]
        assert len(made) == 5
    for (name, value), delta in zip(made.items(), f.backbone.deltas, strict=True):
        p = f.backbone.f.get_parameter(name)
        if form == "film":
            change = code[0] * delta.weight[:, 0] + code[1] * delta.weight[:, 1]
            expected = p * (1 + change) if name.endswith("weight") else p + change
        elif form == "linear":
            (last,) = delta
            expected = p + sum(c * last.weight[:, k].view(p.shape) for k, c in enumerate(code))
        else:
            embed, first, relu, last = delta
            assert [embed.bias, last.bias, type(relu)] == [None, None, nn.ReLU]
            assert (embed.weight.shape, first.weight.shape) == ((16, 2), (4, 16))
            hidden = (first.weight @ (embed.weight @ code) + first.bias).clamp(min=0)
            expected = p + (last.weight @ hidden).view(p.shape)
        assert torch.allclose(value, expected, atol=1e-6)
        assert value.shape == p.shape


def test_the_prompt_is_the_mean_of_small_mlps_behind_cls_and_patches() -> None:
    f, code = build(VIT, "prompt"), torch.tensor([0.3, 0.8])
    (name, token), (mean,) = *f.backbone.made(code).items(), f.backbone.deltas
    assert name == "backbone.norm_pre.token"
    outputs = []
    for n in range(3):
        part = slice(384 * n, 384 * (n + 1))
        hidden = (mean.first.weight[part] @ code + mean.first.bias[part]).clamp(min=0)
        outputs.append(mean.last.weight[:, part] @ hidden)
    assert torch.allclose(token, torch.stack(outputs).mean(0), atol=1e-6)
    seen: list[Tensor] = []
    f.backbone.f.backbone.blocks.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    f(images(), code.expand(3, 2))
    assert seen[0].shape == (3, 1 + 4 + 1, 384)
    assert torch.equal(seen[0][:, -1], token.expand(3, 384))


@EACH
def test_made_weights_stay_in_the_memory_format(encoder: str, form: str) -> None:
    f = built(encoder, form).to(memory_format=torch.channels_last)
    for value in f.backbone.made(torch.tensor([0.2, 0.9])).values():
        assert value.ndim != 4 or value.is_contiguous(memory_format=torch.channels_last)
    assert f(images().contiguous(memory_format=torch.channels_last), rows(BOTH)).isfinite().all()


@pytest.mark.parametrize(("encoder", "form"), [pair for pair in NETWORKS if pair[0] != "resnet18"])
def test_the_state_of_the_backbone_is_all_of_it(encoder: str, form: str) -> None:
    one, x = build(encoder, form).eval(), images()
    torch.manual_seed(5)
    other = build_encoder(f"invariant({encoder!r}, form={form!r}, hidden=4, prompts=3)").eval()
    target = ema_copy(one)
    with torch.no_grad():
        one.code.copy_(torch.tensor([0.1, 0.9]))
        assert not torch.equal(one(x), other(x))
        other.backbone.load_state_dict(one.backbone.state_dict())
        assert torch.equal(one(x), other(x))
        assert torch.equal(one(x, rows(BOTH)), target(x, rows(BOTH)))
    assert not any(p.requires_grad for p in target.parameters())
    assert not {id(p) for p in target.parameters()} & {id(p) for p in one.parameters()}


def test_in_half_precision_a_small_change_is_not_lost() -> None:
    f = build(TINY, "film")
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        f.backbone.deltas[0].weight.fill_(1e-4)
        made = f.backbone.made(torch.tensor(BOTH))
        assert next(iter(made.values()))[0].item() == pytest.approx(1.0002, abs=1e-6)
        assert f(images(), rows(BOTH)).isfinite().all()


def test_specs_nest_with_quotes_of_their_own() -> None:
    f = build_encoder("invariant(\"tiny(widths=(8, 16))\", form='linear')")
    assert f.dim == 16
    inner = "resnet18(stem='cifar')"
    assert build_encoder(f"invariant({inner!r})").dim == 512


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("invariant('resnet18', form='prompt')", ["a ViT of timm's", "use form='film' or 'linear' or 'hyper'"]),
        (f"invariant({VIT!r})", ["form='film' needs BatchNorm2d", "use form='prompt'"]),
        (f"invariant({VIT!r}, form='hyper')", ["convolutions after the first", "use form='prompt'"]),
        ("invariant('pixels')", ["no form fits"]),
        ("invariant('resnet18', form='bias')", ["form='bias'", "accepted: film, linear, hyper, prompt"]),
        ("invariant('resnet18', form=3)", ["form=3"]),
        ("invariant('resnet18', codes=0)", ["codes=0", "at least 1"]),
        ("invariant('resnet18', hidden='x')", ["hidden='x'"]),
        ("invariant('resnet18', prompts=1.5)", ["prompts=1.5"]),
        ("invariant(18)", ["encoder=18", "a spec in quotes"]),
        ("invariant('resnet81')", ["did you mean 'resnet18'"]),
        (f"invariant(\"invariant('{TINY}')\")", ["reads 'invariance' already"]),
    ],
)
def test_a_wrong_invariant_encoder_is_refused_in_one_line(spec: str, words: list[str]) -> None:
    with pytest.raises(RequestError) as refused:
        build_encoder(spec)
    assert all(word in str(refused.value) for word in words), str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_code_of_another_length_is_refused() -> None:
    with pytest.raises(RequestError, match="must be 2 numbers, one per invariance"):
        build(TINY, "film").at([1, 0, 1])


# --- codes and views


def recipe(aware: tuple[str, ...] = ("ai()",), host: str = "simclr", augment: tuple[str, ...] = AUGMENT) -> Recipe:
    return Recipe(data="shapes", encoder=TINY, host=narrow(host), aware=aware, augment=augment, size=16)


def objective(of: Recipe, camera: Camera) -> Objective:
    torch.manual_seed(0)
    spaces = camera.pipelines[0].spaces
    return Objective.from_specs(
        build_encoder(encoder_spec(of.encoder, of.aware, spaces)), of.host, of.aware, spaces, classes=4
    )


def awareness(spec: str = "ai()", augment: tuple[str, ...] = AUGMENT) -> nn.Module:
    made = lookup.build("awareness", spec, Setting(16, Camera(recipe((), augment=augment)).pipelines[0].spaces))
    assert isinstance(made, nn.Module)
    return made


PIXELS = torch.randint(0, 256, (BATCH, 3, 24, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))
SIZES = torch.tensor([[24, 20]]).expand(BATCH, 2)


def take(camera: Camera, plan: tuple[ViewPlan, ...], epoch: int = 0) -> list[View]:
    camera.check(plan, BATCH)
    return camera.take(plan, PIXELS, SIZES, torch.arange(BATCH), 0, epoch)


def test_every_code_has_a_number_and_all_are_drawn_alike_from_the_state_of_the_step() -> None:
    ai = awareness()
    assert ai.codes == [APPEARANCE, SPATIAL, BOTH]
    assert ai.groups == [("crop", "flip"), ("color_jitter", "grayscale")]
    drawn = []
    for step in range(180):
        torch.manual_seed(step)
        plan = ai.plan(plain_plan(2))
        assert {view.given["invariance"] for view in plan} == {ai.codes[ai.drawn]}
        torch.manual_seed(step)
        assert ai.plan(plain_plan(2)) == plan
        drawn.append(ai.drawn)
    assert all(abs(drawn.count(code) - 60) < 3 * math.sqrt(180 * 2 / 9) for code in range(3))


def test_the_pixels_of_a_step_follow_its_code() -> None:
    camera, ai = Camera(recipe()), awareness()
    whole = take(camera, (ViewPlan(0, only=frozenset()),))[0]
    identity = {a.name: torch.tensor(a.identity).expand(BATCH, -1) for a in camera.pipelines[0].augmentations}
    seen = set()
    for step in range(12):
        torch.manual_seed(step)
        views = take(camera, ai.plan(plain_plan(2)))
        code = views[0].omega["invariance"]
        assert code.shape == (BATCH, 2)
        assert torch.equal(code, views[1].omega["invariance"])
        spatial, appearance = code[0].tolist()
        seen.add((spatial, appearance))
        for number, view in enumerate(views):
            plain = take(camera, plain_plan(2))[number].omega
            for names, acts in ((("crop", "flip"), spatial), (("color_jitter", "grayscale"), appearance)):
                for name in names:
                    assert torch.equal(view.omega[name], plain[name] if acts else identity[name]), name
            assert not torch.equal(view.image, whole.image)
    assert seen == {APPEARANCE, SPATIAL, BOTH}


def test_groups_may_be_named_and_what_is_in_none_always_acts() -> None:
    ai = awareness("ai(groups=[['crop'], ['color_jitter'], ['flip']])")
    assert len(ai.codes) == ai.branches == 7
    assert set(ai.codes) == set(itertools.product((0.0, 1.0), repeat=3)) - {(0.0, 0.0, 0.0)}
    assert "codes=3" in ai.encoder(TINY)
    for step in range(20):
        torch.manual_seed(step)
        (view,) = ai.plan(plain_plan(1))
        crop, jitter, flip = ai.codes[ai.drawn]
        acting = {name for name, acts in (("crop", crop), ("color_jitter", jitter), ("flip", flip)) if acts}
        assert view.only == acting | {"grayscale"}


def test_views_that_another_awareness_planned_keep_their_own_purpose() -> None:
    ai = awareness()
    whole = ViewPlan(0, only=frozenset())
    turned = ViewPlan(0, size=8, change=("crop(scale=(0.05, 0.14))", "rotate90(p=1)"), given={"told": (2.0,)})
    for step in range(12):
        torch.manual_seed(step)
        first, second, third = ai.plan((*plain_plan(1), whole, turned))
        assert second.only == frozenset()
        assert third.only is not None
        assert third.only >= {"crop", "rotate90"}
        assert third.only - {"crop", "rotate90"} == first.only - {"crop"}
        assert third.given == {"told": (2.0,), "invariance": ai.codes[ai.drawn]}
        Camera(recipe()).check((first, second, third), BATCH)


def test_the_encoder_is_the_recipes_in_the_form_asked_for() -> None:
    f = build_encoder(encoder_spec(TINY, ["ai('linear')"], Camera(recipe()).pipelines[0].spaces))
    assert isinstance(f, Invariant)
    assert len(f.code) == 2
    assert f.backbone.names[0] == "backbone.1.conv1.weight"


@pytest.mark.parametrize(
    ("spec", "augment", "words"),
    [
        ("ai()", AUGMENT[:2], ["no appearance augmentation", "such as color_jitter", "crop, flip"]),
        ("ai()", AUGMENT[2:], ["no spatial augmentation", "such as crop"]),
        ("ai()", (), ["(nothing) has no spatial"]),
        ("ai(form='bias')", AUGMENT, ["form='bias'", "accepted: film, linear, hyper, prompt"]),
        ("ai(hidden=0)", AUGMENT, ["hidden=0"]),
        ("ai(groups=['crop', 'flip'])", AUGMENT, ["two or more lists"]),
        ("ai(groups=[['crop']])", AUGMENT, ["two or more lists"]),
        ("ai(groups=[['crop'], []])", AUGMENT, ["two or more lists"]),
        ("ai(groups=[['crop'], ['solarise']])", AUGMENT, ["'solarise'", "not in the pipeline"]),
        ("ai(groups=[['crop'], ['color_diff']])", AUGMENT, ["'color_diff'", "measured, not drawn", "color_jitter"]),
        ("ai(groups=[['crop'], ['flip', 'crop']])", AUGMENT, ["'crop' in two groups"]),
    ],
)
def test_a_wrong_ai_is_refused_in_one_line(spec: str, augment: tuple[str, ...], words: list[str]) -> None:
    with pytest.raises(RequestError) as refused:
        awareness(spec, augment)
    assert all(word in str(refused.value) for word in ("awareness 'ai'", *words)), str(refused.value)
    assert "\n" not in str(refused.value)


def test_ai_and_another_projector_are_refused() -> None:
    of = recipe(("ai()", "cassle(depth=1, width=4)"))
    with pytest.raises(RequestError, match="'ai' and 'cassle' both make their own projector"):
        objective(of, Camera(of))


# --- training


@pytest.mark.parametrize("aware", [("ai()",), ("ai('hyper', hidden=4)", "augself(hidden=8)")], ids=str)
@pytest.mark.parametrize("host", HOSTS)
def test_every_host_trains_and_only_the_branch_of_the_steps_code_learns_and_remembers(
    host: str, aware: tuple[str, ...]
) -> None:
    of = recipe(aware, host)
    camera = Camera(of)
    whole = objective(of, camera)
    ai = whole.awareness["ai"]
    assert len(whole.hosts) == 3
    optimizer = torch.optim.SGD([p for p in whole.parameters() if p.requires_grad], 0.05)
    reached: set[str] = set()
    for step, seed in enumerate((0, 1, 2, 3)):
        torch.manual_seed(seed)
        now = Moment(step, 4, 4)
        whole.before_step(now)
        plan = whole.plan(2)
        before = copy.deepcopy([dict(h.named_buffers()) for h in whole.hosts])
        parts = whole(take(camera, plan, epoch=step), torch.arange(BATCH) % 4)
        assert all(value.isfinite() for value in parts.values())
        optimizer.zero_grad()
        parts["loss"].backward()
        whole.after_backward(now)
        for name, p in whole.named_parameters():
            assert p.grad is None or p.grad.isfinite().all(), name
            if p.grad is not None and p.grad.abs().sum() > 0:
                reached.add(name)
        for branch, g in enumerate(whole.online.g.heads):
            slopes = [float(p.grad.abs().sum()) for p in g.parameters() if p.grad is not None]
            assert (sum(slopes) > 0) == (branch == ai.drawn)
        optimizer.step()
        whole.after_step(now)
        moved = [
            any(not torch.equal(buffer, before[k][name]) for name, buffer in h.named_buffers() if buffer.numel())
            for k, h in enumerate(whole.hosts)
        ]
        assert [k for k, m in enumerate(moved) if m] in ([], [ai.drawn])
        if host == "moco_v2":
            assert moved[ai.drawn]
    assert any(name.startswith("online.f.backbone.f.") for name in reached)
    assert any(name.startswith("online.f.backbone.deltas.") for name in reached)
    assert whole.online.f.code.tolist() == [0.5, 0.5]


def test_the_target_reads_the_same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    of = recipe(host="byol")
    camera = Camera(of)
    whole = objective(of, camera)
    assert whole.target is not None
    told: list[Tensor] = []
    forward = Invariant.forward

    def watched(self: Invariant, x: Tensor, code: Tensor | None = None) -> Tensor:
        assert code is not None
        told.append(code)
        return forward(self, x, code)

    monkeypatch.setattr(Invariant, "forward", watched)
    whole(take(camera, whole.plan(2)))
    assert len(told) == 2
    assert all(torch.equal(code, rows(whole.awareness["ai"].codes[whole.awareness["ai"].drawn], 24)) for code in told)


@pytest.mark.slow
def test_after_training_the_code_moves_the_invariance_the_way_it_says() -> None:
    """Centred cosine of f(x) and f(t(x)): for t of appearance it is higher at [0, 1], for spatial t at [1, 0].

    So with film in 11 of 11 runs of 100 steps or more, in 2 of 3 of 80 smaller ones; linear and hyper separate later.
    """
    size, steps, batch, seed = 24, 100, 64, 0
    of = recipe().changed({"size": size, "mean": (0.3, 0.3, 0.3), "std": (0.25, 0.25, 0.25)})
    camera = Camera(of)
    whole = objective(of, camera).to(memory_format=torch.channels_last)
    drawn, per_epoch = Shapes(256, size).batch(torch.arange(256)), 256 // batch
    optimizer = torch.optim.SGD([p for p in whole.parameters() if p.requires_grad], 0.5, 0.9, weight_decay=5e-4)
    for step in range(steps):
        torch.manual_seed(word(seed, step))
        epoch, place = divmod(step, per_epoch)
        index = epoch_order(256, seed, epoch)[place * batch :][:batch]
        views = camera.take(whole.plan(2), drawn.pixels[index], drawn.sizes[index], index, seed, epoch)
        optimizer.param_groups[0]["lr"] = 0.25 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        whole(views)["loss"].backward()
        optimizer.step()
    seen = Shapes(256, size, seed=99).batch(torch.arange(256))
    only = [frozenset(), frozenset({"color_jitter", "grayscale"}), frozenset({"crop", "flip"})]
    plan = tuple(ViewPlan(0, only=names) for names in only)
    plain, appearance, spatial = camera.take(plan, seen.pixels, seen.sizes, seen.index, 7, 0)
    f = whole.online.f
    cosines = []
    with evaluating(f), torch.no_grad():
        for code in (APPEARANCE, SPATIAL):
            y, *others = (f(view.image, rows(code, 256)) for view in (plain, appearance, spatial))
            centred = [F.cosine_similarity(y - y.mean(0), other - y.mean(0)).mean().item() for other in others]
            cosines.append(centred)
    (appearance_1, spatial_1), (appearance_2, spatial_2) = cosines
    assert appearance_1 > appearance_2, cosines
    assert spatial_1 < spatial_2, cosines


# --- the run folder


@pytest.fixture(scope="module")
def finished(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    changes = {"aware": ("ai('linear')",), "epochs": 1, "snapshots": 1, "host": "simclr()"}
    return start(small.changed(changes), tmp_path_factory.mktemp("run") / "finished").path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_an_exported_run_names_the_encoder_that_it_trained_and_loads_again(run: Path) -> None:
    spec = json.loads((run / "export" / "config.json").read_text())["encoder"]
    assert spec.startswith("invariant('tiny(widths=(8, 16))', codes=2, form='linear'")
    x = images(size=16)
    whole = load_encoder(str(run), device="cpu")
    assert isinstance(whole.f, Invariant)
    assert whole.recipe["encoder"] == TINY  # as the user wrote it
    file = load_encoder(str(run / "export" / "encoder.safetensors"), device="cpu")
    snapshot = load_encoder(str(next((run / "snapshots").glob("*.safetensors"))), device="cpu")
    (run / "export" / "encoder.safetensors").unlink()
    unfinished = load_encoder(str(run), device="cpu")
    with torch.no_grad():
        for other in (file, snapshot, unfinished):
            assert torch.equal(whole(x), other(x))
        assert torch.equal(whole(x), whole.f(x, rows((0.5, 0.5))))
    resume(run)
    with torch.no_grad():
        assert torch.equal(load_encoder(str(run), device="cpu")(x), whole(x))


def test_a_run_is_evaluated_by_any_task_and_by_its_own(run: Path) -> None:
    drawn = "shapes(train=60, val=20, test=30, size=16)"
    knn, learned = augaware.evaluate(
        str(run), [f"knn({drawn!r}, k=5)", f"learned_code({drawn!r}, epochs=2)"], device="cpu"
    )
    assert 0 <= knn["metrics"]["test"] <= 1
    assert len(learned["metrics"]["code"]) == 2
    assert learned["protocol"] == "learned_code/1"
    assert len(list((run / "eval").iterdir())) == 2


def test_a_run_without_an_encoder_of_its_own_exports_the_recipes(small: Recipe, tmp_path: Path) -> None:
    of = small.changed({"aware": ("augself(hidden=8)",)})
    file = Run.create(tmp_path / "run", of, {}).export(build_encoder(of.encoder))
    assert json.loads(file.with_name("config.json").read_text())["encoder"] == of.encoder


# --- the task


class Memory(Source):
    """Two classes of grey images, told apart by a brightness of the middle row."""

    def __init__(self, count: int, seed: int, labelled: bool = True) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(2, (count,), generator=generator) if labelled else None
        self.pixels = torch.randint(90, 110, (count, 3, 8, 8), generator=generator).to(torch.uint8)
        if self.labels is not None:
            self.pixels += (15 * self.labels).to(torch.uint8)[:, None, None, None]
        self.name, self.classes, self.names = "memory", ("dark", "light"), [str(i) for i in range(count)]
        self.factors, self.skipped, self.fingerprint = {}, (), "0"

    def __len__(self) -> int:
        return len(self.pixels)

    def load(self, index: int) -> Tensor:
        return self.pixels[index]


SPLITS = {name: Memory(count, seed) for seed, (name, count) in enumerate((("train", 50), ("val", 20), ("test", 30)))}


class Colour(nn.Module):
    """The mean colour times a gain."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) * self.gain


def frozen(f: Encoder, size: int = 8) -> Frozen:
    return Frozen(f, "mine", {}, size, (0.4, 0.4, 0.4), (0.1, 0.1, 0.1))


@pytest.mark.parametrize(("change", "wanted"), [(-1.0, 0.0), (1.0, 1.0)])
@pytest.mark.parametrize("rounded", [False, True])
def test_the_task_learns_the_code_that_keeps_what_it_needs(change: float, wanted: float, rounded: bool) -> None:
    """The features are (1 + change code) times the colour: the less they are scaled down, the lower the loss."""
    delta = nn.Linear(1, 3, bias=False)
    nn.init.constant_(delta.weight, change)
    f = Invariant(Amortised(Encoder(Colour(), 3), {"backbone.gain": delta}, 1, gains=["backbone.gain"]), 3)
    found = LearnedCode("memory", epochs=60, batch_size=16, rounded=rounded)(frozen(f), SPLITS)
    (code,) = found["code"]
    assert abs(code - wanted) < (1e-6 if rounded else 0.35)
    assert found["test"] > 0.9
    assert found["val"] > 0.9
    assert found["n"] == {"train": 50, "val": 20, "test": 30}
    assert found["standard_error"] == pytest.approx(math.sqrt(found["test"] * (1 - found["test"]) / 30))
    assert f.code.tolist() == [0.5]


def test_the_task_repeats_itself_and_leaves_the_encoder_as_it_was() -> None:
    f = build(TINY, "film").train()
    encoder = frozen(f)
    f.requires_grad_(True)  # even an encoder that could be trained
    f.backbone.f.train()
    state, flags = copy.deepcopy(f.state_dict()), [m.training for m in f.modules()]
    one, two = (LearnedCode("memory", epochs=3)(encoder, SPLITS) for _ in range(2))
    assert one == two
    assert one["code"] != [0.5, 0.5]
    assert all(0 <= number <= 1 for number in one["code"])
    assert json.loads(json.dumps(one)) == one
    assert all(torch.equal(value, state[name]) for name, value in f.state_dict().items())
    assert [m.training for m in f.modules()] == flags
    assert all(p.grad is None for p in f.parameters())


def test_the_task_reads_a_folder_of_labelled_images(image_folder: Path, tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        shutil.copytree(image_folder, tmp_path / "mine" / split)
    task = LearnedCode("mine", epochs=2)
    found = task(frozen(build(TINY, "hyper"), size=16), task.splits(tmp_path))
    assert found["n"] == {"train": 24, "val": 24, "test": 24}
    assert found["test"] == found["val"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": "x"}, "batch_size='x'"),
        ({"rounded": 1}, "rounded=1"),
        ({"metric": "auc"}, "accepted: top1, class_average"),
    ],
)
def test_a_wrong_argument_of_the_task_is_refused(arguments: dict[str, object], word: str) -> None:
    with pytest.raises(RequestError, match="task 'learned_code'") as refused:
        LearnedCode("memory", **arguments)  # type: ignore[arg-type]
    assert word in str(refused.value)


def test_the_task_refuses_encoders_without_a_code_and_data_without_labels() -> None:
    task = LearnedCode("memory")
    with pytest.raises(RequestError, match=r"'mine' takes no invariance code; .* linear_probe\('memory'\)"):
        task(frozen(build_encoder(TINY)), SPLITS)
    coded = frozen(build(TINY, "film"))
    with pytest.raises(RequestError, match="no split 'val'"):
        task(coded, {"train": SPLITS["train"]})
    with pytest.raises(RequestError, match="no two classes"):
        task(coded, {**SPLITS, "train": Memory(8, 0, labelled=False)})
    broken = build(TINY, "film")
    with torch.no_grad():
        broken.backbone.deltas[0].weight.fill_(math.nan)
    with pytest.raises(RequestError, match="not finite: the encoder's training diverged"):
        LearnedCode("memory", epochs=1)(frozen(broken), SPLITS)


def test_every_form_is_tested() -> None:
    assert {form for _, form in NETWORKS} == set(FORMS)
