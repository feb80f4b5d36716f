from typing import get_args

import pytest
import torch
from networks import built, data_for, symmetry_for

import basinbridge as bb
from basinbridge.align.methods import Method


@pytest.mark.parametrize("method", get_args(Method))
def test_every_method_gives_a_permutation_that_keeps_the_function(method):
    net_a, net_b, symmetry = built("digits"), built("digits", seed=1), symmetry_for("digits")
    data = data_for("digits", 20)
    found = bb.align(net_a, net_b, data, symmetry, method=method, seed=4)
    moved = bb.permute(net_b, symmetry, found)
    with torch.no_grad():
        assert torch.allclose(moved(data[0]), net_b(data[0]), atol=1e-10)
    identity = bb.identity_permutation(symmetry)
    still = all(torch.equal(found[name], identity[name]) for name in identity)
    assert still == (method == "identity")


def test_random_follows_the_seed_and_needs_no_data():
    network, symmetry = built("mlp"), symmetry_for("mlp")
    draw = [
        bb.align(network, network, (), symmetry, method="random", seed=seed)["0"]
        for seed in (0, 0, 1)
    ]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
    assert torch.equal(draw[0], bb.random_permutation(symmetry, seed=0)["0"])
