"""The three networks that a plane goes through, where curves are given."""

from dataclasses import dataclass

from torch import Tensor

from ..curve.paths import Curve
from ..errors import InputError
from ..state import State


@dataclass(frozen=True)
class Corners:
    """Three networks, their names, the straight lines to draw, and curves."""

    states: list[State]
    names: list[str]
    lines: list[tuple[int, int]]
    curves: dict[str, Curve]


def corners_of_pair(unaligned: Curve, aligned: Curve) -> Corners:
    """The plane of both initialisations: theta_1, theta_2 and P theta_2 (Figure 3 of the paper).

    Raises `InputError` unless both curves start at one network.
    """
    if not bool((unaligned.points[0] == aligned.points[0]).all()):
        raise InputError("the second curve starts at another network than the first")
    states = [unaligned.state_at(0), unaligned.state_at(1), aligned.state_at(1)]
    curves = {"unaligned curve": unaligned, "aligned curve": aligned}
    return Corners(states, ["θ₁", "θ₂", "P θ₂"], [(0, 1), (0, 2)], curves)


def corners_of_curve(curve: Curve, name: str, *, renumbered: bool) -> Corners:
    """A curve's own plane, through its ends and its middle control point.

    `renumbered` tells whether the end is another numbering of a network than it was trained with.
    Raises `InputError` for a straight line, which spans no plane.
    """
    if len(curve.points) < 3:
        raise InputError("a straight line spans no plane; give a curve or three states")
    vectors = [curve.points[place] for place in (0, -1, len(curve.points) // 2)]
    end = "P θ₂" if renumbered else "θ₂"
    states = [_state_of(curve, vector) for vector in vectors]
    return Corners(states, ["θ₁", end, "bend"], [(0, 1)], {name: curve})


def _state_of(curve: Curve, vector: Tensor) -> State:
    """A control point as a state."""
    return {**curve.state_at(0), **curve.layout.views(vector.clone())}
