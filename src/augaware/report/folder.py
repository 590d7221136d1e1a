"""A run folder as it lies on disk: read what is there, and name what is not. What else holds results is read too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from augaware.disk import json_lines
from augaware.report import analyses
from augaware.report.analyses import Found

REPEATS = "seed"  # the recipe key that tells repeats of one experiment apart
# How a run is done, not what is learnt: by what means, and what is kept of it.
MEANS = ("device", "engine", "compile", "memory_gib", "store", "recompute", "strategy", "stuck_seconds")
HOW = (*MEANS, "log_steps", "loggers", "checkpoint_seconds", "checkpoints", "snapshots", "health_images")
LARGEST = 30_000_000  # bytes of a picture that is shown


@dataclass(frozen=True)
class Result:
    """One headline number of an evaluation; two are comparable when all but the last two agree.

    ``error``: its standard error over the test images, None where the task has none.
    """

    task: str
    dataset: str
    protocol: str
    metric: str
    value: float
    error: float | None = None


@dataclass
class Run:
    """What could be read of a folder, and in ``problems`` (file, reason) what could not.

    ``curves``: metric -> step -> value. ``encoder``: what was evaluated or analysed, as its results name it.
    ``pictures``: task -> the file beside its result.
    """

    folder: Path
    recipe: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    curves: dict[str, dict[float, float]] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    pictures: dict[str, Path] = field(default_factory=dict)
    encoder: str = ""
    analyses: list[Found] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The folder as the user wrote it."""
        return str(self.folder)

    @property
    def experiment(self) -> dict[str, str]:
        """The recipe without what only repeats change, nor how it was done; of a path to data its last two parts."""
        kept = {key: value for key, value in self.recipe.items() if key != REPEATS and key not in HOW}
        if "/" in kept.get("data", ""):
            kept["data"] = "/".join([part for part in kept["data"].split("/") if part][-2:])
        return kept

    def picture(self, path: Path) -> bytes:
        """The bytes of a picture of the folder; nothing, and a line in ``problems``, where that cannot be."""
        try:
            if path.stat().st_size <= LARGEST:
                return path.read_bytes()
            reason = f"larger than {LARGEST // 10**6} MB"
        except OSError as error:
            reason = str(error)
        self.problems.append((str(path.relative_to(self.folder)), reason))
        return b""


def holds_results(folder: Path) -> bool:
    """Whether a folder is a run, or holds what ``augaware eval`` or ``augaware analyse`` wrote."""
    places = ("recipe.json", "eval/*.json", "analysis/*.json")
    return folder.is_dir() and any(path.is_file() for place in places for path in folder.glob(place))


def read(folder: Path) -> Run:
    """Read a folder; whatever is missing or broken becomes a line of ``problems``.

    Where no run lies beside the results, they say themselves of which recipe and by which command they are.
    """
    run = Run(folder)
    trained = any((folder / name).exists() for name in ("recipe.json", "env.json", "metrics.jsonl"))
    if trained:
        run.recipe.update(dotted(_json(run, "recipe.json")))
        run.environment.update(dotted(_json(run, "env.json")))
        run.curves.update(_curves(_json_lines(run, "metrics.jsonl")))
    run.analyses, broken = analyses.read(folder)
    run.problems += broken
    recipes: list[object] = []
    for path in sorted((folder / "eval").glob("*.json")):
        name = f"eval/{path.name}"
        found = _json(run, name)
        if not found:
            continue
        place = _text(found.get("task", path.stem)), _text(found.get("dataset", "")), _text(found.get("protocol", ""))
        numbers = headline(found.get("metrics"))
        run.results.extend(Result(*place, metric, *told) for metric, told in numbers.items())
        if not numbers:
            run.problems.append((name, "no number in its metrics"))
        if path.with_suffix(".png").is_file():
            run.pictures[place[0]] = path.with_suffix(".png")
        run.encoder = run.encoder or _text(found.get("encoder", ""))
        recipes.append(found.get("recipe"))
        if not trained and isinstance(made := found.get("environment"), dict):
            run.environment = run.environment or dotted(made)
    if not trained:
        if recipes and isinstance(recipes[0], dict) and all(recipe == recipes[0] for recipe in recipes):
            run.recipe.update(dotted(recipes[0]))
        run.encoder = run.encoder or next((name for found in run.analyses for name in found.encoders), "")
    return run


def _curves(lines: Iterable[Mapping[str, object]]) -> dict[str, dict[float, float]]:
    """Metric -> step -> value. A step logged again after a resume counts once, as it was last."""
    found: dict[str, dict[float, float]] = {}
    for i, line in enumerate(lines):
        step = number(line.get("step", i))
        for key, value in line.items() if step is not None else ():
            if (known := number(value)) is not None and step is not None:
                found.setdefault(key, {})[step] = known
    return found


def headline(metrics: object) -> dict[str, tuple[float, float | None]]:
    """The numbers to show of an evaluation, each with its standard error or None.

    Those are its ``test``, which may hold several by name, or else every number.
    """
    if not isinstance(metrics, dict):
        return {}
    values, errors = _numbers(metrics.get("test", metrics)), _numbers(metrics.get("standard_error"))
    return {key: (value, errors.get(key)) for key, value in values.items()}


def _numbers(found: object) -> dict[str, float]:
    """Numbers by name; a single one is that of the test."""
    named = found if isinstance(found, dict) else {"test": found}
    numbers = {str(key): number(value) for key, value in named.items()}
    return {key: value for key, value in numbers.items() if value is not None}


def _json(run: Run, name: str) -> dict[str, object]:
    """A JSON object of the run, empty when it is missing or broken."""
    try:
        found = json.loads((run.folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        run.problems.append((name, "missing"))
    except (OSError, ValueError, RecursionError) as error:
        run.problems.append((name, str(error)[:200]))
    else:
        if isinstance(found, dict):
            return found
        run.problems.append((name, "not a JSON object"))
    return {}


def _json_lines(run: Run, name: str) -> list[dict[str, Any]]:
    """The JSON objects of a file with one per line; lines that are not are counted."""
    try:
        found, broken = json_lines(run.folder / name)
        missing = not (run.folder / name).exists()
    except OSError as error:
        run.problems.append((name, str(error)))
        return []
    if missing:
        run.problems.append((name, "missing"))
    if broken:
        run.problems.append((name, f"{broken} of {len(found) + broken} lines are not JSON objects"))
    return found


def number(value: object) -> float | None:
    """A real number of a JSON file, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _text(value: object) -> str:
    """A value of a JSON file as people write it: text as it is, a list of texts with commas."""
    if isinstance(value, str):
        return value
    if value is None:
        return "none"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value) or "none"
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    except RecursionError:
        return "…"


def dotted(found: Mapping[str, object], prefix: str = "", levels: int = 3) -> dict[str, str]:
    """Nested objects as dotted names."""
    flat: dict[str, str] = {}
    for key, value in found.items():
        if isinstance(value, dict) and value and levels:
            flat |= dotted(value, f"{prefix}{key}.", levels - 1)
        else:
            flat[prefix + key] = _text(value)
    return flat
