"""Retrieval against a slow loop and scikit-learn, its ties and lonely queries, its picture and what it refuses."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score

from augaware.errors import RequestError
from augaware.tasks import retrieval
from augaware.tasks.features import Labelled
from augaware.tasks.retrieval import Retrieval, partner_ranks
from augaware.tasks.sheet import BAD, FRAME, GAP, GOOD, PLAIN, SIDE, TEXT, Tile, sheet_png, sheet_size
from small_tables import Numbered, Table, clusters

LABELS = torch.arange(90) * 7 % 9 % 4  # four classes of 20 to 30, none in order


def slow(queries, gallery, itself, ks):
    """(metric -> a value per query) from a sorted list per query, and the average precision from scikit-learn."""
    unit = [torch.nn.functional.normalize(split.features.double(), dim=1) for split in (queries, gallery)]
    found = {f"{name}@{k}": [] for name in ("recall", "precision") for k in ks} | {"map": []}
    for q, label in enumerate(queries.labels.tolist()):
        ranked = [(float(unit[0][q] @ x), j) for j, x in enumerate(unit[1]) if not (itself and j == q)]
        hits = [int(gallery.labels[j]) == label for _, j in sorted(ranked, reverse=True)]
        if any(hits):
            for k in ks:
                found[f"recall@{k}"].append(float(any(hits[:k])))
                found[f"precision@{k}"].append(sum(hits[:k]) / k)
            found["map"].append(average_precision_score(hits, -np.arange(len(hits))))
    return found


def test_within_a_split_it_is_a_slow_loop(monkeypatch):
    monkeypatch.setattr(retrieval, "_BLOCK", 7)
    data = Labelled(clusters(LABELS, 12) + 0.1, LABELS)  # without zeros, and so without ties
    splits = {"test": Numbered(range(90), LABELS.tolist())}
    metrics = Retrieval("numbered", ks=(1, 3, 10))(Table(data.features), splits)
    expected = slow(data, data, True, (1, 3, 10))
    assert expected.pop("precision@1") == expected["recall@1"]
    assert metrics["test"] == pytest.approx({name: np.mean(values) for name, values in expected.items()})
    errors = {name: np.std(values) / 90**0.5 for name, values in expected.items()}
    assert metrics["standard_error"] == pytest.approx(errors)
    assert errors["recall@1"] == pytest.approx(
        (metrics["test"]["recall@1"] * (1 - metrics["test"]["recall@1"]) / 90) ** 0.5
    )
    assert metrics["n"] == {"queries": 90, "gallery": 90, "without_partner": 0}
    assert metrics["classes"] == 4
    assert 0.3 < metrics["test"]["map"] < 0.9  # neither chance nor trivial
    assert json.loads(json.dumps(metrics)) == metrics


def test_between_splits_it_is_a_slow_loop():
    features = clusters(LABELS, 12) + 0.1
    few, many = Labelled(features[:25], LABELS[:25]), Labelled(features[25:], LABELS[25:])
    splits = {"test": Numbered(range(25), LABELS[:25].tolist()), "train": Numbered(range(25, 90), LABELS[25:].tolist())}
    metrics = Retrieval("numbered", gallery="train", ks=[2])(Table(features), splits)
    assert metrics["test"] == pytest.approx({name: np.mean(v) for name, v in slow(few, many, False, (2,)).items()})
    assert metrics["n"] == {"queries": 25, "gallery": 65, "without_partner": 0}


def test_the_order_and_the_lengths_of_the_features_do_not_matter():
    features, labels = clusters(LABELS, 5), LABELS
    features[40:50] = features[30:40]  # ties, also between classes
    order = torch.randperm(90, generator=torch.Generator().manual_seed(0))
    lengths = 2.0 ** torch.randint(-3, 4, (90, 1), generator=torch.Generator().manual_seed(1))
    one = torch.cat([r.flatten() for r in partner_ranks(Labelled(features, labels), Labelled(features, labels), True)])
    data = Labelled((lengths * features)[order], labels[order])
    other = torch.cat([r.flatten() for r in partner_ranks(data, data, True)])
    assert torch.equal(one.sort().values, other.sort().values)


def test_ties_go_to_other_classes():
    """The query 0 has the cosines 1 (class b), 1 (its own), 0 (b), 0 (its own), 0 (its own), -1 (b)."""
    table = torch.tensor([[1, 0], [2, 0], [3, 0], [0, 1], [0, 2], [0, 3], [-1, 0]]).float()
    queries, gallery = (Labelled(table[rows], torch.tensor([0, 1, 0, 1, 0, 0, 1])[rows]) for rows in ([0], range(7)))
    assert [ranks.tolist() for ranks in partner_ranks(queries, gallery, itself=True)] == [[[2, 4, 5]]]
    assert [ranks.tolist() for ranks in partner_ranks(queries, gallery, itself=False)] == [[[2, 3, 5, 6]]]
    blind = Retrieval("numbered", ks=(5,))(Table(torch.ones(90, 3)), {"test": Numbered(range(90), LABELS.tolist())})
    assert blind["test"]["recall@5"] == 0


def test_perfect_features_find_everything():
    splits = {"test": Numbered(range(90), LABELS.tolist())}
    metrics = Retrieval("numbered", ks=(1, 15))(Table(torch.eye(4)[LABELS]), splits)
    assert set(metrics["test"].values()) == {1.0}
    assert set(metrics["standard_error"].values()) == {0.0}


def test_a_query_without_a_partner_is_counted_and_left_out():
    labels = [0, 0, 1, 2, 2, 2, 3]  # 1 and 3 are alone
    table = torch.tensor([[1, 0], [1, 0.1], [1, 0.3], [0, 1], [0.1, 1], [0.2, 1], [1, 0.5]])
    metrics = Retrieval("numbered", ks=(1, 2))(Table(table), {"test": Numbered(range(7), labels)})
    assert metrics["n"] == {"queries": 5, "gallery": 7, "without_partner": 2}
    assert metrics["test"]["recall@1"] == 1.0
    assert metrics["test"]["precision@2"] == pytest.approx((2 * 0.5 + 3 * 1.0) / 5)


def opened(png):
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return Image.open(io.BytesIO(png)).convert("RGB")


def pixel(sheet, row, column, x, y):
    """Of the cell at ``row`` and ``column`` of a sheet, the colour at (x, y), from the cell's corner."""
    cell = SIDE + 2 * FRAME
    return sheet.getpixel((GAP + column * (cell + GAP) + x, GAP + row * (cell + TEXT + GAP) + y))


