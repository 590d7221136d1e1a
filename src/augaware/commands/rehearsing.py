"""The command that says what a recipe would need: dry-run."""

from __future__ import annotations

from typing import Annotated

import typer

from augaware.commands.asked import Json, names, printed


def dry_run(
    recipe: Annotated[str, typer.Argument(help="one of `augaware recipes`", autocompletion=names("recipes"))],
    images: Annotated[int | None, typer.Option(help="how many there are, where the data are not at hand")] = None,
    gpus: Annotated[int, typer.Option(help="by how many the batch is divided")] = 1,
    json: Json = False,
) -> None:
    """Try a step at full shape, without data and without a GPU: memory and time of the whole run."""
    import augaware

    printed(augaware.dry_run(recipe, images=images, gpus=gpus), json)
