"""Few-shot accuracy and retrieval of encoders on real images; the solver beside scikit-learn's on the same episodes.

    python benchmarks/few_shot.py RUN ... random/pixels --data ../shared/data --sets fc100 cifar_fs medleaf36
    python benchmarks/few_shot.py RUN ... random/pixels --data ../shared/data --sets flowers102 --retrieval

Sets are names in ROOT, or data sets that lie there.
``--peer`` fits scikit-learn's liblinear with its default tolerance, as the papers do, to every episode too, in turns of
a tenth of the episodes: its accuracy, in how many episodes the two accuracies are equal, and episodes per CPU second of
both, one thread, without the encoder. It is called once per episode for all classes, its fastest way, which
scikit-learn 1.9 has as a private function only.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from common import header, middle, row
from torch import Tensor

from augaware.data.base import Source
from augaware.data.root import open_dataset
from augaware.frozen import load_encoder
from augaware.tasks.base import FrozenEncoder
from augaware.tasks.episodes import Episodes, draw
from augaware.tasks.features import extract
from augaware.tasks.few_shot import FewShot, accuracies
from augaware.tasks.retrieval import Retrieval

TURNS = 10


def peers(features: Tensor, episodes: Episodes) -> Tensor:
    """scikit-learn's accuracy of each episode, (E,)."""
    from sklearn.svm._base import _fit_liblinear

    ways, shots, asked = *episodes.support.shape[1:], episodes.queries.shape[2]
    y, truth = np.arange(ways).repeat(shots), np.arange(ways).repeat(asked)
    table, found = features.numpy(), []
    for support, queries in zip(episodes.support.flatten(1).numpy(), episodes.queries.flatten(1).numpy(), strict=True):
        # C, fit_intercept, intercept_scaling, class_weight, penalty, dual, verbose, max_iter, tol: the defaults
        W, b, _ = _fit_liblinear(table[support], y, 1.0, True, 1.0, None, "l2", False, 0, 100, 1e-4)
        found.append(float(((table[queries] @ W.T + b).argmax(1) == truth).mean()))
    return torch.tensor(found, dtype=torch.float64)


def compared(encoder: FrozenEncoder, splits: Mapping[str, Source], task: FewShot) -> list[str]:
    """scikit-learn's accuracy, in how many episodes the accuracies are equal, and episodes per CPU second of both."""
    labels = torch.cat([source.labels for source in splits.values() if source.labels is not None])
    features = torch.cat([extract(encoder, source) for source in splits.values()])
    episodes = draw(labels, task.ways, task.shots, task.queries, task.episodes)
    scores, rates = ([], []), ([], [])
    for places in torch.arange(task.episodes).chunk(TURNS):
        turn = Episodes(episodes.support[places], episodes.queries[places])
        for side, way in enumerate((accuracies, peers)):
            began = time.process_time()
            scores[side].append(way(features, turn))
            rates[side].append(len(places) / (time.process_time() - began))
    ours, theirs = (torch.cat(side) for side in scores)
    half = 1.96 * float((ours - theirs).std()) / task.episodes**0.5
    return [
        f"{100 * float(theirs.mean()):.2f}",
        f"{100 * float((ours - theirs).mean()):+.3f} ± {100 * half:.3f}",
        f"{100 * float((ours == theirs).double().mean()):.1f} %",
        *(f"{statistics.median(rate):.0f}" for rate in rates),
        middle([a / b for a, b in zip(*rates, strict=True)], 1),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("encoders", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--size", type=int)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--retrieval", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    splits = {name: open_dataset(arguments.data, name) for name in arguments.sets}
    frozen = [load_encoder(name, size=arguments.size, device="cpu") for name in arguments.encoders]
    if arguments.retrieval:
        header("set", "encoder", "recall@1", "recall@5", "recall@10", "precision@10", "mAP", "seconds")
    else:
        peer = ("scikit-learn", "ours less its", "equal episodes", "ours per s", "its per s", "ratio")
        header("set", "encoder", "shots", "accuracy", *(peer if arguments.peer else ()))
    for name, source in splits.items():
        for encoder in frozen:
            if arguments.retrieval:
                began, task = time.process_time(), Retrieval(name)
                found = task(encoder, source)
                keys = ("recall@1", "recall@5", "recall@10", "precision@10", "map")
                cells = [f"{100 * found['test'][k]:.1f} ± {100 * found['standard_error'][k]:.1f}" for k in keys]  # type: ignore[index]
                row(name, encoder.name, *cells, f"{time.process_time() - began:.1f}")
                continue
            for shots in (1, 5):
                few = FewShot(name, shots=shots)
                found = few(encoder, source)
                accuracy = f"{100 * found['test']:.2f} ± {100 * found['interval']:.2f}"  # type: ignore[operator]
                row(
                    name,
                    encoder.name,
                    str(shots),
                    accuracy,
                    *(compared(encoder, source, few) if arguments.peer else ()),
                )


if __name__ == "__main__":
    main()
