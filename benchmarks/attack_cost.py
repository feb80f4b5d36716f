"""What an adversarial step costs, in plain training steps of the same network.

    OMP_NUM_THREADS=1 python benchmarks/attack_cost.py

TinyTen, batches of 128. Plain and adversarial steps take turns, so that both meet the machine in
the same mood; the medians of the ratios of neighbours, and their quartiles.
"""

import statistics
import time

import torch

import basinbridge as bb
from basinbridge.models import Normalised, TinyTen
from basinbridge.state import Layout, bind
from basinbridge.train.loop import Recipe, loss_and_gradient

REPEATS = 15


def main() -> None:
    network = Normalised(TinyTen(), (0.5,) * 3, (0.25,) * 3).train()
    gradient = bind(network, Layout.of(network).flatten(network.state_dict()))
    batch = torch.rand(128, 3, 32, 32), torch.randint(10, (128,))

    def seconds(recipe: Recipe) -> float:
        began = time.perf_counter()
        loss_and_gradient(network, batch, recipe, gradient)
        return time.perf_counter() - began

    plain = Recipe()
    seconds(plain)
    for steps in (1, 3, 5):
        robust = Recipe(objective=bb.adversarial(steps=steps))
        ratios = [seconds(robust) / seconds(plain) for _ in range(REPEATS)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"PGD-{steps}: {middle:.2f} plain steps ({low:.2f} to {high:.2f})", flush=True)


if __name__ == "__main__":
    main()
