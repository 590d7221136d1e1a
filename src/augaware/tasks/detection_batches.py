"""The images that a detector is trained on: resized and mirrored at random, read ahead of the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor

from augaware.random import Draws, epoch_order
from augaware.tasks.boxed import Boxed
from augaware.tasks.detector import Target

Example = tuple[Tensor, Target]
_THREADS = 4
_STEP = 32  # px between two short sides (detectron2)


class Batches:
    """Batches of ``sources`` together, without end: order, side and mirroring are functions of (seed, epoch, image).

    Each image's short side becomes one of ``short_side``, from the least to the largest in steps of 32 px, its long one
    at most ``max_side``.
    """

    def __init__(
        self, sources: Sequence[Boxed], batch_size: int, short_side: tuple[int, int], max_side: int, seed: int
    ) -> None:
        self.images = [(source, i) for source in sources for i in range(len(source))]
        self.batch_size, self.max_side, self.seed = batch_size, max_side, seed
        self.sides = range(short_side[0], short_side[1] + 1, _STEP)

    def __len__(self) -> int:
        return len(self.images)

    def stream(self, first: int, count: int) -> Iterator[list[Example]]:
        """``count`` batches from number ``first`` on, the next one in preparation while one is used."""
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="augaware-boxes") as pool:
            ahead: list[list[Future[Example]]] = []
            for places in self._places(first, count):
                ahead.append([pool.submit(self.example, *place) for place in places])
                if len(ahead) == 2:
                    yield [example.result() for example in ahead.pop(0)]
            yield from ([example.result() for example in batch] for batch in ahead)

    def _places(self, first: int, count: int) -> Iterator[list[tuple[int, int]]]:
        """Epoch and image of each example of a batch; epochs follow each other within a batch."""
        n, order, drawn = len(self), torch.empty(0), -1
        for number in range(first, first + count):
            places = []
            for position in range(number * self.batch_size, (number + 1) * self.batch_size):
                epoch, place = divmod(position, n)
                if epoch != drawn:
                    order, drawn = epoch_order(n, self.seed, epoch), epoch
                places.append((epoch, int(order[place])))
            yield places

    def example(self, epoch: int, number: int) -> Example:
        """Image ``number`` as ``epoch`` sees it, and its objects: difficult ones too (detectron2), but no lines."""
        source, i = self.images[number]
        draws = Draws.of(self.seed, epoch, torch.tensor([number]), view=0)
        side = self.sides[int(draws.stream("side").integers(len(self.sides)))]
        image, scale = resized(source.load(i), side, self.max_side)
        objects = source.objects[i]
        boxes = torch.tensor(objects.corners, dtype=torch.float32).view(-1, 4) * scale
        labels = torch.tensor([source.classes.index(label) + 1 for label in objects.labels], dtype=torch.int64)
        if draws.stream("flip").happens(0.5):
            image, boxes = image.flip(2), mirrored(boxes, image.shape[2])
        real = (boxes[:, 2:] > boxes[:, :2]).all(1)
        return image, {"boxes": boxes[real], "labels": labels[real]}


def resized(image: Tensor, side: int, max_side: int) -> tuple[Tensor, Tensor]:
    """``image`` (3, H, W) uint8 with its short side ``side``, its long one at most ``max_side``: float in [0, 1].

    Bilinear and antialiased. Also the factors of its boxes' coordinates, (4,).
    """
    height, width = image.shape[1:]
    factor = min(side / min(height, width), max_side / max(height, width))
    new = [max(1, round(factor * s)) for s in (height, width)]
    pixels = F.interpolate(image[None].float() / 255, new, mode="bilinear", antialias=True)[0]
    return pixels, torch.tensor([new[1] / width, new[0] / height]).repeat(2)


def mirrored(boxes: Tensor, width: int) -> Tensor:
    """Boxes (K, 4) in an image ``width`` wide that is mirrored left to right."""
    left, top, right, bottom = boxes.unbind(1)
    return torch.stack([width - right, top, width - left, bottom], 1)
