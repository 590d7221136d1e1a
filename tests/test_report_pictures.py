"""Pictures: sheets cut into their rows, views once for each way of making them, and nothing that a PNG can break."""

from __future__ import annotations

import base64
import io
import struct
from pathlib import Path

import pytest
import torch
from PIL import Image

from augaware.pretrain import start
from augaware.recipe import Recipe
from augaware.report import pictures
from augaware.report.pictures import rows, shot, sound
from augaware.tasks.sheet import PLAIN, Tile, sheet_png, sheet_size
from test_report_page import Page, png
from test_report_runs import make_run, written

SMALL = {"data": "shapes(n=16)", "encoder": "tiny(widths=(4, 8))", "epochs": 1, "batch_size": 8, "size": 16}
SMALL |= {
    "device": "cpu",
    "precision": "fp32",
    "engine": "plain",
    "health_images": 0,
    "host": "simclr(proj_hidden_dim=8)",
}


def sheet(shade: float, lines: int = 3, columns: int = 4) -> bytes:
    """A sheet whose row r is a grey of its own."""
    tiles = [[Tile(torch.full((3, 96, 96), shade + r / 10), "x", PLAIN)] * columns for r in range(lines)]
    return sheet_png(tiles)


def opened(data: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("L")


def test_equal_sheets_are_cut_where_their_rows_are() -> None:
    width, height = sheet_size(1, 1)
    assert (width - pictures.GAP, height - pictures.GAP) == (pictures.COLUMN, pictures.ROW)
    cut = rows([sheet(0.1), sheet(0.5)])
    assert cut is not None
    assert [len(row) for row in cut] == [2, 2, 2]
    for r, row in enumerate(cut):
        for strip, shade in zip(row, (0.1, 0.5), strict=True):
            tile = opened(strip.data).getpixel((60, 60))
            assert tile == pytest.approx(255 * (shade + r / 10), abs=4)


def test_what_are_no_equal_sheets_stay_whole() -> None:
    assert rows([sheet(0.1), sheet(0.1, lines=2)]) is None
    assert rows([png(), png()]) is None
    assert rows([sheet(0.1)[:500]]) is None


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        png()[:45],
        png()[:30] + bytes(40),
        b"\x89PNG\r\n\x1a\n" + bytes(8) + struct.pack(">II", 2**31 - 1, 2**31 - 1) + bytes(40),
        b"GIF89a" + bytes(40),
    ],
)
def test_a_damaged_picture_is_named_and_not_shown(tmp_path: Path, broken: bytes) -> None:
    assert not sound(broken)
    run = make_run(tmp_path / "run", test=0.5)
    (run / "eval" / "linear_probe.png").write_bytes(broken)
    (run / "views.png").write_bytes(broken)
    html, text = written([run], tmp_path / "report.html")
    assert not Page(html).find("img")
    assert "eval/linear_probe.png" in text.split("What could not be read")[-1] or not broken


def test_a_large_picture_becomes_small() -> None:
    big = Image.effect_noise((2000, 300), 60).convert("RGB")
    file = io.BytesIO()
    big.save(file, "PNG")
    small = shot(file.getvalue())
    assert (small.kind, small.width, small.height) == ("webp", pictures.WIDEST, 210)
    assert len(small.data) < len(file.getvalue()) / 2
    flat = io.BytesIO()
    Image.new("RGB", (200, 50), (200, 30, 60)).save(flat, "PNG")
    image = shot(flat.getvalue())
    kept = Image.open(io.BytesIO(base64.b64decode(image.data))).convert("RGB")
    assert kept.getpixel((10, 10)) == (200, 30, 60)  # few colours: without loss


def test_retrieval_of_one_run_per_experiment_stands_row_by_row_vanilla_first(tmp_path: Path) -> None:
    dirs = []
    for i in range(11):
        for seed in (0, 1):
            aware = [f"method{i:02d}()"] if i else []
            dirs.append(make_run(tmp_path / f"r{i}-{seed}", seed, i / 100, aware=aware))
            (dirs[-1] / "eval" / "linear_probe.png").write_bytes(sheet(0.02 * i))
    html, text = written(dirs, tmp_path / "report.html")
    images = Page(html).find("img")
    assert len(images) == 3 * 8
    assert all(str(image["alt"]).startswith(f"linear_probe: what was found {r}") for r in (1,) for image in images[:8])
    assert str(images[0]["alt"]).endswith(", simclr")
    assert str(images[1]["alt"]).endswith(", simclr + method10")
    assert "left out: simclr + method03, simclr + method02, simclr + method01" in text


def test_views_are_shown_once_for_each_way_of_making_them(tmp_path: Path) -> None:
    dirs = []
    for i in range(6):
        dirs.append(make_run(tmp_path / f"r{i}", i, augment=["crop()"] if i < 4 else ["flip()"], size=16, data="d"))
        (dirs[-1] / "views.png").write_bytes(png(40, 30))
    html, text = written(dirs, tmp_path / "report.html")
    assert len(Page(html).find("img")) == 2
    assert "Views of d at 16 px" in text
    assert "flip(). Made by: simclr" in text


def test_a_run_draws_its_views_and_learns_the_same_whether_it_can_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = start(Recipe.from_fields(SMALL), tmp_path / "drawn")
    assert sound((drawn.path / "views.png").read_bytes())

    def fails(*_: object) -> bytes:
        raise OSError("no fonts here")

    monkeypatch.setattr("augaware.picture.views_png", fails)
    other = start(Recipe.from_fields(SMALL), tmp_path / "other")
    assert not (other.path / "views.png").exists()
    assert "views.png was not drawn: no fonts here" in (other.path / "log.txt").read_text()
    assert other.exported.read_bytes() == drawn.exported.read_bytes()
