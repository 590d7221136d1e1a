"""A study: its file, its cells, going on where it was, and the numbers of its page against the formulas by hand."""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from scipy import stats

import augaware
from augaware.cli import main
from augaware.disk import held
from augaware.errors import RequestError
from augaware.grid import Study
from augaware.pretrain import Trainer
from augaware.report import study as told
from small_runs import Killed, fails_at

HOME = Path(__file__).parent.parent
PROBE, NEAR = "linear_probe('hues')", "knn('hues', k=3)"
SHARED = {
    "data": "ROOT/photos",
    "encoder": "tiny(widths=(4, 8))",
    "size": 8,
    "epochs": 1,
    "batch_size": 8,
    "health_images": 8,
    "snapshots": 2,
    "device": "cpu",
    "precision": "fp32",
}
FILE = {
    "title": "Two awarenesses",
    "shared": SHARED,
    "grid": [{"simclr": {"host": "simclr()"}}, {"vanilla": {}, "cassle": {"aware": ["cassle(depth=1)"]}}],
    "also": {"wide": {"encoder": "tiny(widths=(8, 8))"}},
    "seeds": [3, 4],
    "untrained": {"pixels": "random/pixels"},
    "size": 8,
    "tasks": [PROBE, NEAR],
    "way": [NEAR],
    "quality": NEAR,
    "mean": [NEAR, PROBE],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """ROOT: images to train on, and a data set of three hues."""
    home = tmp_path_factory.mktemp("root")
    draws = torch.Generator().manual_seed(0)
    for split, count in {"photos": 16, "hues/train": 24, "hues/val": 12, "hues/test": 12}.items():
        for i in range(count):
            folder = home / split / f"c{i % 3}"
            folder.mkdir(parents=True, exist_ok=True)
            noise = torch.randint(0, 120, (12, 12, 3), generator=draws)
            noise[..., i % 3] += 60
            Image.fromarray(noise.byte().numpy()).save(folder / f"{i}.png")
    return home


def written(folder, **changes):
    file = folder / "file.json"
    file.write_text(json.dumps(FILE | changes))
    return file


@pytest.fixture(scope="module")
def done(root, tmp_path_factory):
    """A study that was made: its folder."""
    folder = tmp_path_factory.mktemp("study")
    augaware.study(written(folder), data=root, out=folder / "out")
    return folder / "out"


def test_the_cells_are_the_product_seed_by_seed_and_the_others(tmp_path, root):
    names = [cell.name for cell in Study.read(written(tmp_path)).cells(root)]
    of_a_seed = ["simclr/vanilla/seed-{}", "simclr/cassle/seed-{}", "wide/seed-{}"]
    assert names == ["pixels", *(name.format(seed) for seed in (3, 4) for name in of_a_seed)]
    [cell] = Study.read(written(tmp_path, without=["*/vanilla"], also={}, seeds=[3], untrained={})).cells(root)
    assert (cell.name, cell.recipe.aware, cell.recipe.seed) == ("simclr/cassle/seed-3", ("cassle(depth=1)",), 3)
    assert cell.recipe.data == str(root / "photos")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gird": []}, "unknown key 'gird'; .*did you mean 'grid'"),
        ({"title": ""}, "'title' is missing"),
        ({"seeds": ["a"]}, "'seeds' must be a list of whole numbers; it is \\('a',\\)"),
        ({"tasks": ["linear_prob('x')"], "way": [], "quality": "", "mean": []}, "did you mean 'linear_probe'"),
        ({"mean": ["knn('other')"]}, "knn\\('other'\\)\" is named, but is none of its tasks"),
        ({"way": []}, "must be among the tasks of 'way'"),
        ({"analyses": ["spectrum"]}, "'shown' is missing"),
        ({"also": {"simclr": {}, "a/b": {}}}, "level 'a/b' is no name for a folder"),
        ({"also": {"x": {"hots": "simclr()"}}}, "cell x: unknown recipe field 'hots'"),
        ({"also": {"x": {"size": "large"}}}, "cell x: size='large' must be of type int"),
        ({"also": {"x": {"aware": ["ifm()"], "host": "byol()"}}}, "cell x/seed-3: aware: .*negatives"),
        ({"also": {"x": {"data": "ROOT/nowhere"}}}, "cell x/seed-3: data '.*nowhere': there is no such folder"),
        ({"also": {"x": {"batch_size": 99}}}, "cell x/seed-3: batch_size=99 is larger than the data"),
        ({"untrained": {"../../pixels": "random/pixels"}}, r"level '../../pixels' is no name for a folder"),
        ({"untrained": {"pixels": 3}}, "untrained 'pixels' must be an ENCODER; it is 3"),
        ({"shared": []}, r"'shared' must be an object; it is \(\)"),
        ({"quality": 5}, "'quality' must be a text; it is 5"),
        ({"images": "all"}, "'images' must be a whole number; it is 'all'"),
        ({"without": ["*/cassel"]}, r"without '\*/cassel' leaves nothing out"),
        ({"against": "vanila"}, "'vanila', which is no level of it; did you mean 'vanilla'"),
        ({"seeds": [], "untrained": {}}, "it has no cell"),
        ({"quality": "health/instance_mach"}, "is no number of the health panel that rises"),
        (
            {"quality": "health/alignment"},
            "that rises as a host learns; these are: health/instance_match",
        ),
        ({"quality": "health/knn", "shared": SHARED | {"epochs": 3}}, "snapshots=2 must divide epochs=3"),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_is_trained(tmp_path, root, changes, said, capsys):
    code = main(["study", str(written(tmp_path, **changes)), "--data", str(root), "--out", str(tmp_path / "out")])
    line = capsys.readouterr().err.strip()
    assert code == 2
    assert len(line.splitlines()) == 1
    assert not list((tmp_path).rglob("recipe.json"))
    with pytest.raises(RequestError, match=said):
        augaware.study(tmp_path / "file.json", data=root, out=tmp_path / "out")


@pytest.mark.parametrize("text", ["", "[]", "{", None])
def test_a_file_that_is_no_study_is_one_line(tmp_path, root, text):
    if text is not None:
        (tmp_path / "x.json").write_text(text)
    with pytest.raises(RequestError, match=r"study '.*x\.json'"):
        augaware.study(tmp_path / "x.json", data=root, out=tmp_path / "out")


def test_a_foreign_folder_is_left_alone(tmp_path, root):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter").write_text("x")
    with pytest.raises(RequestError, match="holds something else"):
        augaware.study(written(tmp_path), data=root, out=tmp_path / "thesis")


def test_every_cell_is_trained_judged_and_gathered(done):
    found = json.loads((done / "study.json").read_text())
    assert (found["of"], len(found["cells"])) == (7, 7)
    assert str(done.parent) not in json.dumps(found), "a path of this machine is kept"
    for cell in found["cells"]:
        folder = done.joinpath(*cell["levels"], *([] if cell["seed"] is None else [f"seed-{cell['seed']}"]))
        for r in cell["results"]:
            [file] = [f for f in (folder / "eval").glob("*.json") if json.loads(f.read_text())["task"] == r["task"]]
            metrics = json.loads(file.read_text())["metrics"]
            assert (r["value"], r["error"]) == (metrics["test"], metrics["standard_error"])
        trained = cell["recipe"] is not None
        assert [stop["step"] for stop in cell["way"]] == ([1, 2] if trained else [])
        if trained:
            assert cell["way"][-1]["health"] == cell["health"]
            assert cell["recipe"]["data"] == "ROOT/photos"
            last = {r["task"]: r["value"] for r in cell["way"][-1]["results"]}
            assert last == {r["task"]: r["value"] for r in cell["results"] if r["task"] in last}, "the last is the end"
            assert "health/instance_match" in cell["health"]


def test_an_analysis_is_put_to_the_cells_that_it_is_for(root, tmp_path):
    """Nothing beside raw pixels or vanilla is told omega: they are made all the same, without that number."""
    changes = {"also": {}, "seeds": [3], "tasks": [NEAR], "way": [], "quality": "", "mean": [NEAR]}
    asked = {"analyses": ["condition_check"], "shown": "ROOT/photos", "images": 8}
    file = written(tmp_path, **changes, **asked)
    cells = json.loads(augaware.study(file, data=root, out=tmp_path / "out").read_text())["cells"]
    assert str(root) not in json.dumps(cells), "a path of this machine is kept"
    found = {cell["levels"][-1]: cell for cell in cells}
    assert [a["analysis"] for a in found["cassle"]["analyses"]] == ["condition_check"]
    assert found["cassle"]["left_out"] == {}
    for name in ("pixels", "vanilla"):
        assert found[name]["analyses"] == []
        assert "beside" in found[name]["left_out"]["condition_check"]
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("cell.json")}
    augaware.study(file, data=root, out=tmp_path / "out")
    assert before == {file: file.stat().st_mtime_ns for file in before}, "made again"
    augaware.report(tmp_path / "out", out=tmp_path / "page.html")


