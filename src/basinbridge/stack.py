"""Several networks of one architecture as one network, whose batch is dealt out to them."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_map

from .errors import InputError
from .state import Layout, check_states


class Stack(nn.Module):
    """Networks of one architecture, run as one; they are copied.

    A batch is (networks * n, ...): n inputs of the first network, then n of the second, and outputs
    come in the same order. So whatever takes a network takes a stack: an objective, an attack, the
    training loop. With `shared` a batch is (n, ...), and every network sees all of it. Every
    parameter and buffer has one dimension more, for the networks, in front.

    One large operation takes the place of many small ones, which a card likes and a processor
    does not (`docs/performance.md`). Random choices within a network, such as dropout's, are made
    for every network by itself. Source: `torch.func.vmap`, model ensembling.

    >>> one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    >>> inputs = torch.randn(8, 3)
    >>> outputs = Stack([one, other])(inputs)
    >>> torch.allclose(outputs, torch.cat([one(inputs[:4]), other(inputs[4:])]))
    True
    """

    def __init__(self, networks: Sequence[nn.Module], *, shared: bool = False) -> None:
        super().__init__()
        if not networks:
            raise InputError("no networks to stack; give at least one")
        first, *others = [network.state_dict() for network in networks]
        for place, other in enumerate(others, start=1):
            check_states(first, other, "the first network", f"network {place}")
        together = zip(*(_tensors_of(network).items() for network in networks), strict=True)
        stacked = {same[0][0]: torch.stack([tensor for _, tensor in same]) for same in together}
        self.count = len(networks)
        self.shared = shared
        self.stacked = _with_tensors(networks[0], stacked)

    def forward(self, inputs: Tensor) -> Any:  # noqa: ANN401 - whatever a network returns
        """What every network makes of its part of the batch."""

        def run(tensors: Mapping[str, Tensor], part: Tensor) -> Any:  # noqa: ANN401
            return functional_call(self.stacked, dict(tensors), (part,))

        whole = inputs.expand(self.count, *inputs.shape)
        parts = whole if self.shared else inputs.view(self.count, -1, *inputs.shape[1:])
        tensors = {**dict(self.stacked.named_parameters()), **dict(self.stacked.named_buffers())}
        outputs = vmap(run, randomness="different")(tensors, parts)
        return tree_map(lambda tensor: tensor.flatten(0, 1), outputs)

    def networks(self) -> list[nn.Module]:
        """The networks, each by itself, as copies."""
        tensors = _tensors_of(self.stacked)
        return [
            _with_tensors(self.stacked, {name: each[place] for name, each in tensors.items()})
            for place in range(self.count)
        ]

    def joined(self, vectors: Sequence[Tensor]) -> Tensor:
        """The stack's vector (numbers,), of a vector of each of its networks.

        They may hold the parameters alone. `parted` is the way back.
        """
        parts = torch.split(torch.stack(list(vectors)), self._sizes(vectors[0]), 1)
        return torch.cat([part.reshape(-1) for part in parts])

    def parted(self, vector: Tensor) -> Tensor:
        """The networks' own vectors (networks, numbers), of the stack's."""
        sizes = [self.count * size for size in self._sizes(vector[:: self.count])]
        return torch.cat([part.view(self.count, -1) for part in torch.split(vector, sizes)], 1)

    def spread(self, values: Tensor) -> Tensor:
        """A network's value at each of its parameters: (networks, k) to (k, stack's parameters)."""
        sizes = [parameter.numel() // self.count for parameter in self.stacked.parameters()]
        columns = values.T[:, :, None]
        return torch.cat([columns.expand(-1, -1, size).flatten(1) for size in sizes], 1)

    def _sizes(self, vector: Tensor) -> list[int]:
        """How many numbers of one network's vector belong to each of its tensors."""
        layout = Layout.of(self.stacked)
        sizes = [shape.numel() // self.count for shape in layout.shapes.values()]
        if len(vector) == layout.parameters // self.count:
            return sizes[: len(list(self.stacked.parameters()))]
        return sizes


def _tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and all buffers, what is used under two names once."""
    parameters = {name: tensor.detach() for name, tensor in network.named_parameters()}
    return {**parameters, **dict(network.named_buffers())}


def _with_tensors(network: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a network that has other tensors in the places of its own, of any shape."""
    instead: dict[int, Any] = {
        id(parameter): nn.Parameter(tensors[name].clone(), parameter.requires_grad)
        for name, parameter in network.named_parameters()
    }
    instead |= {id(buffer): tensors[name].clone() for name, buffer in network.named_buffers()}
    return copy.deepcopy(network, instead)
