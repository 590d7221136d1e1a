"""Parts for a loop of your own: views that carry their omega, heads that read it, losses. No base class is needed.

    views = Views(size=224)
    v1, v2 = views(images, index, epoch)            # .image (B, 3, 224, 224), .omega name -> (B, columns)
    heads = AugSelf(views.spaces, dim=512)          # loss + heads(v1, v2, y1, y2)
    g = ConditionedProjector(views.spaces, dim=512) # z = g(y, v1.omega)

They are the same pipelines, awareness and hosts that ``augaware.pretrain`` puts together, each by itself, and
:func:`objective` is the whole loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from augaware import lookup
from augaware.augment.plan import Camera
from augaware.awareness import augself, cassle
from augaware.awareness.base import Embedding, Extra, Setting
from augaware.data.given import pixels as pixels_of
from augaware.errors import RequestError
from augaware.hosts.base import Host, HostSetting, Moment
from augaware.nets.base import Encoder, build_encoder, feature_dim
from augaware.nets.heads import mlp
from augaware.objective import Objective, encoder_spec
from augaware.recipe import Recipe
from augaware.spaces import Space
from augaware.views import Omega, Plan, Shown, View, plain_plan

__all__ = ["AugSelf", "ConditionedProjector", "Loss", "Moment", "Viewed", "Views", "ViewsOf", "loss", "objective"]

DEFAULT = Recipe(data="")
_WORDS = 2**63 - 1  # what an image without an index is called: so many names that none comes twice


class Viewed(NamedTuple):
    """One view in the form that torch's ``default_collate`` batches.

    Of one image ``image`` is (3, size, size) and ``omega`` name -> (columns,); collated they are those of a
    :class:`augaware.views.View`, and are taken wherever one is.
    """

    image: Tensor
    omega: dict[str, Tensor]


class Views:
    """The views of a step with their omega, made by the fused engine where it works; arguments as in a recipe.

    ``augment`` and ``views`` are specs; a number stands for so many views of one kind. Every draw is a function of
    (``seed``, epoch, index of the image, number of the view): neither workers nor the order of images matter.

    Where no index is given each image is named by a draw of torch's own random state. So it is in ``transform``, which
    is not told its index: a ``DataLoader`` gives each worker and each epoch a state of its own, and
    ``torch.manual_seed`` governs them, as in torchvision. Views do not repeat, but to draw them again takes their omega
    (:meth:`apply`). :meth:`of` knows the index.
    """

    def __init__(
        self,
        size: int = 224,
        augment: Sequence[str] = DEFAULT.augment,
        views: int | Sequence[str] = 2,
        seed: int = 0,
        mean: Sequence[float] = DEFAULT.mean,
        std: Sequence[float] = DEFAULT.std,
        engine: str = "auto",
    ) -> None:
        for key, value in (("size", size), ("views", views if isinstance(views, int) else 1)):
            if type(value) is not int or value < 1:
                raise RequestError(f"Views: {key}={value!r} must be a whole number, at least 1")
        self.size, self.augment, self.seed, self.mean, self.std, self.engine = size, augment, seed, mean, std, engine
        self.views = (f"view({views})",) if isinstance(views, int) else tuple(views)
        self.camera = Camera(self)
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def __reduce__(self) -> tuple[Any, ...]:
        """For workers that are started anew: the engine holds a lock, and is made again."""
        made = self.size, self.augment, self.views, self.seed, self.mean, self.std, self.engine
        return Views, made, {"_epoch": self._epoch}

    def set_epoch(self, epoch: int) -> None:
        """The epoch that views are drawn for from now on, in workers that live on too; 0 at first.

        To be called before each epoch, as of torch's ``DistributedSampler``, or all epochs see the same views.
        """
        self._epoch.fill_(epoch)

    @property
    def spaces(self) -> Mapping[str, Space]:
        """Name -> space of all that a view's omega holds: what heads are built for."""
        return self.camera.pipelines[0].spaces

    @property
    def count(self) -> int:
        """How many views an image has, for :meth:`Objective.plan <augaware.objective.Objective.plan>`."""
        return len(self.camera.pipelines)

    def __call__(
        self,
        images: Any,
        index: Tensor | Sequence[int] | None = None,
        epoch: int | None = None,
        plan: Plan | None = None,
    ) -> list[View]:
        """One :class:`View` for each view of the batch.

        ``images``: (B, C, H, W), uint8, uint16 or in [0, 1], on any device, or a list of tensors (C, h, w) and Pillow
        images of any sizes. ``index`` (B,): the place of each in its data set; ``epoch``: None is that of
        :meth:`set_epoch`; ``plan``: what :meth:`Objective.plan` planned.
        """
        pixels, sizes = pixels_of(images)
        named = torch.randint(_WORDS, (len(sizes),)) if index is None else torch.as_tensor(index, device="cpu")
        if named.shape != (len(sizes),) or named.is_floating_point():
            raise RequestError(f"Views: index has shape {tuple(named.shape)}; one whole number per image, {len(sizes)}")
        epoch = int(self._epoch) if epoch is None else epoch
        return self.camera.take(plan or plain_plan(self.count), pixels, sizes, named.long(), self.seed, epoch)

    def transform(self, image: Any, index: int | None = None) -> list[Viewed]:
        """The views of one image, a Pillow image or a tensor (C, H, W): for ``dataset.transform``, in any worker."""
        views = self([image], None if index is None else [index])
        return [Viewed(view.image[0], {name: w[0] for name, w in view.omega.items()}) for view in views]

    def of(self, dataset: Any) -> ViewsOf:
        """``dataset`` with the views of each image in its place, drawn for (seed, epoch, index)."""
        return ViewsOf(self, dataset)

    def apply(self, images: Any, omega: Omega, view: int = 0) -> View:
        """The view that a stored ``omega`` made of the images, pixel by pixel the same; ``view`` is its number."""
        if not 0 <= view < self.count:
            raise RequestError(f"Views.apply: view={view} is none of the {self.count} views; they count from 0")
        pixels, sizes = pixels_of(images)
        pipeline = self.camera.pipelines[view]
        drawn = [a.name for a in pipeline.augmentations]
        for name in drawn:
            if name not in omega:
                raise RequestError(f"Views.apply: omega has no {name!r}; it needs: {', '.join(drawn)}")
        return pipeline.apply(pixels, sizes, {name: omega[name].reshape(len(sizes), -1).cpu() for name in drawn})


