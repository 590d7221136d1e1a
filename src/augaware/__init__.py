"""augaware: augmentation-aware self-supervised visual representation learning.

Every view carries the parameters omega that made it, and a method is host x awareness: any joint-embedding host with
any way of using omega. ``augaware.pretrain``, ``augaware.evaluate``, ``augaware.analyse`` and the others take the names
of the command line.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "pretrain": "augaware.api",
    "resume": "augaware.api",
    "evaluate": "augaware.api",
    "analyse": "augaware.api",
    "export": "augaware.api",
    "doctor": "augaware.api",
    "report": "augaware.api",
    "bench": "augaware.api",
    "Recipe": "augaware.recipe",
    "RequestError": "augaware.errors",
}
__all__ = ["Recipe", "RequestError", "analyse", "bench", "doctor", "evaluate", "export", "pretrain", "report", "resume"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import augaware`` does not wait for torch."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'augaware' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)


class _Package(ModuleType):
    """``augaware.pretrain`` stays the function when ``augaware/pretrain.py`` has been imported: importing sets it."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _PUBLIC and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
