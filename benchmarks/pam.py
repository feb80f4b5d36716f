"""What a permutation step of PAM costs, in plain training steps of the same network."""

import torch
from steps import optimizer, plain_step, random_batch
from timing import Ratio, ratio
from torch import nn

import basinbridge as bb
from basinbridge.curve.permuting import RelaxedEnd, walker_with_free_end
from basinbridge.symmetry.relaxed import relax
from basinbridge.train.loop import Recipe


def permutation_step(network: type[nn.Module], repeats: int) -> Ratio:
    """One step on relaxed permutations, its projection included, in plain steps."""
    net_a, net_b = (network() for _ in range(2))
    batch, recipe = random_batch(), Recipe()
    symmetry = bb.discover(net_a, batch[0][:2])
    start = bb.random_permutation(symmetry)
    line = bb.Linear.between(net_a, bb.permute(net_b, symmetry, start))
    walker = walker_with_free_end(line)
    end = RelaxedEnd(relax(symmetry), line.layout, net_b.state_dict(), start)
    begun, gradient = end.vector.clone(), torch.zeros_like(end.vector)
    descent = optimizer(end.vector, gradient, 0.005)

    def step() -> None:
        _, found = end.step(walker, float(torch.rand(())), batch, recipe)
        torch.add(found, end.vector - begun, alpha=1e-3, out=gradient)
        descent.step()
        end.project()

    return ratio(plain_step(net_a, batch, recipe), step, repeats)
