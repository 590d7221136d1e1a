"""The pictures of runs: of one task across experiments, and the views that a recipe makes, once for each recipe."""

from __future__ import annotations

from augaware.report.experiments import Groups, vanillas
from augaware.report.parts import Part, Picture, Pictures
from augaware.report.pictures import sound

MOST = 8  # experiments whose pictures of a task are compared
DRAWN = 4  # grids of views
VIEWS = "views.png"  # written by augaware pretrain


def compared(groups: Groups) -> list[Part]:
    """The picture of each task, of the first run of each experiment that has one."""
    found: list[Part] = []
    vanilla = list(dict.fromkeys(vanillas(groups).values()))  # first: it is what the others are compared with
    groups = {label: groups[label] for label in [*vanilla, *(label for label in groups if label not in vanilla)]}
    for task in dict.fromkeys(task for runs in groups.values() for run in runs for task in run.pictures):
        pngs: dict[str, bytes] = {}
        left = []
        for label, runs in groups.items():
            run = next((run for run in runs if task in run.pictures), None)
            if run is None:
                continue
            if len(pngs) == MOST:
                left.append(label)
                continue
            png = run.picture(run.pictures[task])
            if sound(png):
                pngs[label] = png
            elif png:
                run.problems.append((f"eval/{run.pictures[task].name}", "no PNG that can be shown"))
        if pngs:
            note = f"The vanilla and the best; left out: {', '.join(left)}." if left else ""
            found.append(Pictures(task, f"{task}: what was found", pngs, note))
    return found


def views(groups: Groups) -> list[Part]:
    """The grid of views of each way of making them: data, augmentations, plan of views and size."""
    makers: dict[tuple[str | None, ...], list[str]] = {}
    pngs: dict[tuple[str | None, ...], bytes] = {}
    for label, runs in groups.items():
        for run in runs:
            key = tuple(run.experiment.get(name) for name in ("data", "augment", "views", "size"))
            if not (run.folder / VIEWS).is_file():
                continue
            if key not in pngs and len(pngs) < DRAWN and sound(png := run.picture(run.folder / VIEWS)):
                pngs[key] = png
            if label not in makers.setdefault(key, []):
                makers[key].append(label)
    parts: list[Part] = []
    for key, png in pngs.items():
        data, augment, _, side = key
        every = len(makers[key]) == len(groups)
        who = "" if every else f" Made by: {', '.join(makers[key][:12])}{' …' if len(makers[key]) > 12 else ''}."
        parts.append(
            Picture(
                f"Views of {data} at {side} px, with the omega that made them",
                "Each row shows an image and the views of it; below each view stand its augmentation parameters.",
                png,
                note=f"{augment}.{who}",
            )
        )
    if len(makers) > len(pngs) > 0:
        last = parts.pop()
        assert isinstance(last, Picture)
        more = f" {len(makers) - len(pngs)} more ways of making views are left out here."
        parts.append(Picture(last.caption, last.alt, last.png, last.note + more))
    return parts
