"""What an encoder keeps and what it loses, in plain language: the answer that the analyses add up to, and its page.

An augmentation's parameter that can be read off the frozen features is *kept*: a skill of 1 is read exactly, 0 is no
better than guessing. The same network untrained stands beside it: what falls below that, training threw away.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augaware.errors import RequestError
from augaware.report.analyses import Found, Number, parsed, read, sections
from augaware.report.numbers import shown
from augaware.report.page import Cell, KeyValues, Part, Section, Table, Text, render, save

# Which number of which analysis says how much of an augmentation is kept, and how alike an image and its view are.
SKILL = ("parameter_probe", "difference")
MOVED = ("sensitivity", "moved")
TOLD = ("condition_check", "own_over_another")
COLOURS = ("mutual_information", "information", "colour")
UNTRAINED = "untrained"
FIRST = (SKILL[0], COLOURS[0], MOVED[0], TOLD[0], "neighbours", "retrieval_grid")  # on the page, the others follow
WORDS = {"kept": "keeps {}", "in part": "keeps {} in part", "lost": "has lost {}"}
LOST, PART = 0.1, 0.5  # a skill below the first is nothing to build on, above the second most of it


@dataclass(frozen=True)
class Answer:
    """``sentences`` in plain language, and the table that they are read from, beside the references."""

    sentences: Sequence[str]
    table: Table | None


def answer(results: Sequence[Mapping[str, Any]]) -> Answer:
    """The answer that results of :func:`augaware.analyse.analyse`, all of one encoder, add up to."""
    return answered([parsed(result) for result in results])


def answered(found: Sequence[Found]) -> Answer:
    """:func:`answer` of results as they were read."""
    if not found:
        return Answer((), None)
    name = next(iter(found[0].encoders))
    skill, moved = ({who: _of(n, which[1]) for who, n in _encoders(found, which[0])} for which in (SKILL, MOVED))
    sentences = [*_kept(name, skill), *_forgotten(name, skill), *_colours(name, found), *_told(name, found)]
    return Answer(sentences, _table(name, skill, moved))


def _encoders(found: Sequence[Found], analysis: str) -> list[tuple[str, Sequence[Number]]]:
    """(name, numbers) of all encoders of the first result of ``analysis``; none where there is no such result."""
    return next((list(f.encoders.items()) for f in found if _name(f) == analysis), [])


def _name(found: Found) -> str:
    """The name of the analysis, without its arguments."""
    return found.analysis.partition("(")[0]


def _of(numbers: Sequence[Number], measure: str, stage: str = "y") -> dict[str, Number]:
    """What a number is about -> the number, of one measure at full strength."""
    chosen = (n for n in numbers if (n.measure, n.stage, n.at) == (measure, stage, None))
    return {n.of: n for n in chosen if n.value is not None}


def verdict(skill: float, low: float | None = None, high: float | None = None) -> str:
    """A skill in a word; *unclear* where its interval reaches from nothing at all, or to most of it."""
    if skill < LOST:
        return "unclear" if high is not None and high >= PART else "lost"
    if low is not None and low <= 0:
        return "unclear"
    return "in part" if skill < PART else "kept"


def _verdict(number: Number) -> str:
    return verdict(number.value or 0.0, number.low, number.high)


def _table(
    name: str, skill: Mapping[str, Mapping[str, Number]], moved: Mapping[str, Mapping[str, Number]]
) -> Table | None:
    """A line for each augmentation: what is left of it, in a word and in numbers, beside the references."""
    own, views = skill.get(name, {}), moved.get(name, {})
    names = list(dict.fromkeys([*own, *views]))
    if not names:
        return None
    others = [other for other in skill if other != name]
    columns = ["augmentation", *(["verdict", name, *others] if own else []), *(["moved"] if views else [])]
    rows: list[list[Cell]] = []
    for of in names:
        row: list[Cell] = [of]
        if own:
            row.append(_verdict(own[of]) if of in own else None)
            row += [skill[who][of].cell if of in skill[who] else None for who in (name, *others)]
        if views:
            row.append(views[of].cell if of in views else None)
        rows.append(row)
    skills = (
        "How well the parameter of each augmentation can be read off the frozen features: 1 exactly, 0 no better than "
        f"guessing; below {LOST:g} it is called lost, from {PART:g} on kept, and unclear where its interval begins at "
        f"0 or below or, of what would be lost, reaches {PART:g}."
    )
    moves = (
        "Moved: 0 where the features of an image and of its augmented version are the same, 1 where they are as far "
        "apart as those of two images."
    )
    note = " ".join([*([skills] if own else []), *([moves] if views else [])])
    return Table(f"What {name} keeps", columns, rows, note, decimals=2)


def _kept(name: str, skill: Mapping[str, Mapping[str, Number]]) -> list[str]:
    """What is kept, kept in part, and lost; what cannot be said."""
    if not skill.get(name):
        return [f"Which augmentations {name} keeps was not asked: see the analysis {SKILL[0]}, which takes 100 images."]
    groups: dict[str, list[str]] = {word: [] for word in WORDS}
    unclear: list[str] = []
    for of, n in skill[name].items():
        groups.get(_verdict(n), unclear).append(of)
    said = [WORDS[group].format(_listed(names)) for group, names in groups.items() if names]
    known = [f"{name} {'; it '.join(said)}."] if said else []
    return [*known, *([f"Of {_listed(unclear)} it cannot be said: look at more images."] if unclear else [])]


def _forgotten(name: str, skill: Mapping[str, Mapping[str, Number]]) -> list[str]:
    """What the untrained network tells better than the trained one, beyond both intervals."""
    own, before = skill.get(name, {}), skill.get(UNTRAINED, {})
    worse = [of for of in own if of in before and _below(own[of], before[of])]
    better = [of for of in own if of in before and _below(before[of], own[of])]
    them = "it" if len(worse) == 1 else "them"
    said = [f"Training threw away {_listed(worse)}: the same network untrained tells {them} better."] if worse else []
    return [*said, *([f"Training brought out {_listed(better)}."] if better else [])]


def _below(one: Number, other: Number) -> bool:
    ends = (one.value if one.high is None else one.high), (other.value if other.low is None else other.low)
    return ends[0] is not None and ends[1] is not None and ends[0] < ends[1]


def _colours(name: str, found: Sequence[Found]) -> list[str]:
    """How much the features tell of an image's colours, beside the references."""
    analysis, measure, of = COLOURS
    known = {who: _of(numbers, measure).get(of) for who, numbers in _encoders(found, analysis)}
    told = {who: n for who, n in known.items() if n is not None}
    if name not in told:
        return []
    beside = ", ".join(f"{who} {shown(n.cell, 2)}" for who, n in told.items() if who != name)
    return [
        f"Its features tell at least {shown(told[name].cell, 2)} nats of an image's colours"
        + (f" ({beside})." if beside else ".")
    ]


