"""What alignment costs beside a bare forward pass of both networks over the same images.

    OMP_NUM_THREADS=1 python benchmarks/align.py [repeats] [ViT images]

writes benchmarks/align.json. Ratios are of processor time, one thread, in one process: a bare
pass without gradients (same batches) just before each alignment. Images are noise, weights fresh.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import basinbridge as bb
from basinbridge.align.assignment import assign
from basinbridge.models import TinyTen


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


def seconds(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


def ratios(
    build: Callable[[], nn.Module], shape: tuple[int, ...], batch_size: int, repeats: int
) -> list[float]:
    """Alignment's time over that of a bare pass of both networks, once for every repeat."""
    torch.manual_seed(0)
    net_a, net_b = build().eval(), build().eval()
    images, labels = torch.randn(shape), torch.zeros(shape[0])
    symmetry = bb.discover(net_a, images[:2])

    @torch.no_grad()
    def bare() -> None:
        for batch in images.split(batch_size):
            net_a(batch)
            net_b(batch)

    def aligned() -> None:
        bb.align(net_a, net_b, (images, labels), symmetry, batch_size=batch_size)

    bare()
    pairs = [(seconds(bare), seconds(aligned)) for _ in range(repeats)]
    return [after / before for before, after in pairs]


def measure(repeats: int, vit_images: int = 256) -> dict[str, list[float] | int]:
    """Ratios for TinyTen (10,000 images of 32 pixels) and ViT-B/16; seconds to assign 4,096."""
    torch.set_num_threads(1)
    scores = torch.randn(4096, 4096, dtype=torch.float64)
    return {
        "vit_images": vit_images,
        "assign_4096_seconds": [seconds(lambda: assign(scores)) for _ in range(repeats)],
        "tinyten_ratio": ratios(TinyTen, (10_000, 3, 32, 32), 100, repeats),
        "vit_b16_ratio": ratios(ViT, (vit_images, 3, 224, 224), 16, repeats),
    }


def main() -> None:
    given = [int(word) for word in sys.argv[1:]]
    repeats, vit_images = (given + [3, 256][len(given) :])[:2]
    found = measure(repeats, vit_images)
    for name, values in found.items():
        if isinstance(values, list):
            print(f"{name}: {min(values):.2f} to {max(values):.2f} over {len(values)} repeats")
    Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
