"""Find the permutation symmetry of any network: trace it, state the equations, solve, prove."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from .axes import Axes, Equations
from .groups import Symmetry
from .naming import groups_of
from .proof import prove
from .refusal import check_input, refusal
from .rules import RULES, Call, Result, Value
from .settled import NamedAxis, settle
from .solve import solve
from .trace import Example, Trace, arguments_of, module_of, operator_of, trace

KNOWN = 4096
LARGEST_BANK = 1 << 18


def discover(
    network: nn.Module,
    example: Example,
    *,
    fixed: Sequence[str | NamedAxis] = (),
    tied: Sequence[tuple[NamedAxis, NamedAxis]] = (),
    proof: bool = True,
) -> Symmetry:
    """Which renumberings of its neurons leave the network's function unchanged.

    `example` is an input that the network accepts: a batch of at least two inputs, a tuple of
    positional arguments, or a dict of named ones. Parameters that evaluation does not reach
    (auxiliary heads) are looked for in the branches that only training takes.

    The caller may ask for less than the whole symmetry, by the names of tensors. A name in `fixed`
    keeps the order of all axes of that tensor, `("layer.weight", 0)` that of one axis, and so
    fixes each group that acts there. `tied` holds pairs of axes, `(("a.weight", 0),
    ("b.weight", 0))`, whose groups become one.

    The result is checked before it is returned: on a copy with randomly shaken weights a random
    permutation must leave the outputs as they are.

    Raises `SymmetryError` if the network cannot be traced or the result fails its proof, and
    `InputError` if `fixed` or `tied` name what the network does not have.

    >>> from torch import nn
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> symmetry = discover(net, torch.zeros(2, 4))
    >>> [(group.name, group.size) for group in symmetry.groups.values()]
    [('0', 8)]
    >>> discover(net, torch.zeros(2, 4), fixed=[("0.weight", 0)]).groups
    {}
    """
    check_input(network, example)
    traces = [trace(network, example)]
    names = {name for name, _ in network.named_parameters()}
    if names - traces[0].used():
        full = trace(network, example, training=True)
        if full.used() > traces[0].used():
            traces = [full] if full.used() >= traces[0].used() else [traces[0], full]
    symmetry = symmetry_of(network, tuple(traces), fixed, tied)
    if proof:
        try:
            prove(network, symmetry, example)
        except RuntimeError as error:
            raise refusal(network, *arguments_of(example), error) from error
    return symmetry


def symmetry_of(
    network: nn.Module,
    traces: tuple[Trace, ...],
    fixed: Sequence[str | NamedAxis] = (),
    tied: Sequence[tuple[NamedAxis, NamedAxis]] = (),
) -> Symmetry:
    """State the equations of all traces, solve them, and name the groups."""
    equations = Equations()
    state = dict(network.state_dict(keep_vars=True))
    wanted = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    groups, banks = _convolution_groups(traces), _bank_dims(wanted, traces)
    axes: dict[str, Axes] = {}
    known: dict[int, str] = {}
    for name, tensor in wanted.items():
        first = known.setdefault(id(tensor), name)
        if first != name:
            axes[name] = axes[first]
        elif name in banks:
            axes[name] = _bank_axes(equations, tensor, banks[name])
        else:
            axes[name] = _state_axes(equations, tensor, groups.get(name, 1))
        equations.occur(axes[name])
        equations.hold(axes[name])
    settle(equations, axes, state, fixed, tied)
    used: set[str] = set()
    unsupported: dict[str, None] = {}
    met: list[dict[str, Value]] = []
    for one in traces:
        used |= one.used()
        met.append(_walk(one, axes, equations, unsupported))
    reached = {known[id(state[name])] for name in used if name in axes}
    for name, entry in axes.items():
        if known[id(state[name])] not in reached:
            for dim, axis in enumerate(entry):
                equations.pin(axis, dim, "not used in the forward pass")
    return groups_of(equations, solve(equations), axes, state, traces, met, tuple(unsupported))


def _state_axes(equations: Equations, tensor: Tensor, groups: int) -> Axes:
    """Fresh axes; those of a grouped convolution's inputs are numbered anew for each group."""
    axes = equations.fresh_axes(tensor.shape)
    if groups == 1 or tensor.ndim < 2 or tensor.shape[1] == 1:
        return axes
    rest = (1,) * (tensor.ndim - 2)
    inner = equations.fresh(groups, 1, tensor.shape[1], *rest)
    inner = np.broadcast_to(inner, (groups, tensor.shape[0] // groups, tensor.shape[1], *rest))
    return (axes[0], inner.reshape(tensor.shape[0], tensor.shape[1], *rest), *axes[2:])


def _bank_axes(equations: Equations, tensor: Tensor, bank: int) -> Axes:
    """Fresh axes, numbered anew for each position of the dimension `bank`."""
    axes = list(equations.fresh_axes(tensor.shape))
    count, blocks = tensor.shape[bank], axes[bank]
    assert blocks is not None
    for dim, size in enumerate(tensor.shape):
        if dim != bank and size > 1:
            inner = equations.fresh(count, size)
            equations.merge(blocks.reshape(count, 1), inner, 0, (count, size))
            shape = [n if other in (dim, bank) else 1 for other, n in enumerate(tensor.shape)]
            axes[dim] = (inner if bank < dim else inner.T).reshape(shape)
    return tuple(axes)


def _bank_dims(state: dict[str, Tensor], traces: tuple[Trace, ...]) -> dict[str, int]:
    """The dimension of heads or experts of tensors that hold a matrix for each of several.

    Taken for it is the shortest size that all tensors of three or more dimensions of one module
    share, layers' weights apart; matrices beside them that have it (biases of experts) count as
    well. Where that is wrong nothing is: the operators then number all positions alike.
    """
    plain = _weights_of_layers(traces)
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        if name not in plain and tensor.ndim > 1:
            modules.setdefault(name.rpartition(".")[0], {})[name] = tensor
    found: dict[str, int] = {}
    for own in modules.values():
        shapes = {name: [size for size in tensor.shape if size > 1] for name, tensor in own.items()}
        deep = [set(shape) for shape in shapes.values() if len(shape) > 2]
        shared = set.intersection(*deep) if deep else set()
        for name, shape in shapes.items():
            atoms = min(shared, default=0) * sum(shape)
            if len(shape) > 1 and min(shared, default=0) in shape and atoms <= LARGEST_BANK:
                found[name] = list(own[name].shape).index(min(shared))
    return found


def _weights_of_layers(traces: tuple[Trace, ...]) -> set[str]:
    """Tensors that a linear layer or a convolution takes as its weight."""
    return {
        one.states[weight.name]
        for one in traces
        for node in one.nodes
        if (operator_of(node) or "").startswith(("conv", "linear"))
        and isinstance(weight := _bound(node).get("weight"), fx.Node)
        and weight.name in one.states
    }


def _convolution_groups(traces: tuple[Trace, ...]) -> dict[str, int]:
    """The number of groups of every convolution weight that has more than one."""
    found = {}
    for one in traces:
        for node in one.nodes:
            call = operator_of(node)
            if call is not None and call.startswith("conv"):
                arguments = _bound(node)
                weight, groups = arguments.get("weight"), arguments.get("groups", 1)
                if isinstance(weight, fx.Node) and weight.name in one.states and groups > 1:
                    found[one.states[weight.name]] = int(groups)
    return found


def _bound(node: fx.Node) -> dict[str, Any]:
    """A call's arguments by name, defaults included."""
    schema = node.target._schema  # type: ignore[union-attr]
    bound: dict[str, Any] = {}
    for place, argument in enumerate(schema.arguments):
        if place < len(node.args):
            bound[argument.name] = node.args[place]
        elif argument.name in node.kwargs:
            bound[argument.name] = node.kwargs[argument.name]
        else:
            bound[argument.name] = argument.default_value
    return bound


def _walk(
    one: Trace, axes: dict[str, Axes], equations: Equations, unsupported: dict[str, None]
) -> dict[str, Value]:
    """State the equations of every operator of a trace; return the value of every node."""
    found: dict[fx.Node, Any] = {}
    for node in one.nodes:
        if node.op == "placeholder":
            found[node] = _placeholder(node, one, axes, equations)
        elif node.op == "output":
            _fix_outputs(node, found, equations)
        elif node.target is operator.getitem:
            parent = found[node.args[0]]  # type: ignore[index]
            found[node] = parent[node.args[1]] if isinstance(parent, list) else None  # type: ignore[index]
        elif not _shapes(node.meta.get("val")):
            found[node] = _number(node.meta.get("val"))
        else:
            found[node] = _apply(node, found, equations, unsupported)
    return {node.name: value for node, value in found.items() if isinstance(value, Value)}


def _placeholder(
    node: fx.Node, one: Trace, axes: dict[str, Axes], equations: Equations
) -> Value | None:
    """A state tensor's axes; those of a constant that is the same all along; else none."""
    shapes = _shapes(node.meta.get("val"))
    if not shapes:
        return None
    name = one.states.get(node.name)
    if name is not None and name in axes:
        return Value(shapes[0], axes[name])
    constant = one.constants.get(node.name)
    if not isinstance(constant, Tensor):
        return Value(shapes[0], (None,) * len(shapes[0]))
    even = [bool((constant == constant.narrow(dim, 0, 1)).all()) for dim in range(constant.ndim)]
    free = equations.fresh_axes(shapes[0])
    kept = tuple(a if e else None for a, e in zip(free, even, strict=True))
    known = constant if constant.numel() <= KNOWN and not constant.is_floating_point() else None
    return Value(shapes[0], kept, known)


def _known(node: fx.Node, found: dict[fx.Node, Any]) -> Tensor | None:
    """A small integer tensor that is the same for every input: an index made on the way."""
    value, target = node.meta["val"], node.target
    small = isinstance(value, Tensor) and value.dtype in (torch.int64, torch.int32, torch.bool)
    if not small or not all(isinstance(size, int) for size in value.shape):
        return None
    if value.numel() > KNOWN or not callable(target):
        return None
    numbers = {}
    for source in node.all_input_nodes:
        one = found.get(source)
        numbers[source] = one.known if isinstance(one, Value) else None
        if numbers[source] is None:
            return None
    arguments, named = fx.node.map_arg((node.args, node.kwargs), numbers.get)
    return target(*arguments, **named).clone()  # type: ignore[no-any-return]


def _fix_outputs(node: fx.Node, found: dict[fx.Node, Any], equations: Equations) -> None:
    for result in node.all_input_nodes:
        value = found.get(result)
        if isinstance(value, Value):
            for dim, axis in enumerate(value.axes):
                equations.pin(axis, dim, "an output of the network")


def _apply(
    node: fx.Node, found: dict[fx.Node, Any], equations: Equations, unsupported: dict[str, None]
) -> Value | list[Value]:
    """Apply the rule of one operator, or pin all that it touches."""
    name = operator_of(node)
    shapes = _shapes(node.meta["val"])
    place = module_of(node)
    result = None
    if name is not None:
        arguments = fx.node.map_arg(_bound(node), lambda one: found.get(one))
        users = [one for one in node.users if one.target is operator.getitem and one.users]
        used = frozenset(user.args[1] for user in users if isinstance(user.args[1], int))
        call = Call(equations, arguments, shapes, name, place, used)
        function = RULES.get(name)
        uncovered = f"{name} in {place or 'the network'}: its rule does not cover this use"
        try:
            result = None if function is None else function(call)
            if function is not None and not _fits(result, shapes):
                result, unsupported[uncovered] = None, None
        except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
            unsupported[f"{uncovered} ({error!r})"] = None
    if result is None:
        fixed = f"{name or node.target} in {place or 'the network'}: no rule"
        if name not in RULES and _touches_axes(node, found):
            unsupported[fixed] = None
        for source in node.all_input_nodes:
            _pin_all(found.get(source), equations, fixed)
        result = [(None,) * len(shape) for shape in shapes]
    results = result if isinstance(result, list) else [result] * len(shapes)
    known = _known(node, found)
    values = [
        Value(
            shape,
            tuple(
                a if s > 1 else None for a, s in zip(r or (None,) * len(shape), shape, strict=True)
            ),
            known,
        )
        for r, shape in zip(results, shapes, strict=True)
    ]
    for value in values:
        equations.occur(value.axes)
    return values if isinstance(node.meta["val"], list | tuple) else values[0]


def _fits(result: Result, shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether a rule gave every result as many axes as it has dimensions."""
    if result is None:
        return False
    each = result if isinstance(result, list) else [result] * len(shapes)
    return [len(shape) for shape in shapes] == [
        len(shape if axes is None else axes) for axes, shape in zip(each, shapes, strict=True)
    ]


def _touches_axes(node: fx.Node, found: dict[fx.Node, Any]) -> bool:
    values = [found.get(source) for source in node.all_input_nodes]
    flat = [v for value in values for v in (value if isinstance(value, list) else [value])]
    return any(isinstance(v, Value) and any(a is not None for a in v.axes) for v in flat)


def _pin_all(value: object, equations: Equations, why: str) -> None:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, Value):
            for dim, axis in enumerate(one.axes):
                equations.pin(axis, dim, why)


def _number(value: object) -> object:
    """A size as a plain number (the example's, where it is symbolic)."""
    return int(value.node.hint) if isinstance(value, torch.SymInt) else value


def _shapes(value: object) -> list[tuple[int, ...]]:
    """The shapes of a node's results; none where it is no tensor."""
    if isinstance(value, Tensor):
        return [tuple(int(_number(size)) for size in value.shape)]  # type: ignore[call-overload]
    if isinstance(value, list | tuple):
        return [shape for one in value for shape in _shapes(one)]
    return []
