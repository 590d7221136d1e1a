"""What the site takes from the code, so that it cannot drift: a line ``<!-- made: NAME -->`` of a page becomes a table.

MkDocs calls :func:`on_page_markdown`; the tests call :func:`made`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ROLE = re.compile(r":(?:class|func|meth|mod|attr):<code>~?")
MARK = re.compile(r"^<!-- made: (\w+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its tables."""
    return made(markdown)


def on_page_content(html: str, **_: Any) -> str:
    """The page without the roles of our docstrings: their names are code already."""
    return ROLE.sub("<code>", html)


def made(markdown: str) -> str:
    """The page with each mark replaced by what the code says. Raises KeyError for a mark that nothing makes."""
    return MARK.sub(lambda mark: TABLES[mark[1]](), markdown)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; a bar in a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def spaces() -> str:
    """Each augmentation: its omega in its own words, its space, the difference, the loss, the widths."""
    from augaware import lookup
    from augaware.laws.augmentation import acting, sampled
    from augaware.laws.base import Given

    rows = []
    for name in lookup.names("augment"):
        augmentation = acting(Given("augment", name), 96)
        omega = sampled(augmentation, 2000, 96)[:, : max(1, getattr(augmentation.space, "d", 1))]
        meant = re.split(r"\bomega = ", _module_doc(f"augment.{name}"), maxsplit=1)[-1]
        rows.append(_row(name, augmentation.space, meant, augmentation.identity, omega))
        for measured, space in augmentation.measures.items():
            rows.append(
                _row(
                    measured, space, f"measured by {name} in the pixels: {_measured(augmentation, measured)}", (), None
                )
            )
    return table(
        [
            "omega of",
            "what it is, in which unit",
            "not applied",
            "drawn",
            "space",
            "omega_diff",
            "loss",
            "phi out / told in",
        ],
        rows,
    )


def _row(name: str, space: Any, meant: str, identity: tuple[float, ...], drawn: Any) -> list[str]:
    kind = type(space).__name__
    text = {
        "Interval": (f"Interval({getattr(space, 'd', 1)})", "w1 - w2", "mean of (tanh(p) - w_diff)²"),
        "Binary": ("Binary()", "1 if w1 = w2, else 0", "cross-entropy of a logit"),
        "Cyclic": (f"Cyclic({getattr(space, 'n', 0)})", f"(w1 - w2) mod {getattr(space, 'n', 0)}", "cross-entropy"),
    }
    shown, difference, loss = text[kind]
    names = getattr(space, "names", ())
    meant = " ".join(meant.split()).rstrip(".") + (f" ({', '.join(names)})" if names else "")
    off = ", ".join(f"{number:g}" for number in identity[: getattr(space, "d", 1)]) or "zeros"
    limits = "measured" if drawn is None else f"{float(drawn.min()):.1f} to {float(drawn.max()):.1f}"
    return [f"`{name}`", meant, off, limits, f"`{shown}`", difference, loss, f"{space.outputs} / {space.inputs}"]


def _module_doc(module: str) -> str:
    from importlib import import_module

    return (import_module(f"augaware.{module}").__doc__ or "").split("\n\n")[0]


def _measured(augmentation: Any, name: str) -> str:
    found = re.search(rf"``{name}``(?: \([^)]*\))?: ([^.]*)\.", " ".join((type(augmentation).__doc__ or "").split()))
    return found[1] if found else name


def deviations() -> str:
    """Each sentence of a docstring that sets what a paper says beside what its code or this library does."""
    rows = [[f"`{file}`", text] for file, text in deviating()]
    return table(["file", "paper, authors' code, here"], rows)


def deviating() -> Iterator[tuple[str, str]]:
    """(file, sentence) of the docstrings in src/augaware: those that set paper, code and here beside each other."""
    import ast

    for path in sorted((ROOT / "src" / "augaware").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (doc := ast.get_docstring(node)):
                for sentence in sentences(doc):
                    if deviates(sentence) and not sentence.endswith(":"):
                        yield str(path.relative_to(ROOT / "src" / "augaware")), sentence.replace("``", "`")


def sentences(doc: str) -> list[str]:
    """The sentences of a docstring; an abbreviation or a number does not end one."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in doc.split("\n\n"))
    return [s.strip() for p in paragraphs for s in re.split(r"(?<=[a-z0-9)`\]])\.\s+(?=[A-Z`a-z])", p) if s.strip()]


def deviates(sentence: str) -> bool:
    """Whether it says of at least one other what that does, and of another or of us too."""
    text = sentence.lower()
    others = re.findall(r"\bpapers?\b|\bauthors'?\b|\b(?:augself|cassle|simsiam|moco|swav|vicreg|byol)'s\b", text)
    return bool(others) and bool(re.search(r"\bhere\b|authors'? code|'s code|code's|'s readme", text))


def recipes() -> str:
    """Each recipe with the number to expect and whose it is."""
    from augaware import lookup

    rows = []
    for name in lookup.names("recipes"):
        said = lookup.summary("recipes", name)
        rows.append([f"`{said['spec']}`", said["summary"], said["expected"].replace("``", "`")])
    return table(["recipe", "what it is", "expected"], rows)


def sets() -> str:
    """Each data set with its counts and metric."""
    from augaware import lookup

    rows = []
    for name in lookup.names("data.datasets"):
        known = lookup.load("data.datasets", name)
        counts = ", ".join(f"{split} {count}" for split, count in known.counts.items())
        rows.append([f"`{name}`", known.title, str(known.classes), counts, known.metric])
    return table(["name", "data set", "classes", "images", "metric"], rows)


def listed(room: str) -> Callable[[], str]:
    """The plug-ins of a room: how each is called, and its first line."""

    def make() -> str:
        from augaware import lookup

        rows = [lookup.summary(room, name) for name in lookup.names(room)]
        return table(
            ["written as", "what it is"], [[f"`{row['spec']}`", row["summary"].replace("``", "`")] for row in rows]
        )

    return make


def parts() -> str:
    """The modules of parts and adapters that there are, for mkdocstrings."""
    places = [
        ROOT / "src" / "augaware" / "parts.py",
        *sorted((ROOT / "src" / "augaware" / "adapters").glob("[a-z]*.py")),
    ]
    modules = [".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in places if path.exists()]
    return "\n\n".join(f"::: {module}" for module in modules)


TABLES: dict[str, Callable[[], str]] = {
    "spaces": spaces,
    "deviations": deviations,
    "recipes": recipes,
    "datasets": sets,
    "hosts": listed("hosts"),
    "awareness": listed("awareness"),
    "tasks": listed("tasks"),
    "analyses": listed("analysis"),
    "parts": parts,
}
