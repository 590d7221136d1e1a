"""Memory that a process frees is kept for what it allocates next: the first touch of fresh memory costs."""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt(3)
LARGE = 1 << 30  # bytes: more than an activation


def keep_freed() -> bool:
    """Tell glibc's allocator to keep what is freed, up to :data:`LARGE` bytes in one piece; whether it could be told.

    A training step on a CPU allocates the same activations again and again. By default each of more than 32 MB, and in
    the beginning each of more than 128 kB, goes back to the system and comes again as pages to be zeroed, thousands of
    page faults a step, for which threads wait for each other. It holds for the process; elsewhere than on glibc nothing
    happens. The peak of memory stays the same.
    """
    try:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    except (OSError, TypeError):  # a system, or a static build of Python, without a library of all that is loaded
        return False
    return mallopt is not None and bool(mallopt(MMAP_THRESHOLD, LARGE)) and bool(mallopt(TRIM_THRESHOLD, LARGE))
