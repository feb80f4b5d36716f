"""What a permutation step of PAM costs, in plain training steps of the same network.

    OMP_NUM_THREADS=1 python benchmarks/pam.py [TinyTen|ResNet32]

Plain and permutation steps take turns, so that both meet the machine in the same mood; medians
over 60 of each, and the quartiles of the ratio of neighbours.
"""

import copy
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

import basinbridge as bb
from basinbridge import models
from basinbridge.curve.permuting import RelaxedEnd, walker_with_free_end
from basinbridge.state import Layout, bind
from basinbridge.symmetry.relaxed import relax
from basinbridge.train.loop import Recipe, add_decay, loss_and_gradient

REPEATS, BATCH = 60, 128
RECIPE = Recipe()


def optimizer(weights: Tensor, gradient: Tensor, rate: float) -> torch.optim.Optimizer:
    variable = torch.nn.Parameter(weights)
    variable.grad = gradient
    return torch.optim.SGD([variable], lr=rate, momentum=0.9, nesterov=True, fused=True)


def plain_step(network: torch.nn.Module, batch: tuple[Tensor, Tensor]) -> Callable[[], None]:
    network = copy.deepcopy(network).train()
    layout = Layout.of(network)
    vector = layout.flatten(network.state_dict())
    gradient = bind(network, vector)
    weights = vector[: layout.parameters]
    descent = optimizer(weights, gradient, 0.01)

    def step() -> None:
        loss_and_gradient(network, batch, RECIPE, gradient)
        add_decay(network, weights, RECIPE.weight_decay, gradient)
        descent.step()

    return step


def permutation_step(
    net_a: torch.nn.Module, net_b: torch.nn.Module, batch: tuple[Tensor, Tensor]
) -> tuple[Callable[[], None], dict[str, list[float]]]:
    symmetry = bb.discover(net_a, batch[0][:2])
    start = bb.random_permutation(symmetry)
    line = bb.Linear.between(net_a, bb.permute(net_b, symmetry, start))
    walker = walker_with_free_end(line)
    end = RelaxedEnd(relax(symmetry), line.layout, net_b.state_dict(), start)
    begun, gradient = end.vector.clone(), torch.zeros_like(end.vector)
    descent = optimizer(end.vector, gradient, 0.005)
    parts: dict[str, list[float]] = {"step": [], "project": []}

    def step() -> None:
        began = time.perf_counter()
        _, found = end.step(walker, float(torch.rand(())), batch, RECIPE)
        torch.add(found, end.vector - begun, alpha=1e-3, out=gradient)
        descent.step()
        middle = time.perf_counter()
        end.project()
        parts["step"].append(middle - began)
        parts["project"].append(time.perf_counter() - middle)

    return step, parts


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "TinyTen"
    networks = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        networks.append(getattr(models, name)())
    batch = torch.randn(BATCH, 3, 32, 32), torch.randint(10, (BATCH,))
    plain = plain_step(networks[0], batch)
    moved, parts = permutation_step(*networks, batch)
    times: dict[str, list[float]] = {"plain": [], "permutation": []}
    for turn in range(REPEATS + 3):
        for kind, step in (("plain", plain), ("permutation", moved)):
            began = time.perf_counter()
            step()
            if turn >= 3:
                times[kind].append(time.perf_counter() - began)
    medians = {kind: statistics.median(all_times) for kind, all_times in times.items()}
    ratios = [two / one for one, two in zip(times["plain"], times["permutation"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"{name}, batch {BATCH}, {torch.get_num_threads()} threads")
    print(f"plain step {1e3 * medians['plain']:.1f} ms, ", end="")
    print(f"permutation step {1e3 * medians['permutation']:.1f} ms, ", end="")
    print(f"of which projection {1e3 * statistics.median(parts['project']):.1f} ms")
    print(f"ratio {middle:.3f} (quartiles {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
