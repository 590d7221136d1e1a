"""The benches: what scripts read, what is said of peers that are missing, and that each side does the same job."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import augaware
from augaware import lookup
from augaware.augment.plan import Camera
from augaware.bench import base, feature_sets, pictures, sweeps, turns
from augaware.bench.augment import Apart, Augment, InTurns, Pieces
from augaware.bench.base import Round, Side
from augaware.bench.probe import Probe, Selection
from augaware.bench.rows import remarks, rows, table
from augaware.bench.turns import Failed, Process, enough, timed
from augaware.bench.two_views import OURS, PARTS, PEERS, Ours, Part, PerImage
from augaware.cli import main
from augaware.errors import RequestError
from augaware.metrics import top1
from augaware.progress import Display
from augaware.ragged import Ragged
from augaware.recipe import Recipe
from augaware.tasks.logistic import STRENGTHS, select
from augaware.views import View

TINY = "augment(sizes=[32], images=8, rounds=2, seconds=0)"
SIDES = {("augaware", 1), ("augaware", base.cores()), ("augaware plain", 1), (next(iter(PARTS)), 1)}


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """As if ``modules`` were not installed."""
    found = importlib.util.find_spec
    monkeypatch.setattr(base.importlib.util, "find_spec", lambda name: None if name in modules else found(name))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The record of the command at a tiny setting, on a machine without peers; of four sides, each of which is a
    process that imports torch."""
    file, sides = tmp_path_factory.mktemp("bench") / "deep" / "bench.json", Augment.sides

    def some(bench: Augment, peers: bool) -> list[Side]:
        return [side for side in sides(bench, peers) if (side.name, side.threads) in SIDES or side.name in PEERS]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Augment, "sides", some)
        without(patch, *(kind.module for kind in PEERS.values()))
        assert main(["bench", TINY, "--peers", "--json", str(file)]) == 0
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_the_json_is_what_scripts_read(record: dict[str, Any]) -> None:
    assert record["bench"] == "augment"
    assert {"torch", "command", "cores", "cpu"} <= record["environment"].keys()
    assert {(row["side"], row["threads"]) for row in record["rows"]} == SIDES
    for row in record["rows"]:
        assert {"side", "size", "threads", "per_core", "wall", "spread"} <= row.keys()
        assert row["size"] == 32
        low, high = row["spread"]
        assert 0 < low <= row["per_core"] <= high
        assert row["wall"] > 0
        assert {key: len(found) for key, found in row["rounds"].items()} == {"per_core": 2, "wall": 2}
        assert ("ours_per_core" in row) == (row["side"] == "augaware plain")
        assert ("costs" in row) == (row["side"] in PARTS)
        assert ("threads_wall" in row) == (row["threads"] > 1)
    assert "drawn images" in record["data"]


def test_a_missing_peer_is_skipped_and_said(record: dict[str, Any]) -> None:
    assert record["skipped"] == {name: f"not installed; pip install {kind.package}" for name, kind in PEERS.items()}


