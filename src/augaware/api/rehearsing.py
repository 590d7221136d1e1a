"""What a recipe would need, as a function."""

from __future__ import annotations

from dataclasses import asdict

from augaware.report.values import Record


def dry_run(recipe: str, *, images: int | None = None, gpus: int = 1) -> Record:
    """One step of ``recipe`` at its full shape without data and without a GPU, and what the whole run would take.

    ``recipe``: a name or spec of ``augaware recipes``. ``images``: how many there are, where the data
    are not at hand. ``{"recipe", "gpus", "tflop", "gib", "kinds", "steps", "hours", "rate"}``: of each GPU the
    floating-point operations of a step and the memory of its tensors; ``hours`` at ``rate`` TFLOP/s, what steps reached
    on one H200; steps and hours are None where nobody says how many images there are. Raises :class:`RequestError`.
    """
    from augaware import lookup
    from augaware.api.showing import needs
    from augaware.dry_run import RATE, counted, step
    from augaware.recipe import Recipe

    made: Recipe = lookup.build("recipes", recipe)
    count = counted(made.data) if images is None else images
    steps = None if count is None else count // made.batch_size * made.epochs
    found = step(made, gpus)
    hours = None if steps is None else steps * found.tflop / RATE / 3600
    return Record({"recipe": recipe, **asdict(found), "steps": steps, "hours": hours, "rate": RATE}, needs)
