import functools
import itertools

import numpy as np
import pytest
import reference
import torch
from networks import built, copy_of, data_for, same_bits, symmetry_for
from torch import nn
from torch.nn import functional

import basinbridge as bb
from basinbridge.data.datasets import load
from basinbridge.evaluate.along import prepared, score
from basinbridge.evaluate.merge import merge
from basinbridge.symmetry.discover import discover


def outputs_of(network, names, inputs):
    """The results of some layers, (samples, channels) each, all inputs at once."""
    seen = {}

    def keep(name, module, output):
        linear = isinstance(module, nn.Linear)
        seen[name] = output.numpy() if linear else reference.samples_of(output)

    handles = [
        network.get_submodule(name).register_forward_hook(
            lambda module, _, output, name=name: keep(name, module, output)
        )
        for name in names
    ]
    with torch.no_grad():
        network(inputs)
    for handle in handles:
        handle.remove()
    return seen


def convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=2),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(72, 10),
        nn.GELU(),
        nn.Linear(10, 5),
    ).double()


@pytest.mark.parametrize("t", [0.3, 0.5])
def test_every_repaired_layer_has_the_interpolated_mean_and_deviation(t):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        nets = [convolutional() for _ in "ab"]
        inputs = torch.randn(40, 1, 8, 8, dtype=torch.float64) + 0.5
    data = (inputs, torch.zeros(40, dtype=torch.long))
    symmetry = discover(nets[0], inputs[:2])
    order = bb.random_permutation(symmetry, seed=1)
    found = merge(*nets, data, symmetry, order, t=t, batch_size=7)
    names = ("0", "2", "5")
    assert found.repaired == names
    assert found.untouched == ("7",)
    one, other = nets[0], bb.permute(nets[1], symmetry, order)
    ends = [outputs_of(net, names, inputs) for net in (one, other)]
    merged = outputs_of(found.network, names, inputs)
    plain = outputs_of(bb.Linear.between(one, other).network_at(t), names, inputs)
    for name in names:
        for measure in (np.mean, np.std):
            a, b = (measure(end[name], axis=0) for end in ends)
            assert measure(merged[name], axis=0) == pytest.approx((1 - t) * a + t * b, abs=1e-9)
    assert plain["5"].std(axis=0).mean() < 0.9 * merged["5"].std(axis=0).mean()


def test_one_end_stays_that_end_and_both_are_left_as_they_are():
    net_a, net_b, symmetry = built("mlp"), built("mlp", seed=1), symmetry_for("mlp")
    before = [copy_of(net) for net in (net_a, net_b)]
    data = data_for("mlp", 20)
    found = merge(net_a, net_b, data, symmetry, t=0.0)
    assert all(same_bits(net, old) for net, old in zip((net_a, net_b), before, strict=True))
    with torch.no_grad():
        assert torch.allclose(found.network(data[0]), net_a(data[0]))


def test_without_repair_it_is_the_aligned_midpoint():
    net_a, net_b, symmetry = built("mlp"), built("mlp", seed=1), symmetry_for("mlp")
    data = data_for("mlp", 30)
    aligned = bb.permute(net_b, symmetry, bb.align(net_a, net_b, data, symmetry))
    expected = bb.Linear.between(net_a, aligned).state_at(0.5)
    found = merge(net_a, net_b, data, symmetry, repair=False)
    assert same_bits(found.network, expected)
    assert found.repaired == ()


@functools.cache
def trained(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes = [64] * 6
        layers = [nn.Flatten()]
        for one, other in itertools.pairwise(sizes):
            layers += [nn.Linear(one, other), nn.ReLU()]
        network = nn.Sequential(*layers, nn.Linear(64, 10))
    data = load("digits", "train")
    return bb.train(network, data, epochs=10, batch_size=16, learning_rate=0.03, seed=seed)


def test_repair_lowers_the_loss_of_a_deep_merged_network():
    train, test = load("digits", "train"), load("digits", "test")
    net_a, net_b = trained(0), trained(1)
    symmetry = discover(net_a, train.scaled(train.images[:2]))
    tests = prepared(test, 500, torch.device("cpu"))
    plain, repaired = (
        score(merge(net_a, net_b, train, symmetry, repair=repair).network, tests)
        for repair in (False, True)
    )
    assert score(net_a, tests).accuracy > 0.9
    assert repaired.loss < plain.loss
    assert repaired.accuracy > plain.accuracy


def test_batch_norm_is_re_estimated_and_only_that():
    net_a, net_b, symmetry = built("digits"), built("digits", seed=1), symmetry_for("digits")
    data = data_for("digits", 24)
    found = merge(net_a, net_b, data, symmetry)
    assert found.repaired == ()
    assert len(found.untouched) == 6
    aligned = bb.permute(net_b, symmetry, bb.align(net_a, net_b, data, symmetry))
    middle = bb.Linear.between(net_a, aligned).network_at(0.5)
    for layer, (mean, variance) in reference.batch_norm_statistics(middle, [data]).items():
        own = found.network.get_submodule(layer)
        assert torch.allclose(own.running_mean, torch.as_tensor(mean))
        assert torch.allclose(own.running_var, torch.as_tensor(variance))
    pairs = zip(middle.parameters(), found.network.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


class Mixed(nn.Module):
    """Layers that cannot be repaired, and one that can."""

    def __init__(self):
        super().__init__()
        self.twice = nn.Linear(6, 6)
        self.bare = nn.Linear(6, 6, bias=False)
        self.added = nn.Linear(6, 6)
        self.good = nn.Linear(6, 8)
        self.last = nn.Linear(8, 5)

    def forward(self, x):
        x = functional.relu(self.twice(functional.relu(self.twice(x))))
        x = functional.relu(self.bare(x))
        x = functional.relu(x + self.added(x))
        return self.last(functional.relu(self.good(x)))


def test_layers_that_cannot_be_repaired_are_named():
    nets = [Mixed().double() for _ in "ab"]
    data = data_for("mlp", 10)
    found = merge(*nets, data, discover(nets[0], data[0][:2]))
    assert found.repaired == ("good",)
    assert found.untouched == ("twice", "bare", "added", "last")


def test_a_constant_channel_gets_the_mean_and_no_nan():
    net_a, net_b, symmetry = built("mlp"), built("mlp", seed=1), symmetry_for("mlp")
    with torch.no_grad():
        for net in (net_a, net_b):
            net[0].weight[3] = 0
    identity = bb.identity_permutation(symmetry)
    found = merge(net_a, net_b, data_for("mlp", 10), symmetry, identity)
    assert all(bool(torch.isfinite(p).all()) for p in found.network.parameters())
    expected = (net_a[0].bias[3] + net_b[0].bias[3]).detach() / 2
    assert torch.allclose(found.network[0].bias[3], expected)
