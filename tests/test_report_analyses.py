"""What analyses found, on a page and in plain language: from files alone, whatever stands in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from augaware.errors import RequestError
from augaware.report import analyses
from augaware.report.answer import answer, verdict, write_page
from augaware.report.parts import Group, Lines, Part, Picture, Section, Table, Value
from augaware.report.runs import report
from augaware.report.tables import view
from test_report_page import HOSTILE, Page, png


def number(measure: str, value: Any, of: str = "", stage: str = "y", **more: float) -> dict[str, Any]:
    found: dict[str, Any] = {"measure": measure, "of": of, "stage": stage, **more}
    return found if value is None else found | {"value": value}


def result(analysis: str, encoders: dict[str, list[dict[str, Any]]], **more: Any) -> dict[str, Any]:
    measures = {n["measure"]: f"what {n['measure']} means" for numbers in encoders.values() for n in numbers}
    found = {"analysis": analysis, "title": f"The {analysis}", "protocol": f"{analysis}/1", "measures": measures}
    found |= {"axis": "strength", "data": "images.tar", "images": 100, "encoders": encoders, "pictures": {}}
    return found | {"environment": {"command": f"augaware analyse mine --analysis {analysis}"}} | more


def written(folder: Path, *results: dict[str, Any]) -> Path:
    (folder / "analysis").mkdir(parents=True, exist_ok=True)
    for found in results:
        (folder / "analysis" / f"{found['analysis']}.json").write_text(json.dumps(found))
    return folder


def flat(sections: list[Section]) -> list[Part]:
    """All parts, those in groups too."""

    def opened(parts: Any) -> list[Part]:
        return [p for part in parts for p in (opened(part.parts) if isinstance(part, Group) else [part])]

    return [part for section in sections for part in opened(section.parts)]


def tables(sections: list[Section]) -> dict[str, Table]:
    return {part.caption: part for part in flat(sections) if isinstance(part, Table)}


PROBE = result(
    "parameter_probe",
    {
        "mine": [
            number("difference", 0.05, "color_jitter", low=0.02, high=0.08),
            number("difference", 0.30, "crop", low=0.25, high=0.35),
            number("difference", 0.90, "flip", low=0.85, high=0.95),
        ],
        "pixels": [number("difference", 0.8, "color_jitter", low=0.7, high=0.9)],
        "untrained": [
            number("difference", 0.40, "color_jitter", low=0.3, high=0.5),
            number("difference", 0.31, "crop", low=0.26, high=0.36),
            number("difference", 0.10, "flip", low=0.05, high=0.15),
        ],
    },
)


def test_the_answer_says_what_is_kept_and_lost_and_what_training_did() -> None:
    said = answer([PROBE])
    assert said.sentences == [
        "mine keeps flip; it keeps crop in part; it has lost color_jitter.",
        "Training threw away color_jitter: the same network untrained tells it better.",
        "Training brought out flip.",
    ]
    assert said.table is not None
    assert said.table.columns == ["augmentation", "verdict", "mine", "pixels", "untrained"]
    assert [row[:2] for row in said.table.rows] == [["color_jitter", "lost"], ["crop", "in part"], ["flip", "kept"]]
    assert said.table.rows[0][2] == Value(0.05, low=0.02, high=0.08)
    assert said.table.rows[1][3] is None  # not measured
    shown = [cell.text for cell in view(said.table).rows[0]]
    assert shown == ["color_jitter", "lost", "0.05 [0.02, 0.08]", "0.80 [0.70, 0.90]", "0.40 [0.30, 0.50]"]


@pytest.mark.parametrize(("skill", "word"), [(-0.2, "lost"), (0.09, "lost"), (0.1, "in part"), (0.5, "kept")])
def test_a_skill_in_a_word(skill: float, word: str) -> None:
    assert verdict(skill) == word
    assert verdict(skill, skill - 0.05, skill + 0.05) == word


def test_what_an_interval_leaves_open_is_called_so() -> None:
    assert verdict(0.36, low=-0.1, high=0.69) == "unclear"
    assert verdict(-0.2, low=-1.0, high=0.6) == "unclear"
    wide = {"mine": [number("difference", 0.3, "crop", low=-0.1, high=0.7), number("difference", 0.9, "flip")]}
    said = answer([result("parameter_probe", wide)])
    assert said.sentences == ["mine keeps flip.", "Of crop it cannot be said: look at more images."]


def test_several_that_training_threw_away_are_them() -> None:
    numbers = {
        who: [number("difference", v, of) for of in ("crop", "flip")] for who, v in (("a", 0.1), ("untrained", 0.9))
    }
    assert "the same network untrained tells them better" in answer([result("parameter_probe", numbers)]).sentences[1]


def test_that_nobody_asked_what_is_kept_is_said() -> None:
    moved = answer([result("sensitivity", {"mine": [number("moved", 0.4, "crop")]})])
    assert moved.sentences == [
        "Which augmentations mine keeps was not asked: see the analysis parameter_probe, which takes 100 images."
    ]
    assert moved.table is not None
    assert moved.table.columns == ["augmentation", "moved"]
    assert moved.table.note.startswith("Moved: 0")


def test_the_answer_says_what_is_told_of_colours_and_whether_omega_is_used() -> None:
    told = {"mine": [number("information", 1.25, "colour", low=1.1, high=1.4)]}
    told["untrained"] = [number("information", 0.5, "colour")]
    used = [number("own_over_another", 0.2, "crop", "cassle", low=0.1, high=0.3)]
    used += [number("own_over_another", 0.01, "flip", "cassle", low=-0.1, high=0.1)]
    used += [number("own_over_another", 0.3, "all", "cassle", low=0.2, high=0.4)]
    said = answer([result("mutual_information", told), result("condition_check", {"mine": used})])
    assert list(said.sentences[1:]) == [
        "Its features tell at least 1.25 [1.10, 1.40] nats of an image's colours (untrained 0.50).",
        "It uses the augmentation parameters that it is told: wrong ones of crop make it worse.",
    ]
    unused = answer([result("condition_check", {"mine": used[1:2]})])
    assert unused.sentences[-1].startswith("It does not use the augmentation parameters that it is told")
    assert answer([]).table is None


def test_a_measure_has_a_table_with_a_row_for_each_encoder_and_a_column_for_each_thing() -> None:
    groups = {"mine": [[analyses.parsed(PROBE)]]}
    found = tables(analyses.sections(groups))["difference of y"]
    assert found.columns == ["", "color_jitter", "crop", "flip"]
    assert [row[0] for row in found.rows] == ["mine", "pixels", "untrained"]
    assert found.rows[0][1] == Value(0.05, low=0.02, high=0.08)
    assert found.note == "what difference means"


def test_runs_of_one_experiment_are_a_mean_and_references_stand_once() -> None:
    runs = []
    for seed, value in enumerate((0.2, 0.4)):
        numbers = {f"run{seed}": [number("m", value, "crop")], "pixels": [number("m", 0.5 + seed, "crop")]}
        runs.append([analyses.parsed(result("a", numbers))])
    rows = tables(analyses.sections({"host + aware": runs}))["m of y"].rows
    assert rows == [["host + aware", Value.over([0.2, 0.4])], ["pixels", Value(0.5)]]


def test_who_was_asked_about_is_no_reference_of_another() -> None:
    one = result("a", {"mine": [number("m", 0.1)], "other": [number("m", 0.2)]})
    two = result("a", {"other": [number("m", 0.3)]})
    groups = {"first": [[analyses.parsed(one)]], "second": [[analyses.parsed(two)]]}
    assert tables(analyses.sections(groups))["m of y"].rows == [["first", Value(0.1)], ["second", Value(0.3)]]


def test_results_on_other_data_or_of_another_protocol_stand_apart() -> None:
    first = analyses.parsed(result("a", {"x": [number("m", 0.1)]}))
    second = analyses.parsed(result("a", {"y": [number("m", 0.2)]}, data="others.tar"))
    third = analyses.parsed(result("a", {"z": [number("m", 0.2)]}, protocol="a/2"))
    sections = analyses.sections({"x": [[first]], "y": [[second]], "z": [[third]]})
    assert [s.heading for s in sections] == ["The a: images.tar, 100 images", "The a: others.tar, 100 images", "The a"]
    assert len({s.id for s in sections}) == 3


def test_one_analysis_with_other_arguments_says_which() -> None:
    found = [
        analyses.parsed(result(spec, {"x": [number("m", 0.1)]}, title="Near", protocol="near/1"))
        for spec in ("near", "near(k=5)")
    ]
    assert [s.heading for s in analyses.sections({"x": [found]})] == ["Near: near", "Near: near(k=5)"]


def test_a_measure_at_many_stages_has_a_table_along_the_network() -> None:
    stages = ["input", "z", "layer1", "y", "layer2"]
    numbers = [number("m", i / 10, "crop", stage) for i, stage in enumerate(stages)]
    found = tables(analyses.sections({"mine": [[analyses.parsed(result("a", {"mine": numbers}))]]}))
    assert found["m, crop, along the network"].columns == ["", "input", "layer1", "layer2", "y", "z"]
    assert found["m, crop, along the network"].rows == [["mine", *map(Value, (0.0, 0.2, 0.4, 0.3, 0.1))]]
    assert found["m of y"].rows == [["mine", Value(0.3)]]


def test_a_measure_on_an_axis_is_a_curve_the_mean_over_runs() -> None:
    runs = [
        [analyses.parsed(result("a", {f"r{seed}": [number("m", seed + at, "crop", at=at) for at in (1.0, 0.5)]}))]
        for seed in (0, 1)
    ]
    (curve,) = [part for part in flat(analyses.sections({"mine": runs})) if isinstance(part, Lines)]
    assert dict(curve.series) == {"mine": ([0.5, 1.0], [1.0, 1.5])}
    assert curve.xlabel == "strength"


def test_what_was_not_measured_is_a_gap_and_never_a_number() -> None:
    for strange in (float("nan"), float("inf"), 10**400, True, "1"):
        odd = analyses.parsed(result("a", {"mine": [number("m", strange, "crop"), number("m", 0.1, "flip")]}))
        assert tables(analyses.sections({"mine": [[odd]]}))["m of y"].rows == [["mine", None, Value(0.1)]]
    found = analyses.parsed(result("a", {"mine": [number("m", None, "crop"), number("m", 0.1, "flip")]}))
    assert tables(analyses.sections({"mine": [[found]]}))["m of y"].rows == [["mine", None, Value(0.1)]]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"analysis": 1, "encoders": {}}', "[" * 100_000],
    ids=["empty", "torn", "list", "nothing", "other", "deep"],
)
def test_a_broken_result_is_named_and_the_others_are_read(text: str, tmp_path: Path) -> None:
    written(tmp_path, PROBE)
    (tmp_path / "analysis" / "broken.json").write_text(text)
    found, problems = analyses.read(tmp_path)
    assert [f.analysis for f in found] == ["parameter_probe"]
    assert [file for file, _ in problems] == ["analysis/broken.json"]
    assert "broken.json" in write_page(tmp_path).read_text()


def test_a_hostile_result_runs_no_script_and_reads_no_file_outside(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png())
    folder = tmp_path / "run"
    encoders = {HOSTILE: [number(HOSTILE, 0.5, HOSTILE, HOSTILE, at=float("nan")), number(HOSTILE, 1e308, HOSTILE)]}
    evil = result(HOSTILE.partition("/")[0], encoders, title=HOSTILE, axis=HOSTILE, data=HOSTILE)
    evil |= {"pictures": {"../secret.png": HOSTILE}, "environment": {"command": HOSTILE}}
    (folder / "analysis").mkdir(parents=True)
    (folder / "analysis" / "evil.json").write_text(json.dumps(evil))
    for html in (write_page(folder).read_text("utf-8", "replace"), _reported(folder, tmp_path)):
        page = Page(html)
        assert len(page.find("script")) == 1
        assert not any("onerror" in tag for tag in page.find("img"))
        assert not page.find("img")


def _reported(folder: Path, tmp_path: Path) -> str:
    report([folder], tmp_path / "report.html")
    return (tmp_path / "report.html").read_text("utf-8", "replace")


def test_the_page_holds_the_answer_the_tables_and_the_pictures(tmp_path: Path) -> None:
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "spectrum-1.png").write_bytes(png(40, 30))
    drawn = result("spectrum", {"mine": [number("alpha", 1.0)]}, pictures={"spectrum-1.png": "a curve, drawn"})
    page = Page(write_page(written(tmp_path, PROBE, drawn)).read_text())
    text = " ".join(" ".join(page.text).split())
    assert "it has lost color_jitter" in text
    assert "What does mine know?" in text
    assert text.index("The parameter_probe") < text.index("The spectrum")
    assert [tag["alt"] for tag in page.find("img")] == ["a curve, drawn"]
    assert "augaware analyse mine --analysis" in text
    with pytest.raises(RequestError, match="holds no result of an analysis"):
        write_page(tmp_path / "analysis")


def test_the_report_of_runs_has_a_section_for_each_analysis(tmp_path: Path) -> None:
    folders = [written(tmp_path / name, PROBE) for name in ("one", "two")]
    report(folders, tmp_path / "report.html")
    text = " ".join(Page((tmp_path / "report.html").read_text()).text)
    assert "The parameter_probe" in text


def test_a_picture_that_is_damaged_or_gone_is_left_out() -> None:
    found = analyses.parsed(result("a", {"mine": [number("m", 0.1)]}, pictures={"gone.png": "gone"}), Path("/nowhere"))
    assert not [part for part in flat(analyses.sections({"mine": [[found]]})) if isinstance(part, Picture)]
