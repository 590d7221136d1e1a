"""Localisation: boxes follow their pixels through the crop, the numbers are the formulas, bad tables are refused."""

from __future__ import annotations

import csv
import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import Ridge as SklearnRidge
from torch import nn
from torchvision.ops import box_iou
from torchvision.transforms import CenterCrop, Compose, Resize

from augaware.data.centre import centre_crop
from augaware.errors import RequestError
from augaware.tasks.boxed import Boxed
from augaware.tasks.localisation import Localisation, iou, scores, targets_of, visible
from augaware.tasks.ridge import STRENGTHS

SIZES = {"train": 40, "val": 20, "test": 30}


class Corners(nn.Module):
    """The features are where the white of the image begins and ends, and some noise-free nothing."""

    name, size, dim, mean, std = "corners", 32, 5, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def forward(self, x):
        white = x.mean(1) > 0.5
        columns, rows = white.any(1), white.any(2)
        first = [line.float().argmax(1) for line in (columns, rows)]
        last = [self.size - line.flip(1).float().argmax(1) for line in (columns, rows)]
        return torch.stack([*first, *last, torch.zeros_like(first[0])], 1).float()


class Blank(Corners):
    name = "blank"

    def forward(self, x):
        return torch.zeros(len(x), self.dim)


def drawn(width, height, box):
    """White on black; corners in whole pixels."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    left, top, right, bottom = box
    image[:, top:bottom, left:right] = 255
    return image


def write(root, rows=None, sizes=SIZES, name="set", table_sizes=True):
    """A set of drawn rectangles. ``rows`` (split, number) -> rows of the table instead of the true one."""
    rng = np.random.default_rng(0)
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    table = [["split", "file", "class", "xmin", "ymin", "xmax", "ymax"] + ["width", "height"] * table_sizes]
    for split, n in sizes.items():
        with tarfile.open(folder / f"{split}.tar", "w") as tar:
            for i in range(n):
                width, height = 48 + i % 3, 40 + i % 5
                left, top = rng.integers(8, 20, 2)
                box = (left, top, left + rng.integers(6, 16), top + rng.integers(6, 16))
                content = io.BytesIO()
                Image.fromarray(drawn(width, height, box).permute(1, 2, 0).numpy()).save(content, "PNG")
                info = tarfile.TarInfo(f"{i:02d}.png")
                info.size = len(content.getvalue())
                tar.addfile(info, io.BytesIO(content.getvalue()))
                size = [width, height] * table_sizes
                table += (rows or {}).get((split, i), [[split, f"{i:02d}.png", "thing", *box, *size]])
    with (folder / "boxes.csv").open("w", newline="") as file:
        csv.writer(file).writerows(table)


@pytest.mark.parametrize("shape", [(64, 64), (90, 64), (64, 91), (50, 37), (37, 60), (200, 151)])
@pytest.mark.parametrize("size", [32, 48, 64])
def test_a_box_stays_on_the_pixels_it_marks(shape, size):
    """torchvision's transform of a white rectangle and of ours, measured: the box says where the white ends."""
    width, height = shape
    rng = np.random.default_rng(width + size)
    for _ in range(6):
        left, top = rng.integers(0, width - 8), rng.integers(0, height - 8)
        box = (left, top, rng.integers(left + 6, width + 1), rng.integers(top + 6, height + 1))
        image = drawn(width, height, box)
        found = visible(torch.tensor([box], dtype=torch.float64), torch.tensor([[width, height]]), size)[0] * size
        whole = Compose([Resize(size, antialias=True), CenterCrop(size)])
        for pixels in (centre_crop(image, size), whole(image.float() / 255)):
            if bool((found[2:] - found[:2] < 1).any()):  # beside the crop, or within the filter's reach
                assert pixels[0].amax(1).sum() < 2 or pixels[0].amax(0).sum() < 2
                continue
            for axis in (0, 1):  # the sum of a profile is how many pixels are white, its centre of mass where
                profile = pixels[0].amax(axis).double()
                begin, end = float(found[axis]), float(found[axis + 2])
                assert float(profile.sum()) == pytest.approx(end - begin, abs=0.75)
                centre = (profile * (torch.arange(size) + 0.5)).sum() / profile.sum()
                assert float(centre) == pytest.approx((begin + end) / 2, abs=0.4)


def test_a_box_beside_the_crop_is_empty_and_one_across_its_edge_is_clipped():
    sizes = torch.tensor([[100, 50], [100, 50]])
    found = visible(torch.tensor([[0.0, 5, 20, 45], [10, 5, 40, 45]]).double(), sizes, 50)
    assert found[0].tolist() == [0, 0.1, 0, 0.9]
    assert found[1].tolist() == pytest.approx([0, 0.1, 0.3, 0.9])


def test_iou_is_torchvisions_and_the_scores_are_their_formulas():
    g = torch.Generator().manual_seed(0)
    a, b = (torch.rand(2, 200, 2, generator=g).sort(0).values.transpose(0, 1).reshape(200, 4).double() for _ in "ab")
    torch.testing.assert_close(iou(a, b), box_iou(a, b).diagonal())
    assert iou(a[:, [2, 1, 0, 3]], b).tolist() == [0] * 200  # corners swapped
    found, spread = scores(a, b)
    overlap = box_iou(a, b).diagonal().numpy()
    assert found == pytest.approx(
        {"mse": ((a - b) ** 2).mean().item(), "iou": overlap.mean(), "iou50": (overlap > 0.5).mean()}
    )
    assert spread["iou"] == pytest.approx(overlap.std() / np.sqrt(200))
    assert spread["iou50"] == pytest.approx((overlap > 0.5).std() / np.sqrt(200))
    assert spread["mse"] == pytest.approx(((a - b) ** 2).mean(1).numpy().std() / np.sqrt(200))


