"""An encoder told what to be invariant to (Chavhan, Gouk, Stuehmer, Heggan, Yaghoobi, Hospedales: Amortised Invariance
Learning for Contrastive Self-Supervision, ICLR 2023).

    y = f(x; theta(i)),   i in [0, 1]^k the invariance code

theta(i) is made of the network's own parameters p, here for any network:

    form      p                                      made
    film      gamma, beta of every BatchNorm2d       gamma (1 + A i),  beta + B i
    linear    W of every convolution but the first   W + sum_k i_k W_k
    hyper     W of every convolution but the first   W + V relu(U E i + u):  paper, ResNet-50
    prompt    a token after cls and patches          t + mean over small MLPs of i:  paper, ViT-B

In "hyper" the paper's MLP of a weight is k-16-hidden-numel without, with and with a bias; its last bias is W itself, so
that it starts at the network's own initial weight. (Paper: E is shared by a block; here: one per convolution, as a
network need not have blocks.) In "prompt" t is the mean of the MLPs' last biases. (Paper and here: the token comes
last; authors' code: first.) film and linear are ours: hyper keeps 33 numbers, or hidden + 1, for each of a convolution.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from augaware.checks import check_widths
from augaware.errors import RequestError
from augaware.nets.base import Encoder, build_encoder

__all__ = ["invariant"]

EMBEDDED = 16  # width of E i
SPREAD = 0.1  # what a code changes at the start, in parts of what is there


def invariant(
    encoder: str = "resnet18", codes: int = 2, form: str = "film", hidden: int = 32, prompts: int = 256
) -> Encoder:
    """Any encoder with parameters that depend on an invariance code of ``codes`` numbers (AI, ICLR 2023).

    ``form`` says which: film, linear, hyper (MLPs of width ``hidden``) or prompt (``prompts`` MLPs; ViTs of timm).
    Raises :class:`RequestError` for a form that the network cannot take.
    """
    check_widths("encoder 'invariant'", codes=codes, hidden=hidden, prompts=prompts)
    if not isinstance(form, str) or form not in FORMS:
        raise RequestError(f"encoder 'invariant': form={form!r} is unknown; accepted: {', '.join(FORMS)}")
    if not isinstance(encoder, str):
        raise RequestError(f"encoder 'invariant': encoder={encoder!r} must be a spec in quotes, such as 'resnet18'")
    f = build_encoder(encoder)
    if f.reads is not None:
        raise RequestError(f"encoder 'invariant': {encoder!r} reads {f.reads!r} already; name a plain encoder")
    needs, places = FORMS[form]
    found = places(f)
    if not found:
        fit = [repr(name) for name, (_, others) in FORMS.items() if others(f)]
        raise RequestError(
            f"encoder 'invariant': form={form!r} needs {needs}, and {encoder!r} has none; "
            + (f"use form={' or '.join(fit)}" if fit else "no form fits this encoder")
        )
    if form == "film":
        return Invariant(_film(f, found, codes), f.dim)
    if form == "prompt":
        return Invariant(_prompt(f, codes, prompts), f.dim)
    return Invariant(_convolutional(f, found, codes, hidden if form == "hyper" else None), f.dim)


class Amortised(nn.Module):
    """A network with parameters p that are functions of a code: p + delta(code), or p (1 + delta(code)) for ``gains``.

    ``deltas``: name in f of a parameter -> a module (k,) -> (numel,). ``code`` (k,) is used where none is given. It
    starts at .5 (paper, downstream) and is not trained along, as a pretraining draws its codes.
    """

    def __init__(self, f: Encoder, deltas: Mapping[str, nn.Module], codes: int, gains: Collection[str] = ()) -> None:
        super().__init__()
        self.f, self.names, self.gains = f, tuple(deltas), frozenset(gains)
        self.deltas = nn.ModuleList(deltas.values())
        self.code = nn.Parameter(torch.full((codes,), 0.5), requires_grad=False)

    def made(self, code: Tensor) -> dict[str, Tensor]:
        """The parameters that ``code`` (k,) makes, by their names in f, each in its own memory format."""
        found = {}
        with torch.autocast(code.device.type, enabled=False):  # in bfloat16, 1 + delta would lose a small delta
            for name, delta in zip(self.names, self.deltas, strict=True):
                p = self.f.get_parameter(name)
                d = delta(code).view(p.shape)
                found[name] = p * (1 + d) if name in self.gains else p + d
        return found

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        """Normalised images (B, 3, H, W) and a code (k,) -> features (B, dim)."""
        y: Tensor = functional_call(self.f, self.made(self.code if code is None else code), (x,))
        return y


class Invariant(Encoder):
    """f(x; i): see the head of this file."""

    reads = "invariance"
    backbone: Amortised

    def __init__(self, backbone: Amortised, dim: int) -> None:
        super().__init__(backbone, dim)
        self.branches = backbone.f.branches

    @property
    def code(self) -> nn.Parameter:
        """The stored code (k,), used where none is given."""
        return self.backbone.code

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        """Normalised images (B, 3, H, W) -> features (B, dim).

        ``code`` (B, k) has equal rows, of which the first is used: one batch has one network. None: the stored code.
        """
        y: Tensor = self.backbone(x, None if code is None else code[0])
        return y

    @torch.no_grad()
    def at(self, code: Sequence[float] | Tensor) -> Encoder:
        """The plain encoder of one code (k,): a copy, without hyper-network, with the same features in eval mode.

        Of a prompted ViT, its token stays as a parameter of ``norm_pre``. Raises :class:`RequestError`.
        """
        given = torch.as_tensor(code, dtype=self.code.dtype, device=self.code.device)
        if given.shape != self.code.shape:
            raise RequestError(f"code={code!r} must be {len(self.code)} numbers, one per invariance")
        plain = copy.deepcopy(self.backbone.f)
        for name, value in self.backbone.made(given).items():
            plain.get_parameter(name).copy_(value)
        return plain


class Prompted(nn.Module):
    """timm's ``norm_pre``, which is the last to see the tokens before the blocks, and one token more behind it."""

    def __init__(self, norm: nn.Module, dim: int) -> None:
        super().__init__()
        self.norm = norm
        self.token = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N + 1, D)."""
        return torch.cat([self.norm(x), self.token.to(x.dtype).expand(len(x), 1, -1)], dim=1)


class Mean(nn.Module):
    """The mean over n MLPs k-D-D with ReLU, but for their last biases; (k,) -> (D,).

    It is one MLP k-nD-D, divided by n: the n last layers side by side.
    """

    def __init__(self, codes: int, dim: int, n: int) -> None:
        super().__init__()
        self.n, self.first = n, nn.Linear(codes, n * dim)
        self.last = _small(nn.Linear(n * dim, dim, bias=False), (3 * dim) ** -0.5)  # PyTorch's spread for width D

    def forward(self, code: Tensor) -> Tensor:
        """(k,) -> (D,)."""
        token: Tensor = self.last(self.first(code).relu()) / self.n
        return token


def _film(f: Encoder, norms: Sequence[str], codes: int) -> Amortised:
    deltas: dict[str, nn.Module] = {}
    for name in norms:
        for end in ("weight", "bias"):
            width = f.get_parameter(f"{name}.{end}").numel()
            deltas[f"{name}.{end}"] = _small(nn.Linear(codes, width, bias=False), SPREAD)
    return Amortised(f, deltas, codes, gains=[f"{name}.weight" for name in norms])


def _convolutional(f: Encoder, convolutions: Sequence[str], codes: int, hidden: int | None) -> Amortised:
    """linear, or hyper where there is a ``hidden`` width."""
    deltas: dict[str, nn.Module] = {}
    for name in convolutions:
        W = f.get_parameter(f"{name}.weight")
        last = nn.Linear(hidden or codes, W.numel(), bias=False)
        _small(last, SPREAD * float(W.detach().square().mean().sqrt()))
        before = [nn.Linear(codes, EMBEDDED, bias=False), nn.Linear(EMBEDDED, hidden), nn.ReLU()] if hidden else []
        deltas[f"{name}.weight"] = nn.Sequential(*before, last)
    return Amortised(f, deltas, codes)


def _prompt(f: Encoder, codes: int, prompts: int) -> Amortised:
    model: Any = f.backbone
    model.norm_pre = Prompted(model.norm_pre, model.embed_dim)
    return Amortised(f, {"backbone.norm_pre.token": Mean(codes, model.embed_dim, prompts)}, codes)


def _small(layer: nn.Linear, std: float) -> nn.Linear:
    """Small, so that f starts near the network's own initialisation; not zero: no code would have a gradient."""
    nn.init.normal_(layer.weight, std=std)
    return layer


def _norms(f: Encoder) -> list[str]:
    return [name for name, m in f.named_modules() if isinstance(m, nn.BatchNorm2d) and m.affine]


def _convolutions(f: Encoder) -> list[str]:
    return [name for name, m in f.named_modules() if isinstance(m, nn.Conv2d)][1:]


def _vit(f: Encoder) -> list[str]:
    from timm.models.vision_transformer import VisionTransformer

    return ["backbone.norm_pre"] if isinstance(f.backbone, VisionTransformer) else []


FORMS: Mapping[str, tuple[str, Callable[[Encoder], list[str]]]] = {  # what it needs, and where f has it
    "film": ("BatchNorm2d layers", _norms),
    "linear": ("convolutions after the first", _convolutions),
    "hyper": ("convolutions after the first", _convolutions),
    "prompt": ("a ViT of timm's", _vit),
}
