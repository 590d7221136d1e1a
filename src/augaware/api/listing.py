"""What there is to choose from, as functions: the plug-ins of each room, the recipes."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from augaware import lookup
from augaware.errors import RequestError, did_you_mean
from augaware.report.values import Record, Results

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
    "exports": "exports",
    "loggers": "loggers",
}
PUBLISHED = ("paper_", "augself_")  # how a recipe of a paper's own setting is called
ANY = "images"  # the data of a recipe for images of one's own
KINDS = ("presets by domain", "of our own experiments", "settings of papers")


def list(what: str | None = None) -> Record:
    """What exists: ``{"hosts": [{"name", "spec", "summary", ...}], ...}``, or one of these.

    Of awareness also which ``hosts`` and which others ``beside`` it go with it: name -> None, or why not. Raises
    :class:`RequestError`.
    """
    from augaware.api.showing import listed

    if what is not None and what not in ROOMS:
        raise RequestError(f"list {what!r} is unknown; accepted: {', '.join(ROOMS)}{did_you_mean(what, ROOMS)}")
    chosen = {what: ROOMS[what]} if what else ROOMS
    found: dict[str, Sequence[dict[str, Any]]] = {
        title: [lookup.summary(room, name) for name in lookup.names(room)] for title, room in chosen.items()
    }
    for entry in found.get("awareness", []):
        entry |= _compatibility(entry["name"])
    for entry in found.get("datasets", []):
        entry |= _published(entry["name"])
    return Record(found, listed)


def _compatibility(awareness: str) -> dict[str, dict[str, str | None]]:
    """With which hosts and beside which awareness this one works: name -> None, or why not."""
    from augaware.objective import clash, mismatch

    given = lookup.load("awareness", awareness)
    others = [name for name in lookup.names("awareness") if name != awareness]
    return {
        "hosts": {name: mismatch(lookup.load("hosts", name), given) for name in lookup.names("hosts")},
        "beside": {name: clash([given, lookup.load("awareness", name)]) for name in others},
    }


def _published(name: str) -> dict[str, Any]:
    """What a data set states; its spec is its name, as tasks are given it."""
    known = lookup.load("data.datasets", name)
    return {"spec": name, "title": known.title, "classes": known.classes, "counts": dict(known.counts)} | {
        "metric": known.metric,
        "layout": known.layout,
        "url": known.url,
    }


def recipes(name: str | None = None) -> Results | Record:
    """All recipes, presets by domain first, those of papers last; or one, by its name or as a spec with arguments.

    ``{"name", "kind", "spec", "summary", "reasons", "expected", "command", "recipe"}`` each: ``reasons`` the paragraphs
    of its docstring, ``recipe`` all fields. Raises :class:`RequestError`.
    """
    from augaware.api.showing import recipe, recipes

    if name is not None:
        return Record(_recipe(name), recipe)
    found = [_recipe(known) for known in lookup.names("recipes")]
    return Results(sorted(found, key=lambda one: KINDS.index(one["kind"])), recipes)


def _recipe(spec: str) -> dict[str, Any]:
    """All that there is to say of a recipe."""
    made, name = lookup.build("recipes", spec), lookup.parse(spec, "recipe").name
    said = lookup.summary("recipes", name)
    doc = (inspect.getdoc(lookup.load("recipes", name)) or "").replace("``", "")
    summary, *rest = (" ".join(paragraph.split()) for paragraph in doc.split("\n\n"))
    command = rest.pop() if rest and rest[-1].startswith(("augaware ", "make ")) else ""
    if spec != name or not command:
        source = " --data FOLDER" if made.data == ANY else ""
        command = f'augaware pretrain --recipe "{spec}"{source} --out runs/{name}'
    return {
        "name": name,
        "kind": KINDS[2] if name.startswith(PUBLISHED) else KINDS[0 if made.data == ANY else 1],
        "spec": said["spec"] if spec == name else spec,
        "summary": summary,
        "reasons": [paragraph for paragraph in rest if not paragraph.startswith(lookup.EXPECTED)],
        "expected": said["expected"],
        "command": command,
        "recipe": asdict(made),
    }