def test_features_that_hold_the_corners_find_the_box_and_blank_ones_nothing(tmp_path):
    write(tmp_path)
    task = Localisation("set")
    splits = task.splits(tmp_path)
    metrics = task(Corners(), splits)
    assert metrics["test"]["iou"] > 0.85
    assert metrics["test"]["iou50"] == 1
    assert metrics["test"]["mse"] < 1e-3 < metrics["nothing"]["mse"]
    assert metrics["val"] == pytest.approx(metrics["test"]["mse"], rel=0.7)
    assert (metrics["n"], metrics["left_out"]) == (SIZES, dict.fromkeys(SIZES, 0))
    assert json.loads(json.dumps(metrics)) == metrics
    blank = task(Blank(), splits)
    assert blank["test"] == pytest.approx(blank["nothing"])
    assert "is the largest of the grid" in blank["warning"]


def test_the_fit_is_scikit_learns_at_the_strength_that_val_prefers(tmp_path):
    write(tmp_path)
    task, encoder = Localisation("set"), Corners()
    splits = task.splits(tmp_path)
    metrics = task(encoder, splits)
    y, t = {}, {}
    for name, source in splits.items():
        images = torch.stack([centre_crop(source.load(i), encoder.size) for i in range(len(source))])
        y[name], t[name] = encoder(images).double().numpy(), targets_of(source, encoder.size).numpy()

    def fitted(strength, *names):
        X, T = (np.concatenate([table[name] for name in names]) for table in (y, t))
        unit = np.linalg.eigvalsh((X - X.mean(0)).T @ (X - X.mean(0))).mean()
        return SklearnRidge(alpha=strength * unit).fit(X, T)

    errors = [np.square(fitted(a, "train").predict(y["val"]) - t["val"]).mean() for a in STRENGTHS]
    assert min(errors) == pytest.approx(metrics["val"], rel=1e-6)
    assert errors[STRENGTHS.index(metrics["strength"])] == pytest.approx(min(errors), rel=1e-6)
    prediction = fitted(metrics["strength"], "train", "val").predict(y["test"])
    assert np.square(prediction - t["test"]).mean() == pytest.approx(metrics["test"]["mse"], rel=1e-6)


def test_without_val_it_is_carved_and_keeps_its_boxes(tmp_path):
    write(tmp_path, sizes={"train": 40, "test": 20}, table_sizes=False)
    metrics = Localisation("set")(Corners(), Localisation("set").splits(tmp_path))
    assert metrics["n"] == {"train": 32, "val": 8, "test": 20}
    assert metrics["test"]["iou"] > 0.8
    write(tmp_path, sizes={"train": 40, "val": 20}, name="two")
    assert Localisation("two")(Corners(), Localisation("two").splits(tmp_path))["n"]["test"] == 20


def test_images_whose_box_is_not_in_the_crop_are_left_out(tmp_path):
    write(tmp_path, {("test", 3): [["test", "03.png", "thing", 0, 5, 1, 9, 48, 43]]})
    metrics = Localisation("set")(Corners(), Localisation("set").splits(tmp_path))
    assert metrics["n"]["test"] == 29
    assert metrics["left_out"] == {"train": 0, "val": 0, "test": 1}
    outside = {("test", i): [["test", f"{i:02d}.png", "thing", 0, 5, 1, 9, 48 + i % 3, 40 + i % 5]] for i in range(30)}
    write(tmp_path, outside)
    with pytest.raises(RequestError, match=r"no box of split 'test' lies in the centre"):
        Localisation("set")(Corners(), Localisation("set").splits(tmp_path))


def test_what_does_not_fit_is_one_clear_line(tmp_path):
    task = Localisation("set")
    write(tmp_path, {("val", 1): [["val", "01.png", "thing", 1, 1, 9, 9, 49, 41]] * 2})
    with pytest.raises(RequestError, match=r"01.png has 2 boxes; localisation needs one object per image") as error:
        task(Corners(), task.splits(tmp_path))
    assert "\n" not in str(error.value)
    write(tmp_path, {("val", 1): []})
    with pytest.raises(RequestError, match=r"1 of 20 images have no boxes of split 'val', such as 01.png"):
        task.splits(tmp_path)
    write(tmp_path, {("val", 1): [["val", "01.png", "thing", 1, 1, 9, 9, 49, 99]]})
    with pytest.raises(RequestError, match=r"01.png has 49 x 41 pixels and 49 x 99 in its table"):
        task(Corners(), task.splits(tmp_path))
    splits = task.splits(tmp_path)
    assert isinstance(splits["val"], Boxed)
    with pytest.raises(RequestError, match=r"has no boxes: open it with the task's own"):
        task(Corners(), {**splits, "test": splits["test"].whole})
    (tmp_path / "set" / "boxes.csv").unlink()
    with pytest.raises(RequestError, match=r"needs boxes: there is no .*boxes.csv"):
        task.splits(tmp_path)


@pytest.mark.realdata
def test_pixels_of_real_images_beat_the_mean_box(real_data):
    from augaware.frozen import load_encoder

    if not (real_data / "caltech3_loc").is_dir():
        pytest.skip(f"no caltech3_loc in {real_data}: set AUGAWARE_DATA")
    task = Localisation("caltech3_loc")
    metrics = task(load_encoder("random/pixels(side=8)", size=24), task.splits(real_data))
    assert metrics["n"] == {"train": 660, "val": 150, "test": 450}
    assert metrics["test"]["mse"] < 0.5 * metrics["nothing"]["mse"]
    assert metrics["test"]["iou"] > metrics["nothing"]["iou"] + 10 * metrics["standard_error"]["iou"]
