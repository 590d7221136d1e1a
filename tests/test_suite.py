"""Suites: which columns are there, what is kept and done anew, ranks by hand, and the table as text."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import augaware
from augaware import lookup
from augaware.api.judging import evaluate_suite
from augaware.cli import main
from augaware.data.datasets.base import plug_in
from augaware.errors import RequestError
from augaware.report.transfer import Head, Row, Table
from augaware.suites.base import Suite, published

REAL = Path(os.environ.get("AUGAWARE_DATA", Path(__file__).parents[2] / "shared" / "data"))
SPEC = "transfer(without=['detection', 'looc_probe'])"
ENCODER = "random/tiny(widths=(4, 8))"


def folder(path: Path, per_class: int, classes: int = 6) -> None:
    """An ImageFolder of noise, each class about a level of its own."""
    generator = torch.Generator().manual_seed(sum(map(ord, str(path.relative_to(path.parents[1])))))
    for label in range(classes):
        (path / f"c{label}").mkdir(parents=True)
        for number in range(per_class):
            noise = torch.randint(0, 40, (12, 12, 3), generator=generator) + 35 * label
            Image.fromarray(noise.to(torch.uint8).numpy()).save(path / f"c{label}" / f"{number}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """ROOT with two data sets that the suite names, and one that nobody knows."""
    for name in ("medleaf36", "cars50", "moths"):
        for split, count in (("train", 14), ("val", 4), ("test", 5)):
            folder(tmp_path / "data" / name / split, count)
    return tmp_path / "data"


# --- ranks and text


TABLE = Table(
    {"a": Head("A"), "b": Head("B & b", lower=True), "c": Head("C", same=False), "d": Head("D")},
    [
        Row("theirs", {"a": 50.0, "b": 3.0, "c": 99.0}, published=True),
        Row("x", {"a": 60.0, "b": 2.0, "c": 10.0, "d": 1.0}),
        Row("y_1", {"a": 50.0, "b": 1.0, "c": 20.0}),
    ],
)


def test_ranks_by_hand() -> None:
    theirs, x, y = TABLE.ranks()
    assert theirs is not None
    assert x is not None
    assert y is not None
    # a: x first, the others share 2.5; b, lower is better: y, x, theirs; c: ours alone; d: nobody to compare with
    assert (theirs.mean, theirs.columns) == (pytest.approx((2.5 + 3) / 2), 2)
    assert (x.mean, x.columns) == (pytest.approx((1 + 2 + 2) / 3), 3)
    assert (y.mean, y.columns) == (pytest.approx((2.5 + 1 + 1) / 3), 3)
    assert x.sd == pytest.approx((2 / 9) ** 0.5)


def test_a_row_that_cannot_be_compared_has_no_rank() -> None:
    assert Table({"a": Head("A", same=False)}, [Row("p", {"a": 1.0}, True), Row("x", {"a": 2.0})]).ranks() == [
        None,
        None,
    ]


def test_the_markdown_is_a_table_with_the_best_in_bold() -> None:
    lines = TABLE.markdown().splitlines()
    assert lines[0] == "| method | A | B & b | C† | D | mean rank |"
    assert lines[2] == "| theirs | 50.00 | 3.00 | 99.00 | – | 2.8 ± 0.2 (2) |"
    assert lines[3].startswith("| x | **60.00** | 2.00 | 10.00 | 1.00 |")
    assert lines[4].startswith("| y_1 | 50.00 | **1.00** | **20.00** | – |")


def test_the_csv_has_all_digits() -> None:
    rows = list(csv.DictReader(io.StringIO(TABLE.csv())))
    assert [row["method"] for row in rows] == ["theirs", "x", "y_1"]
    assert [row["published"] for row in rows] == ["1", "0", "0"]
    assert float(rows[1]["mean_rank"]) == pytest.approx(5 / 3)
    assert rows[2]["d"] == ""


def test_the_latex_escapes_what_tex_reads() -> None:
    text = TABLE.latex()
    assert r"\begin{tabular}{lrrrrr}" in text
    assert r"B \& b" in text
    assert r"y\_1 & 50.00 & \textbf{1.00}" in text
    assert r"C\dag{}" in text
    assert text.count(r"\\") == 4


def test_beside_names_the_best_published() -> None:
    titles, lines = TABLE.beside()
    assert titles == ["", "x", "y_1", "best published", "by"]
    assert lines[1] == ["B & b", "2.00", "1.00", "3.00", "theirs"]
    assert lines[3] == ["D", "1.00", "–", "–", ""]
    assert lines[-1][:3] == ["mean rank", "1.7", "1.5"]


# --- the transfer suite


def test_published_numbers_are_the_papers() -> None:
    rows = {row.name: row.numbers for row in published("published.csv")}
    assert len(rows) == 27
    assert rows["MoCo v2 CASSLE (ImageNet-100 ResNet-50)"]["flowers102"] == 86.51
    assert rows["SimSiam AugSelf (STL-10 ResNet-18)"]["flowers102"] == 72.18
    assert rows["SimSiam AugSelf (ImageNet-100 ResNet-50)"]["fc100_5"] == 55.27
    assert rows["SimCLR CASSLE (ImageNet-100 ResNet-50)"]["voc0712"] == 45.60
    papers = [column for column in rows["MoCo v2 CASSLE (ImageNet-100 ResNet-50)"] if column != "voc0712"]
    assert len(papers) == 13
    vanilla, cassle = (rows[f"MoCo v2 {m} (ImageNet-100 ResNet-50)"] for m in ("vanilla", "CASSLE"))
    gains = [cassle[column] - vanilla[column] for column in papers]
    assert sum(gains) / 13 == pytest.approx(2.61, abs=0.01)  # as the paper's table gives it
    assert all(gain > 0 for gain in gains)


def test_every_column_is_a_task_on_a_known_data_set() -> None:
    suite: Suite = lookup.build("suites", "transfer")
    names = [column.name for column in suite.columns]
    assert len(set(names)) == len(names)
    for column in suite.columns:
        task = lookup.build("tasks", column.spec)
        assert task.dataset == column.dataset
        assert plug_in(column.dataset) is not None
    assert {name for row in suite.published for name in row.numbers} <= set(names)


def test_a_suite_runs_what_is_there_and_goes_on_where_it_was(root: Path, tmp_path: Path) -> None:
    out, heard = tmp_path / "out", list[tuple[str, float]]()

    def run() -> dict[str, Any]:
        heard.clear()
        done = evaluate_suite(
            ENCODER,
            SPEC,
            data=root,
            out=out,
            size=12,
            device="cpu",
            told=lambda task, result: heard.append((task, result["seconds"])),  # type: ignore[index]
        )
        assert done.failed == {}
        return {result["task"]: result for result in done.results}

    first = run()
    assert set(first) == {
        *(f"linear_probe('{name}')" for name in ("medleaf36", "cars50", "moths")),
        *(f"retrieval('{name}')" for name in ("medleaf36", "cars50")),
        *(f"few_shot('medleaf36', shots={shots})" for shots in (1, 5)),
    }
    assert {path.suffix for path in (out / "eval").iterdir()} == {".json", ".png", ".md", ".csv", ".tex"}
    assert len(list((out / "features").iterdir())) == 9  # three splits of three sets, whatever the task
    before = dict(heard)
    assert run() == first  # nothing was done again, and nothing has changed
    assert dict(heard) == before
    damaged = out / "eval" / "linear_probe_moths.json"
    damaged.write_text(damaged.read_text().replace("linear_probe/", "linear_probe/0."))  # another protocol
    (out / "eval" / "linear_probe_cars50.json").write_text("{")
    again = run()
    assert again["linear_probe('cars50')"]["metrics"] == first["linear_probe('cars50')"]["metrics"]
    assert json.loads(damaged.read_text())["protocol"] == first["linear_probe('moths')"]["protocol"]


def test_another_encoder_is_not_mistaken_for_the_one_before(root: Path, tmp_path: Path) -> None:
    def run(encoder: str, size: int) -> dict[str, Any]:
        done = evaluate_suite(
            encoder,
            "transfer(without=['detection', 'looc_probe', 'few_shot', 'retrieval'])",
            data=root,
            out=tmp_path / "out",
            size=size,
            device="cpu",
        )
        return {result["task"]: result["fingerprint"] for result in done.results}

    one, other = run(ENCODER, 12), run("random/pixels", 12)
    assert not set(one.values()) & set(other.values())
    assert run("random/pixels", 12) == other


def test_what_is_damaged_is_told_and_the_rest_is_done(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (root / "cars50" / "test").rglob("*.png"):
        file.write_bytes(b"no image")
    where = ["--data", str(root), "--out", str(tmp_path / "o")]
    code = main(["eval", ENCODER, "--suite", SPEC, *where, "--size", "12", "--device", "cpu"])
    out, err = capsys.readouterr()
    assert code == 2
    assert "linear_probe('medleaf36')" in out
    assert "mean rank" in out
    assert "linear_probe('cars50')" not in out
    assert err.count("none of its 30 images can be read") == 2
    assert "2 of 7 tasks could not be done" in err.splitlines()[-1]


def test_rows_of_other_encoders(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--suite", "transfer(without=['detection', 'few_shot'])", "--data", str(root), "--size", "12"]
    assert main(["eval", "random/pixels", *common, "--out", str(tmp_path / "pixels"), "--device", "cpu"]) == 0
    one = [*common, "--out", str(tmp_path / "tiny"), "--against", str(tmp_path / "pixels"), "--device", "cpu"]
    assert main(["eval", ENCODER, *one]) == 0
    rows = list(csv.DictReader((tmp_path / "tiny" / "eval" / "transfer.csv").read_text().splitlines()))
    assert [row["method"] for row in rows] == ["pixels", ENCODER]
    assert all(0 < float(row["medleaf36"]) <= 100 for row in rows)
    assert sum(float(row["mean_rank"]) for row in rows) == pytest.approx(3)
    capsys.readouterr()
    assert main(["eval", ENCODER, *common, "--out", str(tmp_path / "t2"), "--against", str(root)]) == 2
    assert "holds no results" in capsys.readouterr().err


REFUSED: dict[str, tuple[list[str], str]] = {
    "neither": ([], "give either --task SPEC"),
    "both": (["--suite", "transfer", "--task", "knn('x')"], "give either --task SPEC"),
    "no out": (["--suite", "transfer"], "give --out DIR"),
    "unknown suite": (["--suite", "transfers", "--out", "o"], "unknown suite 'transfers'"),
    "unknown task": (["--suite", "transfer(without=['detektion'])", "--out", "o"], "did you mean 'detection'"),
    "rows without a table": (["--task", "knn('x')", "--against", "o"], "--against adds rows"),
    "precision": (["--task", "knn('x')", "--precision", "fp16"], "accepted for evaluation: fp32, bf16"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_request_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["eval", ENCODER, "--data", str(tmp_path), *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_empty_root(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no data set of suite 'transfer'; see: augaware doctor"):
        augaware.evaluate(ENCODER, suite="transfer", data=tmp_path, out=tmp_path / "out", device="cpu")


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real image sets are not at {REAL}; set AUGAWARE_DATA")
def test_pixels_on_a_real_set(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "rsscn7").symlink_to(REAL / "rsscn7")
    probe, retrieval = augaware.evaluate(
        "random/pixels", suite="transfer", data=tmp_path / "root", out=tmp_path / "out", size=24, device="cpu"
    )
    assert (probe["task"], retrieval["task"]) == ("linear_probe('rsscn7')", "retrieval('rsscn7')")
    assert 0.3 < probe["metrics"]["test"] < 0.6
    assert 0.2 < retrieval["metrics"]["test"]["map"] < 0.3
