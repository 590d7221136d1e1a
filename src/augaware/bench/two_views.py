"""How this library and its peers make two views of images in memory: uint8 in, two float32 batches out.

The recipe of SimCLR and MoCo v2: crop (scale .2 to 1, bilinear, antialiased), flip .5, colour jitter (.4, .4, .4, .1)
at .8, gray .2, Gaussian blur at .5 with sigma .1 to 2, normalised. Each peer gets its images in the form that is
cheapest for it and goes its own fastest way; where that is not quite the same job, its ``note`` says so. A peer is
imported in its own class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from augaware.augment.gaussian_blur import GaussianBlur
from augaware.augment.plan import Camera
from augaware.ragged import Ragged
from augaware.recipe import Recipe
from augaware.views import plain_plan

Batches = tuple[Tensor, Tensor]
PROCESSES = "; all threads: worker processes behind a DataLoader"


class TwoViews(ABC):
    """Two views (B, 3, size, size) of the images at ``index`` (B,), drawn anew at each call.

    ``package`` and ``module``: what must be installed. ``alone``: it has one core to itself whatever there are, so
    that all cores are worker processes.
    """

    package: ClassVar[str] = "augaware"
    module: ClassVar[str] = "augaware"
    alone: ClassVar[bool] = False
    note: ClassVar[str] = ""

    @abstractmethod
    def __init__(self, images: Ragged, size: int) -> None: ...

    @abstractmethod
    def __call__(self, index: Tensor) -> Batches:
        """The two batches."""

    def stream(self, index: Tensor, passes: int) -> Iterator[Batches]:
        """The two batches, ``passes`` times."""
        for _ in range(passes):
            yield self(index)


class Ours(TwoViews):
    """This library as a recipe has it, with omega: all that is drawn, which is what most awareness reads."""

    engine: ClassVar[str] = "auto"
    measure: ClassVar[frozenset[str] | None] = frozenset()
    note = "with omega, all that is drawn"

    def __init__(self, images: Ragged, size: int) -> None:
        recipe = Recipe(data="", size=size, engine=self.engine)
        self.images, self.camera, self.epoch = images, Camera(recipe), 0
        self.plan = tuple(replace(view, measure=self.measure) for view in plain_plan(2))

    def __call__(self, index: Tensor) -> Batches:
        """Through :meth:`Camera.take`, as in training."""
        return self._begin(index)()

    def stream(self, index: Tensor, passes: int) -> Iterator[Batches]:
        """With more than one thread the next batch is drawn while they are at work on this one."""
        ahead = torch.get_num_threads() > 1
        begun = deque[Callable[[], Batches]]()
        for _ in range(passes):
            begun.append(self._begin(index))
            if len(begun) > ahead:
                yield begun.popleft()()
        while begun:
            yield begun.popleft()()

    def _begin(self, index: Tensor) -> Callable[[], Batches]:
        self.epoch += 1
        images = self.images[index]
        taken = self.camera.begin(self.plan, images, images.sizes, index, 0, self.epoch)

        def wait() -> Batches:
            one, two = taken()
            return one.image, two.image

        return wait


class Plain(Ours):
    """This library where nothing is compiled."""

    engine = "plain"
    note = "with omega, torch alone"


class Measured(Ours):
    """And what is measured in the pixels: color_diff."""

    measure = None


class Unkept(Ours):
    """The same views without omega: drawn, or there is no view, used and thrown away."""

    def _begin(self, index: Tensor) -> Callable[[], Batches]:
        self.epoch += 1
        images = self.images[index]
        drawn = self.camera.draw(self.plan, images.sizes, index, 0, self.epoch)
        fused = [pipeline.fused for pipeline in self.camera.pipelines]
        one, two = (f.begin(images, images.sizes, omega, ()) for f, omega in zip(fused, drawn, strict=True) if f)
        return lambda: (one()[0], two()[0])


@dataclass(frozen=True)
class Part:
    """A part of our job: what ``more`` does beyond ``less``, on the same draws."""

    note: str
    less: type[Ours]
    more: type[Ours]


class PerImage(TwoViews):
    """A peer that takes one image at a time."""

    alone = True

    def __init__(self, images: Ragged, size: int) -> None:
        self.sources = [self.source(image) for image in images.images()]
        self.view = self.transform(size)

    def source(self, image: Tensor) -> Any:
        """The image (3, h, w) uint8 in the form that the peer takes."""
        return image

    @abstractmethod
    def transform(self, size: int) -> Any:
        """What makes a view of one such image: (3, size, size) float32."""

    def __call__(self, index: Tensor) -> Batches:
        """Image by image."""
        pairs = [(self.view(self.sources[i]), self.view(self.sources[i])) for i in index.tolist()]
        return torch.stack([one for one, _ in pairs]), torch.stack([two for _, two in pairs])


class TorchvisionV2(PerImage):
    """torchvision.transforms.v2 on uint8 tensors."""

    package = module = "torchvision"
    note = f"uint8 tensors{PROCESSES}"

    def transform(self, size: int) -> Any:
        """Its documented way: uint8 to the end, which is when it becomes float."""
        from torchvision.transforms import v2

        recipe = Recipe(data="", size=size)
        return v2.Compose(
            [
                v2.RandomResizedCrop(size, scale=(0.2, 1.0), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
                v2.RandomGrayscale(p=0.2),
                v2.RandomApply([v2.GaussianBlur(GaussianBlur(size).kernel, (0.1, 2.0))], p=0.5),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(recipe.mean, recipe.std),
            ]
        )


class Lightly(PerImage):
    """lightly.transforms.MoCoV2Transform on Pillow images."""

    package = module = "lightly"
    note = f"Pillow images; its blur is Pillow's approximation by boxes{PROCESSES}"

    def source(self, image: Tensor) -> Any:
        """A Pillow image."""
        from torchvision.transforms.v2.functional import to_pil_image

        return to_pil_image(image)

    def transform(self, size: int) -> Any:
        """One view of its two: this very recipe."""
        from lightly.transforms import MoCoV2Transform

        return MoCoV2Transform(input_size=size).transforms[0]


class AlbumentationsX(PerImage):
    """albumentationsx on uint8 arrays. It is AGPL: never a dependency of ours, not even an optional one."""

    package, module = "albumentationsx", "albumentations"
    note = f"uint8 arrays, rounded after each step; its resizing is not antialiased{PROCESSES}"

    def source(self, image: Tensor) -> Any:
        """(h, w, 3), contiguous."""
        return image.permute(1, 2, 0).contiguous().numpy()

    def transform(self, size: int) -> Any:
        """The kernel of its blur as ours; its default is Pillow's approximation by boxes."""
        import albumentations as A
        import cv2

        cv2.setNumThreads(1)  # more are no faster at these sizes; all cores are processes
        recipe, kernel = Recipe(data="", size=size), GaussianBlur(size).kernel
        compose = A.Compose(
            [
                A.RandomResizedCrop(size=(size, size), scale=(0.2, 1.0)),
                A.HorizontalFlip(p=0.5),
                A.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1), p=0.8),
                A.ToGray(p=0.2),
                A.GaussianBlur(blur_range=(kernel, kernel), sigma_range=(0.1, 2.0), p=0.5),
                A.Normalize(recipe.mean, recipe.std),
            ]
        )
        return lambda image: torch.from_numpy(compose(image=image)["image"]).permute(2, 0, 1)


