"""Specs: data and never code, and one clear line for everything that is wrong with one."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augaware import lookup
from augaware.errors import RequestError, did_you_mean

QUICK = settings(deadline=None, max_examples=30, derandomize=True)


def refusal(call: Any, *arguments: Any) -> str:
    """The one line that ``call`` refuses with."""
    with pytest.raises(RequestError) as refused:
        call(*arguments)
    line = str(refused.value)
    assert "\n" not in line
    assert refused.value.__suppress_context__ or refused.value.__context__ is None  # no second traceback
    return line


# --- parse ---

READ = [
    ("crop", ("crop", (), {})),
    (" crop ( ) ", ("crop", (), {})),
    ("crop(scale=(0.2, 1.0))", ("crop", (), {"scale": (0.2, 1.0)})),
    ("a(1, 'x', [2, None], k={'k': True}, l=-1e-3)", ("a", (1, "x", [2, None]), {"k": {"k": True}, "l": -0.001})),
    ("my_lab.sub.vicreg(dim=64)", ("my_lab.sub.vicreg", (), {"dim": 64})),
    ("a(text='a(b)(c)')", ("a", (), {"text": "a(b)(c)"})),
    ("a(\n  1,\n)", ("a", (1,), {})),
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_a_spec_is_a_name_with_literal_arguments(text: str, expected: tuple) -> None:
    assert lookup.parse(text) == lookup.Spec(*expected)


LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text("a()'\",=\\\n"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=2) | st.tuples(inner),
    max_leaves=6,
)


@QUICK
@given(st.lists(LITERALS, max_size=3), st.dictionaries(st.sampled_from(["p", "size", "x_1"]), LITERALS))
def test_a_written_call_is_read_back(args: list, kwargs: dict) -> None:
    written = ", ".join([*map(repr, args), *(f"{key}={value!r}" for key, value in kwargs.items())])
    assert lookup.parse(f"my.plug_in({written})") == lookup.Spec("my.plug_in", tuple(args), kwargs)


CODE = [
    "crop(__import__('os'))",
    "crop(scale=__import__('os').system('true'))",
    "crop(scale)",
    "crop(scale=print)",
    "crop(lambda: 1)",
    "crop(f'{1}')",
    "crop(*[1, 2])",
    "crop(**{'scale': 1})",
    "crop([x for x in (1, 2)])",
    "crop(x := 1)",
    "crop(1 if True else 2)",
    "crop(2 ** 9)",
    "crop('a' % 1)",
    "crop((1).real)",
    "crop([1][0])",
    "crop(await_me())",
    "crop(1)(2)",
    "crop().x(2)",
    "crop(1) + (2)",
    "crop(1), flip(2)",
    "crop(1); flip(2)",
]
BROKEN = [
    "",
    " ",
    "()",
    "3",
    "crop(",
    "crop)",
    "crop(1",
    "crop(1))",
    "crop[1]",
    "crop 1",
    ".crop",
    "../crop",
    "crop-resize",
    "crop(scale=)",
    "crop(scale=1, scale=2)",
    "crop(scale=1, 2)",
    "crop({[]: 1})",
    "crop(\0)",
    "crop(" + "(" * 500 + ")" * 500 + ")",
    "crop(" + "-" * 5000 + "1)",
    "crop(" + "9" * 5000 + ")",
]


@pytest.mark.parametrize("text", CODE + BROKEN, ids=lambda text: text[:30])
def test_a_spec_is_never_code_and_never_half_read(text: str) -> None:
    line = refusal(lookup.parse, text, "host")
    assert line.startswith(f"host {text!r}")
    assert "such as name(key=1)" in line


# --- names and load ---


@pytest.mark.parametrize("room", sorted(lookup.SINGULAR))
def test_every_plug_in_of_a_room_loads_and_has_a_summary(room: str) -> None:
    names = lookup.names(room)
    assert names == sorted(set(names))
    assert not {"base", "pipeline", "separable", "heads"} & set(names)
    for name in names:
        shown = lookup.summary(room, name)
        assert shown.keys() == {"name", "spec", "summary"} | ({"expected"} if room == "recipes" else set())
        assert shown["name"] == name
        assert 10 < len(shown["summary"]) <= 150
        called = ast.parse(shown["spec"], mode="eval").body  # required arguments stand there by name alone
        assert isinstance(called, ast.Call)
        for keyword in called.keywords:
            ast.literal_eval(keyword.value)


def test_the_rooms_hold_what_their_files_say() -> None:
    assert {"crop", "flip", "color_jitter", "grayscale", "gaussian_blur", "rotate90", "solarize"} <= set(
        lookup.names("augment")
    )
    assert "simclr" in lookup.names("hosts")
    assert {"vanilla", "augself", "cassle"} <= set(lookup.names("awareness"))
    assert lookup.load("augment", "crop").__name__ == "Crop"


def test_a_summary_shows_the_arguments_of_the_spec_and_their_defaults() -> None:
    shown = lookup.summary("augment", "solarize")
    assert shown["spec"] == "solarize(p=0.5, threshold=(0.0, 1.0))"
    assert shown["summary"].startswith("Keep values below a threshold")


def test_a_name_close_to_another_is_answered_with_it() -> None:
    accepted = ", ".join(lookup.names("augment"))
    assert refusal(lookup.load, "augment", "colour_jitter") == (
        f"unknown augmentation 'colour_jitter'; accepted: {accepted}, or a dotted module of yours"
        "; did you mean 'color_jitter'?"
    )


def test_a_name_far_from_all_others_is_answered_with_the_list() -> None:
    line = refusal(lookup.load, "awareness", "zzz")
    assert line.startswith("unknown awareness 'zzz'; accepted: ")
    assert "did you mean" not in line


@pytest.mark.parametrize("helper", ["base", "pipeline", "separable", "__init__"])
def test_a_helper_of_a_room_is_no_plug_in(helper: str) -> None:
    assert refusal(lookup.load, "augment", helper).startswith(f"unknown augmentation '{helper}'")


# --- build ---


def test_the_context_comes_first_then_the_arguments_of_the_spec() -> None:
    crop = lookup.build("augment", "crop((0.1, 0.5), ratio=(1, 1))", 48)
    assert (crop.size, crop.scale, crop.ratio) == (48, (0.1, 0.5), (1, 1))


@pytest.mark.parametrize("room", ["augment", "hosts", "awareness"])
def test_the_context_is_not_an_argument_of_the_spec(room: str) -> None:
    for name in lookup.names(room):
        first = next(iter(inspect.signature(lookup.load(room, name)).parameters))
        assert f"unknown argument {first!r}" in refusal(lookup.build, room, f"{name}({first}=1)", 8)


def test_an_unknown_argument_is_answered_with_the_known_ones() -> None:
    assert refusal(lookup.build, "augment", "crop(scales=(0.1, 1))", 8) == (
        "augmentation 'crop(scales=(0.1, 1))': unknown argument 'scales'; accepted: scale, ratio; did you mean 'scale'?"
    )


@pytest.mark.parametrize("spec", ["flip(0.5, 0.5)", "flip(0.5, p=0.5)", "crop((0.1, 1), (1, 1), 3)"])
def test_too_many_arguments_are_refused(spec: str) -> None:
    line = refusal(lookup.build, "augment", spec, 8)
    assert line.startswith(f"augmentation {spec!r}: ")
    assert "; accepted: " in line


# --- a plug-in of one's own ---

PLUG_IN = '''
__all__ = ["Invert"]

class Invert:
    """Turn every value around."""

    def __init__(self, size, strength=1.0):
        self.size, self.strength = size, strength
'''


def module(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(folder)


def test_a_dotted_spec_builds_a_class_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "augaware_lab").mkdir()
    module(tmp_path / "augaware_lab", "invert", PLUG_IN, monkeypatch)
    monkeypatch.syspath_prepend(tmp_path)
    built = lookup.build("augment", "augaware_lab.invert(strength=0.5)", 8)
    assert (built.size, built.strength) == (8, 0.5)
    assert lookup.summary("augment", "augaware_lab.invert") == {
        "name": "augaware_lab.invert",
        "spec": "augaware_lab.invert(strength=1.0)",
        "summary": "Turn every value around.",
    }
    assert "accepted: strength" in refusal(lookup.build, "augment", "augaware_lab.invert(weak=1)", 8)


@pytest.mark.parametrize("name", ["augaware_no_lab.invert", "json.no_such_part", "json..decoder", "json."])
def test_a_module_that_is_not_there_is_named(name: str) -> None:
    assert refusal(lookup.load, "hosts", name).startswith(f"host {name!r}: cannot import the module ")


def test_a_module_with_several_public_names_or_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "augaware_many").mkdir()
    (tmp_path / "augaware_many" / "two.py").write_text("__all__ = ['a', 'b']\na = b = 1\n")
    (tmp_path / "augaware_many" / "none.py").write_text("a = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    expected = "must name exactly one plug-in in __all__, found "
    assert refusal(lookup.load, "tasks", "augaware_many.two").endswith(expected + "['a', 'b']")
    assert refusal(lookup.load, "tasks", "augaware_many.none").endswith(expected + "[]")


# --- the error itself ---


def test_a_request_error_is_a_value_error() -> None:
    assert issubclass(RequestError, ValueError)


@pytest.mark.parametrize(
    ("word", "expected"), [("casle", "; did you mean 'cassle'?"), ("augsefl", "; did you mean 'augself'?"), ("zzz", "")]
)
def test_only_a_close_word_is_suggested(word: str, expected: str) -> None:
    assert did_you_mean(word, ["augself", "cassle", "vanilla"]) == expected
