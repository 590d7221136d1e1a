"""The views of a recipe as they are written.

A view is written as a call, ``"view(count, size=..., change=[...])"``: ``count`` views of ``size`` pixels (None is the
recipe's), made by the recipe's augmentations with those in ``change`` in the place of their namesakes. So BYOL's two
laws are ``"view()", "view(change=['gaussian_blur(p=0.1)', 'solarize(p=0.2)'])"`` and SwAV's small crops
``"view(6, size=96, change=['crop(scale=(0.05, 0.14))'])"``. Every view has the same augmentations in the same order,
so that its omega can be compared with that of any other; what a view does not do has p=0 there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from augaware import lookup
from augaware.errors import RequestError


class Written(Protocol):
    """What says the views of a recipe."""

    @property
    def views(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def augment(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class _Views:
    """Arguments of ``view(...)``."""

    count: int = 1
    size: int | None = None
    change: Sequence[str] = ()


def laws(recipe: Written) -> list[tuple[tuple[str, ...], int]]:
    """Augmentation specs and size of each of the recipe's views."""
    found: list[tuple[tuple[str, ...], int]] = []
    for text in recipe.views:
        views = _parse(text)
        found += [(changed(recipe.augment, views.change, text), views.size or recipe.size)] * views.count
    if not found:
        raise RequestError("views is empty; two views of one kind are: view(2)")
    return found


def _parse(text: str) -> _Views:
    spec = lookup.parse(text, "views")
    try:
        views = _Views(*spec.args, **spec.kwargs)
    except TypeError:
        views = None
    change = () if views is None else views.change
    change = [change] if isinstance(change, str) else change
    texts = isinstance(change, (list, tuple)) and all(isinstance(c, str) for c in change)
    if spec.name != "view" or views is None or not texts:
        raise RequestError(f"views: {text!r} is unknown; accepted: view(count=1, size=None, change=[augmentations])")
    for key, value in (("count", views.count), ("size", 1 if views.size is None else views.size)):
        if type(value) is not int or value < 1:
            raise RequestError(f"views: {text!r}: {key}={value!r} must be a whole number, at least 1")
    return _Views(views.count, views.size, change)


def changed(augment: Sequence[str], change: Sequence[str], text: str, add: bool = False) -> tuple[str, ...]:
    """``augment`` with the specs of ``change`` in the place of their namesakes; ``add`` puts new names at the end."""
    names = [lookup.parse(spec, "augmentation").name for spec in augment]
    specs = list(augment)
    changed = [lookup.parse(spec, "augmentation").name for spec in change]
    for name, spec in zip(changed, change, strict=True):
        if changed.count(name) > 1:
            raise RequestError(f"views: {text!r} changes {name!r} twice; name each augmentation once")
        if name not in names and add:
            names, specs = [*names, name], [*specs, spec]
        elif name not in names:
            raise RequestError(
                f"views: {text!r} changes {name!r}, which augment does not name ({', '.join(names) or 'nothing'}); "
                f"add it there with p=0"
            )
        specs[names.index(name)] = spec
    return tuple(specs)
