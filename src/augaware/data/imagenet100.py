"""ImageNet-100: a hundred classes of ImageNet, the list of CMC that AugSelf and CASSLE pretrain on."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import torch

from augaware.data.files import FileSource, digest, images_below
from augaware.errors import RequestError

__all__ = ["ImageNet100"]


class ImageNet100(FileSource):
    """The 100 classes of CMC's list in ``path``, ImageNet's train or val folder with a sub-folder per WordNet id.

    Labels follow the list's order (``imagenet100.txt``, beside this file); images stand class by class, sorted by name.
    The folders of other classes are not read. Raises :class:`RequestError` where a class has no folder or no image.
    """

    def __init__(self, path: str, short_side: int | None = None) -> None:
        if not isinstance(path, str):
            raise RequestError(f"data imagenet100({path!r}): path must be a folder's name, such as '/data/train'")
        self.root = Path(path).expanduser()
        if not self.root.is_dir():
            raise RequestError(f"data imagenet100({path!r}): there is no such folder")
        classes = class_ids()
        absent = [c for c in classes if not (self.root / c).is_dir()]
        if absent:
            raise RequestError(
                f"data imagenet100({path!r}): {len(absent)} of {len(classes)} class folders are missing, the first is "
                f"{absent[0]}; name the folder that holds n01558993 and the like, ImageNet's train or val"
            )
        try:
            sizes = {c: images_below(self.root / c) for c in classes}
        except OSError as error:
            raise RequestError(f"data imagenet100({path!r}): cannot list {error.filename}: {error.strerror}") from None
        empty = [c for c in classes if not sizes[c]]
        if empty:
            raise RequestError(
                f"data imagenet100({path!r}): {len(empty)} of {len(classes)} class folders hold no image, the first is "
                f"{empty[0]}"
            )
        found = [(label, f"{c}/{name}", sizes[c][name]) for label, c in enumerate(classes) for name in sorted(sizes[c])]
        super().__init__(path, [name for _, name, _ in found], short_side, digest(found))
        self.labels, self.classes = torch.tensor([label for label, _, _ in found]), classes

    def read(self, index: int) -> bytes:
        """The bytes of file ``index``."""
        return (self.root / self.names[index]).read_bytes()


def class_ids() -> tuple[str, ...]:
    """The 100 WordNet ids; the class index is the place in the list."""
    text = resources.files("augaware.data").joinpath("imagenet100.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.split("\n") if line and not line.startswith("#"))
