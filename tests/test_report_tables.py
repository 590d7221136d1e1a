"""Tables as files: all digits in CSV, LaTeX that no name can break, one file for every table of a page."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from augaware.report.page import Dots, Group, Lines, Section, Table, Text, Value, save_tables
from augaware.report.runs import report
from augaware.report.tables import csv_text, files, latex, markdown, stem, tex
from test_report_page import HOSTILE
from test_report_runs import make_run

NASTY = '\\input{/etc/passwd} $x^2$ 100% a_b #1 {c} ~ "q" <&>|\n%\\end{tabular}\u202e日本\ud800\x00'


def test_csv_holds_all_digits_and_each_uncertainty_as_a_column() -> None:
    third = 1 / 3
    rows = [["a", Value(third, 0.1, n=3), 1], ["=b", Value(0.5, low=0.25, high=0.75), None], ["c", math.nan, True]]
    found = list(csv.reader(io.StringIO(csv_text(Table("t", ["+name", "x", "y"], rows)))))
    assert found[0] == ["'+name", "x", "x (sd)", "x (low)", "x (high)", "x (n)", "y"]
    assert found[1] == ["a", repr(third), "0.1", "", "", "3", "1"]
    assert found[2] == ["'=b", "0.5", "", "0.25", "0.75", "", ""]  # no formula for a spreadsheet
    assert found[3] == ["c", "", "", "", "", "", "True"]


@pytest.mark.parametrize("sign", list('&%$#_{}~^\\<>|"±−∞·†…–'))
def test_every_sign_of_latex_is_escaped(sign: str) -> None:
    assert tex(sign) != sign
    assert tex(tex(sign)) != tex(sign) or sign == "–"


def test_no_name_breaks_out_of_a_tabular() -> None:
    text = latex(Table(NASTY, [NASTY, "x"], [[NASTY, 1.0], ["b", 2.0]], note=NASTY, best={"x": "max"}))
    assert text.count(r"\begin{tabular}") == 1
    lines = text.split("\n")
    assert [line for line in lines if line.startswith(r"\end")] == [r"\end{tabular}"]
    after = lines[lines.index(r"\end{tabular}") + 1 :]
    assert all(line.startswith("% ") or not line for line in after)
    for line in lines[1 : lines.index(r"\end{tabular}")]:
        bare = re.sub(r"\\(text\w+|dag|infty|pm|cdot|dots|[&%$#_{}])|\\\\$", "", line)
        assert "\\" not in bare.removeprefix(r"\toprule").removeprefix(r"\midrule").removeprefix(r"\bottomrule"), line
        assert not set(bare) & set('%#_~^|"<>')
    assert r"\textbf{2.00}" in text


def test_no_name_breaks_out_of_a_markdown_table() -> None:
    table = Table(NASTY, [NASTY, "x"], [[NASTY, Value(1.0, low=0.5, high=1.5)], ["b", 2.0]], best={"x": "max"})
    title, blank, *rows = markdown(table).rstrip("\n").split("\n")
    assert title.startswith("**")
    assert blank == ""
    assert rows[1] == "| --- | ---: |"
    for row in (rows[0], *rows[2:]):
        assert len(re.findall(r"(?<!\\)\|", row)) == 3
        assert not re.search(r"(?<!\\)[<>`\[\]]", row)
    assert rows[2].endswith(r"| 1.00 \[0.50, 1.50\] |")
    assert rows[3] == "| b | **2.00** |"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_reads_it(tmp_path: Path) -> None:
    table = latex(Table("t", [NASTY.replace("日本\ud800", ""), "x"], [["±−∞·†…–", Value(1.0, 0.1)]]))
    (tmp_path / "t.tex").write_text(
        rf"\documentclass{{article}}\usepackage[T1]{{fontenc}}\usepackage{{booktabs}}\begin{{document}}{table}\end{{document}}"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_every_table_and_chart_has_a_name_of_its_own() -> None:
    chart = Lines("Loss", {"a": ([0], [1.0])}, "step", "")
    dots = Dots("Gain", ["g"], {"a": [Value(0.1, low=0.0, high=0.2)]})
    inner = Group("more", [chart, Text("no table")])
    found = files([Section("S", "s", [Table("Loss", ["x"], []), chart, dots, inner])])
    assert list(found) == ["s-loss", "s-loss-2", "s-gain", "s-loss-3"]
    assert csv_text(found["s-gain"]).splitlines()[0] == ",g,g (low),g (high)"
    assert stem("../../etc/passwd") == "etc-passwd"
    assert stem(HOSTILE).isascii()
    assert stem("日本") == "table"


def test_a_report_writes_its_tables(tmp_path: Path) -> None:
    dirs = [make_run(tmp_path / f"r{i}", i, 0.5, host=HOSTILE if i else "simclr") for i in range(2)]
    report(dirs, tmp_path / "report.html", tables=tmp_path / "deep" / "tables")
    names = {path.name for path in (tmp_path / "deep" / "tables").iterdir()}
    assert {
        "results-linear-probe.csv",
        "results-linear-probe.tex",
        "results-linear-probe.md",
        "training-loss.csv",
    } <= names
    assert len(names) % 3 == 0
    rows = list(csv.DictReader((tmp_path / "deep" / "tables" / "results-linear-probe.csv").read_text().splitlines()))
    assert [float(row["cars50"]) for row in rows] == [0.5, 0.5]
    assert "--tables" in (tmp_path / "report.html").read_text()
    assert save_tables([], tmp_path / "none") == []


def test_different_captions_never_share_a_file_by_the_letters_that_a_name_may_have() -> None:
    sections = [Section("S", "s", [Table(name, ["x"], []) for name in ("a b", "a-b", "A_B", "a b 2")])]
    assert list(files(sections)) == ["s-a-b", "s-a-b-2", "s-a-b-3", "s-a-b-2-2"]
