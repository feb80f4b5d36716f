"""Ensembles of the networks on a curve: accuracy, likelihood and calibration."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..curve.paths import Curve
from ..data.batches import Augmentation, Batch, Data
from ..errors import InputError
from ..state import bind
from ..train.objective import logits_of
from .along import BATCH_SIZE, BATCHNORM_IMAGES, prepared, statistics_batches
from .batchnorm import reestimate

BINS = 15


@dataclass(frozen=True)
class Quality:
    """Accuracy in [0, 1], negative log-likelihood in nats, expected calibration error in [0, 1]."""

    accuracy: float
    loss: float
    calibration: float


@dataclass(frozen=True)
class Ensemble:
    """The networks at `t`, one by one in `members`, and their mean prediction in `together`."""

    t: tuple[float, ...]
    members: tuple[Quality, ...]
    together: Quality
    batchnorm_images: int

    def __str__(self) -> str:
        """A line for each member and one for the ensemble."""
        lines = ["       t  accuracy    loss  calibration error"]
        names = [f"{t:.3f}" for t in self.t] + ["ensemble"]
        for name, one in zip(names, (*self.members, self.together), strict=True):
            lines.append(
                f"{name:>8}  {100 * one.accuracy:6.2f} %  {one.loss:6.4f}  {one.calibration:17.4f}"
            )
        return "\n".join(lines)


def ensemble(
    curve: Curve,
    data: Data,
    *,
    times: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    batchnorm_data: Data | None = None,
    batchnorm_images: int = BATCHNORM_IMAGES,
    batch_size: int = BATCH_SIZE,
    augmentation: Augmentation | None = None,
    bins: int = BINS,
) -> Ensemble:
    """Average the class probabilities of the networks at `times`, and score all of them.

    Batch-norm statistics are re-estimated at each, as in `evaluate`. Source: Garipov et al. 2018,
    Section 5, for ensembles on a curve.

    >>> from basinbridge.curve.paths import Linear
    >>> line = Linear.between(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> found = ensemble(line, (torch.randn(9, 2), torch.zeros(9, dtype=torch.long)), times=(0, 1))
    >>> found.together.loss <= sum(one.loss for one in found.members) / 2
    True
    """
    if not times:
        raise InputError("an ensemble needs one t or more")
    network = copy.deepcopy(curve.network).eval()
    vector = curve.points[0].clone()
    bind(network, vector)
    tests = prepared(data, batch_size, vector.device)
    labels = torch.cat([labels for _, labels in tests])
    statistics = statistics_batches(
        network, batchnorm_data, batchnorm_images, vector.device, augmentation=augmentation
    )
    members = []
    total: Tensor | None = None
    for t in times:
        vector.copy_(curve.vector_at(t))
        reestimate(network, statistics)
        logs = _log_probabilities(network, tests)
        members.append(quality(logs, labels, bins))
        total = logs if total is None else torch.logaddexp(total, logs)
    assert total is not None
    together = total - torch.tensor(float(len(times)), dtype=total.dtype).log()
    return Ensemble(
        t=tuple(float(t) for t in times),
        members=tuple(members),
        together=quality(together, labels, bins),
        batchnorm_images=sum(len(own) for _, own in statistics),
    )


def quality(log_probabilities: Tensor, labels: Tensor, bins: int = BINS) -> Quality:
    """Score predictions, (n, classes), of log probabilities against labels (n,)."""
    confidence, chosen = log_probabilities.exp().max(dim=1)
    hits = (chosen == labels).double()
    loss = functional.nll_loss(log_probabilities, labels)
    return Quality(float(hits.mean()), float(loss), calibration_error(confidence, hits, bins))


def calibration_error(confidence: Tensor, hits: Tensor, bins: int = BINS) -> float:
    """Mean over samples of |accuracy - mean confidence| of their bin, of equal widths in (0, 1].

    `confidence` (n,) is the probability of the class chosen, `hits` (n,) whether it was right.
    Source: eq. (3) of Guo et al. 2017.

    >>> round(calibration_error(torch.tensor([0.9, 0.9]), torch.tensor([1.0, 0.0])), 6)
    0.4
    """
    places = (confidence.double() * bins).ceil().long().clamp(1, bins) - 1
    gaps = torch.zeros(bins, dtype=torch.float64, device=confidence.device)
    gaps.index_add_(0, places, hits.double() - confidence.double())
    return float(gaps.abs().sum()) / len(confidence)


def _log_probabilities(network: nn.Module, batches: Sequence[Batch]) -> Tensor:
    network.eval()
    with torch.no_grad():
        parts = [logits_of(network(inputs))[0].double() for inputs, _ in batches]
    return functional.log_softmax(torch.cat(parts), dim=1)
