"""How the learning rate falls: functions of the epoch, in fractions, and of how many there are."""

import math
from collections.abc import Callable

Schedule = Callable[[float, int], float]


def cosine(epoch: float, epochs: int) -> float:
    """Share of the peak learning rate: a linear rise over a tenth of the time, then a cosine to 0.

    >>> [round(cosine(epoch, 20), 2) for epoch in (0, 1, 2, 11, 20)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    rise = 0.1 * epochs
    if epoch < rise:
        return epoch / rise
    return 0.5 * (1 + math.cos(math.pi * (epoch - rise) / (epochs - rise)))


def halving(epoch: float, epochs: int) -> float:
    """Share of the first learning rate: half as much every 20 epochs (Section 4 of the paper).

    >>> [halving(epoch, 250) for epoch in (0, 19.9, 20, 45)]
    [1.0, 1.0, 0.5, 0.25]
    """
    return float(0.5 ** (epoch // 20))


def piecewise_linear(epoch: float, epochs: int) -> float:
    """Share of the first learning rate: 1 to half time, 1 % from nine tenths, a line between.

    The schedule of the paper's robust networks (Section 5), after Garipov et al. 2018.

    >>> [round(piecewise_linear(epoch, 200), 4) for epoch in (0, 99, 140, 180, 199)]
    [1.0, 1.0, 0.505, 0.01, 0.01]
    """
    fallen = min(max((epoch / epochs - 0.5) / 0.4, 0.0), 1.0)
    return 1.0 - 0.99 * fallen


def constant(epoch: float, epochs: int) -> float:
    """The first learning rate throughout."""
    return 1.0


SCHEDULES: dict[str, Schedule] = {
    "cosine": cosine,
    "halving": halving,
    "piecewise_linear": piecewise_linear,
    "constant": constant,
}
