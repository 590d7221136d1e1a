"""What a kill cannot tear: files written whole or not at all, the whole lines of others, folders that one holds."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from augaware.errors import RequestError


def held(folder: int) -> bool:
    """Whether this process got hold of an open folder; where the file system has no locks, it is taken on trust.

    The system lets go of it when the folder is closed or the process ends, however it ends.
    """
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def write_file(file: Path, content: bytes) -> None:
    """Write all of ``content`` or nothing."""
    draft = file.with_name(f".{file.name}.draft")
    draft.write_bytes(content)
    replace_file(draft, file)


def json_lines(file: Path) -> tuple[list[dict[str, Any]], int]:
    """The JSON objects of a file with one per line, and how many lines are none, as the half line of a kill.

    A file that is not there has none.
    """
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return [], 0
    lines, found = [line for line in text.split("\n") if line.strip()], []
    for line in lines:
        try:
            item = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(item, dict):
            found.append(item)
    return found, len(lines) - len(found)


def write_output(out: Path | str, content: bytes, option: str = "--out") -> None:
    """:func:`write_file`, in a folder that is made. Raises :class:`RequestError` where that cannot be."""
    try:
        Path(out).absolute().parent.mkdir(parents=True, exist_ok=True)
        write_file(Path(out), content)
    except OSError as error:
        raise RequestError(f"{option} {str(out)!r}: cannot write there ({error.strerror})") from None


@contextmanager
def drafted(out: Path | str, option: str = "--out") -> Iterator[Path]:
    """A place named as ``out``, for a new file or folder: moved there at the end of the block, gone where that raises.

    Raises :class:`RequestError` where that cannot be written.
    """
    out = Path(out).absolute()
    draft = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        place = draft / out.name
        yield place
        for file in (place, *place.rglob("*")):
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        place.rename(out)
    except OSError as error:
        raise RequestError(f"{option} {str(out)!r}: cannot write there ({error.strerror})") from None
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)


def replace_file(draft: Path, file: Path) -> None:
    """Move ``draft`` onto ``file`` once its bytes are on the disk."""
    with draft.open("rb") as handle:
        os.fsync(handle.fileno())
    draft.replace(file)
