"""Counter-based draws: every random number is a pure function of (seed, epoch, sample index, view).

Nothing here has state. A draw never depends on the worker, the rank, the place in the batch or on earlier draws, so a
resumed run, a run on more processes and a single view drawn again all see the same numbers.

The hash is the finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014; Stafford's "mix 13"), once per counter.
torch has no unsigned 64-bit product, so the words are int64 and wrap around, and the right shift masks the copied sign.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def _signed(word: int) -> int:
    """A 64-bit pattern as the int64 that torch holds."""
    word &= 0xFFFFFFFFFFFFFFFF
    return word - (1 << 64) if word >> 63 else word


def _shifted(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def mix(x: Tensor) -> Tensor:
    """Hash int64 words, elementwise: a bijection whose every output bit depends on every input bit."""
    x = (x ^ _shifted(x, 30)) * _signed(_MIX_1)
    x = (x ^ _shifted(x, 27)) * _signed(_MIX_2)
    return x ^ _shifted(x, 31)


def _absorb(key: Tensor, counter: Tensor | int) -> Tensor:
    if isinstance(counter, int):
        return mix(key ^ _signed(counter * _GOLDEN + _GOLDEN))
    return mix(key ^ (counter * _signed(_GOLDEN) + _signed(_GOLDEN)))


@dataclass(frozen=True)
class Draws:
    """Uniform numbers for the views of a batch, one row per sample.

    ``key`` holds one int64 word per sample, (B,). :meth:`stream` gives independent numbers per purpose, so that
    adding an augmentation to a pipeline does not change what the others draw.
    """

    key: Tensor

    @classmethod
    def of(cls, seed: int, epoch: int, index: Tensor, view: int) -> Draws:
        """The draws of view number ``view`` of the samples ``index``, (B,) int64, in ``epoch``."""
        key = torch.zeros_like(index, dtype=torch.int64)
        for counter in (seed, epoch, index.long(), view):
            key = _absorb(key, counter)
        return cls(key)

    def __len__(self) -> int:
        return len(self.key)

    def stream(self, name: str) -> Draws:
        """Independent draws for the purpose ``name``."""
        return Draws(_absorb(self.key, zlib.crc32(name.encode())))

    def uniform(self, d: int = 1, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(B, d) float32 in [low, high): 24 random bits each, so the same on every device."""
        lanes = torch.arange(d, device=self.key.device)
        bits = _shifted(_absorb(self.key[:, None], lanes), 40)
        return low + (high - low) * (bits.float() * 2.0**-24)

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


def word(*counters: int) -> int:
    """One non-negative 63-bit word from integers: a seed for what only takes a seed (weights, dropout)."""
    key = torch.zeros((), dtype=torch.int64)
    for counter in counters:
        key = _absorb(key, counter)
    return int(key.item()) & 0x7FFFFFFFFFFFFFFF