class ViewsOf(torch.utils.data.Dataset[Any]):
    """A data set of views: ``dataset[i]`` with its image, which is alone or first, as a list of :class:`Viewed`.

    Views of another epoch take ``views.set_epoch``.
    """

    def __init__(self, views: Views, dataset: Any) -> None:
        self.views, self.dataset = views, dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        item = self.dataset[index]
        if isinstance(item, (tuple, list)):
            return (self.views.transform(item[0], index), *item[1:])
        return self.views.transform(item, index)


class AugSelf(nn.Module):
    """AugSelf's heads: predict from the features of two views how differently they were augmented.

    ``spaces`` are those of :class:`Views`, ``dim`` is D, the width of the features; ``weights``: augmentation ->
    lambda, or names for 1 each. The others are those of :class:`augaware.awareness.augself.AugSelf`. Its parameters are
    trained with yours and thrown away afterwards.
    """

    def __init__(
        self,
        spaces: Mapping[str, Space],
        dim: int,
        weights: Mapping[str, float] | Sequence[str] = ("crop", "color_jitter"),
        hidden: int = 512,
        scaled: bool = True,
        mirror: str = "first",
    ) -> None:
        super().__init__()
        self.heads = augself.AugSelf(Setting(dim, spaces), weights, hidden, scaled, mirror)

    def forward(self, view_1: Shown, view_2: Shown, y_1: Tensor, y_2: Tensor) -> Tensor:
        """sum lambda L_aug, a scalar, of two views and their features y = f(v), (B, D) each."""
        return torch.stack([extra.lam * extra.loss for extra in self.losses(view_1, view_2, y_1, y_2).values()]).sum()

    def losses(self, view_1: Shown, view_2: Shown, y_1: Tensor, y_2: Tensor) -> dict[str, Extra]:
        """The same apart: name -> lambda, L_aug, and L_aug of a head that looks at nothing."""
        pair = (view_1, y_1), (view_2, y_2)
        online = {i: Embedding(_beside(view.omega, y), y, y[:, :0]) for i, (view, y) in enumerate(pair)}
        return self.heads.losses(online, {})


