"""Natural views: photographs of one thing as its views, what is known of them as omega, from the table to the run."""

from __future__ import annotations

import colorsys
import csv
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

import augaware
from augaware import lookup
from augaware.analyse import subject
from augaware.analysis.condition_check import ConditionCheck
from augaware.augment.pipeline import Pipeline
from augaware.augment.plan import Camera
from augaware.data.base import ImageBatch
from augaware.data.loader import known, open_source
from augaware.data.paired import Paired
from augaware.data.pairs import Pairs
from augaware.data.shapes import Shapes
from augaware.errors import RequestError
from augaware.frozen import load_encoder, load_objective
from augaware.pretrain import Trainer, resume, start
from augaware.progress import Display
from augaware.random import Draws
from augaware.recipe import Recipe
from augaware.spaces import Binary, Cyclic, Interval, known_spaces, stated
from augaware.views import ViewPlan, plain_plan
from small_runs import assert_same_run, start_and_kill

N = 48
SEASONS = ("winter", "spring", "summer", "autumn")


def photograph(hue: float, place: int, size: tuple[int, int]) -> Image.Image:
    """A square of ``hue`` somewhere on a grey ground."""
    picture = Image.new("RGB", size, (90, 90, 90))
    colour = tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.9, 0.95))
    left, top = 2 + place % 9, 2 + place // 9 % 7
    ImageDraw.Draw(picture).rectangle((left, top, left + 12, top + 12), fill=colour)
    return picture


def write(folder: Path, header: Sequence[str], rows: Sequence[Sequence[object]], name: str = "pairs.csv") -> Path:
    with (folder / name).open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return folder / name


