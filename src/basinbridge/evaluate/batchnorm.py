"""Batch-norm statistics of a point: they belong to it, not to the networks that it lies between."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..data.batches import Batch
from ..state import mode
from ..train.adversarial import Attack


def normalisation_layers(network: nn.Module) -> list[_BatchNorm]:
    """The network's batch-norm layers that keep running statistics."""
    return [
        module
        for module in network.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    ]


def reestimate(network: nn.Module, batches: Iterable[Batch], attack: Attack | None = None) -> None:
    """Set the running statistics to their exact average over `batches`, which should be equal.

    With an `attack` they are those of the images that it makes; it sees batch norm as training
    does, by the batch, since the statistics are not known yet.

    The network is changed in place: its running statistics only, and of a layer that no batch
    reaches not even these. Everything but batch norm runs as in evaluation; gradients are not
    computed. (Garipov et al. 2018, Section 3; the cumulative average rather than the momentum one.)
    """
    layers = normalisation_layers(network)
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    reached = dict.fromkeys(layers, 0)
    before = [[buffer.clone() for buffer in layer.buffers(recurse=False)] for layer in layers]
    with mode(network, False), torch.no_grad():
        try:
            for layer in layers:
                layer.reset_running_stats()
                layer.train()
            for inputs, labels in batches:
                shown = inputs if attack is None else attack(network, inputs, labels)
                with _counted(reached):
                    network(shown)
        finally:
            for layer, momentum, kept in zip(layers, momenta, before, strict=True):
                layer.momentum = momentum
                if not reached[layer]:
                    for buffer, earlier in zip(layer.buffers(recurse=False), kept, strict=True):
                        buffer.copy_(earlier)


@contextmanager
def _counted(reached: dict[_BatchNorm, int]) -> Iterator[None]:
    """Count the passes through layers, and let each weigh as much as every one before it.

    A momentum of None does the same, but not for a stack of networks, which has many counters.
    """

    def count(layer: _BatchNorm, _: object) -> None:
        reached[layer] += 1
        layer.momentum = 1 / reached[layer]

    hooks = [layer.register_forward_pre_hook(count) for layer in reached]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
