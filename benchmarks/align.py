"""What alignment costs, in bare forward passes of both networks over the same images."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from timing import Ratio, alone, peak_memory, ratio
from torch import Tensor, nn

import basinbridge as bb
from basinbridge.align.assignment import assign


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.packed, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        packed = self.packed(self.norms[0](x)).unflatten(-1, (3, self.heads, -1))
        mixed = F.scaled_dot_product_attention(*packed.permute(2, 0, 3, 1, 4))
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class ViT(nn.Module):
    """ViT-B/16 at 224 pixels: 12 layers of width 768 with 12 heads, MLPs of 3,072."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 768, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, 768))
        self.position = nn.Parameter(0.02 * torch.randn(1, 197, 768))
        self.blocks = nn.Sequential(*(Block(768, 12) for _ in range(12)))
        self.norm, self.head = nn.LayerNorm(768), nn.Linear(768, 1000)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


def alignment(
    build: Callable[[], nn.Module], images: int, side: int, batch_size: int, repeats: int
) -> Ratio:
    """`bb.align` on noise, `side` pixels square; the bare passes take the same batches."""
    networks = [build().eval() for _ in range(2)]
    data = torch.randn(images, 3, side, side), torch.zeros(images).long()
    symmetry = bb.discover(networks[0], data[0][:2])

    @torch.no_grad()
    def bare() -> None:
        for batch in data[0].split(batch_size):
            for network in networks:
                network(batch)

    return ratio(bare, lambda: bb.align(*networks, data, symmetry, batch_size=batch_size), repeats)


def memory(build: Callable[[], nn.Module], images: int, repeats: int) -> list[float]:
    """Megabytes of an alignment beyond data and networks, each time in a process of its own."""
    return [alone(_memory, build, images) for _ in range(repeats)]


def _memory(build: Callable[[], nn.Module], images: int) -> float:
    networks = [build() for _ in range(2)]
    data = torch.randn(images, 3, 32, 32), torch.zeros(images).long()
    symmetry = bb.discover(networks[0], data[0][:2])
    held = peak_memory()
    bb.align(*networks, data, symmetry)
    return peak_memory() - held


def assignment(size: int = 4096) -> Callable[[], object]:
    """The assignment of one group with scores that are noise."""
    scores = torch.randn(size, size, dtype=torch.float64)
    return lambda: assign(scores)
