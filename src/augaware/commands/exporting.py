"""Commands that write an encoder for other libraries, and one from elsewhere: export, import-official."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from augaware.commands.asked import Architecture, Encoder, Size, names


def export(
    encoder: Encoder,
    to: Annotated[
        str,
        typer.Option(
            metavar="SPEC",
            help="timm, torchvision, hf, onnx, detectron2; see list exports",
            autocompletion=names("exports"),
        ),
    ],
    out: Annotated[Path, typer.Option(help="the new file or folder")],
    architecture: Architecture = None,
    size: Size = None,
) -> None:
    """Write an encoder for another library, and have that library read it back."""
    import augaware

    done = augaware.export(encoder, to=to, out=out, architecture=architecture, size=size)
    typer.echo(f"{done}\n\n{done.usage}")


def import_official(
    file: Annotated[Path, typer.Argument(help="ckpt-N.pth of AugSelf or CASSLE, or of MoCo, solo-learn, lightly")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="the new folder")],
    encoder: Annotated[
        str | None,
        typer.Option(help="its spec, such as resnet50; else read off the shapes", autocompletion=names("nets")),
    ] = None,
) -> None:
    """Make an encoder of a checkpoint of the papers' own code."""
    import augaware

    typer.echo(augaware.import_official(file, out=out, encoder=encoder))
