"""What analyses found, as sections of a page: a table for each measure, curves where there is an axis, pictures.

Reads the files of :mod:`augaware.analyse`. Encoders stand in the rows: with the interval over images that the analysis
states, or, where an experiment has several runs, as mean and standard deviation over these.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augaware.report.parts import Cell, Curve, Group, Lines, Part, Picture, Section, Table, Text, Value
from augaware.report.pictures import sound

PLACES = ("y", "z")  # where numbers are read, mostly
FEW = 3  # stages that have a table each; where there are more, each thing has one along the network
LARGEST = 1e300


@dataclass(frozen=True)
class Number:
    """One number of a result; see :class:`augaware.analysis.base.Number`."""

    measure: str
    value: float | None
    of: str
    stage: str
    at: float | None
    low: float | None
    high: float | None

    @property
    def cell(self) -> Value | None:
        """With its interval."""
        return None if self.value is None else Value(self.value, low=self.low, high=self.high)


@dataclass(frozen=True)
class Found:
    """One result file: ``encoders`` name -> numbers, the encoder that was asked about first."""

    analysis: str
    title: str
    protocol: str
    measures: Mapping[str, str]
    axis: str
    data: str
    images: int
    encoders: Mapping[str, Sequence[Number]]
    pictures: Mapping[Path, str]

    @property
    def kind(self) -> tuple[str, str, str, int]:
        """What two results must have in common to be compared."""
        return self.analysis, self.protocol, self.data, self.images


Who = Mapping[str, Sequence[Sequence[Number]]]  # encoder or experiment -> the numbers of each of its runs
Groups = Mapping[str, Sequence[Sequence[Found]]]  # experiment -> for each of its runs what was found of it


def read(folder: Path) -> tuple[list[Found], list[tuple[str, str]]]:
    """The results in ``folder/analysis``, and (file, reason) of what could not be read."""
    found, problems = [], []
    for path in sorted((folder / "analysis").glob("*.json")):
        try:
            found.append(parsed(json.loads(path.read_text(encoding="utf-8")), path.parent))
        except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            problems.append((f"analysis/{path.name}", f"not a result of an analysis ({type(error).__name__})"))
    return found, problems


def parsed(result: Mapping[str, Any], folder: Path = Path()) -> Found:
    """A result as :func:`augaware.analyse.analyse` returns it; its pictures lie in ``folder``.

    Raises one of the errors that :func:`read` names where it is none.
    """
    texts = {key: str(result[key]) for key in ("analysis", "title", "protocol", "axis", "data")}
    encoders = {str(name): [_number(n) for n in numbers] for name, numbers in result["encoders"].items()}
    if not encoders:
        raise ValueError("no encoder")
    measures = {str(name): str(means) for name, means in result["measures"].items()}
    pictures = {folder / Path(str(name)).name: str(shows) for name, shows in result["pictures"].items()}
    return Found(**texts, measures=measures, images=int(result["images"]), encoders=encoders, pictures=pictures)


def _number(given: Mapping[str, Any]) -> Number:
    reals = {key: _real(given.get(key)) for key in ("value", "at", "low", "high")}
    return Number(str(given["measure"]), of=str(given.get("of", "")), stage=str(given.get("stage", "")), **reals)


def _real(value: object) -> float | None:
    """A finite number of a JSON file, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < LARGEST else None  # False for NaN


def sections(groups: Groups) -> list[Section]:
    """A section for each analysis, in the order in which they come; results that differ in data stand apart."""
    kinds = dict.fromkeys(f.kind for runs in groups.values() for run in runs for f in run)
    made = []
    for place, kind in enumerate(kinds, 1):
        same = {label: [f for run in runs for f in run if f.kind == kind] for label, runs in groups.items()}
        same = {label: found for label, found in same.items() if found}
        first = next(iter(same.values()))[0]
        made.append(Section(_heading(first, kinds), f"analysis-{place}", [*_parts(first, same), *_pictures(same)]))
    return made


def _heading(found: Found, kinds: Collection[tuple[str, str, str, int]]) -> str:
    alone = sum(kind[:2] == found.kind[:2] for kind in kinds) == 1
    specs = {analysis for analysis, protocol, *_ in kinds if protocol == found.protocol}
    title = found.title if len(specs) == 1 else f"{found.title}: {found.analysis}"  # with other arguments
    return title if alone else f"{title}: {found.data}, {found.images} images"


def rows(same: Mapping[str, Sequence[Found]]) -> dict[str, list[Sequence[Number]]]:
    """Who -> the numbers of each of its runs. References that several results have are taken once, from the first."""
    found: dict[str, list[Sequence[Number]]] = {}
    for label, results in same.items():
        found[label] = [next(iter(f.encoders.values())) for f in results]
    asked = {next(iter(f.encoders)) for results in same.values() for f in results}
    for results in same.values():
        for f in results:
            for name, numbers in list(f.encoders.items())[1:]:
                if name not in asked:
                    found.setdefault(name, [numbers])
    return found


