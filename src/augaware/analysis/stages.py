"""Where to look inside a network: a few places from the stem to the last block, found for any network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

FEWEST, MOST = 4, 6  # a network is opened up until it has so many stages; more than six are thinned


def stages(network: nn.Module, images: Tensor) -> dict[str, nn.Module]:
    """Name -> the module whose output is looked at, in the order in which they act; empty where there is none.

    A stage is a part that has weight matrices, with those after it that have none (norms, activations, pooling). It
    counts if it returns a tensor with places (a map, tokens), once in a pass; of its parts the last that does is looked
    at. The network is opened up, its heaviest stage first, while there are fewer than ``FEWEST``: a sequence, or what
    holds a sequence of blocks, but not a block. ``MOST`` are kept, evenly spaced, with the first and the last.
    ``images`` (B, 3, H, W): one pass of them tells. The network is in eval mode.
    """
    modules, seen = dict(network.named_modules()), _returning_places(network, images)
    parts = [""]
    found = _grouped(parts, modules, seen)
    while len(found) < FEWEST:
        inside = [name for name in found or parts if any(_within(other, name) for other in seen)]
        heaviest = max(inside, key=lambda name: _weights(modules[name]), default=None)
        if heaviest is None or (len(found) > 1 and not _is_sequence(modules[heaviest])):
            break
        at = parts.index(heaviest)
        opened = parts[:at] + _called(heaviest, modules, seen) + parts[at + 1 :]
        better = _grouped(opened, modules, seen)
        if opened == parts or len(better) < len(found):
            break
        parts, found = opened, better
    names = list(found)
    if len(names) > MOST:
        names = [names[round(k * (len(names) - 1) / (MOST - 1))] for k in range(MOST)]
    return {label: modules[found[name]] for label, name in zip(_labels(names), names, strict=True)}


@contextmanager
def watching(places: Mapping[str, nn.Module], heard: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Within, ``heard`` is told the name and the output of each of ``places`` as it returns."""

    def hook(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda module, inputs, output: heard(name, output)

    hooks = [module.register_forward_hook(hook(name)) for name, module in places.items()]
    try:
        yield
    finally:
        for placed in hooks:
            placed.remove()


def _returning_places(network: nn.Module, images: Tensor) -> dict[str, bool]:
    """The modules that are called once, in the order in which they return: name -> whether with places."""
    calls, found = Counter[str](), dict[str, bool]()

    def heard(name: str, output: object) -> None:
        calls[name] += 1
        found[name] = isinstance(output, Tensor) and sum(side > 1 for side in output.shape[1:]) > 1

    with watching(dict(network.named_modules()), heard), torch.inference_mode():
        network(images)
    return {name: places for name, places in found.items() if calls[name] == 1}


def _grouped(parts: list[str], modules: Mapping[str, nn.Module], seen: Mapping[str, bool]) -> dict[str, str]:
    """Stages, by their part with weights -> the last of their parts that returns places."""
    order = {name: place for place, name in enumerate(seen)}
    stage, found = None, dict[str, str]()
    for name in sorted(order.keys() & set(parts), key=order.__getitem__):
        stage = name if _weights(modules[name]) else stage
        if stage is not None and seen[name]:
            found[stage] = name
    return found


def _called(name: str, modules: Mapping[str, nn.Module], seen: Mapping[str, bool]) -> list[str]:
    """The children of a module; one that keeps others and is not called itself is looked through."""
    found = []
    for child, module in modules[name].named_children():
        path = f"{name}.{child}" if name else child
        keeps = path not in seen and any(module.children())
        found += _called(path, modules, seen) if keeps else [path]
    return found


def _within(name: str, outer: str) -> bool:
    return name != outer and (not outer or name.startswith(f"{outer}."))


def _weights(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.ndim > 1)


def _is_sequence(module: nn.Module) -> bool:
    """A sequence, or what holds one whose members are blocks, made of modules themselves."""
    kinds = (nn.Sequential, nn.ModuleList)
    held = [list(child) for child in module.children() if isinstance(child, kinds)]
    return isinstance(module, kinds) or any(blocks and all(any(b.children()) for b in blocks) for blocks in held)


def _labels(names: list[str]) -> list[str]:
    """``stem``, then what sets a name apart from the others; ``stage 2`` for a mere number."""
    paths, shared = [name.split(".") for name in names], 0
    while all(len(path) > shared + 1 and path[shared] == paths[0][shared] for path in paths) and paths:
        shared += 1
    rest = [".".join(path[shared:]) for path in paths]
    return [
        "stem" if place == 0 else f"stage {name}" if name.replace(".", "").isdigit() else name
        for place, name in enumerate(rest)
    ]
