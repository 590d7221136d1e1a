"""A list of image files: ``FILE.txt``, ``.csv``, ``.tsv`` or ``.jsonl``, with labels or without."""

from __future__ import annotations

import csv
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from augaware.data.base import Skipped
from augaware.data.decode import ARRAYS, EXTENSIONS
from augaware.data.files import FileSource, digest, label_by_text
from augaware.errors import RequestError

__all__ = ["FileList"]

COLUMNS = ("path", "file", "image", "file_name", "filename")
# The path ends with the last extension that a space, a comma or the line's end follows; what follows is the label.
_LINE = re.compile(
    rf"(.*(?:{'|'.join(re.escape(e) for e in sorted(EXTENSIONS | ARRAYS))}))(?:[ ,]+(.*))?", re.IGNORECASE
)

Row = tuple[int, str, str]  # the line, the path as it stands there, the label: "" without


class FileList(FileSource):
    """The images that the list ``path`` names, in its order, each as often as it stands there.

    Paths are relative to the list's folder, or absolute. They may lead out of it, with ``..`` too: a list is one's own,
    and whatever it names is opened as an image and as nothing else. ``.txt``: a path per line, and its label after a
    tab, or after a space or a comma behind the extension (.jpg, ...). ``.csv``, ``.tsv``: a header with a column path
    (or file, image, file_name, filename) and, or not, label. ``.jsonl``: an object per line with these keys. Labels are
    class numbers, from 0, or names; without any, first-level folders are classes as in a folder.

    Files that are not there are listed in ``skipped``. Raises :class:`RequestError`, with the line, for what is no such
    list, and for one of which no file is there.
    """

    def __init__(self, path: str, short_side: int | None = None) -> None:
        self.root = Path(path).expanduser().parent
        rows = list(_rows(Path(path).expanduser(), path))
        if not rows:
            raise RequestError(f"data {path!r}: the list is empty")
        _check_labels(rows, path)
        sizes = [_size(self.root / name) for _, name, _ in rows]
        kept = [i for i, size in enumerate(sizes) if isinstance(size, int)]
        if not kept:
            line, name, _ = rows[0]
            raise RequestError(
                f"data {path!r}: none of its {len(rows)} images is there, the first, in line {line}, is "
                f"{self.root / name}; paths are relative to the list's folder"
            )
        names = [rows[i][1] for i in kept]
        fingerprint = digest((rows[i][1], rows[i][2], sizes[i]) for i in kept)
        super().__init__(path, names, short_side, fingerprint)
        if rows[0][2]:
            labels, self.classes = label_by_text([r[2] for r in rows], lambda i: f"data {path!r}, line {rows[i][0]}")
            self.labels = labels[kept]
        elif any(".." in name.split("/") for name in names):
            self.labels, self.classes = None, ()
        lost = {rows[i][1]: size for i, size in enumerate(sizes) if isinstance(size, str)}
        self.skipped = tuple(Skipped(name, reason) for name, reason in lost.items())

    def read(self, index: int) -> bytes:
        """The bytes of file ``index``."""
        return (self.root / self.names[index]).read_bytes()


def _size(path: Path) -> int | str:
    """Of a file, in bytes; why there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return found.st_size if stat.S_ISREG(found.st_mode) else "not a file"


def _check_labels(rows: list[Row], path: str) -> None:
    for line, _, label in rows:
        if bool(label) != bool(rows[0][2]):
            lacking, other = (rows[0][0], line) if label else (line, rows[0][0])
            raise RequestError(
                f"data {path!r}, line {lacking}: it has no label, and line {other} has one; give all one, or none"
            )


def _rows(file: Path, path: str) -> Iterator[Row]:
    try:
        text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except FileNotFoundError:
        raise RequestError(f"data {path!r}: there is no such file") from None
    except OSError as error:
        raise RequestError(f"data {path!r}: cannot be read: {error.strerror}") from None
    if "\0" in text:
        raise RequestError(f"data {path!r} is no text in UTF-8; save it as that")
    lines = text.split("\n")
    read = {".csv": _table, ".tsv": _table, ".jsonl": _objects}.get(file.suffix.lower(), _lines)
    for line, name, label in read(lines, path):
        if not name:
            raise RequestError(f"data {path!r}, line {line}: the path is missing")
        yield line, name.removeprefix("./"), label


def _lines(lines: Iterable[str], path: str) -> Iterator[Row]:
    for number, whole in enumerate(lines, start=1):
        line = whole.strip()
        if line:
            name, _, label = line.partition("\t")
            if name == line and (match := _LINE.fullmatch(line)):
                name, label = match[1], match[2] or ""
            yield number, name.strip(), label.strip()


def _table(lines: Iterable[str], path: str) -> Iterator[Row]:
    reader = csv.reader((f"{line}\n" for line in lines), "excel-tab" if path.lower().endswith(".tsv") else "excel")
    try:
        header = [column.strip().lower() for column in next(reader)]
        at, label_at = _columns(header, path)
        for row in reader:
            if any(cell.strip() for cell in row):
                if len(row) != len(header):
                    raise RequestError(
                        f"data {path!r}, line {reader.line_num}: {len(row)} cells where the header has {len(header)}"
                    )
                yield reader.line_num, row[at].strip(), "" if label_at is None else row[label_at].strip()
    except csv.Error as error:
        raise RequestError(f"data {path!r}, line {reader.line_num}: {error}") from None


def _columns(header: list[str], path: str) -> tuple[int, int | None]:
    """The places of the path and the label."""
    found = [column for column in header if column in COLUMNS]
    if len(found) != 1:
        raise RequestError(
            f"data {path!r}, line 1: the header must have one of the columns {', '.join(COLUMNS)}, and may have label; "
            f"it has {', '.join(header)[:200] or 'none'}"
        )
    return header.index(found[0]), header.index("label") if "label" in header else None


def _objects(lines: Iterable[str], path: str) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            json.dumps(row, ensure_ascii=False).encode(errors="surrogateescape")  # JSON can hold what no name is
        except (ValueError, RecursionError):
            row = None
        names = [row[key] for key in COLUMNS if key in row] if isinstance(row, dict) else []
        if len(names) != 1 or not isinstance(names[0], str):
            raise RequestError(
                f'data {path!r}, line {number}: it must be an object such as {{"path": "a.jpg", "label": "cat"}}'
            )
        label = row.get("label")
        if label is not None and (isinstance(label, bool) or not isinstance(label, str | int)):
            raise RequestError(f"data {path!r}, line {number}: label {label!r} must be a text or a whole number")
        yield number, names[0], "" if label is None else str(label).strip()
