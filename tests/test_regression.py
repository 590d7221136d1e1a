"""Landmark regression: the squares, the sum of absolute errors against independent solvers, and the metrics."""

from __future__ import annotations

import csv
import io
import json
import math
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.optimize import linprog, minimize
from torch import nn
from typer.testing import CliRunner

from augaware.cli import app
from augaware.data.base import Source
from augaware.data.centre import centre_batch, centre_crop
from augaware.errors import RequestError
from augaware.random import bootstrap
from augaware.report.folder import read
from augaware.tasks.absolute import TOLERANCE, Absolute, select
from augaware.tasks.logistic import STRENGTHS, with_one
from augaware.tasks.regression import Regression, Squares, r2_pooled, scores

SIZES = {"train": 40, "val": 20, "test": 30}
K = 4


class Numbered(nn.Module):
    """The features are the rows of a table: the red and the green of an image of one colour are its split and row."""

    name, size, mean, std = "numbered", 4, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.table, self.dim = table, table.shape[2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        split, row = (255 * x[:, :2, 0, 0]).round().long().unbind(1)
        return self.table[split, row]


class Numbers(Source):
    """Images held in a list, named by their number."""

    def __init__(self, images):
        self.images, self.name, self.names = images, "numbers", [str(i) for i in range(len(images))]
        self.labels, self.classes, self.factors, self.skipped, self.fingerprint = None, (), {}, (), "0"

    def __len__(self):
        return len(self.images)

    def load(self, index):
        return self.images[index]


def write(root, numbers=None, drop=(), header=None, sizes=SIZES, name="faces"):
    """A set of one-colour images with drawn landmarks: flat tars and a table. Returns points by split."""
    rng = np.random.default_rng(0)
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    axes = [f"{axis}{k + 1}" for k in range(K) for axis in "xy"]
    rows, points = [header or ["split", "file", "width", "height", *axes]], {}
    for s, (split, n) in enumerate(sizes.items()):
        points[split] = []
        with tarfile.open(folder / f"{split}.tar", "w") as tar:
            for i in range(n):
                width, height = 30 + i % 3, 24 + i % 5
                content = io.BytesIO()
                Image.new("RGB", (width, height), (s, i, 7)).save(content, "PNG")
                info = tarfile.TarInfo(f"{i:02d}.png")
                info.size = len(content.getvalue())
                tar.addfile(info, io.BytesIO(content.getvalue()))
                xy = rng.uniform((3, 2), (width - 3, height - 2), (K, 2)).round(3)
                points[split].append(xy)
                if (split, i) not in drop:
                    rows.append([split, f"{i:02d}.png", width, height, *xy.flatten()])
    for (line, column), value in (numbers or {}).items():
        rows[line][column] = value
    with (folder / "keypoints.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return points


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    return root, write(root)


def objective(X, y, weights, w):
    """Per target: sum of |X W + b - y| + w (||W||^2 + b^2)."""
    return (with_one(X) @ weights - y).abs().sum(0) + w * weights.square().sum(0)


def problem(n=60, d=5, t=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(n, d, generator=g) * torch.logspace(0.5, -1, d) + 0.4
    y = X @ torch.randn(d, t, generator=g) + 0.1 * torch.randn(n, t, generator=g) / torch.rand(n, 1, generator=g)
    return X, y.double() + torch.arange(t)


def test_without_a_penalty_it_is_the_linear_program():
    X, y = problem(30)
    Z = with_one(X).numpy()
    n, d = Z.shape
    weights = Absolute(X, y, 1e-5).solve(1e-9, torch.zeros(d, 3, dtype=torch.float64))
    for k in range(3):  # min 1 (p + q), Z theta + p - q = y, p and q at least 0
        cost, equal = np.r_[np.zeros(d), np.ones(2 * n)], np.c_[Z, np.eye(n), -np.eye(n)]
        program = linprog(cost, A_eq=equal, b_eq=y[:, k].numpy(), bounds=[(None, None)] * d + [(0, None)] * 2 * n)
        assert float(objective(X, y, weights, 0)[k]) == pytest.approx(program.fun, rel=2e-5, abs=1e-5)
        assert weights[:, k].numpy() == pytest.approx(program.x[:d], abs=2e-2)


@pytest.mark.parametrize("w", [3.0, 10.0, 100.0])
def test_with_a_penalty_it_is_the_dual_program(w):
    """max u y - ||Z^T u||^2 / 4w over the box, by scipy: what it reaches is a lower bound."""
    X, y = problem(30)
    Z = with_one(X).numpy()
    weights = Absolute(X, y).solve(w, torch.zeros(6, 3, dtype=torch.float64))
    ours = objective(X, y, weights, w)
    exact = objective(X, y, Absolute(X, y, 1e-7).solve(w, weights), w)
    for k in range(3):
        t = y[:, k].numpy()

        def dual(u, t=t):
            v = Z.T @ u
            return v @ v / (4 * w) - u @ t, Z @ v / (2 * w) - t

        options = {"maxiter": 2000, "maxfun": 2000, "ftol": 1e-13, "gtol": 1e-8}
        box = [(-1, 1)] * len(t)
        bound = -minimize(dual, np.zeros(len(t)), jac=True, method="L-BFGS-B", bounds=box, options=options).fun
        assert bound * (1 - 1e-9) <= float(ours[k]) <= bound * (1 + TOLERANCE) + 1e-5
        assert float(exact[k]) == pytest.approx(bound, rel=1e-4)


def test_a_smoothed_objective_comes_from_above():
    X, y = problem(50, t=1)
    Z, t, w, eps = with_one(X).numpy(), y[:, 0].numpy(), 0.05, 1e-5

    def smooth(theta):
        r = Z @ theta - t
        size = np.sqrt(r * r + eps * eps)
        return size.sum() + w * theta @ theta, Z.T @ (r / size) + 2 * w * theta

    found = minimize(smooth, np.zeros(6), jac=True, method="L-BFGS-B", options={"maxiter": 2000, "maxcor": 30}).fun
    ours = float(objective(X, y, Absolute(X, y, 1e-5).solve(w, torch.zeros(6, 1, dtype=torch.float64)), w)[0])
    assert found - 50 * eps - 1e-2 <= ours <= found * (1 + 1e-5) + 1e-6 * np.abs(t).sum()


def test_the_whole_path_is_within_its_tolerance_and_targets_are_independent():
    X, y = problem(60, 12, 4)
    grid = STRENGTHS[16::7]
    fitted = dict(Absolute(X, y).path(grid))
    sharp = Absolute(X, y, 1e-4)
    alone = dict(Absolute(X, y[:, 1:2]).path(grid))
    assert list(fitted) == sorted(grid, reverse=True)
    for w, weights in fitted.items():
        best = objective(X, y, sharp.solve(w, weights), w)
        assert (objective(X, y, weights, w) <= best * (1 + TOLERANCE) + 1e-5 * y.abs().sum(0)).all()
        torch.testing.assert_close(alone[w][:, 0], weights[:, 1], rtol=1e-6, atol=1e-9)


def test_more_dimensions_than_images_and_targets_that_are_zero():
    X, y = torch.randn(20, 50, generator=torch.Generator().manual_seed(0)), problem(20)[1]
    y[:, 1] = 0
    for _, weights in Absolute(X, y).path((1e-4, 1e-2, 1.0)):
        assert weights.isfinite().all()
        assert (weights[:, 1] == 0).all()
    fitted = Absolute(X, y).solve(1e-6, torch.zeros(51, 3, dtype=torch.float64))
    assert (with_one(X) @ fitted - y).abs().sum() < 1e-3 * y.abs().sum()  # 20 images, 51 weights


def test_selection_takes_the_smallest_strength_of_equals_and_warns_at_the_edge():
    X, y = problem()
    chosen = select((X, y), (X, y), X, lambda p, t: 0.5, (1e-3, 1e-2))
    assert (chosen.w, chosen.val) == (1e-3, 0.5)
    assert "smallest of the grid" in chosen.warning
    norms = iter((0.1, 0.9, 0.2))
    torch.set_num_threads(2)
    inside = select((X, y), (X, y), X, lambda p, t: next(norms), (1e-3, 1e-2, 1e-1))
    assert (inside.w, inside.warning) == (1e-2, None)
    assert torch.get_num_threads() == 2  # fitted on one
    torch.set_num_threads(1)


def test_metrics_are_what_they_say():
    g = torch.Generator().manual_seed(0)
    t, p = torch.randn(50, 6, generator=g) + torch.arange(6), torch.randn(50, 6, generator=g) + torch.arange(6)
    assert r2_pooled(p, t) == pytest.approx(np.corrcoef(p.flatten(), t.flatten())[0, 1] ** 2)
    slope, intercept = np.polyfit(p.flatten(), t.flatten(), 1)
    residual = t.flatten() - slope * p.flatten() - intercept
    assert r2_pooled(p, t) == pytest.approx(
        float(1 - residual.square().sum() / (t - t.mean()).square().sum()), abs=1e-6
    )
    assert scores(t, t) == pytest.approx({"r2_pooled": 1, "r2": 1})
    assert scores(t.mean(0).expand_as(t), t)["r2"] == pytest.approx(0, abs=1e-6)
    assert scores(t.mean(0).expand_as(t), t)["r2_pooled"] > 0.5  # the layout alone
    assert r2_pooled(torch.ones(3, 2), t[:3, :2]) == 0
    rows = bootstrap(50, 200)
    assert rows.shape == (200, 50)
    assert rows.min() == 0
    assert rows.max() == 49
    assert torch.equal(rows, bootstrap(50, 200))


def test_squares_are_the_slow_loops(faces):
    root, points = faces
    for split, source in Regression("faces").splits(root).items():
        assert [source.names[0], len(source)] == ["00.png", SIZES[split]]
        for i, xy in enumerate(points[split]):
            width, height = 30 + i % 3, 24 + i % 5
            low, high = xy.min(0), xy.max(0)
            side = min(math.ceil(max(high - low)), width, height)
            left, top = (max(0, min(round(v), limit - side)) for v, limit in zip(low, (width, height), strict=True))
            assert tuple(source.load(i).shape) == (3, side, side)
            assert source.landmarks[i].numpy() == pytest.approx(xy - (left, top))


def test_landmarks_stay_on_the_pixels_they_mark(tmp_path):
    """White pixels at the landmarks of a black image: where the moved landmarks say, before and after resizing."""
    xy, pixels = torch.tensor([[12.5, 6.5], [27.5, 9.5], [20.5, 21.5]]), torch.zeros(3, 40, 50, dtype=torch.uint8)
    for x, y in xy.floor().long().tolist():
        pixels[:, y, x] = 255
    whole = Numbers([pixels])
    source = Squares(whole, "train", {("train", "0"): (50, 40, *xy.flatten().tolist())})
    found = source.load(0)
    assert found.shape == (3, 15, 15)
    inside = [(x, y) for x, y in source.landmarks[0].floor().long().tolist() if x < 15 and y < 15]
    assert {(x, y) for y, x in found[0].nonzero().tolist()} == set(inside)
    large = centre_crop(found, 60)
    assert torch.equal(centre_batch(source, torch.tensor([0]), 60)[0], large)
    for x, y in inside:
        assert large[0, 4 * y + 1 : 4 * y + 3, 4 * x + 1 : 4 * x + 3].min() > 0.5  # size / side = 4


@pytest.mark.parametrize(
    ("box", "corner", "side"),
    [
        ((10.2, 8.6, 20.0, 12.0), (10, 9), 10),
        ((10.0, 8.0, 20.0, 18.0), (10, 8), 10),
        ((38.0, 25.0, 49.0, 30.0), (38, 25), 11),
        ((30.0, 35.0, 49.5, 39.0), (30, 20), 20),
        ((-6.8, 3.0, 20.0, 30.0), (0, 3), 27),
        ((-20.0, -5.0, 70.0, 44.0), (0, 0), 40),
        ((60.0, 50.0, 64.0, 52.0), (46, 36), 4),
    ],
    ids=["rounded", "whole", "inside", "moved up", "moved right", "too large", "outside"],
)
def test_a_square_is_moved_into_the_image(box, corner, side):
    source = Squares(Numbers([torch.zeros(3, 40, 50, dtype=torch.uint8)]), "test", {("test", "0"): (50, 40, *box)})
    assert source.corners[0].tolist() == list(corner)
    assert source.load(0).shape == (3, side, side)
    assert (source.landmarks[0] + source.corners[0]).flatten().tolist() == pytest.approx(list(box))


def test_an_encoder_that_is_the_landmarks_reaches_one_and_noise_nothing(faces):
    task = Regression("faces")
    splits = task.splits(faces[0])
    table = torch.zeros(3, 40, 2 * K)
    for s, source in enumerate(splits.values()):
        table[s, : len(source)] = nn.functional.normalize(source.landmarks.flatten(1), dim=1)
    metrics = task(Numbered(table), splits)
    assert metrics["test"]["r2_pooled"] > 0.9999
    assert metrics["test"]["r2"] > 0.9999
    assert metrics["mae"] < 1e-3 < metrics["nothing"]["mae"]
    assert (metrics["landmarks"], metrics["n"]) == (K, SIZES)
    assert metrics["w"] in STRENGTHS
    assert json.loads(json.dumps(metrics)) == metrics
    noise = task(Numbered(torch.randn(3, 40, 3, generator=torch.Generator().manual_seed(0))), splits)
    assert noise["test"]["r2"] < 0.1
    assert noise["nothing"]["r2"] == pytest.approx(0, abs=0.15)
    assert noise["nothing"]["r2"] <= 0
    assert noise["nothing"] == metrics["nothing"]
    assert noise["standard_error"]["r2"] > 0.01 > 10 * metrics["standard_error"]["r2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"drop": {("val", 3), ("val", 5)}},
            r"2 of 20 images have no row of split 'val' in keypoints.csv, such as 03.png",
        ),
        ({"numbers": {(2, 5): "nan"}}, r"keypoints.csv, line 3: it needs 10 finite numbers after split and file"),
        ({"numbers": {(2, 5): "left"}}, r"line 3: it needs 10 finite numbers"),
        ({"numbers": {(2, 5): ""}}, r"line 3: it needs 10 finite numbers"),
        ({"numbers": {(1, 1): "01.png"}}, r"1 rows repeat the split and file of another"),
        ({"numbers": {(1, c): 3 for c in range(4, 12)}}, r"line 2: .* not all one point"),
        ({"header": ["file", "x1", "y1"]}, r"its columns must be split,file,width,height,x1,y1,x2,y2"),
    ],
    ids=["no row", "nan", "text", "empty", "twice", "one point", "header"],
)
def test_a_wrong_table_is_one_clear_line(tmp_path, change, message):
    write(tmp_path, **change)
    with pytest.raises(RequestError, match=message) as error:
        Regression("faces").splits(tmp_path)
    assert "\n" not in str(error.value)


def test_what_is_missing_or_of_another_size_is_one_clear_line(tmp_path, faces):
    write(tmp_path, {(1, 2): 99})
    with pytest.raises(RequestError, match=r"00.png has 30 x 24 pixels and 99 x 24 in keypoints.csv"):
        Regression("faces").splits(tmp_path)["train"].load(0)
    (tmp_path / "faces" / "keypoints.csv").unlink()
    with pytest.raises(RequestError, match=r"needs landmarks: there is no .*keypoints.csv \(columns split"):
        Regression("faces").splits(tmp_path)
    (tmp_path / "faces" / "keypoints.csv").write_bytes(b"")
    with pytest.raises(RequestError, match=r"keypoints.csv is no table"):
        Regression("faces").splits(tmp_path)
    with pytest.raises(RequestError, match=r"there is no .*keypoints.csv"):
        Regression("shapes").splits(tmp_path)
    bare = Numbers([torch.zeros(3, 8, 8, dtype=torch.uint8)])
    with pytest.raises(RequestError, match=r"'numbers' has no landmarks"):
        Regression("faces")(Numbered(torch.zeros(1, 1, 2)), dict.fromkeys(("train", "val", "test"), bare))


def test_rows_of_absent_images_do_no_harm_but_a_split_of_its_own_is_needed(tmp_path):
    """Without a test set val would be test, and rows of other images with the same names would be taken."""
    write(tmp_path)
    with (tmp_path / "faces" / "keypoints.csv").open("a") as file:
        file.write("train,absent.png,9,9,1,1,2,2,3,3,4,4\n")
    assert len(Regression("faces").splits(tmp_path)["train"]) == SIZES["train"]
    (tmp_path / "faces" / "test.tar").unlink()
    with pytest.raises(RequestError, match=r"data set 'faces' lacks val or test"):
        Regression("faces").splits(tmp_path)


@pytest.mark.realdata
def test_pixels_of_real_faces_beat_the_mean_face(real_data, tmp_path):
    """Four of the 68 landmarks, by the command line: it prints both numbers, and a report finds them."""
    real, folder = real_data / "face_keypoints68", tmp_path / "data" / "few"
    if not real.is_dir():
        pytest.skip(f"no face_keypoints68 in {real_data}: set AUGAWARE_DATA")
    folder.mkdir(parents=True)
    for split in SIZES:
        (folder / f"{split}.tar").symlink_to(real / f"{split}.tar")
    with (real / "keypoints.csv").open(newline="") as whole, (folder / "keypoints.csv").open("w", newline="") as file:
        table = csv.writer(file)
        columns = [2 * k + 2 + a for k in (1, 9, 17, 34) for a in (0, 1)]
        header, *rows = csv.reader(whole)
        table.writerow([*header[:4], *header[4:12]])
        table.writerows([*row[:4], *(row[c] for c in columns)] for row in rows)
    request = ["eval", "random/pixels(side=3)", "--task", "regression('few')", "--data", str(tmp_path / "data")]
    shown = CliRunner().invoke(app, [*request, "--size", "16", "--out", str(tmp_path / "run"), "--device", "cpu"])
    assert shown.exit_code == 0, shown.output
    assert "r2_pooled 0." in shown.output
    metrics = json.loads((tmp_path / "run" / "eval" / "regression_few.json").read_text())["metrics"]
    assert metrics["n"] == {"train": 800, "val": 150, "test": 350}
    assert metrics["landmarks"] == 4
    for key, value in metrics["test"].items():
        assert value > metrics["nothing"][key] + 3 * metrics["standard_error"][key]
    assert {r.metric: r.value for r in read(tmp_path / "run").results} == metrics["test"]
