"""The 80 image classifiers of torchvision's registry, full width and depth, made of our fixtures.

Each has as many parameters as torchvision publishes, which tells that the structure is theirs.
How to count the groups by hand is said in the docstring of the function that enters a family.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

CLASSES = 1000


@dataclass(frozen=True)
class Registered:
    """How to build a network, its published number of parameters, its groups, its image's side."""

    build: Callable[[], nn.Module]
    parameters: int
    groups: int | None
    side: int = 64

    def example(self) -> torch.Tensor:
        """Two random images."""
        return torch.randn(2, 3, self.side, self.side, generator=torch.Generator().manual_seed(0))


REGISTRY: dict[str, Registered] = {}


def rounded(width: float, step: int) -> int:
    """The nearest multiple, one more where that would lose a tenth."""
    near = max(step, int(width + step / 2) // step * step)
    return near + step if near < 0.9 * width else near


def _load() -> None:
    from . import attention, branching, mobile, plain, residual

    for family in (plain, residual, branching, mobile, attention):
        family.enter()


_load()
