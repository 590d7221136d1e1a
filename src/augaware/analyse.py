"""From ENCODER to what it knows: put analyses to it and to what it is compared with, write one JSON file per analysis.

OUT/analysis/<analysis>.json    "encoders": {name: [numbers]}, the one that was asked about first
OUT/analysis/<analysis>-1.png   pictures, with what each shows under "pictures"
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from augaware import lookup
from augaware.analysis.alone import Alone
from augaware.analysis.base import Analysis, Number
from augaware.analysis.subject import Subject
from augaware.checkpoint import environment
from augaware.data.base import Source
from augaware.data.loader import keep, open_source
from augaware.data.store import Part
from augaware.disk import write_file
from augaware.errors import RequestError
from augaware.evaluate import slug
from augaware.frozen import AnyEncoder, Frozen, load_encoder, load_objective
from augaware.random import epoch_order
from augaware.reading import PICTURES, Reading
from augaware.recipe import DEFAULT_AUGMENT
from augaware.spaces import known_spaces
from augaware.tasks.features import check_channels, device_of

ALL = "all"
PIXELS = "random/pixels"


def looked_at(data: str, count: int, seed: int, size: int, reading: Reading = PICTURES) -> Source:
    """``count`` images of ``data``, or all, chosen by ``seed``; decoded once, at no more than twice ``size`` pixels."""
    if count < 1:
        raise RequestError(f"images={count} must be at least 1")
    whole = open_source(data, 2 * size, memory=0, reading=reading)
    chosen = epoch_order(len(whole), seed, 0)[:count].sort().values
    return keep(Part(whole, chosen, whole.name), 2 * size)


def subject(
    frozen: Frozen,
    images: Source,
    seed: int,
    augment: Sequence[str] | None = None,
    against: Mapping[str, Frozen] | None = None,
) -> Subject:
    """``frozen`` with what it is shown. ``augment`` None: that of its recipe. ``against``: the references, by name.

    Raises :class:`RequestError` where an encoder does not take images of its size.
    """
    frozen.check_size()
    check_channels(frozen, images)
    given = augment if augment is not None else frozen.recipe.get("augment", DEFAULT_AUGMENT)
    alone = Alone(given, frozen.size, frozen.mean, frozen.std)
    objective = None if frozen.run is None else load_objective(frozen.run, frozen.f)
    references = {name: subject(other, images, seed, given) for name, other in (against or {}).items()}
    known = known_spaces([] if frozen.run is None else frozen.run.recipe.known)
    return Subject(frozen, images, alone, len(images), seed, objective, references, known)


def compared_with(frozen: Frozen, against: Sequence[AnyEncoder]) -> dict[str, Frozen]:
    """The references by name: the raw pixels, the same network untrained where it is known, then ``against``."""
    names = {"pixels": PIXELS if frozen.channels == 3 else f"{PIXELS}(channels={frozen.channels})"}
    device = str(device_of(frozen))
    if frozen.architecture is not None:
        names["untrained"] = f"random/{frozen.architecture}"
    found: dict[str, Frozen] = {}
    for name, encoder in names.items():
        if encoder != frozen.name:  # which may be called as a reference is: a run in the folder untrained
            reference = load_encoder(encoder, size=frozen.size, device=device)
            if frozen.channels != 3:  # there is no usual normalisation
                reference.mean, reference.std = frozen.mean, frozen.std
            found[name if name != frozen.name else encoder] = reference
    for given in against:
        other = given if isinstance(given, Frozen) else load_encoder(given, device=device)
        name = other.name
        if (name in found or name == frozen.name) and not isinstance(given, nn.Module):
            name = os.fspath(given)
        if name == frozen.name or name in found:
            raise RequestError(
                f"--against {name!r} has the name of the encoder that is asked about, or of another; write a folder as "
                f"./{name}, or give freeze(network, name='other')"
            )
        found[name] = other
    return found


def analyses(specs: Sequence[str], asked: Subject, told: Callable[[str], None] | None = None) -> dict[str, Analysis]:
    """Spec -> analysis; ``all`` is every one that can be put to the encoder, and ``told`` hears why another cannot.

    Raises :class:`RequestError` for one that was asked for by name and cannot, and where none is left.
    """
    if not specs:
        raise RequestError(f"analysis: none was named; accepted: {ALL}, {', '.join(lookup.names('analysis'))}")
    names = [name for spec in specs for name in (lookup.names("analysis") if spec == ALL else [spec])]
    built: dict[str, Analysis] = {spec: lookup.build("analysis", spec) for spec in dict.fromkeys(names)}
    refused = {spec: analysis.refusal(asked) for spec, analysis in built.items()}
    for spec, reason in refused.items():
        if reason is not None and spec in specs:
            raise RequestError(f"analysis {spec!r}: {reason}")
    if None not in refused.values():
        reasons = "; ".join(f"{spec}: {reason}" for spec, reason in refused.items())
        raise RequestError(f"no analysis can be put to encoder {asked.encoder.name!r}: {reasons}")
    for spec, reason in refused.items():
        if reason is not None and told is not None:
            told(f"{spec} is left out: {reason}")
    return {spec: analysis for spec, analysis in built.items() if refused[spec] is None}


def analyse(
    frozen: Frozen,
    asked: Subject,
    specs: Sequence[str],
    out: Path | None = None,
    told: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """Put the analyses ``specs`` to ``asked`` and its references; each result is written to ``out/<analysis>.json``.

    ``told`` hears, in a line, which analysis is left out and why, and which of which encoder begins. Raises
    :class:`RequestError`, also where ``out`` holds results about something else: one page is about one encoder.
    """
    looked = {
        "encoder": frozen.name,
        "fingerprint": frozen.fingerprint,
        "size": frozen.size,
        "data": asked.images.name,
        "images": len(asked.index),
        "seed": asked.seed,
        "augment": list(asked.alone.specs),
    }
    if out is not None:
        _check_about_the_same(out, looked)
    results, everyone = [], {frozen.name: asked, **asked.references}
    chosen = analyses(specs, asked, told)
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RequestError(f"--out {str(out.parent)!r}: cannot write there ({error.strerror})") from None
    told = told or (lambda line: None)
    if asked.images.skipped:
        count, first = len(asked.images.skipped), asked.images.skipped[0]
        told(f"images that cannot be read and are left out: {count}, such as {first.name}: {first.reason}")
    others = [(s, name) for s, a in chosen.items() for name, one in asked.references.items() if a.refusal(one) is None]
    wanted = {*others, *((spec, frozen.name) for spec in chosen)}  # who was asked about has been asked for refusals
    begun = 0
    for spec, analysis in chosen.items():
        began, numbers = time.perf_counter(), dict[str, list[dict[str, Any]]]()
        for name, one in everyone.items():
            if (spec, name) in wanted:
                begun += 1
                told(f"{begun}/{len(wanted)} {spec}: {name}")
                numbers[name] = [_plain(number, analysis) for number in analysis(one)]
        result = {
            "analysis": spec,
            "title": analysis.title,
            "protocol": analysis.protocol,
            "measures": dict(analysis.measures),
            "axis": analysis.axis,
            **looked,
            "encoders": numbers,
            "pictures": {},
            "recipe": frozen.recipe,
            "environment": environment(),
        }
        if out is not None:
            for place, (shows, png) in enumerate(analysis.pictures(asked).items(), 1):
                write_file(out / f"{slug(spec)}-{place}.png", png)
                result["pictures"][f"{slug(spec)}-{place}.png"] = shows  # type: ignore[index]
        result["seconds"] = round(time.perf_counter() - began, 2)
        if out is not None:
            write_file(out / f"{slug(spec)}.json", _text(result).encode())
        results.append(result)
    return results


def _check_about_the_same(out: Path, looked: Mapping[str, Any]) -> None:
    """The results in ``out``, if any, agree in ``looked``: one page is made of them."""
    for path in sorted(out.glob("*.json")):
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            other = [key for key in looked if held[key] != looked[key]]
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            continue  # no result of ours; the page names it
        if other:
            differs = " and ".join(f"{key} {str(held[key])[:80]!r}" for key in other if key != "fingerprint")
            differs = differs or f"other weights of {looked['encoder']!r}"
            raise RequestError(
                f"{str(path)!r} is a result with {differs}, and one page is about one encoder on the same images: give "
                f"another --out, or remove {str(out)!r}"
            )


def _text(result: Mapping[str, Any]) -> str:
    """A result as JSON, a line for each number."""
    text = json.dumps({**result, "encoders": {}}, indent=1)
    encoders = ",\n".join(
        f"  {json.dumps(name)}: [\n" + ",\n".join(f"   {json.dumps(n)}" for n in numbers) + "\n  ]"
        for name, numbers in result["encoders"].items()
    )
    return text.replace('"encoders": {}', f'"encoders": {{\n{encoders}\n }}', 1) + "\n"


def _plain(number: Number, analysis: Analysis) -> dict[str, Any]:
    """A number as JSON holds it: what is not said, or is not finite, is left out."""
    assert number.measure in analysis.measures, f"{analysis.protocol}: {number.measure!r} is not explained in measures"
    found = {key: value for key, value in asdict(number).items() if value is not None and value != ""}
    return {key: v for key, v in found.items() if not isinstance(v, float) or math.isfinite(v)}
