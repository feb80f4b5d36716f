import numpy as np
import pytest
import torch
from networks import built, symmetry_for

import basinbridge as bb
from basinbridge.align.slices import Slices, slices_of

NETWORKS = ["mlp", "digits", "residual", "grouped", "nested", "encoder"]


@pytest.mark.parametrize("name", NETWORKS)
def test_moving_slices_about_is_what_a_permutation_of_one_group_does(name):
    """Of tensors that a group meets once; on two axes of one tensor the slices move one axis."""
    symmetry = symmetry_for(name)
    state = built(name).state_dict()
    generator = torch.Generator().manual_seed(1)
    checked = 0
    for group, found in slices_of(symmetry).items():
        permutation = bb.identity_permutation(symmetry)
        shape = symmetry.groups[group].shape
        rows = permutation[group].reshape(-1, shape[-1])
        order = torch.stack([row[torch.randperm(len(row), generator=generator)] for row in rows])
        permutation[group] = order.reshape(shape)
        wanted = bb.permute(state, symmetry, permutation)
        whole = (order + torch.arange(len(order))[:, None] * shape[-1]).ravel()
        tensors = [one.tensor for one in found]
        for one in found:
            if tensors.count(one.tensor) == 1 and not has_inside(symmetry, group):
                old = state[one.tensor]
                moved = one.write(old, one.read(old)[whole])
                assert torch.equal(moved, wanted[one.tensor])
                checked += 1
    assert checked


def has_inside(symmetry, name):
    return any(group.parent == name for group in symmetry.groups.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_no_entry_belongs_to_two_members_and_none_that_moves_is_forgotten(name):
    symmetry = symmetry_for(name)
    found = slices_of(symmetry)
    for group in symmetry.groups.values():
        tensors = {one.tensor for one in found[group.name]}
        inside = {tensor for other in symmetry.groups.values() if other.parent == group.name
                  for tensor, _ in other.tensors}  # fmt: skip
        assert tensors | inside >= {tensor for tensor, _ in group.tensors}
        for one in found[group.name]:
            assert one.entries.shape[:-1] == group.shape
            assert np.unique(one.entries).size == one.entries.size


def test_the_tables_of_known_layers():
    """Columns behind a flatten, channel by channel; and the rows of packed projections."""
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(12, 2)
    )
    symmetry = bb.discover(net, torch.zeros(2, 1, 4, 4))
    (columns,) = [one for one in slices_of(symmetry)["0"] if one.tensor == "3.weight"]
    assert columns.dims == (1,)
    assert columns.entries.tolist() == np.arange(12).reshape(3, 4).tolist()
    found = slices_of(symmetry_for("encoder"))
    packed = {name: one for name in found for one in found[name] if "in_proj_bias" in one.tensor}
    tables = sorted(one.entries.shape for one in packed.values())
    assert tables == [(3, 4, 1), (3, 4, 2)]  # values; queries and keys together
    queries_and_keys = next(one for one in packed.values() if one.entries.shape[-1] == 2)
    assert queries_and_keys.entries[2, 1].tolist() == [9, 21]


def test_reading_and_writing_leave_a_tensor_as_it_is():
    tensor = torch.randn(2, 6, 3, dtype=torch.float64)
    one = Slices("x", (1,), np.array([[0, 3], [1, 4], [5, 2]]))
    assert one.read(tensor).shape == (3, 12)
    assert torch.equal(one.write(tensor, one.read(tensor)), tensor)
    doubled = one.write(tensor, 2 * one.read(tensor))
    assert torch.equal(doubled, 2 * tensor)
