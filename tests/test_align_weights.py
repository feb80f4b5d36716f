import itertools

import numpy as np
import pytest
import torch
from networks import NETWORKS, built, same_bits, symmetry_for
from torch import nn

import basinbridge as bb
from basinbridge.align.weights import counted, match_weights, similarity


def parameters(network):
    return dict(network.named_parameters())


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "googlenet"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_renumbered_copy_is_recognised_bit_for_bit(name, seed):
    network, symmetry = built(name), symmetry_for(name)
    renumbered = bb.permute(network, symmetry, bb.random_permutation(symmetry, seed=3 + seed))
    assert not same_bits(renumbered, network)
    found = match_weights(parameters(network), parameters(renumbered), symmetry, seed=seed)
    assert same_bits(bb.permute(renumbered, symmetry, found), network)


@pytest.mark.parametrize("name", ["mlp", "residual", "grouped", "nested", "encoder"])
def test_no_sweep_lowers_the_sum_and_the_last_one_changes_nothing(name):
    net_a, net_b, symmetry = built(name), built(name, seed=1), symmetry_for(name)
    sums = []
    for iterations in range(6):
        found = match_weights(
            parameters(net_a), parameters(net_b), symmetry, seed=2, iterations=iterations
        )
        sums.append(naive_sum(net_a, bb.permute(net_b, symmetry, found)))
    assert all(late >= early - 1e-9 for early, late in itertools.pairwise(sums))
    assert sums[-1] > sums[0] + 1
    found = match_weights(parameters(net_a), parameters(net_b), symmetry, seed=2)
    matched = bb.permute(net_b, symmetry, found)
    again = match_weights(parameters(net_a), parameters(matched), symmetry, seed=5)
    identity = bb.identity_permutation(symmetry)
    assert all(torch.equal(again[group], identity[group]) for group in identity)


def naive_sum(one, other):
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return sum(float((a.detach() * b.detach()).sum()) for a, b in pairs)


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("name", ["mlp", "digits", "grouped", "nested", "encoder"])
def test_at_the_end_no_exchange_of_two_neurons_raises_the_sum(name, seed):
    net_a, net_b, symmetry = built(name), built(name, seed=seed), symmetry_for(name)
    found = match_weights(parameters(net_a), parameters(net_b), symmetry)
    matched = bb.permute(net_b, symmetry, found)
    reached = naive_sum(net_a, matched)
    for group in symmetry.groups.values():
        rows = int(np.prod(group.shape[:-1]))
        for row, (one, other) in itertools.product(
            range(rows), itertools.combinations(range(group.size), 2)
        ):
            change = bb.identity_permutation(symmetry)
            places = change[group.name].reshape(rows, group.size)
            places[row, [one, other]] = places[row, [other, one]]
            change[group.name] = places.reshape(group.shape)
            assert naive_sum(net_a, bb.permute(matched, symmetry, change)) <= reached + 1e-9


class Stream(nn.Module):
    """A residual stream that one weight reads and writes: the sum is quadratic in its order."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(2, 5)
        self.stay = nn.Linear(5, 5)
        self.leave = nn.Linear(5, 2)

    def forward(self, x):
        x = torch.relu(self.enter(x))
        return self.leave(torch.relu(x + self.stay(x)))


def test_a_linear_guess_that_lowers_the_sum_is_not_taken():
    symmetry = bb.discover(Stream().double(), torch.zeros(2, 2, dtype=torch.float64))
    assert [group.size for group in symmetry.groups.values()] == [5]
    for seed in range(30):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            nets = [Stream().double() for _ in "ab"]
            for net in nets:
                nn.init.normal_(net.stay.weight, std=3.0)
        sums = [
            naive_sum(nets[0], bb.permute(nets[1], symmetry, found))
            for found in (
                match_weights(*map(parameters, nets), symmetry, iterations=n) for n in range(5)
            )
        ]
        assert all(late >= early - 1e-9 for early, late in itertools.pairwise(sums))


@pytest.mark.parametrize("seed", range(4))
def test_one_hidden_layer_gets_the_best_of_all_orders(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        nets = [nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)).double() for _ in "ab"]
    symmetry = bb.discover(nets[0], torch.zeros(2, 3, dtype=torch.float64))
    found = match_weights(*map(parameters, nets), symmetry, seed=seed)
    best = max(
        naive_sum(nets[0], bb.permute(nets[1], symmetry, {"0": torch.tensor(order)}))
        for order in itertools.permutations(range(6))
    )
    reached = naive_sum(nets[0], bb.permute(nets[1], symmetry, found))
    assert reached == pytest.approx(best, rel=1e-12)


def test_the_similarity_is_the_sum_over_tensors_that_move():
    net_a, net_b, symmetry = built("mlp"), built("mlp", seed=1), symmetry_for("mlp")
    fixed = float((net_a[4].bias.detach() * net_b[4].bias.detach()).sum())
    expected = naive_sum(net_a, net_b) - fixed
    assert similarity(parameters(net_a), parameters(net_b), symmetry) == pytest.approx(expected)


def test_running_statistics_do_not_count():
    network, symmetry = built("digits"), symmetry_for("digits")
    names = counted(network.state_dict(), symmetry)
    assert set(names) == set(parameters(network))
    other = built("digits", seed=1)
    spoiled = other.state_dict() | {
        name: tensor.flip(0) * 100
        for name, tensor in other.state_dict().items()
        if "running" in name
    }
    one = match_weights(network.state_dict(), other.state_dict(), symmetry)
    two = match_weights(network.state_dict(), spoiled, symmetry)
    assert all(torch.equal(one[group], two[group]) for group in one)


def test_single_precision_and_the_sign_of_what_is_asked():
    """B = -A has the smallest sum where it stands: some other order must be better."""
    network, symmetry = built("mlp").float(), symmetry_for("mlp")
    negative = {name: -tensor for name, tensor in parameters(network).items()}
    found = match_weights(parameters(network), negative, symmetry)
    matched = bb.permute(negative, symmetry, found)
    before = similarity(parameters(network), negative, symmetry)
    assert similarity(parameters(network), matched, symmetry) > before + 1


def test_states_that_do_not_fit_are_refused():
    network, symmetry = built("mlp"), symmetry_for("mlp")
    with pytest.raises(bb.InputError, match=r"'features\.0"):
        match_weights(built("digits").state_dict(), built("digits").state_dict(), symmetry)
    with pytest.raises(bb.InputError, match="network b has no tensor"):
        match_weights(parameters(network), {}, symmetry)
    broken = {n: torch.full_like(t, torch.nan) for n, t in parameters(network).items()}
    with pytest.raises(bb.InputError, match=r"network b: tensor '0\.weight'"):
        match_weights(parameters(network), broken, symmetry)