def test_again_makes_nothing_and_more_tasks_train_nothing(done, root, tmp_path):
    before = {file: file.stat().st_mtime_ns for file in done.rglob("*") if file.is_file()}
    heard = []
    augaware.study(written(tmp_path), data=root, out=done, told=heard.append)
    assert heard == []
    more = [PROBE, NEAR, "knn('hues', k=5)"]
    augaware.study(written(tmp_path, tasks=more), data=root, out=done, told=heard.append)
    assert len(heard) == 7
    after = {file: file.stat().st_mtime_ns for file in done.rglob("*") if file.is_file()}
    changed = {file.name for file in before if after[file] != before[file]}
    assert changed <= {"cell.json", "study.json"}
    cells = json.loads((done / "study.json").read_text())["cells"]
    assert all({r["task"] for r in cell["results"]} == set(more) for cell in cells)


def test_cells_of_an_earlier_study_are_taken_over(done, root, tmp_path, monkeypatch):
    """... where they are of the same recipe; without their weights they are trained again when more is asked."""
    trained, heard = [], []
    original = Trainer.train

    def train(self, run):
        trained.append("/".join(run.path.parts[-3:]))
        original(self, run)

    monkeypatch.setattr(Trainer, "train", train)
    wider = {**FILE["also"], "wide": {"encoder": "tiny(widths=(8, 12))"}}
    out, earlier = tmp_path / "out", done / "study.json"
    for _ in range(2):
        augaware.study(written(tmp_path, also=wider), data=root, out=out, earlier=earlier, told=heard.append)
    assert trained == ["out/wide/seed-3", "out/wide/seed-4"]
    assert heard[0] == f"taken over from {earlier}: 5 of 7 cells"
    now, before = (json.loads((folder / "study.json").read_text())["cells"] for folder in (out, done))
    for cell in now:
        assert (cell in before) == (cell["levels"] != ["wide"])
    trained.clear()
    augaware.study(written(tmp_path, also=wider, tasks=[PROBE, NEAR, "knn('hues', k=7)"]), data=root, out=out)
    assert len(trained) == 4  # the wide ones have their weights, and nothing is trained of pixels


