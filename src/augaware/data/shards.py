"""Which tars a SRC means: one, a pattern such as ``train-{000..011}.tar``, several of either, or a folder of tars."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from augaware.data.archive import TARS
from augaware.data.files import SPLITS, is_image
from augaware.errors import RequestError

BETWEEN = "::"  # several SRC of tars in one, as webdataset writes it
_MOST = 100_000  # tars
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)", re.DOTALL)


def is_pattern(src: str) -> bool:
    """Whether SRC, no path that exists, is one of several tars."""
    return src.endswith(TARS) and (BETWEEN in src or _BRACES.search(src) is not None)


def holds_shards(folder: Path) -> bool:
    """Whether what ``folder`` holds are the tars of one set: no images, no folders, and not several splits."""
    tars = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                if is_image(entry.name) or entry.is_dir():
                    return False
                tars += [entry.name] if entry.name.endswith(TARS) else []
    return bool(tars) and len({word for tar in tars for word in re.split("[^a-z]+", tar.lower())} & SPLITS) < 2


def shards(src: str) -> list[Path]:
    """The tars that SRC means, in its order, those of a folder by name.

    A path that exists is itself, whatever its name. Raises :class:`RequestError` where one is missing.
    """
    path = Path(src).expanduser()
    if path.is_dir():
        return [path / name for name in tars_in(path)]
    if path.exists():
        return [path]
    paths = [Path(p).expanduser() for part in src.split(BETWEEN) for p in expanded(part, src)]
    missing = [p for p in paths if not p.is_file()]
    if missing and len(paths) == 1:
        raise RequestError(f"data {src!r}: there is no such file")
    if missing:
        raise RequestError(
            f"data {src!r}: {len(missing)} of its {len(paths)} shards are missing, the first is {missing[0]}"
        )
    return paths


def tars_in(folder: Path) -> list[str]:
    """The names of the tars in ``folder``, sorted."""
    return sorted(p.name for p in folder.iterdir() if p.name.endswith(TARS) and not p.name.startswith("."))


def expanded(text: str, src: str) -> list[str]:
    """``text`` with its braces expanded as a shell does: ``{000..011}``, ``{a,b}``, one or several, none in another.

    Raises :class:`RequestError`, naming ``src``, for a range of other than two numbers and for too many.
    """
    found = [""]
    last = 0
    for match in _BRACES.finditer(text):
        pieces = list(_alternatives(match[1], src))
        if len(found) * len(pieces) > _MOST:  # before they are made
            raise RequestError(f"data {src!r} means {len(found) * len(pieces)} tars or more; the most is {_MOST}")
        found = [f"{head}{text[last : match.start()]}{piece}" for head in found for piece in pieces]
        last = match.end()
    return [head + text[last:] for head in found]


def _alternatives(body: str, src: str) -> Iterable[str]:
    if ".." in body:
        match = _RANGE.fullmatch(body)
        if match is None:
            raise RequestError(f"data {src!r}: {{{body}}} must be two numbers, such as {{000..011}}")
        first, last = int(match[1]), int(match[2])
        if abs(last - first) >= _MOST:
            raise RequestError(f"data {src!r}: {{{body}}} means {abs(last - first) + 1} tars; the most is {_MOST}")
        padded = any(end != "0" and end.startswith("0") for end in match.groups())
        width = max(map(len, match.groups())) if padded else 0
        step = 1 if last >= first else -1
        return (f"{number:0{width}}" for number in range(first, last + step, step))
    return body.split(",") if "," in body else (f"{{{body}}}",)


def braced(names: Iterable[str]) -> list[str]:
    """The file names, those that differ in their last number only as one pattern: what :func:`expanded` takes apart."""
    series: dict[tuple[str, str], list[str]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        series.setdefault((match[1], match[3]) if match else (name, ""), []).append(match[2] if match else "")
    return [head + _brace(numbers) + tail for (head, tail), numbers in series.items()]


def _brace(numbers: list[str]) -> str:
    if len(numbers) == 1:
        return numbers[0]
    numbers = sorted(numbers, key=int)
    span = f"{{{numbers[0]}..{numbers[-1]}}}"
    between = int(numbers[-1]) - int(numbers[0]) < _MOST
    return span if between and expanded(span, span) == numbers else f"{{{','.join(numbers)}}}"


def below(paths: list[Path]) -> Iterator[str]:
    """The path of each tar below the folder that holds them all."""
    common = os.path.commonpath([os.path.abspath(p.parent) for p in paths])
    return (os.path.relpath(os.path.abspath(p), common).replace(os.sep, "/") for p in paths)