def _told(name: str, found: Sequence[Found]) -> list[str]:
    """Whether what is told omega uses it."""
    checks = dict(_encoders(found, TOLD[0])).get(name, [])
    differences = [n for n in checks if n.measure == TOLD[1] and n.value is not None]
    uses = list(dict.fromkeys(n.of for n in differences if n.low is not None and n.low > 0 and n.of != "all"))
    if not differences:
        return []
    if not uses:
        return [
            "It does not use the augmentation parameters that it is told: wrong ones are as good as the right ones."
        ]
    return [f"It uses the augmentation parameters that it is told: wrong ones of {_listed(uses)} make it worse."]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def write_page(folder: Path) -> Path:
    """Write ``folder/analysis.html`` from ``folder/analysis/*.json``. Raises :class:`RequestError` without any."""
    found, problems = read(folder)
    if not found:
        raise RequestError(f"{str(folder)!r} holds no result of an analysis; see augaware analyse")
    name, said = next(iter(found[0].encoders)), answered(found)
    short: list[Part] = [Text("\n\n".join(said.sentences)), *([said.table] if said.table else [])]
    found = sorted(found, key=lambda f: (FIRST.index(_name(f)) if _name(f) in FIRST else len(FIRST), f.analysis))
    made = [Section("In short", "short", short), *sections({name: [found]})]
    if problems:
        made.append(Section("What could not be read", "unread", [Table("", ["file", "reason"], problems)]))
    facts: dict[str, Cell] = {"encoder": name, "images": found[0].images, "data": found[0].data}
    made.append(Section("What was looked at", "facts", [KeyValues(facts)]))
    out = folder / "analysis.html"
    lead = "What the frozen features of an encoder still tell of an image, and what they are blind to."
    command = _command(folder) or shlex.join(["augaware", "analyse", name])
    baselines = ("pixels", UNTRAINED)
    save(
        render(f"What does {name} know?", lead, made, command, "Made by augaware from analysis/*.json.", baselines), out
    )
    return out


def _command(folder: Path) -> str:
    """The command that the newest result names."""
    newest = max((folder / "analysis").glob("*.json"), key=lambda path: path.stat().st_mtime)
    try:
        return str(json.loads(newest.read_text(encoding="utf-8"))["environment"]["command"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return ""
