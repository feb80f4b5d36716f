"""What a training step minimises: a function of the network and a batch that returns the loss."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Objective = Callable[[nn.Module, Tensor, Tensor], Tensor]

AUXILIARY_WEIGHT = 0.3


def standard(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy in nats; auxiliary classifiers weigh 0.3 each (Szegedy et al. 2015)."""
    outputs = network(inputs)
    if isinstance(outputs, Tensor):
        return functional.cross_entropy(outputs, labels)
    main, *others = logits_of(outputs)
    loss = functional.cross_entropy(main, labels)
    for other in others:
        loss = loss + AUXILIARY_WEIGHT * functional.cross_entropy(other, labels)
    return loss


def logits_of(outputs: Any) -> list[Tensor]:  # noqa: ANN401 - whatever a network returns
    """The logits of a network's outputs, the main ones first.

    Understands a tensor, a (named) tuple of tensors, and an object or dict with `logits`.
    """
    if isinstance(outputs, Tensor):
        return [outputs]
    if hasattr(outputs, "logits") and not isinstance(outputs, tuple):
        return [outputs.logits]
    if isinstance(outputs, dict) and "logits" in outputs:
        return [outputs["logits"]]
    return [output for output in outputs if isinstance(output, torch.Tensor)]
