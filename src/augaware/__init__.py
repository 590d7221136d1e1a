"""augaware: augmentation-aware self-supervised visual representation learning.

Every view carries the parameters omega that made it, and a method is host x awareness: any joint-embedding host with
any way of using omega. ``augaware.pretrain``, ``augaware.evaluate``, ``augaware.analyse`` and the others take the names
of the command line.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what the names below are, for who reads types
    from augaware.api.checking import check
    from augaware.api.exporting import export, import_official
    from augaware.api.judging import analyse, evaluate, evaluate_suite, report
    from augaware.api.listing import list as list  # typed, but not in __all__
    from augaware.api.listing import recipes
    from augaware.api.looking import bench, check_store, doctor, store, views
    from augaware.api.rehearsing import dry_run
    from augaware.api.run import Run
    from augaware.api.studying import study
    from augaware.api.training import demo, pretrain, resume
    from augaware.errors import RequestError
    from augaware.recipe import Recipe

__version__ = "0.1.0"

_PUBLIC = {
    "pretrain": "augaware.api.training",
    "resume": "augaware.api.training",
    "evaluate": "augaware.api.judging",
    "evaluate_suite": "augaware.api.judging",
    "analyse": "augaware.api.judging",
    "report": "augaware.api.judging",
    "study": "augaware.api.studying",
    "export": "augaware.api.exporting",
    "import_official": "augaware.api.exporting",
    "doctor": "augaware.api.looking",
    "views": "augaware.api.looking",
    "store": "augaware.api.looking",
    "check_store": "augaware.api.looking",
    "check": "augaware.api.checking",
    "bench": "augaware.api.looking",
    "list": "augaware.api.listing",
    "recipes": "augaware.api.listing",
    "demo": "augaware.api.training",
    "dry_run": "augaware.api.rehearsing",
    "Run": "augaware.api.run",
    "Recipe": "augaware.recipe",
    "RequestError": "augaware.errors",
}
__all__ = [  # without list: "from augaware import *" leaves Python's own as it is
    "Recipe",
    "RequestError",
    "Run",
    "analyse",
    "bench",
    "check",
    "check_store",
    "demo",
    "doctor",
    "dry_run",
    "evaluate",
    "evaluate_suite",
    "export",
    "import_official",
    "pretrain",
    "recipes",
    "report",
    "resume",
    "store",
    "study",
    "views",
]


if not TYPE_CHECKING:  # or every misspelt name would be one of type Any

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
