"""Recurrent layers and cells: all gates of a hidden unit move with it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..axes import Atoms, Axis
from .call import Call, Result, Value, rule

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


@rule("lstm", "gru", "rnn_tanh", "rnn_relu")
def recurrent(call: Call) -> Result:
    """Layers and directions, each with a hidden numbering; a packed sequence has no rule."""
    if call["input"] is None:
        return None
    inputs = call.tensor("input")
    initial = call["hx"] if isinstance(call["hx"], list | tuple) else [call["hx"]]
    directions = 2 if call["bidirectional"] else 1
    weights = list(call["params"])
    count = len(weights) // (int(call["num_layers"]) * directions)
    below = flat(call, inputs, len(inputs.shape) - 1)
    states: list[Axis] = []
    cells: list[Axis] = []
    for layer in range(int(call["num_layers"])):
        here = []
        for direction in range(directions):
            own = weights[: count if count else None]
            weights = weights[count:]
            state, cell = _layer(call, below, own)
            number = layer * directions + direction
            _start(call, initial, number, (state, cell))
            here.append(state)
            states.append(state)
            cells.append(cell)
        below = np.concatenate(here)
    rank = len(inputs.shape)
    output = _spread(below, rank)
    last = [_stacked(group, rank) for group in (states, cells)]
    return [output, *((None,) * (rank - 1) + (axis,) for axis in last[: len(call.shapes) - 1])]


def _layer(call: Call, below: Axis, weights: Sequence[Value]) -> tuple[Atoms, Atoms]:
    """One direction of one layer: its hidden state's numbering and its cell's."""
    gates = GATES[call.name]
    size = weights[0].shape[0] // gates
    cell = call.equations.fresh(size)
    projected = call.name == "lstm" and len(weights) in (3, 5)
    state = call.equations.fresh(weights[-1].shape[0]) if projected else cell
    rows = gate_rows(call, cell, gates)
    unite(call, flat(call, weights[0], 1), below)
    unite(call, flat(call, weights[1], 1), state)
    for weight in weights[: len(weights) - projected]:
        unite(call, flat(call, weight, 0), rows)
    if projected:
        unite(call, flat(call, weights[-1], 0), state)
        unite(call, flat(call, weights[-1], 1), cell)
    return state, cell


def _start(call: Call, initial: Sequence[Value], number: int, own: Sequence[Atoms]) -> None:
    """The state that a layer starts from is numbered as the layer is."""
    for value, atoms in zip(initial, own, strict=False):
        axis = value.axes[-1]
        if axis is not None and axis.shape[0] > 1:
            axis = axis[number : number + 1]
        unite(call, flat(call, Value(value.shape, (*value.axes[:-1], axis)), -1), atoms)


@rule("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
def cell(call: Call) -> Result:
    """One step of one layer."""
    gates = GATES[call.name.removesuffix("_cell")]
    state = call["hx"] if isinstance(call["hx"], list | tuple) else [call["hx"]]
    hidden = call.equations.fresh(state[0].shape[-1])
    rows = gate_rows(call, hidden, gates)
    unite(call, flat(call, call.tensor("w_ih"), 1), flat(call, call.tensor("input"), -1))
    unite(call, flat(call, call.tensor("w_hh"), 1), hidden)
    for value in state:
        unite(call, flat(call, value, -1), hidden)
    for name in ("w_ih", "w_hh", "b_ih", "b_hh"):
        if isinstance(call[name], Value):
            unite(call, flat(call, call[name], 0), rows)
    return [_spread(hidden, len(shape)) for shape in call.shapes]


def gate_rows(call: Call, hidden: Atoms, gates: int) -> Atoms:
    """The rows of a weight that makes all gates: gate by gate, each with the hidden numbering."""
    if gates == 1:
        return hidden
    rows = call.equations.merge(None, hidden[None, :], 0, (gates, hidden.size))
    assert rows is not None
    return rows.ravel()


def flat(call: Call, value: Value, dim: int) -> Axis:
    """The axis at `dim`, which must not depend on the others, as a list of atoms."""
    dim %= len(value.shape)
    others = [other for other in range(len(value.shape)) if other != dim]
    axis = call.equations.independent(value.axes[dim], others)
    return None if axis is None else axis.ravel()


def unite(call: Call, one: Axis, other: Any) -> None:  # noqa: ANN401
    """Number two lists of atoms alike."""
    if one is None or other is None or one.size == other.size:
        call.equations.unite(one, other, 0, call.why)


def _spread(atoms: Axis, rank: int) -> tuple[Axis, ...]:
    """Axes of a tensor whose last dimension has these atoms."""
    last = None if atoms is None else atoms.reshape((1,) * (rank - 1) + (atoms.size,))
    return (None,) * (rank - 1) + (last,)


def _stacked(states: Sequence[Axis], rank: int) -> Axis:
    """The last axis of all layers' states, stacked along the first dimension."""
    return np.stack([state for state in states if state is not None]).reshape(
        len(states), *(1,) * (rank - 2), -1
    )
