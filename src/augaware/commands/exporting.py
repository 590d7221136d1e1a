"""Commands that write an encoder for other libraries: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    encoder: Annotated[str, typer.Argument(help="a run folder, timm/NAME, random/NAME or a .safetensors file")],
    to: Annotated[str, typer.Option(help="detectron2: a ResNet for Faster R-CNN R50-C4")],
    out: Annotated[Path, typer.Option(help="the new file")],
    architecture: Annotated[str | None, typer.Option("--encoder", help="of a bare .safetensors file")] = None,
) -> None:
    """Write an encoder's weights for another library."""
    import augaware

    typer.echo(f"wrote {augaware.export(encoder, to=to, out=out, architecture=architecture)}")
