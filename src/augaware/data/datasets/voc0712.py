"""PASCAL VOC 2007 and 2012, for detection (Everingham et al., IJCV 2010)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

from augaware.data.datasets.listed import ListedSet, Lists, read_columns
from augaware.data.tables import Boxes, BoxTable
from augaware.errors import RequestError

__all__ = ["VOC0712"]

_LISTS = {"train": (("VOC2007", "trainval"), ("VOC2012", "trainval")), "test": (("VOC2007", "test"),)}


class VOC0712(ListedSet):
    """Objects of 20 kinds with boxes: trainval of 2007 and 2012 to train, the test set of 2007, no val.

    An image has several objects, so it has no label; :meth:`boxes` names them.
    """

    title = "PASCAL VOC 2007 + 2012"
    classes = 20
    counts: ClassVar = {"train": 16551, "test": 4952}
    metric = "ap"
    layout = "VOCdevkit/VOC2007 (with its test set) and VOCdevkit/VOC2012, as the three archives unpack"
    url = "http://host.robots.ox.ac.uk/pascal/VOC/"
    fetched = (
        ("VOCDetection", {"year": "2007", "image_set": "trainval"}),
        ("VOCDetection", {"year": "2007", "image_set": "test"}),
        ("VOCDetection", {"year": "2012", "image_set": "trainval"}),
    )
    places = ("VOCdevkit", "voc0712/VOCdevkit", "voc0712")
    needs = tuple(f"{year}/ImageSets/Main/{split}.txt" for lists in _LISTS.values() for year, split in lists)

    def lists(self, home: Path) -> Lists:
        """Train and test."""
        return Lists(
            (),
            {
                split: [
                    (f"{year}/JPEGImages/{number}.jpg", 0)
                    for year, part in parts
                    for (number,) in read_columns(home / year / "ImageSets" / "Main" / f"{part}.txt", 1)
                ]
                for split, parts in _LISTS.items()
            },
        )

    def boxes(self) -> BoxTable:
        """The objects of each image. The files count pixels from 1 and include the last; here pixel i is i to i + 1."""
        home = self.home()
        return {
            (split, file): _read(home / file.replace("JPEGImages", "Annotations").replace(".jpg", ".xml"))
            for split, entries in self.lists(home).splits.items()
            for file, _ in entries
        }


def _read(path: Path) -> Boxes:
    """One file of annotations. A document type, which could define entities, is refused before it is parsed."""
    try:
        text = path.read_bytes().decode("utf-8")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise RequestError(f"{path} defines a document type: annotations of VOC do not; unpack the archive again")
        root = ElementTree.fromstring(text)  # noqa: S314 - nothing can be defined in it
        size = (int(_text(root, "size/width")), int(_text(root, "size/height")))
        objects = root.findall("object")
        corners = [[float(_text(o, f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")] for o in objects]
        return Boxes(
            tuple(_text(o, "name") for o in objects),
            tuple((left - 1, top - 1, right, bottom) for left, top, right, bottom in corners),
            tuple((o.findtext("difficult") or "0").strip() == "1" for o in objects),
            size,
        )
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}; unpack the archive again") from None
    except RequestError:
        raise
    except (ElementTree.ParseError, ValueError) as error:
        raise RequestError(f"{path} is damaged ({' '.join(str(error).split())}); unpack the archive again") from None


def _text(node: ElementTree.Element, path: str) -> str:
    found = node.findtext(path)
    if found is None:
        raise ValueError(f"no {path}")
    return found.strip()
