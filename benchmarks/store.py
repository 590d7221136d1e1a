"""What the store saves: images per second and core, decoded as others do and as we do, and read from the store.

    python benchmarks/store.py --data ../shared/data
    python benchmarks/store.py --data my/photos --size 224

``--data`` is a folder of JPEGs, or ROOT, the folder of data sets, from whose caltech101 JPEGs of 256 to 500 pixels are
then made: four images each, enlarged, side by side, quality 90, so that they have about the bytes of photos.

All in one process with one thread, in turns, in CPU seconds, which a busy machine disturbs less than the clock; of the
rounds the median and the extremes. Every way but the first gives the same images: short side at most three times
``--size``, as a recipe has them.
"""

from __future__ import annotations

import argparse
import io
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import header, middle, row
from PIL import Image

from augaware.data.loader import open_source
from augaware.recipe import Recipe

SIZES = ((500, 375), (375, 500), (500, 333), (480, 360), (400, 300), (320, 240), (256, 256), (333, 500))


def enlarged(root: Path, folder: Path, count: int) -> None:
    """Write ``count`` images of caltech101 as JPEGs of 256 to 500 pixels."""
    chosen = random.Random(0)
    source = open_source(str(root / "caltech101" / "train.tar"), memory=0)
    for number in range(count):
        width, height = chosen.choice(SIZES)
        image = Image.new("RGB", (width, height))
        for place in range(4):
            part = Image.fromarray(source.load(chosen.randrange(len(source))).permute(1, 2, 0).numpy())
            part = part.resize((-(-width // 2), -(-height // 2)), Image.Resampling.LANCZOS)
            image.paste(part, (place % 2 * (width // 2), place // 2 * (height // 2)))
        image.save(folder / f"{number:04d}.jpg", quality=90)


def measured(ways: dict[str, Callable[[], object]], images: int, rounds: int) -> dict[str, list[float]]:
    """Images per CPU second of each way in each round; a round begins with another way each time."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(-1, rounds):  # the first is not counted
        for name in (*names[number % len(names) :], *names[: number % len(names)]):
            began, times = time.process_time(), 0
            while time.process_time() - began < 0.2:
                ways[name]()
                times += 1
            if number >= 0:
                found[name].append(times * images / (time.process_time() - began))
    return found


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of JPEGs, or ROOT, which holds caltech101/")
    parser.add_argument("--size", type=int, default=96, help="side of the views in pixels")
    parser.add_argument("--images", type=int, default=256, help="in a batch")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = given.data
        if (given.data / "caltech101").is_dir():
            folder = Path(place) / "images"
            folder.mkdir()
            enlarged(given.data, folder, given.images)
        compare(
            folder, Path(place) / "store", Recipe(data="", size=given.size).decoded_side, given.images, given.rounds
        )


def compare(folder: Path, store: Path, side: int, count: int, rounds: int) -> None:
    """Print the table for images of ``folder``, their short side at most ``side``."""
    from torchvision.transforms import functional as F

    stored = open_source(str(folder), side, store=str(store), say=print)
    decoded = open_source(str(folder), side, memory=0)
    index = torch.randperm(len(stored), generator=torch.Generator().manual_seed(0))[:count]
    files = [folder / stored.names[i] for i in index.tolist()]

    def opened(file: Path) -> Image.Image:
        """torchvision's pil_loader, which ImageFolder reads with."""
        return Image.open(io.BytesIO(file.read_bytes())).convert("RGB")

    def shrunk(file: Path) -> torch.Tensor:
        """The same, and what makes our pixels of it."""
        image = opened(file)
        if min(image.size) > side:
            image = F.resize(image, side, F.InterpolationMode.BICUBIC)
        return F.pil_to_tensor(image)

    ways: dict[str, Callable[[], object]] = {
        "Pillow, as ImageFolder opens a file": lambda: [opened(file) for file in files],
        "the same, shrunk, as a tensor": lambda: [shrunk(file) for file in files],
        "decoded by augaware": lambda: decoded.batch(index),
        "store, as the kernel is handed it": lambda: stored.batch(index),
        "store, every byte read": lambda: [int(image.view(-1).max()) for image in stored.batch(index).cut()],
        "store, copied out and padded": lambda: stored.batch(index).pixels,
    }
    found = measured(ways, len(index), rounds)
    names = list(ways)
    header("images / (core s)", "median [least, most]", *(f"times {n!r}, in the same round" for n in names[:3]))
    for name in names:
        ratios = [[a / b for a, b in zip(found[name], found[other], strict=True)] for other in names[:3]]
        row(name, middle(found[name], 0), *(middle(r, 1) for r in ratios))
    sizes = stored.images.sizes.double()
    print(
        f"\n{len(index)} JPEGs, in the mean {statistics.fmean(f.stat().st_size for f in files) / 1024:.0f} KiB, "
        f"decoded {sizes.mean(0).tolist()} px and {3 * sizes.prod(1).mean() / 1024:.0f} KiB"
    )


if __name__ == "__main__":
    main()
