import copy

import pytest
import torch
from networks import NETWORKS, built, copy_of, inputs_for, same_bits, symmetry_for
from torch import nn
from torch.utils._pytree import tree_leaves

import basinbridge as bb
from basinbridge.symmetry.permutation import compose, invert


def outputs_of(network, inputs):
    with torch.no_grad():
        return tree_leaves(network(inputs))


def assert_same_function(one, other, inputs):
    pairs = list(zip(outputs_of(one, inputs), outputs_of(other, inputs), strict=True))
    assert pairs
    for before, after in pairs:
        torch.testing.assert_close(after, before, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_random_permutation_changes_the_weights_and_not_the_function(name):
    network, symmetry = built(name), symmetry_for(name)
    permutation = bb.random_permutation(symmetry)
    renumbered = bb.permute(network, symmetry, permutation)
    inputs = inputs_for(name, 3)
    assert max(output.abs().max() for output in outputs_of(network, inputs)) > 1e-2
    assert_same_function(network, renumbered, inputs)
    moved = {tensor for group in symmetry.groups.values() for tensor, _ in group.tensors}
    one, other = network.state_dict(), renumbered.state_dict()
    assert all(torch.equal(one[key], other[key]) == (key not in moved) for key in one)
    for key in one:
        if one[key].numel() < 10_000:
            assert torch.equal(one[key].ravel().sort()[0], other[key].ravel().sort()[0])


@pytest.mark.parametrize("name", ["digits", "tinyten", "residual", "googlenet"])
def test_training_outputs_auxiliary_ones_included_stay_as_well(name):
    network, symmetry = built(name).train(), symmetry_for(name)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # it would strike other neurons
    renumbered = bb.permute(network, symmetry, bb.random_permutation(symmetry))
    inputs = inputs_for(name, 4)
    assert len(outputs_of(copy.deepcopy(network), inputs)) == (3 if name == "googlenet" else 1)
    assert_same_function(copy.deepcopy(network), renumbered, inputs)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_group_may_be_permuted_alone(name):
    network, symmetry = built(name), symmetry_for(name)
    inputs = inputs_for(name, 2)
    whole = bb.random_permutation(symmetry)
    for group in list(symmetry.groups)[:6]:
        alone = {**bb.identity_permutation(symmetry), group: whole[group]}
        assert_same_function(network, bb.permute(network, symmetry, alone), inputs)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_identity_changes_nothing(name):
    network, symmetry = built(name), symmetry_for(name)
    identity = bb.identity_permutation(symmetry)
    assert same_bits(bb.permute(network, symmetry, identity), network)
    assert same_bits(bb.permute(network.state_dict(), symmetry, identity), network)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_inverse_gives_back_what_there_was(name):
    network, symmetry = built(name), symmetry_for(name)
    permutation = bb.random_permutation(symmetry, seed=5)
    back = invert(symmetry, permutation)
    renumbered = bb.permute(network, symmetry, permutation)
    assert not same_bits(renumbered, network)
    assert same_bits(bb.permute(renumbered, symmetry, back), network)
    assert equal(invert(symmetry, back), permutation)
    assert equal(compose(symmetry, permutation, back), bb.identity_permutation(symmetry))


@pytest.mark.parametrize("name", NETWORKS)
def test_two_permutations_one_after_the_other_are_their_composition(name):
    network, symmetry = built(name), symmetry_for(name)
    first, second = (bb.random_permutation(symmetry, seed=seed) for seed in (1, 2))
    in_turn = bb.permute(bb.permute(network, symmetry, first), symmetry, second)
    at_once = bb.permute(network, symmetry, compose(symmetry, first, second))
    assert same_bits(in_turn, at_once)
    assert not equal(compose(symmetry, first, second), compose(symmetry, second, first))


def equal(one, other):
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_new_i_is_old_of_permutation_i():
    network, symmetry = built("mlp"), symmetry_for("mlp")
    order = torch.arange(12).roll(1)
    permutation = {**bb.identity_permutation(symmetry), "0": order}
    new = bb.permute(network, symmetry, permutation)
    assert all(torch.equal(new[0].weight[i], network[0].weight[order[i]]) for i in range(12))
    assert all(torch.equal(new[2].weight[:, i], network[2].weight[:, order[i]]) for i in range(12))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_module_gives_a_module_a_state_a_state_and_both_are_copies(name):
    network, symmetry = built(name), symmetry_for(name)
    permutation = bb.random_permutation(symmetry)
    module = bb.permute(network, symmetry, permutation)
    given = network.state_dict()
    state = bb.permute(given, symmetry, permutation)
    assert type(module) is type(network)
    assert type(state) is dict
    assert same_bits(module, state)
    for tensor in (*state.values(), *module.state_dict().values()):
        tensor.zero_()
    assert same_bits(network, built(name))
    assert same_bits(given, built(name))


def test_permutations_follow_their_seed():
    symmetry = symmetry_for("grouped")
    one, again, other = (bb.random_permutation(symmetry, seed=seed) for seed in (1, 1, 2))
    assert equal(one, again)
    assert not equal(one, other)
    assert {name: tuple(order.shape) for name, order in one.items()} == {
        name: group.shape for name, group in symmetry.groups.items()
    }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"0": torch.arange(12).clamp_min(1)}, "'0'"),
        ({"2": torch.arange(9)}, "'2'"),
        ({"2": torch.arange(11)}, "'2'"),
        ({"2": torch.arange(1, 11)}, "'2'"),
        ({"0": torch.arange(12).reshape(3, 4)}, "'0'"),
        ({"0": None}, "'0'"),
        ({"none": torch.arange(2)}, "'none'"),
    ],
)
def test_a_wrong_permutation_is_refused_by_its_group(change, named):
    permutation = {**bb.identity_permutation(symmetry_for("mlp")), **change}
    permutation = {name: order for name, order in permutation.items() if order is not None}
    network, symmetry = built("mlp"), symmetry_for("mlp")
    for act in (
        lambda: bb.permute(network, symmetry, permutation),
        lambda: bb.permute(network.state_dict(), symmetry, permutation),
        lambda: invert(symmetry, permutation),
        lambda: compose(symmetry, bb.identity_permutation(symmetry), permutation),
    ):
        with pytest.raises(bb.InputError, match=named):
            act()
    assert same_bits(network, built("mlp"))


