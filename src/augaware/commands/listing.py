"""Commands that list what there is to choose from: list, recipes."""

from __future__ import annotations

from typing import Annotated

import typer

from augaware.api.listing import ROOMS
from augaware.commands.asked import Json, names, printed, words


def list(
    what: Annotated[str | None, typer.Argument(help=" | ".join(ROOMS), autocompletion=words(*ROOMS))] = None,
    json: Json = False,
) -> None:
    """List what exists."""
    import augaware

    found = augaware.list(what)
    printed(found, json)


def recipes(
    name: Annotated[
        str | None, typer.Argument(help="one, or a spec with arguments", autocompletion=names("recipes"))
    ] = None,
    json: Json = False,
) -> None:
    """Show the recipes, or one of them: why it is as it is, what to expect, every field."""
    import augaware

    printed(augaware.recipes(name), json)
