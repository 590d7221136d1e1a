"""Neighbours against a slow loop, what encoders that are blind to a cause keep and share, and the pictures."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from augaware import lookup
from augaware.analyse import analyse
from augaware.analysis import nearest as nearest_file
from augaware.analysis.intervals import mean_interval
from augaware.analysis.nearest import nearest
from augaware.analysis.neighbours import apart
from augaware.data.shapes import Shapes
from augaware.errors import RequestError
from augaware.random import bootstrap
from augaware.tasks.neighbours_png import neighbours_png
from augaware.tasks.sheet import BAD, FRAME, GAP, GOOD, SIDE, Tile, sheet_png, sheet_size
from known_encoders import ColourBlind, Constant, Keeps, TurnBlind
from small_subjects import IMAGES, asked, numbers

NEIGHBOURS, GRID = lookup.build("analysis", "neighbours"), lookup.build("analysis", "retrieval_grid")
FEW = Shapes(n=20)


@pytest.fixture(scope="module")
def subjects():
    return {kind: asked(kind) for kind in (Keeps, ColourBlind, TurnBlind, Constant)}


@pytest.fixture(scope="module")
def found(subjects):
    return {kind: numbers(NEIGHBOURS, subject) for kind, subject in subjects.items()}


def slow_nearest(queries, images, k, itself):
    unit = [x / x.norm(dim=1, keepdim=True) for x in (queries.double(), images.double())]
    found = []
    for i, q in enumerate(unit[0]):
        ranked = sorted((-float(q @ x), j) for j, x in enumerate(unit[1]) if itself or j != i)
        found.append([j for _, j in ranked[:k]])
    return torch.tensor(found)


@pytest.mark.parametrize("itself", [True, False])
def test_the_nearest_are_those_of_a_slow_loop(itself, monkeypatch):
    monkeypatch.setattr(nearest_file, "_BLOCK", 7)
    g = torch.Generator().manual_seed(0)
    images, queries = torch.randn(40, 6, generator=g), torch.randn(40, 6, generator=g)
    assert torch.equal(nearest(queries, images, 5, itself), slow_nearest(queries, images, 5, itself))


def test_equal_images_are_found_at_random_and_always_the_same_ones():
    same = torch.ones(200, 3)
    one, again, other = (nearest(same, same, 4, itself=False, ties=ties) for ties in ("a", "a", "b"))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert (one != torch.arange(200)[:, None]).all()
    assert torch.bincount(one.flatten(), minlength=200).max() < 20  # 4 expected, not 200
    assert all(len(set(row)) == 4 for row in one.tolist())


def test_the_numbers_are_those_of_a_slow_loop(subjects, found):
    subject, n = subjects[Keeps], len(IMAGES)
    plain, moved = subject.embed().y, subject.embed(["crop"]).y
    before = slow_nearest(plain, plain, 10, False).tolist()
    after = slow_nearest(moved, plain, 10, False).tolist()
    kept = [len(set(a) & set(b)) / 10 for a, b in zip(before, after, strict=True)]
    table = found[Keeps]
    assert table["overlap", "crop", "y", None].value == pytest.approx(np.mean(kept))
    own = [j == i for i, (j,) in enumerate(slow_nearest(moved, plain, 1, True).tolist())]
    assert table["retrieval", "crop", "y", None].value == pytest.approx(np.mean(own))
    hue, shape = (IMAGES.factors[name][subject.index].double().tolist() for name in ("object_hue", "shape"))
    turns = lambda a, b: min(abs(a - b), 1 - abs(a - b))  # noqa: E731
    for name, values, distance in (("object_hue", hue, turns), ("shape", shape, lambda a, b: float(a != b))):
        near = np.mean([distance(values[i], values[j]) for i in range(n) for j in before[i]])
        every = np.mean([distance(values[i], values[j]) for i in range(n) for j in range(n) if i != j])
        assert table["distance", name, "y", None].value == pytest.approx(near / every)
    assert {key[1] for key in table if key[0] == "distance"} == {*IMAGES.factors, "mean_colour"}
    assert table["overlap", "chance", "y", None].value == pytest.approx(10 / (n - 1))
    assert table["retrieval", "chance", "y", None].value == pytest.approx(1 / n)


def test_the_turn_blind_keeps_its_neighbours_when_turned(found):
    blind, keeps = (found[kind]["overlap", "rotate90", "y", None] for kind in (TurnBlind, Keeps))
    assert (blind.value, blind.low, blind.high) == (1, 1, 1)
    assert found[TurnBlind]["retrieval", "rotate90", "y", None].value == 1
    assert keeps.high < 0.6
    assert found[Keeps]["retrieval", "rotate90", "y", None].high < 0.5


def test_the_colour_blind_finds_neighbours_of_other_colours(found):
    for factor in ("object_hue", "background_hue"):
        blind, keeps = (found[kind]["distance", factor, "y", None] for kind in (ColourBlind, Keeps))
        assert blind.low > keeps.high + 0.1
        assert blind.low > 0.85
    blind, keeps = (found[kind]["distance", "mean_colour", "y", None] for kind in (ColourBlind, Keeps))
    assert blind.low > keeps.high + 0.1
    assert keeps.high < 0.8
    blind, keeps = (found[kind]["overlap", "color_jitter", "y", None] for kind in (ColourBlind, Keeps))
    assert blind.value > keeps.value


def test_a_constant_encoder_finds_others_by_chance(found):
    table = found[Constant]
    for name in ("crop", "rotate90"):
        assert table["overlap", name, "y", None].value == pytest.approx(10 / 159, abs=0.03)
        assert table["retrieval", name, "y", None].value < 0.05
    assert table["distance", "mean_colour", "y", None].value == pytest.approx(1, abs=0.05)


def test_distances_of_factors():
    one, other = torch.tensor([[0.9], [0.2]]), torch.tensor([[0.1], [0.5]])
    assert apart(one, other, "cyclic").tolist() == pytest.approx([0.2, 0.3])
    assert apart(one, other, "real").tolist() == pytest.approx([0.8, 0.3])
    assert apart(torch.tensor([[1, 2.0]]), torch.tensor([[1, 3.0]]), "class").tolist() == [0.5]
    assert apart(torch.tensor([[1, 2.0]]), torch.tensor([[1, 3.0]]), "real").tolist() == [0.5]


def test_the_interval_of_a_mean_is_a_bootstrap():
    values = torch.rand(50, generator=torch.Generator().manual_seed(0))
    value, low, high = mean_interval(values)
    means = values.double().numpy()[bootstrap(50, 1000).numpy()].mean(1)
    assert value == pytest.approx(float(values.mean()))
    assert (low, high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))
    assert mean_interval(2 * values, values) == pytest.approx((2, 2, 2))


class Bare(Shapes):
    """Twenty images of which nothing is known."""

    def __init__(self):
        drawn = Shapes(n=20)
        self.drawn, self.name, self.names, self.skipped = drawn, "bare", drawn.names, ()
        self.labels, self.classes, self.factors, self.fingerprint = None, (), {}, "bare"

    def batch(self, index):
        return self.drawn.batch(index)


def test_few_images_without_classes_and_factors_are_enough():
    images = Bare()
    table = numbers(NEIGHBOURS, asked(Keeps, images))
    assert {key[1] for key in table if key[0] == "distance"} == {"mean_colour"}
    assert {key[0] for key in numbers(GRID, asked(Keeps, images))} == {"cosine"}
    pictures = GRID.pictures(asked(Keeps, images))
    assert len(pictures) == 4
    assert not any("class" in shows for shows in pictures)


@pytest.mark.parametrize("name", ["neighbours", "retrieval_grid"])
def test_fewer_images_than_neighbours_are_refused(name):
    subject = asked(Keeps, FEW)
    assert lookup.build("analysis", f"{name}(k=19)").refusal(subject) is None
    assert lookup.build("analysis", f"{name}(k=20)").refusal(subject).startswith("20 images have no 20 neighbours")
    with pytest.raises(RequestError, match="k=0 must be a whole number"):
        lookup.build("analysis", f"{name}(k=0)")


def test_neighbours_of_z_stand_beside_those_of_y(subjects):
    subject = asked(Keeps, FEW)
    for names in ((), *([name] for name in subject.alone.names)):
        seen = subject.embed(names)
        subject._seen[frozenset(names), 0, 1.0, True] = dataclasses.replace(seen, z=seen.y.flip(1))
    table = numbers(NEIGHBOURS, subject)
    for measure, of, stage, at in table:
        if stage == "z":
            z, y = table[measure, of, "z", at], table[measure, of, "y", at]
            assert (z.value, z.low, z.high) == pytest.approx((y.value, y.low, y.high))
    assert sum(key[2] == "z" for key in table) == sum(key[2] == "y" for key in table)


def test_precision_and_cosine_by_hand(subjects):
    subject = subjects[Keeps]
    table = numbers(GRID, subject)
    y = torch.nn.functional.normalize(subject.embed().y.double(), dim=1)
    label = IMAGES.labels[subject.index]
    near = slow_nearest(y, y, 7, False)
    assert table["precision", "7 nearest", "y", None].value == pytest.approx(
        float((label[near] == label[:, None]).double().mean())
    )
    same = (label[:, None] == label) & ~torch.eye(len(label), dtype=torch.bool)
    assert table["precision", "chance", "y", None].value == pytest.approx(float(same.double().sum() / (160 * 159)))
    cosine = y @ y.T
    assert table["cosine", "7 nearest", "y", None].value == pytest.approx(float(cosine.gather(1, near).mean()))
    others = (cosine.sum() - cosine.trace()) / (160 * 159)
    assert table["cosine", "another image", "y", None].value == pytest.approx(float(others))
    constant = numbers(GRID, subjects[Constant])
    assert constant["cosine", "7 nearest", "y", None].value == pytest.approx(1)
    assert constant["cosine", "another image", "y", None].value == pytest.approx(1)


def opened(png):
    return Image.open(io.BytesIO(png)).convert("RGB")


def rgb(colour):
    return tuple(bytes.fromhex(colour[1:]))


class Plates(Shapes):
    """Images of one grey each, twice their number."""

    def batch(self, index):
        found = super().batch(index)
        found.images[:] = (2 * index).reshape(-1, 1, 1, 1)
        return found


def test_encoders_stand_below_each_other_for_each_query():
    source = Plates(n=40)
    nearest = {"first": torch.tensor([[3, 4], [5, 6]]), "second one": torch.tensor([[7, 8], [9, 10]])}
    sheet = opened(neighbours_png(source, torch.tensor([1, 2]), nearest))
    margin = sheet.width - sheet_size(4, 3)[0]
    assert sheet.size == sheet_size(4, 3, margin)
    assert 40 < margin < 100
    expected = [(1, 3, 4), (1, 7, 8), (2, 5, 6), (2, 9, 10)]
    step = (sheet.height - GAP) // 4
    for row, images in enumerate(expected):
        assert (np.asarray(sheet)[GAP + row * step : GAP + row * step + SIDE, :margin] < 128).any(), "a title"
        for column, image in enumerate(images):
            left, top = GAP + margin + column * (SIDE + 2 * FRAME + GAP), GAP + row * step
            assert sheet.getpixel((left + SIDE // 2, top + SIDE // 2))[0] == 2 * image
            if column:
                same = source.labels[image] == source.labels[images[0]]
                assert sheet.getpixel((left + 1, top + 1)) == rgb(GOOD if same else BAD)


def test_a_sheet_of_photographs_is_small_and_keeps_its_colours():
    tiles = [
        Tile(image, "", GOOD) for image in torch.rand(12, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    ]
    smooth = [Tile(nn.functional.avg_pool2d(t.image, 9, 1, 4), "", BAD) for t in tiles]
    png = sheet_png([tiles, smooth])
    assert Image.open(io.BytesIO(png)).mode == "P"
    assert len(png) < 0.5 * 24 * SIDE * SIDE * 3
    shown = np.asarray(opened(png)).astype(float)
    for column, tile in enumerate(smooth):
        left, top = GAP + FRAME + column * (SIDE + 2 * FRAME + GAP), sheet_size(1, 1)[1] + FRAME
        there = shown[top : top + SIDE, left : left + SIDE].mean((0, 1)) / 255
        assert there == pytest.approx(tile.image.mean((1, 2)).numpy(), abs=0.02)  # dithered: right on the average


def test_a_picture_for_each_query_of_another_class(subjects):
    subject = asked(Keeps, references={"blind": subjects[ColourBlind], "nothing": subjects[Constant]})
    pictures = GRID.pictures(subject)
    assert pictures == GRID.pictures(subject)
    assert len(pictures) == 4
    named = [next(name for name in IMAGES.classes if f"({name})" in shows) for shows in pictures]
    assert len(set(named)) == 4
    margin = opened(next(iter(pictures.values()))).width - sheet_size(3, 8)[0]
    assert {opened(png).size for png in pictures.values()} == {sheet_size(3, 8, margin)}
    many = lookup.build("analysis", "retrieval_grid(queries=9, k=1)").pictures(subject)
    assert len(many) == 9  # more than there are classes
    assert len({png for png in many.values()}) == 9


def test_the_runner_writes_numbers_and_pictures(tmp_path):
    subject = asked(Keeps, FEW, {"blind": asked(ColourBlind, FEW)})
    neighbours, grid = analyse(subject.encoder, subject, ["neighbours", "retrieval_grid(queries=2)"], tmp_path)
    assert list(neighbours["encoders"]) == ["Keeps", "blind"]
    assert len(list(tmp_path.glob("*.png"))) == len(grid["pictures"]) == 2
