"""Several processes that train one thing together, each on its own share of the data.

Each has a copy of the weights. The gradients of all are averaged behind every step, in one message,
and so the copies stay equal.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import torch
from torch import Tensor, distributed

from ..data.batches import Batch, Data
from ..data.images import ImageData
from ..errors import InputError

Step = Callable[[Batch], Tensor]


@dataclass(frozen=True)
class Ranks:
    """This process among those that `torchrun` started; made by `Ranks.joined()`.

    With `shared_t` all of them go to one point of a curve in a step; otherwise each draws its own
    t, so that a step sees as many points as there are processes.
    """

    rank: int
    count: int
    shared_t: bool = False
    buffers: dict[int, Tensor] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def joined(
        cls, *, shared_t: bool = False, backend: str | None = None, minutes: float = 30.0
    ) -> "Ranks":
        """Join the other processes of this `torchrun`; call it once, in every process.

        `backend` is NCCL where there are cards and gloo elsewhere. A process that waits for the
        others longer than `minutes` gives up.
        """
        if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
            raise InputError("no other processes: start with torchrun --nproc-per-node N")
        if not distributed.is_initialized():
            chosen = backend or ("nccl" if torch.cuda.is_available() else "gloo")
            distributed.init_process_group(chosen, timeout=timedelta(minutes=minutes))
        return cls(distributed.get_rank(), distributed.get_world_size(), shared_t)

    def leave(self) -> None:
        """Part from the other processes; call it last, in every process.

        All wait for the slowest, since a process that ends while another still talks to it may
        take that one with it.
        """
        distributed.barrier()
        distributed.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    @property
    def seed_offset(self) -> int:
        """What tells this process's seeds from the others'."""
        return 1_000_003 * self.rank

    @property
    def t_offset(self) -> int:
        """The same for the seed of t."""
        return 0 if self.shared_t else self.seed_offset

    def share(self, data: Data) -> Data:
        """This process's part of whole data, as large as every other's; an iterable is its own.

        >>> Ranks(1, 2).share((torch.arange(5), torch.arange(5)))[0]
        tensor([1, 3])
        """
        if isinstance(data, ImageData):
            return data.part(self._part(len(data)))
        if (
            isinstance(data, tuple)
            and len(data) == 2
            and isinstance(data[0], Tensor)
            and isinstance(data[1], Tensor)
        ):
            part = self._part(len(data[1]))
            return data[0][part], data[1][part]
        return data

    def _part(self, length: int) -> slice:
        """Every `count`-th sample; what cannot be dealt out evenly is left out."""
        return slice(self.rank, length // self.count * self.count, self.count)

    def together(self, step: Step, gradient: Tensor) -> Step:
        """A step of all processes: what `step` writes into `gradient`, averaged over them."""

        def shared(batch: Batch) -> Tensor:
            return self.average(gradient, step(batch))

        return shared

    def average(self, gradient: Tensor, loss: Tensor) -> Tensor:
        """Average the gradient in place over all processes, and return their mean loss.

        One message: the loss travels at the end of the flat gradient.
        """
        size = gradient.numel()
        if size not in self.buffers:
            self.buffers[size] = gradient.new_empty(size + 1)
        message = self.buffers[size]
        message[:size] = gradient.reshape(-1)
        message[size] = loss
        distributed.all_reduce(message)
        message /= self.count
        gradient.copy_(message[:size].view_as(gradient))
        return message[size].clone()
