"""Random networks keep their function under random renumberings."""

import os

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import RandomNetwork

import basinbridge as bb

EXAMPLES = int(os.environ.get("BASINBRIDGE_EXAMPLES", "20"))


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(2, 10))
def test_random_networks_keep_their_function(seed, steps):
    torch.manual_seed(seed)
    network = RandomNetwork(seed, steps)
    symmetry = bb.discover(network, torch.randn(2, 3, 4, 4))
    assert symmetry.unsupported == ()
    state = network.state_dict()
    for name, group in symmetry.groups.items():
        turned = bb.identity_permutation(symmetry)
        turned[name] = turned[name].roll(1, dims=-1)
        moved = bb.permute(state, symmetry, turned)
        assert any(not torch.equal(moved[key], state[key]) for key in state), group
