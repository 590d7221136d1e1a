"""What there is to see of what the functions return, as the parts of a page: from the plain data alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from augaware.report.parts import Cell, Group, KeyValues, Part, Picture, Table, Text, Value

Result = Mapping[str, Any]


def evaluated(results: Sequence[Result]) -> list[Part]:
    """A line for each number of each task."""
    from augaware.report.experiments import NORMAL
    from augaware.report.folder import headline

    rows: list[list[Cell]] = []
    for result in results:
        for metric, (value, error) in headline(result["metrics"]).items():
            ends = (None, None) if error is None else (value - NORMAL * error, value + NORMAL * error)
            cell = Value(value, low=ends[0], high=ends[1])
            rows.append([result["encoder"], result["task"], metric, cell, result["protocol"]])
    warnings = [f"WARNING: {r['task']}: {r['metrics']['warning']}" for r in results if r["metrics"].get("warning")]
    note = "[ , ]: 95 % over the test images." if any(isinstance(r[3], Value) and r[3].interval for r in rows) else ""
    found = Table("", ["encoder", "task", "metric", "value", "protocol"], rows, note)
    return [found, *([Text("\n\n".join(warnings))] if warnings else [])]


def analysed(results: Sequence[Result], folder: Path | None = None) -> list[Part]:
    """The answer in plain language, the table that it is read from, and the pictures in ``folder``."""
    from augaware.report.answer import answer
    from augaware.report.pictures import sound

    found = answer(results)
    parts: list[Part] = [Text("\n\n".join(found.sentences)), *([found.table] if found.table else [])]
    files = {name: shows for result in results for name, shows in result["pictures"].items()}
    shown = [
        (shows, file.read_bytes()) for name, shows in files.items() if folder and (file := folder / name).is_file()
    ]
    pictures = [Picture(shows, shows, png) for shows, png in shown if sound(png)]
    return [*parts, *([Group(f"pictures: {len(pictures)}", pictures)] if pictures else [])]


def machine(found: Result) -> list[Part]:
    """What a machine has, name and value."""
    return [KeyValues({key: value if value is None else str(value) for key, value in found.items()})]


def surveyed(found: Result) -> list[Part]:
    """The data sets in ROOT against what the papers use, and what there is to say of some."""
    from augaware.doctor import COLUMNS, table

    notes = [f"{row['name']}: {row['note']}" for row in found["datasets"] if row["note"]]
    rows = table(found["datasets"])
    return [Table("images found / used by the papers", COLUMNS, rows), *([Text("\n".join(notes))] if notes else [])]


def benched(record: Result) -> list[Part]:
    """Medians with their spread, and how each side was run."""
    from augaware.bench.rows import remarks, table

    columns, rows = table(record["rows"], record["unit"], record["measure"])
    title = f"{record['bench']}: medians [least, most]"
    return [Table(title, columns, rows), Text("\n".join(remarks(record["rows"])))]


def listed(found: Result) -> list[Part]:
    """The plug-ins of each room: how each is called, and what it is."""
    return [KeyValues({e["spec"]: _entry(e) for e in entries}, f"{title}:") for title, entries in found.items()]


def _entry(entry: Result) -> str:
    said = [entry["summary"]]
    if "expected" in entry:
        said.append(f"Expected: {entry['expected']}")
    if "counts" in entry:
        counts = ", ".join(f"{split} {count}" for split, count in entry["counts"].items())
        said.append(f"{entry['title']}: {entry['classes']} classes; {counts}; {entry['metric']}")
    if any(entry.get("hosts", {}).values()):
        said.append(f"Hosts: {', '.join(name for name, reason in entry['hosts'].items() if not reason)}")
    return "\n".join(said)


def recipes(found: Sequence[Result]) -> list[Part]:
    """A table for each kind of recipe."""
    parts: list[Part] = []
    for kind in dict.fromkeys(entry["kind"] for entry in found):
        rows: list[list[Cell]] = []
        for entry in found:
            if entry["kind"] == kind:
                r = entry["recipe"]
                host, encoder = (r[key].partition("(")[0] for key in ("host", "encoder"))
                rows.append([entry["name"], host, encoder, r["size"], r["epochs"], entry["summary"]])
        parts.append(Table(kind, ["recipe", "host", "encoder", "px", "epochs", "what it is"], rows))
    return [*parts, Text("augaware recipes NAME shows one field by field, with its reasons and what to expect.")]


def recipe(found: Result) -> list[Part]:
    """What a recipe is and why, what to expect, the command, and all its fields, those that it changes marked."""
    from dataclasses import MISSING, fields

    from augaware.recipe import Recipe

    defaults = {field.name: field.default for field in fields(Recipe) if field.default is not MISSING}
    rows: list[list[Cell]] = []
    for name, value in found["recipe"].items():
        other = name in defaults and _told(defaults[name]) != _told(value)
        rows.append([name, _told(value), _told(defaults[name]) if other else ""])
    said = [found["summary"], *found["reasons"], f"Expected: {found['expected']}", found["command"]]
    return [Text("\n\n".join(said)), Table(found["spec"], ["field", "value", "default"], rows)]


def needs(found: Result) -> list[Part]:
    """What a step needs and a run takes, in two lines."""
    kinds = ", ".join(f"{name} {gib:.2g}" for name, gib in found["kinds"].items() if gib >= 0.005)
    each = f"of each of {found['gpus']} GPUs" if found["gpus"] > 1 else "of one GPU"
    lines = [
        f"{found['recipe']}: a step runs at its full shape. It needs {found['tflop']:.3g} TFLOP and "
        f"{found['gib']:.1f} GiB {each} ({kinds}); kernels and the allocator add about a tenth."
    ]
    if found["steps"] is None:
        lines.append("How long the run takes depends on how many images there are: --images N")
    else:
        lines.append(
            f"{found['steps']} steps: {found['hours']:.3g} hours at {found['rate']:.0f} TFLOP/s, which steps reached "
            "on one H200, if views and the other GPUs keep up."
        )
    return [Text(line) for line in lines]


def _told(value: Any) -> str:
    """A field's value as --set takes it."""
    return value if isinstance(value, str) else str(list(value) if isinstance(value, tuple) else value)
