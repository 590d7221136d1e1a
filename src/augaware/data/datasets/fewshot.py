"""Few-shot sets made of CIFAR-100: what both share."""

from __future__ import annotations

from typing import ClassVar

import torch

from augaware.data import root as data_root
from augaware.data.base import Source
from augaware.data.datasets.base import DataSet, plug_in
from augaware.data.layout import located
from augaware.data.loader import keep
from augaware.data.store import Joined, Part
from augaware.errors import RequestError


class FewShot(DataSet):
    """All images of CIFAR-100, of train and test, of the classes ``members``: one split, test.

    Labels are the places in ``members``. CIFAR-100 may lie in ROOT in any form, or in part.
    """

    members: ClassVar[tuple[str, ...]]
    layout = "cifar100, in any form"

    def present(self) -> bool:
        """Whether CIFAR-100 is there."""
        return data_root.there(self.root, "cifar100")

    def splits(self, short_side: int | None, memory: int) -> dict[str, Source]:
        """Test. Raises :class:`RequestError` where CIFAR-100 is missing, or has not all the classes."""
        if not self.present():
            raise self.absent()
        whole = Joined(data_root.open_dataset(self.root, "cifar100", short_side, memory=0), self.name)
        lost = [name for name in self.members if name not in whole.classes]
        if lost or whole.labels is None:
            raise RequestError(
                f"data set {self.name!r}: cifar100 in {self.root} lacks {len(lost)} of {len(self.members)} classes, "
                f"such as {lost[0] if lost else 'all'}; its classes must have their published names"
            )
        number = torch.full((len(whole.classes),), -1)
        number[[whole.classes.index(name) for name in self.members]] = torch.arange(len(self.members))
        chosen = Part(whole, (number[whole.labels] >= 0).nonzero()[:, 0], f"{self.name} test")
        assert chosen.labels is not None
        chosen.labels, chosen.classes = number[chosen.labels], self.members
        return {"test": keep(chosen, short_side, memory)}

    def prepared(self) -> bool:
        """Whether CIFAR-100 was."""
        return bool(located(self.root / "cifar100"))

    def download(self) -> None:
        """Fetch CIFAR-100."""
        cifar100 = plug_in("cifar100")
        assert cifar100 is not None
        cifar100(self.root).download()