def test_without_peers_ours_alone_is_measured() -> None:
    every = {(name, threads) for name in OURS for threads in (1, base.cores())}
    assert {(side.name, side.threads) for side in Augment().sides(peers=False)} == every | {(n, 1) for n in PARTS}
    assert {side.name for side in Augment().sides(peers=True)} == {*OURS, *PARTS, *PEERS}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["agument"], ["unknown bench 'agument'", "accepted: augment, probe, step", "did you mean 'augment'?"]),
        (["augment(size=32)"], ["unknown argument 'size'", "sizes"]),
        (["augment(sizes=[0])"], ["sizes=[0]", "at least 1"]),
        (["augment(images=0)"], ["images=0", "at least 1"]),
        (["augment(rounds=0)"], ["rounds=0", "at least 1"]),
        (["augment(seconds=-1)"], ["seconds=-1", "0 or more"]),
        (["probe(sets=[])"], ["sets=[]", "must be a list"]),
        (["probe(sets=['resnet18'])"], ["'resnet18'", "'ENCODER DATASET'", "NxDxC"]),
        (["probe(sets=['2x5x3'])"], ["'2x5x3'", "an image of each"]),
        (["probe(sets=['random/tiny flowers102'])"], ["'random/tiny flowers102'", "--data ROOT"]),
        (["probe(against=['sklearn'])"], ["against=['sklearn']", "scikit-learn tight"]),
        (["probe(pixels=0)"], ["pixels=0", "at least 1"]),
        ([TINY, "--data", "no/such/folder"], ["'no/such/folder'", "no such folder"]),
        ([TINY, "--json", "FULL"], ["--json", "exists already"]),
        ([], ["BENCH"]),
    ],
    ids=lambda value: value[0] if value else "nothing",
)
def test_a_wrong_request_is_one_line(
    arguments: list[str], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = tmp_path / "full.json"
    full.write_text("mine")
    assert main(["bench", *(str(full) if a == "FULL" else a for a in arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert all(word in captured.err for word in words), captured.err
    assert full.read_text() == "mine"


def test_the_function_takes_what_the_command_takes(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"--json .* exists already"):
        augaware.bench(TINY, json=tmp_path)


# --- images ---


@pytest.fixture
def images(tmp_path: Path) -> Ragged:
    pictures.write(tmp_path, 32, 6, None)
    return pictures.load(tmp_path, 32)


@pytest.mark.parametrize(("size", "least", "most"), [(32, 32, 32), (96, 96, 96), (224, 256, 500)])
def test_images_have_the_sizes_that_are_said(size: int, least: int, most: int) -> None:
    found = pictures.shapes(size, 400)
    assert (int(found.min()), int(found.max())) >= (least, least)
    assert least <= int(found.min()) <= least + 3
    assert most - 3 <= int(found.max()) <= most
    assert f"{least}" in pictures.described(size)
    assert f"{most}" in pictures.described(size)


def test_drawn_images_are_colourful_and_smooth_as_natural_ones() -> None:
    image = pictures.draw(0, 96, 80).float()
    assert image.shape == (3, 96, 80)
    assert torch.equal(image, pictures.draw(0, 96, 80).float())
    assert not torch.equal(image, pictures.draw(1, 96, 80).float())
    assert image.std() > 25
    assert (image[0] - image[2]).std() > 10
    neighbours = torch.stack((image[:, :, 1:].flatten(), image[:, :, :-1].flatten()))
    assert torch.corrcoef(neighbours)[0, 1] > 0.9


def test_images_of_a_source_are_resized(image_folder: Path, tmp_path: Path) -> None:
    origin = pictures.write(tmp_path, 130, 30, str(image_folder))  # more than there are
    assert origin == "short sides 30 to 32"
    found = pictures.load(tmp_path, 130)
    assert torch.equal(found.sizes, pictures.shapes(130, 30))
    assert all(image.float().std() > 10 for image in found.images())


# --- sides ---


@pytest.mark.parametrize("name", [*OURS, *PEERS])
@pytest.mark.filterwarnings("ignore")  # what a peer says is its own
def test_each_side_makes_two_views_of_each_image(name: str, images: Ragged) -> None:
    kind = {**OURS, **PEERS}[name]
    pytest.importorskip(kind.module)
    torch.manual_seed(0)
    index = torch.arange(len(images))
    recipe = Recipe(data="")
    views = kind(images, 32)
    one, two = views(index)
    mean, std = (torch.tensor(n).reshape(3, 1, 1) for n in (recipe.mean, recipe.std))
    for view in (one, two):
        assert view.shape == (6, 3, 32, 32)
        assert view.dtype == torch.float32
        pixels = view * std + mean
        assert pixels.min() > -0.02
        assert pixels.max() < 1.02
        assert pixels.std() > 0.05
    assert not torch.allclose(one, two, atol=0.05)
    assert not torch.allclose(one, views(index)[0], atol=0.05)  # drawn anew


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.filterwarnings("ignore")
def test_peers_take_images_of_mixed_sizes(name: str, tmp_path: Path) -> None:
    pytest.importorskip(PEERS[name].module)
    pictures.write(tmp_path, 128, 2, None)
    one, _ = PEERS[name](pictures.load(tmp_path, 128), 128)(torch.arange(2))
    assert one.shape == (2, 3, 128, 128)


class Constant(PerImage):
    """A peer that needs no package."""

    def transform(self, size: int) -> Any:
        return lambda image: image.float()


def test_worker_processes_do_all_pieces_and_count_their_time(images: Ragged) -> None:
    torch.manual_seed(0)
    work = Apart(Constant, images, 32, workers=2)
    assert work.items == 6
    first, second = work(2), work(3)
    assert min(first, second) > 0
    assert len(work.order) == 3
    pieces = Pieces(Constant, images, 32, piece=4)
    assert [len(pieces[n][0]) for n in range(3)] == [4, 2, 4]


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_the_same_views_with_more_of_omega(
    name: str, images: Ragged, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[list[set[str]]] = []
    begin = Camera.begin

    def watched(*arguments: Any) -> Callable[[], list[View]]:
        wait = begin(*arguments)

        def views() -> list[View]:
            found = wait()
            kept.append([set(view.omega) for view in found])
            return found

        return views

    monkeypatch.setattr(Camera, "begin", watched)
    work = InTurns(PARTS[name], images, 32)
    index = torch.arange(len(images))
    for _ in range(2):
        one, two = work.less(index), work.more(index)
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    drawn = {"crop", "flip", "color_jitter", "grayscale", "gaussian_blur"}
    expected = {"augaware omega": [[drawn] * 2], "augaware color_diff": [[drawn] * 2, [drawn | {"color_diff"}] * 2]}
    assert kept == expected[name] * 2


def test_what_a_part_costs_is_taken_pass_by_pass_and_each_begins_with_the_other(
    images: Ragged, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, order, seconds = [0.0], list[str](), {"less": [1.0, 2.0, 4.0], "more": [1.5, 2.5, 4.4]}

    def spend(name: str) -> Callable[..., None]:
        def views(*_: Any) -> None:
            clock[0] += seconds[name][order.count(name)]
            order.append(name)

        return views

    class Less(Ours):
        __call__ = spend("less")  # type: ignore[assignment]

    class More(Ours):
        __call__ = spend("more")  # type: ignore[assignment]

    work = InTurns(Part("", Less, More), images, 32)
    monkeypatch.setattr(time, "process_time", lambda: clock[0])
    work(3)
    assert order == ["more", "less", "less", "more", "more", "less"]
    assert work.found() == {"costs": pytest.approx(0.25)}


# --- turns and rows ---


class Sleeper:
    """Work that another process does, in 2 s of its time and 1 ms on the clock."""

    items = 10

    def __call__(self, passes: int) -> float:
        time.sleep(0.001 * passes)
        return 2.0 * passes


def test_time_in_other_processes_counts() -> None:
    done = timed(Sleeper(), 3)
    assert done.items == 30
    assert done.per_core == pytest.approx(5, rel=0.05)
    assert enough(Sleeper(), 0) == 1
    assert 2 < enough(Sleeper(), 0.02) < 40


def test_a_side_that_ends_says_why(tmp_path: Path) -> None:
    with Process("augment(images=1)", Side("nobody", 1), tmp_path) as process:
        process.ask(size=32, seconds=0)
        with pytest.raises(Failed, match="nobody"):
            process.answer()


def test_each_round_begins_with_another_and_a_side_that_fails_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    class Scripted:
        def __init__(self, spec: str, side: Side, folder: Path) -> None:
            self.side = side

        def __enter__(self) -> Scripted:
            return self

        def __exit__(self, *error: object) -> None:
            asked.append(f"end {self.side.name}")

        def ask(self, **request: Any) -> None:
            asked.append(self.side.name)
            self.request = request

        def answer(self) -> dict[str, Any]:
            if self.side.name == fails and len(asked) > 5:
                raise Failed("no memory")
            return {} if "size" in self.request else {"items": 1, "cpu": 1.0, "wall": 1.0}

    monkeypatch.setattr(turns, "Process", Scripted)
    bench, sides = Augment(sizes=[32, 96], rounds=2), [Side("augaware", 1), Side("a", 1), Side("b", 1)]
    fails = "a"
    with Display("bench", 18) as display:
        found = turns.take_turns(bench, "augment", sides, tmp_path, display)
    rounds = ["augaware", "a", "b", "augaware", "a", "b", "a", "b", "augaware"]
    assert asked[:9] == rounds
    assert [[side.name for side in measured] for measured in found.values()] == [["augaware", "b"]] * 2
    assert "a, 1 threads, at 32 px: ended (no memory); left out" in capsys.readouterr().err
    assert asked[-3:] == ["end b", "end a", "end augaware"]
    asked.clear()
    fails = "augaware"
    with Display("bench", 18) as display, pytest.raises(RuntimeError, match="no memory"):
        turns.take_turns(bench, "augment", sides, tmp_path, display)


def test_ratios_are_taken_within_a_round() -> None:
    ours = [Round(100, 1.0, 1.0), Round(100, 2.0, 2.0), Round(100, 4.0, 4.0)]
    peer = [Round(10, 1.0, 2.0), Round(10, 2.0, 4.0), Round(10, 5.0, 8.0)]
    all_cores = [Round(100, 1.0, 0.5), Round(100, 2.0, 1.0), Round(100, 4.0, 2.0)]
    part = [Round(100, 1.0, 1.0, {"costs": costs}) for costs in (0.005, 0.0025, 0.01)]
    sides = {
        Side("augaware", 1): ours,
        Side("augaware", 2): all_cores,
        Side("other", 1, "as it is", "no-such-package"): peer,
        Side("augaware part", 1, "a part", part=True): part,
    }
    found = rows({96: sides})
    assert found[2]["per_core"] == 5
    assert found[2]["spread"] == [2, 10]
    assert found[2]["ours_per_core"] == [10, 10, 12.5]
    assert found[2]["ours_wall"] == [20, 20, 20]
    assert found[2]["version"] is None
    assert found[1]["threads_wall"] == [2, 2, 2]
    assert found[3]["costs"] == [0.005, 0.0025, 0.01]
    assert "ours_per_core" not in found[3]
    columns, lines = table(found, "images", "px")
    assert [len(line) for line in lines] == [len(columns)] * 3
    assert lines[2][:4] == ["other", "96", "1", "5 [2, 10]"]
    assert lines[2][5] == "10.00 [10.00, 12.50] x"
    assert lines[1][7] == "2.00 [2.00, 2.00] x"
    assert "other : as it is" in remarks(found)
    assert "augaware part: a part, at 96 px +0.50 [+0.25, +1.00] % of CPU time" in remarks(found)


def test_a_bench_is_listed() -> None:
    assert lookup.names("bench") == ["augment", "probe", "step"]


# --- the linear probe ---

NAMES = {"authors", "torch float64", "scikit-learn", "scikit-learn tight"}


@pytest.mark.parametrize(("n", "d", "c"), [(60, 8, 3), (24, 40, 4), (40, 6, 2)])
def test_each_sweep_ends_at_the_same_objectives(n: int, d: int, c: int) -> None:
    splits = {name: feature_sets.draw(seed, n, d, c) for seed, name in enumerate(feature_sets.SPLITS)}
    found = {}
    for name, kind in {**sweeps.OURS, **sweeps.PEERS}.items():
        if name != "scikit-learn":  # its default tolerance ends early, which is what that row shows
            pytest.importorskip(kind.module)
            work = Selection(kind, splits)
            work(1)
            found[name] = work.found()
    assert len(found) == 4
    for name, side in found.items():
        gaps = [a - b for a, b in zip(side["objective"], found["scikit-learn tight"]["objective"], strict=True)]
        assert max(map(abs, gaps)) < 1e-4, name
        assert side["val"] == max(side["vals"])
        assert side["w"] == min(w for w, val in zip(STRENGTHS, side["vals"], strict=True) if val == side["val"])
        assert side["val"] == pytest.approx(found["augaware"]["val"], abs=1.01 / n)


def test_ours_is_the_selection_of_the_task() -> None:
    splits = {name: feature_sets.draw(seed, 60, 8, 3) for seed, name in enumerate(feature_sets.SPLITS)}
    work = Selection(sweeps.Ours, splits)
    work(2)
    chosen = select(*splits.values(), 3, top1)
    found = work.found()
    assert (found["w"], found["val"], found["test"]) == (chosen.w, chosen.val, chosen.test)


@pytest.mark.long
def test_the_probe_bench_compares_what_the_sides_found(tmp_path: Path) -> None:
    file = tmp_path / "probe.json"
    spec = "probe(sets=['30x4x2'], against=['authors', 'scikit-learn'], rounds=2)"
    with pytest.MonkeyPatch.context() as patch:
        without(patch, "sklearn")
        assert main(["bench", spec, "--peers", "--json", str(file)]) == 0
    record = json.loads(file.read_text())
    assert (record["unit"], record["measure"]) == ("strengths", "features")
    assert record["data"] == "30x4x2: 30 + 15 + 15 images, 4 features, 2 classes"
    assert record["skipped"].keys() == {"scikit-learn"}
    assert {row["side"] for row in record["rows"]} == {"augaware", "authors"}
    for row in record["rows"]:
        assert {"side", "size", "threads", "per_core", "wall", "spread"} <= row.keys()
        assert row["compared"].keys() == {"CPU s", "gap", "at w", "w", "val", "test"}
        low, high = row["spread"]
        assert row["compared"]["CPU s"][1:] == pytest.approx([45 / high, 45 / low])
        assert 0 <= row["compared"]["gap"] < 1e-4
    assert min(row["compared"]["gap"] for row in record["rows"]) < 1e-5


def test_the_gap_is_above_the_best_of_all_sides() -> None:
    def turns_of(seconds: float, objective: list[float]) -> list[Round]:
        return [Round(45, seconds, seconds, {"objective": objective, "w": 1.0, "val": 0.5, "test": 0.25})] * 2

    ours, peer = Side("augaware", 1), Side("authors", 1)
    best = [1.0] * 45
    worse = [*best[:7], 1.5, *best[8:]]
    compared = Probe().compare({ours: turns_of(2, best), peer: turns_of(90, worse)})
    assert compared[ours] == {
        "CPU s": [2, 2, 2], "gap": 0, "at w": STRENGTHS[0], "w": 1.0, "val": 0.5, "test": 0.25
    }  # fmt: skip
    assert (compared[peer]["gap"], compared[peer]["at w"], compared[peer]["CPU s"][0]) == (0.5, STRENGTHS[7], 90)
    columns, lines = table(rows({"a set": {ours: turns_of(2, best)}}, Probe().compare), "strengths", "features")
    assert dict(zip(columns, lines[0], strict=True))["CPU s"] == "2 [2, 2]"


@pytest.mark.realdata
def test_real_features_are_extracted_once(real_data: Path, tmp_path: Path) -> None:
    said = feature_sets.write(tmp_path, "random/tiny rsscn7", str(real_data), 24)
    assert said == "random/tiny rsscn7: 420 + 140 + 490 images, 128 features, 7 classes"
    splits = feature_sets.load(tmp_path, "random/tiny rsscn7")
    assert splits["test"].features.shape == (490, 128)
    assert splits["train"].labels.bincount().tolist() == [60] * 7


def test_without_peers_the_probe_is_ours_alone() -> None:
    assert [side.name for side in Probe().sides(peers=False)] == ["augaware"]
    assert {side.name for side in Probe().sides(peers=True)} == {"augaware", *NAMES}
    assert [side.name for side in Probe(against=["authors"]).sides(peers=True)] == ["augaware", "authors"]
