"""Optimisers with their parameter groups, and the schedules, which change at every step.

The rate of step k is base_lr * batch_size / 256, warmed up linearly and then brought down as half a cosine. Groups:
weights; one-dimensional parameters (biases and normalisation), which large-batch recipes keep out of weight decay and
of LARS's adaptation, or give a rate of their own; and what the host keeps at a constant rate (SimSiam's predictor).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from augaware.hosts.base import Host, cosine
from augaware.objective import Objective
from augaware.recipe import Recipe


def build_optimizer(objective: Objective, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD, AdamW or LARS over the trained parameters of ``objective``, its rates those of the first step.

    SGD and AdamW are fused: one pass over all parameters where there were several for each of them. Torch does not fuse
    for weights in parts.
    """
    groups, fused = _groups(objective, recipe), recipe.strategy != "fsdp"
    lr, decay = recipe.base_lr, recipe.weight_decay
    if recipe.optimizer == "sgd":
        sgd = torch.optim.SGD(groups, lr, momentum=recipe.momentum, weight_decay=decay, fused=fused)
        if fused and recipe.momentum:
            sgd.register_step_pre_hook(_momentum_from_zero)
        return sgd
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr, weight_decay=decay, fused=fused)
    from timm.optim.lars import Lars  # You, Gitman, Ginsburg 2017, with the trust coefficient 0.001 of the SSL papers

    for group in groups:
        group["always_adapt"] = not group["excluded"]  # else timm's adapts only where there is weight decay
    return Lars(groups, lr, momentum=recipe.momentum, weight_decay=decay)


def _momentum_from_zero(sgd: torch.optim.Optimizer, *_: Any) -> None:
    """The momentum of parameters before their first gradient, which some hosts hold back: fused, torch wants all."""
    for group in sgd.param_groups:
        for p in group["params"]:
            if p.grad is not None and "momentum_buffer" not in sgd.state[p]:
                sgd.state[p]["momentum_buffer"] = torch.zeros_like(p)


def _groups(objective: Objective, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameters by what they share; groups without parameters are left out."""
    hosts = [host for host in objective.hosts if isinstance(host, Host)]
    constant = {id(p) for host in hosts for module in host.constant_rate() for p in module.parameters()}
    found: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for p in objective.parameters():
        if p.requires_grad:
            found.setdefault((p.ndim < 2, id(p) in constant), []).append(p)
    groups: list[dict[str, Any]] = []
    for (flat, fixed), parameters in found.items():
        excluded = flat and recipe.exclude_1d
        groups.append(
            {
                "params": parameters,
                "weight_decay": 0.0 if excluded else recipe.weight_decay,
                "excluded": excluded,
                "factor": recipe.lr_1d if flat else 1.0,
                "constant": fixed,
            }
        )
    return groups


def set_schedules(optimizer: torch.optim.Optimizer, recipe: Recipe, step: int, steps_per_epoch: int) -> None:
    """The learning rate and weight decay of ``step`` in every group."""
    rate, peak = learning_rate(recipe, step, steps_per_epoch), peak_rate(recipe)
    for group in optimizer.param_groups:
        group["lr"] = group["factor"] * (peak if group["constant"] else rate)
        if recipe.weight_decay_end and not group["excluded"]:
            progress = step / (recipe.epochs * steps_per_epoch)
            group["weight_decay"] = cosine(recipe.weight_decay, recipe.weight_decay_end, progress)


def peak_rate(recipe: Recipe) -> float:
    """base_lr * batch_size / 256."""
    return recipe.base_lr * recipe.batch_size / 256


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Linear warm-up from ``warmup_from`` of the peak, then half a cosine to ``final_lr`` of it, at every step."""
    peak = peak_rate(recipe)
    warmup, total = recipe.warmup_epochs * steps_per_epoch, recipe.epochs * steps_per_epoch
    if step < warmup:
        return peak * (recipe.warmup_from + (1 - recipe.warmup_from) * (step + 1) / (warmup + 1))
    return peak * cosine(1.0, recipe.final_lr, (step - warmup) / max(total - warmup, 1))


def trained(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """The parameters that ``optimizer`` moves; to ask the network for its own takes a hundred times as long."""
    return [p for group in optimizer.param_groups for p in group["params"]]
