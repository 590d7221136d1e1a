"""The command that tries the laws on a plug-in: check."""

from __future__ import annotations

from typing import Annotated

import typer

from augaware.api.checking import KINDS
from augaware.commands.asked import names


def check(
    spec: Annotated[
        str,
        typer.Argument(
            help="such as my_lab.dim or 'my_lab.dim(low=0.2)'; or a name of ours", autocompletion=names(*KINDS)
        ),
    ],
) -> None:
    """Try the laws of its kind on an augmentation, a host, an awareness or a task of yours."""
    import augaware

    verdicts = augaware.check(spec)
    for verdict in verdicts:
        typer.echo(f"{'holds ' if verdict.holds else 'BROKEN'}  {verdict.law}")
        if not verdict.holds:
            typer.echo(f"        found: {verdict.found}")
    if not all(verdict.holds for verdict in verdicts):
        raise typer.Exit(1)
