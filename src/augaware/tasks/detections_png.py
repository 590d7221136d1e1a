"""A picture of what a detector found: true boxes in blue, found ones in pink with class and score."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from augaware.data.tables import Boxes
from augaware.tasks.average_precision import Found

COLUMNS = 3
_LEAST = 0.5  # score of what is drawn
_TRUE, _FOUND = "#0a84ff", "#ff3d7f"


@dataclass(frozen=True)
class Shown:
    """An image (3, H, W) uint8, its objects and what was found, all in its pixels."""

    image: Tensor
    truth: Boxes
    found: Found


def detections_png(shown: Sequence[Shown], classes: Sequence[str]) -> bytes:
    """The images in rows of three, with the boxes; a detection is drawn when its score exceeds one half."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(3 * COLUMNS, 2.6 * rows), dpi=120, layout="constrained", facecolor="white")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    for ax in axes:
        ax.set_axis_off()
    for ax, one in zip(axes, shown, strict=False):
        ax.imshow(one.image.permute(1, 2, 0).numpy())
        boxes = [(box, _TRUE, 2.4, "") for box in one.truth.corners]
        columns = (x.tolist() for x in (one.found.corners, one.found.scores, one.found.labels))
        for box, score, label in zip(*columns, strict=True):
            if score > _LEAST:
                boxes.append((tuple(box), _FOUND, 1.4, f"{classes[label]} {score:.2f}"))
        for (left, top, right, bottom), colour, width, text in boxes:
            ax.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, ec=colour, lw=width))
            if text:
                label = {"facecolor": colour, "edgecolor": "none", "pad": 0.8, "alpha": 0.8}
                ax.text(left, top, text, fontsize=5, color="white", va="top", clip_on=True, bbox=label)
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]
    return file.getvalue()
