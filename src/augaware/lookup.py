"""Plug-ins by name: the file name in its room is the public name, and a spec is a call written as text.

``build("hosts", "simclr(temperature=0.1)", dim)`` imports ``augaware.hosts.simclr``, takes the one name in its
``__all__`` and calls it as ``SimCLR(dim, temperature=0.1)``. A dotted spec, ``"my_lab.vicreg(width=64)"``, does the
same with a module of yours. Arguments are read with :func:`ast.literal_eval` only: a spec can hold data, never code.
To import a module is to run it, so a dotted spec is followed where a user gives it, and one that stands in a file only
where its module is loaded already or the environment variable ``AUGAWARE_PLUGINS`` names its package.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from augaware.errors import RequestError, did_you_mean

SINGULAR = {
    "hosts": "host",
    "awareness": "awareness",
    "augment": "augmentation",
    "nets": "encoder",
    "tasks": "task",
    "data": "data",
    "data.datasets": "data set",
    "recipes": "recipe",
    "analysis": "analysis",
    "bench": "bench",
    "suites": "suite",
    "exports": "export",
    "loggers": "logger",
}
CONTEXT = {
    "hosts": 1,
    "awareness": 1,
    "augment": 1,
    "data.datasets": 1,
}  # leading arguments that the library passes, not the spec
EXPECTED = "Expected:"
TRUSTED = "AUGAWARE_PLUGINS"  # packages, separated by commas
_ALONE = re.compile(r"""^__all__ = [\[(]\s*["']\w+["'],?\s*[\])]""", re.MULTILINE)
_CALL = re.compile(r"\s*(?P<name>[A-Za-z_][\w.]*)\s*(?P<arguments>\(.*\))?\s*", re.DOTALL)


@dataclass(frozen=True)
class Spec:
    """A parsed spec: ``name(*args, **kwargs)`` with literal arguments."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def parse(text: str, kind: str = "spec") -> Spec:
    """Read ``"name"`` or ``"name(1, key='value')"``. Raises :class:`RequestError` for anything else."""
    match = _CALL.fullmatch(text)
    if match is None:
        raise RequestError(f"{kind} {text!r} is not a spec: write a name or a call with literals, such as name(key=1)")
    try:
        call = ast.parse(f"_{match['arguments'] or '()'}", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):  # a(1)(2) is a call of a call
            raise ValueError
        args = tuple(ast.literal_eval(a) for a in call.args)
        keys = [k.arg for k in call.keywords]
        if None in keys or len(set(keys)) < len(keys):
            raise ValueError
        kwargs = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise RequestError(
            f"{kind} {text!r}: the arguments must be literals (numbers, 'text', lists, dicts), each key once, "
            "such as name(key=1)"
        ) from None
    return Spec(match["name"], args, kwargs)


def names(room: str) -> list[str]:
    """The plug-ins of a room, sorted: its modules with a single-entry ``__all__``. None of them is imported."""
    package = importlib.import_module(f"augaware.{room}")
    found = []
    for module in pkgutil.iter_modules(package.__path__):
        hidden = module.name == "base" or module.name.startswith("_") or module.ispkg
        if not hidden and _is_plugin(room, module.name):
            found.append(module.name)
    return sorted(found)


def _is_plugin(room: str, name: str) -> bool:
    """Whether the room's file ``name`` declares exactly one public name, as it is written."""
    module = f"augaware.{room}.{name}"
    spec = importlib.util.find_spec(module)
    text = getattr(spec.loader, "get_source", str)(module) if spec is not None else ""
    return _ALONE.search(text or "") is not None


def has(room: str, name: str) -> bool:
    """Whether the room has plug-in ``name``; of its files only that one is imported."""
    return _is_plugin(room, name)


def load(room: str, name: str) -> Any:
    """The class or function of plug-in ``name``: in the room, or in a module of yours when the name is dotted."""
    kind = SINGULAR[room]
    if "." in name:
        try:
            module: ModuleType = importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise RequestError(f"{kind} {name!r}: cannot import the module {error.name!r}") from None
    else:
        # The named file alone is imported; the room's others only to say what is accepted.
        if not has(room, name):
            accepted = names(room)
            raise RequestError(
                f"unknown {kind} {name!r}; accepted: {', '.join(accepted)}, or a dotted module of yours"
                f"{did_you_mean(name, accepted)}"
            )
        module = importlib.import_module(f"augaware.{room}.{name}")
    public: list[str] = list(getattr(module, "__all__", ()))
    if len(public) != 1:
        raise RequestError(f"{kind} {name!r}: its module must name exactly one plug-in in __all__, found {public}")
    return getattr(module, public[0])


def check_trusted(specs: Iterable[str], where: str) -> None:
    """Raise :class:`RequestError` for specs, read from the file ``where``, that would have a module imported.

    Loaded modules are the user's own doing, those of Python itself excepted, and those that ``TRUSTED`` names are too.
    """
    trusted = {"augaware", *(name.strip() for name in os.environ.get(TRUSTED, "").split(","))}
    for module in sorted({name for spec in specs for name in _dotted(spec)}):
        package = module.partition(".")[0]
        loaded = module in sys.modules and package not in sys.stdlib_module_names
        if package not in trusted and not loaded:
            raise RequestError(
                f"{where!r} names the module {module!r}, which is not augaware's, and to import it is to run it; "
                f"if you trust it, set {TRUSTED}={package} and try again"
            )


def _dotted(value: Any) -> set[str]:
    """The modules that a spec names, in its arguments too."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return {name for part in value for name in _dotted(part)}
    if not isinstance(value, str) or _CALL.fullmatch(value) is None:
        return set()
    try:
        spec = parse(value)
    except RequestError:  # nor will it be built
        return set()
    return ({spec.name} if "." in spec.name else set()) | _dotted(spec.args) | _dotted(spec.kwargs)


def build(room: str, spec: str, *context: Any) -> Any:
    """Call the plug-in that ``spec`` names with ``context`` first, then the spec's own arguments."""
    parsed = parse(spec, SINGULAR[room])
    target = load(room, parsed.name)
    signature = inspect.signature(target)
    accepted = list(signature.parameters)[len(context) :]
    for key in parsed.kwargs:
        if key not in accepted:
            raise RequestError(
                f"{SINGULAR[room]} {spec!r}: unknown argument {key!r}; accepted: {', '.join(accepted) or 'none'}"
                f"{did_you_mean(key, accepted)}"
            )
    try:
        signature.bind(*context, *parsed.args, **parsed.kwargs)
    except TypeError as error:
        raise RequestError(f"{SINGULAR[room]} {spec!r}: {error}; accepted: {', '.join(accepted) or 'none'}") from None
    return target(*context, *parsed.args, **parsed.kwargs)


def summary(room: str, name: str) -> dict[str, str]:
    """Name, signature as a spec with its defaults, and the first line of the docstring: what ``list`` prints.

    A recipe's has ``"expected"`` too: the paragraph of its docstring that begins with "Expected:".
    """
    target = load(room, name)
    parameters = list(inspect.signature(target).parameters.values())[CONTEXT.get(room, 0) :]
    shown = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters]
    doc = inspect.getdoc(target) or ""
    found = {"name": name, "spec": f"{name}({', '.join(shown)})", "summary": doc.split("\n", 1)[0].strip()}
    if room == "recipes":
        paragraphs = (" ".join(paragraph.split()) for paragraph in doc.split("\n\n"))
        expected = (p.removeprefix(EXPECTED).strip() for p in paragraphs if p.startswith(EXPECTED))
        found["expected"] = next(expected, "not stated")
    return found
