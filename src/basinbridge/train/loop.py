"""The one training loop: endpoints, curves and whatever else descends a loss go through it."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn

from ..data.batches import (
    Augmentation,
    Batch,
    Data,
    count_batches,
    global_seed,
    training_batches,
)
from ..errors import InputError
from ..state import Layout, bind, take_gradient
from .checkpoint import Carried, Checkpoint, Keeper, Position
from .objective import Objective, standard
from .ranks import Ranks
from .schedules import Schedule, cosine
from .stopping import Best, EarlyStopping

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Recipe:
    """How to descend: stochastic gradient descent with Nesterov momentum.

    `learning_rate` is the largest, times `schedule(epoch, epochs)` at each step, the epoch being
    counted in fractions. `weight_decay` is the factor of an L2 term on the network's weights at
    which the gradient is taken. `augmentation` changes whole batches of images in [0, 1].
    `mixed_precision` runs forward passes in bfloat16 where that is safe; weights stay float32.
    `progress(epoch, epochs, loss)` is called after every epoch with its mean loss in nats.
    `checkpoint` names the file that training goes on from and that keeps its state; the epochs
    before are told to `progress` once more. `early_stopping` keeps the epoch with the best score.
    With `ranks` several processes train one thing, each on its share of the data and of a batch of
    `batch_size`; they keep no checkpoint and do not stop early.
    """

    epochs: int = 20
    learning_rate: float = 0.1
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Schedule = cosine
    seed: int = 0
    objective: Objective = standard
    augmentation: Augmentation | None = None
    mixed_precision: bool = False
    progress: Progress | None = None
    checkpoint: Checkpoint | None = None
    early_stopping: EarlyStopping | None = None
    ranks: Ranks | None = None

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 1 or not self.learning_rate > 0:
            raise InputError(
                f"training needs epochs >= 0, batch size >= 1 and learning rate > 0; got "
                f"{self.epochs}, {self.batch_size}, {self.learning_rate}"
            )
        if self.ranks is not None:
            if self.batch_size % self.ranks.count:
                raise InputError(
                    f"a batch of {self.batch_size} cannot be dealt out to "
                    f"{self.ranks.count} processes; take a multiple of their number"
                )
            if self.checkpoint is not None or self.early_stopping is not None:
                raise InputError(
                    "processes that train together keep no checkpoint and do not stop early; "
                    "leave these settings out"
                )

    def tell(self, epoch: int, loss: float) -> None:
        """Call `progress`, if there is one, behind an epoch."""
        if self.progress is not None:
            self.progress(epoch, self.epochs, loss)

    def tell_again(self, history: Sequence[float]) -> None:
        """The same for all epochs before a checkpoint."""
        for epoch, loss in enumerate(history, start=1):
            self.tell(epoch, loss)


class Settings(TypedDict, total=False):
    """The fields of a `Recipe` as keyword arguments."""

    epochs: int
    learning_rate: float
    batch_size: int
    momentum: float
    weight_decay: float
    schedule: Schedule
    seed: int
    objective: Objective
    augmentation: Augmentation | None
    mixed_precision: bool
    progress: Progress | None
    checkpoint: Checkpoint | None
    early_stopping: EarlyStopping | None
    ranks: Ranks | None


def train(network: nn.Module, data: Data, **settings: Unpack[Settings]) -> nn.Module:
    """A trained copy of a network; `settings` are the fields of a `Recipe`.

    Two runs from one seed give the same bits on a CPU, also if one was killed and went on from its
    `checkpoint`. Raises `InputError` if the loss is no longer finite.

    >>> net = nn.Linear(2, 2)
    >>> inputs = torch.randn(64, 2)
    >>> trained = train(net, (inputs, (inputs[:, 0] > 0).long()), epochs=5, batch_size=8)
    >>> bool(standard(trained, inputs, (inputs[:, 0] > 0).long()) < 0.5)
    True
    """
    twin = copy.deepcopy(network).train()
    train_in_place(twin, data, Recipe(**settings))
    return twin


def train_in_place(
    network: nn.Module,
    data: Data,
    recipe: Recipe,
    fixed: Mapping[str, object] | None = None,
    count: int = 1,
) -> None:
    """Train a network itself, or a `Stack` of `count` networks; `fixed` is as in `descend`."""
    layout = Layout.of(network)
    vector = layout.flatten(network.state_dict())
    bind(network, vector)
    weights = vector[: layout.parameters]
    gradient = torch.zeros_like(weights)

    def step(batch: Batch) -> Tensor:
        loss = loss_and_gradient(network, batch, recipe, gradient, count)
        add_decay(network, weights, recipe.weight_decay, gradient)
        return loss

    best = Best.of(recipe.early_stopping, vector, lambda: copy.deepcopy(network))
    carried = {"network": network}
    descend(weights, gradient, step, data, recipe, carried=carried, fixed=fixed, best=best)
    _free(network)


def loss_and_gradient(
    network: nn.Module, batch: Batch, recipe: Recipe, gradient: Tensor, count: int = 1
) -> Tensor:
    """Loss of a batch; overwrite `gradient` (parameters,) by its gradient.

    Of a `Stack` of `count` networks the loss is their mean, and the gradient that of their sum:
    each network's own.
    """
    inputs, labels = batch
    if inputs.ndim == 4:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=recipe.mixed_precision):
        loss = recipe.objective(network, inputs, labels)
    torch.autograd.backward(loss if count == 1 else count * loss)
    take_gradient(network, gradient)
    return loss.detach()


def add_decay(network: nn.Module, weights: Tensor, factor: float, gradient: Tensor) -> None:
    """Add the L2 term's gradient; parameters that need no gradient get none, and stay."""
    gradient.add_(weights, alpha=factor)
    start = 0
    for parameter in network.parameters():
        if not parameter.requires_grad:
            gradient[start : start + parameter.numel()].zero_()
        start += parameter.numel()


