"""A table of docs/results.md: average losses along lines between digit networks, and bounds.

    python benchmarks/bound.py

takes some twenty seconds on one core.
"""

import itertools

import torch
from torch import nn

import basinbridge as bb
from basinbridge.data.datasets import load

HIDDEN = ((24,), (20, 16), (20, 16, 12))


def perceptron(widths: tuple[int, ...], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    steps: list[nn.Module] = [nn.Flatten()]
    for one, other in itertools.pairwise((64, *widths)):
        steps += [nn.Linear(one, other), nn.ReLU()]
    return nn.Sequential(*steps, nn.Linear(widths[-1], 10)).double()


def main() -> None:
    digits = load("digits", "train")
    data = (digits.normalised(digits.scaled(digits.images)).double(), digits.labels)
    print("| hidden layers | line unaligned | its bound | line aligned | its bound |")
    print("|---|---|---|---|---|")
    for widths in HIDDEN:
        net_a, net_b = (
            bb.train(
                perceptron(widths, seed), data,
                epochs=8, batch_size=16, weight_decay=5e-3, seed=seed,
            )
            for seed in (0, 1)
        )  # fmt: skip
        symmetry = bb.discover(net_a, data[0][:2])
        match = bb.align(net_a, net_b, data, symmetry, method="l2", activations="pre")
        found = bb.bound(net_a, net_b, data, symmetry, match)
        lines = [
            bb.evaluate(bb.Linear.between(net_a, end), data).average_loss
            for end in (net_b, bb.permute(net_b, symmetry, match))
        ]
        print(
            f"| {', '.join(map(str, widths))} | {lines[0]:.3g} | {found.upper_unaligned:.3g} "
            f"| {lines[1]:.3g} | {found.upper_aligned:.3g} |"
        )


if __name__ == "__main__":
    main()
