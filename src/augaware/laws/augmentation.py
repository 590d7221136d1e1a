"""Laws of every augmentation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from augaware.augment.base import Augmentation
from augaware.augment.pipeline import Pipeline
from augaware.errors import RequestError
from augaware.laws.base import Given, Law
from augaware.random import Draws
from augaware.spaces import Cyclic

SIZE = 12
CLOSE = 1e-6  # of [0, 1] pixels


def images(n: int, height: int = SIZE, width: int | None = None, channels: int = 3) -> Tensor:
    """Images of [0, 1] with exact zeros and ones, plain gray ones and saturated pixels among them."""
    width = width or height
    x = Draws.of(7, 0, torch.arange(n), 0).uniform(channels * height * width, -0.2, 1.2).clamp(0, 1)
    x = x.reshape(n, channels, height, width)
    x[1::4] = x[1::4, :1]
    return x


def acting(given: Given, size: int = SIZE) -> Augmentation:
    """The augmentation, applied to every image."""
    made: Augmentation = given.build(size, **({"p": 1.0} if given.accepts("p") else {}))
    return made


def sampled(augmentation: Augmentation, n: int, size: int = SIZE) -> Tensor:
    """Its omega for n images."""
    return augmentation.sample(Draws.of(0, 0, torch.arange(n), 0), torch.full((n, 2), size))


def identity(augmentation: Augmentation, n: int) -> Tensor:
    """Its omega of "not applied", n times."""
    return torch.tensor([augmentation.identity]).expand(n, -1).clone()


def _of(augmentation: Augmentation, n: int, size: int = SIZE) -> Tensor:
    return images(n, size, channels=augmentation.channels or 3)


def columns(given: Given) -> str:
    """omega is (B, columns) float32, finite, one column for each number of the identity, and fits its space."""
    augmentation = acting(given)
    omega = sampled(augmentation, 9)
    if omega.shape != (9, len(augmentation.identity)) or omega.dtype != torch.float32:
        return (
            f"{tuple(omega.shape)} {omega.dtype} for 9 images, and an identity of {len(augmentation.identity)} numbers"
        )
    if not omega.isfinite().all():
        return "omega is not finite"
    told = augmentation.space.encode(omega).shape
    if told != (9, augmentation.space.inputs):
        return f"space.encode gives {tuple(told)} for 9 images and {augmentation.space.inputs} inputs"
    d = augmentation.space.scaled(augmentation.space.difference(omega, sampled(augmentation, 18)[9:]))
    reach = 0.0 if isinstance(augmentation.space, Cyclic) else float(d.abs().max())
    return "" if reach <= 1 + CLOSE else f"two omegas differ by {reach:g} times the reach of the space"


def of_the_sample(given: Given) -> str:
    """omega belongs to the image, not to the batch that it is in, nor to torch's global generator."""
    augmentation = acting(given)
    sizes = torch.tensor([[20 + i, 30 - i] for i in range(16)])
    before = torch.random.get_rng_state()
    together = augmentation.sample(Draws.of(0, 3, torch.arange(16), 1), sizes)
    augmentation.apply(_of(augmentation, 16), together)
    if not torch.equal(before, torch.random.get_rng_state()):
        return "it draws from torch's global generator; draw from `draws`"
    some = torch.tensor([11, 2, 7])
    alone = augmentation.sample(Draws.of(0, 3, some, 1), sizes[some])
    return "" if torch.equal(alone, together[some]) else "the same image has another omega in another batch"


def not_applied(given: Given) -> str:
    """With p = 0, omega is the identity; with p = .3, in seven images of ten."""
    if not given.accepts("p"):
        return ""
    for p in (0.0, 0.3, 1.0):
        augmentation: Augmentation = given.build(SIZE, p=p)
        n = 4000
        applied = float((sampled(augmentation, n) != identity(augmentation, n)).any(dim=1).double().mean())
        unmoved = 1 / augmentation.space.n if isinstance(augmentation.space, Cyclic) else 0.0
        expected = p * (1 - unmoved)
        if abs(applied - expected) > 5 * math.sqrt(expected * (1 - expected) / n):
            return f"with p = {p:g} it is applied to {applied:.3f} of the images"
    return ""


def probability(given: Given) -> str:
    """A p that is no probability is refused in one line that names it."""
    if not given.accepts("p"):
        return ""
    for p in (2, -0.1, float("nan"), "half", None):
        try:
            given.build(SIZE, p=p)
        except RequestError as refused:
            if f"{given.name!r}: p={p!r} is not a probability" not in str(refused) or "\n" in str(refused):
                return f"p={p!r} is refused with {str(refused)!r}"
        else:
            return f"p={p!r} is accepted; call check_probability"
    return ""


def unchanged_by_identity(given: Given) -> str:
    """The identity changes nothing, bit for bit."""
    augmentation = acting(given)
    x = _of(augmentation, 6)
    return "" if torch.equal(augmentation.apply(x, identity(augmentation, 6)), x) else "pixels change"


