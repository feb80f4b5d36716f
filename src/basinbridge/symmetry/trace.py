"""A network as a flat graph of ATen operators, and running that graph while looking inside."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols
from torch.utils._pytree import tree_leaves, tree_map

from ..errors import SymmetryError
from ..state import mode
from .refusal import refusal

Example = Tensor | tuple[Any, ...] | dict[str, Any]


@dataclass(frozen=True)
class Trace:
    """The operators of one forward pass.

    `states` names the state tensor that each such placeholder of the graph stands for, `constants`
    holds the tensors that are neither state nor input, `inputs` the placeholders of the example's
    tensors in order. `any_batch` tells whether the graph runs at any batch size or at the
    example's only, `training` whether it takes the branches of training.
    """

    module: fx.GraphModule
    states: dict[str, str]
    constants: dict[str, Any]
    inputs: tuple[str, ...]
    any_batch: bool
    training: bool

    @property
    def nodes(self) -> list[fx.Node]:
        """The graph's nodes in the order in which they run."""
        return list(self.module.graph.nodes)

    def used(self) -> set[str]:
        """Names of the state tensors that some operator reads."""
        return {self.states[n.name] for n in self.nodes if n.name in self.states and n.users}

    def run(
        self,
        state: Mapping[str, Tensor],
        inputs: tuple[Tensor, ...],
        observe: Callable[[str, Any], None] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the network returns
        """Run the graph with the given state, showing every node's result to `observe`.

        A state in double precision makes all of it run in double precision.
        """
        return self._runner(state, inputs, observe).run_all()

    def run_both(
        self,
        states: tuple[Mapping[str, Tensor], ...],
        inputs: tuple[tuple[Tensor, ...], ...],
        observe: Callable[[str, Any, Any], None],
    ) -> None:
        """Run the graph with two states and inputs step by step, showing both results of a node.

        No result is kept longer than the graph needs it, or changed in place before it is shown.
        """
        one, other = (self._runner(*each, None) for each in zip(states, inputs, strict=True))
        for node in self.module.graph.nodes:
            results = one.step(node), other.step(node)
            if node.op == "call_function":
                observe(node.name, *results)
            del results
            one.forget_after(node)
            other.forget_after(node)

    def _runner(
        self,
        state: Mapping[str, Tensor],
        inputs: tuple[Tensor, ...],
        observe: Callable[[str, Any], None] | None,
    ) -> "_Runner":
        given = dict(zip(self.inputs, inputs, strict=True))
        arguments = [
            state[self.states[node.name]]
            if node.name in self.states
            else given[node.name]
            if node.name in given
            else self.constants.get(node.name)
            for node in self.nodes
            if node.op == "placeholder"
        ]
        double = any(tensor.dtype is torch.float64 for tensor in state.values())
        arguments = [doubled(value) if double else value for value in arguments]
        return _Runner(self.module, arguments, observe, double)


class _Runner(fx.Interpreter):
    def __init__(
        self,
        module: fx.GraphModule,
        arguments: list[Any],
        observe: Callable[[str, Any], None] | None,
        double: bool,
    ) -> None:
        super().__init__(module)
        self.arguments = arguments
        self.args_iter = iter(arguments)
        self.observe = observe
        self.double = double

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401
        if not self.double:
            return super().call_function(target, args, kwargs)
        args, kwargs = tree_map(doubled, (args, kwargs))
        return tree_map(doubled, super().call_function(target, args, kwargs))

    def run_all(self) -> Any:  # noqa: ANN401
        return self.run(*self.arguments, enable_io_processing=False)

    def step(self, node: fx.Node) -> Any:  # noqa: ANN401
        # As `run_node` does, without what that keeps for messages: some 10 us for each node.
        arguments = self.fetch_args_kwargs_from_env(node)
        self.env[node] = getattr(self, node.op)(node.target, *arguments)
        return self.env[node]

    def forget_after(self, node: fx.Node) -> None:
        for used in self.user_to_last_uses.get(node, []):
            del self.env[used]

    def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401
        result = super().run_node(n)
        if self.observe is not None and n.op == "call_function":
            self.observe(n.name, result)
        return result


def operator_of(node: object) -> str | None:
    """The name of an ATen operator without overload and in-place mark; others' keep their library.

    What another library calls `relu` need not be what ATen calls so.
    """
    schema = getattr(getattr(node, "target", None), "_schema", None)
    if not isinstance(node, fx.Node) or node.op != "call_function" or schema is None:
        return None
    library, _, name = str(schema.name).partition("::")
    if library != "aten":
        return str(schema.name)
    return name.rstrip("_") if not name.endswith("__") else name


def doubled(leaf: Any) -> Any:  # noqa: ANN401
    """Double precision in place of any other floating-point one; anything else as it is."""
    if isinstance(leaf, Tensor) and leaf.is_floating_point():
        return leaf.double()
    if isinstance(leaf, torch.dtype) and leaf.is_floating_point:
        return torch.float64
    return leaf


def arguments_of(example: Example) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """An example input as positional and named arguments."""
    if isinstance(example, dict):
        return (), example
    return (example if isinstance(example, tuple) else (example,)), {}


def tensors_of(example: Example) -> tuple[Tensor, ...]:
    """The tensors of an example input, in order."""
    leaves = tree_leaves(arguments_of(example))
    return tuple(leaf for leaf in leaves if isinstance(leaf, Tensor))


def trace(network: nn.Module, example: Example, *, training: bool = False) -> Trace:
    """Trace a network; with `training`, the branches that only training takes.

    Either way the arithmetic is that of evaluation: batch norm uses its running statistics and
    dropout does nothing. Raises `SymmetryError` when `torch.export` cannot follow the network, and
    `InputError` when the network does not accept the example.
    """
    arguments, named = arguments_of(example)
    automatic = tree_map(_automatic_batch, (arguments, named))
    shapes = {**automatic[1]} if named else automatic[0]
    with mode(network, training), torch.no_grad(), _quiet():
        try:
            program = torch.export.export(
                network, arguments, named, dynamic_shapes=shapes, strict=False
            )
        except Exception as error:
            raise refusal(network, arguments, named, error) from error
    kinds = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    persistent = network.state_dict()
    states, constants, inputs = {}, {}, []
    any_batch = True
    for node in program.graph.nodes:
        if node.op != "placeholder":
            _check_sizes(network, node)
            continue
        spec = kinds[node.name]
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER) and spec.target in persistent:
            states[node.name] = str(spec.target)
        elif spec.kind is InputKind.USER_INPUT and isinstance(node.meta.get("val"), Tensor):
            inputs.append(node.name)
            shape = node.meta["val"].shape
            any_batch &= not shape or _is_free(shape[0])
        elif spec.kind is InputKind.BUFFER:
            constants[node.name] = network.get_buffer(str(spec.target))
        elif spec.target is not None:
            constants[node.name] = program.constants[str(spec.target)]
    module = _evaluating(program.graph_module)
    return Trace(module, states, constants, tuple(inputs), any_batch, training)