class ConditionedProjector(nn.Module):
    """CASSLE's projector z = g([y, gamma(omega)]), in the place of yours; it is thrown away with gamma.

    ``spaces`` and ``dim`` as for :class:`AugSelf`. ``projector``: d_in -> a projector of yours for inputs of that
    width; None is d_in - D - ``proj_output_dim`` with BN. The others are those of
    :class:`augaware.awareness.cassle.Cassle`.
    """

    def __init__(
        self,
        spaces: Mapping[str, Space],
        dim: int,
        projector: Callable[[int], nn.Module] | None = None,
        proj_output_dim: int = 128,
        condition: Sequence[str] | str | None = None,
        depth: int = 6,
        width: int = 64,
        scale: float = 1.0,
        how: str = "concat",
    ) -> None:
        super().__init__()
        method = cassle.Cassle(Setting(dim, spaces), condition, depth, width, scale, how)
        self.projector = method.projector(projector or (lambda d_in: mlp((d_in, dim, proj_output_dim))), dim)

    def forward(self, y: Tensor, omega: Omega) -> Tensor:
        """Features y (B, D) of a view and its omega -> z (B, d)."""
        z: Tensor = self.projector(y, _beside(omega, y))
        return z


class Loss(nn.Module):
    """L_host of embeddings alone; what the host trains beside (SimSiam's predictor) are its parameters."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host

    def forward(self, *z: Tensor) -> Tensor:
        """A scalar, of one z (B, d) per view."""
        return self.host.loss([part.float() for part in z], [])


def loss(host: str) -> Loss:
    """The loss of a host, ``loss("simclr(temperature=0.2)")(z1, z2)``.

    Raises :class:`RequestError` for a host that is more than a loss: with an EMA target, labels or work around a step.
    """
    built: Host = lookup.build("hosts", host, HostSetting(1))
    hooks = ("before_step", "after_backward", "after_step")
    more = built.momentum is not None or built.needs_labels
    if more or any(getattr(type(built), hook) is not getattr(Host, hook) for hook in hooks):
        raise RequestError(f"loss: host {host!r} is more than a loss of embeddings; use objective(f, {host!r}, ...)")
    return Loss(built)


def objective(
    f: nn.Module | str, host: str, aware: Sequence[str] | str, views: Views, classes: int | None = None
) -> Objective:
    """The whole loss L_host + sum lambda L_aware around f, which is a network of yours or an encoder's spec.

    f maps normalised images to features (B, D). A step of a loop of yours, of so many ``steps``::

        now = Moment(step, steps, per_epoch)
        objective.before_step(now)                                   # the host's schedules
        parts = objective(views(images, index, epoch, objective.plan(views.count)))
        optimizer.zero_grad(); parts["loss"].backward()
        objective.after_backward(now)
        optimizer.step()
        objective.after_step(now)                                    # the EMA target moves, a queue is filled

    The trained f is what you gave, or ``objective.online.f``.
    """
    aware = [aware] if isinstance(aware, str) else list(aware)
    spec = f if isinstance(f, str) else DEFAULT.encoder
    made = encoder_spec(spec, aware, views.spaces)
    if isinstance(f, str):
        f = build_encoder(made)
    elif made != spec:
        raise RequestError(f"objective: aware={aware} makes an encoder of its own; give f as a spec, such as {spec!r}")
    encoder = f if isinstance(f, Encoder) else Encoder(f, feature_dim(f, views.size))
    built = Objective.from_specs(encoder, host, aware, views.spaces, classes)
    built.check_views(views.count)
    views.camera.check(built.sketch(views.count), 0)
    return built


def _beside(omega: Omega, y: Tensor) -> dict[str, Tensor]:
    """omega where y is: a DataLoader leaves it on the CPU."""
    return {name: w.to(y.device, non_blocking=True) for name, w in omega.items()}
