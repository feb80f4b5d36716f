"""What the caller settles: fixed axes never move, tied ones move alike, all else stays free."""

from functools import cache
from itertools import combinations, islice

import pytest
import torch
from families import FAMILIES
from torch import nn

import basinbridge as bb
from basinbridge.symmetry.permutation import tensor_indices

NAMES = ["perceptron", "regnet_y", "depth_norms", "deit", "swin_v2", "llama", "gru"]


def discovered(name, **settled):
    torch.manual_seed(0)
    return bb.discover(*FAMILIES[name].build(), **settled)


@cache
def free(name):
    return discovered(name)


def turned(symmetry):
    """Where each axis of each tensor reads from when every group is turned by one place."""
    identity = bb.identity_permutation(symmetry)
    return tensor_indices(symmetry, {name: one.roll(1, -1) for name, one in identity.items()})


def acting(symmetry, axis):
    return {name for name, group in symmetry.groups.items() if axis in group.tensors}


def moving(symmetry):
    """Every (tensor, dimension) on which some group acts."""
    axes = [axis for group in symmetry.groups.values() for axis in group.tensors]
    return list(dict.fromkeys(axes))


@pytest.mark.parametrize("name", NAMES)
def test_a_fixed_axis_never_moves_and_what_other_groups_move_still_moves(name):
    before = free(name)
    for axis in moving(before)[:: len(moving(before)) // 2]:
        after = discovered(name, fixed=[axis])
        tensor, dim = axis
        assert turned(before)[tensor][dim] is not None
        assert turned(after)[tensor][dim] is None
        assert not acting(after, axis)
        assert after.fixed[axis] == "the caller"
        gone = acting(before, axis)
        free_still = {one for one in moving(before) if acting(before, one) - gone}
        assert free_still <= set(moving(after)) < set(moving(before))


@pytest.mark.parametrize("name", NAMES)
def test_a_fixed_tensor_moves_along_no_axis(name):
    tensor = moving(free(name))[0][0]
    assert set(turned(discovered(name, fixed=[tensor]))[tensor]) == {None}


@pytest.mark.parametrize("name", NAMES)
def test_tied_axes_move_alike(name):
    before = free(name)
    axes = before.axes
    pairs = (
        pair
        for pair in combinations(moving(before), 2)
        if acting(before, pair[0]).isdisjoint(acting(before, pair[1]))
        and len({axes[tensor][dim].squeeze().shape for tensor, dim in pair}) == 1
    )
    for pair in islice(pairs, 2):
        after = discovered(name, tied=[pair])
        one, other = (turned(after)[tensor][dim] for tensor, dim in pair)
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one.ravel(), other.ravel())
        assert acting(after, pair[0]) == acting(after, pair[1])
        assert len(after.groups) < len(before.groups)


def line():
    """Three hidden layers of one width."""
    layers = [nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(6, 2)), torch.randn(2, 3)


def test_two_tied_groups_are_one_that_acts_on_the_axes_of_both():
    groups = bb.discover(*line()).groups
    tied = bb.discover(*line(), tied=[(("0.weight", 0), ("2.bias", 0))]).groups
    assert [(g.name, g.size) for g in tied.values()] == [("0", 6), ("4", 6)]
    assert set(tied["0"].tensors) == {*groups["0"].tensors, *groups["2"].tensors}
    assert tied["4"].tensors == groups["4"].tensors


def test_tying_to_a_fixed_axis_fixes_and_dimensions_may_count_from_the_end():
    symmetry = bb.discover(
        *line(), fixed=[("4.weight", -2)], tied=[(("4.bias", 0), ("0.weight", 0))]
    )
    assert list(symmetry.groups) == ["2"]


@pytest.mark.parametrize(
    ("settled", "message"),
    [
        ({"fixed": ["0.wieght"]}, "fixed: .* no tensor '0.wieght'; did you mean '0.weight'"),
        ({"fixed": [("0.weight", 2)]}, "fixed: .*'0.weight' has no dimension 2; it has 2"),
        ({"fixed": [("0.bias", -2)]}, "fixed: .*'0.bias' has no dimension -2; it has 1"),
        ({"tied": [(("0.weight", 0), ("3.weight", 0))]}, "tied: .* no tensor '3.weight'"),
        ({"tied": [(("0.weight", 0), ("2.bias", 1))]}, "tied: .*'2.bias' has no dimension 1"),
        ({"tied": [(("0.weight", 0), ("0.weight", 1))]}, "0.weight.0. of 6 .*0.weight.1. of 3 "),
    ],
)
def test_what_the_network_does_not_have_is_named_with_what_is_near(settled, message):
    with pytest.raises(bb.InputError, match=message) as error:
        bb.discover(*line(), **settled)
    assert "\n" not in str(error.value)