@pytest.mark.parametrize(
    "other",
    [
        nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 10), nn.ReLU(), nn.Linear(10, 5)),
        nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 10)),
        nn.Sequential(*built("mlp"), nn.ReLU(), nn.Linear(5, 2)),
        nn.Sequential(nn.Conv1d(6, 12, 1), *list(built("mlp"))[1:]),
    ],
)
def test_a_symmetry_of_another_network_is_refused(other):
    symmetry = symmetry_for("mlp")
    for permutation in (bb.identity_permutation(symmetry), bb.random_permutation(symmetry)):
        for given in (other, other.state_dict()):
            with pytest.raises(bb.InputError, match="not this network's: tensor '"):
                bb.permute(given, symmetry, permutation)


def test_tied_tensors_are_permuted_once_and_stay_tied():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.enter, self.leave = nn.Linear(3, 8), nn.Linear(8, 2)
            self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8)
            self.two.weight = self.one.weight

        def forward(self, inputs):
            hidden = torch.relu(self.enter(inputs))
            hidden = hidden + torch.relu(self.one(hidden))
            return self.leave(hidden + torch.relu(self.two(hidden)))

    network = Shared().double()
    inputs = torch.randn(5, 3, dtype=torch.float64)
    symmetry = bb.discover(network, inputs)
    before = copy_of(network)
    permutation = bb.random_permutation(symmetry)
    renumbered = bb.permute(network, symmetry, permutation)
    assert renumbered.two.weight is renumbered.one.weight
    assert not torch.equal(renumbered.one.weight, network.one.weight)
    assert_same_function(network, renumbered, inputs)
    assert same_bits(bb.permute(before, symmetry, permutation), renumbered)
