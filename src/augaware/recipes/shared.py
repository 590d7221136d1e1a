"""The hosts and the awareness of AugSelf's and CASSLE's shared setting, as their released code builds them.

Common to all (authors' code): batch 256, SGD with momentum .9, lr times batch / 256, a cosine to 0 without warm-up
unless said, weight decay on all parameters, one law for both views. Where that code departs from the published hosts,
so do these specs: MoCo v2 remembers queries and has BN in its projector, SimSiam's last BN has weight and bias, SwAV
has 100 prototypes and twice the loss. Code: the rate and BYOL's m change once an epoch; here: at every step. Code:
SimCLR's negatives and SwAV's assignments are those of one GPU; here: of the whole batch. CASSLE's code: BYOL's
projector has hidden width D; here: 4096 as in AugSelf's.
"""

from __future__ import annotations

from augaware.recipes.base import chosen

STL10_HOSTS = {
    "simclr": "simclr(temperature=0.2)",
    "moco_v2": "moco_v2(queue='query', length=65536, temperature=0.2, momentum=0.999)",
    "byol": "byol(momentum=0.996, momentum_end=1.0, hidden_dim=4096, output_dim=256)",
    "simsiam": "simsiam(proj_layers=2, hidden_dim=2048, pred_hidden_dim=512, affine=True)",
    "swav": "swav(prototypes=100, temperature=0.1, epsilon=0.05, iterations=3, freeze=409, scale=2.0)",
}
IMAGENET100_HOSTS = {
    **STL10_HOSTS,
    "simsiam": "simsiam(proj_layers=3, hidden_dim=2048, pred_hidden_dim=512, affine=True)",
    "barlow_twins": "barlow_twins(lam=0.0051, hidden_dim=8192, output_dim=8192)",
    "supervised": "supervised()",
}
CASSLE = (  # CASSLE's README: all but flip, 13 numbers; gamma 6 x 64
    "cassle(condition=('crop', 'color_jitter', 'color_diff', 'gaussian_blur', 'grayscale'), depth=6, width=64)"
)


def awareness(recipe: str, aware: str, lam: float) -> tuple[str, ...]:
    """The specs of vanilla, augself, cassle or augself+cassle, AugSelf with weight ``lam`` on crop and jitter."""
    augself = f"augself({{'crop': {lam}, 'color_jitter': {lam}}})"
    variants = {"vanilla": (), "augself": (augself,), "cassle": (CASSLE,), "augself+cassle": (augself, CASSLE)}
    return chosen(recipe, "aware", aware, variants)
