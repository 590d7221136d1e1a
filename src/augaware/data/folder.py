"""A folder of images, at any depth; an ImageFolder (one sub-folder per class) has labels too."""

from __future__ import annotations

from pathlib import Path

from augaware.data.files import FileSource, digest, images_below
from augaware.data.shards import braced, tars_in
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
            sizes = images_below(self.root)
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

    def gone(self) -> bool:
        """Whether the folder is not there any more, or empty, as where a disk was mounted."""
        try:
            return next(self.root.iterdir(), None) is None
        except OSError:
            return True


def _hint(root: Path) -> str:
    tars = braced(tars_in(root))
    return f"; it holds {', '.join(tars)}: name the one you want, such as {root / tars[0]}" if tars else ""
