"""The finding of robust curves: a network between two others that is better than both."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ..curve.paths import Curve
from ..data.batches import Batch, Data, global_seed
from ..train.adversarial import Attack
from .along import BATCHNORM_IMAGES, Score, evaluate, prepared, score, statistics_batches
from .batchnorm import reestimate


@dataclass(frozen=True)
class Robustness:
    """Scores of one network, on images as they are and under attack."""

    clean: Score
    robust: Score | None

    def __str__(self) -> str:
        """Both in a line."""
        return "; ".join(
            f"{kind}accuracy {100 * one.accuracy:.2f} %, loss {one.loss:.4f} nats"
            for kind, one in (("", self.clean), ("robust ", self.robust))
            if one is not None
        )


@dataclass(frozen=True, eq=False)
class BestPoint:
    """The most robust network of a curve, at `t`, beside the two that the curve joins.

    `networks` and their `scores` on the test data go by the names `start`, `best` and `end`.
    """

    t: float
    networks: dict[str, nn.Module]
    scores: dict[str, Robustness]

    def __str__(self) -> str:
        """A line for each of the three networks, accuracies in percent, losses in nats."""
        lines = [f"{'':16}  clean %    nats  robust %    nats"]
        for name, one in self.scores.items():
            assert one.robust is not None
            title = f"best, at t {self.t:.3f}" if name == "best" else name
            lines.append(
                f"{title:16}  {100 * one.clean.accuracy:7.2f}  {one.clean.loss:6.4f}"
                f"   {100 * one.robust.accuracy:7.2f}  {one.robust.loss:6.4f}"
            )
        return "\n".join(lines)


def best_point(
    curve: Curve,
    held_out: Data,
    test: Data,
    attack: Attack,
    *,
    test_attack: Attack | None = None,
    restarts: int = 1,
    batchnorm_data: Data | None = None,
    batchnorm_images: int = BATCHNORM_IMAGES,
    points: int = 17,
    progress: Callable[[int, int], None] | None = None,
) -> BestPoint:
    """The most robust network of a curve, compared with the two that it joins.

    Of `points` equally spaced t, the one with the highest accuracy under `attack` on the `held_out`
    data is taken, be it an end; of equals, the one with the lowest loss. It and both ends are then
    scored on the `test` data, which had no say in the choice, under `test_attack` (or the same)
    with `restarts`. Batch norm gets its statistics as in `evaluate`.

    The finding (Section 5, Tatro et al. 2020): that network beats both ends, clean and robust.

    >>> import torch
    >>> from basinbridge.curve.paths import Linear
    >>> data = torch.rand(20, 2), torch.zeros(20, dtype=torch.long)
    >>> line = Linear.between(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> found = best_point(line, data, data, Attack(epsilon=0.1, step=0.05), points=5)
    >>> robust = {name: one.robust.accuracy for name, one in found.scores.items()}
    >>> robust["best"] >= max(robust["start"], robust["end"])
    True
    """
    along = evaluate(
        curve,
        held_out,
        batchnorm_data=batchnorm_data,
        batchnorm_images=batchnorm_images,
        points=points,
        attack=attack,
        progress=progress,
    ).robust
    assert along is not None  # there is an attack
    ranks = zip(along.accuracy, (-loss for loss in along.loss), along.t, strict=True)
    t = max(ranks, key=lambda rank: rank[:2])[2]
    device = curve.points.device
    tests = prepared(test, 500, device)
    statistics = statistics_batches(curve.network, batchnorm_data, batchnorm_images, device)
    places = {"start": 0.0, "best": t, "end": 1.0}
    networks = {name: _settled(curve, place, statistics, attack) for name, place in places.items()}
    scores = {
        name: robustness(network, tests, test_attack or attack, restarts)
        for name, network in networks.items()
    }
    return BestPoint(t, networks, scores)


def _settled(curve: Curve, t: float, statistics: list[Batch], attack: Attack) -> nn.Module:
    """The network at t with batch-norm statistics of its own."""
    network = curve.network_at(t)
    if statistics:
        with global_seed(0, curve.points.device):
            reestimate(network, statistics, attack)
    return network.eval()


def held_out_accuracy(
    data: Data,
    attack: Attack,
    *,
    batchnorm_data: Data | None = None,
    batchnorm_images: int = BATCHNORM_IMAGES,
) -> Callable[[nn.Module], float]:
    """A score for `EarlyStopping`: accuracy in [0, 1] of a network under an attack on `data`.

    With `batchnorm_data` batch norm's statistics are first re-estimated from them, attacked; a
    curve needs that, while a network in training has statistics of its own.
    """

    def accuracy(network: nn.Module) -> float:
        device = next((one.device for one in network.parameters()), torch.device("cpu"))
        statistics = statistics_batches(network, batchnorm_data, batchnorm_images, device)
        with global_seed(0, device):
            if statistics:
                reestimate(network, statistics, attack)
            return score(network, prepared(data, 500, device), attack).accuracy

    return accuracy


def robustness(
    network: nn.Module, batches: list[Batch], attack: Attack | None, restarts: int = 1
) -> Robustness:
    """Clean and, under an attack, robust scores; random starts are the same every time."""
    clean = score(network, batches)
    with global_seed(0, batches[0][0].device):
        robust = None if attack is None else score(network, batches, attack, restarts)
    return Robustness(clean, robust)
