"""Sources and an encoder for tests of tasks: image number i is all i, and its features are row i of a table."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from augaware.data.base import Source


class Numbered(Source):
    """The images ``numbers`` (N,), each below 256, with ``labels`` (N,) or without."""

    def __init__(self, numbers: Sequence[int], labels: Sequence[int] | None, classes: Sequence[str] = ()) -> None:
        self.numbers, self.labels = list(numbers), None if labels is None else torch.tensor(labels)
        self.classes = tuple(classes) or tuple(f"class {i}" for i in range(max(labels or [0]) + 1))
        self.name, self.names, self.factors = "numbered", [str(i) for i in numbers], {}
        self.skipped, self.fingerprint = (), str(numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def load(self, index: int) -> Tensor:
        return torch.full((3, 4, 4), self.numbers[index], dtype=torch.uint8)


class Table(nn.Module):
    """f of image number i is row i of ``table`` (256 or fewer, d)."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table, self.name, self.dim, self.size = table, "table", table.shape[1], 4
        self.mean, self.std = (0.0,) * 3, (1 / 255,) * 3

    def forward(self, x: Tensor) -> Tensor:
        return self.table[x[:, 0, 0, 0].round().long()]


def clusters(labels: Tensor, d: int, noise: float = 1.5, seed: int = 0) -> Tensor:
    """Features (N, d): positive, correlated and badly scaled around a centre per class, as pooled ReLU features are."""
    g = torch.Generator().manual_seed(seed)
    centres, mixing = torch.randn(int(labels.max()) + 1, d, generator=g), torch.randn(d, d, generator=g)
    z = centres[labels] + noise * torch.randn(len(labels), d, generator=g)
    return (z @ (mixing / torch.arange(1, d + 1)).T + 0.5).relu()
