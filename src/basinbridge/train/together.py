"""Training several networks of one architecture at once, as one batch of networks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Unpack

import torch
from torch import nn

from ..data.batches import (
    Augmentation,
    Batch,
    Data,
    count_batches,
    training_batches,
    whole_tensors,
)
from ..errors import InputError
from ..stack import Stack
from .checkpoint import data_digest
from .loop import Recipe, Settings, train_in_place


def train_together(
    networks: Sequence[nn.Module],
    data: Data,
    *,
    seeds: Sequence[int] | None = None,
    **settings: Unpack[Settings],
) -> list[nn.Module]:
    """Trained copies of networks: what `train` makes of each, but for rounding.

    `settings` are the fields of a `Recipe`. Network i sees the batches, augmented in the same way,
    that `train` would give it with seed `seeds[i]`, the recipe's seed plus i unless given;
    `batch_size` is that of each. `data` are whole tensors. The objective must be a mean over the
    batch; `progress` hears the mean loss of all networks. Dropout draws otherwise than for one
    network alone. There is no early stopping, and no `ranks`.

    Worth its while on a card, which one small network leaves idle, not on a processor: see
    `docs/performance.md`.

    >>> nets = [nn.Linear(2, 2) for _ in range(3)]
    >>> inputs = torch.randn(64, 2)
    >>> data = inputs, (inputs[:, 0] > 0).long()
    >>> len(train_together(nets, data, epochs=2, batch_size=8))
    3
    """
    recipe = Recipe(**settings)
    stack = Stack(networks).train()
    device = next(stack.parameters()).device
    dealt = Dealt.of(data, stack.count, recipe, seeds, device)
    # The images are augmented where they are dealt.
    train_in_place(stack, dealt, replace(recipe, augmentation=None), dealt.fixed(), stack.count)
    return stack.networks()


@dataclass(frozen=True)
class Dealt:
    """Whole data in several orders at once: batches for a `Stack`, a part for each network."""

    data: Data
    batch_size: int
    augmentation: Augmentation | None
    seeds: tuple[int, ...]
    device: torch.device
    generators: tuple[torch.Generator, ...]

    @classmethod
    def of(
        cls,
        data: Data,
        count: int,
        recipe: Recipe,
        seeds: Sequence[int] | None,
        device: torch.device,
    ) -> "Dealt":
        """What the loop would draw for each of `count` networks that train alone."""
        if recipe.early_stopping is not None or recipe.ranks is not None:
            raise InputError(
                "networks that train together do not stop early and take no ranks; "
                "leave these settings out, or train one by one"
            )
        if whole_tensors(data) is None:
            raise InputError(
                f"networks that train together each see the data in an order of their own: give "
                f"whole tensors or an ImageData, not a {type(data).__name__}"
            )
        chosen = tuple(range(recipe.seed, recipe.seed + count) if seeds is None else seeds)
        if len(chosen) != count:
            raise InputError(f"{len(chosen)} seeds for {count} networks; give one for each")
        generators = tuple(torch.Generator().manual_seed(seed) for seed in chosen)
        return cls(data, recipe.batch_size, recipe.augmentation, chosen, device, generators)

    def __len__(self) -> int:
        found = count_batches(self.data, self.batch_size, training=True)
        assert found is not None  # whole data say how many
        return found

    def __iter__(self) -> Iterator[Batch]:
        """An epoch: every network's next batch, one behind the other."""
        orders = (
            training_batches(
                self.data,
                self.batch_size,
                generator=generator,
                device=self.device,
                augmentation=self.augmentation,
            )
            for generator in self.generators
        )
        for batches in zip(*orders, strict=True):
            yield torch.cat([one for one, _ in batches]), torch.cat([one for _, one in batches])

    def fixed(self) -> dict[str, object]:
        """What must be the same where a descent goes on from a checkpoint."""
        return {
            "dealt": data_digest(self.data),
            "seeds": list(self.seeds),
            "augmentation": self.augmentation,
        }
