"""Loss and accuracy along a curve, batch norm re-estimated at every point."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..curve.paths import Curve
from ..data.batches import (
    Augmentation,
    Batch,
    Data,
    evaluation_batches,
    global_seed,
    limited,
    training_batches,
)
from ..data.images import ImageData
from ..errors import InputError
from ..stack import Stack
from ..state import Layout, bind
from ..train.adversarial import Attack
from ..train.objective import logits_of
from .batchnorm import normalisation_layers, reestimate

BATCHNORM_IMAGES = 2000
# Activations of 1,000 CIFAR images are larger than the blocks that malloc keeps, and take longer.
BATCH_SIZE = 200


@dataclass(frozen=True)
class Score:
    """Mean cross entropy in nats and accuracy in [0, 1] of one network."""

    loss: float
    accuracy: float


@dataclass(frozen=True)
class CurveReport:
    """Scores along a curve: at each `t` the mean loss in nats and the accuracy in [0, 1].

    `length` is the length of arc up to each t, from 0 to 1: averages are line integrals over it
    (trapezoidal rule). `batchnorm_images` is how many inputs gave each point's statistics.
    `robust` holds the scores of the same networks on attacked inputs, if there was an attack.
    """

    t: tuple[float, ...]
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    length: tuple[float, ...]
    batchnorm_images: int
    robust: "CurveReport | None" = None

    @property
    def average_accuracy(self) -> float:
        """Accuracy averaged over arc length."""
        return _integral(self.accuracy, self.length)

    @property
    def average_loss(self) -> float:
        """Loss averaged over arc length, in nats."""
        return _integral(self.loss, self.length)

    @property
    def minimum_accuracy(self) -> float:
        """Accuracy of the worst network."""
        return min(self.accuracy)

    @property
    def barrier(self) -> float:
        """Largest excess of the loss over the linear interpolation of the ends' losses, in nats."""
        return max(
            loss - (1 - t) * self.loss[0] - t * self.loss[-1]
            for t, loss in zip(self.t, self.loss, strict=True)
        )

    def __str__(self) -> str:
        """The summary, then a line for each t."""
        lines = [
            f"average accuracy {100 * self.average_accuracy:.2f} %, "
            f"minimum {100 * self.minimum_accuracy:.2f} %, "
            f"average loss {self.average_loss:.4f}, barrier {self.barrier:.4f} nats",
            "    t     loss  accuracy",
        ]
        for t, loss, accuracy in zip(self.t, self.loss, self.accuracy, strict=True):
            lines.append(f"{t:.3f}  {loss:7.4f}  {100 * accuracy:6.2f} %")
        if self.robust is not None:
            lines += ["under attack:", str(self.robust)]
        return "\n".join(lines)


def _integral(values: Sequence[float], length: Sequence[float]) -> float:
    """Mean of values over arc length; the plain trapezoidal mean if the curve is a single point."""
    along = np.asarray(length)
    if along[-1] <= along[0]:
        along = np.linspace(0, 1, len(along))
    return float(np.trapezoid(values, along) / (along[-1] - along[0]))


