"""Early stopping: robust accuracy falls again long before the loss stops falling."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InputError


@dataclass(frozen=True)
class EarlyStopping:
    """Keep the weights of the best epoch, and stop when `patience` epochs have brought none better.

    `score(network)` is called after every epoch with a copy in evaluation mode; more is better. Of
    a curve, the network in its middle is scored. Let the score be taken on data that training does
    not see, as `evaluate.robust.held_out_accuracy` takes it.

    Source: Rice, Wong and Kolter, "Overfitting in adversarially robust deep learning" (ICML 2020).
    """

    score: Callable[[nn.Module], float]
    patience: int = 5

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise InputError(f"patience is {self.patience} epochs; give 1 or more")


class Best:
    """The best epoch yet: its weights, its score, and how many epochs have passed since.

    `weights` are what a descent changes; `network()` gives a copy of the network to score.
    """

    def __init__(
        self, stopping: EarlyStopping, weights: Tensor, network: Callable[[], nn.Module]
    ) -> None:
        self.stopping = stopping
        self.weights = weights
        self.network = network
        # As tensors, changed in place, they are part of a checkpoint.
        self.carried = {
            "best": weights.clone(),
            "best score": torch.tensor(-math.inf, dtype=torch.float64),
            "epochs since the best": torch.tensor(0),
        }

    @classmethod
    def of(
        cls, stopping: EarlyStopping | None, weights: Tensor, network: Callable[[], nn.Module]
    ) -> "Best | None":
        """None where there is no early stopping."""
        return None if stopping is None else cls(stopping, weights, network)

    def score(self) -> None:
        """Score the weights as they are, behind an epoch."""
        best, score, since = self.carried.values()
        found = self.stopping.score(self.network().eval())
        if found > score:
            best.copy_(self.weights)
            score.fill_(found)
            since.zero_()
        else:
            since.add_(1)

    def is_over(self) -> bool:
        """Whether patience is at its end."""
        return int(self.carried["epochs since the best"]) >= self.stopping.patience

    def restore(self) -> None:
        """Put the best weights back."""
        self.weights.copy_(self.carried["best"])
