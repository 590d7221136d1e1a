"""Commands that show what is there: doctor, views, store, bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from augaware.commands.asked import SOURCE, Json, names, printed
from augaware.errors import RequestError


def doctor(
    data: Annotated[Path | None, typer.Option(help="ROOT, the folder of data sets: which are there, and whole")] = None,
    download: Annotated[
        str | None, typer.Option(help="fetch this data set into ROOT first", autocompletion=names("data.datasets"))
    ] = None,
    json: Json = False,
) -> None:
    """Say what is there: data sets in ROOT, or else versions, devices and packages."""
    import augaware

    printed(augaware.doctor(data, download=download), json)


def views(
    data: Annotated[str, typer.Option(help=SOURCE)],
    out: Annotated[Path, typer.Option(help="the PNG file")],
    count: Annotated[int, typer.Option(help="images shown")] = 6,
    size: Annotated[int | None, typer.Option(help="side of the views in pixels")] = None,
    seed: Annotated[int, typer.Option(help="of the draws")] = 0,
    set: Annotated[list[str] | None, typer.Option(help="any field of the recipe, such as augment=...")] = None,
) -> None:
    """Draw a grid of views with their omega."""
    import augaware
    from augaware.recipe import parse_settings

    typer.echo(
        f"wrote {augaware.views(data, out=out, count=count, size=size, seed=seed, set=parse_settings(set or []))}"
    )


def store(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="the store; a run reads it with --set store=DIR")],
    data: Annotated[
        str | None,
        typer.Option(help="a folder, tars or a list of images, hf:NAME, torchvision:NAME: decode it into DIR"),
    ] = None,
    size: Annotated[int | None, typer.Option(help="side of the views in pixels, as the run will have it")] = None,
    set: Annotated[list[str] | None, typer.Option(help="channels=5, pixel_range=..., as the run has them")] = None,
    check: Annotated[bool, typer.Option("--check", help="read all pixels against their checksums")] = False,
) -> None:
    """Decode images once for many runs, or check such a store."""
    import augaware
    from augaware.recipe import parse_settings

    if data is None and not check:
        raise RequestError("store: nothing to do; give --data SRC to build it, or --check to verify it")
    if data is not None:
        folder = augaware.store(data, out=out, size=size, set=parse_settings(set or []))
        typer.echo(f"store {folder}; next: augaware pretrain --set store={out} ...")
    if check:
        damaged = augaware.check_store(out)
        for line in damaged:
            typer.echo(line)
        if damaged:
            raise typer.Exit(1)
        typer.echo(f"store {out}: sound")


def bench(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="BENCH",
            help="such as augment or 'augment(sizes=[96], rounds=15)'",
            autocompletion=names("bench"),
        ),
    ],
    peers: Annotated[bool, typer.Option("--peers", help="other libraries too, those that are installed")] = False,
    data: Annotated[
        str | None, typer.Option(help="a folder, tars or a list of images, ...; else they are drawn")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="for scripts; a new file")] = None,
) -> None:
    """Measure how fast the library is on this machine, beside its peers, in turns."""
    import augaware

    typer.echo(augaware.bench(spec, peers=peers, data=data, json=json))
