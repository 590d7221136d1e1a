"""MoCo v2 as published on ImageNet (He et al., CVPR 2020; Chen, Fan, Girshick, He, 2020)."""

from __future__ import annotations

from augaware.recipe import Recipe
from augaware.recipes.base import IMAGENET, MOCO_LAW

__all__ = ["paper_moco_v2"]


def paper_moco_v2(epochs: int = 200) -> Recipe:
    """MoCo v2's own ImageNet setting: ResNet-50, batch 256, a queue of 65536 keys.

    Code (facebookresearch/moco, --mlp --moco-t 0.2 --aug-plus --cos): batch 256, SGD, momentum .9, lr .03, weight decay
    1e-4 on all parameters, cosine, K 65536, m .999, T .2, projector 2048-2048-128 without BN, the views of MOCO_LAW.
    Code: shuffled BN, statistics of one GPU; here: BN over the whole batch of all processes.

    Expected: linear top-1 on ImageNet 67.5 ± 0.1 at 200 epochs, 71.1 at 800 (authors' README). Not run by us.

    augaware pretrain --recipe "paper_moco_v2(epochs=800)" --data imagenet/train --out runs/moco_v2
    """
    return Recipe(
        data=IMAGENET,
        host="moco_v2(queue='key', length=65536, temperature=0.2, momentum=0.999, bn=False)",
        encoder="resnet50",
        augment=MOCO_LAW,
        size=224,
        epochs=epochs,
        batch_size=256,
        base_lr=0.03,
        weight_decay=1e-4,
    )
