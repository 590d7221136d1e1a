"""What a study file says: a grid of recipes x seeds, and what is asked of every encoder of it."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from augaware import lookup
from augaware.errors import RequestError, did_you_mean
from augaware.recipe import Recipe

ROOT = "ROOT/"  # a path in a study that begins so lies below --data
HEALTH = "health/"  # numbers of the panel of a run
RISING = tuple(f"{HEALTH}{name}" for name in ("instance_match", "knn", "effective_rank", "feature_std"))  # as it learns
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+.,=-]*")
_KINDS = {dict: "objects", str: "texts", int: "whole numbers"}
_LISTS = {"grid": dict, "without": str, "seeds": int, "tasks": str, "way": str, "mean": str, "analyses": str}
_ONE = {dict: "an object", str: "a text", int: "a whole number"}
_VALUES = {
    **dict.fromkeys(("shared", "also", "untrained"), dict),
    **dict.fromkeys(("title", "quality", "against", "shown"), str),
    **dict.fromkeys(("images", "size"), int),
}


@dataclass(frozen=True)
class Cell:
    """One run of a study: ``levels`` are its names along the grid, ``recipe`` None where nothing is trained."""

    levels: tuple[str, ...]
    seed: int | None
    recipe: Recipe | None
    encoder: str = ""  # of what is not trained

    @property
    def name(self) -> str:
        """Its place below the folder of the study."""
        return "/".join([*self.levels, *([] if self.seed is None else [f"seed-{self.seed}"])])


@dataclass(frozen=True)
class Study:
    """What a study file says.

    ``shared``: fields of every recipe. ``grid``: axes, each level name -> fields of the recipe, later axes before
    earlier ones; ``also``: further cells, name -> fields. ``without``: cells that are left out, levels joined by "/",
    ``*`` for any. ``untrained``: name -> ENCODER. ``tasks`` are put to every encoder, those of ``way`` to the
    snapshots too. ``quality`` says how far a host has come, a task of those or a number of the health panel, such as
    ``health/instance_match``; ``mean`` those whose gains are averaged, ``against`` the level that gains are over.
    ``analyses`` are made on ``images`` of the data ``shown``.
    """

    title: str
    tasks: tuple[str, ...]
    grid: tuple[Mapping[str, Mapping[str, Any]], ...] = ()
    shared: Mapping[str, Any] | None = None
    also: Mapping[str, Mapping[str, Any]] | None = None
    without: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    untrained: Mapping[str, str] | None = None
    way: tuple[str, ...] = ()
    quality: str = ""
    mean: tuple[str, ...] = ()
    against: str = "vanilla"
    analyses: tuple[str, ...] = ()
    shown: str = ""
    images: int = 1000
    size: int | None = None

    @classmethod
    def read(cls, file: Path | str) -> Study:
        """The study in a JSON file. Raises :class:`RequestError`, which names the key."""
        try:
            found = json.loads(Path(file).read_text())
        except OSError as error:
            raise RequestError(f"study {str(file)!r} cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise RequestError(f"study {str(file)!r} is not JSON: {error}") from None
        if not isinstance(found, dict):
            raise RequestError(f"study {str(file)!r} is not an object in JSON")
        known = [field.name for field in fields(cls)]
        for key in found:
            if key not in known:
                raise RequestError(
                    f"study {str(file)!r}: unknown key {key!r}; accepted: {', '.join(known)}{did_you_mean(key, known)}"
                )
        for key in ("title", "tasks"):
            if not found.get(key):
                raise RequestError(f"study {str(file)!r}: {key!r} is missing")
        lists = {key: tuple(value) for key, value in found.items() if isinstance(value, list)}
        study = cls(**found | lists)
        study._check(str(file))
        return study

    def _check(self, file: str) -> None:
        for key, kind in _LISTS.items():
            value = getattr(self, key)
            if not isinstance(value, tuple) or not all(type(item) is kind for item in value):
                raise RequestError(f"study {file!r}: {key!r} must be a list of {_KINDS[kind]}; it is {value!r}")
        for key, kind in _VALUES.items():
            value = getattr(self, key)
            if value is not None and type(value) is not kind:
                raise RequestError(f"study {file!r}: {key!r} must be {_ONE[kind]}; it is {value!r}")
        for name, encoder in (self.untrained or {}).items():
            if type(encoder) is not str:
                raise RequestError(f"study {file!r}: untrained {name!r} must be an ENCODER; it is {encoder!r}")
        levels = [*itertools.chain(*self.grid), *(self.also or {})]
        if (self.mean or self.quality) and self.against not in levels:
            near = did_you_mean(self.against, levels)
            raise RequestError(
                f"study {file!r}: gains are over 'against', {self.against!r}, which is no level of it{near}"
            )
        measured = self.quality.startswith(HEALTH)
        if measured and self.quality not in RISING:
            raise RequestError(
                f"study {file!r}: quality {self.quality!r} is no number of the health panel that rises as a host "
                f"learns; these are: {', '.join(RISING)}"
            )
        for task in (*self.way, *self.mean, *(() if measured else filter(None, [self.quality]))):
            if task not in self.tasks:
                raise RequestError(f"study {file!r}: {task!r} is named, but is none of its tasks: {list(self.tasks)}")
        if self.quality and self.quality not in self.way and not measured:
            raise RequestError(f"study {file!r}: quality {self.quality!r} must be among the tasks of 'way'")
        for spec in self.tasks:
            lookup.build("tasks", spec)
        for spec in self.analyses:
            lookup.build("analysis", spec)
        if self.analyses and not self.shown:
            raise RequestError(f"study {file!r}: 'shown' is missing, the images that the analyses look at")

    def cells(self, root: Path) -> list[Cell]:
        """All cells, seed by seed, so that a study that is stopped early has whole seeds."""
        found = [Cell((_name(name),), None, None, encoder) for name, encoder in (self.untrained or {}).items()]
        product = list(itertools.product(*self.grid)) if self.grid else []
        for text in self.without:
            if not any(_matches(text, levels) for levels in product):
                raise RequestError(f"study: without {text!r} leaves nothing out; it is no cell of the grid")
        for seed in self.seeds:
            for levels in product:
                if not any(_matches(text, levels) for text in self.without):
                    chosen = [axis[level] for axis, level in zip(self.grid, levels, strict=True)]
                    found.append(self._cell(levels, chosen, seed, root))
            for name, given in (self.also or {}).items():
                found.append(self._cell((name,), [given], seed, root))
        if not found:
            raise RequestError("study: it has no cell; give it a 'grid' and 'seeds', 'also' or 'untrained'")
        names = [cell.name for cell in found]
        for cell in found:
            if names.count(cell.name) > 1:
                raise RequestError(f"study: {cell.name!r} stands twice; give every cell a name of its own")
        return found

    def _cell(self, levels: tuple[str, ...], chosen: Sequence[Mapping[str, Any]], seed: int, root: Path) -> Cell:
        given = dict(self.shared or {})
        for level, part in zip(levels, chosen, strict=True):
            _name(level)
            if not isinstance(part, dict):
                raise RequestError(f"study: level {level!r} must be an object of recipe fields; it is {part!r}")
            given |= part
        if isinstance(given.get("data"), str) and given["data"].startswith(ROOT):
            given["data"] = str(root / given["data"].removeprefix(ROOT))
        try:
            recipe = Recipe.from_fields(given | {"seed": seed})
            if self.quality.startswith(HEALTH):
                _check_measured(recipe)
        except (RequestError, TypeError) as error:
            raise RequestError(f"study: cell {'/'.join(levels)}: {error}") from None
        return Cell(levels, seed, recipe)


def _name(level: str) -> str:
    """``level``. Raises :class:`RequestError` where it cannot be the name of a folder."""
    if not NAME.fullmatch(level):
        raise RequestError(f"study: level {level!r} is no name for a folder; use letters, digits and + - _ . , =")
    return level


def _matches(text: str, levels: Sequence[str]) -> bool:
    """Whether ``text``, levels joined by "/" and ``*`` for any, names the cell."""
    parts = text.split("/")
    return len(parts) == len(levels) and all(part in ("*", level) for part, level in zip(parts, levels, strict=True))


def _check_measured(recipe: Recipe) -> None:
    """Raise :class:`RequestError` where a snapshot has no panel, which is measured at the end of an epoch."""
    if recipe.snapshots and (not recipe.health_images or recipe.epochs % recipe.snapshots):
        raise RequestError(
            f"quality is of the health panel, which is measured at the end of each epoch: snapshots={recipe.snapshots} "
            f"must divide epochs={recipe.epochs}, and health_images={recipe.health_images} must be above 0"
        )
