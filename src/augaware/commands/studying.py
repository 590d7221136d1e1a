"""The command that makes a grid of runs: study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def study(
    file: Annotated[Path, typer.Argument(help="a study in JSON: docs/study.md")],
    out: Annotated[Path, typer.Option(help="the folder of all its runs; started again, it goes on")],
    data: Annotated[Path, typer.Option(help="ROOT, the folder of data sets")] = Path("."),
    earlier: Annotated[
        Path | None, typer.Option(help="a study.json: cells of the same recipe are taken over, and not made again")
    ] = None,
) -> None:
    """Train and judge a grid of recipes and seeds, one after another; once per core or device for more at a time."""
    import augaware

    summary = augaware.study(file, data=data, out=out, earlier=earlier, told=lambda line: typer.echo(line, err=True))
    typer.echo(f"wrote {summary}; next: augaware report {summary} --out report.html")
