"""What runs are one experiment, how they are called, and what they gain: against scipy and by hand."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path

import pytest
from scipy import stats

from augaware.errors import RequestError
from augaware.recipe import Recipe
from augaware.report.experiments import Column, calls, columns, grouped, ranks, vanillas
from augaware.report.folder import HOW, REPEATS, Result, read
from augaware.report.numbers import clear
from augaware.report.page import Value
from augaware.report.runs import report
from augaware.report.student import interval, quantile, within
from augaware.report.summary import order
from augaware.report.transfer import Head, Row, Table
from test_report_runs import make_run, written


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 8, 9, 30, 199])
def test_students_t_is_scipys(freedom: int) -> None:
    for share in (0.5, 0.9, 0.95, 0.999):
        assert quantile(share, freedom) == pytest.approx(stats.t.ppf((1 + share) / 2, freedom), rel=1e-9)
        assert within(1.7, freedom) == pytest.approx(1 - 2 * stats.t.sf(1.7, freedom), abs=1e-12)


def test_the_interval_of_a_mean_is_scipys() -> None:
    values = [0.3, 0.5, 0.1, 0.35]
    found = interval(values)
    low, high = stats.t.interval(0.95, 3, loc=0.3125, scale=stats.sem(values))
    assert (found.mean, found.low, found.high, found.n) == (0.3125, pytest.approx(low), pytest.approx(high), 4)
    assert interval([0.3]) == Value(0.3, n=1)


def results(folder: Path, **tests: float) -> None:
    """Results of the task probe, a data set each."""
    (folder / "eval").mkdir(parents=True, exist_ok=True)
    for name, test in tests.items():
        found = {"task": f"probe({name!r}, k=3)", "dataset": name, "protocol": "probe/1", "metrics": {"test": test}}
        (folder / "eval" / f"{name}.json").write_text(json.dumps(found | {"encoder": "timm/some"}))


def test_a_gain_is_paired_by_seed_with_the_vanilla_of_the_same_recipe(tmp_path: Path) -> None:
    numbers = {"vanilla": [0.30, 0.50, 0.40], "aware": [0.35, 0.56, 0.44, 0.9], "faster": [0.9, 0.9]}
    recipes = {"vanilla": {}, "aware": {"aware": ["augself(hidden=9)"]}, "faster": {"aware": ["augself()"], "lr": 9}}
    runs = []
    for name, values in numbers.items():
        for seed, value in enumerate(values):
            folder = make_run(tmp_path / f"{name}{seed}", seed, **recipes[name])
            results(folder, a=value)
            runs.append(read(folder))
    groups = grouped(runs)
    assert list(groups) == ["simclr", "simclr + augself(hidden=9)", "simclr + augself"]
    assert vanillas(groups) == {"simclr + augself(hidden=9)": "simclr"}  # nothing is vanilla at another lr
    (column,) = columns(groups)
    assert column.title == "a · probe(k=3)"
    gain = column.gain("simclr + augself(hidden=9)", "simclr")
    assert gain is not None
    paired = [0.05, 0.06, 0.04]  # the fourth seed has no vanilla
    low, high = stats.t.interval(0.95, 2, loc=0.05, scale=stats.sem(paired))
    assert (gain.mean, gain.low, gain.high, gain.n) == tuple(map(pytest.approx, (0.05, low, high, 3)))
    assert clear(gain) == 1
    assert clear(Value(0.05, low=-0.01, high=0.2)) == 0
    _, text = written([run.folder for run in runs], tmp_path / "report.html")
    assert "Gain over vanilla (simclr)" in text
    assert f"+0.050 [+{low:.3f}".replace("[+", "[") in text
    assert "better than vanilla in 1 of 1 result, clearly in 1" in text


def test_of_errors_less_is_better(tmp_path: Path) -> None:
    scores = {"v": [("0", Result("t", "d", "", "mae", 2.0))], "a": [("0", Result("t", "d", "", "mae", 1.5))]}
    column = Column("t", "t", "t", "", True, scores)
    assert column.gain("a", "v") == Value(0.5, n=1)


def test_ranks_are_those_of_a_suite(tmp_path: Path) -> None:
    rows = {"x": {"a": 0.5, "b": 0.2}, "y": {"a": 0.7, "b": 0.1}, "z": {"a": 0.9}}
    for name, tests in rows.items():
        results(make_run(tmp_path / name, host=name), **tests)
    groups = grouped([read(tmp_path / name) for name in rows])
    found = ranks(groups, columns(groups))
    by_suite = Table({"a": Head("a"), "b": Head("b")}, [Row(name, tests) for name, tests in rows.items()]).ranks()
    assert [found[name] for name in rows] == by_suite
    assert order(groups, found) == ["z", "y", "x"] if found["y"].mean < found["x"].mean else ["z", "x", "y"]


def test_where_a_run_lies_and_how_it_was_done_makes_no_other_experiment(tmp_path: Path) -> None:
    recipes = [
        {"data": "../here/imagenet/train.tar", "device": "cpu", "snapshots": 3, "store": "x"},
        {"data": "/there/imagenet/train.tar", "device": "cuda", "snapshots": 0},
        {"data": "/there/imagenet/train.tar", "compile": "auto", "strategy": "ddp"},  # of a version that knew of more
        {"data": "/there/places/train.tar"},
    ]
    runs = [read(make_run(tmp_path / f"r{i}", i, **recipe)) for i, recipe in enumerate(recipes)]
    labels = {label: len(members) for label, members in grouped(runs).items()}
    assert labels == {"simclr, data imagenet/train.tar": 3, "simclr, data places/train.tar": 1}


def test_of_every_setting_it_is_decided_whether_it_makes_an_experiment() -> None:
    """A new one that only says how a run is done would part runs from those that were made before it."""
    data = "data channels pixel_range mean std known augment views size"
    trained = "host aware encoder init epochs batch_size chunk seed precision clip_norm"
    optimiser = "optimizer base_lr weight_decay weight_decay_end momentum lr_1d exclude_1d"
    schedule = "warmup_epochs warmup_from final_lr"
    learnt = " ".join((data, trained, optimiser, schedule)).split()
    assert REPEATS in learnt
    assert sorted(field.name for field in fields(Recipe)) == sorted([*learnt, *HOW])


def test_labels_show_the_arguments_that_differ_and_nothing_of_the_others(tmp_path: Path) -> None:
    aware = [["equimod(width=4, lam=2.0)"], ["equimod(width=4)"], ["equimod(width=4)", "cassle()"], []]
    runs = [read(make_run(tmp_path / f"r{i}", aware=a, host="simclr(temperature=0.2)")) for i, a in enumerate(aware)]
    assert list(grouped(runs)) == [
        "simclr + equimod(lam=2.0)",
        "simclr + equimod",
        "simclr + equimod + cassle",
        "simclr",
    ]


@pytest.mark.parametrize(
    "text", ["", "a(", "a(b", "\x00", "(" * 5000, "a; b", "'\\d'", "1 if", "f(**x)", "f(*x)", "]["]
)
def test_any_text_is_read_as_calls(text: str) -> None:
    assert isinstance(calls(text), list)


def test_a_single_run_has_the_interval_over_the_test_images(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    metrics = {"test": {"r2": 0.5, "map": 0.25}, "standard_error": {"r2": 0.01, "map": math.nan}}
    (folder / "eval" / "x.json").write_text(json.dumps({"task": "t", "dataset": "d", "metrics": metrics}))
    _, text = written([folder], tmp_path / "report.html")
    assert "0.500 [0.480, 0.520]" in text
    assert "d · t · map 0.250" in text


def test_a_folder_with_results_alone_is_an_experiment_called_by_its_encoder(tmp_path: Path) -> None:
    results(tmp_path / "one", a=0.5)
    results(tmp_path / "two", a=0.7)
    (tmp_path / "three" / "analysis").mkdir(parents=True)
    found = {
        "analysis": "x",
        "title": "X",
        "protocol": "x/1",
        "measures": {},
        "axis": "",
        "data": "images",
        "images": 9,
    }
    found |= {"encoder": "timm/other", "encoders": {"timm/other": [], "pixels": []}, "pictures": {}}
    (tmp_path / "three" / "analysis" / "x.json").write_text(json.dumps(found))
    folders = [tmp_path / name for name in ("one", "two", "three")]
    assert list(grouped([read(f) for f in folders[1:]])) == ["timm/some", "timm/other"]
    html, text = written(folders, tmp_path / "report.html")
    assert f"timm/some ({folders[0]})" in text
    assert "What could not be read" not in text
    assert 'id="training"' not in html
    with pytest.raises(RequestError, match=r"not a run folder and holds no results .*eval/\*\.json"):
        report([tmp_path], tmp_path / "other.html")


def test_results_of_a_run_elsewhere_know_their_recipe(tmp_path: Path) -> None:
    recipe = {"host": "byol(x=1)", "aware": ["cassle()"], "seed": 3}
    results(tmp_path / "out", a=0.5)
    path = tmp_path / "out" / "eval" / "a.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"recipe": recipe, "environment": {"command": "made so"}})
    )
    run = read(tmp_path / "out")
    assert list(grouped([run])) == ["byol + cassle"]
    assert run.environment["command"] == "made so"