def test_a_folder_of_other_recipes_is_refused(done, root, tmp_path):
    with pytest.raises(RequestError, match=r"simclr/vanilla/seed-3 was trained with another recipe \(batch_size\)"):
        augaware.study(written(tmp_path, shared=SHARED | {"batch_size": 4}), data=root, out=done)


def test_a_cell_that_another_process_makes_is_left_to_it(root, tmp_path):
    out = tmp_path / "out"
    place = out / ".held" / "simclr vanilla seed-3"
    place.mkdir(parents=True)
    handle = os.open(place, os.O_RDONLY)
    try:
        assert held(handle)
        heard = []
        augaware.study(written(tmp_path, seeds=[3], also={}, way=[], quality=""), data=root, out=out, told=heard.append)
    finally:
        os.close(handle)
    assert heard[-1] == "left to another process: 1 of 3 cells, such as simclr/vanilla/seed-3"
    made = [cell["levels"] for cell in json.loads((out / "study.json").read_text())["cells"]]
    assert made == [["pixels"], ["simclr", "cassle"]]


def test_a_run_that_was_stopped_goes_on(root, tmp_path, monkeypatch):

    out, file = tmp_path / "out", written(tmp_path, seeds=[3], also={}, untrained={})
    with monkeypatch.context() as patch:
        module = sys.modules["augaware.study"]  # the name itself is the function
        patch.setattr(module, "evaluate", fails_at(2, module.evaluate))  # at the first snapshot
        with pytest.raises(Killed):
            augaware.study(file, data=root, out=out)
    assert not (out / "study.json").exists()
    augaware.study(file, data=root, out=out)
    assert len(json.loads((out / "study.json").read_text())["cells"]) == 2