def _free(network: nn.Module) -> None:
    """Give every tensor of a bound network its own memory again."""
    for parameter in network.parameters():
        parameter.data = parameter.data.clone()
    for buffer in network.buffers():
        buffer.data = buffer.data.clone()


def descend(
    weights: Tensor,
    gradient: Tensor,
    step: Callable[[Batch], Tensor],
    data: Data,
    recipe: Recipe,
    after: Callable[[], None] | None = None,
    *,
    carried: Mapping[str, Carried] | None = None,
    fixed: Mapping[str, object] | None = None,
    where: Callable[[], str] = lambda: "",
    best: Best | None = None,
) -> list[float]:
    """Minimise: `step` writes the gradient of a batch, the optimiser changes `weights` in place.

    `after` is called behind every change, to bring the weights back to where they must lie.
    For checkpoints, `carried` names the tensors, generators and networks that `step` changes, and
    `fixed` what else must be as it was for a descent to go on. Global random choices, such as
    dropout's, follow from the recipe's seed. `best` scores every epoch; it may end the descent, and
    at last puts the best epoch's weights back.

    Returns the mean loss of every epoch, in nats. Raises `InputError` naming the step, what `where`
    says of it, and the learning rate if a loss, a gradient or a weight is no longer finite.
    """
    seed, batch_size = recipe.seed, recipe.batch_size
    if recipe.ranks is not None:
        seed, batch_size = seed + recipe.ranks.seed_offset, batch_size // recipe.ranks.count
        data, step = recipe.ranks.share(data), recipe.ranks.together(step, gradient)
    generator = torch.Generator().manual_seed(seed)
    optimizer, momentum = _optimizer(weights, gradient, recipe)
    total = torch.zeros((), device=weights.device)
    position = Position(count_batches(data, batch_size, training=True))
    changed = {"weights": weights, "momentum": momentum, "total": total, **(carried or {})}
    if best is not None:
        changed |= best.carried
    compared = {**vars(recipe), **(fixed or {})}
    rate = recipe.learning_rate
    # Elsewhere than on a CPU every look at a number holds up the device.
    look_every = 1 if weights.device.type == "cpu" else 50
    with (
        global_seed(seed, weights.device),
        Keeper(recipe.checkpoint, position, changed, generator, data, compared) as keeper,
    ):
        recipe.tell_again(position.history)
        while position.epoch < recipe.epochs and not (best and best.is_over()):
            batches = training_batches(
                data,
                batch_size,
                generator=generator,
                device=weights.device,
                augmentation=recipe.augmentation,
            )
            for batch in keeper.unseen(batches):
                rate = recipe.learning_rate * recipe.schedule(position.epochs, recipe.epochs)
                optimizer.param_groups[0]["lr"] = rate
                loss = step(batch)
                position.step += 1
                if position.step % look_every == 0 and not (_finite(loss) and _finite(gradient)):
                    raise _diverged(position, rate, loss, where(), recipe)
                total += loss
                optimizer.step()
                if after is not None:
                    after()
                keeper.stepped()
            if not (_finite(total) and _finite(weights)):
                raise _diverged(position, rate, total, where(), recipe)
            position.end_epoch(total)
            recipe.tell(position.epoch, position.history[-1])
            if best is not None:
                best.score()
        keeper.ended()
    if best is not None:
        best.restore()
    return position.history


def _optimizer(
    weights: Tensor, gradient: Tensor, recipe: Recipe
) -> tuple[torch.optim.Optimizer, Tensor]:
    """Stochastic gradient descent on `weights`, and its momentum, which it changes in place."""
    variable = nn.Parameter(weights, requires_grad=True)
    variable.grad = gradient
    optimizer = torch.optim.SGD(
        [variable],
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        fused=True,
    )
    momentum = torch.zeros_like(weights)
    if recipe.momentum:
        optimizer.state[variable]["momentum_buffer"] = momentum
    return optimizer, momentum


def _finite(tensor: Tensor) -> bool:
    """Whether all numbers are; their sum tells it several times faster than a look at each."""
    return math.isfinite(tensor.sum())


def _diverged(
    position: Position, rate: float, loss: Tensor, where: str, recipe: Recipe
) -> InputError:
    kept = f"; the last good state is in {recipe.checkpoint.path}" if recipe.checkpoint else ""
    return InputError(
        f"training diverged at step {position.step} of epoch {position.epoch + 1}{where}, learning "
        f"rate {rate:.3g}: not all numbers are finite (loss {float(loss):.3g}); "
        f"try a smaller rate{kept}"
    )
