"""Steps of a curve and of a training loop, in plain training steps of the same network."""

import copy
from collections.abc import Callable

import torch
from timing import Ratio, ratio
from torch import Tensor, nn
from torch.nn import functional

import basinbridge as bb
from basinbridge.curve.fit import Walker
from basinbridge.data.augment import augmentation
from basinbridge.data.batches import Batch, training_batches
from basinbridge.data.images import ImageData
from basinbridge.state import Layout, bind, take_gradient
from basinbridge.train.loop import Recipe, add_decay, loss_and_gradient

BATCH = 128


def random_batch(size: int = BATCH) -> Batch:
    """CIFAR-sized noise: what images show does not change what a step costs."""
    return torch.randn(size, 3, 32, 32), torch.randint(10, (size,))


def noise(images: int) -> ImageData:
    """As many CIFAR-sized images, as a data set."""
    pixels = torch.randint(256, (images, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(10, (images,))
    names = tuple(str(label) for label in range(10))
    return ImageData("noise", pixels, labels, names, (0.5,) * 3, (0.25,) * 3)


def optimizer(weights: Tensor, gradient: Tensor, rate: float = 0.01) -> torch.optim.Optimizer:
    """The training loop's own: SGD with Nesterov momentum, fused over one vector."""
    variable = nn.Parameter(weights)
    variable.grad = gradient
    return torch.optim.SGD([variable], lr=rate, momentum=0.9, nesterov=True, fused=True)


def plain_step(network: nn.Module, batch: Batch, recipe: Recipe) -> Callable[[], None]:
    """The step of `bb.train`."""
    network = copy.deepcopy(network).train()
    layout = Layout.of(network)
    vector = layout.flatten(network.state_dict())
    bind(network, vector)
    weights = vector[: layout.parameters]
    gradient = torch.zeros_like(weights)
    descent = optimizer(weights, gradient)

    def step() -> None:
        loss_and_gradient(network, batch, recipe, gradient)
        add_decay(network, weights, recipe.weight_decay, gradient)
        descent.step()

    return step


def curve_step(curve: bb.Curve, batch: Batch, recipe: Recipe) -> Callable[[], None]:
    """The step of `bb.fit`."""
    walker = Walker.on(curve)
    descent = optimizer(walker.movable_points, walker.gradient)

    def step() -> None:
        walker.step(float(torch.rand(())), batch, recipe)
        descent.step()

    return step


def textbook_step(
    network: nn.Module,
    batch: Batch,
    *,
    channels_last: bool = False,
    flat: bool = False,
    mixed_precision: bool = False,
) -> Callable[[], None]:
    """The step that every tutorial shows: a tensor at a time, images in torch's usual order.

    Or with one or more of the things that `bb.train` does otherwise.
    """
    network = copy.deepcopy(network).train()
    inputs, labels = batch
    if flat:
        layout = Layout.of(network)
        vector = layout.flatten(network.state_dict())
        bind(network, vector)
        variable = nn.Parameter(vector[: layout.parameters])
        variable.grad = gradient = torch.zeros_like(variable)
        parameters = [variable]
    else:
        parameters = list(network.parameters())
    descent = torch.optim.SGD(
        parameters, lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=flat
    )

    def step() -> None:
        if not flat:
            descent.zero_grad()
        order = torch.channels_last if channels_last else torch.contiguous_format
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed_precision):
            loss = functional.cross_entropy(network(inputs.contiguous(memory_format=order)), labels)
        loss.backward()
        if flat:
            take_gradient(network, gradient)
        descent.step()

    return step


def part(network: type[nn.Module], name: str, repeats: int) -> Ratio:
    """The textbook's step with one thing changed, in steps as the textbook has them."""
    net, batch = network(), random_batch()
    return ratio(textbook_step(net, batch), textbook_step(net, batch, **{name: True}), repeats)


def curve(network: type[nn.Module], repeats: int) -> Ratio:
    """A step on a Bezier curve, in plain steps."""
    ends, batch = [network() for _ in range(2)], random_batch()
    bent = bb.Bezier.between(*ends)
    return ratio(plain_step(ends[0], batch, Recipe()), curve_step(bent, batch, Recipe()), repeats)


def training(network: type[nn.Module], mixed_precision: bool, repeats: int) -> Ratio:
    """The step of `bb.train`, in steps of the textbook's loop."""
    net, batch = network(), random_batch()
    recipe = Recipe(mixed_precision=mixed_precision)
    return ratio(textbook_step(net, batch), plain_step(net, batch, recipe), repeats)


def attacked(network: type[nn.Module], attack_steps: int, repeats: int) -> Ratio:
    """A step of adversarial training, in plain steps."""
    net, batch = network(), (torch.rand(BATCH, 3, 32, 32), torch.randint(10, (BATCH,)))
    robust = Recipe(objective=bb.adversarial(steps=attack_steps))
    return ratio(plain_step(net, batch, Recipe()), plain_step(net, batch, robust), repeats)


def loading(network: type[nn.Module], repeats: int) -> Ratio:
    """Loading and augmenting a batch as the paper does for CIFAR, in plain steps."""
    batches = training_batches(
        noise(BATCH * (repeats + 1)),
        BATCH,
        generator=torch.Generator().manual_seed(0),
        augmentation=augmentation("cifar10"),
    )
    return ratio(plain_step(network(), random_batch(), Recipe()), lambda: next(batches), repeats)
