"""What a representation or a prediction is worth: accuracies, R2, nearest neighbours and collapse detectors.

Pure functions on tensors, each returning a float. Scores are fractions: 1 is perfect, and the papers' tables show them
times 100. ``z`` and ``y`` are (N, d) embeddings, one row per image; a cosine is taken between L2-normalised rows. What
compares all pairs runs in blocks of rows, so memory grows with N and not with N^2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from augaware.errors import RequestError

_BLOCK = 1024


def top1(pred: Tensor, labels: Tensor) -> float:
    """Fraction of ``pred`` (N,) int64 that equals ``labels`` (N,) int64."""
    return float((pred == labels).double().mean())


def class_average(pred: Tensor, labels: Tensor) -> float:
    """Mean over the classes present in ``labels`` (N,) of the per-class accuracy of ``pred`` (N,).

    The papers' metric on Pets, Flowers, Caltech101 and Aircraft (AugSelf's linear evaluation).
    """
    count = torch.bincount(labels)
    hits = torch.bincount(labels[pred == labels], minlength=len(count))
    present = count > 0
    return float((hits[present].double() / count[present]).mean())


def standard_error(accuracy: float, n: int) -> float:
    """Binomial standard error sqrt(a (1 - a) / n) of an ``accuracy`` (a fraction) on ``n`` test images.

    Test sampling alone, not the spread over pretraining seeds. For a class average it is exact only when the classes
    have equal numbers and accuracies.
    """
    return math.sqrt(accuracy * (1 - accuracy) / n)


def r2(prediction: Tensor, target: Tensor) -> float:
    """Coefficient of determination 1 - SSE / SST of ``prediction`` against ``target``, both (N,) or (N, k).

    Computed for each dimension and averaged with equal weights, as in scikit-learn. It is 0 for predicting the
    mean of ``target`` and negative for worse; a dimension that does not vary counts 1 if predicted exactly, else 0.
    """
    target, prediction = target.double(), prediction.double()
    sse = (target - prediction).square().sum(0)
    sst = (target - target.mean(0)).square().sum(0)
    return float(torch.where(sst > 0, 1 - sse / sst.clamp_min(1e-300), (sse == 0).double()).mean())


def knn_accuracy(
    memory: Tensor,
    memory_labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    k: int = 20,
    temperature: float = 0.07,
) -> float:
    """Top-1 accuracy of the k nearest ``memory`` rows (M, d) by cosine, voting on ``queries`` (N, d) with exp(cos / T).

    Wu et al., CVPR 2018, section 3.4. k = 1 is the monitor of AugSelf's and CASSLE's pretraining. Raises
    :class:`RequestError` unless 1 <= k <= M.
    """
    if not 1 <= k <= len(memory):
        raise RequestError(f"k {k} is not in 1..{len(memory)}, the number of images to vote: lower k or add images")
    classes = int(memory_labels.max()) + 1
    bank = F.normalize(memory, dim=1)
    hits = 0.0
    for rows in _blocks(len(queries)):
        cosine, nearest = (F.normalize(queries[rows], dim=1) @ bank.T).topk(k, dim=1)
        votes = torch.zeros(len(cosine), classes, device=cosine.device, dtype=cosine.dtype)
        votes.scatter_add_(1, memory_labels[nearest], ((cosine - 1) / temperature).exp())
        hits += float((votes.argmax(1) == query_labels[rows]).sum())
    return hits / len(queries)


def feature_std(z: Tensor) -> float:
    """Mean over dimensions of the standard deviation of the L2-normalised rows of ``z``.

    About 1 / sqrt(d) when rows spread over the sphere, 0 when all point one way (SimSiam, CVPR 2021, section 4.1).
    """
    return float(F.normalize(z.float(), dim=1).std(dim=0, correction=0).mean())


def effective_rank(z: Tensor) -> float:
    """exp(entropy of the normalised singular values) of ``z`` after centring: how many directions are in use.

    Between 1 and min(N - 1, d) (Roy and Vetterli, EUSIPCO 2007); 0 when all rows are equal.
    """
    return entropy_rank(singular_values(z))


def singular_values(z: Tensor) -> Tensor:
    """Those of ``z`` (N, d) after centring, descending, float64; none when all rows are equal."""
    singular: Tensor = torch.linalg.svdvals((z - z.mean(0)).double())
    # Equal rows leave rounding behind, which is no direction.
    return singular[singular > 1e-6 * float(z.double().norm())]


def entropy_rank(singular: Tensor) -> float:
    """:func:`effective_rank` from the :func:`singular_values`."""
    p = singular / singular.sum()
    return float(torch.exp(-(p * p.log()).sum())) if len(p) else 0.0


def alignment(z1: Tensor, z2: Tensor) -> float:
    """E ||n(z1) - n(z2)||^2 over positive pairs ``z1[i], z2[i]`` (Wang and Isola, ICML 2020): 0 aligned, 2 chance."""
    return float((F.normalize(z1, dim=1) - F.normalize(z2, dim=1)).square().sum(1).mean())


def uniformity(z: Tensor) -> float:
    """log E exp(-2 ||n(z_i) - n(z_j)||^2) over i != j (Wang and Isola, ICML 2020): 0 is collapsed, lower is better."""
    n, total = F.normalize(z.double(), dim=1), 0.0
    for rows in _blocks(len(n)):
        total += float((4 * (n[rows] @ n.T) - 4).exp().sum())  # ||a - b||^2 = 2 - 2 a.b
    return math.log(max(total - len(n), 1e-300) / (len(n) * (len(n) - 1)))


def mean_offdiagonal_cosine(z: Tensor) -> float:
    """Mean cosine between different rows of ``z``: about 0 when spread over the sphere, 1 when all point one way."""
    n = F.normalize(z.double(), dim=1)
    # The sum over all pairs is ||sum of rows||^2; the rows' own squares leave the diagonal out.
    return float((n.sum(0).square().sum() - n.square().sum()) / (len(n) * (len(n) - 1)))


def instance_match(y1: Tensor, y2: Tensor) -> float:
    """Fraction of rows of ``y1`` whose cosine-nearest row of ``y2`` is their own.

    ``y1[i], y2[i]`` are views of one image, so this is what the host itself is trained for. Chance is 1 / N: compare at
    one N.
    """
    bank = F.normalize(y2, dim=1)
    hits = 0
    for rows in _blocks(len(y1)):
        nearest = (F.normalize(y1[rows], dim=1) @ bank.T).argmax(1)
        hits += int((nearest == torch.arange(len(y1), device=y1.device)[rows]).sum())
    return hits / len(y1)


def collapse_warning(z: Tensor) -> str | None:
    """One line saying how the embeddings ``z`` (N, d) have collapsed and what to change, or None when they are healthy.

    Meant for the projector's output after some training: pooled ReLU features all lie in one orthant, so those of an
    untrained encoder have a high mean cosine without any fault.
    """
    if not bool(z.isfinite().all()):
        return "the embeddings hold NaN or infinity: lower the learning rate, clip gradients, or train in fp32"
    std, healthy = feature_std(z), z.shape[1] ** -0.5
    rank, cosine = effective_rank(z), mean_offdiagonal_cosine(z)
    signs = []
    if std < 0.1 * healthy:
        signs.append(f"standard deviation {std:.1e} per dimension (healthy about {healthy:.2g})")
    if rank < 2 < min(z.shape):
        signs.append(f"{rank:.1f} directions in use of {z.shape[1]}")
    if cosine > 0.95:
        signs.append(f"mean cosine {cosine:.3f} between different images (healthy below .95)")
    if not signs:
        return None
    return (
        f"the embeddings have collapsed: {'; '.join(signs)}. Lower the learning rate, warm up longer, keep the "
        "projector's batch normalisation, and check that the host has its stop-gradient or negatives"
    )


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, n, _BLOCK))
