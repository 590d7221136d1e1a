"""How far augmentations move an image: measures by hand, encoders whose truth is known, where a network is read."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augaware.analysis.alone import Alone
from augaware.analysis.base import Number
from augaware.analysis.sensitivity import Sensitivity, compare, numbers_of, unit
from augaware.analysis.stages import stages, watching
from augaware.analysis.subject import Subject
from augaware.data.shapes import Shapes
from augaware.errors import RequestError
from augaware.frozen import Frozen, freeze
from augaware.nets.base import build_encoder
from augaware.objective import Objective
from augaware.random import Draws, bootstrap
from augaware.recipe import DEFAULT_AUGMENT
from known_encoders import SIZE, ColourBlind, Constant, FlipBlind, Keeps, TurnBlind, known

T = 0.2
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
AUGMENT = ("crop(scale=(0.2, 1.0))", "flip()", "color_jitter(0.4, 0.4, 0.4, 0.1)", "gaussian_blur()", "rotate90()")


def asked(
    encoder: Frozen, n: int = 60, objective: Objective | None = None, augment: tuple[str, ...] = AUGMENT
) -> Subject:
    alone = Alone(augment, encoder.size, encoder.mean, encoder.std)
    return Subject(encoder, Shapes(max(n, 1), size=24), alone, n, 0, objective)


@cache
def told_by(kind: type[nn.Module], n: int = 60) -> tuple[Number, ...]:
    return tuple(Sensitivity()(asked(known(kind), n)))


def value(numbers: tuple[Number, ...], measure: str, of: str, stage: str = "y", at: float | None = None) -> float:
    (found,) = [x for x in numbers if (x.measure, x.of, x.stage, x.at) == (measure, of, stage, at)]
    assert found.low is not None
    assert found.high is not None
    assert found.low - 1e-12 <= found.value <= found.high + 1e-12
    return found.value


def pairs(n: int, d: int = 6) -> tuple[Tensor, Tensor]:
    """Images with something in common, and their versions."""
    numbers = Draws.of(3, 0, torch.arange(n), 0).normal(2 * d)
    c, noise = numbers[:, :d] + 0.5, numbers[:, d:]
    return unit(c), unit(c + 0.7 * noise)


# ---- the measures


def test_the_cosines_and_info_nce_are_those_of_a_slow_transcription() -> None:
    c, a = pairs(9)
    s = [[math.fsum(float(p) * float(q) for p, q in zip(x, y, strict=True)) for y in a] for x in c]
    positive = [s[i][i] for i in range(9)]
    negative = math.fsum(s[i][j] for i in range(9) for j in range(9) if i != j) / 72
    info_nce = [-math.log(math.exp(s[i][i] / T) / math.fsum(math.exp(x / T) for x in s[i])) for i in range(9)]
    found = compare(c, a, T).double()
    assert found[0].tolist() == pytest.approx(positive, abs=1e-6)
    assert float(found[1].mean()) == pytest.approx(negative, abs=1e-6)
    assert found[2].tolist() == pytest.approx(info_nce, abs=1e-5)
    moved = next(n for n in numbers_of(found, "flip", "y") if n.measure == "moved")
    assert moved.value == pytest.approx((1 - sum(positive) / 9) / (1 - negative), abs=1e-6)


@pytest.mark.parametrize("n", [2, 7, 64])
def test_info_nce_of_what_cannot_be_told_apart_is_log_n_and_of_orthogonal_pairs_its_least(n: int) -> None:
    equal = torch.full((n, 5), 5**-0.5)
    assert compare(equal, equal, T)[2].tolist() == pytest.approx([math.log(n)] * n, abs=1e-5)
    apart = torch.eye(n)
    assert compare(apart, apart, T)[2].tolist() == pytest.approx(
        [math.log(1 + (n - 1) * math.exp(-1 / T))] * n, abs=1e-6
    )


def test_an_image_that_did_not_move_is_exactly_where_it_was() -> None:
    c, _ = pairs(50, 400)
    assert compare(c, c, T)[0].tolist() == [1.0] * 50


def test_intervals_are_as_wide_as_a_bootstrap_over_images_says() -> None:
    n = 150
    c, a = (x.double() for x in pairs(n))
    s = c @ a.T
    found = {}
    drawn: dict[str, list[float]] = {"positive": [], "negative": [], "moved": []}
    for rows in bootstrap(n, 400):
        other = rows[:, None] != rows[None]  # not an image and itself
        positive, negative = float(s.diagonal()[rows].mean()), float(s[rows][:, rows][other].mean())
        for key, x in zip(drawn, (positive, negative, (1 - positive) / (1 - negative)), strict=True):
            drawn[key].append(x)
    for number in numbers_of(compare(c.float(), a.float(), T), "flip", "y"):
        found[number.measure] = number
    for key, values in drawn.items():
        low, high = found[key].low, found[key].high
        assert low is not None
        assert high is not None
        assert (high - low) / (2 * 1.96) == pytest.approx(float(torch.tensor(values).std()), rel=0.15)


# ---- encoders whose truth is known


def test_an_encoder_is_moved_by_what_it_is_not_blind_to_and_by_nothing_else() -> None:
    for kind, of in ((FlipBlind, "flip"), (TurnBlind, "rotate90")):
        assert abs(value(told_by(kind), "moved", of)) < 1e-6
        assert value(told_by(kind), "positive", of) == pytest.approx(1, abs=1e-6)
        assert value(told_by(Keeps), "moved", of) > 0.3
    assert value(told_by(TurnBlind), "moved", "color_jitter") > 0.1
    assert value(told_by(FlipBlind), "moved", "rotate90") > 0.3
    assert value(told_by(FlipBlind), "info_nce", "flip") < value(told_by(Keeps), "info_nce", "flip")


def test_the_colour_blind_see_little_of_a_change_of_hue() -> None:
    hue = ("color_jitter(0, 0, 0, 0.5, p=1)",)
    seen, unseen = (tuple(Sensitivity()(asked(known(kind), augment=hue))) for kind in (Keeps, ColourBlind))
    assert value(unseen, "moved", "color_jitter") < value(seen, "moved", "color_jitter") / 3


def test_the_pixels_are_the_same_for_all() -> None:
    for measure in ("moved", "positive", "negative", "info_nce"):
        assert value(told_by(Keeps), measure, "crop", "pixels") == value(told_by(TurnBlind), measure, "crop", "pixels")


@pytest.mark.parametrize("of", ["crop", "color_jitter", "gaussian_blur"])
def test_stronger_augmentations_move_further(of: str) -> None:
    for measure in ("moved", "info_nce"):
        curve = [value(told_by(Keeps), measure, of, at=at) for at in (0.25, 0.5, 0.75, 1.0)]
        assert curve == sorted(curve)
        assert curve[0] < curve[-1]
        assert curve[-1] == pytest.approx(value(told_by(Keeps), measure, of), rel=1e-6)


def test_what_has_no_half_has_no_curve() -> None:
    assert {x.of for x in told_by(Keeps) if x.at is not None} == set(asked(known(Keeps)).alone.gradual)


@pytest.mark.parametrize("n", [2, 3, 20])
def test_a_collapsed_encoder_and_few_images_are_answered(n: int) -> None:
    numbers = told_by(Constant, n)
    assert {x.measure for x in numbers if x.stage == "y"} == {"positive", "negative", "info_nce"}  # moved: 0 / 0
    assert value(numbers, "info_nce", "flip") == pytest.approx(math.log(n), abs=1e-5)
    (chance,) = [x.value for x in numbers if x.measure == "chance"]
    assert chance == pytest.approx(math.log(n))


def test_one_image_is_refused() -> None:
    assert Sensitivity().refusal(asked(known(Keeps), 1)) == "it compares different images; give at least 2"
    assert Sensitivity().refusal(asked(known(Keeps), 2)) is None


def test_batches_are_equal_and_hold_two_images_at_least() -> None:
    for n, batch, sizes in ((1000, 256, [250] * 4), (300, 256, [300]), (20, 256, [20]), (5, 1, [3, 2])):
        assert [len(part) for part in Sensitivity(batch)._split(torch.arange(n))] == sizes
    subject = asked(known(Keeps), 60)
    found = tuple(Sensitivity(batch=20)(subject))
    assert value(found, "info_nce", "flip") < value(told_by(Keeps), "info_nce", "flip")  # among fewer, it is easier
    assert next(x.value for x in found if x.measure == "chance") == pytest.approx(math.log(20))


@pytest.mark.parametrize("arguments", [{"batch": 0}, {"batch": 2.5}, {"temperature": 0}, {"temperature": "warm"}])
def test_a_wrong_argument_is_named(arguments: dict[str, object]) -> None:
    (key,) = arguments
    with pytest.raises(RequestError, match=f"analysis 'sensitivity': {key}="):
        Sensitivity(**arguments)  # type: ignore[arg-type]


# ---- where a network is read


class Functional(nn.Module):
    """A network of a user's: blocks in a list, one activation for all."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.body = nn.ModuleList([nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()) for _ in range(9)])
        self.relu = nn.ReLU()
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        for block in self.body:
            x = self.relu(block(x))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


