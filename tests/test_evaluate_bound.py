import functools
import itertools

import numpy as np
import pytest
import torch
from networks import built, copy_of, data_for, same_bits
from torch import nn

import basinbridge as bb
from basinbridge.data.datasets import load
from basinbridge.evaluate.bound import _SLOPES, bound
from basinbridge.symmetry.discover import discover


def digits():
    train = load("digits", "train")
    return train.normalised(train.scaled(train.images)).double(), train.labels


def deep(activation, widths=(20, 16, 12)):
    sizes = [64, *widths]
    hidden = [
        step
        for one, other in itertools.pairwise(sizes)
        for step in (nn.Linear(one, other), activation())
    ]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], 10)).double()


@functools.cache
def trained(activation, seed, widths=(20, 16, 12)):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = deep(activation, widths)
    return bb.train(network, digits(), epochs=8, batch_size=16, weight_decay=5e-3, seed=seed)


def measured(net_a, net_b, data):
    """The average loss along the line, by Simpson's rule at 41 points."""
    report = bb.evaluate(bb.Linear.between(net_a, net_b), data, points=41)
    weights = np.array([1, *[4, 2] * 19, 4, 1]) / 120
    return float(weights @ np.array(report.loss))


@pytest.mark.parametrize("widths", [(24,), (20, 16), (20, 16, 12)])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU])
def test_both_bounds_hold_on_trained_networks_and_alignment_lowers_them(activation, widths):
    net_a, net_b = (trained(activation, seed, widths) for seed in (0, 1))
    data = digits()
    found = bound(net_a, net_b, data)
    symmetry = discover(net_a, data[0][:2])
    order = bb.align(net_a, net_b, data, symmetry, method="l2", activations="pre")
    aligned = bb.permute(net_b, symmetry, order)
    assert measured(net_a, net_b, data) <= found.upper_unaligned
    assert measured(net_a, aligned, data) <= found.upper_aligned
    assert found.upper_aligned < 0.95 * found.upper_unaligned
    assert all(one <= other for one, other in zip(found.aligned, found.unaligned, strict=True))
    assert found.endpoints < 0.5


@pytest.mark.parametrize("seed", range(6))
def test_the_bounds_hold_for_any_weights_and_any_permutation(seed):
    generator = torch.Generator().manual_seed(seed)
    net_a, net_b = built("mlp", seed), built("mlp", seed + 10)
    with torch.no_grad():
        for net in (net_a, net_b):
            for parameter in net.parameters():
                parameter.mul_(float(torch.rand((), generator=generator)) + 0.2)
    data = data_for("mlp", 30, seed)
    symmetry = discover(net_a, data[0][:2])
    order = bb.random_permutation(symmetry, seed)
    found = bound(net_a, net_b, data, symmetry, order)
    assert measured(net_a, net_b, data) <= found.upper_unaligned
    assert measured(net_a, bb.permute(net_b, symmetry, order), data) <= found.upper_aligned
    best = bound(net_a, net_b, data, symmetry)
    assert best.upper_aligned <= min(found.upper_aligned, found.upper_unaligned)


def test_every_contribution_is_the_naive_integral():
    """Three layers of weights, the recursion of docs/theory.md step by step on a fine grid of t."""
    net_a, net_b = built("mlp"), built("mlp", seed=1)
    data = data_for("mlp", 20)
    found = bound(net_a, net_b, data)
    norms = [
        [float(np.linalg.svd(net[place].weight.detach().numpy())[1][0]) for place in (0, 2, 4)]
        for net in (net_a, net_b)
    ]
    with torch.no_grad():
        seen = [(net[0](data[0]), net[:3](data[0])) for net in (net_a, net_b)]
    apart = [
        np.sqrt(np.square((one - other).numpy()).sum(axis=1).mean())
        for one, other in zip(*seen, strict=True)
    ]
    assert found.distances_unaligned == pytest.approx(apart)
    t = np.linspace(0, 1, 20_001)
    whole = []
    for kept in ((1, 0), (0, 1), (1, 1)):
        error = np.zeros_like(t)
        for layer in (0, 1):
            one, other = norms[0][layer + 1], norms[1][layer + 1]
            error = ((1 - t) * one + t * other) * error + t * (1 - t) * (one + other) * (
                kept[layer] * apart[layer]
            )
        whole.append(np.sqrt(2) * np.trapezoid(error, t))
    assert found.unaligned == pytest.approx(whole[:2], rel=1e-7)
    assert sum(found.unaligned) == pytest.approx(whole[2], rel=1e-7)


