"""Commands that say and show what is there: list, doctor, views, store, bench."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from augaware.errors import RequestError, did_you_mean

ROOMS = {
    "hosts": "hosts",
    "awareness": "awareness",
    "augmentations": "augment",
    "tasks": "tasks",
    "analyses": "analysis",
    "datasets": "data.datasets",
    "sources": "data",
    "encoders": "nets",
    "recipes": "recipes",
    "benches": "bench",
    "suites": "suites",
    "loggers": "loggers",
}


def list_(
    what: Annotated[str | None, typer.Argument(help=" | ".join(ROOMS))] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for scripts")] = False,
) -> None:
    """List what exists."""
    from augaware import lookup

    if what is not None and what not in ROOMS:
        raise RequestError(f"list {what!r} is unknown; accepted: {', '.join(ROOMS)}{did_you_mean(what, ROOMS)}")
    chosen = {what: ROOMS[what]} if what else ROOMS
    found: dict[str, list[dict[str, Any]]] = {
        title: [lookup.summary(room, name) for name in lookup.names(room)] for title, room in chosen.items()
    }
    for entry in found.get("awareness", []):
        entry |= _compatibility(entry["name"])
    for entry in found.get("datasets", []):
        entry |= _published(entry["name"])
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for title, entries in found.items():
        typer.echo(f"{title}:")
        for entry in entries:
            typer.echo(f"  {entry['spec']}\n      {entry['summary']}")
            if "expected" in entry:
                typer.echo(f"      Expected: {entry['expected']}")
            if "counts" in entry:
                counts = ", ".join(f"{split} {count}" for split, count in entry["counts"].items())
                typer.echo(f"      {entry['title']}: {entry['classes']} classes; {counts}; {entry['metric']}")
            if any(entry.get("hosts", {}).values()):
                typer.echo(f"      Hosts: {', '.join(name for name, reason in entry['hosts'].items() if not reason)}")


def _compatibility(awareness: str) -> dict[str, dict[str, str | None]]:
    """With which hosts and beside which awareness this one works: name -> None, or why not."""
    from augaware import lookup
    from augaware.objective import clash, mismatch

    given = lookup.load("awareness", awareness)
    others = [name for name in lookup.names("awareness") if name != awareness]
    return {
        "hosts": {name: mismatch(lookup.load("hosts", name), given) for name in lookup.names("hosts")},
        "beside": {name: clash([given, lookup.load("awareness", name)]) for name in others},
    }


def _published(name: str) -> dict[str, Any]:
    """What a data set states; its spec is its name, as tasks are given it."""
    from augaware import lookup

    known = lookup.load("data.datasets", name)
    return {"spec": name, "title": known.title, "classes": known.classes, "counts": dict(known.counts)} | {
        "metric": known.metric,
        "layout": known.layout,
        "url": known.url,
    }


def doctor(
    data: Annotated[Path | None, typer.Option(help="ROOT, the folder of data sets: which are there, and whole")] = None,
    download: Annotated[str | None, typer.Option(help="fetch this data set into ROOT first")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for scripts")] = False,
) -> None:
    """Say what is there: data sets in ROOT, or else versions, devices and packages."""
    import augaware
    from augaware.doctor import COLUMNS, table
    from augaware.progress import print_table

    found = augaware.doctor(data, download=download)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif data is None:
        for key, value in found.items():
            typer.echo(f"{key:<18}{value}")
    else:
        print_table(f"{data}: images found / used by the papers", COLUMNS, table(found["datasets"]))
        for row in found["datasets"]:
            if row["note"]:
                typer.echo(f"{row['name']}: {row['note']}")


def views(
    data: Annotated[str, typer.Option(help="a folder of images, a tar, torchvision:NAME, shapes")],
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
        str | None, typer.Option(help="a folder of images, a tar, torchvision:NAME: decode it into DIR")
    ] = None,
    size: Annotated[int | None, typer.Option(help="side of the views in pixels, as the run will have it")] = None,
    check: Annotated[bool, typer.Option("--check", help="read all pixels against their checksums")] = False,
) -> None:
    """Decode images once for many runs, or check such a store."""
    import augaware

    if data is None and not check:
        raise RequestError("store: nothing to do; give --data SRC to build it, or --check to verify it")
    if data is not None:
        typer.echo(f"store {augaware.store(data, out=out, size=size)}; next: augaware pretrain --set store={out} ...")
    if check:
        damaged = augaware.check_store(out)
        for line in damaged:
            typer.echo(line)
        if damaged:
            raise typer.Exit(1)
        typer.echo(f"store {out}: sound")


def bench(
    what: Annotated[str, typer.Argument(metavar="BENCH", help="such as augment or 'augment(sizes=[96], rounds=15)'")],
    peers: Annotated[bool, typer.Option("--peers", help="other libraries too, those that are installed")] = False,
    data: Annotated[str | None, typer.Option(help="a folder of images, a tar, ...; else they are drawn")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="for scripts; a new file")] = None,
) -> None:
    """Measure how fast the library is on this machine, beside its peers, in turns."""
    import augaware
    from augaware.bench.rows import remarks, table
    from augaware.progress import print_table

    record = augaware.bench(what, peers=peers, data=data, json=as_json)
    print_table(f"{what}: medians [least, most]", *table(record["rows"], record["unit"], record["measure"]))
    for line in remarks(record["rows"]):
        typer.echo(line)
