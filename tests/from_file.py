"""The code of a file that is in no package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType


def from_file(path: Path) -> ModuleType:
    """It as a module, run afresh."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found
