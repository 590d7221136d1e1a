"""What all tests share: one thread, small pictures, the place of the real images, a host with an EMA target."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

# Before numpy and torch read it; processes that a test starts inherit it. Where two workers share two cores, threads
# wait for each other: probes, few-shot tasks and what the pages of docs/add do took twice the CPU time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from PIL import Image, ImageDraw

from augaware.recipe import Recipe
from augaware.stop import NAMES
from small_runs import Server, serving

EMA_HOST = '''"""A test's host with an EMA target: a cosine to the target's embedding of the other view."""

import torch
from torch.nn import functional as F

from augaware.hosts.base import Host
from augaware.nets.heads import mlp

__all__ = ["Ema"]


class Ema(Host):
    """BYOL's loss without a predictor."""

    def __init__(self, setting, momentum=0.9):
        super().__init__()
        self.dim, self.momentum = setting.dim, momentum

    def projector(self, d_in):
        return mlp((d_in, self.dim, 24))

    def loss(self, online, target):
        assert all(not z.requires_grad for z in target), "the target must not carry a gradient"
        pairs = ((online[0], target[1]), (online[1], target[0]))
        return torch.stack([2 - 2 * F.cosine_similarity(z, t.detach()).mean() for z, t in pairs]).mean()
'''


@pytest.fixture(scope="session", autouse=True)
def heeded() -> None:
    """What whoever started the tests has them ignore, as nohup does with SIGHUP and a shell with the SIGINT of what it
    runs in the background, a run would ignore too.
    """
    for name in NAMES:
        number = getattr(signal, name)
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def one_thread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One thread per worker, and the module ``augaware_test_hosts.ema`` on the path."""
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("plugins")
    package = place / "augaware_test_hosts"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "ema.py").write_text(EMA_HOST)
    sys.path.insert(0, str(place))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGAWARE_PLUGINS", "augaware_test_hosts")  # for runs that go on in a process of their own
        yield
    sys.path.remove(str(place))


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ImageFolder of 24 drawn PNGs of two sizes: 12 discs, 12 squares."""
    root = tmp_path_factory.mktemp("images")
    for number in range(24):
        kind = ("disc", "square")[number % 2]
        width, height = ((40, 30), (32, 48))[number // 2 % 2]
        picture = Image.new("RGB", (width, height), (10 * number, 120, 255 - 10 * number))
        draw = ImageDraw.Draw(picture)
        box = (6 + number % 5, 6, 22 + number % 5, 22)
        (draw.ellipse if kind == "disc" else draw.rectangle)(box, fill=(255 - 10 * number, 10 * number, 60))
        (root / kind).mkdir(exist_ok=True)
        picture.save(root / kind / f"{number:02d}.png")
    return root


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of small real image sets; tests that use it are marked ``realdata``."""
    root = Path(os.environ.get("AUGAWARE_DATA") or Path(__file__).parents[1].parent / "shared" / "data")
    if not root.is_dir():
        pytest.skip(f"no real images: {root} is missing; set AUGAWARE_DATA to the folder of data sets")
    return root


@pytest.fixture(scope="session")
def small() -> Recipe:
    """Twelve steps of a tiny network on drawn images, the same on every machine."""
    return Recipe(
        data="shapes(n=64)",
        encoder="tiny(widths=(8, 16))",
        size=16,
        epochs=3,
        batch_size=16,
        base_lr=0.5,
        device="cpu",
        precision="fp32",
        log_steps=1,
        health_images=0,
    )


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Starts runs that are to be killed; its users share a worker, ``xdist_group("killed")``: it imports torch."""
    with serving() as server:
        yield server
