"""Normalisation as a part of the network, for images that must stay in [0, 1] up to it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalised(nn.Module):
    """A network behind its normalisation: images in [0, 1], less the mean, over the std.

    Input (n, channels, height, width), output that of `network`. `mean` and `std` are buffers, one
    number for each channel, and part of the state.

    >>> shown = Normalised(nn.Identity(), mean=(0.5,), std=(0.25,))
    >>> shown(torch.tensor([0.0, 0.5, 1.0]).reshape(3, 1, 1, 1)).flatten().tolist()
    [-2.0, 0.0, 2.0]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        weight = next(network.parameters(), torch.empty(()))
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, weight.new_tensor(values).reshape(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """What the network says of the normalised images."""
        outputs: Tensor = self.network((images - self.mean) / self.std)
        return outputs
