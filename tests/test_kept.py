"""Features kept by content: what is taken from the disk is what would be made, and nothing else is mistaken for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from augaware.data.base import Source
from augaware.data.loader import open_source
from augaware.data.shapes import Shapes
from augaware.data.store import Part
from augaware.frozen import Frozen, load_encoder
from augaware.tasks.features import extract
from augaware.tasks.kept import Kept

SIZE = 12


def encoder(size: int = SIZE, precision: str = "fp32", spec: str = "random/tiny(widths=(4, 8))") -> Frozen:
    return load_encoder(spec, size=size, device="cpu", precision=precision)


def keeping(folder: Path, frozen: Frozen) -> Frozen:
    frozen.kept = Kept(folder, frozen.fingerprint)
    return frozen


def shapes(n: int = 40, seed: int = 0) -> Source:
    return open_source(f"shapes(n={n}, size=16, seed={seed})")


class Once(Frozen):
    """Counts the images it is asked about."""

    asked = 0

    def forward(self, images: Tensor) -> Tensor:
        self.asked += len(images)
        return super().forward(images)


def counting(folder: Path) -> Once:
    given = encoder()
    once = Once(given.f, given.name, {}, SIZE, given.mean, given.std)
    once.kept = Kept(folder, once.fingerprint)
    return once


def test_features_are_made_once_and_are_the_same_to_the_bit(tmp_path: Path) -> None:
    once, source = counting(tmp_path / "new"), shapes()
    made, found = extract(once, source), extract(once, source)
    assert torch.equal(made, found)
    assert torch.equal(made, extract(encoder(), shapes()))
    assert once.asked == len(source)


CHANGES: dict[str, Callable[[Path], Tensor]] = {
    "weights": lambda p: extract(keeping(p, _moved(encoder())), shapes()),
    "batch norm's moments": lambda p: extract(keeping(p, _shifted(encoder())), shapes()),
    "architecture": lambda p: extract(keeping(p, encoder(spec="random/tiny(widths=(4, 16))")), shapes()),
    "size": lambda p: extract(keeping(p, encoder(16)), shapes()),
    "precision": lambda p: extract(keeping(p, encoder(precision="bf16")), shapes()),
    "normalisation": lambda p: extract(keeping(p, _renormalised(encoder())), shapes()),
    "short side": lambda p: extract(keeping(p, encoder()), shapes(), short_side=14),
    "images": lambda p: extract(keeping(p, encoder()), shapes(seed=1)),
    "their order": lambda p: extract(keeping(p, encoder()), Part(shapes(), torch.arange(40).flip(0), "turned")),
    "their number": lambda p: extract(keeping(p, encoder()), shapes(n=39)),
}


def _moved(frozen: Frozen) -> Frozen:
    with torch.no_grad():
        next(frozen.f.parameters())[0, 0, 0, 0] += 1e-6
    return frozen


def _shifted(frozen: Frozen) -> Frozen:
    next(b for b in frozen.f.buffers() if b.is_floating_point())[0] += 1e-3
    return frozen


def _renormalised(frozen: Frozen) -> Frozen:
    frozen.mean = (0.5, 0.5, 0.5)
    return frozen


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_decides_a_feature_decides_the_file(change: Callable[[Path], Tensor], tmp_path: Path) -> None:
    extract(keeping(tmp_path, encoder()), shapes())
    change(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_the_same_pixels_under_another_name_are_the_same_images(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    from PIL import Image

    for number in range(5):
        pixels = shapes().load(number).permute(1, 2, 0).contiguous().numpy()
        Image.fromarray(pixels).save(folder / f"{number}.png")
    one = open_source(str(folder))
    folder.rename(tmp_path / "moved")
    two = open_source(str(tmp_path / "moved"))
    assert one.content == two.content
    changed = shapes().load(7).permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(changed).save(tmp_path / "moved" / "0.png")
    assert open_source(str(tmp_path / "moved")).content != one.content


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    made = extract(keeping(tmp_path, encoder()), shapes())
    [file] = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:20])
    assert torch.equal(extract(keeping(tmp_path, encoder()), shapes()), made)
    assert file.stat().st_size > 20


def test_bf16_is_near_fp32_and_not_it() -> None:
    exact, rough = (extract(encoder(precision=precision), shapes()) for precision in ("fp32", "bf16"))
    assert rough.dtype == torch.float32
    assert 0 < float((rough - exact).norm() / exact.norm()) < 0.02


SCRIPT = """
import sys, torch
from pathlib import Path
from augaware.frozen import load_encoder
from augaware.tasks.kept import Kept
from augaware.tasks.features import extract
from augaware.data.loader import open_source
frozen = load_encoder("random/tiny(widths=(4, 8))", size=12, device="cpu")
frozen.kept = Kept(Path(sys.argv[1]) / "features", frozen.fingerprint)
found = [extract(frozen, open_source(f"shapes(n={n}, size=16)"), batch_size=4) for n in (1, 9)]
torch.save(found, f"{sys.argv[1]}/{torch.distributed.get_rank()}.pt")
torch.distributed.destroy_process_group()
"""


def test_two_processes_extract_each_image_once_and_both_get_all(tmp_path: Path) -> None:
    """An odd number of images, and one alone: nothing is padded, and the second process has nothing to do."""
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29517"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path)], env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    alone = [extract(encoder(), shapes(n), batch_size=4) for n in (1, 9)]
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert all(torch.allclose(one, two, atol=1e-6) for one, two in zip(found, alone, strict=True))
    assert len(list((tmp_path / "features").iterdir())) == 2


def test_content_of_a_drawn_source_is_its_fingerprint() -> None:
    drawn = Shapes(n=3, size=16)
    assert drawn.content == drawn.fingerprint
