"""A run folder as it lies on disk: read what is there, and name what is not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

REPEATS = "seed"  # the recipe key that tells repeats of one experiment apart


@dataclass(frozen=True)
class Result:
    """One headline number of an evaluation; two are comparable when all but ``value`` agree."""

    task: str
    dataset: str
    protocol: str
    metric: str
    value: float


@dataclass
class Run:
    """What could be read of a run folder, and in ``problems`` (file, reason) what could not."""

    folder: Path
    recipe: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    metrics: list[dict[str, object]] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The folder as the user wrote it."""
        return str(self.folder)

    @property
    def experiment(self) -> dict[str, str]:
        """The recipe without what only repeats change."""
        return {key: value for key, value in self.recipe.items() if key != REPEATS}


def read(folder: Path) -> Run:
    """Read a run folder; whatever is missing or broken becomes a line of ``problems``."""
    run = Run(folder)
    run.recipe.update(_flat(_json(run, "recipe.json")))
    run.environment.update(_flat(_json(run, "env.json")))
    run.metrics.extend(_json_lines(run, "metrics.jsonl"))
    for path in sorted((folder / "eval").glob("*.json")):
        name = f"eval/{path.name}"
        found = _json(run, name)
        if not found:
            continue
        place = _text(found.get("task", path.stem)), _text(found.get("dataset", "")), _text(found.get("protocol", ""))
        headline = _headline(found.get("metrics"))
        run.results.extend(Result(*place, metric, value) for metric, value in headline.items())
        if not headline:
            run.problems.append((name, "no number in its metrics"))
    return run


def _headline(metrics: object) -> dict[str, float]:
    """The numbers to show of an evaluation: its ``test``, which may hold several by name, or else every number."""
    if not isinstance(metrics, dict):
        return {}
    test = metrics.get("test", metrics)
    named = test if isinstance(test, dict) else {"test": test}
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


def _json_lines(run: Run, name: str) -> list[dict[str, object]]:
    """The JSON objects of a file with one per line; lines that are not are counted."""
    try:
        text = (run.folder / name).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        run.problems.append((name, "missing" if isinstance(error, FileNotFoundError) else str(error)))
        return []
    lines, found = [line for line in text.split("\n") if line.strip()], []
    for line in lines:
        try:
            item = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(item, dict):
            found.append(item)
    if len(found) < len(lines):
        run.problems.append((name, f"{len(lines) - len(found)} of {len(lines)} lines are not JSON objects"))
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


def _flat(found: Mapping[str, object], prefix: str = "", levels: int = 3) -> dict[str, str]:
    """Nested objects as dotted names."""
    flat: dict[str, str] = {}
    for key, value in found.items():
        if isinstance(value, dict) and value and levels:
            flat |= _flat(value, f"{prefix}{key}.", levels - 1)
        else:
            flat[prefix + key] = _text(value)
    return flat
