import builtins
import itertools

import numpy as np
import pytest
import reference
import torch
from networks import NETWORKS, built, data_for, same_bits, symmetry_for

import basinbridge as bb
from basinbridge.align.activations import gather
from basinbridge.align.transport import apply_plan, match_by_transport, transport_plan

PLAIN = ["mlp", "digits", "residual"]


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "googlenet"])
def test_a_renumbered_copy_is_recognised_bit_for_bit(name):
    network, symmetry = built(name), symmetry_for(name)
    renumbered = bb.permute(network, symmetry, bb.random_permutation(symmetry, seed=3))
    found = bb.align(network, renumbered, data_for(name, 30), symmetry, method="optimal-transport")
    assert same_bits(bb.permute(renumbered, symmetry, found), network)


def test_the_hard_plan_is_the_cheapest_of_all_orders():
    net_a, net_b = (
        torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double()
        for _ in range(2)
    )
    data = data_for("mlp", 50)
    symmetry = bb.discover(net_a, data[0][:2])
    with torch.no_grad():
        one, other = (net[1](net[0](data[0])).numpy() for net in (net_a, net_b))
    cost = np.sqrt(np.square(one[:, :, None] - other[:, None, :]).mean(0))
    totals = {
        order: sum(cost[i, j] for i, j in enumerate(order))
        for order in itertools.permutations(range(6))
    }
    found = match_by_transport(symmetry, gather(net_a, net_b, data, symmetry))
    assert tuple(found["0"].tolist()) == min(totals, key=totals.get)


@pytest.mark.parametrize("name", PLAIN)
def test_a_soft_plan_is_doubly_stochastic_and_more_spread_the_more_it_is_regularised(name):
    net_a, net_b, symmetry = built(name), built(name, seed=1), symmetry_for(name)
    data = data_for(name, 30)
    spreads = []
    for regularisation in (0, 0.02, 0.5):
        plans = transport_plan(net_a, net_b, data, symmetry, regularisation=regularisation)
        assert set(plans) == set(symmetry.groups)
        for plan in plans.values():
            ones = torch.ones(len(plan), dtype=torch.float64)
            assert float(plan.min()) >= 0
            assert torch.allclose(plan.sum(0), ones, atol=1e-9)
            assert torch.allclose(plan.sum(1), ones, atol=1e-9)
        logs = [-(plan * plan.clamp_min(1e-300).log()).sum() / len(plan) for plan in plans.values()]
        spreads.append(float(sum(logs)))
    assert spreads[0] == pytest.approx(0, abs=1e-9)
    assert spreads[0] + 0.1 < spreads[1] < spreads[2] - 0.1


@pytest.mark.parametrize("regularisation", [0.05, 0.3])
def test_a_soft_plan_is_sinkhorns(regularisation):
    """Cuturi (2013): rows and columns of exp(-cost / weight) scaled in turns."""
    net_a, net_b, symmetry = built("mlp"), built("mlp", seed=1), symmetry_for("mlp")
    data = data_for("mlp", 40)
    found = transport_plan(net_a, net_b, data, symmetry, regularisation=regularisation)
    for depth, name in enumerate(symmetry.groups):
        one, other = (
            reference.samples_of(reference.activations_behind(net, data[0], depth)[1])
            for net in (net_a, net_b)
        )
        cost = np.sqrt(reference.squared_distance(one, other))
        plan = np.exp(-cost / (regularisation * cost.mean()))
        for _ in range(5000):
            plan = plan / plan.sum(axis=1, keepdims=True)
            plan = plan / plan.sum(axis=0, keepdims=True)
        assert np.allclose(found[name].numpy(), plan, atol=1e-7)


@pytest.mark.parametrize("name", PLAIN)
def test_a_permutation_matrix_does_what_the_permutation_does(name):
    network, symmetry = built(name), symmetry_for(name)
    order = bb.random_permutation(symmetry, seed=2)
    plans = {
        group: torch.eye(len(places), dtype=torch.float64)[places]
        for group, places in order.items()
    }
    state = network.state_dict()
    assert same_bits(apply_plan(state, symmetry, plans), bb.permute(state, symmetry, order))


def test_a_soft_plan_averages_rows_and_columns():
    network, symmetry = built("mlp"), symmetry_for("mlp")
    generator = torch.Generator().manual_seed(0)
    plans = {}
    for name, group in symmetry.groups.items():
        orders = [torch.randperm(group.size, generator=generator) for _ in range(3)]
        plans[name] = sum(torch.eye(group.size).double()[order] for order in orders) / 3
    state = network.state_dict()
    new = apply_plan(state, symmetry, plans)
    first, second = plans["0"], plans["2"]
    assert torch.allclose(new["0.weight"], first @ state["0.weight"])
    assert torch.allclose(new["2.weight"], second @ state["2.weight"] @ first.T)
    assert torch.allclose(new["2.bias"], second @ state["2.bias"])
    assert torch.allclose(new["4.weight"], state["4.weight"] @ second.T)
    assert torch.equal(new["4.bias"], state["4.bias"])


def test_blocks_stay_and_a_plan_for_them_is_refused():
    network, symmetry = built("encoder"), symmetry_for("encoder")
    data = data_for("encoder", 10)
    plans = transport_plan(network, built("encoder", seed=1), data, symmetry)
    ordinary = {
        name
        for name, group in symmetry.groups.items()
        if group.parent is None and not name.endswith(":blocks")
    }
    assert set(plans) == ordinary
    assert ordinary
    blocks = next(name for name in symmetry.groups if name.endswith(":blocks"))
    size = symmetry.groups[blocks].size
    with pytest.raises(bb.InputError, match="holds blocks"):
        apply_plan(network.state_dict(), symmetry, {blocks: torch.eye(size)})
    with pytest.raises(bb.InputError, match="no group 'x'"):
        apply_plan(network.state_dict(), symmetry, {"x": torch.eye(2)})
    with pytest.raises(bb.InputError, match="plan of shape"):
        apply_plan(network.state_dict(), symmetry, {next(iter(ordinary)): torch.eye(2)})


def test_without_pot_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **more):
        if name == "ot":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    network, symmetry = built("mlp"), symmetry_for("mlp")
    with pytest.raises(bb.InputError, match=r"basinbridge\[transport\]"):
        bb.align(network, network, data_for("mlp", 9), symmetry, method="optimal-transport")


def test_a_negative_regularisation_is_refused():
    network, symmetry = built("mlp"), symmetry_for("mlp")
    with pytest.raises(bb.InputError, match="regularisation is -1"):
        transport_plan(network, network, data_for("mlp", 9), symmetry, regularisation=-1)
