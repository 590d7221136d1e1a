"""Detection: the loop learns, the encoder stays, seeds decide, AP is what a slow loop says, requests are checked."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from torchvision.ops import box_iou

from augaware.data.base import Source
from augaware.data.tables import Boxes
from augaware.errors import RequestError
from augaware.nets.base import build_encoder
from augaware.tasks import detection
from augaware.tasks.average_precision import Found, average_precision
from augaware.tasks.boxed import Boxed
from augaware.tasks.detection import Detection
from augaware.tasks.detection_batches import Batches, mirrored, resized
from augaware.tasks.detector import Detector, Regions, split

COLOURS = {"blue": (30, 60, 220), "red": (220, 40, 30)}
SMALL = {"batch_size": 4, "lr": 0.02, "drops": (), "warmup": 2, "short_side": (48, 80), "max_side": 96}
SMALL |= {"test_side": 48, "anchors": (12, 24), "regions": 16, "region_side": 4, "proposals": 40, "precise_bn": 2}
OBJECT = """<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>
<ymax>{}</ymax></bndbox></object>"""
ANNOTATION = "<annotation><size><width>60</width><height>48</height><depth>3</depth></size>"
ANNOTATION += OBJECT.format("cat", 0, 1, 1, 30, 30) + OBJECT.format("dog", 1, 20, 10, 60, 48) + "</annotation>"


class Memory(Source):
    def __init__(self, images):
        self.images, self.name, self.names = images, "memory", [f"{i}.png" for i in range(len(images))]
        self.labels, self.classes, self.factors, self.skipped, self.fingerprint = None, (), {}, (), "0"

    def __len__(self):
        return len(self.images)

    def load(self, index):
        return self.images[index]


def drawn(split, n, seed, size=(64, 48)):
    """Grey images with one or two coloured rectangles."""
    g = torch.Generator().manual_seed(seed)
    images, table = [], {}
    for i in range(n):
        width, height = size
        image = torch.randint(90, 130, (3, height, width), generator=g, dtype=torch.uint8)
        labels, corners = [], []
        for k in range(1 + i % 2):
            name = sorted(COLOURS)[int(torch.randint(2, (1,), generator=g))]
            left = int(torch.randint(2, 12, (1,), generator=g)) + 32 * k
            top, side = (int(x) for x in torch.randint(10, 20, (2,), generator=g))
            image[:, top : top + side, left : left + side] = torch.tensor(COLOURS[name]).view(3, 1, 1)
            labels.append(name)
            corners.append((float(left), float(top), float(min(left + side, width)), float(top + side)))
        images.append(image)
        table[split, f"{i}.png"] = Boxes(tuple(labels), tuple(corners), (False,) * len(labels), size)
    return Boxed(Memory(images), split, table)


def encoder(spec="tiny(widths=(8, 16, 32))", size=32):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        f = build_encoder(spec)
    f.name, f.size, f.mean, f.std = "small", size, (0.4, 0.4, 0.4), (0.2, 0.2, 0.2)
    return f


@pytest.fixture(scope="module")
def splits():
    return {"train": drawn("train", 12, 0), "val": drawn("val", 4, 1), "test": drawn("test", 8, 2)}


@pytest.fixture(scope="module")
def batch(splits):
    return next(Batches((splits["train"],), 4, (48, 48), 96, 0).stream(0, 1))


# --- the model


@pytest.mark.parametrize(
    ("spec", "stride", "channels"),
    [
        ("resnet18", 16, 256),
        ("resnet18(stem='cifar')", 4, 256),
        ("timm/resnet18", 16, 256),
        ("tiny(widths=(8, 16, 32))", 4, 16),
        ("resnet50", 16, 1024),
    ],
)
def test_an_encoder_is_its_stages(spec, stride, channels):
    f = encoder(spec)
    trunk, last = split(f)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = trunk.eval()(x)
        assert y.shape == (2, channels, 64 // stride, 64 // stride)
        torch.testing.assert_close(last.eval()(y).mean((2, 3)), f.eval()(x), rtol=1e-4, atol=1e-5)
    assert not {id(p) for p in f.parameters()} & {id(p) for part in (trunk, last) for p in part.parameters()}


@pytest.mark.parametrize("spec", ["pixels(side=4)", "vit_small(patch=8, size=32)", "torchvision/mobilenet_v3_small"])
def test_an_encoder_without_stages_is_one_clear_line(spec):
    with pytest.raises(RequestError, match=r"detection needs a ResNet of torchvision, timm or this library") as error:
        split(encoder(spec))
    assert "\n" not in str(error.value)


def test_stages_that_are_not_the_whole_encoder_are_refused():
    """As soon as something comes after the average, the last stage is not what the features are."""
    f = encoder("resnet18")
    f.backbone.fc = torch.nn.Linear(512, 512)
    with pytest.raises(RequestError, match=r"'small' has no last stage to put on regions"):
        split(f)


def test_a_region_of_whole_cells_is_those_cells():
    """Aligned: the corner of a box is the corner of a cell, not its middle; the average of four bins of one cell."""
    features = torch.arange(36.0).view(1, 1, 6, 6)
    box = torch.tensor([[8.0, 16, 24, 32]])  # columns 1 and 2, rows 2 and 3, at stride 8
    cut = Regions(2, 8)({"0": features}, [box], None)
    assert cut.shape == (1, 1, 2, 2)
    assert cut.flatten().tolist() == pytest.approx(features[0, 0, 2:4, 1:3].flatten().tolist())


def test_images_are_normalised_and_padded_to_whole_strides():
    detector = Detector(encoder(), 2, (12,), 8, 4)
    together = detector.batched([torch.full((3, 30, 41), 0.6), torch.full((3, 21, 20), 0.4)])
    assert together.tensors.shape == (2, 3, 32, 44)
    assert together.image_sizes == [(30, 41), (21, 20)]
    torch.testing.assert_close(together.tensors[0, :, :30, :41], torch.ones(3, 30, 41))
    assert together.tensors[0, :, 30:].abs().max() == together.tensors[1].abs().max() == 0


def test_everything_is_trained_and_the_loss_falls_on_one_batch(batch):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        f = encoder()
        f.requires_grad_(False)
        detector = Detector(f, 2, (12, 24), 16, 4, 40)
        before = {name: p.clone() for name, p in detector.named_parameters()}
        optimizer = torch.optim.SGD(detector.parameters(), 0.02, momentum=0.9)
        images, targets = zip(*batch, strict=True)
        losses = []
        for _ in range(15):
            parts = detector(images, targets)[0]
            assert set(parts) == {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
            loss = sum(parts.values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert all(torch.tensor(losses).isfinite())
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])
    assert [name for name, p in detector.named_parameters() if torch.equal(p, before[name])] == []
    assert not any(p.requires_grad for p in f.parameters())


def test_precise_norms_are_the_mean_over_the_batches(batch):
    """The first BatchNorm sees the images only: its moments by hand."""
    detector = Detector(encoder(), 2, (12, 24), 16, 4, 40)
    norm = detector.trunk[0][1]
    old, weights = norm.running_mean.clone(), copy.deepcopy(list(detector.parameters()))
    images, targets = zip(*batch, strict=True)
    halves = [(images[:2], targets[:2]), (images[2:], targets[2:])]
    detector.precise_norms(iter(halves))
    means, variances = [], []
    for part, _ in halves:
        y = F.conv2d(detector.batched(part).tensors, detector.trunk[0][0].weight, stride=2, padding=1)
        means.append(y.mean((0, 2, 3)))
        variances.append(y.transpose(0, 1).flatten(1).var(1))
    torch.testing.assert_close(norm.running_mean, torch.stack(means).mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, torch.stack(variances).mean(0), rtol=1e-4, atol=1e-5)
    assert not torch.equal(norm.running_mean, old)
    assert all(torch.equal(a, b) for a, b in zip(weights, detector.parameters(), strict=True))


# --- the batches


def test_batches_depend_on_seed_and_place_only(splits):
    def shapes(stream):
        return [[(x.shape, t["boxes"].tolist()) for x, t in batch] for batch in stream]

    batches = Batches((splits["train"], splits["val"]), 5, (48, 80), 96, 3)
    assert len(batches) == 16
    whole = shapes(batches.stream(0, 7))
    assert len(whole) == 7
    assert shapes(batches.stream(4, 3)) == whole[4:]
    assert shapes(Batches((splits["train"], splits["val"]), 5, (48, 80), 96, 4).stream(0, 7)) != whole
    assert {min(s[1:]) for b in whole for s, _ in b} == {48, 72}  # 80 x 106 is too long: 72 x 96
    first = [batches.images[number] for places in batches._places(0, 4) for _, number in places][:16]
    assert len({(id(source), i) for source, i in first}) == 16  # an epoch sees each image once


def test_a_box_follows_its_pixels_through_resizing_and_mirroring():
    image = torch.zeros(3, 40, 60, dtype=torch.uint8)
    image[:, 10:22, 6:30] = 255
    pixels, scale = resized(image, 80, 1000)
    assert pixels.shape == (3, 80, 120)
    box = torch.tensor([[6.0, 10, 30, 22]]) * scale
    for flipped, moved in ((pixels, box), (pixels.flip(2), mirrored(box, 120))):
        rows, columns = (flipped[0] > 0.5).nonzero().unbind(1)
        extent = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
        assert moved[0].tolist() == pytest.approx(extent)
    assert resized(image, 80, 90)[0].shape == (3, 60, 90)


def test_lines_are_no_objects_to_learn_and_difficult_ones_are():
    image = torch.zeros(3, 48, 48, dtype=torch.uint8)
    corners = ((5.0, 5, 5, 20), (8.0, 8, 30, 30))
    table = {("train", "0.png"): Boxes(("a", "b"), corners, (False, True), None)}
    source = Boxed(Memory([image]), "train", table)
    target = Batches((source,), 1, (48, 48), 96, 0).example(0, 0)[1]
    assert target["labels"].tolist() == [2]
    assert source.size(0) == (48, 48)


# --- the score


def slow_ap(found, truth, classes, recalls, threshold):
    """AP of one IoU, detection by detection. Difficult objects and lines take a detection each and do not count."""
    per_class = []
    for k, name in enumerate(classes):
        rows = sorted(
            (
                (float(s), i, box)
                for i, one in enumerate(found)
                for box, s, c in zip(one.corners, one.scores, one.labels, strict=True)
                if c == k
            ),
            key=lambda row: -row[0],
        )
        objects = [
            [
                (torch.tensor(box), d)
                for label, box, d in zip(t.labels, t.corners, t.difficult, strict=True)
                if label == name
            ]
            for t in truth
        ]
        count = sum(not d for each in objects for _, d in each)
        if not count:
            continue
        taken, hits, precision, recall = set(), [], [], []
        for _, i, box in rows:
            best = None
            for wanted in (False, True):  # those that count first
                free = [
                    (float(box_iou(box[None], o[None])), j)
                    for j, (o, d) in enumerate(objects[i])
                    if d == wanted and (i, j) not in taken
                ]
                if free and max(free)[0] >= threshold:
                    best = (max(free)[1], wanted)
                    break
            if best is not None:
                taken.add((i, best[0]))
            if best is None or not best[1]:
                hits.append(best is not None)
                precision.append(sum(hits) / len(hits))
                recall.append(sum(hits) / count)
        at = [max([p for p, r in zip(precision, recall, strict=True) if r >= x - 1e-9], default=0.0) for x in recalls]
        per_class.append(sum(at) / len(at))
    return sum(per_class) / len(per_class)


def guesses(truth, classes, seed, spread):
    """Objects moved by noise, some lost, some of a wrong class, and some of nothing."""
    g = torch.Generator().manual_seed(seed)
    found = []
    for one in truth:
        corners = torch.tensor(one.corners).view(-1, 4)
        corners = torch.cat([corners, corners[:1], torch.tensor([[1.0, 1, 20, 20]])])
        corners = corners + spread * torch.randn(corners.shape, generator=g)
        corners[:, 2:] = torch.maximum(corners[:, 2:], corners[:, :2] + 1)
        labels = torch.tensor([*(classes.index(name) for name in one.labels), classes.index(one.labels[0]), 0])
        wrong = torch.rand(len(labels), generator=g) < 0.15
        labels = torch.where(wrong, (labels + 1) % len(classes), labels)
        keep = torch.rand(len(labels), generator=g) < 0.85
        found.append(Found(corners[keep], torch.rand(len(labels), generator=g)[keep], labels[keep]))
    return found


@pytest.mark.parametrize("spread", [0.5, 2.0, 4.0])
def test_ap_is_that_of_a_slow_loop(spread):
    truth = drawn("test", 20, 5).objects
    truth = [
        Boxes(t.labels, t.corners, tuple((i + k) % 5 == 0 for k in range(len(t.labels))), t.size)
        for i, t in enumerate(truth)
    ]
    classes = ("blue", "green", "red")  # green does not occur
    found = guesses(truth, classes, 1, spread)
    scored = average_precision(found, truth, classes)
    whole, eleven = [i / 100 for i in range(101)], [i / 10 for i in range(11)]
    thresholds = [0.5 + 0.05 * i for i in range(10)]
    for key, recalls in (("test", whole), ("voc07", eleven)):
        slow = [slow_ap(found, truth, classes, recalls, t) for t in thresholds]
        assert scored[key]["ap50"] == pytest.approx(slow[0], abs=1e-6)
        assert scored[key]["ap75"] == pytest.approx(slow[5], abs=1e-6)
        assert scored[key]["ap"] == pytest.approx(sum(slow) / 10, abs=1e-6)
    assert scored["ap50_per_class"]["green"] is None
    assert 0 < scored["standard_error"]["ap50"] < 0.2
    assert 0.01 < scored["test"]["ap"] < 1


def test_perfect_boxes_score_one_and_none_zero():
    truth = drawn("test", 6, 5).objects
    classes = tuple(sorted(COLOURS))
    perfect = [
        Found(torch.tensor(t.corners), torch.ones(len(t.labels)), torch.tensor([classes.index(n) for n in t.labels]))
        for t in truth
    ]
    nothing = [Found(torch.empty(0, 4), torch.empty(0), torch.empty(0, dtype=torch.int64))] * 6
    assert average_precision(perfect, truth, classes)["test"] == pytest.approx({"ap": 1, "ap50": 1, "ap75": 1})
    assert average_precision(nothing, truth, classes)["test"] == {"ap": 0, "ap50": 0, "ap75": 0}


# --- the task


def test_it_learns_coloured_boxes_and_leaves_the_encoder_as_it_was(splits, capsys):
    f = encoder().eval()
    f.requires_grad_(False)
    before, state = copy.deepcopy(f.state_dict()), torch.get_rng_state()
    task = Detection("drawn", steps=50, **SMALL | {"drops": (40,), "lr": 0.05})
    assert task.picture(f, splits) is None
    metrics = task(f, splits)
    assert metrics["test"]["ap50"] > 0.3
    assert metrics["n"] == {"train": 12, "val": 4, "test": 8}
    assert metrics["classes"] == ["blue", "red"]
    assert all(torch.equal(v, before[k]) for k, v in f.state_dict().items())
    assert not f.training
    assert torch.equal(torch.get_rng_state(), state)
    assert task.picture(f, splits)[:4] == b"\x89PNG"
    assert capsys.readouterr().out == ""


def test_the_same_seed_gives_the_same_numbers(splits):
    def measured(seed, **changed):
        task = Detection("drawn", steps=3, seed=seed, **SMALL | changed)
        torch.manual_seed(torch.randint(1000, (1,)).item())  # what the caller's generator holds changes nothing
        return {k: v for k, v in task(encoder(), splits).items() if k != "seconds"}

    first = measured(0)
    assert measured(0) == first
    assert measured(1)["loss"] != first["loss"]
    assert measured(0, accumulate=2)["loss"] == pytest.approx(first["loss"], rel=0.5)


def test_the_rate_is_the_papers():
    task = Detection("voc0712")
    assert [task.rate(step) for step in (0, 50, 100, 17999, 18000, 22000, 23999)] == pytest.approx(
        [0.02 * 0.001, 0.02 * 0.5005, 0.02, 0.02, 0.002, 0.0002, 0.0002]
    )
    assert (task.steps, task.batch_size, task.max_side, task.test_side) == (24000, 16, 1333, 800)
    norms = detection._groups(Detector(encoder(), 2, (12,)))[1]
    assert norms["weight_decay"] == 0
    assert all(p.ndim == 1 for p in norms["params"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, r"steps=0 must be a whole number, at least 1"),
        ({"lr": -1.0}, r"lr=-1.0 must be a number above 0"),
        ({"drops": (9, 3)}, r"drops=\(9, 3\) must be whole numbers above 0 in rising order"),
        ({"short_side": 480}, r"short_side=480 must be whole numbers"),
        ({"anchors": ()}, r"anchors=\(\) must not be empty"),
        ({"accumulate": 3}, r"accumulate=3 .* divide batch_size=16"),
        ({"seed": 0.5}, r"seed=0.5 must be a whole number"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(arguments, message):
    with pytest.raises(RequestError, match=message) as error:
        Detection("set", **arguments)
    assert "\n" not in str(error.value)


def test_what_is_missing_is_said_before_training(splits, monkeypatch):
    task = Detection("drawn", steps=1, **SMALL)
    with pytest.raises(RequestError, match=r"has no boxes: open it with the task's own splits"):
        task(encoder(), {**splits, "test": splits["test"].whole})
    with pytest.raises(RequestError, match=r"diverged: loss .* lower lr=1e\+06"):
        Detection("drawn", steps=9, **SMALL | {"lr": 1e6})(encoder(), splits)
    monkeypatch.setitem(sys.modules, "pycocotools.cocoeval", None)
    with pytest.raises(RequestError, match=r"pycocotools, which is not installed: pip install 'augaware\[detection\]'"):
        task(encoder(), splits)


def test_voc_as_published_trains_on_both_years_and_knows_what_is_difficult(tmp_path):
    """trainval of 2007 and 2012 and the test set of 2007, from their XML: no val, pixels counted from 0."""
    root = tmp_path / "VOCdevkit"
    for year, parts in {"VOC2007": {"trainval": (0, 1), "test": (2, 3)}, "VOC2012": {"trainval": (4,)}}.items():
        for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (root / year / folder).mkdir(parents=True)
        for part, numbers in parts.items():
            (root / year / "ImageSets" / "Main" / f"{part}.txt").write_text("".join(f"{i:06d}\n" for i in numbers))
            for i in numbers:
                Image.new("RGB", (60, 48), (40 * i, 90, 90)).save(root / year / "JPEGImages" / f"{i:06d}.jpg")
                (root / year / "Annotations" / f"{i:06d}.xml").write_text(ANNOTATION)
    task = Detection("voc0712", steps=2, **SMALL | {"batch_size": 2})
    splits = task.splits(tmp_path)
    assert {name: len(source) for name, source in splits.items()} == {"train": 3, "test": 2}
    found = splits["test"].objects[0]
    assert found == Boxes(("cat", "dog"), ((0, 0, 30, 30), (19, 9, 60, 48)), (False, True), (60, 48))
    metrics = task(encoder(), splits)
    assert metrics["ap50_per_class"]["cat"] >= 0
    assert metrics["ap50_per_class"]["dog"] is None  # none that counts
    assert metrics["n"] == {"train": 3, "test": 2}