def _parts(first: Found, same: Mapping[str, Sequence[Found]]) -> list[Part]:
    who = rows(same)
    every = [n for runs in who.values() for numbers in runs for n in numbers]
    tables: list[Part] = []
    for measure, means in first.measures.items():
        flat = [n for n in every if n.measure == measure and n.at is None]
        stages = list(dict.fromkeys(n.stage for n in flat))
        for stage in stages if len(stages) <= FEW else PLACES:
            tables += _table(who, [n for n in flat if n.stage == stage], means)
        if len(stages) > FEW:
            for of in dict.fromkeys(n.of for n in flat):
                tables += _along(who, [n for n in flat if n.of == of], means)
    places = dict.fromkeys((n.measure, n.of, n.stage) for n in every if n.at is not None)
    curves = [part for place in places for part in _curves(who, *place, first.axis)]
    parts: list[Part] = [Text(f"{first.images} images of {first.data}. Protocol {first.protocol}."), *tables[:1]]
    if len(tables) > 1:
        parts.append(Group(_counted(len(tables) - 1, "more table"), tables[1:]))
    if curves:
        parts.append(
            Group(_counted(len(curves), f"curve against {first.axis}", f"curves against {first.axis}"), curves)
        )
    return parts


def _counted(n: int, one: str, many: str = "") -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


def _table(who: Who, numbers: Sequence[Number], means: str) -> list[Part]:
    """A measure at one stage: a row for each encoder, a column for each thing that it is about."""
    if not numbers:
        return []
    measure, stage = numbers[0].measure, numbers[0].stage
    columns = list(dict.fromkeys(n.of for n in numbers))
    body: list[list[Cell]] = [[name, *(cell(runs, measure, of, stage) for of in columns)] for name, runs in who.items()]
    return [Table(f"{measure} of {stage}", ["", *(of or measure for of in columns)], body, means)]


def _along(who: Who, numbers: Sequence[Number], means: str) -> list[Part]:
    """A measure of one thing along the network: a column for each stage."""
    measure, of = numbers[0].measure, numbers[0].of
    stages = list(dict.fromkeys(n.stage for n in numbers))
    stages = [s for s in stages if s not in PLACES] + [s for s in PLACES if s in stages]
    body = _rows((name, [cell(runs, measure, of, s) for s in stages]) for name, runs in who.items())
    caption = f"{measure}, {of}, along the network" if of else f"{measure} along the network"
    return [Table(caption, ["", *stages], body, means)]


def _rows(cells: Iterable[tuple[str, Sequence[Value | None]]]) -> list[list[Cell]]:
    """A row for each encoder that has a number at all."""
    return [[name, *row] for name, row in cells if any(cell is not None for cell in row)]


def _curves(who: Who, measure: str, of: str, stage: str, axis: str) -> list[Part]:
    """A measure against the axis: a curve for each encoder, the mean over its runs."""
    series: dict[str, Curve] = {}
    for name, runs in who.items():
        points: dict[float, list[float]] = {}
        for numbers in runs:
            for n in numbers:
                if (n.measure, n.of, n.stage) == (measure, of, stage) and n.at is not None and n.value is not None:
                    points.setdefault(n.at, []).append(n.value)
        if points:
            xs = sorted(points)
            series[name] = xs, [sum(points[x]) / len(points[x]) for x in xs]
    title = ", ".join(filter(None, [measure, of, "" if stage == "y" else stage]))
    return [Lines(title, series, axis or "at", measure)] if series else []


def cell(runs: Sequence[Sequence[Number]], measure: str, of: str, stage: str) -> Value | None:
    """One number of an experiment: that of its run with its interval, or mean and deviation over its runs."""
    place = measure, of, stage
    found = [n for numbers in runs for n in numbers if (n.measure, n.of, n.stage) == place and n.at is None]
    values = [n.value for n in found if n.value is not None]
    if len(values) > 1:
        return Value.over(values)
    return next((n.cell for n in found if n.value is not None), None)


def _pictures(same: Mapping[str, Sequence[Found]]) -> list[Part]:
    """The pictures of the first run of each experiment."""
    parts: list[Part] = []
    for label, results in same.items():
        for path, shows in results[0].pictures.items():
            try:
                png = path.read_bytes()
            except OSError:
                continue
            if sound(png):
                caption = shows if len(same) == 1 else f"{label}: {shows}"
                parts.append(Picture(caption, shows, png))
    return parts