def pictures(given: Given) -> str:
    """A view is a float32 image of the same size with values in [0, 1], at any size."""
    for size in (1, 2, 3, 8, 40):
        augmentation = acting(given, size)
        x = _of(augmentation, 5, size)
        y = augmentation.apply(x, sampled(augmentation, 5, size))
        if y.shape != x.shape or y.dtype != torch.float32:
            return f"{tuple(y.shape)} {y.dtype} of {tuple(x.shape)} float32"
        if y.min() < -CLOSE or y.max() > 1 + CLOSE:
            return f"values from {float(y.min()):.3g} to {float(y.max()):.3g}; clamp them"
    return ""


def changes(given: Given) -> str:
    """Where omega is not the identity something changes, and nowhere else."""
    augmentation = acting(given)
    x, omega = _of(augmentation, 8), sampled(augmentation, 8)
    applied = (omega != identity(augmentation, 8)).any(dim=1)
    changed = (augmentation.apply(x, omega) != x).flatten(1).any(dim=1)
    coloured = torch.arange(8) % 4 != 1  # a gray image may stay as it is
    if torch.equal(changed[coloured], applied[coloured]):
        return ""
    return f"{int(changed.sum())} of 8 images change, omega says {int(applied.sum())}"


def replayed(given: Given) -> str:
    """A stored omega makes the same pixels again, bit for bit."""
    augmentation = acting(given)
    x, omega = _of(augmentation, 6), sampled(augmentation, 6)
    one, other = augmentation.apply(x, omega), augmentation.apply(x, torch.tensor(omega.tolist()))
    return "" if torch.equal(one, other) else f"pixels differ by up to {float((one - other).abs().max()):.3g}"


def pure(given: Given) -> str:
    """Applying it changes neither the images that it is given nor omega."""
    augmentation = acting(given)
    x = _of(augmentation, 6)
    for omega in (sampled(augmentation, 6), torch.cat((identity(augmentation, 3), sampled(augmentation, 3)))):
        before, told = x.clone(), omega.clone()
        augmentation.apply(x, omega)
        if not torch.equal(x, before) or not torch.equal(omega, told):
            return f"{'the images' if torch.equal(omega, told) else 'omega'} changed in place"
    return ""


def one_by_one(given: Given) -> str:
    """A batch is its images one by one, those left alone bit for bit; an empty batch stays empty."""
    augmentation = acting(given)
    x, omega = _of(augmentation, 9), sampled(augmentation, 9)
    off = torch.tensor([0, 3, 4, 6, 8])
    omega[off] = identity(augmentation, 5)
    batched = augmentation.apply(x, omega)
    if not torch.equal(batched[off], x[off]):
        return "an image changes whose omega is the identity"
    alone = torch.cat([augmentation.apply(x[i : i + 1], omega[i : i + 1]) for i in range(9)])
    if not torch.allclose(batched, alone, rtol=0, atol=CLOSE):
        return f"pixels depend on the batch, by up to {float((batched - alone).abs().max()):.3g}"
    none = augmentation.sample(Draws.of(0, 0, torch.arange(0), 0), torch.zeros(0, 2))
    empty = augmentation.apply(x[:0], none)
    return "" if none.shape == omega[:0].shape and empty.shape == x[:0].shape else f"{tuple(empty.shape)} of no image"


def measured(given: Given) -> str:
    """What it measures in the pixels is what it announces, and is 0 for an unchanged view."""
    augmentation = acting(given)
    x = _of(augmentation, 5)
    found = augmentation.measure(x, augmentation.apply(x, sampled(augmentation, 5)))
    unchanged = augmentation.measure(x, x)
    if not found.keys() == unchanged.keys() == augmentation.measures.keys():
        return f"announced {sorted(augmentation.measures)}, measured {sorted(found)}"
    for name, space in augmentation.measures.items():
        if space.encode(found[name]).shape != (5, space.inputs):
            return f"{name!r} does not fit its space"
        if not (found[name] != 0).any() or (unchanged[name] != 0).any():
            return f"{name!r} is 0 for a changed view, or is not for an unchanged one"
    return ""


def in_a_pipeline(given: Given) -> str:
    """Beside the others it is drawn from four integers, recorded under its own name, and replayed bit for bit."""
    augmentation = acting(given)
    channels = augmentation.channels or 3
    others = [given.spec] if given.name == "crop" else ["crop()", given.spec, "flip()"]
    specs = [spec for spec in others if spec == given.spec or given.name not in spec]
    made = Pipeline.from_specs(specs, 10, (0.5,) * channels, (0.25,) * channels)
    pixels, sizes = (images(6, 17, 23, channels) * 255).to(torch.uint8), torch.tensor([[17, 23]]).expand(6, 2)
    view = made.view(pixels, sizes, torch.arange(6), seed=0, epoch=0, number=0)
    if given.name not in view.omega:
        return f"the view's omega holds {', '.join(view.omega)}"
    again = made.apply(pixels, sizes, view.omega)
    return "" if torch.equal(again.image, view.image) else "a replayed view is another"


LAWS: tuple[Law, ...] = (
    columns,
    of_the_sample,
    not_applied,
    probability,
    unchanged_by_identity,
    pictures,
    changes,
    replayed,
    pure,
    one_by_one,
    measured,
    in_a_pipeline,
)