def evaluate(
    curve: Curve,
    data: Data,
    *,
    batchnorm_data: Data | None = None,
    points: int = 61,
    batchnorm_images: int = BATCHNORM_IMAGES,
    batch_size: int = BATCH_SIZE,
    augmentation: Augmentation | None = None,
    attack: Attack | None = None,
    restarts: int = 1,
    together: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> CurveReport:
    """Loss and accuracy of the networks at `points` equally spaced t, the ends included.

    `batchnorm_data` is training data without augmentation: a random `batchnorm_images` of it (the
    first so many where it is an iterable) give the batch-norm statistics of every point, ends
    included. It is needed only for a network with batch norm, and left out keeps the statistics
    that the curve interpolates. Give the `augmentation` of the training too: weights fit the
    statistics that they were trained under, and those of plain images can cost points of accuracy
    (`docs/results.md`). `progress(done, points)` is called after every point.

    With an `attack`, the report has the `robust` scores too, of the worst of `restarts` attacks on
    each input; the statistics of batch norm then come from attacked images, for both kinds of
    scores (Section 5, Tatro et al. 2020). Its random starts are the same at every t and every call.

    So many points as `together` are scored at once, as one batch of networks, which a card may do
    faster (`docs/performance.md`) and which takes memory in proportion; not under attack.

    >>> from basinbridge.curve.paths import Linear
    >>> line = Linear.between(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> report = evaluate(line, (torch.randn(9, 2), torch.zeros(9, dtype=torch.long)), points=5)
    >>> report.t, 0 <= report.minimum_accuracy <= report.average_accuracy <= 1
    ((0.0, 0.25, 0.5, 0.75, 1.0), True)
    """
    if points < 2:
        raise InputError(f"points is {points}; give 2 or more, as both ends are evaluated")
    if together < 1 or (together > 1 and attack is not None):
        raise InputError(f"together is {together}; give 1 or more, and 1 under attack")
    together = min(together, points)
    network = copy.deepcopy(curve.network).eval()
    if together > 1:
        network = Stack([network] * together, shared=True)
    vector = Layout.of(network).flatten(network.state_dict())
    bind(network, vector)
    tests = prepared(data, batch_size, vector.device)
    statistics = statistics_batches(
        network, batchnorm_data, batchnorm_images, vector.device, augmentation=augmentation
    )
    times = [place / (points - 1) for place in range(points)]
    scores: list[Score] = []
    robust: list[Score] = []
    for done in range(0, points, together):
        here = times[done : done + together]
        vectors = [curve.vector_at(t) for t in here]
        vectors += vectors[-1:] * (together - len(here))
        vector.copy_(network.joined(vectors) if isinstance(network, Stack) else vectors[0])
        with global_seed(0, vector.device):
            if statistics:
                reestimate(network, statistics, attack)
            scores += _scores(network, tests, together)[: len(here)]
            if attack is not None:
                robust += _scores(network, tests, together, attack, restarts)
        if progress is not None:
            progress(len(scores), points)
    length = _arc_length(curve, times)
    images = sum(len(labels) for _, labels in statistics)
    attacked = _report(times, robust, length, images) if robust else None
    return _report(times, scores, length, images, attacked)


def _report(
    times: Sequence[float],
    scores: Sequence[Score],
    length: tuple[float, ...],
    batchnorm_images: int,
    robust: CurveReport | None = None,
) -> CurveReport:
    return CurveReport(
        t=tuple(times),
        loss=tuple(one.loss for one in scores),
        accuracy=tuple(one.accuracy for one in scores),
        length=length,
        batchnorm_images=batchnorm_images,
        robust=robust,
    )


def prepared(data: Data, batch_size: int, device: torch.device) -> list[Batch]:
    """All batches at once, images in the memory order in which convolutions run fastest."""
    return [
        (_channels_last(inputs), labels)
        for inputs, labels in evaluation_batches(data, batch_size, device=device)
    ]


def _channels_last(inputs: Tensor) -> Tensor:
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.ndim == 4 else inputs


def statistics_batches(
    network: nn.Module,
    data: Data | None,
    images: int,
    device: torch.device,
    *,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    augmentation: Augmentation | None = None,
) -> list[Batch]:
    """Equal batches for batch-norm statistics: a random choice of images, or an iterable's first.

    Batches are of `batch_size` or a little less, so that few images or none are left over. Empty if
    there are no data or the network has no batch norm. With an `augmentation` each image is
    augmented once, as `seed` says.
    """
    if images < 1:
        raise InputError(f"batch norm's statistics need images: give 1 or more, not {images}")
    if data is None or not normalisation_layers(network):
        return []
    if isinstance(data, ImageData):
        images = min(images, len(data))
        data = data.subset(images, seed)
    elif isinstance(data, tuple) and isinstance(data[0], Tensor) and isinstance(data[1], Tensor):
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(data[1]), generator=generator)[:images]
        images = max(1, len(chosen))
        data = (data[0][chosen.to(data[0].device)], data[1][chosen.to(data[1].device)])
    batch_size = images // math.ceil(images / batch_size)
    if augmentation is None:
        drawn = evaluation_batches(data, batch_size, device=device, limit=images)
    else:
        chance = torch.Generator().manual_seed(seed)
        augmented = training_batches(
            data, batch_size, generator=chance, device=device, augmentation=augmentation
        )
        drawn = limited(augmented, images)
    batches = [(_channels_last(inputs), labels) for inputs, labels in drawn]
    return [batch for batch in batches if len(batch[1]) == len(batches[0][1])]


def score(
    network: nn.Module,
    batches: Sequence[Batch],
    attack: Attack | None = None,
    restarts: int = 1,
) -> Score:
    """Loss and accuracy of one network as it is, in evaluation mode.

    With an `attack`, of the worst of `restarts` runs on each input: the largest loss, and right
    only where every run left the answer right.
    """
    return _scores(network, batches, 1, attack, restarts)[0]


def _scores(
    network: nn.Module,
    batches: Sequence[Batch],
    count: int,
    attack: Attack | None = None,
    restarts: int = 1,
) -> list[Score]:
    """The same of each of the `count` networks of a `Stack` with shared inputs."""
    if restarts < 1:
        raise InputError(f"restarts is {restarts}; give 1 or more")
    network.eval()
    losses: list[Tensor] = []
    correct: list[Tensor] = []
    seen = 0
    with torch.no_grad():
        for inputs, labels in batches:
            seen += labels.numel()
            labels = labels.repeat(count, *[1] * (labels.ndim - 1))
            worst = torch.full_like(labels, -math.inf, dtype=torch.float64)
            right = torch.ones_like(labels, dtype=torch.bool)
            for _ in range(1 if attack is None else restarts):
                shown = inputs if attack is None else attack(network, inputs, labels)
                logits = logits_of(network(shown))[0]
                loss = functional.cross_entropy(logits, labels, reduction="none")
                worst = torch.maximum(worst, loss.double())
                right &= logits.argmax(-1) == labels
            losses.append(worst.view(count, -1).sum(1))
            correct.append(right.view(count, -1).sum(1))
    totals = torch.stack(losses).sum(0).tolist(), torch.stack(correct).sum(0).tolist()
    return [Score(loss / seen, right / seen) for loss, right in zip(*totals, strict=True)]


def _arc_length(curve: Curve, times: Sequence[float]) -> tuple[float, ...]:
    """Length of the curve up to each t, as a share of the whole."""
    lengths = curve.arc_length(times)
    return tuple(length / lengths[-1] for length in lengths) if lengths[-1] > 0 else tuple(lengths)
