"""What several commands ask for: options of one name, with one help and one completion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from augaware import lookup

SOURCE = "a folder, tars or a list of images, hf:NAME, torchvision:NAME, shapes"


def names(*rooms: str) -> Callable[[str], list[str]]:
    """What a shell completes: the plug-ins of ``rooms``, by the names of their files; nothing is imported for it."""

    def complete(incomplete: str) -> list[str]:
        return [name for room in rooms for name in lookup.names(room) if name.startswith(incomplete)]

    return complete


def words(*accepted: str) -> Callable[[str], list[str]]:
    """What a shell completes: one of ``accepted``."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in accepted if word.startswith(incomplete)]

    return complete


def printed(found: Any, as_json: bool) -> None:
    """What a function returned: as it shows itself, or as JSON for scripts."""
    from json import dumps

    typer.echo(dumps(found, indent=2) if as_json else found)


Encoder = Annotated[str, typer.Argument(help="a run folder, timm/NAME, random/NAME or a .safetensors file")]
Architecture = Annotated[
    str | None, typer.Option("--encoder", help="of a bare .safetensors file", autocompletion=names("nets"))
]
Size = Annotated[int | None, typer.Option(help="side of the images in pixels")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda", autocompletion=words("auto", "cpu", "cuda"))]
Precision = Annotated[str, typer.Option(help="fp32 or bf16", autocompletion=words("fp32", "bf16"))]
Root = Annotated[Path, typer.Option(help="ROOT, the folder of data sets")]
Json = Annotated[bool, typer.Option("--json", help="for scripts")]
