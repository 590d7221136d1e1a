"""The report of run folders: grouping, numbers, and folders that are broken."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from augaware.errors import RequestError
from augaware.report import numbers
from augaware.report.experiments import grouped
from augaware.report.folder import read
from augaware.report.page import Value
from augaware.report.runs import report
from augaware.report.training import mean_curve, spread
from test_report_page import HOSTILE, Page


def make_run(
    folder: Path, seed: int = 0, test: float | None = None, protocol: str = "official", **recipe: object
) -> Path:
    (folder / "eval").mkdir(parents=True)
    flat = {"host": "simclr", "aware": [], "encoder": "tiny", "epochs": 2, "seed": seed} | recipe
    (folder / "recipe.json").write_text(json.dumps(flat))
    (folder / "env.json").write_text(
        json.dumps({"command": f"augaware pretrain --seed {seed}", "gpu": {"name": "none"}})
    )
    lines = [{"step": i, "epoch": i // 5, "loss": 3.0 - i / 10 + seed, "loss/host": 1.0} for i in range(10)]
    lines += [{"step": 9, "epoch": 1, "health/knn": 0.5, "health/feature_std": float("nan")}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if test is not None:
        found = {
            "task": "linear_probe",
            "dataset": "cars50",
            "protocol": protocol,
            "metrics": {"test": test, "val": 0.0},
        }
        (folder / "eval" / "linear_probe.json").write_text(json.dumps(found))
    return folder


def written(dirs: list[Path], out: Path) -> tuple[str, str]:
    report(dirs, out)
    html = out.read_text(encoding="utf-8")
    return html, " ".join(" ".join(Page(html).text).split())


def test_seeds_are_one_experiment_with_mean_and_sd(tmp_path: Path) -> None:
    dirs = [make_run(tmp_path / f"v{s}", s, test) for s, test in enumerate([0.50, 0.52, 0.57])]
    dirs += [make_run(tmp_path / f"c{s}", s, test, aware=["cassle()"]) for s, test in enumerate([0.6, 0.7])]
    groups = grouped([read(d) for d in dirs])
    assert {label: len(runs) for label, runs in groups.items()} == {"simclr": 3, "simclr + cassle": 2}
    _, text = written(dirs, tmp_path / "report.html")
    assert "0.530 ± 0.036" in text  # sample sd of .50 .52 .57
    assert "0.650 ± 0.071" in text
    assert "5 runs of 2 experiments" in text
    assert "cars50 · linear_probe" in text


def test_spread() -> None:
    assert spread([]) is None
    assert spread([math.nan]) is None
    assert spread([0.5]) == 0.5
    found = spread([1.0, 2.0, 3.0, math.nan])
    assert isinstance(found, Value)
    assert (found.mean, found.sd, found.n) == (2.0, 1.0, 3)


def test_one_run_says_everything(tmp_path: Path) -> None:
    html, text = written([make_run(tmp_path / "run", test=0.5)], tmp_path / "report.html")
    for said in ("cars50 · linear_probe", "0.500", "loss/host", "health/knn", "augaware pretrain --seed 0", "gpu.name"):
        assert said in text
    assert "What could not be read" not in text
    assert "What differs" not in text
    assert html.count('class="plot"') == 4


def test_a_hundred_runs(tmp_path: Path) -> None:
    dirs = [make_run(tmp_path / f"r{i}", i % 2, i / 100, lr=i // 2) for i in range(100)]
    html, text = written(dirs, tmp_path / "report.html")
    assert "100 runs of 50 experiments" in text
    assert len(html) < 3_000_000


def test_different_protocols_are_never_averaged(tmp_path: Path) -> None:
    dirs = [make_run(tmp_path / "a", 0, 0.2), make_run(tmp_path / "b", 1, 0.8, protocol="ten epochs")]
    _, text = written(dirs, tmp_path / "report.html")
    assert "cars50 · linear_probe (1): protocol official." in text
    assert "cars50 · linear_probe (2): protocol ten epochs." in text
    assert "±" not in text.split("Results")[2].split("Training")[0]


def test_every_number_is_shown_without_a_test_metric(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    metrics = {"r2": 0.25, "mse": 4.0, "note": "text", "flag": True}
    (run / "eval" / "x.json").write_text(json.dumps({"task": "regression", "dataset": "d", "metrics": metrics}))
    _, text = written([run], tmp_path / "report.html")
    assert "d · regression · mse" in text
    assert "d · regression · r2" in text
    assert "flag" not in text
    metrics = {"test": {"object_hue": 0.125, "shape": 0.75}, "val": {"object_hue": 0.875}}
    (run / "eval" / "x.json").write_text(json.dumps({"task": "factors", "dataset": "shapes", "metrics": metrics}))
    _, text = written([run], tmp_path / "report.html")
    assert "shapes · factors · object_hue" in text
    assert "0.875" not in text


def test_a_resumed_step_counts_once_and_a_shorter_seed_ends_the_mean(tmp_path: Path) -> None:
    dirs = [make_run(tmp_path / f"r{s}", s) for s in (0, 1)]
    with (dirs[0] / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "loss": 100.0}\n{"step": 10, "loss": 7.0}\n')
    steps, values = mean_curve(read(d).curves["loss"] for d in dirs)
    assert list(steps) == list(range(10))
    assert numbers.mean(values[3]) == pytest.approx((100.0 + 3.7) / 2)
    assert values[4] == Value.over([2.6, 3.6])


def test_labels_name_as_little_as_tells_experiments_apart(tmp_path: Path) -> None:
    differing = [{"epochs": 2, "lr": 0.1}, {"epochs": 3, "lr": 0.2}, {"epochs": 2, "lr": 0.1, "host": "byol"}]
    runs = [read(make_run(tmp_path / f"r{i}", **recipe)) for i, recipe in enumerate(differing)]
    assert list(grouped(runs)) == ["simclr, epochs 2", "simclr, epochs 3", "byol"]
    assert list(grouped(runs[:1])) == ["simclr"]


def test_broken_files_are_named_and_nothing_crashes(tmp_path: Path) -> None:
    whole, torn, empty = (make_run(tmp_path / name, test=0.5) for name in ("whole", "torn", "empty"))
    with (torn / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 3, "los\n[1]\n\xff\xfe\n{"step": "x", "loss": "y"}\n{"loss": 1' + b"0" * 400 + b"}\n")
    (torn / "env.json").write_text("{")
    (torn / "recipe.json").write_bytes(b"\xff\xfe")
    (torn / "eval" / "linear_probe.json").write_text('{"task": "knn", "metrics": [1]}')
    (torn / "eval" / "deep.json").write_text("[" * 100_000)
    (torn / "eval" / "list.json").write_text("[]")
    for name in ("env.json", "metrics.jsonl", "eval/linear_probe.json"):
        (empty / name).unlink()
    (empty / "recipe.json").write_text(json.dumps({"a": {"b": {"c": {"d": {"e": [{}]}}}}, "n": None}))
    _, text = written([whole, torn, empty], tmp_path / "report.html")
    unread = text.split("What could not be read")[-1]
    for said in (
        "3 of 16 lines",
        "eval/linear_probe.json",
        "eval/deep.json",
        "not a JSON object",
        "recipe.json",
        "missing",
    ):
        assert said in unread, said


def test_hostile_runs_stay_text(tmp_path: Path) -> None:
    run = make_run(tmp_path / "<b>run", test=float("inf"), host=HOSTILE, protocol=HOSTILE)
    other = make_run(tmp_path / "other", test=float("nan"), host="x", protocol="p")
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 1, f"loss/{HOSTILE}": 1e308, f"health/{HOSTILE}": -1e308}) + "\n")
    (run / "env.json").write_text(json.dumps({"command": HOSTILE, HOSTILE: HOSTILE}))
    html, _ = written([run, other], tmp_path / "report.html")
    assert len(Page(html).find("script")) == 1
    assert not Page(html).find("b")


def test_a_folder_named_twice_is_one_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", test=0.5)
    _, text = written([run, tmp_path / "." / "run"], tmp_path / "report.html")
    assert "runs of" not in text


def test_what_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no run folder"):
        report([], tmp_path / "report.html")
    with pytest.raises(RequestError, match=r"not a run folder .*recipe\.json"):
        report([tmp_path / "nowhere"], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_report_needs_no_torch() -> None:
    code = "import sys, augaware.report.runs; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_extra_loss_stands_beside_that_of_predicting_nothing(tmp_path: Path) -> None:
    for seed, trained in enumerate((0.1, 0.2)):
        folder = make_run(tmp_path / f"r{seed}", seed, aware=["augself()"])
        lines = [
            {"step": i, "epoch": 0, "loss/augself/crop": trained if i == 9 else 1.0, "nothing/augself/crop": 0.03125}
            for i in range(10)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    make_run(tmp_path / "vanilla")
    _, text = written([tmp_path / "r0", tmp_path / "r1", tmp_path / "vanilla"], tmp_path / "report.html")
    assert "What awareness predicts, and how well" in text
    assert "augself/crop 0.031 ± 0.000 0.150 ± 0.071 4.80 ± 2.26" in text
    assert "predicting nothing" in text
    assert "nothing/augself" not in text  # it is a line in the chart of its loss, not a chart of its own


def test_a_flood_of_metrics_does_not_flood_the_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    flood = {f"loss/m{i}": 1.0 for i in range(5000)}
    (run / "metrics.jsonl").write_text("".join(json.dumps({"step": i} | flood) + "\n" for i in range(3)))
    html, text = written([run], tmp_path / "report.html")
    assert html.count('class="plot"') == 50
    assert "4950 more metrics are left out here" in text


def test_runs_without_extra_losses_say_nothing_of_predictions(tmp_path: Path) -> None:
    _, text = written([make_run(tmp_path / "run", test=0.5)], tmp_path / "report.html")
    assert "predicting nothing" not in text
