"""How the kernel's functions are compiled: each is a few loops that LLVM turns into vector instructions.

Every one has its definition in the ``apply`` of an augmentation, and the tests hold it to that. Loops index from 0 over
slices, or begin with a check: numba lets LLVM use vector instructions where it sees that no index is negative.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

options: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc", "nsz", "arcp", "nnan", "ninf"},
}
# All in one: of functions that are called a process has copies, each optimised by itself, and which of them it calls
# depends on whether it compiled the kernel or read it from disk. Their last bits differ; so would two runs of a recipe.
compiled = njit(forceinline=True, **options)
inlined = njit(inline="always")
f32 = np.float32
TILE = 2048  # pixels that go through an operation at once: three planes of them fit the first cache
