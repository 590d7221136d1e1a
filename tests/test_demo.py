"""The demo: its arithmetic on made-up results, and the whole of it on a very small scale."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from augaware.cli import main
from augaware.data.shapes import shapes_splits
from augaware.demo_page import at_equal_quality, differences, page, table
from augaware.errors import RequestError
from augaware.report.page import Value

demo_module = importlib.import_module("augaware.demo")  # the package's own name is the function
FACTORS = {
    "object_hue": 0.5,
    "background_hue": 0.6,
    "background_level": 0.7,
    "background": 0.8,
    "texture": 0.4,
    "shape": 0.2,
    "x": 0.1,
    "y": 0.1,
    "radius": 0.1,
    "orientation": 0.0,
}


def result(variant: str, seed: int, hue: float, match: float, path: tuple[tuple[float, float], ...] = ()) -> dict:
    points = [{"instance_match": m, "factors": FACTORS | {"object_hue": h}} for m, h in path]
    return {
        "variant": variant,
        "seed": seed,
        "factors": FACTORS | {"object_hue": hue},
        "instance_match": match,
        "trajectory": points,
    }


VANILLA = result("vanilla", 10, hue=0.2, match=0.3, path=((0.1, 0.6), (0.2, 0.4), (0.3, 0.2)))


@pytest.mark.parametrize(
    ("match", "of_vanilla"), [(0.1, 0.6), (0.15, 0.5), (0.25, 0.3), (0.3, 0.2), (0.05, 0.6), (0.9, 0.2)]
)
def test_equal_quality_reads_vanilla_where_it_matched_as_many_instances_and_never_beyond(match, of_vanilla):
    aware = result("cassle", 10, hue=0.7, match=match)
    assert at_equal_quality(VANILLA, aware) == pytest.approx(0.7 - of_vanilla)


def test_spread_is_mean_and_sample_standard_deviation():
    assert Value.over([1.0, 2.0, 3.0]) == Value(2.0, 1.0, n=3)
    assert Value.over([1.0]).sd is None


def test_the_table_has_a_row_per_encoder_with_the_hosts_quality_beside_it():
    rows = table(
        [VANILLA, result("cassle", 10, 0.7, 0.2), result("cassle", 11, 0.5, 0.1)], [result("pixels", 10, 0.9, 0.0)]
    ).rows
    assert [row[0] for row in rows] == ["pixels", "vanilla", "cassle"]
    assert rows[2][1].mean == pytest.approx(0.15)
    assert rows[2][2].mean == pytest.approx(0.6)


def test_differences_pair_each_aware_run_with_vanilla_of_its_own_seed():
    other = result("vanilla", 11, hue=0.0, match=0.3, path=((0.1, 0.6), (0.3, 0.0)))
    rows = differences([VANILLA, other, result("cassle", 10, 0.7, 0.3), result("cassle", 11, 0.4, 0.3)]).rows
    assert rows[0][1].mean == pytest.approx((0.5 + 0.4) / 2)


def test_an_existing_folder_is_refused_and_left_alone(tmp_path: Path):
    (tmp_path / "precious").write_text("x")
    with pytest.raises(RequestError, match="exists already"):
        demo_module.demo(tmp_path, quick=True)
    assert [p.name for p in tmp_path.iterdir()] == ["precious"]


def test_train_measure_and_page_on_a_very_small_scale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(demo_module, "_splits", lambda: shapes_splits(train=300, val=60, test=120))
    monkeypatch.setattr(demo_module, "MATCHED", 100)
    settings = {"data": "shapes(n=96)", "epochs": 1, "batch_size": 32, "snapshots": 2, "health_images": 0}
    names = ("vanilla", "augself+cassle")
    results = [demo_module._train_and_measure(name, 10, settings, tmp_path / f"{name}-seed10") for name in names]
    for measured in results:
        assert set(measured["factors"]) == set(FACTORS)
        assert len(measured["trajectory"]) == 2
        assert measured["trajectory"][-1]["factors"] == measured["factors"]  # the last snapshot is the end
    assert json.loads((tmp_path / "vanilla-seed10" / "eval" / "factors_shapes.json").read_text())["protocol"]
    pixels = {"variant": "pixels", "seed": 10, **demo_module.measure("random/pixels", 10)}
    assert pixels["factors"]["object_hue"] > 0.5  # a fact about the drawn set: pixels hold the hue
    html = page(tmp_path, results, [pixels], {name: str(tmp_path / f"{name}-seed10") for name in names}, 1.0)
    text = html.read_text()
    assert text.count("data:image/") == 2
    assert "augself+cassle" in text
    assert "What each encoder kept" in capsys.readouterr().out


def test_without_out_the_command_takes_the_next_free_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    taken = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo_module, "demo", lambda out, quick: taken.append((str(out), quick)))
    for name in ("augaware-demo", "augaware-demo-2"):
        assert main(["demo", "--quick"]) == 0
        (tmp_path / name).mkdir()
    assert taken == [("augaware-demo", True), ("augaware-demo-2", True)]
