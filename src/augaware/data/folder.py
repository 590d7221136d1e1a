"""A folder of images, at any depth; an ImageFolder (one sub-folder per class) has labels too."""

from __future__ import annotations

import os
from pathlib import Path

from augaware.data.files import FileSource, digest, is_image
from augaware.errors import RequestError

__all__ = ["Folder"]


class Folder(FileSource):
    """The images below ``path``, sorted by their relative paths; hidden files and other file types are ignored.

    Links are followed, each folder is visited once. Raises :class:`RequestError` for a missing folder or one without
    images.
    """

    def __init__(self, path: str, short_side: int | None = None) -> None:
        self.root = Path(path)
        if not self.root.is_dir():
            raise RequestError(f"data {path!r}: there is no such folder")
        try:
            sizes = _images_below(self.root)
        except OSError as error:
            raise RequestError(f"data {path!r}: cannot list {error.filename}: {error.strerror}") from None
        if not sizes:
            raise RequestError(
                f"data {path!r}: the folder holds no image (.jpg, .png, ...), at any depth{_hint(self.root)}"
            )
        names = sorted(sizes)
        super().__init__(path, names, short_side, digest((name, sizes[name]) for name in names))

    def read(self, index: int) -> bytes:
        """The bytes of file ``index``."""
        return (self.root / self.names[index]).read_bytes()


def _images_below(root: Path) -> dict[str, int]:
    """Relative path of every image -> its size in bytes."""
    sizes: dict[str, int] = {}
    visited: set[tuple[int, int]] = set()
    todo = [""]
    while todo:
        prefix = todo.pop()
        here = os.stat(root / prefix)
        if (here.st_dev, here.st_ino) in visited:  # a link back to a parent
            continue
        visited.add((here.st_dev, here.st_ino))
        with os.scandir(root / prefix) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                name = f"{prefix}{entry.name}"
                if entry.is_dir() and not entry.name.startswith("."):
                    todo.append(f"{name}/")
                elif is_image(name) and (entry.is_file() or entry.is_symlink()):  # a dead link is listed, then skipped
                    sizes[name] = entry.stat().st_size if entry.is_file() else 0
    return sizes


def _hint(root: Path) -> str:
    tars = sorted(p.name for p in root.iterdir() if p.name.endswith((".tar", ".tar.gz", ".tgz")))
    return f"; it holds {', '.join(tars)}: name the one you want, such as {root / tars[0]}" if tars else ""