def rgb(colour):
    return tuple(bytes.fromhex(colour[1:]))


def test_the_picture_shows_queries_and_their_neighbours_in_colour():
    labels = torch.arange(40) % 2
    features = torch.stack([1 + torch.arange(40.0), torch.ones(40)], dim=1)  # the nearest of i lie beside it
    splits = {"test": Numbered(range(40), labels.tolist(), classes=("ash", "a class with a name beyond its picture"))}
    task, encoder = Retrieval("numbered"), Table(features)
    png = task.picture(encoder, splits)
    sheet = opened(png)
    assert sheet.size == sheet_size(10, 9)
    queries, seen = set(), 0
    for row in range(10):
        query = pixel(sheet, row, 0, SIDE // 2, SIDE // 2)[0]
        queries.add(query)
        assert pixel(sheet, row, 0, 1, 1) == rgb(PLAIN)
        shown = []
        for column in range(1, 9):
            image = pixel(sheet, row, column, SIDE // 2, SIDE // 2)[0]
            shown.append(image)
            same = labels[image] == labels[query]
            assert pixel(sheet, row, column, 1, 1) == rgb(GOOD if same else BAD)
            seen += int(same)
        unit = torch.nn.functional.normalize(features, dim=1)
        cosine = unit @ unit[query]
        cosine[query] = -2
        assert shown == cosine.topk(8).indices.tolist()
    assert len(queries) == 10
    assert 0 < seen < 80
    assert png == task.picture(encoder, splits)
    png = Retrieval("numbered", gallery="train").picture(encoder, splits | {"train": Numbered([7, 9], [1, 1])})
    other = opened(png)
    assert other.size == sheet_size(10, 3)  # all that there is
    assert {pixel(other, row, 1, SIDE // 2, SIDE // 2)[0] for row in range(10)} <= {7, 9}


def test_captions_are_written_below_and_cut_to_the_picture():
    image, cell = torch.zeros(3, SIDE, SIDE), SIDE + 2 * FRAME
    short, long, none = (
        np.asarray(opened(sheet_png([[Tile(image, text, PLAIN)]]))).astype(int) for text in ("лист", "W" * 200, "")
    )
    below = slice(GAP + cell, None)
    assert (none[below] == 255).all()
    assert (short[below] < 128).any()  # what the font lacks leaves question marks
    inked = (long[below] < 255).any(axis=(0, 2)).nonzero()[0]
    assert inked.min() >= GAP
    assert 0.8 * cell < inked.max() - GAP <= cell


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ks": ()}, r"task 'retrieval': ks=\(\) must be a list of numbers, such as \(1, 5, 10\)"),
        ({"ks": 5}, r"task 'retrieval': ks=5 must be a list of numbers"),
        ({"ks": (1, 0)}, r"task 'retrieval': ks=0 must be a whole number, at least 1"),
        ({"ks": (90,)}, r"ks=\(90,\) exceeds the 89 images to find in split 'test' of 'numbered': lower ks"),
        ({"gallery": "train"}, r"no split 'train', only test"),
        ({"queries": "tset"}, r"no split 'tset', only test"),
    ],
)
def test_wrong_requests_are_one_clear_line(arguments, message):
    with pytest.raises(RequestError, match=message) as error:
        Retrieval("numbered", **arguments)(Table(torch.eye(90)), {"test": Numbered(range(90), LABELS.tolist())})
    assert "\n" not in str(error.value)


def test_classes_and_partners_are_needed():
    with pytest.raises(RequestError, match=r"'numbered' has no two classes to tell apart"):
        Retrieval("numbered")(Table(torch.eye(20)), {"test": Numbered(range(20), None)})
    with pytest.raises(RequestError, match=r"no image of 'numbered' has another of its class to be found"):
        Retrieval("numbered", ks=[1])(Table(torch.eye(20)), {"test": Numbered(range(20), list(range(20)))})


@pytest.mark.realdata
def test_pixels_of_real_leaves_find_leaves(real_data):
    if not (real_data / "medleaf36").is_dir():
        pytest.skip(f"no medleaf36 in {real_data}")
    from augaware.frozen import load_encoder

    task = Retrieval("medleaf36")
    metrics = task(load_encoder("random/pixels(side=4)", size=8, device="cpu"), task.splits(real_data))
    assert metrics["n"] == {"queries": 576, "gallery": 576, "without_partner": 0}
    assert metrics["test"]["recall@1"] > 0.3