def test_renumbering_the_second_network_changes_only_the_unaligned_bound():
    net_a, net_b, data = built("mlp"), built("mlp", seed=1), data_for("mlp", 40)
    symmetry = discover(net_a, data[0][:2])
    moved = bb.permute(net_b, symmetry, bb.random_permutation(symmetry, seed=2))
    one, other = bound(net_a, net_b, data), bound(net_a, moved, data)
    assert one.upper_aligned == pytest.approx(other.upper_aligned, rel=1e-12)
    assert one.upper_unaligned != pytest.approx(other.upper_unaligned, rel=1e-3)
    assert one.endpoints == pytest.approx(other.endpoints)
    same = bound(net_a, net_a, data)
    assert same.upper_aligned == same.upper_unaligned == same.endpoints


@pytest.mark.parametrize("kind", _SLOPES, ids=lambda kind: kind.__name__)
def test_no_activation_is_steeper_than_its_constant(kind):
    for arguments in {
        nn.LeakyReLU: [(0.01,), (-3.0,)],
        nn.ELU: [(1.0,), (2.5,), (0.5,)],
        nn.GELU: [("none",), ("tanh",)],
        nn.Softplus: [(1.0,), (4.0,)],
    }.get(kind, [()]):
        module = kind(*arguments).eval()
        x = torch.linspace(-20, 20, 400_001, dtype=torch.float64)
        steepest = float((module(x).diff() / x.diff()).abs().max())
        slope = _SLOPES[kind](module)
        assert steepest <= slope + 1e-9
        assert steepest > 0.99 * slope or kind is nn.ELU


def test_networks_are_left_as_they_are():
    net_a, net_b = built("mlp").train(), built("mlp", seed=1).train()
    before = [copy_of(net) for net in (net_a, net_b)]
    bound(net_a, net_b, data_for("mlp", 10))
    assert all(same_bits(n.state_dict(), b) for n, b in zip((net_a, net_b), before, strict=True))
    assert all(module.training for net in (net_a, net_b) for module in net.modules())
    assert not any(module._forward_hooks for module in net_a.modules())


def refused():
    tied = [nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 5)]
    tied[2].weight = tied[0].weight
    return {
        "BatchNorm1d": nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 5)),
        "not a Linear": nn.Linear(6, 5),
        "two linear layers": nn.Sequential(nn.Linear(6, 5)),
        "ends with one": nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU()),
        "share no weights": nn.Sequential(*tied),
        "PReLU": nn.Sequential(nn.Linear(6, 6), nn.PReLU(), nn.Linear(6, 5)),
    }


@pytest.mark.parametrize("message", refused())
def test_other_networks_are_refused(message):
    network = refused()[message].double()
    with pytest.raises(bb.InputError, match=message):
        bound(network, network, data_for("mlp", 5))


def test_different_activations_are_refused_and_one_instance_may_serve_twice():
    relu = nn.ReLU()
    net = nn.Sequential(nn.Linear(6, 4), relu, nn.Linear(4, 4), relu, nn.Linear(4, 5)).double()
    assert len(bound(net, net, data_for("mlp", 5)).layers) == 2
    other = nn.Sequential(nn.Linear(6, 4), nn.SELU(), nn.Linear(4, 4), relu, nn.Linear(4, 5))
    with pytest.raises(bb.InputError, match="different activations"):
        bound(net, other.double(), data_for("mlp", 5))


def test_it_prints_a_line_for_each_layer():
    lines = str(bound(built("mlp"), built("mlp", seed=1), data_for("mlp", 10))).splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["0", "2"]
    assert lines[-1].startswith("bound")
