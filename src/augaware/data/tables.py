"""Tables beside images: the boxes of objects and the landmarks of faces, by split and name of the image."""

from __future__ import annotations

import csv
import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augaware import lookup
from augaware.errors import RequestError

BOXES, LANDMARKS = "boxes.csv", "keypoints.csv"
BOX_COLUMNS = "split,file,class,xmin,ymin,xmax,ymax"  # and, or not, SIZE_COLUMNS
SIZE_COLUMNS = ",width,height"
LANDMARK_COLUMNS = "split,file,width,height,x1,y1,x2,y2,..."

Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Boxes:
    """The objects of one image: ``labels`` (K) name them, ``corners`` (K) are xmin, ymin, xmax, ymax in its pixels.

    ``size`` is the image's (width, height) where the table says it, else None; ``difficult`` marks what VOC does not
    count. Pixel i covers i to i + 1.
    """

    labels: tuple[str, ...]
    corners: tuple[Corners, ...]
    difficult: tuple[bool, ...]
    size: tuple[int, int] | None


Key = tuple[str, str]  # the split, and the image's entry in Source.names
BoxTable = Mapping[Key, Boxes]
LandmarkTable = Mapping[Key, tuple[float, ...]]  # width, height, x1, y1, ..., xK, yK, in pixels


def boxes(root: Path | str, name: str) -> BoxTable:
    """The boxes of data set ``name`` in ``root``: those of ``boxes.csv`` in its folder, else the published set's own.

    Raises :class:`RequestError` where it has none, and for a damaged table.
    """
    path = Path(root).expanduser() / name / BOXES
    own = None if path.is_file() else _published(path.parent)
    found: BoxTable | None = None if own is None else own.boxes()
    if found is None and not path.is_file():
        raise _lacking(name, "boxes", path, BOX_COLUMNS + SIZE_COLUMNS)
    return read_boxes(path) if found is None else found


def landmarks(root: Path | str, name: str) -> LandmarkTable:
    """The landmarks of data set ``name`` in ``root``: those of ``keypoints.csv`` in its folder, else the set's own.

    Raises :class:`RequestError` where it has none, and for a damaged table.
    """
    path = Path(root).expanduser() / name / LANDMARKS
    own = None if path.is_file() else _published(path.parent)
    found: LandmarkTable | None = None if own is None else own.landmarks()
    if found is None and not path.is_file():
        raise _lacking(name, "landmarks", path, LANDMARK_COLUMNS)
    return read_landmarks(path) if found is None else found


def read_boxes(path: Path) -> BoxTable:
    """The rows of ``boxes.csv``, one per box, gathered by image. Rows of images that are not there do no harm.

    A line is accepted as a box: tables that count whole pixels have such. Raises :class:`RequestError`, with the line,
    for other columns, what is no finite number, a box that is empty or outside its image, and an image of two sizes.
    """
    header, rows = _read(path, BOX_COLUMNS + SIZE_COLUMNS)
    if header not in (BOX_COLUMNS.split(","), (BOX_COLUMNS + SIZE_COLUMNS).split(",")):
        raise RequestError(f"{path}: its columns must be {BOX_COLUMNS}, with {SIZE_COLUMNS[1:]} or without")
    found: dict[Key, list[tuple[str, Corners]]] = {}
    sizes: dict[Key, tuple[int, int] | None] = {}
    for line, row in enumerate(rows, start=2):
        where = f"{path}, line {line}"
        left, top, right, bottom, *size = _numbers(row, 3, len(header), where)
        if not (left <= right and top <= bottom and (left, top) != (right, bottom)):
            raise RequestError(f"{where}: the box is empty; xmin must be at most xmax, and ymin at most ymax")
        width, height = size or (math.inf, math.inf)
        if min(left, top) < 0 or right > width or bottom > height:
            image = f"its image, {width:g} x {height:g} pixels" if size else "its image: 0 is the least coordinate"
            raise RequestError(f"{where}: the box {left:g}, {top:g}, {right:g}, {bottom:g} is not inside {image}")
        key = (row[0], row[1])
        stated = (int(width), int(height)) if size else None
        if sizes.setdefault(key, stated) != stated:
            raise RequestError(f"{where}: {key[1]} has another width or height than in an earlier row")
        found.setdefault(key, []).append((row[2], (left, top, right, bottom)))
    return {
        key: Boxes(tuple(n for n, _ in all_), tuple(c for _, c in all_), (False,) * len(all_), sizes[key])
        for key, all_ in found.items()
    }


def read_landmarks(path: Path) -> LandmarkTable:
    """The rows of ``keypoints.csv``, one per image. Rows of images that are not there do no harm.

    Raises :class:`RequestError`, with the line, for other columns, what is no finite number and repeated images.
    """
    header, rows = _read(path, LANDMARK_COLUMNS)
    first = LANDMARK_COLUMNS.split(",")[:4]
    k = (len(header) - len(first)) // 2
    if k < 2 or header != [*first, *(f"{axis}{i + 1}" for i in range(k) for axis in "xy")]:
        raise RequestError(f"{path}: its columns must be {LANDMARK_COLUMNS} of two landmarks or more")
    table: dict[Key, tuple[float, ...]] = {}
    for line, row in enumerate(rows, start=2):
        where = f"{path}, line {line}"
        numbers = _numbers(row, 2, len(header), where)
        width, height, *points = numbers
        extent = max(points[::2]) - min(points[::2]) + max(points[1::2]) - min(points[1::2])
        if min(width, height) < 1 or extent <= 0:
            raise RequestError(f"{where}: an image has a width and a height, and its landmarks are not all one point")
        table[row[0], row[1]] = numbers
    if len(table) < len(rows):
        raise RequestError(f"{path}: {len(rows) - len(table)} rows repeat the split and file of another; keep one each")
    return table


def _published(folder: Path) -> Any:
    """The published data set of the folder's name, where one is known and lies there, else None."""
    if importlib.util.find_spec("augaware.data.datasets") is None or folder.name not in lookup.names("data.datasets"):
        return None
    found = lookup.load("data.datasets", folder.name)(folder.parent)
    return found if found.present() else None


def _lacking(name: str, what: str, path: Path, columns: str) -> RequestError:
    return RequestError(f"data set {name!r} needs {what}: there is no {path} (columns {columns})")


def _read(path: Path, columns: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows. Raises :class:`RequestError`."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}; it needs the columns {columns}") from None
    except (ValueError, csv.Error):
        raise RequestError(f"{path} is no table: it needs a header {columns} and rows") from None
    return header, rows


def _numbers(row: list[str], first: int, columns: int, where: str) -> tuple[float, ...]:
    """The cells of one row from number ``first`` on."""
    try:
        numbers = tuple(float(cell) for cell in row[first:])
    except ValueError:
        numbers = (math.nan,)
    if len(row) != columns or not all(map(math.isfinite, numbers)):
        words = "split and file" if first == 2 else "split, file and class"
        raise RequestError(f"{where}: it needs {columns - first} finite numbers after {words}")
    return numbers
