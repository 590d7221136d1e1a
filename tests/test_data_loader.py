"""Batches arrive in order, prepared ahead but not too far, and threads end."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from torch import Tensor

from augaware.data.base import ImageBatch, Source, collate
from augaware.data.loader import Loader
from augaware.errors import RequestError


class Numbers(Source):
    """Image i is one pixel of level i; counts the batches asked for and may be slow or fail."""

    def __init__(self, fail_at: int = -1, empty_at: int = -1) -> None:
        self.started: list[int] = []
        self.fail_at, self.empty_at = fail_at, empty_at

    def __len__(self) -> int:
        return 256

    def load(self, index: int) -> Tensor:
        return torch.full((3, 1, 1), index, dtype=torch.uint8)

    def batch(self, index: Tensor) -> ImageBatch:
        first = int(index[0])
        self.started.append(first)
        time.sleep(0.002 * (first % 3))  # later batches may be ready sooner
        if first == self.fail_at:
            raise RuntimeError("disk on fire")
        return super().batch(index) if first != self.empty_at else collate([], index[:0])


def batches(n: int, size: int = 2) -> list[Tensor]:
    return list(torch.arange(n * size).split(size))


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("augaware-loader")]


@pytest.mark.parametrize("workers", [1, 3])
def test_order_and_repeat(workers: int) -> None:
    loader = Loader(Numbers().batch, batches(20), workers)
    for _ in range(2):
        seen = list(loader)
        assert [b.index.tolist() for b in seen] == [b.tolist() for b in batches(20)]
        assert torch.equal(torch.cat([b.pixels[:, 0, 0, 0] for b in seen]), torch.arange(40, dtype=torch.uint8))
    assert loader.waited > 0
    assert not threads()


@pytest.mark.parametrize(("workers", "prefetch", "ahead"), [(1, 2, 2), (1, 4, 4), (3, 2, 3)])
def test_prepares_no_further_ahead_than_it_says(workers: int, prefetch: int, ahead: int) -> None:
    source = Numbers()
    for taken, _ in enumerate(Loader(source.batch, batches(12), workers, prefetch), start=1):
        time.sleep(0.01)
        assert len(source.started) <= taken + ahead - 1


def test_stopping_early_ends_the_threads() -> None:
    source = Numbers()
    for _ in Loader(source.batch, batches(50), workers=2):
        break
    assert len(source.started) <= 3
    assert not threads()


def test_errors_reach_the_consumer() -> None:
    seen = []
    loader = iter(Loader(Numbers(fail_at=6).batch, batches(10), workers=2))
    with pytest.raises(RuntimeError, match="disk on fire"):
        seen.extend(int(batch.index[0]) for batch in loader)
    assert seen == [0, 2, 4]
    assert not threads()


def test_a_batch_without_images_comes_out_empty() -> None:
    assert [b.index.tolist()[:1] for b in Loader(Numbers(empty_at=4).batch, batches(4))] == [[0], [2], [], [6]]


def test_lazy_batches_are_read_only_as_needed() -> None:
    def endless():
        while True:
            yield torch.tensor([1])

    for taken, _ in enumerate(Loader(Numbers().batch, endless())):
        if taken == 5:
            break
    assert not threads()


def test_wrong_numbers() -> None:
    with pytest.raises(RequestError, match="workers=0"):
        Loader(Numbers().batch, [], workers=0)