def plain_sequence() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 7)),
    )


def names_of(network: nn.Module, size: int) -> list[str]:
    network.eval()
    return list(stages(network, torch.zeros(2, 3, size, size)))


@pytest.mark.parametrize(
    ("spec", "size", "names"),
    [
        ("tiny", 24, ["stem", "stage 1", "stage 2", "stage 3"]),
        ("tiny(widths=(4, 8))", 24, ["stem", "stage 1", "stage 2"]),
        ("branched('tiny')", 24, ["stem", "stage 1", "stage 2", "stage 3"]),
        ("invariant('tiny')", 24, ["stem", "stage 1", "stage 2", "stage 3"]),
        ("timm/resnet10t", 64, ["stem", "layer1", "layer2", "layer3", "layer4"]),
        ("torchvision/resnet18", 64, ["stem", "layer1", "layer2", "layer3", "layer4"]),
        ("resnet18(stem='cifar')", 32, ["stem", "layer1", "layer2", "layer3", "layer4"]),
        ("timm/convnext_atto", 64, ["stem", *(f"stages.{k}" for k in range(4))]),
        ("vit_small(size=32)", 32, ["stem", *(f"blocks.{k}" for k in (1, 4, 6, 9, 11))]),
        ("pixels", 24, []),
    ],
)
def test_stages_of_networks_by_name(spec: str, size: int, names: list[str]) -> None:
    assert names_of(build_encoder(spec), size) == names


