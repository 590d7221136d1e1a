"""The picture of views: a grid with the omega of each. PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from augaware.augment.pipeline import Pipeline
from augaware.data.base import Source
from augaware.data.centre import as_rgb, centre_batch
from augaware.spaces import Interval, Space

SIDE = 1.9  # inches per picture


def views_png(source: Source, pipelines: Sequence[Pipeline], index: Tensor, seed: int) -> bytes:
    """Rows of images: the source image, then its views of epoch 0, one per pipeline, with the omega of each below."""
    source = source.shuffled(seed, 0)
    several = source.batch(index).photographs
    columns = [centre_batch(source, index, pipelines[0].size)]
    captions = [[""] * len(index)]
    for number, pipeline in enumerate(pipelines):
        batch = several[number % len(several)]
        view = pipeline.view(batch.images, batch.sizes, batch.index, seed, 0, number)
        columns.append(pipeline.displayed(view))
        omega, spaces = {**view.omega, **batch.omega}, {**pipeline.spaces, **source.spaces}
        captions.append([_caption(pipeline, omega, spaces, row) for row in range(len(index))])
    if source.channels != 3 or source.dtype != torch.uint8:
        columns = [as_rgb(images, columns[0]) for images in columns]
    titles = ["image", *(f"view {number + 1}" for number in range(len(pipelines)))]
    return _grid(columns, captions, titles, text_height=0.55)


def _caption(pipeline: Pipeline, omega: Mapping[str, Tensor], spaces: Mapping[str, Space], row: int) -> str:
    """One line per augmentation; "off" where it was not applied."""
    off = {a.name: torch.tensor(a.identity) for a in pipeline.augmentations}
    lines = []
    for name, value in omega.items():
        space = spaces[name]
        numbers = [f"{v:.2f}" for v in value[row, : space.d].tolist()] if isinstance(space, Interval) else []
        applied = name not in off or bool((value[row] != off[name]).any())
        lines.append(" ".join([name, *(numbers or [f"{value[row, 0]:g}"])]) if applied else f"{name} off")
    return "\n".join(lines)


def _grid(
    columns: Sequence[Tensor], captions: Sequence[Sequence[str]], titles: Sequence[str], text_height: float
) -> bytes:
    """columns: (rows, 3, H, W) in [0, 1] each."""
    n, m = len(columns[0]), len(columns)
    figure = Figure(figsize=(SIDE * m, (SIDE + text_height) * n), dpi=120, layout="constrained", facecolor="white")
    axes = figure.subplots(n, m, squeeze=False)
    for c, (images, texts) in enumerate(zip(columns, captions, strict=True)):
        for r in range(n):
            ax = axes[r][c]
            ax.imshow(images[r].permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
            ax.set_xticks([])
            ax.set_yticks([])
            ax.set_xlabel(texts[r], fontsize=5.4, family="monospace", loc="left")
            if r == 0:
                ax.set_title(titles[c], fontsize=8)
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]
    return file.getvalue()