def test_a_run_that_was_stopped_is_not_continued_with_another_recipe(root, tmp_path, monkeypatch):
    out = tmp_path / "out"
    small = {"seeds": [3], "grid": [], "also": {"vanilla": {}}, "untrained": {}, "way": [], "quality": "", "mean": []}
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", fails_at(1, Trainer.train))
        with pytest.raises(Killed):
            augaware.study(written(tmp_path, **small), data=root, out=out)
    with pytest.raises(RequestError, match=r"vanilla/seed-3 was trained with another recipe \(base_lr\)"):
        augaware.study(written(tmp_path, **small, shared=SHARED | {"base_lr": 0.1}), data=root, out=out)
    augaware.study(written(tmp_path, **small), data=root, out=out)
    [cell] = json.loads((out / "study.json").read_text())["cells"]
    assert cell["recipe"]["base_lr"] == json.loads((out / "vanilla/seed-3/recipe.json").read_text())["base_lr"]


def test_what_the_numbers_depend_on_may_change_and_nothing_is_trained_again(root, tmp_path, monkeypatch):
    out = tmp_path / "out"
    first = {"seeds": [3], "grid": [], "also": {"vanilla": {}}, "tasks": [NEAR], "way": [], "quality": "", "mean": []}
    augaware.study(written(tmp_path, **first), data=root, out=out)
    before = json.loads((out / "study.json").read_text())["cells"]
    monkeypatch.setattr(Trainer, "train", fails_at(1, Trainer.train))

    def again(**changes):
        heard = []
        augaware.study(written(tmp_path, **(first | changes)), data=root, out=out, told=heard.append)
        return heard, json.loads((out / "study.json").read_text())["cells"]

    heard, _ = again()
    assert heard == []
    heard, cells = again(way=[NEAR])
    assert [stop["step"] for stop in cells[1]["way"]] == [1, 2], "the snapshots are there and were not looked at"
    assert len(heard) == 1
    heard, cells = again(way=[NEAR], untrained={"pixels": "random/tiny(widths=(4, 8))"}, size=12)
    assert heard == ["cell 1 of 2: pixels"]
    assert cells[0]["encoder"] == "random/tiny(widths=(4, 8))"
    assert cells[0]["results"] != before[0]["results"]
    _, cells = again(analyses=["spectrum"], shown="ROOT/photos", images=8)
    heard, more = again(analyses=["spectrum"], shown="ROOT/photos", images=12)
    assert len(heard) == 2
    assert [c["analyses"] for c in more] != [c["analyses"] for c in cells]


