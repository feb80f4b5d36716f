"""From equations to families: laws of pairs, nested splits, roles, contradictions."""

import numpy as np
import torch
from torch import nn

import basinbridge as bb
from basinbridge.symmetry.axes import Equations
from basinbridge.symmetry.solve import solve


def shapes(equations):
    families = solve(equations).families
    return sorted(f.members.shape for f in families if f.members.shape[-1] > 1)


def split(equations, axis, *sizes):
    outer, inner = equations.split(axis, 0, sizes)
    equations.occur((outer, inner))
    return outer, inner


def line(equations, size):
    (axis,) = equations.fresh_axes((size,))
    equations.occur((axis,))
    return axis


def test_equal_wholes_of_one_split_have_equal_coordinates():
    equations = Equations()
    axis = line(equations, 6)
    one, other = split(equations, axis, 2, 3), split(equations, axis, 2, 3)
    component = solve(equations).component
    for left, right in zip(one, other, strict=True):
        assert np.array_equal(component[left], component[right])


def test_blocks_and_their_insides():
    equations = Equations()
    split(equations, line(equations, 6), 2, 3)
    assert shapes(equations) == [(2,), (2, 3)]


def test_nested_splits_make_blocks_in_blocks():
    equations = Equations()
    axis = line(equations, 12)
    split(equations, axis, 2, 6)
    split(equations, axis, 4, 3)
    assert shapes(equations) == [(2,), (2, 2), (2, 2, 3)]


def test_crossing_splits_fix_the_axis():
    equations = Equations()
    axis = line(equations, 12)
    split(equations, axis, 3, 4)
    split(equations, axis, 4, 3)
    assert shapes(equations) == []


def test_one_numbering_for_the_insides_of_all_blocks():
    equations = Equations()
    _, inner = split(equations, line(equations, 6), 2, 3)
    equations.independent(inner, [0])
    assert shapes(equations) == [(2,), (3,)]


def test_two_halves_that_meet_move_together():
    equations = Equations()
    axis = line(equations, 6)
    left, right = axis[:3], axis[3:]
    equations.occur((left,))
    equations.occur((right,))
    equations.unite(left, right, 0, "a gate")
    assert shapes(equations) == [(3,)]


def test_an_axis_added_to_its_reverse_is_fixed():
    equations = Equations()
    axis = line(equations, 4)
    equations.occur((axis[::-1],))
    equations.unite(axis, axis[::-1], 0, "a sum")
    assert shapes(equations) == []


def test_parts_on_axes_of_their_own_are_told_apart():
    equations = Equations()
    axis = line(equations, 7)
    equations.occur((axis[:3],))
    equations.occur((axis[3:],))
    assert shapes(equations) == [(3,), (4,)]


def test_rows_that_would_be_torn_are_fixed():
    equations = Equations()
    one = line(equations, 6)
    rows = np.stack([one[[0, 1, 2, 3]], one[[2, 3, 4, 5]], one[[4, 5, 0, 1]]])
    equations.occur((None, rows))
    assert shapes(equations) == []


def test_a_coordinate_of_itself_is_fixed():
    equations = Equations()
    axis = line(equations, 4)
    outer, inner = split(equations, axis, 2, 2)
    equations.same.append((axis[:2], outer.ravel()))
    equations.same.append((axis[2:], inner.ravel()[:2]))
    assert shapes(equations) == []


def test_images_follow_their_coordinates():
    equations = Equations()
    axis = line(equations, 6)
    split(equations, axis, 2, 3)
    solution = solve(equations)
    blocks, inside = sorted(solution.families, key=lambda family: family.members.ndim)
    assert blocks.parent is None
    assert solution.families[inside.parent] is blocks
    image = solution.image([np.array([1, 0]), np.array([[0, 1, 2], [2, 0, 1]])])
    place = {int(component): k for k, component in enumerate(solution.component[axis])}
    moved = [place[int(one)] for one in image[solution.component[axis]]]
    assert moved == [3, 4, 5, 2, 0, 1]


def test_group_norm_before_a_grouped_convolution_nests():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.norm = nn.Conv2d(2, 16, 1), nn.GroupNorm(2, 16)
            self.two, self.head = nn.Conv2d(16, 8, 3, groups=4), nn.Linear(8, 2)

        def forward(self, x):
            return self.head(self.two(torch.relu(self.norm(self.one(x)))).mean((2, 3)))

    symmetry = bb.discover(Net(), torch.randn(2, 2, 5, 5))
    shapes = sorted(group.shape for group in symmetry.groups.values())
    assert shapes == [(2,), (2, 2), (2, 2, 2), (2, 2, 4)]
    assert symmetry.parameter_share > 0.95
