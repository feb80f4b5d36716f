"""The objective of a curve on fixed batches at fixed t, so that two curves can be compared."""

import copy
import itertools

import torch

from ..data.batches import Batch, Data, global_seed, training_batches
from ..errors import InputError
from ..state import Layout, bind
from ..train.loop import Recipe
from .paths import Curve


class Probes:
    """Batches drawn once, each with a t of its own: a sample of E_t[loss(r(t))].

    The t are the midpoints of `count` equal parts of [0, 1]; where the data make fewer batches
    than that, they are used in turn. Batches are those of training, augmented alike, and the
    network runs as in training: batch norm by the batch, dropout by one fixed seed. All curves are
    thus seen through the same noise, which cancels in their difference.
    """

    def __init__(self, curve: Curve, data: Data, recipe: Recipe, count: int) -> None:
        if count < 1:
            raise InputError(f"probes is {count}; give 1 or more")
        self.recipe = recipe
        self.network = copy.deepcopy(curve.network).train()
        self.vector = curve.points[0].clone()
        bind(self.network, self.vector)
        self.weights = self.vector[: Layout.of(self.network).parameters]
        batches = training_batches(
            data,
            recipe.batch_size,
            generator=torch.Generator().manual_seed(recipe.seed + 2),
            device=self.vector.device,
            augmentation=recipe.augmentation,
        )
        drawn = list(itertools.islice(batches, count))
        if not drawn:
            raise InputError("the data is empty; give at least one batch")
        self.pairs = [((k + 0.5) / count, drawn[k % len(drawn)]) for k in range(count)]

    def objective(self, curve: Curve) -> float:
        """Mean of the loss and the L2 term at r(t), in nats, over all probes."""
        return sum(self.losses(curve)) / len(self.pairs)

    def losses(self, curve: Curve) -> list[float]:
        """The loss and the L2 term at r(t) of each probe, in nats."""
        device = self.vector.device
        with global_seed(self.recipe.seed, device):
            found = [self._loss(curve, t, batch) for t, batch in self.pairs]
        return [float(loss) for loss in found]

    def at(self, curve: Curve, t: float) -> float:
        """Mean of the loss and the L2 term at one t, in nats, over the batches of all probes."""
        with global_seed(self.recipe.seed, self.vector.device):
            found = [self._loss(curve, t, batch) for _, batch in self.pairs]
        return float(torch.stack(found).mean())

    def _loss(self, curve: Curve, t: float, batch: Batch) -> torch.Tensor:
        self.weights.copy_(curve.vector_at(t)[: len(self.weights)])
        inputs, labels = batch
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        recipe = self.recipe
        # With gradients, as an objective may attack the inputs first.
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=recipe.mixed_precision):
            loss = recipe.objective(self.network, inputs, labels).detach()
        return loss + recipe.weight_decay / 2 * self.weights.square().sum()