def test_stages_of_networks_of_yours() -> None:
    assert names_of(plain_sequence(), 24) == ["stem", "stage 3"]
    assert names_of(freeze(plain_sequence(), size=24), 24) == ["stem", "stage 3"]  # however deep it is wrapped
    assert names_of(Functional(), 12) == ["stem", "body.1", "body.3", "body.4", "body.6", "body.8"]
    assert names_of(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5), nn.ReLU(), nn.Linear(5, 5)), 8) == []
    assert names_of(Keeps(), 24) == []


def test_a_stage_ends_after_its_norm_activation_and_pooling_but_before_everything_is_pooled() -> None:
    places = stages(network := plain_sequence().eval(), torch.zeros(2, 3, 24, 24))
    assert list(places.values()) == [network[2], network[5]]
    resnet = build_encoder("torchvision/resnet18").eval()
    assert next(iter(stages(resnet, torch.zeros(2, 3, 64, 64)).values())) is resnet.backbone.maxpool


def test_watching_leaves_no_hook_behind() -> None:
    network, heard = plain_sequence().eval(), list[tuple[str, torch.Size]]()
    places = stages(network, torch.zeros(2, 3, 24, 24))
    with watching(places, lambda name, x: heard.append((name, x.shape))):
        network(torch.zeros(5, 3, 24, 24))
    assert heard == [("stem", torch.Size([5, 4, 5, 5])), ("stage 3", torch.Size([5, 6, 3, 3]))]
    assert not any(module._forward_hooks for module in network.modules())