def test_cells_of_channels_and_of_pairs_are_checked_on_their_data(root, tmp_path, monkeypatch):
    """Each distinct recipe is built once, whatever the seeds."""
    monkeypatch.setattr(sys.modules["augaware.study"], "start", fails_at(1, None))
    built, init = [], Trainer.__init__
    monkeypatch.setattr(Trainer, "__init__", lambda self, *given: [built.append(given[0].data), init(self, *given)][-1])
    table = "path_1,path_2,angle_1,angle_2\n" + "".join(
        f"photos/c{i % 3}/{i}.png,photos/c{(i + 1) % 3}/{i + 1}.png,{i},{-i}\n" for i in range(15)
    )
    (root / "pairs.csv").write_text(table)
    also = {
        "planes": {"channels": 3, "augment": ["crop()", "exposure(channels=3)"]},
        "pairs": {"data": f"pairs({str(root / 'pairs.csv')!r})", "aware": ["augself({'angle': 1})"]},
    }
    with pytest.raises(Killed):
        augaware.study(
            written(tmp_path, grid=[], also=also, untrained={}, quality="", mean=[]), data=root, out=tmp_path / "out"
        )
    assert built == [str(root / "photos"), also["pairs"]["data"]]


def test_the_page_and_its_tables(done, tmp_path):
    augaware.report(done / "study.json", out=tmp_path / "page.html", tables=tmp_path / "tables")
    page = (tmp_path / "page.html").read_text()
    assert "Two awarenesses" in page
    assert "Mean gain over vanilla" in page
    augaware.report(done, out=tmp_path / "same.html")  # the folder will do
    row = (tmp_path / "tables/study-mean-gain-over-vanilla.csv").read_text().splitlines()[1].split(",")
    cells = {(*c["levels"], c["seed"]): c for c in json.loads((done / "study.json").read_text())["cells"]}

    def score(level, seed):
        found = {r["task"]: r["value"] for r in cells["simclr", level, seed]["results"]}
        return statistics.fmean(found[task] for task in FILE["mean"])

    expected = statistics.fmean(100 * (score("cassle", seed) - score("vanilla", seed)) for seed in (3, 4))
    assert row[0] == "simclr + cassle"
    assert float(row[2]) == pytest.approx(expected)


@pytest.mark.parametrize("file", sorted((HOME / "results").glob("*.json")), ids=lambda file: file.stem)
def test_numbers_that_are_kept_make_their_page_and_are_of_the_study(file, tmp_path):
    found = told.read(file)
    study = Study.read(HOME / "studies" / file.name)
    names = {cell.name for cell in study.cells(HOME)}
    for cell in found["cells"]:
        assert "/".join([*cell["levels"], *([] if cell["seed"] is None else [f"seed-{cell['seed']}"])]) in names
    assert "Mean gain over vanilla" in augaware.report([file], out=tmp_path / "page.html").read_text()


def test_a_file_that_no_study_wrote_is_one_line(done, tmp_path):
    whole = json.loads((done / "study.json").read_text())
    nameless = {**whole["cells"][-1], "levels": []}
    wrong = [{"study": 1, "cells": [{}]}, whole | {"cells": [nameless]}, whole | {"study": 2}, [], whole | {"mean": 3}]
    for content in wrong:
        (tmp_path / "broken.json").write_text(json.dumps(content))
        with pytest.raises(RequestError, match=r"no study\.json of augaware study"):
            augaware.report(tmp_path / "broken.json", out=tmp_path / "x.html")
    (tmp_path / "broken.json").write_text(json.dumps(whole | {"cells": []}))
    with pytest.raises(RequestError, match="has no cell yet"):
        augaware.report(tmp_path / "broken.json", out=tmp_path / "x.html")


def test_rows_of_all_contexts_come_last():
    def cell(host, level):
        r = {"task": "t", "dataset": "d", "protocol": "p", "metric": "top1", "value": 0.5, "error": None}
        return {"levels": [host, level], "seed": 0, "results": [r], "way": [], "health": {}}

    cells = [cell(host, level) for host in "ab" for level in ("vanilla", "x", "y")]
    found = told.section({"title": "T", "quality": "", "mean": ["t"], "against": "vanilla", "cells": cells})
    names = [row[0] for row in found.parts[0].rows]
    assert names == ["a + x", "a + y", "b + x", "b + y", "all + x", "all + y"]


