"""The demo's page and its table, from what the demo measured."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from augaware.recipes.demo import demo as recipe
from augaware.report.page import Bars, Picture, Scatter, Section, Table, Text, Value, render, save
from augaware.report.terminal import text

Result = Mapping[str, Any]

QUERIES = (3, 8, 21, 34)  # images whose neighbours are drawn

COLOUR = ("object_hue", "background_hue", "background_level")
CLASSES = ("background", "texture", "shape")
GEOMETRY = ("x", "y", "radius", "orientation")
MATCH = "instance_match"
SHOWN = (*COLOUR, *CLASSES, *GEOMETRY)
COLUMNS = (MATCH, *SHOWN)
TITLES = {
    "object_hue": "object hue",
    "background_hue": "backgr. hue",
    "background_level": "backgr. level",
    "background": "backgr. kind (acc)",
    "texture": "texture (acc)",
    "shape": "shape (acc)",
    MATCH: "instances matched",
}


def value(result: Result, name: str) -> float:
    """One number of a result: a factor, or the host's own quality."""
    number: float = result[MATCH] if name == MATCH else result["factors"][name]
    return number


def by_variant(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The results of each variant, in the order in which the variants come."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result["variant"], []).append(result)
    return groups


def at_equal_quality(vanilla: Result, aware: Result, name: str = "object_hue", quality: str = MATCH) -> float:
    """How much more of ``name`` an aware encoder holds than vanilla did when vanilla's ``quality`` was the same.

    Vanilla is read along its training, linearly between snapshots, and not beyond them. Its learning rate had not
    come down at those moments, which the page says.
    """
    points = sorted((value(p, quality), value(p, name)) for p in vanilla["trajectory"])
    q = min(max(value(aware, quality), points[0][0]), points[-1][0])
    for (q_0, h_0), (q_1, h_1) in itertools.pairwise(points):
        if q <= q_1:
            share = (q - q_0) / (q_1 - q_0) if q_1 > q_0 else 1.0
            return value(aware, name) - (h_0 + share * (h_1 - h_0))
    return value(aware, name) - points[-1][1]


def table(results: Sequence[Result], baselines: Sequence[Result]) -> Table:
    """One row per encoder; the host's own quality stands beside what was kept."""
    rows: list[list[Any]] = []
    for name, group in by_variant((*baselines, *results)).items():
        numbers = [[value(r, c) for r in group] for c in COLUMNS]
        rows.append([name, *(Value.over(n) if len(n) > 1 else n[0] for n in numbers)])
    note = (
        "Ridge probes of frozen features of whole images the encoder was not trained on: R2, or accuracy where it "
        "says acc. Instances matched: how often the other view of an image is the nearest of 500 by the features' "
        "cosine, what SimCLR trains for. Mean and standard deviation over seeds of the training; pixels and "
        "random are one each."
    )
    return Table("What each encoder kept", ["encoder", *(TITLES.get(c, c) for c in COLUMNS)], rows, note, decimals=2)


def differences(results: Sequence[Result]) -> Table:
    """Aware minus vanilla of the same seed, and the same at vanilla's equal quality."""
    aware = by_variant(results)
    vanilla = {r["seed"]: r for r in aware.pop("vanilla")}
    rows: list[list[Any]] = []
    for name, group in aware.items():
        rows.append(
            [
                f"{name} - vanilla",
                Value.over([value(r, "object_hue") - value(vanilla[r["seed"]], "object_hue") for r in group]),
                Value.over([at_equal_quality(vanilla[r["seed"]], r) for r in group]),
                Value.over([at_equal_quality(vanilla[r["seed"]], r, quality="background") for r in group]),
                Value.over([value(r, MATCH) - value(vanilla[r["seed"]], MATCH) for r in group]),
            ]
        )
    columns = [
        "same seed",
        "object hue",
        "object hue at equal instances matched",
        "object hue at equal backgr. kind",
        "instances matched",
    ]
    note = (
        "At equal quality: vanilla is read at the moment of its training at which it matched as many instances "
        "(or told the background kinds as well) as the aware encoder does at its end. Its learning rate had not "
        "come down then."
    )
    return Table("Is it only slower learning?", columns, rows, note, decimals=2)


def page(
    out: Path, results: Sequence[Result], baselines: Sequence[Result], encoders: Mapping[str, str], seconds: float
) -> Path:
    """Write ``out/demo.html``, print its tables and return its path.

    ``encoders``: name -> ENCODER of those whose nearest neighbours are drawn.
    """
    kept = table(results, baselines)
    gain = differences(results)
    for part in (kept, gain):
        print(text([part]))
    bars = Bars(
        "What a linear probe reads off the frozen features (R2 or accuracy; bars are standard deviations over seeds)",
        [TITLES.get(c, c) for c in SHOWN],
        {str(row[0]): row[2:] for row in kept.rows},  # type: ignore[misc]
        decimals=2,
    )
    paths = Scatter(
        "Object hue against the host's own quality, along the training",
        {name: _trajectory(group) for name, group in by_variant(results).items()},
        "instances matched",
        "object hue (R2)",
        note="Mean over seeds at each snapshot. Above vanilla's path at the same place: colour kept at equal quality.",
        wide=True,
    )
    seeds = sorted({r["seed"] for r in results})
    lead = (
        "SimCLR learns to ignore what its augmentations change. AugSelf and CASSLE use the augmentation "
        "parameters so that the encoder keeps it. Every encoder here saw the same drawn images, order and views "
        "per seed."
    )
    sections = [
        Section("What each encoder kept", "kept", [kept, bars]),
        Section("At equal host quality", "quality", [gain, paths]),
        Section("Views and their parameters", "views", [_views(seeds[0])]),
        Section("Nearest neighbours", "neighbours", [_neighbours(encoders, seeds[0])]),
        Section("How to read this", "reading", [Text(READING)]),
    ]
    footer = f"Seeds {', '.join(map(str, seeds))}; {seconds:.0f} seconds in all. Data: demo.json beside this page."
    html = out / "demo.html"
    save(
        render(
            "augaware demo: what did the encoder keep?", lead, sections, "augaware demo", footer, ("pixels", "random")
        ),
        html,
    )
    return html


READING = (
    "What to look for: vanilla reads the object's hue worse than the untrained network, because jitter made it "
    "useless for telling images apart; the aware encoders keep more of it, and of the background's hue.\n\nThey "
    "also match fewer instances, and part of what they keep is bought by that. The second table takes it out: it "
    "compares with vanilla at equal quality, read along vanilla's training.\n\nRaw pixels give the hue to a "
    "linear probe better than any of these small encoders, and background kind, where pixels fail, is what "
    "training is for. Position, size, orientation, texture and shape are printed for completeness: the setting "
    "was not chosen to separate them."
)


def _trajectory(group: Sequence[Result]) -> list[tuple[Value, Value]]:
    steps = zip(*(r["trajectory"] for r in group), strict=True)
    return [
        (Value.over([value(p, MATCH) for p in points]), Value.over([value(p, "object_hue") for p in points]))
        for points in steps
    ]


def _views(seed: int) -> Picture:
    import torch

    from augaware.augment.plan import pipelines
    from augaware.data.loader import open_source
    from augaware.picture import views_png

    r = recipe(seed=seed)
    png = views_png(open_source("shapes(n=8)"), pipelines(r), torch.arange(4), seed)
    return Picture(
        "Two views of four images, with the omega that made them",
        "Each row shows a drawn image and two augmented views of it; below each view stand its augmentation "
        "parameters.",
        png,
    )


def _neighbours(encoders: Mapping[str, str], seed: int) -> Picture:
    import torch

    from augaware.analysis.nearest import nearest
    from augaware.data.root import open_dataset
    from augaware.frozen import load_encoder
    from augaware.tasks.features import extract
    from augaware.tasks.neighbours_png import neighbours_png

    images = open_dataset(".", "shapes")["test"]
    frozen = {name: load_encoder(encoder, size=recipe().size, device="cpu") for name, encoder in encoders.items()}
    queries, found = torch.tensor(QUERIES), {}
    for name, f in frozen.items():
        y = extract(f, images)
        found[name] = nearest(y, y, 7, itself=False)[queries]
    png = neighbours_png(images, queries, found)
    return Picture(
        "The seven nearest images by each encoder's features",
        "Rows in groups of one query: for each encoder the query image and its seven nearest neighbours among "
        "1,500 images, in a green frame where the shape is the query's.",
        png,
        note=f"Encoders of seed {seed}. Look at whether neighbours share the query's colours or only its pattern.",
    )