def _check_sizes(network: nn.Module, node: fx.Node) -> None:
    """Raise `SymmetryError` if the shape of an operator's result depends on values."""
    if isinstance(value := node.meta.get("val"), Tensor) and free_unbacked_symbols(value):
        where = f"{operator_of(node)} in {module_of(node) or 'the network'}"
        raise SymmetryError(
            f"{type(network).__name__} cannot be traced: the shape of what {where} gives depends "
            "on values; discover a part without it"
        )


def module_of(node: fx.Node) -> str:
    """The name of the module that an operator came from."""
    stack = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch.export from printing: `refusal` says what counts when it fails."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stderr(io.StringIO()), warnings.catch_warnings():
            # Recurrent layers gather their weights anew, on attributes that are no state.
            warnings.filterwarnings("ignore", message="The tensor attributes? ")
            yield
    finally:
        logging.disable(before)


def _automatic_batch(leaf: object) -> object:
    if isinstance(leaf, Tensor) and leaf.ndim:
        return {0: torch.export.Dim.AUTO}
    return None


def _is_free(size: int | torch.SymInt) -> bool:
    """Whether a size may be any: a symbol that the graph did not settle on one number."""
    return isinstance(size, torch.SymInt) and size.node.maybe_as_int() is None


def _inline(module: fx.GraphModule) -> None:
    """Put the operators of a region without gradients or autocast in the place of the region."""
    for node in list(module.graph.nodes):
        if str(node.target) not in ("wrap_with_set_grad_enabled", "wrap_with_autocast"):
            continue
        place = next(
            place
            for place, argument in enumerate(node.args)
            if isinstance(argument, fx.Node) and argument.op == "get_attr"
        )
        region = getattr(module, str(node.args[place].target))
        _inline(region)
        inside = [one for one in region.graph.nodes if one.op == "placeholder"]
        known = dict(zip(inside, node.args[place + 1 :], strict=True))
        with module.graph.inserting_before(node):
            results = module.graph.graph_copy(region.graph, known)
        for user in list(node.users):
            user.replace_all_uses_with(results[user.args[1]])  # type: ignore[index]
            module.graph.erase_node(user)
        module.graph.erase_node(node)


def _evaluating(module: fx.GraphModule) -> fx.GraphModule:
    """Give a graph the arithmetic of evaluation, and drop what would write into the state."""
    _inline(module)
    for node in list(module.graph.nodes):
        schema = getattr(node.target, "_schema", None)
        if node.op != "call_function" or schema is None:
            continue
        name = schema.name.removeprefix("aten::").rstrip("_")
        if name == "add" and not node.users and node.args[0].op == "placeholder":
            module.graph.erase_node(node)  # batch norm's counter
        elif name == "_assert_tensor_metadata":
            module.graph.erase_node(node)  # which would forbid double precision
        elif "batch_norm" in name or "dropout" in name:
            for place, argument in enumerate(schema.arguments):
                if argument.name in ("training", "train") and place < len(node.args):
                    node.args = (*node.args[:place], False, *node.args[place + 1 :])
    module.recompile()
    return module
