"""The model card of an encoder: what it was trained on and how, what it is good for, what it keeps and loses.

Everything in it is read from the files of the run, as a report reads them; whole paths are cut to their last two parts,
so that nobody's home is published. Text goes into the front matter quoted and into tables escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from augaware.frozen import Frozen
from augaware.report.analyses import Found
from augaware.report.answer import answered
from augaware.report.folder import Result, read
from augaware.report.numbers import shown
from augaware.report.tables import plain

UNKNOWN = "unknown"  # the Hub's word for a licence that nobody named
NORMAL = 1.96
VERSIONS = ("commit", "augaware", "torch", "torchvision", "timm", "numpy", "python", "platform", "gpu")
_DATASET = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")  # what the Hub takes for a data set's name
# of a whole path all but its end; what follows "https:" is none, what follows "hf:" may be one
_HOME = re.compile(r"(?<![\w./])(?<!:(?=//))[~/](?:[^/'\"(),]*/)*(?=[^/'\"(),]+/[^/'\"(),]+)")


def card(frozen: Frozen, run: Path | None, name: str, licence: str, usage: str) -> str:
    """The README.md of the folder ``name``; ``run`` is the run's, ``usage`` how it is loaded."""
    said = [_front(frozen, licence), f"# {plain(name)}", _lead(frozen), "## How to load it", _code(usage, "python")]
    said += [f"or, with timm alone, `timm.create_model({f'local-dir:{name}'!r}, pretrained=True)`.", *_input(frozen)]
    if frozen.recipe:
        recipe = _code(_without_homes(json.dumps(frozen.recipe, indent=2, ensure_ascii=False)), "json")
        said += ["## Data", _data(frozen.recipe), "## Recipe", recipe]
    if run is not None:
        found = read(run)
        said += _results(found.results) + _kept(found.analyses) + _versions(found.environment)
    said += ["## Licence", _licence(licence)]
    return "\n\n".join(said) + "\n"


def quoted(text: str) -> str:
    """``text`` as a double-quoted scalar of YAML, whatever it holds."""
    plain = "".join(
        c if c.isprintable() else f"\\U{ord(c):08x}" for c in text.replace("\\", "\\\\").replace('"', '\\"')
    )
    return f'"{plain.encode("utf-8", "replace").decode()}"'


def _front(frozen: Frozen, licence: str) -> str:
    """The front matter: what the Hub finds a model by."""
    lines = [f"license: {quoted(licence)}", "library_name: transformers", "pipeline_tag: image-feature-extraction"]
    methods = [_method(spec) for spec in (frozen.recipe.get("host", ""), *frozen.recipe.get("aware", ()))]
    tags = ["timm", "augaware", *(method for method in methods if method)]
    tags += ["self-supervised-learning"] if frozen.recipe else []
    lines += ["tags:", *(f"- {quoted(tag)}" for tag in dict.fromkeys(tags))]
    dataset = _dataset(frozen.recipe.get("data", ""))
    if _DATASET.fullmatch(dataset):
        lines += ["datasets:", f"- {quoted(dataset)}"]
    return "\n".join(["---", *lines, "---"])


def _method(spec: str) -> str:
    return spec.partition("(")[0].strip().rpartition(".")[2]


def _dataset(source: str) -> str:
    """The name in SRC: that of its library or, of a path, its last part."""
    library, colon, rest = source.partition(":")
    if colon and library in ("torchvision", "hf"):
        return rest.partition("(")[0]
    if "(" in source:
        return "" if _method(source) == "pairs" else _method(source)  # a file's name says nothing of what is in it
    return Path(source).name


def _lead(frozen: Frozen) -> str:
    network = f"{_literal(frozen.architecture or frozen.name)}, {frozen.dim} features"
    if not frozen.recipe:
        return f"An image encoder: {network}."
    recipe = frozen.recipe
    aware = [_literal(spec) for spec in recipe["aware"]]
    method = _literal(recipe["host"]) + (f" with {' and '.join(aware)}" if aware else "")
    return (
        f"An image encoder, {network}, trained without labels by {method}: {recipe['epochs']} epochs at "
        f"{recipe['size']} px. Made with augaware: augmentation-aware self-supervised learning."
    )


def _input(frozen: Frozen) -> list[str]:
    if frozen.channels != 3:
        low, high = frozen.reading.pixel_range or ("0", "the largest of their type")
        return [
            f"Images: {frozen.channels} channels as the files have them, of which {low} is 0 and {high} is 1, resized "
            f"to {frozen.size} px, less mean {list(frozen.mean)}, by std {list(frozen.std)}. The processor and the "
            "transforms of both libraries are for RGB: give such tensors to the model itself."
        ]
    return [
        f"Images: RGB, the short side resized to {frozen.size} px (bicubic) and the centre cropped, in [0, 1], less "
        f"mean {list(frozen.mean)}, by std {list(frozen.std)}; both libraries do so by themselves."
    ]


def _data(recipe: Mapping[str, object]) -> str:
    data = _literal(str(recipe.get("data", "")))
    return f"Trained on {data}, augmented as `augment` and `views` of the recipe say."


def _results(results: Sequence[Result]) -> list[str]:
    """A row for each number, with the protocol that it is comparable within."""
    if not results:
        return ["## Results", "None yet."]
    columns = ("data set", "task", "number", "value", "95 % interval over the test images", "protocol")
    rows = []
    for r in results:
        value, reach = shown(r.value, 4), "" if r.error is None else NORMAL * r.error
        between = f"{shown(r.value - reach, 4)} to {shown(r.value + reach, 4)}" if isinstance(reach, float) else ""
        rows.append((_without_homes(r.dataset), _without_homes(r.task), r.metric, value, between, r.protocol))
    return ["## Results", "Of frozen features; numbers compare within one protocol.", _table(columns, rows)]


def _kept(found: Sequence[Found]) -> list[str]:
    """What the analyses add up to, in sentences and their table."""
    if not found:
        return []
    said = answered(found)
    parts = ["## What it keeps and loses", " ".join(plain(sentence) for sentence in said.sentences)]
    if said.table is not None:
        rows = [[shown(cell, 2) for cell in row] for row in said.table.rows]
        parts += [_table(said.table.columns, rows), plain(said.table.note)]
    return [*parts, f"Asked of {found[0].images} images of {_literal(found[0].data)}."]


def _versions(environment: Mapping[str, str]) -> list[str]:
    kept = [(key, environment[key]) for key in VERSIONS if environment.get(key, "none") != "none"]
    return ["## Made with", _table(("what", "version"), kept)] if kept else []


def _licence(licence: str) -> str:
    yours = "What the data's licence asks of those who train on it holds beside it."
    if licence == UNKNOWN:
        return f"Nobody has named one yet: it is the choice of who trained these weights. {yours}"
    return f"{licence}. {yours}"


def _without_homes(text: str) -> str:
    """Whole paths in ``text``, bare or in a spec, without what lies before their last two parts."""
    return _HOME.sub("", text)


def _literal(text: str) -> str:
    """Text as code, in a line."""
    return f"`{' '.join(_without_homes(text).replace('`', ' ').split())}`"


def _code(text: str, language: str) -> str:
    return f"```{language}\n{text}\n```"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line if line == '---' else plain(line) for line in cells)} |" for cells in lines)
