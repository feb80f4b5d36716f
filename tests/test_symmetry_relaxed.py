from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import NETWORKS, built, inputs_for, symmetry_for
from torch import nn
from torch.nn import functional

import basinbridge as bb
from basinbridge.symmetry.relaxed import relax


class Flattening(nn.Module):
    """Each channel stands at nine places of the linear layer's inputs."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 4, 3), nn.Linear(36, 3)

    def forward(self, images):
        return self.head(torch.relu(self.conv(images)).flatten(1))


class Joining(nn.Module):
    """Two groups side by side on one axis, one of them twice, between fixed positions."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(3, 4), nn.Linear(3, 5)
        self.head = nn.Linear(3 + 4 + 5 + 4, 2)

    def forward(self, inputs):
        one, two = torch.relu(self.one(inputs)), torch.relu(self.two(inputs))
        return self.head(torch.cat([inputs, one, two, one], 1))


class Products(nn.Module):
    """Every pair of a neuron of one group and one of another stands on one axis."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.Linear(3, 3), nn.Linear(3, 4), nn.Linear(12, 2)

    def forward(self, inputs):
        one, two = torch.relu(self.one(inputs)), torch.relu(self.two(inputs))
        return self.head((one[:, :, None] * two[:, None, :]).flatten(1))


class Squares(nn.Module):
    """Every pair of two neurons of one group stands on one axis."""

    def __init__(self):
        super().__init__()
        self.one, self.head = nn.Linear(3, 4), nn.Linear(16, 2)

    def forward(self, inputs):
        one = torch.relu(self.one(inputs))
        return self.head((one[:, :, None] * one[:, None, :]).flatten(1))


OWN = {
    "flattening": (Flattening, (2, 5, 5)),
    "joining": (Joining, (3,)),
    "products": (Products, (3,)),
    "squares": (Squares, (3,)),
}
# What can be relaxed of each; the rest are blocks or inside them.
RELAXED = {"encoder": {"linear1"}}


def case(name, seed=0):
    """A network in float64 and its symmetry."""
    if name in NETWORKS:
        return built(name, seed), symmetry_for(name)
    torch.manual_seed(seed)
    network = OWN[name][0]().double().eval()
    return network, bb.discover(network, torch.randn(2, *OWN[name][1]).double())


ALL = [*NETWORKS, *OWN]


def random_matrices(relaxation, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = {name: relaxation.symmetry.groups[name].size for name in relaxation.groups}
    return {
        name: torch.rand(size, size, generator=generator, dtype=torch.float64).softmax(1)
        for name, size in sizes.items()
    }


def matrices_of(relaxation, permutation):
    return {
        name: torch.eye(len(permutation[name]), dtype=torch.float64)[permutation[name]]
        for name in relaxation.groups
    }


@pytest.mark.parametrize("name", ALL)
def test_at_a_permutation_it_is_that_permutation_exactly(name):
    network, symmetry = case(name)
    relaxation = relax(symmetry)
    permutation = bb.random_permutation(symmetry, seed=4)
    state = bb.permute(network.state_dict(), symmetry, relaxation.hard_part(permutation))
    found = relaxation.apply(state, matrices_of(relaxation, permutation))
    expected = bb.permute(network.state_dict(), symmetry, permutation)
    assert list(found) == list(expected)
    assert all(torch.equal(found[tensor], expected[tensor]) for tensor in expected)


@pytest.mark.parametrize("name", ALL)
def test_groups_are_relaxed_unless_they_are_blocks_or_inside_one(name):
    _, symmetry = case(name)
    parents = {group.parent for group in symmetry.groups.values()}
    ordinary = {n for n, g in symmetry.groups.items() if g.parent is None and n not in parents}
    assert set(relax(symmetry).groups) == RELAXED.get(name, ordinary) == ordinary
    assert ordinary


def test_the_hard_part_moves_no_relaxed_group():
    _, symmetry = case("encoder")
    relaxation = relax(symmetry)
    permutation = bb.random_permutation(symmetry, seed=2)
    hard = relaxation.hard_part(permutation)
    for name, group in symmetry.groups.items():
        expected = torch.arange(group.size) if name in relaxation.groups else permutation[name]
        assert torch.equal(hard[name], expected)


def kronecker(network, matrices):
    """The mixed tensors of our own networks, written out with whole matrices."""
    state = dict(network.state_dict())
    if isinstance(network, Flattening):
        (matrix,) = matrices.values()
        wide = torch.kron(matrix, torch.eye(9, dtype=torch.float64))
        kernel = torch.einsum("ij,jckl->ickl", matrix, state["conv.weight"])
        return {
            "conv.weight": kernel,
            "conv.bias": matrix @ state["conv.bias"],
            "head.weight": state["head.weight"] @ wide.T,
            "head.bias": state["head.bias"],
        }
    one, two = matrices["one"], matrices.get("two", matrices["one"])
    wide = (
        torch.block_diag(torch.eye(3, dtype=torch.float64), one, two, one)
        if isinstance(network, Joining)
        else torch.kron(one, two)
    )
    mixed = {"head.weight": state["head.weight"] @ wide.T, "head.bias": state["head.bias"]}
    for name, matrix in matrices.items():
        for part in ("weight", "bias"):
            mixed[f"{name}.{part}"] = matrix @ state[f"{name}.{part}"]
    return mixed


@pytest.mark.parametrize("name", OWN)
def test_positions_mix_as_whole_matrices_on_the_axis_say(name):
    network, symmetry = case(name)
    relaxation = relax(symmetry)
    matrices = random_matrices(relaxation)
    found = relaxation.apply(network.state_dict(), matrices)
    for tensor, expected in kronecker(network, matrices).items():
        torch.testing.assert_close(found[tensor], expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ["mlp", "residual", "encoder", *OWN])
def test_the_gradient_by_the_matrices_is_that_of_finite_differences(name):
    network, symmetry = case(name)
    relaxation = relax(symmetry)
    state = {n: t for n, t in network.state_dict().items() if t.is_floating_point()}
    generator = torch.Generator().manual_seed(5)
    matrices = random_matrices(relaxation)
    weights = {n: torch.randn(t.shape, generator=generator).double() for n, t in state.items()}

    def value(given):
        mixed = relaxation.apply(state, given)
        return sum((torch.sin(mixed[n]) * weights[n]).sum() for n in state)

    leaves = {n: m.clone().requires_grad_() for n, m in matrices.items()}
    gradients = torch.autograd.grad(value(leaves), list(leaves.values()))
    for (group, matrix), gradient in zip(matrices.items(), gradients, strict=True):
        for _ in range(4):
            i, j = (int(torch.randint(len(matrix), (), generator=generator)) for _ in range(2))
            ends = []
            for step in (1e-5, -1e-5):
                changed = matrix.clone()
                changed[i, j] += step
                ends.append(float(value({**matrices, group: changed})))
            slope = (ends[0] - ends[1]) / 2e-5
            assert float(gradient[i, j]) == pytest.approx(slope, abs=1e-7, rel=1e-6)


def test_two_copies_of_a_neuron_may_be_averaged_without_changing_the_function():
    """Equal neurons are a case where even a relaxed permutation keeps what the network does."""
    network, symmetry = built("mlp"), symmetry_for("mlp")
    state = dict(network.state_dict())
    for name in ("0.weight", "0.bias"):
        state[name] = state[name].clone()
        state[name][1] = state[name][0]
    mean = torch.eye(12, dtype=torch.float64)
    mean[:2, :2] = 0.5
    relaxation = relax(symmetry)
    matrices = {**matrices_of(relaxation, bb.identity_permutation(symmetry)), "0": mean}
    mixed = relaxation.apply(state, matrices)
    inputs = inputs_for("mlp", 5)
    outputs = []
    for one in (state, mixed):
        hidden = functional.relu(functional.linear(inputs, one["0.weight"], one["0.bias"]))
        outputs.append(functional.linear(hidden, one["2.weight"], one["2.bias"]))
    torch.testing.assert_close(*outputs, atol=1e-12, rtol=0)
    assert not torch.equal(mixed["2.weight"], state["2.weight"])


def test_a_group_of_which_only_some_pairs_stand_on_an_axis_stays_hard():
    """A mean of pairs needs every pair; without the last of them, both groups must keep still."""
    _, symmetry = case("products")
    fixed, pairs = symmetry.axes["head.weight"]
    assert relax(symmetry).groups == ("one", "two")
    fewer = replace(symmetry, axes={**symmetry.axes, "head.weight": (fixed, pairs[:, :-1])})
    assert relax(fewer).groups == ()
    assert relax(fewer).mixings == {}


def test_a_group_that_stands_in_one_row_of_an_axis_stays_hard():
    """What an axis holds at one position of another is no place along the axis."""
    _, symmetry = case("joining")
    fixed, parts = symmetry.axes["head.weight"]
    rows = np.concatenate([parts[:, 3:7], parts[:, 7:11]])  # all of one, and some of two
    anew = replace(symmetry, axes={**symmetry.axes, "head.weight": (fixed, rows)})
    assert relax(anew).groups == ()


def test_a_tensor_that_nothing_mixes_is_returned_itself():
    network, symmetry = case("mlp")
    state = dict(network.state_dict())
    found = relax(symmetry).apply(state, random_matrices(relax(symmetry)))
    assert found["4.bias"] is state["4.bias"]
    assert found["4.weight"] is not state["4.weight"]