def test_seeds_of_one_context_are_not_independent():
    """Two hosts with opposite gains, three seeds each: their means leave open what six values would seem to settle."""
    a, b = [{"t": (value, 0.0)} for value in (4.9, 5.0, 5.1)], [{"t": (value, 0.0)} for value in (-1.1, -1.0, -0.9)]
    both = told.over_contexts({("a", "x"): a, ("b", "x"): b, ("b", "y"): b})
    assert both[told.ALL, "x"] == [{"t": (pytest.approx(5), 0.0)}, {"t": (pytest.approx(-1), 0.0)}]
    assert len(both[told.ALL, "y"]) == 1
    value = told._mean(both[told.ALL, "x"], ["t"])[0]
    assert value.interval == pytest.approx(stats.t.interval(0.95, 1, 2, stats.sem([5, -1])), rel=1e-6)


def test_a_mean_over_seeds_has_the_tasks_of_all_and_their_test_images():
    seeds = [{"t": (1.0, 0.2), "u": (1.0, 0.1)}, {}, {"t": (3.0, 0.4)}]
    assert told.averaged(seeds) == {"t": (2.0, pytest.approx(0.3))}
    assert told.averaged([{}]) == {}


def test_the_interval_adds_seeds_and_test_images():
    values, error = [1.0, 4.0, 2.5], 0.7
    seeds = stats.t.interval(0.95, 2, 0, stats.sem(values))[1]
    found = told.over_seeds(values, error)
    half = math.sqrt(seeds**2 + (1.96 * error) ** 2)
    assert found.interval == pytest.approx((2.5 - half, 2.5 + half), rel=1e-6)
    alone = told.over_seeds([3.0], error)
    assert alone.interval == pytest.approx((3 - 1.96 * error, 3 + 1.96 * error))


def made(levels, seed, end, *way):
    scores = [{"q": (q, 0.0), "t": (t, 0.01)} for q, t in (*way, end)]
    return told.Made(levels, seed, scores[-1], scores[:-1])


def test_who_has_come_further_is_taken_where_it_was_as_far():
    slow = made(("simclr", "cassle"), 0, (0.30, 0.5), (0.10, 0.4), (0.20, 0.45))
    fast = made(("simclr", "vanilla"), 0, (0.50, 0.3), (0.20, 0.8), (0.40, 0.4))
    ours, theirs = told.as_far(slow, fast, "q")
    assert ours["t"][0] == 0.5
    assert theirs["t"][0] == pytest.approx(0.6)  # half way between the two snapshots
    back, _ = told.as_far(fast, slow, "q")
    assert back["t"][0] == pytest.approx(0.6)
    early = made(("simclr", "cassle"), 0, (0.15, 0.5), (0.10, 0.4))
    assert told.gains(*told.as_far(early, fast, "q")) == {}, "vanilla was further at its first snapshot"
    falls = made(("simclr", "vanilla"), 0, (0.50, 0.3), (0.45, 0.8), (0.25, 0.6))
    assert told.at(falls, "q", 0.3)["t"][0] == pytest.approx(0.54), "where it last rose to it"


def test_pairs_differ_in_one_level_and_share_the_seed():
    cells = [made((host, aware), seed, (0.1, 0.1)) for host in "ab" for aware in ("vanilla", "x") for seed in (0, 1)]
    cells.append(made(("b", "y"), 2, (0.1, 0.1)))  # no vanilla of this seed
    found = [
        (ours.levels, theirs.levels, context, level) for ours, theirs, context, level in told.pairs(cells, "vanilla")
    ]
    assert found == [((h, "x"), (h, "vanilla"), h, "x") for h in "ab" for _ in (0, 1)]


def test_ranks_share_places():
    def seeds(*values):
        return [{"t": (value, 0.0), "u": (0.5, 0.0)} for value in values]

    found = told.mean_ranks({"a": seeds(0.1, 0.3), "b": seeds(0.2), "c": seeds(0.5)})
    assert found == {"a": (2.5 + 2) / 2, "b": (2.5 + 2) / 2, "c": (1 + 2) / 2}