class Kornia(TwoViews):
    """kornia.augmentation on batches, parameters per image."""

    package = module = "kornia"
    alone = True  # its threads wait for each other at every operation
    note = (
        "batches of some 4 MB; its resizing is not antialiased; images of mixed sizes it gets at 10/7 of the view, "
        f"320x320 for 224: not the same job{PROCESSES}"
    )

    def __init__(self, images: Ragged, size: int) -> None:
        import kornia.augmentation as K

        recipe, kernel = Recipe(data="", size=size), GaussianBlur(size).kernel
        self.part_size = max(1, (4 << 20) // (3 * 4 * size**2))
        self.pixels = torch.cat([_square(image, size) for image in images.images()])
        self.view = K.AugmentationSequential(
            K.RandomResizedCrop((size, size), scale=(0.2, 1.0), align_corners=False),
            K.RandomHorizontalFlip(p=0.5),
            K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
            K.RandomGrayscale(p=0.2),
            K.RandomGaussianBlur((kernel, kernel), (0.1, 2.0), p=0.5),
            K.Normalize(recipe.mean, recipe.std),
            same_on_batch=False,
        )

    def __call__(self, index: Tensor) -> Batches:
        """In parts that stay in the cache: up to twice as fast as the whole batch at once. It wants floats."""
        pairs = []
        for part in torch.split(index, self.part_size):
            x = self.pixels[part].float() / 255
            pairs.append((self.view(x), self.view(x)))
        return torch.cat([one for one, _ in pairs]), torch.cat([two for _, two in pairs])


def _square(image: Tensor, size: int) -> Tensor:
    """(1, 3, s, s) uint8: images of one size as they are, those of mixed sizes at 10/7 of the view, 320 for 224."""
    if image.shape[1:] == (size, size):
        return image[None]
    side = round(size * 10 / 7)
    resized = interpolate(image[None].float(), (side, side), mode="bilinear", antialias=True)
    return resized.round().to(torch.uint8)


OURS: Mapping[str, type[TwoViews]] = MappingProxyType({"augaware": Ours, "augaware plain": Plain})
PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "augaware omega": Part("to keep all that is drawn, and hand it over with the views", Unkept, Ours),
        "augaware color_diff": Part("to measure it in the pixels too, where an awareness reads it", Ours, Measured),
    }
)
PEERS: Mapping[str, type[TwoViews]] = MappingProxyType(
    {"torchvision v2": TorchvisionV2, "kornia": Kornia, "albumentationsx": AlbumentationsX, "lightly": Lightly}
)
