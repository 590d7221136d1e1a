"""Every host, narrow enough for a test: the spec to use in place of its plain name."""

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
EMA = "augaware_test_hosts.ema"  # conftest.py writes it
HOSTS = [*lookup.names("hosts"), EMA]


def narrow(name: str) -> str:
    """The narrow spec of a host; a new host's own defaults until it has an entry."""
    return NARROW.get(name, name)
