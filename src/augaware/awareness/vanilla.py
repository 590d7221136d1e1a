"""No awareness: the host alone, the baseline of every comparison."""

from __future__ import annotations

from augaware.awareness.base import Awareness, Setting

__all__ = ["Vanilla"]


class Vanilla(Awareness):
    """The host as published: omega is not used."""

    reads = ()

    def __init__(self, setting: Setting) -> None:
        super().__init__()
