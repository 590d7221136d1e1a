"""Faster R-CNN on the last but one stage of an encoder (Ren et al., NeurIPS 2015; "C4" in He et al., CVPR 2016).

The encoder without its last stage gives the features (R50: layer3, stride 16, 1024 channels); on them a region proposal
network; each region is cut out of them (RoIAlign) and goes through the encoder's last stage, a BatchNorm (MoCo's
recipe), the average over its places, and two linear layers. Settings are detectron2's for R50-C4, as MoCo and CASSLE
use it: IoU .7 / .3 and 256 anchors per image for the proposals, of which the best 12000 (testing: 6000) are looked at
and 2000 (1000) kept after NMS at .7; regions positive from IoU .5, a quarter of them; scores above .05, NMS at .5, the
best 100. One deviation: smooth L1 with beta 1/9, torchvision's, where detectron2 has L1.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augaware.errors import RequestError
from augaware.nets.base import evaluating
from augaware.tasks.base import FrozenEncoder

Target = dict[str, Tensor]  # boxes (K, 4) in pixels, labels (K,) int64 from 1, and scores (K,) where they are predicted
_PROBE = 128  # px, the side of the image that tells stride and channels


class Detector(nn.Module):
    """The detector of ``classes`` classes on a copy of ``encoder``, everything trainable; new layers drawn by torch.

    ``anchors`` the sides of the anchors in pixels of the resized image, each at aspect 1/2, 1 and 2; ``regions`` how
    many of an image are trained on; ``region_side`` the side that RoIAlign cuts them to; ``proposals`` how many are
    looked at in testing, and twice as many in training. Raises :class:`RequestError` for an encoder that is no chain of
    stages.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        encoder: FrozenEncoder,
        classes: int,
        anchors: Sequence[int],
        regions: int = 512,
        region_side: int = 14,
        proposals: int = 1000,
    ) -> None:
        from torchvision.models.detection.anchor_utils import AnchorGenerator
        from torchvision.models.detection.roi_heads import RoIHeads
        from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

        super().__init__()
        self.trunk, stage = split(encoder)
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (encoder.mean, encoder.std))
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        with evaluating(self.trunk), torch.no_grad():
            channels, side = self.trunk(next(self.trunk.parameters()).new_zeros(1, 3, _PROBE, _PROBE)).shape[1:3]
        self.stride = _PROBE // side
        generator = AnchorGenerator((tuple(anchors),), ((0.5, 1.0, 2.0),))
        self.rpn = RegionProposalNetwork(
            generator,
            RPNHead(channels, generator.num_anchors_per_location()[0]),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n={"training": 12 * proposals, "testing": 6 * proposals},
            post_nms_top_n={"training": 2 * proposals, "testing": proposals},
            nms_thresh=0.7,
        )
        head = nn.Sequential(stage, nn.BatchNorm2d(encoder.dim), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.heads = RoIHeads(
            Regions(region_side, self.stride),
            head,
            predictor(encoder.dim, classes),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=regions,
            positive_fraction=0.25,
            bbox_reg_weights=(10.0, 10.0, 5.0, 5.0),
            score_thresh=0.05,
            nms_thresh=0.5,
            detections_per_img=100,
        )
        self.requires_grad_(True).train()

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> tuple[dict[str, Tensor], list[Target]]:
        """Images (3, h, w) in [0, 1], any sizes: the four losses in training mode, else what was found in each.

        Training draws anchors and regions from torch's generator.
        """
        batch = self.batched(images)
        features = {"0": self.trunk(batch.tensors)}
        regions, losses = self.rpn(batch, features, targets)
        found, more = self.heads(features, regions, batch.image_sizes, targets)
        return {**losses, **more}, found

    def batched(self, images: Sequence[Tensor]) -> Any:
        """torchvision's ``ImageList``: normalised, and zeros right of and below each image, up to whole strides."""
        from torchvision.models.detection.image_list import ImageList

        sizes = [(image.shape[1], image.shape[2]) for image in images]
        height, width = (-(-max(side) // self.stride) * self.stride for side in zip(*sizes, strict=True))
        padded = [
            F.pad((x - self.mean) / self.std, (0, width - w, 0, height - h))
            for x, (h, w) in zip(images, sizes, strict=True)
        ]
        return ImageList(torch.stack(padded), sizes)

    @torch.no_grad()
    def precise_norms(self, batches: Iterator[tuple[Sequence[Tensor], Sequence[Target]]]) -> None:
        """Precise BN: running moments become the mean over ``batches``, while the weights stand still.

        Those of training, moving averages, lag behind the weights (Wu and Johnson, arXiv 2105.07576, section 3).
        """
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_running_stats()
                module.momentum = None  # the plain average of all batches
        self.train()
        for images, targets in batches:
            self(images, targets)


class Regions(nn.Module):
    """RoIAlign, aligned (detectron2's ROIAlignV2): boxes cut out of the features, side x side each."""

    def __init__(self, side: int, stride: int) -> None:
        super().__init__()
        self.side, self.stride = side, stride

    def forward(self, features: Mapping[str, Tensor], boxes: list[Tensor], _: object) -> Tensor:
        """(regions of all images, channels, side, side)."""
        from torchvision.ops import roi_align

        cut: Tensor = roi_align(features["0"], boxes, self.side, 1 / self.stride, sampling_ratio=0, aligned=True)
        return cut


def predictor(dim: int, classes: int) -> nn.Module:
    """Scores and boxes of ``classes`` and the background, initialised as in detectron2."""
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor

    layers = FastRCNNPredictor(dim, classes + 1)
    for layer, std in ((layers.cls_score, 0.01), (layers.bbox_pred, 0.001)):
        nn.init.normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)
    return layers  # type: ignore[no-any-return]


def split(encoder: FrozenEncoder) -> tuple[nn.Sequential, nn.Module]:
    """All stages but the last, and the last, of a copy of ``encoder``.

    An encoder qualifies when its features are the average over the places of stage after stage, which is tried on an
    image: the ResNets of torchvision, timm and ours, and ``tiny``. Raises :class:`RequestError` for another.
    """
    network: nn.Module = copy.deepcopy(encoder)  # type: ignore[assignment]
    device = next(iter(network.parameters()), torch.empty(0)).device
    for module in network.modules():
        stages = _stages(module)
        if stages is None:
            continue
        trunk, last = nn.Sequential(OrderedDict(stages[:-1])), stages[-1][1]
        x = torch.linspace(-1, 1, 3 * encoder.size**2, device=device).view(1, 3, encoder.size, encoder.size)
        with evaluating(network), torch.no_grad():
            if torch.allclose(last(trunk(x)).mean((2, 3)), network(x), rtol=1e-3, atol=1e-4):
                return trunk, last
        break
    raise RequestError(
        f"encoder {encoder.name!r} has no last stage to put on regions: detection needs a ResNet of torchvision, timm "
        "or this library (layer1 to layer4 and an average over places), or tiny"
    )


def _stages(module: nn.Module) -> list[tuple[str, nn.Module]] | None:
    """Name and stage, from the image on, where ``module`` is laid out like a ResNet or like ``tiny``."""
    children = list(module.named_children())
    names = [name for name, _ in children]
    if "layer4" in names:
        return children[: names.index("layer4") + 1]
    pooled = isinstance(module, nn.Sequential) and len(children) > 3 and isinstance(module[-2], nn.AdaptiveAvgPool2d)
    return children[:-2] if pooled else None