def test_each_stage_is_read_where_it_is() -> None:
    """Against the network taken apart by hand; an activation that overwrites its input does no harm."""
    torch.manual_seed(0)
    network = plain_sequence().eval()
    subject = asked(freeze(network, size=24), 30)
    numbers = tuple(Sensitivity()(subject))
    (plain,) = subject.views()
    (flipped,) = subject.views(["flip"])
    for stage, end in (("pixels", 0), ("stem", 3), ("stage 3", 6), ("y", 9)):
        with torch.no_grad():
            c, a = (network[:end](v.image.clone()).flatten(1) for v in (plain, flipped))
        cosine = F.cosine_similarity(c[:, None], a[None], dim=2)
        positive, others = cosine.diagonal(), cosine[~torch.eye(30, dtype=torch.bool)]
        assert value(numbers, "positive", "flip", stage) == pytest.approx(float(positive.mean()), abs=1e-5)
        assert value(numbers, "negative", "flip", stage) == pytest.approx(float(others.mean()), abs=1e-5)
        info_nce = F.cross_entropy(cosine / T, torch.arange(30))
        assert value(numbers, "info_nce", "flip", stage) == pytest.approx(float(info_nce), abs=1e-4)


def objective(f: nn.Module, alone: Alone, *aware: str) -> Objective:
    host = "simclr(proj_hidden_dim=8, proj_output_dim=4)"
    return Objective.from_specs(f, host, aware, alone.pipeline.spaces)  # type: ignore[arg-type]


def test_an_encoder_is_asked_once_for_each_view_and_left_as_it_was() -> None:
    torch.manual_seed(0)
    f = build_encoder("tiny(widths=(4, 8))")
    frozen = Frozen(f, "small", {}, SIZE, MEAN, STD)
    f.backbone[1].train()  # whoever left it so
    subject = asked(frozen, 40, objective(f, Alone(DEFAULT_AUGMENT, SIZE, MEAN, STD), "cassle(depth=1, width=4)"))
    state = {key: x.clone() for key, x in frozen.state_dict().items()}
    flags = [module.training for module in frozen.modules()]
    calls = list[int]()
    counting = frozen.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    numbers = Sensitivity()(subject)
    views = 1 + len(subject.alone.names)
    assert sorted(calls) == [2, *[40] * (views + 3 * len(subject.alone.gradual))]  # 2 to find the stages
    remembered = subject.embed(["flip"]), subject.embed()
    assert len(calls) == 1 + views + 3 * len(subject.alone.gradual)
    counting.remove()
    fresh = asked(frozen, 40, subject.objective)
    for seen, again in zip(remembered, (fresh.embed(["flip"]), fresh.embed()), strict=True):
        torch.testing.assert_close(seen.y, again.y)
        torch.testing.assert_close(seen.z, again.z)
        assert set(seen.omega) == set(again.omega)
    assert all(torch.equal(x, state[key]) for key, x in frozen.state_dict().items())
    assert [module.training for module in frozen.modules()] == flags
    assert list(dict.fromkeys(x.stage for x in numbers if x.of)) == ["pixels", "stem", "stage 1", "stage 2", "y", "z"]


def test_branches_of_z_are_read_one_by_one() -> None:
    f = build_encoder("tiny(widths=(4, 8))")
    frozen = Frozen(f, "small", {}, SIZE, MEAN, STD)
    subject = asked(frozen, 20, objective(f, Alone(DEFAULT_AUGMENT, SIZE, MEAN, STD), "looc"))
    numbers = tuple(Sensitivity()(subject))
    z, plain = subject.embed(["flip"]).z, subject.embed().z
    for k in (0, 1):
        cosine = F.cosine_similarity(z[:, 4 * k : 4 * k + 4], plain[:, 4 * k : 4 * k + 4]).mean()
        assert value(numbers, "positive", "flip", f"z{k + 1}") == pytest.approx(float(cosine), abs=1e-5)
