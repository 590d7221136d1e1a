"""A data set of Hugging Face ``datasets``: ``hf:user/name(split='train')``, or ``hf:FOLDER``, where it lies on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augaware.data.files import FileSource, digest, label_by_text
from augaware.errors import RequestError, did_you_mean
from augaware.quiet import quiet

__all__ = ["HuggingFace"]

_PIECE = 1000  # rows looked at together; none is decoded
_SAVED = ("dataset_dict.json", "state.json")  # what save_to_disk leaves


class HuggingFace(FileSource):
    """The images of the set ``name`` of the Hub, or of the folder ``name`` that ``save_to_disk`` or parquet files made.

    ``split`` may be left out where there is one; ``config`` and ``revision`` are those of ``datasets.load_dataset``.
    ``image`` and ``label`` name the columns; None: the one of images; the one of a ClassLabel, or "label". Image files
    are decoded as a folder's are. A set's own code is never run. Raises :class:`RequestError` for what is not there, a
    choice that is left open and a column that holds something else.
    """

    def __init__(
        self,
        name: str,
        split: str | None = None,
        config: str | None = None,
        image: str | None = None,
        label: str | None = None,
        revision: str | None = None,
        short_side: int | None = None,
    ) -> None:
        where = f"data 'hf:{name}'"
        given = {"name": name, "split": split, "config": config, "image": image, "label": label, "revision": revision}
        for key, value in given.items():
            if not isinstance(value, str) and (value is not None or key == "name"):
                raise RequestError(f"{where}: {key}={value!r} must be a text")
        found, split = _opened(name, split, config, revision, where)
        self._column, label = _columns(found.features, image, label, where)
        self._rows = _encoded(found, self._column)
        paths, sizes = _listed(self._rows)
        if not sizes:
            raise RequestError(f"{where}: split {split!r} holds no images")
        labels, classes = (None, ()) if label is None else _labelled(found, label, where)
        # A set's own fingerprint is another where it lies elsewhere or a newer library loads it; this is of its rows.
        probes = [digest([self.read(i)]) for i in _spread(len(sizes)) if sizes[i]]
        content = (*zip(paths, sizes, strict=True), *probes, *([] if labels is None else labels.tolist()))
        distinct = "" not in paths and len(set(paths)) == len(paths)
        names = paths if distinct else [f"{split}/{i}" for i in range(len(sizes))]
        super().__init__(f"hf:{name} {split}", names, short_side, digest(content))
        self.labels, self.classes = labels, classes

    def read(self, index: int) -> bytes:
        """The encoded image of row ``index``, or that in the file it names, if this lies on this machine."""
        found = self._rows[index][self._column] or {}
        if found.get("bytes"):
            content: bytes = found["bytes"]
            return content
        if not found.get("path"):
            raise OSError("the row holds no image")
        return Path(found["path"]).read_bytes()


def _spread(n: int) -> list[int]:
    """Eight places among n, or all."""
    places: list[int] = torch.linspace(0, n - 1, min(8, n)).long().tolist()
    return places


def _opened(name: str, split: str | None, config: str | None, revision: str | None, where: str) -> tuple[Any, str]:
    """The rows of one split, and its name."""
    folder = Path(name).expanduser()
    try:
        local = bool(name.strip()) and folder.is_dir()
    except OSError as error:
        raise RequestError(f"{where}: there is no such folder ({error.strerror})") from None
    if not local and (name.startswith(("/", ".", "~")) or name.count("/") > 1 or not name.strip()):
        raise RequestError(f"{where}: there is no such folder")
    try:
        import datasets
    except ImportError:
        raise RequestError(f"{where} needs the library datasets; install it with: pip install 'datasets>=4'") from None
    if int(datasets.__version__.split(".")[0]) < 4:  # which would run a set's code
        raise RequestError(
            f"{where}: datasets {datasets.__version__} is too old; get a newer one with: pip install -U 'datasets>=4'"
        )
    place = str(folder) if local else name
    try:
        with quiet("huggingface_hub"):  # of each try to reach the Hub, and of a README that is not there
            return _loaded(datasets, place, split, config, revision, where)
    except RequestError:
        raise
    except Exception as error:  # of a dozen kinds, by library and version
        said = " ".join(str(error).split())[:300] or type(error).__name__
        saved = f"; without a network, hf:FOLDER reads what load_dataset({name!r}).save_to_disk(FOLDER) left elsewhere"
        raise RequestError(f"{where} cannot be loaded from Hugging Face: {said}{'' if local else saved}") from None


def _loaded(
    datasets: Any, place: str, split: str | None, config: str | None, revision: str | None, where: str
) -> tuple[Any, str]:
    """As the library has them, of the folder or the name ``place``."""
    if any((Path(place) / file).is_file() for file in _SAVED):
        if config or revision:
            raise RequestError(f"{where}: a set that save_to_disk made has no config and no revision")
        saved = datasets.load_from_disk(place)
        if isinstance(saved, datasets.Dataset):
            own = str(saved.split or "train")
            return saved, _chosen(split, [own], where)
        split = _chosen(split, list(saved), where)
        return saved[split], split
    if split is None:
        split = _chosen(None, datasets.get_dataset_split_names(place, config, revision=revision), where)
    return datasets.load_dataset(place, config, split=split, revision=revision), split


def _chosen(split: str | None, there: list[str], where: str) -> str:
    if split is None and len(there) == 1:
        return there[0]
    if split is None:
        raise RequestError(f"{where} has the splits {', '.join(there)}: name one, such as (split={there[0]!r})")
    if split not in there:
        raise RequestError(f"{where} has no split {split!r}; accepted: {', '.join(there)}{did_you_mean(split, there)}")
    return split


def _columns(features: Any, image: str | None, label: str | None, where: str) -> tuple[str, str | None]:
    """The columns of images and of labels."""
    from datasets import ClassLabel

    images = [name for name, feature in features.items() if _is_image(feature)]
    for name, key, accepted in ((image, "image", images), (label, "label", list(features))):
        if name is not None and name not in accepted:
            raise RequestError(
                f"{where}: {key}={name!r} is no column of {key}s; accepted: {', '.join(accepted) or 'none'}"
                f"{did_you_mean(name, accepted)}"
            )
    if image is None and len(images) != 1:
        held = ", ".join(images) if images else ", ".join(features)
        raise RequestError(
            f"{where}: {'several columns hold' if images else 'no column holds'} images; it has {held}"
            f"{f'; name one, such as (image={images[0]!r})' if images else ''}"
        )
    known = [name for name, feature in features.items() if isinstance(feature, ClassLabel)]
    usual = [name for name in ("label",) if name in features and (name in known or _is_plain(features[name]))]
    return image or images[0], label or (known[0] if len(known) == 1 else usual[0] if usual else None)


def _is_image(feature: Any) -> bool:
    """Whether a column is of images, or of the struct and the bytes that plain parquet has for them."""
    from datasets import Image, Value

    struct = isinstance(feature, dict) and "bytes" in feature
    return struct or isinstance(feature, Image) or (isinstance(feature, Value) and "binary" in feature.dtype)


def _is_plain(feature: Any) -> bool:
    """Whether a column is of whole numbers or of texts."""
    dtype = str(getattr(feature, "dtype", ""))
    return dtype.startswith(("int", "uint")) or "string" in dtype


def _encoded(found: Any, column: str) -> Any:
    """The column of images alone, its files as they are encoded."""
    from datasets import Image

    return found.with_format(None).select_columns([column]).cast_column(column, Image(decode=False))


def _pieces(rows: Any) -> Iterator[Any]:
    """The one column of ``rows``, as arrow arrays."""
    for table in rows.with_format("arrow").iter(_PIECE):
        yield table.column(0).combine_chunks()


def _listed(rows: Any) -> tuple[list[str], list[int]]:
    """The path of each image, "" without one, and the size of its file in bytes, 0 where there is none."""
    import pyarrow.compute as pc

    paths: list[str] = []
    sizes: list[int] = []
    for piece in _pieces(rows):
        stated = pc.struct_field(piece, "path").to_pylist()
        lengths = pc.binary_length(pc.struct_field(piece, "bytes")).to_pylist()
        sizes += [length or _on_disk(path) for path, length in zip(stated, lengths, strict=True)]
        paths += [os.path.basename(path) if path and os.path.isabs(path) else path or "" for path in stated]
    return paths, sizes


def _on_disk(path: str | None) -> int:
    try:
        return os.stat(path).st_size if path else 0
    except (OSError, ValueError):
        return 0


def _labelled(found: Any, label: str, where: str) -> tuple[Tensor | None, tuple[str, ...]]:
    """Labels (N,) int64 and class names; ``(None, ())`` where an image has none."""
    feature = found.features[label]
    names = getattr(feature, "names", None)
    if names is None and not _is_plain(feature):
        raise RequestError(f"{where}: label={label!r} is of {feature}; it must be of classes, whole numbers or texts")
    rows = found.with_format(None).select_columns([label])
    values = [value for piece in _pieces(rows) for value in piece.to_pylist()]
    if any(value is None or value == -1 for value in values):  # what a test split without labels has
        return None, ()
    if names is not None:
        return torch.tensor(values), tuple(names)
    return label_by_text([str(value).strip() for value in values], lambda i: f"{where}, row {i}")
