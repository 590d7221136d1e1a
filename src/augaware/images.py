"""The images of a run: opened as its recipe says, not run where they are code of a stranger, whole in each batch."""

from __future__ import annotations

from augaware import lookup
from augaware.checkpoint import Run
from augaware.data.base import ImageBatch, Source
from augaware.data.centre import channel_moments
from augaware.data.loader import is_spec, open_source
from augaware.data.paired import check_known
from augaware.errors import RequestError
from augaware.progress import Display
from augaware.recipe import Recipe


def check_data(run: Run) -> None:
    """Raise :class:`RequestError` where a run's data is a module that is not trusted: to open it would run it."""
    data = run.recipe.data
    if is_spec(data):
        lookup.check_trusted([data.partition("(")[0]], str(run.path / "recipe.json"))


def opened(recipe: Recipe, display: Display) -> tuple[Source, Recipe]:
    """The images, and the recipe with mean and std measured where it leaves them to us. Raises :class:`RequestError`.

    ``display`` shows how far the reading is.
    """
    source = open_source(
        recipe.data,
        recipe.decoded_side,
        int(recipe.memory_gib * 2**30),
        display.reading,
        store=recipe.store,
        say=display.line,
        reading=recipe.reading,
    )
    check_known(source, recipe.known)
    return source, recipe.changed(channel_moments(source, recipe.seed)) if recipe.measuring else recipe


def check_share(source: Source, batch: ImageBatch, share: int, step: int) -> None:
    """Raise :class:`RequestError` where an image of this process cannot be read: shares are of equal size."""
    if len(batch) < share:
        image = source.skipped[-1]
        raise RequestError(
            f"step {step + 1}: {image.name} cannot be read ({image.reason}), and several processes need all images "
            f"of a batch; --set store=DIR, or more memory_gib, leaves such images out beforehand"
        )