HEADER = ("path_1", "path_2", "hue_1", "hue_2", "lamp_1", "lamp_2", "season_1", "season_2", "plot", "plot_2024")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 things, two photographs each of different sizes: from red to green; a flag, a season, a plot."""
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    drawn = Draws.of(3, 0, torch.arange(N), 0)
    hues, rows = drawn.uniform(2, 0, 1 / 3).tolist(), []
    for i, (one, two) in enumerate(hues):
        photograph(one, i, (24, 24)).save(folder / "a" / f"{i}.png")
        photograph(two, i, (30, 26)).save(folder / "b" / f"{i}.png")
        more = (i % 2, i // 2 % 2, SEASONS[i % 4], SEASONS[i * 3 % 4], "north" if i % 3 else "south", i)
        rows.append((f"a/{i}.png", f"b/{i}.png", 360 * one, 360 * two, *more))
    return write(folder, HEADER, rows)


KINDS: dict[str, Any] = {"binary": ["lamp"], "cyclic": {"season": list(SEASONS)}}


def pairs(table: Path, **changed: Any) -> Pairs:
    return Pairs(str(table), **{**KINDS, **changed})


def spec(table: Path, names: Sequence[str] = ("hue",)) -> str:
    return f"pairs({str(table)!r}, known={list(names)!r}, {', '.join(f'{k}={v!r}' for k, v in kinds(names).items())})"


def kinds(names: Sequence[str]) -> dict[str, Any]:
    flags = {"binary": ["lamp"]} if "lamp" in names else {}
    return flags | ({"cyclic": {"season": list(SEASONS)}} if "season" in names else {})


def given(table: Path, name: str) -> list[list[str]]:
    """The cells of a name, as they stand there."""
    with table.open() as file:
        return [[row[f"{name}_1"], row[f"{name}_2"]] for row in csv.DictReader(file)]


# --- the table ---


def test_the_numbers_of_the_table_are_omega(table: Path) -> None:
    source = pairs(table, standardise=False, label="plot")
    hues = torch.tensor([[float(cell) for cell in row] for row in given(table, "hue")])
    assert torch.allclose(source.omega["hue"][:, :, 0], hues)
    assert source.omega["lamp"][:, :, 0].tolist() == [[float(c) for c in row] for row in given(table, "lamp")]
    assert source.omega["season"][:, :, 0].tolist() == [
        [float(SEASONS.index(c)) for c in row] for row in given(table, "season")
    ]
    reach = float((hues[:, 0] - hues[:, 1]).abs().max())
    assert source.spaces["hue"] == Interval(1, reach=pytest.approx(reach), measured=True)
    assert source.spaces["lamp"] == Binary(measured=True)
    assert source.spaces["season"] == Cyclic(4, measured=True)
    assert len(source) == N
    assert source.classes == ("north", "south")
    assert source.labels is not None
    assert source.labels.tolist() == [0 if i % 3 else 1 for i in range(N)]


def reach(source: Paired) -> float:
    space = source.spaces["hue"]
    assert isinstance(space, Interval)
    return space.reach


def test_standardised_numbers_have_mean_0_and_deviation_1_over_all_photographs(table: Path) -> None:
    plain, source = pairs(table, standardise=False), pairs(table)
    mean, sd = plain.omega["hue"].double().mean(), plain.omega["hue"].double().std(correction=0)
    expected = ((plain.omega["hue"].double() - mean) / sd).float()
    torch.testing.assert_close(source.omega["hue"], expected, rtol=0, atol=1e-5)
    assert reach(source) == pytest.approx(reach(plain) / float(sd), rel=1e-4)
    assert torch.equal(source.omega["lamp"], plain.omega["lamp"])


def test_several_columns_are_one_name_and_a_thing_may_have_three_photographs(table: Path, tmp_path: Path) -> None:
    header = [*(f"path_{v}" for v in (1, 2, 3)), *(f"hour_{v}.{j}" for v in (1, 2, 3) for j in (0, 1))]
    angles = [[0.1, 0.4, 1.2], [2.0, 0.3, 1.5]]
    paths = [[str(table.parent / "a" / f"{3 * i + v}.png") for v in range(3)] for i in range(2)]
    rows = [[*p, *(f(t) for t in times for f in (math.sin, math.cos))] for p, times in zip(paths, angles, strict=True)]
    source = Pairs(str(write(tmp_path, header, rows)), standardise=False)
    assert source.omega["hour"].shape == (2, 3, 2)
    assert source.omega["hour"][1, 2].tolist() == pytest.approx([math.sin(1.5), math.cos(1.5)])
    assert source.spaces["hour"].columns == 2
    assert len(source.batch(torch.tensor([1, 0])).photographs) == 3


def test_a_photograph_of_several_things_is_read_once(table: Path, tmp_path: Path) -> None:
    paths = [str(table.parent / "a" / f"{i}.png") for i in range(3)]
    source = Pairs(str(write(tmp_path, ["path_1", "path_2"], [paths[:2], paths[1:], [paths[0], paths[2]]])))
    assert len(source) == 3
    assert len(source.photographs) == 3
    assert source.spaces == {}


def test_other_numbers_are_another_source_and_the_same_are_the_same(table: Path, tmp_path: Path) -> None:
    assert pairs(table).fingerprint == pairs(table).fingerprint
    assert len({pairs(table, **c).fingerprint for c in ({}, {"known": ["hue"]}, {"standardise": False})}) == 3


WRONG: list[tuple[str, list[list[str]], dict[str, Any], str]] = [
    ("path_1,x", [["a", "1"]], {}, "path_1,path_2"),
    ("path_1,path_2", [], {}, "no rows"),
    ("path_1,path_2", [["F", "F", "3"]], {}, "row 1: 3 cells"),
    ("path_1,path_2,path_2", [["F", "F", "F"]], {}, "'path_2' stands twice"),
    ("path_1,path_2", [["F", "nowhere.png"]], {}, "1 of its 2 photographs are not there, the first is 'nowhere.png'"),
    ("path_1,path_2,angle_1", [["F", "F", "3"]], {}, "'angle' has angle_1 where each of the 2"),
    ("path_1,path_2,angle_1,angle_2.0,angle_2.1", [["F", "F", "3", "1", "2"]], {}, "'angle' has"),
    ("path_1,path_2,angle_1,angle_1.0,angle_2", [["F", "F", "3", "1", "2"]], {}, "are one column"),
    ("path_1,path_2,angle_1,angle_2", [["F", "F", "3", ""]], {}, "row 1: 'angle' is ''; accepted: a number"),
    ("path_1,path_2,angle_1,angle_2", [["F", "F", "3", "nan"]], {}, "'angle' is 'nan'"),
    ("path_1,path_2,day_1,day_2", [["F", "F", "mon", "tue"]], {}, "say which: cyclic={'day': [...]}"),
    ("path_1,path_2,day_1,day_2", [["F", "F", "1", "4"]], {"cyclic": {"day": 4}}, "'4'; accepted: 0 to 3"),
    ("path_1,path_2,day_1,day_2", [["F", "F", "1", "2.5"]], {"cyclic": {"day": 4}}, "'2.5'; accepted: 0 to 3"),
    ("path_1,path_2,day_1,day_2", [["F", "F", "mon", "sun"]], {"cyclic": {"day": ["mon", "tue"]}}, "mon, tue"),
    ("path_1,path_2,day_1,day_2", [["F", "F", "1", "1"]], {"cyclic": {"day": 1}}, "a number of kinds"),
    ("path_1,path_2,on_1,on_2", [["F", "F", "1", "2"]], {"binary": ["on"]}, "'on' is '2'; accepted: 0 or 1"),
    ("path_1,path_2,on_1,on_2", [["F", "F", "1", "1"]], {"binary": ["onn"]}, "did you mean 'on'?"),
    ("path_1,path_2,on_1,on_2", [["F", "F", "1", "1"]], {"known": ["off"]}, "known names 'off'"),
    ("path_1,path_2,on_1,on_2", [["F", "F", "1", "1"]], {"label": "class"}, "label='class' is no column"),
    ("path_1,path_2", [["F", "F"]], {"standardise": 3}, "standardise=3"),
]


@pytest.mark.parametrize(("header", "rows", "arguments", "words"), WRONG)
def test_a_wrong_table_is_refused_in_one_line(
    header: str, rows: list[list[str]], arguments: dict[str, Any], words: str, table: Path, tmp_path: Path
) -> None:
    file = str(table.parent / "a" / "0.png")
    path = write(tmp_path, header.split(","), [[file if cell == "F" else cell for cell in row] for row in rows])
    with pytest.raises(RequestError) as refused:
        Pairs(str(path), **arguments)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_table_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    for name, words in (("none.csv", "cannot be read"), ("x.csv", "is no table")):
        with pytest.raises(RequestError, match=words):
            Pairs(str(tmp_path / name))


# --- the source ---


def opened(table: Path, **arguments: Any) -> Paired:
    source = open_source(spec(table, ("hue", "lamp", "season")), 20, **arguments)
    assert isinstance(source, Paired)
    return source


def test_a_batch_is_the_first_photographs_with_the_others_beside_them(table: Path) -> None:
    source, index = pairs(table), torch.tensor([5, 0, 7])
    batch = source.batch(index)
    one, two = batch.photographs
    for shot, folder, j in ((one, "a", 0), (two, "b", 1)):
        for row, i in enumerate(index.tolist()):
            with Image.open(table.parent / folder / f"{i}.png") as picture:
                assert shot.cut()[row].permute(1, 2, 0).numpy().tobytes() == picture.convert("RGB").tobytes()
        assert torch.equal(shot.index, index)
        assert all(torch.equal(w, source.omega[name][index, j]) for name, w in shot.omega.items())
    assert torch.equal(source.load(5), one.cut()[0])
    assert len(batch) == 3


def test_it_is_the_same_in_memory_in_a_store_and_read_for_each_batch(table: Path, tmp_path: Path) -> None:
    index = torch.tensor([9, 3])
    sources = [opened(table, memory=0), opened(table), opened(table, store=str(tmp_path))]
    for kept in sources[1:]:
        assert kept.fingerprint == sources[0].fingerprint
        for one, two in zip(kept.batch(index).photographs, sources[0].batch(index).photographs, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one.cut(), two.cut(), strict=True))
            assert one.omega.keys() == two.omega.keys() == {"hue", "lamp", "season"}
            assert all(torch.equal(one.omega[name], two.omega[name]) for name in one.omega)


def test_a_store_of_them_is_made_by_command_and_a_run_says_that_it_reads_it(recipe: Recipe, tmp_path: Path) -> None:
    folder = augaware.store(recipe.data, out=tmp_path / "store", size=recipe.size)
    run = start(recipe.changed({"store": str(tmp_path / "store"), "epochs": 1, "snapshots": 0}), tmp_path / "run")
    assert f"images are read from the store {folder}" in (run.path / "log.txt").read_text()


def test_a_thing_is_left_out_where_one_of_its_photographs_cannot_be_read(table: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    file = [str(table.parent / "a" / f"{i}.png") for i in range(5)]
    rows = [[file[0], file[1], 1, 2], [file[2], tmp_path / "bad.png", 3, 4], [file[3], file[4], 5, 6]]
    path = write(tmp_path, ["path_1", "path_2", "angle_1", "angle_2"], rows)
    text = f"pairs({str(path)!r}, standardise=False)"
    live, kept = open_source(text, memory=0), open_source(text)
    batch = live.batch(torch.tensor([2, 1, 0]))
    assert batch.index.tolist() == [2, 0]
    assert [shot.omega["angle"][:, 0].tolist() for shot in batch.photographs] == [[5, 1], [6, 2]]
    assert torch.equal(batch.others[0].cut()[0], live.batch(torch.tensor([2])).others[0].cut()[0])
    assert [image.name for image in live.skipped] == [image.name for image in kept.skipped] == [str(rows[1][1])]
    assert len(kept) == 2
    whole = kept.batch(torch.tensor([1, 0]))
    assert [shot.omega["angle"][:, 0].tolist() for shot in whole.photographs] == [[5, 1], [6, 2]]
    write(tmp_path, ["path_1", "path_2"], [rows[1][:2]], "lost.csv")
    with pytest.raises(RequestError, match=r"nothing has all of its photographs; .*bad\.png: not an image"):
        open_source(f"pairs({str(tmp_path / 'lost.csv')!r})")


def test_the_order_of_an_epoch_is_a_pure_draw_that_omega_follows(table: Path) -> None:
    source = pairs(table)
    one, again, other = source.shuffled(1, 0), source.shuffled(1, 0), source.shuffled(1, 1)
    assert torch.equal(one.places, again.places)
    assert not torch.equal(one.places, other.places)
    swapped = one.places[:, 0] != source.places[:, 0]
    assert torch.equal(one.places[swapped], source.places[swapped].flip(1))
    for name, w in one.omega.items():
        assert torch.equal(w[swapped], source.omega[name][swapped].flip(1))
        assert torch.equal(w[~swapped], source.omega[name][~swapped])
    shares = [(source.shuffled(0, e).places != source.places).float().mean() for e in range(40)]
    assert abs(float(torch.stack(shares).mean()) - 0.5) < 5 * 0.5 / math.sqrt(40 * N)


def test_another_source_has_no_order(image_folder: Path) -> None:
    source = open_source(str(image_folder))
    assert source.shuffled(0, 3) is source
    assert source.batch(torch.tensor([0])).photographs[0].omega == {}


# --- views ---

AUGMENT = ("crop(scale=(0.4, 1.0))", "flip()", "grayscale(p=0.3)")


def camera() -> Camera:
    return Camera(Recipe(data="shapes", size=16, augment=AUGMENT))


def take(batch: ImageBatch, plan: tuple[ViewPlan, ...]) -> list[Any]:
    return list(camera().take(plan, batch.images, batch.sizes, batch.index, 0, 2, batch.photographs))


def test_a_view_is_the_augmentation_of_its_own_photograph_and_carries_what_is_known(table: Path) -> None:
    batch = opened(table).batch(torch.tensor([4, 9, 2]))
    views = take(batch, plain_plan(2))
    alone = Pipeline.from_specs(AUGMENT, 16, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    for number, (view, shot) in enumerate(zip(views, batch.photographs, strict=True)):
        expected = alone.view(shot.images, shot.sizes, shot.index, 0, 2, number)
        assert torch.equal(view.image, expected.image)
        assert view.omega.keys() == {*expected.omega, "hue", "lamp", "season"}
        assert all(torch.equal(view.omega[name], w) for name, w in {**expected.omega, **shot.omega}.items())


def test_photographs_that_are_padded_as_on_a_gpu_give_the_same_views(table: Path) -> None:
    batch = opened(table).batch(torch.tensor([4, 9, 2]))
    padded = replace(batch, images=batch.pixels, others=tuple(replace(o, images=o.pixels) for o in batch.others))
    assert isinstance(padded.to("cpu").others[0].images, Tensor)
    for one, two in zip(take(padded, plain_plan(2)), take(batch, plain_plan(2)), strict=True):
        torch.testing.assert_close(one.image, two.image, rtol=0, atol=1e-5)
        assert all(torch.equal(one.omega[name], w) for name, w in two.omega.items())
    moved = padded.to("meta")
    assert [str(shot.images.device) for shot in moved.photographs if isinstance(shot.images, Tensor)] == ["meta"] * 2
    assert moved.others[0].omega["hue"].device.type == "cpu"


def test_a_view_that_an_awareness_adds_is_of_the_photograph_of_its_law(table: Path) -> None:
    batch = opened(table).batch(torch.tensor([4, 9, 2]))
    plan = (*plain_plan(2), ViewPlan(law=0, only=frozenset()), ViewPlan(law=1, only=frozenset(), share={"flip": 0}))
    views = take(batch, plan)
    for view, shot in zip(views[2:], batch.photographs, strict=True):
        assert torch.equal(view.omega["hue"], shot.omega["hue"])
        assert not torch.equal(view.image, take(batch, (ViewPlan(law=1 - (shot is not batch)),))[0].image)
    assert torch.equal(views[3].omega["flip"], views[0].omega["flip"])


# --- the recipe says what is known ---


def test_a_space_is_said_and_read_again(table: Path) -> None:
    spaces = pairs(table).spaces
    assert known_spaces(stated(spaces)) == spaces
    assert known(spec(table, ("hue", "season"))) == stated(pairs(table, known=["hue", "season"], binary=[]).spaces)
    assert known("shapes(n=4)") == known(str(table.parent)) == known("torchvision:STL10()") == known("no_such()") == ()


@pytest.mark.parametrize(
    "text", ["angle", "angle = 3", "angle = ball()", "angle = interval(3)", "angle = interval(e=3)", "2 = binary()"]
)
def test_what_states_no_space_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(RequestError, match=r"^known: [^\n]*$"):
        Recipe(data="shapes", known=(text,))


def test_a_name_that_an_augmentation_has_is_refused(table: Path, tmp_path: Path, recipe: Recipe) -> None:
    rows = [[str(table.parent / "a" / f"{i}.png"), str(table.parent / "b" / f"{i}.png"), 0, 1] for i in range(4)]
    path = write(tmp_path, ["path_1", "path_2", "flip_1", "flip_2"], rows)
    with pytest.raises(RequestError, match="'flip' is what an augmentation records"):
        start(recipe.changed({"data": f"pairs({str(path)!r})"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_recipe_made_for_other_data_is_refused(table: Path, recipe: Recipe) -> None:
    for data, said in ((spec(table), ()), ("shapes(n=32)", ("hue = interval(d=1, reach=1.0)",))):
        with pytest.raises(RequestError, match="of each photograph, and the recipe was made for"):
            Trainer(recipe.changed({"data": data, "known": said}), Display("", 1, silent=True))


# --- runs ---


@pytest.fixture(scope="module")
def recipe(table: Path) -> Recipe:
    """Nine steps on the pairs, with nothing that changes colour."""
    return Recipe(
        data=spec(table),
        encoder="tiny(widths=(8, 16))",
        augment=("crop(scale=(0.6, 1.0))", "flip()"),
        size=16,
        epochs=3,
        batch_size=16,
        optimizer="adamw",
        base_lr=0.1,
        device="cpu",
        precision="fp32",
        log_steps=1,
        health_images=16,
    )


def steps(recipe: Recipe, epochs: int = 1) -> list[dict[str, float]]:
    """The losses of each step of so many epochs, without a run folder."""
    trainer = Trainer(recipe.changed({"known": known(recipe.data)}), Display("", 1, silent=True))
    trainer.objective.train()
    lines = []
    for epoch in range(epochs):
        for place, index in enumerate(trainer._batches(epoch)[: trainer.steps_per_epoch]):
            batch = trainer.source.shuffled(recipe.seed, epoch).batch(index)
            parts, _ = trainer._step(epoch * trainer.steps_per_epoch + place, epoch, batch)
            lines.append({key: value.item() for key, value in parts.items()})
    return lines


def test_augself_learns_what_differs_between_two_photographs(recipe: Recipe) -> None:
    aware = ("augself({'hue': 1, 'crop': 0.5}, hidden=32)",)
    lines = steps(recipe.changed({"aware": aware, "epochs": 30}), 30)
    share = [line["loss/augself/hue"] / line["nothing/augself/hue"] for line in lines]
    assert sum(share[:3]) / 3 > 0.7
    assert sum(share[-6:]) / 6 < 0.3


def test_vanilla_ignores_what_is_known_to_the_last_bit(recipe: Recipe, table: Path, tmp_path: Path) -> None:
    recipe = recipe.changed({"epochs": 1})
    runs = [start(recipe.changed({"data": spec(table, names)}), tmp_path / str(len(names))) for names in ((), ("hue",))]
    one, two = (run.exported.read_bytes() for run in runs)
    assert one == two


def test_a_told_projector_is_told_what_is_known(recipe: Recipe, table: Path, tmp_path: Path) -> None:
    aware = ("cassle(condition=['hue', 'season', 'lamp'], depth=2, width=8)",)
    run = start(recipe.changed({"data": spec(table, ("hue", "lamp", "season")), "aware": aware}), tmp_path / "run")
    frozen = load_encoder(str(run.path))
    objective = load_objective(run, frozen.f)
    assert objective is not None
    assert objective.online.g.gamma[0].in_features == 1 + 1 + 4
    y = torch.zeros(2, frozen.dim)
    omega = {"hue": torch.tensor([[0.0], [2.0]]), "lamp": torch.zeros(2, 1), "season": torch.zeros(2, 1)}
    z = objective.online.g(y, omega)
    assert not torch.equal(z[0], z[1])
    asked = subject(frozen, Shapes(24), 0)
    assert json.loads((run.path / "recipe.json").read_text())["known"] == list(run.recipe.known) != []
    assert (run.path / "views.png").exists()
    found = ConditionCheck()(asked)
    assert all(math.isfinite(number.value) for number in found)


def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(recipe: Recipe, tmp_path: Path) -> None:
    recipe = recipe.changed({"aware": ("augself(['hue'], hidden=8)",), "checkpoint_seconds": 0.0, "epochs": 2})
    whole = start(recipe, tmp_path / "whole")
    start_and_kill(recipe, tmp_path / "killed", step=5)
    resume(tmp_path / "killed")
    assert_same_run(tmp_path / "killed", whole.path, steps=6)


def test_other_numbers_in_the_table_are_refused_at_resume(recipe: Recipe, table: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).symlink_to(table.parent / folder)
    mine = tmp_path / "pairs.csv"
    mine.write_text(table.read_text())
    start_and_kill(recipe.changed({"data": spec(mine), "checkpoint_seconds": 0.0}), tmp_path / "run", step=4)
    header, first, *rows = mine.read_text().splitlines()
    cells = first.split(",")
    mine.write_text("\n".join([header, ",".join([*cells[:2], cells[3], cells[2], *cells[4:]]), *rows]) + "\n")
    with pytest.raises(RequestError, match="data"):
        resume(tmp_path / "run")


NARROW = {
    "ai": "ai()",
    "augself": "augself(['hue', 'crop'], hidden=8)",
    "care": "care(chunk=8)",
    "cassle": "cassle(depth=2, width=8)",
    "equimod": "equimod(condition='all', hidden_dim=8, output_dim=8, told_dim=8)",
    "essl": "essl(hidden=8, size=8)",
    "hcl": "hcl()",
    "ifm": "ifm()",
    "looc": "looc()",
    "shared": "shared()",
    "sie": "sie(condition=['hue', 'crop'], hidden_dim=8, output_dim=8)",
    "stl": "stl()",
    "vanilla": "vanilla()",
}


@pytest.mark.parametrize("name", lookup.names("awareness"))
def test_every_awareness_trains_on_pairs(name: str, recipe: Recipe) -> None:
    augment = (*recipe.augment, "color_jitter()", "grayscale(p=0.2)")
    changed = {"aware": (NARROW[name],), "augment": augment, "epochs": 1}
    (first,) = steps(recipe.changed({**changed, "batch_size": N}))
    assert math.isfinite(first["loss"])


@pytest.mark.parametrize(
    ("aware", "words"),
    [
        ("augself(['hu'])", "did you mean 'hue'"),
        ("looc(['hue'])", "holds 'hue', which is measured, not drawn"),
        ("shared(['hue'])", "holds 'hue', which is measured, not drawn"),
    ],
)
def test_what_cannot_be_is_refused_before_the_images_are_read(
    aware: str, words: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Tensor:
        raise AssertionError("an image was read")

    monkeypatch.setattr("augaware.data.files.decode", refuse)
    with pytest.raises(RequestError, match=words):
        start(recipe.changed({"aware": (aware,)}), tmp_path / "run")
