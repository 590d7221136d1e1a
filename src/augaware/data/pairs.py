"""A table of photographs: two or more of each thing in a row, with what is known of each.

    path_1,path_2,angle_1,angle_2,side_1,side_2
    a/left.jpg,a/right.jpg,-30,25,0,1

``path_1, path_2, ...`` are files, below the table's folder. ``NAME_1, NAME_2, ...`` are numbers, one for each
photograph: omega of the name NAME. Several numbers are ``NAME_1.0, NAME_1.1, ..., NAME_2.0, ...``: the hour of a day
as its sine and cosine. Other columns are not read.

AugSelf says what differs between two photographs: of a flag, whether it does; of a number, which has more of it. Where
one of two always is the front and the other the back, that is a number, 0 and 1.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from augaware.checks import check_flags
from augaware.data.files import FileSource, digest
from augaware.data.paired import Paired
from augaware.errors import RequestError, did_you_mean
from augaware.spaces import Binary, Cyclic, Interval, Space

__all__ = ["Pairs"]

PATH = "path"
_COLUMN = re.compile(r"(?P<name>[A-Za-z]\w*)_(?P<view>[1-9]\d*)(?:\.(?P<place>\d+))?")
Kinds = Mapping[str, int | Sequence[str]]


class Pairs(Paired):
    """Photographs of one thing, two or more in a row of ``table`` (a CSV), with what is known of each as omega.

    ``known`` chooses names of it; None is all there are. A name is an Interval of its numbers, ``standardise``d over
    all photographs to mean 0 and deviation 1 or in the table's own units; a flag of 0 or 1 where ``binary`` names it;
    one of n kinds where ``cyclic`` does: ``{'side': 4}`` for numbers 0 to 3, ``{'season': ['winter', 'spring', ...]}``
    for words. ``label`` is a column of classes.
    """

    def __init__(
        self,
        table: str,
        known: Sequence[str] | None = None,
        binary: Sequence[str] = (),
        cyclic: Kinds | None = None,
        standardise: bool = True,
        label: str = "",
        short_side: int | None = None,
    ) -> None:
        check_flags("data 'pairs'", standardise=standardise)
        path, owner = Path(table).expanduser(), f"data pairs({str(table)!r})"
        header, rows = _read(path, owner)
        columns = _columns(header, owner)
        paths = columns.pop(PATH, [])
        if len(paths) < 2 or any(len(of_view) > 1 for of_view in paths):
            raise RequestError(f"{owner}: its columns must begin path_1,path_2; found {','.join(header)}")
        names = _names("known", list(columns) if known is None else known, columns, owner)
        flags, kinds = _names("binary", binary, columns, owner), dict(cyclic or {})
        _names("cyclic", list(kinds), columns, owner)
        omega, spaces = dict[str, Tensor](), dict[str, Space]()
        for name in names:
            here = [column for of_view in columns[name] for column in of_view]
            if len(columns[name]) != len(paths) or len({len(of_view) for of_view in columns[name]}) > 1:
                raise RequestError(
                    f"{owner}: {name!r} has {', '.join(header[i] for i in here)} where each of the {len(paths)} "
                    f"photographs needs the same; leave it out with known=[...]"
                )
            cells = [[row[i] for i in here] for row in rows]
            values, spaces[name] = _values(name, cells, len(paths), name in flags, kinds.get(name), owner)
            if standardise and isinstance(spaces[name], Interval):
                flat = values.flatten(0, 1)
                values = (values - flat.mean(0)) / flat.std(0, correction=0).clamp_min(1e-12)
            if isinstance(spaces[name], Interval):
                reach = float((values.amax(1) - values.amin(1)).max()) or 1.0
                spaces[name] = Interval(values.shape[2], reach=reach, measured=True)
            omega[name] = values.float()
        files = [[row[of_view[0]] for of_view in paths] for row in rows]
        photographs = _Photographs(path, owner, files, short_side)
        number = {file: i for i, file in enumerate(photographs.names)}
        places = torch.tensor([[number[file] for file in of_thing] for of_thing in files])
        labels, classes = _labels(label, header, rows, owner)
        super().__init__(str(table), photographs, places, omega, spaces, labels, classes)


class _Photographs(FileSource):
    """Each file once, in the order in which the table names them."""

    def __init__(self, table: Path, owner: str, files: Sequence[Sequence[str]], short_side: int | None) -> None:
        self.folder = table.parent
        names = list(dict.fromkeys(file for of_thing in files for file in of_thing))
        absent = [name for name in names if not (self.folder / name).is_file()]
        if absent:
            raise RequestError(
                f"{owner}: {len(absent)} of its {len(names)} photographs are not there, the first is "
                f"{absent[0]!r}; paths are below {self.folder}"
            )
        sizes = [(self.folder / name).stat().st_size for name in names]
        super().__init__(str(table), names, short_side, digest(zip(names, sizes, strict=True)))

    def read(self, index: int) -> bytes:
        """The bytes of file ``index``."""
        return (self.folder / self.names[index]).read_bytes()


def _read(path: Path, owner: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows, at least one, each as long as the header."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = ([cell.strip() for cell in row] for row in csv.reader(file) if row)
    except OSError as error:
        raise RequestError(f"{owner} cannot be read: {error.strerror}") from None
    except (ValueError, csv.Error):
        raise RequestError(f"{owner} is no table: it needs a header path_1,path_2,NAME_1,NAME_2,...") from None
    for name in header:
        if header.count(name) > 1:
            raise RequestError(f"{owner}: column {name!r} stands twice")
    for place, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise RequestError(f"{owner}, row {place}: {len(row)} cells where the header has {len(header)}")
    if not rows:
        raise RequestError(f"{owner} has a header and no rows")
    return header, rows


def _columns(header: Sequence[str], owner: str) -> dict[str, list[list[int]]]:
    """Name -> for each photograph the columns that hold its numbers. What has no number 1, as plot_2024, is none."""
    found: dict[str, dict[int, dict[int, int]]] = {}
    for column, text in enumerate(header):
        match = _COLUMN.fullmatch(text)
        if match is not None:
            place = int(match["place"] or 0)
            of_view = found.setdefault(match["name"], {}).setdefault(int(match["view"]), {})
            if place in of_view:
                raise RequestError(f"{owner}: {header[of_view[place]]!r} and {text!r} are one column; keep one")
            of_view[place] = column
    return {
        name: [[views[v][place] for place in sorted(views[v])] for v in sorted(views)]
        for name, views in found.items()
        if 1 in views
    }


def _names(
    argument: str, names: Sequence[str], accepted: Mapping[str, object] | Sequence[str], owner: str
) -> list[str]:
    """``names``, a list of texts of which each is accepted."""
    chosen = [names] if isinstance(names, str) else list(names)
    for name in chosen:
        if name not in accepted:
            raise RequestError(
                f"{owner}: {argument} names {name!r}; known of each photograph: {', '.join(accepted) or 'nothing'}"
                f"{did_you_mean(name, accepted)}"
            )
    return chosen


def _values(
    name: str, cells: Sequence[Sequence[str]], views: int, flag: bool, kinds: int | Sequence[str] | None, owner: str
) -> tuple[Tensor, Space]:
    """Omega (N, views, columns) float64 and its space, of one row of cells per thing."""
    words = () if kinds is None or isinstance(kinds, int) else tuple(kinds)
    accepted, most = "a number", math.inf
    space: Space = Interval(1, measured=True)
    if flag:
        accepted, most, space = "0 or 1, as binary says", 1, Binary(measured=True)
    elif kinds is not None:
        n = len(words) or (kinds if type(kinds) is int else 0)
        if n < 2:
            raise RequestError(f"{owner}: cyclic={{{name!r}: {kinds!r}}} must give a number of kinds, or their words")
        accepted, most, space = (
            f"{', '.join(words) or f'0 to {n - 1}'}, as cyclic says",
            n - 1,
            Cyclic(n, measured=True),
        )
    numbers = []
    for place, row in enumerate(cells, start=1):
        for cell in row:
            value = _number(cell, words)
            kind = math.isinf(most) or (value >= 0 and value.is_integer())
            if not (math.isfinite(value) and value <= most and kind):
                hint = f"; of kinds, say which: cyclic={{{name!r}: [...]}}" if math.isinf(most) else ""
                raise RequestError(f"{owner}, row {place}: {name!r} is {cell!r}; accepted: {accepted}{hint}")
            numbers.append(value)
    values = torch.tensor(numbers, dtype=torch.float64).reshape(len(cells), views, -1)
    if values.shape[2] > 1 and not isinstance(space, Interval):
        raise RequestError(f"{owner}: {name!r} has {values.shape[2]} columns for each photograph; a kind has one")
    return values, space


def _number(cell: str, words: Sequence[str]) -> float:
    """The number that a cell says, or the place of its word; nan where it says none."""
    if words:
        return float(words.index(cell)) if cell in words else math.nan
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _labels(
    label: str, header: Sequence[str], rows: Sequence[Sequence[str]], owner: str
) -> tuple[Tensor | None, tuple[str, ...]]:
    """The class of each thing, where a column says it."""
    if not label:
        return None, ()
    if label not in header:
        raise RequestError(f"{owner}: label={label!r} is no column{did_you_mean(label, header)}")
    words = [row[header.index(label)] for row in rows]
    classes = sorted(set(words))
    return torch.tensor([classes.index(word) for word in words]), tuple(classes)
