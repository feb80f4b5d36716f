"""PAM's two permutation steps side by side, on pairs of digit networks: a table of docs/results.md.

    OMP_NUM_THREADS=1 python benchmarks/permutation_steps.py [pairs]

The objective before and after the step, and the curve that is then fitted from there. Seconds are
those the processor worked, which a busy machine does not lengthen.
"""

import sys
import time
from typing import get_args

import torch
from torch import nn

import basinbridge as bb
from basinbridge.curve.pam import PermutationMethod, Start
from basinbridge.data.datasets import load
from basinbridge.models import DigitsNet
from basinbridge.report.caption import mean_and_spread
from basinbridge.symmetry.permutation import identity_permutation

HEADINGS = (
    "start", "step", "objective before", "objective after", "neurons moved, %", "seconds",
    "curve average, %", "curve minimum, %",
)  # fmt: skip


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return bb.train(DigitsNet(), load("digits", "train"), epochs=20, batch_size=32, seed=seed)


def row(
    nets: tuple[nn.Module, nn.Module], start: Start, method: PermutationMethod, seed: int
) -> tuple[float, ...]:
    """One pair's numbers, in the order of the headings."""
    data = load("digits", "train")
    symmetry = bb.discover(nets[0], data.example())
    begun = (
        identity_permutation(symmetry) if start == "identity" else bb.align(*nets, data, symmetry)
    )
    began = time.process_time()
    found = bb.pam(
        *nets, data, symmetry,
        start=begun, method=method, epochs=0, learning_rate=0.05, batch_size=32, seed=seed,
    )  # fmt: skip
    seconds = time.process_time() - began
    moved = [(found.permutation[name] != begun[name]).double() for name in symmetry.groups]
    curve = bb.fit(
        found.curve, data, epochs=5, learning_rate=0.05, batch_size=32, seed=seed, proximal=1e3
    )
    report = bb.evaluate(curve, load("digits", "test"), batchnorm_data=data, points=21)
    return (
        *found.history[:2],
        100 * float(torch.cat(moved).mean()),
        seconds,
        100 * report.average_accuracy,
        100 * report.minimum_accuracy,
    )


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    torch.set_num_threads(1)
    networks = [(network(seed), network(seed + 1)) for seed in range(0, 2 * pairs, 2)]
    print(f"| {' | '.join(HEADINGS)} |\n| --- | --- |{' ---: |' * (len(HEADINGS) - 2)}")
    for start in get_args(Start):
        for method in get_args(PermutationMethod):
            rows = [row(nets, start, method, 2 * place) for place, nets in enumerate(networks)]
            cells = [
                mean_and_spread(column, digits)
                for column, digits in zip(zip(*rows, strict=True), (3, 3, 0, 1, 1, 1), strict=True)
            ]
            print(f"| {start} | {method} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
