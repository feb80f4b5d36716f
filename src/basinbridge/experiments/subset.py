"""How the permutation depends on the number of images that it is found on."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ..align.match import align
from ..align.methods import Activations, Method
from ..data.images import ImageData
from ..errors import InputError
from ..symmetry.groups import Symmetry
from ..symmetry.permutation import flat_places
from ..train.adversarial import Attack
from .pair import Watch, silent


@dataclass(frozen=True)
class SubsetStudy:
    """Parts of neurons matched as with the most images.

    `equal[i][j]` is the part, in [0, 1], of the neurons of `groups[j]` that `sizes[i]` images match
    with the same neurons as the largest of `sizes`, which is the last.
    """

    sizes: tuple[int, ...]
    groups: tuple[str, ...]
    equal: tuple[tuple[float, ...], ...]

    def __str__(self) -> str:
        """A line for each group, a column for each size."""
        width = max((len(name) for name in self.groups), default=0)
        lines = [" " * width + "".join(f"{size:>9,}" for size in self.sizes)]
        for place, name in enumerate(self.groups):
            cells = "".join(f"{row[place]:>9.3f}" for row in self.equal)
            lines.append(f"{name:<{width}}{cells}")
        whole = [sum(part == 1 for part in row) for row in self.equal]
        cells = "".join(f"{f'{count}/{len(self.groups)}':>9}" for count in whole)
        lines.append(f"{'wholly equal':<{width}}{cells}")
        return "\n".join(lines)


def subset_study(
    net_a: nn.Module,
    net_b: nn.Module,
    data: ImageData,
    symmetry: Symmetry,
    sizes: Sequence[int],
    *,
    seed: int = 0,
    method: Method = "correlation",
    activations: Activations = "post",
    attack: Attack | None = None,
    watch: Watch = silent,
) -> SubsetStudy:
    """Align on the first so many of `data` in a random order, and compare with the most.

    The paper's claim (Section 3.1): for networks trained on CIFAR-100, 2,500, 5,000 and 10,000
    images give the same permutation. Smaller subsets lie within larger ones. `attack` is as for
    `align`. Raises `InputError` for fewer than two sizes, or more images than there are.
    """
    rising = sorted(set(sizes))
    if len(rising) < 2:
        raise InputError("give two sizes or more, to compare permutations")
    found = []
    for done, size in enumerate(rising, start=1):
        images = data.subset(size, seed)
        permutation = align(
            net_a,
            net_b,
            images,
            symmetry,
            method=method,
            activations=activations,
            seed=seed,
            attack=attack,
        )
        found.append(flat_places(symmetry, permutation))
        watch("aligning", done, len(rising))
    groups = tuple(symmetry.groups)
    return SubsetStudy(
        sizes=tuple(rising),
        groups=groups,
        equal=tuple(
            tuple(_part(places[name] == found[-1][name]) for name in groups) for places in found
        ),
    )


def _part(equal: torch.Tensor) -> float:
    return float(equal.double().mean())
