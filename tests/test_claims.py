"""benchmarks/claims.py says of the studies that are kept what a plain sum over their files says."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from augaware.report.parts import Value
from from_file import from_file

ROOT = Path(__file__).parents[1]
FLOWERS = "linear_probe('flowers102')"


@pytest.fixture(scope="module")
def claims() -> ModuleType:
    return from_file(ROOT / "benchmarks" / "claims.py")


@pytest.fixture(scope="module")
def hosts() -> dict[str, Any]:
    return dict(json.loads((ROOT / "results" / "hosts.json").read_text()))


def flowers(cell: dict[str, Any], stop: dict[str, Any]) -> float:
    return next(100 * float(r["value"]) for r in stop["results"] if r["task"] == FLOWERS)


def test_a_difference_is_paired_by_host_and_seed(claims: ModuleType, hosts: dict[str, Any]) -> None:
    known = {(*c["levels"], c["seed"]): flowers(c, c) for c in hosts["cells"] if len(c["levels"]) == 2}
    expected = [known[h, m, s] - known[h, "vanilla", s] for h, m, s in known if m == "augself"]
    found = claims.difference(claims.cells_of(hosts), "augself", "vanilla", claims.mean_of([FLOWERS]))
    assert found.n == len(expected) == 21
    assert found.mean == pytest.approx(statistics.fmean(expected))


def test_halfway_is_the_second_snapshot_of_that_level_alone(claims: ModuleType, hosts: dict[str, Any]) -> None:
    cells = {(*c["levels"], c["seed"]): c for c in hosts["cells"] if len(c["levels"]) == 2}
    expected = []
    for (host, method, seed), cell in cells.items():
        if method == "equimod-color":
            stop = sorted(cell["way"], key=lambda stop: stop["step"])[1]
            assert stop["step"] == 624
            plain = cells[host, "vanilla", seed]
            expected.append(flowers(cell, stop) - flowers(plain, plain))
    half = claims.halfway(claims.cells_of(hosts), "equimod-color")
    found = claims.difference(half, "equimod-color", "vanilla", claims.mean_of([FLOWERS]))
    assert found.mean == pytest.approx(statistics.fmean(expected))


def test_what_an_analysis_found_is_a_score(claims: ModuleType) -> None:
    study = json.loads((ROOT / "results" / "ablations.json").read_text())
    known = [
        100 * n["value"]
        for c in study["cells"]
        if c["levels"] == ["cassle-all"]
        for n in next(iter(c["analyses"][0]["encoders"].values()))
        if (n["measure"], n["of"]) == ("own_over_another", "crop")
    ]
    found = claims.level_of(claims.cells_of(study), "cassle-all", claims.USED.format("crop"))
    assert found.n == len(known) > 0
    assert found.mean == pytest.approx(statistics.fmean(known))
    assert found.low < found.mean < found.high


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (Value(1.0, low=0.5, high=1.5, n=3), "holds"),
        (Value(1.0, low=-0.5, high=2.5, n=3), "undecided"),
        (Value(-1.0, low=-1.5, high=-0.5, n=3), "does not hold"),
        (Value(1.0, low=0.5, high=1.5, n=2), "too few seeds"),
        (None, ""),
    ],
)
def test_the_verdict_is_of_the_interval(claims: ModuleType, value: Value | None, verdict: str) -> None:
    assert claims.line("it", value).split("|")[-2].strip() == verdict


def test_every_level_that_a_claim_names_is_in_its_study(claims: ModuleType) -> None:
    """... so none is passed over for its spelling: once all cells are there, no line says not run."""
    for name, told in (("hosts", claims.of_hosts), ("ablations", claims.of_ablations), ("jitter", claims.of_jitter)):
        levels = [list(level) for level in json.loads((ROOT / "studies" / f"{name}.json").read_text())["grid"]]
        score = {task: (0.5, 0.1) for task in (*claims.PROBES, *claims.PLACE, claims.COLOUR)}
        score |= {claims.USED.format(of): (0.5, 0.1) for of in ("all", "color_jitter", "crop", "flip")}
        score |= {claims.QUALITY: (0.5, 0.0)}
        grid = [(one,) for one in levels[0]] if len(levels) == 1 else [(a, b) for a in levels[0] for b in levels[1]]
        cells = [claims.Made(each, seed, score, [score] * 4) for each in grid for seed in (1, 2, 3)]
        lines = told(cells)
        assert len(lines) > 5
        assert not [line for line in lines if "not run" in line]
