"""The commands that say what there is: list and doctor."""

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
    from augaware import api
    from augaware.doctor import COLUMNS, table
    from augaware.progress import print_table

    found = api.doctor(data, download=download)
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
