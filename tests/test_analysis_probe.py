"""The parameter probe: what encoders keep and lose by construction, and the ridge regression of scikit-learn."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge as SkRidge
from torch import Tensor, nn

from augaware.analyse import subject
from augaware.analysis.axes import Axes
from augaware.analysis.parameter_probe import ParameterProbe, Probe, mixed
from augaware.analysis.subject import Subject
from augaware.data.shapes import Shapes
from augaware.spaces import Interval
from augaware.tasks.ridge import STRENGTHS
from known_encoders import ColourBlind, Constant, FlipBlind, Keeps, TurnBlind, known


@cache
def asked(kind: type[nn.Module], n: int = 600) -> Subject:
    return subject(known(kind), Shapes(n), 0)


@cache
def found(kind: type[nn.Module], name: str, measure: str = "difference", n: int = 600) -> tuple[float, float, float]:
    """Value, low and high as the analysis finds them, of one augmentation."""
    who = asked(kind, n)
    a = next(a for a in who.alone.pipeline.augmentations if a.name == name)
    plain = who.embed()
    one, two = (mixed(who, a, plain, number) for number in (0, 1))
    second = (two, one) if measure == "difference" else (plain, plain)
    score = Probe((one, two), second, alone=measure == "parameter")(name, who.alone.pipeline.spaces)
    assert score is not None
    value, low, high = score.skill()
    assert low <= value <= high
    return value, low, high


def skill(kind: type[nn.Module], name: str, measure: str = "difference") -> float:
    return found(kind, name, measure)[0]


@pytest.mark.parametrize(("kind", "name"), [(TurnBlind, "rotate90"), (FlipBlind, "flip"), (Constant, "crop")])
@pytest.mark.parametrize("measure", ["difference", "change"])
def test_what_is_blind_to_an_augmentation_reads_nothing_of_it(kind: type[nn.Module], name: str, measure: str) -> None:
    value, low, _ = found(kind, name, measure)
    assert low <= 0.0
    assert value < 0.15  # twice the standard error of naming flags of 150 images by chance


def test_who_is_blind_to_colour_barely_reads_that_it_is_gone() -> None:
    # ours weighs the channels alike, and gray does not: a little light moves
    assert skill(ColourBlind, "grayscale") < 0.2
    assert skill(ColourBlind, "grayscale", "change") < 0.2


def test_an_encoder_that_keeps_the_pixels_reads_it() -> None:
    assert skill(Keeps, "rotate90") > 0.8
    assert skill(Keeps, "flip") > 0.5
    assert skill(Keeps, "grayscale", "change") > 0.5
    assert skill(Keeps, "rotate90", "change") > 0.8
    assert skill(Keeps, "color_jitter") > skill(ColourBlind, "color_jitter") + 0.1


def test_one_view_alone_is_told_apart_where_pixels_say_so() -> None:
    # that colour is gone is seen without the original; the drawn objects have no side that is up
    assert skill(Keeps, "grayscale", "parameter") > 0.3
    assert skill(Keeps, "rotate90", "parameter") < 0.2


def test_flags_and_turns_are_drawn_with_all_their_values() -> None:
    who = asked(Keeps)
    plain = who.embed()
    for a in who.alone.pipeline.augmentations:
        if isinstance(a.space, Interval):
            continue
        view = mixed(who, a, plain, 1)
        share = torch.bincount(view.omega[a.name][:, 0].long()) / len(view.y)
        assert len(share) == max(2, a.space.inputs)
        assert (share - 1 / len(share)).abs().max() < 0.06
        still = (view.omega[a.name] == torch.tensor(a.identity)).all(1)
        assert torch.equal(view.y[still], plain.y[still])


def test_the_probe_is_scikit_learns() -> None:
    who = asked(Keeps, 200)
    one, two = (who.embed(["color_jitter"], number) for number in (0, 1))
    probe = Probe((one, two), (two, one))
    score = probe("color_jitter", who.alone.pipeline.spaces)
    assert score is not None

    def rows(a: Tensor, b: Tensor) -> Tensor:
        return torch.stack((a, b), 1).flatten(0, 1).double()

    y1, y2 = rows(one.y, two.y), rows(two.y, one.y)
    w1, w2 = (rows(a.omega["color_jitter"], b.omega["color_jitter"])[:, :4] for a, b in ((one, two), (two, one)))
    t = w1 - w2
    both = torch.cat((y1[:240], y2[:240]))
    pca = PCA(48, whiten=True, svd_solver="full").fit(both.numpy())
    p1, p2 = (torch.from_numpy(pca.transform(y.numpy())) for y in (y1, y2))
    x = torch.cat((p1, p2, torch.einsum("ni,nj->nij", p1[:, :20], p2[:, :20]).flatten(1)), 1)
    guessed = []
    for j in range(4):
        penalty = float((x[:240] - x[:240].mean(0)).square().sum() / x.shape[1])
        losses = []
        for strength in STRENGTHS:
            fitted = SkRidge(strength * penalty).fit(x[:240].numpy(), t[:240, j].numpy())
            losses.append(float(np.square(fitted.predict(x[240:300].numpy()) - t[240:300, j].numpy()).mean()))
        strength = STRENGTHS[int(np.argmin(losses))]
        penalty = float((x[:300] - x[:300].mean(0)).square().sum() / x.shape[1])
        fitted = SkRidge(strength * penalty).fit(x[:300].numpy(), t[:300, j].numpy())
        guessed.append(torch.from_numpy(fitted.predict(x[300:].numpy())))
    lost, nothing = ((p - t[300:]).square().mean(0) for p in (torch.stack(guessed, 1), t[:300].mean(0)))
    assert score.skill()[0] == pytest.approx(float((1 - lost / nothing).mean()), abs=5e-3)


def test_axes_are_the_principal_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 40, generator=generator) @ torch.diag(0.8 ** torch.arange(40)) + 5
    ours = Axes(x[:200], 6)(x)
    pca = PCA(6, whiten=True, svd_solver="full").fit(x[:200].double().numpy())
    theirs = torch.from_numpy(pca.transform(x.double().numpy()))
    assert torch.allclose(ours.abs(), theirs.abs() * (200 / 199) ** 0.5, rtol=1e-3, atol=1e-3)
    assert Axes(torch.full((50, 8), 0.1), 6)(x[:, :8]).shape == (300, 0)


def test_the_whole_analysis_twice_alike_and_nothing_for_a_collapsed_encoder() -> None:
    first = ParameterProbe()(subject(known(Keeps), Shapes(120), 0))
    again = subject(known(Keeps), Shapes(120), 0)
    one, two = (again.embed(["crop"], number) for number in (0, 1))
    score = Probe((one, two), (two, one))("crop", again.alone.pipeline.spaces)
    assert score is not None
    assert [n.value for n in first if (n.measure, n.of) == ("difference", "crop")] == [score.skill()[0]]
    assert {number.measure for number in first} == set(ParameterProbe.measures)
    assert {"color_diff", "crop", "rotate90"} <= {n.of for n in first if n.measure == "difference"}
    assert {"color_jitter.hue", "crop.x"} <= {n.of for n in first if n.measure == "number"}
    assert {n.of for n in first if n.measure == "accuracy"} == {"flip", "grayscale", "rotate90"}
    for number in ParameterProbe()(subject(known(Constant), Shapes(120), 0)):
        if number.measure != "accuracy":
            assert number.value == pytest.approx(0, abs=1e-9), number


def test_few_images_are_refused() -> None:
    assert "20 images are too few" in str(ParameterProbe().refusal(subject(known(Keeps), Shapes(20), 0)))
    assert ParameterProbe().refusal(subject(known(Keeps), Shapes(100), 0)) is None
