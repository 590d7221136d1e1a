"""Counter-based draws: every random number is a pure function of (seed, epoch, sample index, view).

Nothing here has state. A draw never depends on the worker, the rank, the place in the batch or on earlier draws, so a
resumed run, a run on more processes and a single view drawn again all see the same numbers.

The hash is the finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014; Stafford's "mix 13"), once per counter. It
runs in numpy, whose short operations cost a quarter of torch's; draws are few numbers, on the CPU whatever the device.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Words = NDArray[np.uint64]

_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _40 = (np.uint64(bits) for bits in (30, 27, 31, 40))
_ALL = 0xFFFFFFFFFFFFFFFF


def mix(x: Words) -> Words:
    """Hash words, elementwise: a bijection whose every output bit depends on every input bit."""
    shifted = x >> _30
    x = np.bitwise_xor(x, shifted)
    x *= _MIX_1
    x ^= np.right_shift(x, _27, out=shifted)
    x *= _MIX_2
    x ^= np.right_shift(x, _31, out=shifted)
    return x


def _absorb(key: Words, counter: Words | int) -> Words:
    if isinstance(counter, int):
        return mix(key ^ np.uint64((counter + 1) * _GOLDEN & _ALL))
    return mix(key ^ (counter + np.uint64(1)) * np.uint64(_GOLDEN))


@dataclass(frozen=True)
class Draws:
    """Uniform numbers for the views of a batch, one row per sample.

    ``words`` holds one word per sample, (B,). :meth:`stream` gives independent numbers per purpose, so that adding an
    augmentation to a pipeline does not change what the others draw.
    """

    words: Words

    @classmethod
    def of(cls, seed: int, epoch: int, index: Tensor, view: int) -> Draws:
        """The draws of view number ``view`` of the samples ``index``, (B,) int64, in ``epoch``."""
        words = _absorb(_absorb(np.zeros(1, np.uint64), seed), epoch)
        return cls(_absorb(_absorb(words, index.cpu().numpy().astype(np.uint64)), view))

    @classmethod
    def together(cls, parts: Sequence[Draws]) -> Draws:
        """The samples of ``parts``, one after the other."""
        return cls(np.concatenate([part.words for part in parts]))

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, rows: Tensor) -> Draws:
        """The draws of the samples at ``rows`` of the batch."""
        return Draws(self.words[rows.numpy()])

    @property
    def key(self) -> Tensor:
        """The words as torch holds them, (B,) int64."""
        return torch.from_numpy(self.words.view(np.int64))

    def stream(self, name: str) -> Draws:
        """Independent draws for the purpose ``name``."""
        return Draws(_absorb(self.words, zlib.crc32(name.encode())))

    def uniform(self, d: int = 1, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(B, d) float32 in [low, high): 24 random bits each."""
        bits = _absorb(self.words[:, None], np.arange(d, dtype=np.uint64))
        bits >>= _40
        u = bits.astype(np.float32)
        u *= np.float32(2.0**-24)
        return torch.from_numpy(low + (high - low) * u)

    def happens(self, p: float) -> Tensor:
        """(B, 1) bool, true with probability ``p``."""
        return self.uniform() < p

    def normal(self, d: int = 1) -> Tensor:
        """(B, d) standard normal numbers (Box and Muller)."""
        u, v = self.uniform(2 * d).chunk(2, dim=1)
        return torch.sqrt(-2 * torch.log1p(-u)) * torch.cos(2 * math.pi * v)

    def integers(self, n: int, d: int = 1) -> Tensor:
        """(B, d) int64 in 0..n-1."""
        return (self.uniform(d) * n).long().clamp_max(n - 1)


def epoch_order(n: int, seed: int, epoch: int) -> Tensor:
    """A permutation of 0..n-1, (n,) int64: the order of the samples in ``epoch``."""
    return torch.argsort(Draws.of(seed, epoch, torch.arange(n), view=-1).stream("order").key, stable=True)


def bootstrap(n: int, resamples: int) -> Tensor:
    """Which of n images each resample holds, (resamples, n) int64: the same whenever n and the number are."""
    return Draws.of(0, 0, torch.arange(resamples), view=-1).stream("bootstrap").integers(n, n)


def word(*counters: int) -> int:
    """One non-negative 63-bit word from integers: a seed for what only takes a seed (weights, dropout)."""
    key = np.zeros(1, np.uint64)
    for counter in counters:
        key = _absorb(key, counter)
    return int(key[0]) & 0x7FFFFFFFFFFFFFFF


def reseed(device: torch.device, *counters: int) -> None:
    """torch's generators, of the CPU and of ``device``, in a state of ``counters`` alone.

    Where there is no GPU, ``torch.manual_seed`` spends most of its time on a traceback: 0.2 ms of each step.
    """
    torch.default_generator.manual_seed(word(*counters))
    if device.type == "cuda":
        torch.cuda.manual_seed(word(*counters))


@contextmanager
def seeded(device: torch.device, *counters: int) -> Iterator[None]:
    """torch's generators, of the CPU and of ``device``, in a state of ``counters`` alone; put back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(word(*counters))
        yield
