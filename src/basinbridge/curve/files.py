"""Curves in files: one safetensors file with every control point's tensors by name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import InputError
from ..reading import blaming, parsed, read_tensors, record_in, short
from ..state import check_finite, check_states, save_state
from .paths import Bezier, Curve, Linear, PolyChain

KINDS: dict[str, type[Curve]] = {kind.name: kind for kind in (Bezier, PolyChain, Linear)}


def save_curve(curve: Curve, path: Path | str, record: Mapping[str, Any]) -> None:
    """Write a curve; `record` says what made it and comes back from `load_curve`.

    Tensor `i/name` is the tensor `name` of control point i, 0 being the start.
    """
    tensors = {}
    for place, point in enumerate(curve.points):
        for name, tensor in curve.layout.views(point).items():
            tensors[f"{place}/{name}"] = tensor
    state = curve.network.state_dict()
    rest = {f"0/{name}": tensor for name, tensor in state.items() if f"0/{name}" not in tensors}
    save_state(
        {**tensors, **rest},
        path,
        kind=curve.name,
        movable=json.dumps(curve.movable),
        record=json.dumps(dict(record)),
    )


def load_curve(path: Path | str, network: nn.Module) -> tuple[Curve, dict[str, Any]]:
    """Read a curve through networks of `network`'s architecture, and its record.

    Raises `InputError` if the file is not a curve or one of another architecture.
    """
    path = Path(path)
    tensors, metadata = read_tensors(path)
    if metadata.get("kind") not in KINDS or "movable" not in metadata:
        raise InputError(f"{path}: not a curve; make one with `basinbridge connect`")
    check_finite(tensors, str(path))
    numbers = {str(place): place for place in range(len(tensors))}
    states: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, inner = name.partition("/")
        if number not in numbers:
            raise InputError(f"{path}: tensor {short(name)} belongs to no control point")
        states.setdefault(numbers[number], {})[inner] = tensor
    if sorted(states) != list(range(len(states))) or len(states) < 2:
        raise InputError(f"{path}: control points are missing")
    with blaming(path, "make the curve again"):
        movable = _movable(parsed(metadata["movable"]), len(states))
        record = record_in(metadata)
    check_states(network.state_dict(), states[0], "the model", str(path))
    kind = KINDS[metadata["kind"]]
    line = Linear.between(network, states[0])
    for place, state in states.items():
        expected = {name: states[0][name] for name in line.layout.shapes}
        check_states(
            expected,
            {n: state[n] for n in state if n in expected},
            "the model",
            f"{path}, control point {place}",
        )
    line.network.load_state_dict(states[0])
    points = torch.stack([line.layout.flatten(states[place]) for place in range(len(states))])
    return kind(line.network, points, movable), record


def _movable(found: object, count: int) -> tuple[int, ...]:
    """Places of control points in a row; raises `ValueError` if they are something else."""
    if not isinstance(found, list):
        raise ValueError("its movable control points are no list")
    first = found[0] if found and type(found[0]) is int else 0
    places = range(first, first + len(found))
    if found != [*places] or first < 0 or places.stop > count:
        raise ValueError("its movable control points make no sense")
    return tuple(places)
