"""A folder for the Hugging Face Hub, which transformers loads without any code of ours, and timm too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from augaware.errors import RequestError
from augaware.exports.base import Export, Reader, normalised
from augaware.exports.card import UNKNOWN, card
from augaware.exports.timm_layout import write_folder
from augaware.frozen import Frozen

__all__ = ["HuggingFace"]


class HuggingFace(Export):
    """A folder for transformers' AutoModel and AutoImageProcessor, and for timm, with a model card: as --to timm.

    The weights are yours: ``licence`` is the one you give them, by the Hub's name for it, such as 'apache-2.0' or
    'cc-by-nc-4.0'; left out, the card says that none was chosen.
    """

    library: ClassVar[str] = "transformers"
    packages: ClassVar[tuple[str, ...]] = ("transformers",)

    def __init__(self, licence: str = UNKNOWN) -> None:
        if not isinstance(licence, str) or not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", licence):
            raise RequestError(
                f"export 'hf': licence={licence!r} must be a name as the Hub has it: 'apache-2.0', 'mit', 'cc-by-4.0', "
                "'other'"
            )
        self.licence = licence

    def write(self, frozen: Frozen, place: Path, run: Path | None) -> None:
        """timm's layout, named as transformers' wrapper of it, and README.md."""
        write_folder(frozen, place, {"architectures": ["TimmWrapperModel"], "model_type": "timm_wrapper"})
        said = card(frozen, run, place.name, self.licence, self.usage(Path(place.name)))
        (place / "README.md").write_text(said, encoding="utf-8")

    def read(self, place: Path) -> Reader:
        """``AutoModel``, and the mean and std of ``AutoImageProcessor``."""
        import transformers

        library: Any = transformers  # typed in part
        with _quiet():
            model = library.AutoModel.from_pretrained(place, local_files_only=True).eval()
            config = library.AutoImageProcessor.from_pretrained(place, local_files_only=True).data_config
        return lambda pixels: model(normalised(pixels, config["mean"], config["std"])).pooler_output.flatten(1)

    def usage(self, place: Path) -> str:
        """The network and its processor; ``image`` is one of Pillow's."""
        return (
            "from transformers import AutoImageProcessor, AutoModel\n"
            f"processor = AutoImageProcessor.from_pretrained({str(place)!r})\n"
            f"model = AutoModel.from_pretrained({str(place)!r}).eval()\n"
            "features = model(**processor(image)).pooler_output"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bar and what it says of other backends."""
    from transformers import utils

    logging: Any = utils.logging
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
