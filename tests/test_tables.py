"""Tables of boxes and landmarks: what is read, where it is looked for, and what is refused with its line."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from augaware.data.tables import Boxes, boxes, landmarks, read_boxes
from augaware.errors import RequestError

HEADER = "split,file,class,xmin,ymin,xmax,ymax,width,height"
ROWS = ("train,a/1.png,cat,0,1.5,4,8,10,8", "val,a/1.png,cat,0,0,10,8,10,8", "train,a/1.png,dog,3,3,3,5,10,8")


def table(folder: Path, *lines: str, name: str = "boxes.csv") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(f"{line}\n" for line in lines))
    return folder / name


def test_boxes_are_gathered_by_image_in_the_order_of_their_rows(tmp_path: Path) -> None:
    found = read_boxes(table(tmp_path, HEADER, *ROWS))
    assert list(found) == [("train", "a/1.png"), ("val", "a/1.png")]
    pair = Boxes(("cat", "dog"), ((0, 1.5, 4, 8), (3, 3, 3, 5)), (False, False), (10, 8))
    assert found["train", "a/1.png"] == pair
    bare = read_boxes(
        table(tmp_path, HEADER.removesuffix(",width,height"), *(row.removesuffix(",10,8") for row in ROWS))
    )
    assert bare["train", "a/1.png"] == Boxes(pair.labels, pair.corners, pair.difficult, None)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([f"{HEADER},colour", f"{ROWS[0]},3"], "its columns must be split,file,class,xmin,ymin,xmax,ymax, with width"),
        (["split,file,class,xmin,ymin,width,height", "train,a,cat,1,2,3,4"], "its columns must be"),
        ([HEADER, ROWS[0], ROWS[0].replace("1.5", "nan")], "line 3: it needs 6 finite numbers after split, file and"),
        ([HEADER, ROWS[0].replace("1.5", "inf")], "line 2: it needs 6 finite numbers"),
        ([HEADER, ROWS[0].replace("1.5", "left")], "line 2: it needs 6 finite numbers"),
        ([HEADER, ROWS[0] + ",1"], "line 2: it needs 6 finite numbers"),
        ([HEADER, "train"], "line 2: it needs 6 finite numbers"),
        ([HEADER, "train,1,cat,4,1,0,8,10,8"], "line 2: the box is empty"),
        ([HEADER, "train,1,cat,4,4,4,4,10,8"], "line 2: the box is empty"),
        (
            [HEADER, "train,1,cat,0,0,10.5,8,10,8"],
            "line 2: the box 0, 0, 10.5, 8 is not inside its image, 10 x 8 pixels",
        ),
        (
            [HEADER[:-13], "train,1,cat,-1,0,10,8"],
            "line 2: the box -1, 0, 10, 8 is not inside its image: 0 is the least",
        ),
        ([HEADER, ROWS[0], "train,a/1.png,cat,0,0,2,2,11,8"], "line 3: a/1.png has another width or height"),
        ([], "is no table"),
    ],
)
def test_a_wrong_table_of_boxes_is_one_line_with_file_and_line(tmp_path: Path, lines: list[str], words: str) -> None:
    path = table(tmp_path, *lines)
    with pytest.raises(RequestError, match=words) as refused:
        read_boxes(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_set_without_a_table_is_told_where_it_belongs(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"'mine' needs boxes: there is no .*mine/boxes.csv \(columns split"):
        boxes(tmp_path, "mine")
    with pytest.raises(RequestError, match=r"'mine' needs landmarks: there is no .*mine/keypoints.csv \(columns split"):
        landmarks(tmp_path, "mine")
    (tmp_path / "boxes.csv").mkdir()
    with pytest.raises(RequestError, match=r"boxes.csv cannot be read: Is a directory"):
        read_boxes(tmp_path / "boxes.csv")
    table(tmp_path / "mine", HEADER, *ROWS)
    assert len(boxes(str(tmp_path), "mine")) == 2


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["caltech3_loc", "fruit3_det", "tinyimagenet_loc20"])
def test_real_boxes(real_data: Path, name: str) -> None:
    if not (path := real_data / name / "boxes.csv").is_file():
        pytest.skip(f"no {name} in {real_data}: set AUGAWARE_DATA")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = boxes(real_data, name)
    assert found.keys() == {(row["split"], row["file"]) for row in rows}
    assert sum(len(image.labels) for image in found.values()) == len(rows)
    assert {label for image in found.values() for label in image.labels} == {row["class"] for row in rows}
