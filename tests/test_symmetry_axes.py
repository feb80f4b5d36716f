"""Atoms and the statements about them."""

import numpy as np

from basinbridge.symmetry.axes import Equations
from basinbridge.symmetry.solve import solve


def sizes(equations):
    """The shapes of the families that may be renumbered."""
    families = solve(equations).families
    return sorted(f.members.shape for f in families if f.members.shape[-1] > 1)


def test_fresh_atoms_are_counted_on():
    equations = Equations()
    assert equations.fresh(2, 2).tolist() == [[0, 1], [2, 3]]
    assert equations.fresh(3).tolist() == [4, 5, 6]


def test_dimensions_of_size_one_have_no_axis():
    axes = Equations().fresh_axes((4, 1, 3))
    assert axes[1] is None
    assert [axis.shape for axis in (axes[0], axes[2])] == [(4, 1, 1), (1, 1, 3)]


def test_free_axes_are_one_family_each():
    equations = Equations()
    equations.occur(equations.fresh_axes((4, 3)))
    assert sizes(equations) == [(3,), (4,)]


def test_united_axes_are_numbered_alike():
    equations = Equations()
    one, other = equations.fresh_axes((4,)), equations.fresh_axes((4,))
    equations.occur(one)
    equations.occur(other)
    equations.unite(one[0], other[0], 0, "a sum")
    assert sizes(equations) == [(4,)]


def test_what_meets_a_fixed_axis_is_fixed():
    equations = Equations()
    (axis,) = equations.fresh_axes((4,))
    equations.occur((axis,))
    assert equations.unite(axis, None, 0, "an image") is None
    assert sizes(equations) == []
    assert equations.pinned[0][1] == "an image"


def test_splitting_and_merging_gives_back_the_same_components():
    equations = Equations()
    (axis,) = equations.fresh_axes((6,))
    outer, inner = equations.split(axis, 0, (2, 3))
    whole = equations.merge(outer, inner, 0, (2, 3))
    equations.occur((axis,))
    equations.occur((whole,))
    equations.unite(axis, whole, 0, "a residual")
    assert sizes(equations) == [(2,), (2, 3)]


def test_merging_with_a_fixed_dimension_keeps_the_free_one():
    equations = Equations()
    (axis,) = equations.fresh_axes((4,))
    whole = equations.merge(axis.reshape(4, 1), None, 0, (4, 5))
    equations.occur((whole,))
    assert whole.shape == (20,)
    assert sizes(equations) == [(4,)]


def test_an_axis_made_independent_has_one_numbering():
    equations = Equations()
    axis = equations.fresh(3, 4)
    equations.occur((None, axis))
    assert equations.independent(axis, [0]).shape == (1, 4)
    component = solve(equations).component
    assert np.unique(component).size == 4
