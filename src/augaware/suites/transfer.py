"""The transfer table of AugSelf and CASSLE: every downstream protocol of the papers on the data sets that are there."""

from __future__ import annotations

from collections.abc import Sequence

from augaware.errors import RequestError, did_you_mean
from augaware.suites.base import Column, Suite, published

__all__ = ["transfer"]

# The papers' columns in their order, then data sets that they do not have.
PROBES = {
    "stl10": "STL10",
    "cifar10": "C10",
    "cifar100": "C100",
    "food101": "Food",
    "mit67": "MIT",
    "pets": "Pets",
    "flowers102": "Flow",
    "caltech101": "Cal",
    "cars": "Cars",
    "aircraft": "Air",
    "dtd": "DTD",
    "sun397": "SUN",
    "dogs": "Dogs",
    "cars50": "Cars50",
    "dtd10": "DTD10",
    "medleaf36": "Leaf",
    "rsscn7": "RSSCN",
    "tinyimagenet100": "Tiny",
}
LANDMARKS = {"landmarks300w": "300W", "face_keypoints68": "Faces"}
FEW_SHOT = {"fc100": "FC100", "cifar_fs": "CIFAR-FS", "cub200": "CUB", "plant_disease": "Plant", "medleaf36": "Leaf"}
BOXES = {"cub200": "CUB box", "tinyimagenet_loc20": "Tiny box", "caltech3_loc": "Cal3 box"}
RETRIEVAL = {name: PROBES[name] for name in PROBES if name not in ("stl10", "food101", "sun397")}  # large or coarse
# A schedule for small pictures.
FRUIT = "detection('fruit3_det', 300, 8, drops=(200, 270), short_side=(128, 192), test_side=160, anchors=(32, 64, 128))"


def transfer(without: Sequence[str] = ()) -> Suite:
    """Every downstream protocol of the papers: probes, landmarks, few-shot, boxes, retrieval, detection.

    ``without``: tasks to leave out, such as ``["detection"]``, which trains and wants a GPU. Published numbers: AugSelf
    (its poster's tables) and CASSLE (its main table); what is known from memory alone is left out. CUB is the probe of
    LooC's table, whose number is the best epoch on test. VOC is COCO's AP. A data set in ROOT that no column names gets
    a linear probe.
    """
    columns = [
        *(Column(name, title, f"linear_probe({name!r})") for name, title in PROBES.items()),
        Column("cub200", "CUB", "looc_probe('cub200')", ("best_test",)),
        *(Column(name, title, f"regression({name!r})", ("test", "r2_pooled")) for name, title in LANDMARKS.items()),
        *(
            Column(f"{name}_{shots}", f"{title} {shots}", f"few_shot({name!r}, shots={shots})")
            for name, title in FEW_SHOT.items()
            for shots in (1, 5)
        ),
        *(Column(f"{name}_box", title, f"localisation({name!r})", ("test", "iou")) for name, title in BOXES.items()),
        *(
            Column(f"{name}_map", f"{title} mAP", f"retrieval({name!r})", ("test", "map"))
            for name, title in RETRIEVAL.items()
        ),
        Column("voc0712", "VOC", "detection('voc0712')", ("test", "ap")),
        Column("fruit3_det", "Fruit", FRUIT, ("test", "ap50")),
    ]
    unwanted = [without] if isinstance(without, str) else list(without)
    tasks = sorted({column.task for column in columns})
    for name in unwanted:
        if name not in tasks:
            near = did_you_mean(str(name), tasks)
            raise RequestError(f"suite 'transfer': without names {name!r}; accepted: {', '.join(tasks)}{near}")
    rest = None if "linear_probe" in unwanted else "linear_probe({!r})"
    return Suite([column for column in columns if column.task not in unwanted], published("published.csv"), rest)
