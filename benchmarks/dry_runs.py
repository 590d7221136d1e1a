"""Every published recipe at its full shape, without data or a GPU: what a step needs of each GPU, and the whole run.

    python benchmarks/dry_runs.py

Batches are divided among as few GPUs (1, 2, 4, ...) as have the step in 70 GiB each; rows for RESULTS.md.
"""

from __future__ import annotations

from augaware import lookup
from augaware.dry_run import RATE, step
from augaware.recipe import Recipe

ROOM = 70.0  # GiB of 80: kernels and the allocator need some
STL10, IMAGENET100, IMAGENET = 105_000, 126_689, 1_281_167
VARIANTS = ("vanilla", "augself", "cassle", "augself+cassle")
RUNS = (
    *((f"augself_stl10(aware={aware!r}, host='simsiam')", STL10) for aware in VARIANTS),
    *((f"augself_stl10(host={host!r})", STL10) for host in ("simclr", "moco_v2", "byol", "swav")),
    *((f"augself_imagenet100(aware={aware!r}, host='moco_v2')", IMAGENET100) for aware in VARIANTS),
    *(
        (f"augself_imagenet100(host={host!r})", IMAGENET100)
        for host in ("simclr", "byol", "simsiam", "swav", "barlow_twins", "supervised")
    ),
    ("augself_imagenet_vit(aware='cassle')", IMAGENET),
    *((name, IMAGENET) for name in lookup.names("recipes") if name.startswith("paper_")),
)


def row(spec: str, images: int) -> str:
    """One recipe as a row of a table."""
    recipe: Recipe = lookup.build("recipes", spec)
    gpus, found = 1, step(recipe)
    while found.gib > ROOM:
        gpus *= 2
        found = step(recipe, gpus)
    steps = images // recipe.batch_size * recipe.epochs
    hours = steps * found.tflop / RATE / 3600
    return (
        f"| `{spec}` | {recipe.batch_size} | {gpus} | {found.gib:.1f} | {found.tflop:.2f} | {steps:,} | {hours:.3g} |"
    )


def main() -> None:
    """All rows."""
    print("| recipe | batch | GPUs | GiB each | TFLOP of a step, each | steps | hours |\n|---|---|---|---|---|---|---|")
    for spec, images in RUNS:
        print(row(spec, images), flush=True)


if __name__ == "__main__":
    main()
