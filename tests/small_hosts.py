"""Every host and awareness, narrow enough for a test: the spec to use in place of its plain name."""

from __future__ import annotations

from augaware import lookup

NARROW = {
    "barlow_twins": "barlow_twins(hidden_dim=32, output_dim=32)",
    "byol": "byol(hidden_dim=32, output_dim=16)",
    "dino": "dino(output_dim=48, hidden_dim=32, bottleneck_dim=16, warmup_epochs=0, freeze_epochs=0)",
    "moco_v2": "moco_v2(queue=48)",
    "moco_v3": "moco_v3(hidden_dim=32, output_dim=16)",
    "simsiam": "simsiam(hidden_dim=32, pred_hidden_dim=16)",
    "supervised": "supervised(classes=4)",
    "swav": "swav(prototypes=12, hidden_dim=32, output_dim=16)",
    "vicreg": "vicreg(hidden_dim=32, output_dim=32)",
}
NARROW_AWARE = {
    "augself": "augself(hidden=32)",
    "care": "care(chunk=4)",
    "cassle": "cassle(depth=2, width=8)",
    "equimod": "equimod(hidden_dim=32, output_dim=16, told_dim=8)",
    "essl": "essl(hidden=16, size=8)",
    "looc": "looc(['color_jitter', 'crop'])",
    "sie": "sie(hidden_dim=32, output_dim=8)",
    "stl": "stl(hidden=32, output=8)",
}
EMA = "augaware_test_hosts.ema"  # conftest.py writes it
HOSTS = [*lookup.names("hosts"), EMA]


def narrow(name: str) -> str:
    """The narrow spec of a host or an awareness; a new one's own defaults until it has an entry."""
    return (NARROW | NARROW_AWARE).get(name, name)
