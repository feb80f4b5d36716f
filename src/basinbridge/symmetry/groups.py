"""What is known about the symmetry of one architecture: its groups, and what is fixed and why."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from .axes import Atoms
from .solution import Solution
from .trace import Trace, module_of


@dataclass(frozen=True)
class Site:
    """An activation at which a group can be observed.

    `node` is an operator's result in `Symmetry.traces[trace]`, `dim` its dimension, and
    `places[i]` the position there of the group's member `i` (shaped as the group's permutation).
    `kind` is "post" (behind a nonlinearity), "pre" (before one) or "written" (where a sum or a
    contraction writes the group). Along the dimensions `pooled` other neurons stand, in an order
    that two networks do not share: what is observed is their mean. If the blocks around the group
    stand on a dimension of their own, it is `blocks`, and `places` count through both.
    """

    trace: int
    node: str
    dim: int
    places: Atoms
    kind: str
    pooled: tuple[int, ...] = ()
    blocks: int | None = None


@dataclass(frozen=True)
class Group:
    """Neurons that are renumbered together.

    A permutation holds an index tensor of shape `shape` for the group: (size,), or, inside the
    blocks of `parent`, (*parent's shape, size) with one index vector for each block.
    """

    name: str
    size: int
    shape: tuple[int, ...]
    parent: str | None
    tensors: tuple[tuple[str, int], ...]
    sites: tuple[Site, ...]


@dataclass(frozen=True)
class Symmetry:
    """All groups of an architecture and the axes on which they act.

    `groups` maps a name to its group, blocks before their insides. `parameter_share` is the part
    of all parameters that some group moves, from 0 to 1. `fixed` tells for each (tensor,
    dimension) that no group moves why it is fixed, `unsupported` the operators that had no rule.
    """

    groups: dict[str, Group]
    parameter_share: float
    fixed: dict[tuple[str, int], str]
    unsupported: tuple[str, ...]
    axes: dict[str, tuple[Atoms | None, ...]]
    solution: Solution
    traces: tuple[Trace, ...]

    def __str__(self) -> str:
        """What each group renumbers and where it is seen; what is fixed and why."""
        share = f"{100 * self.parameter_share:.1f} % of the parameters"
        count = f"{len(self.groups)} group" + ("s act" if len(self.groups) > 1 else " acts")
        lines = [f"{count} on {share}." if self.groups else "No neurons can be renumbered."]
        if not all(one.any_batch for one in self.traces):
            lines += _wrapped(
                "The graph holds for batches of the example's size only; alignment traces it anew "
                "for others, and refuses data if it then differs."
            )
        for group in self.groups.values():
            within = "" if group.parent is None else f" in each of {group.parent}"
            lines += ["", *_wrapped(f"{group.name}: size {group.size}{within}")]
            lines += _wrapped(f"moves {_listed(_by_module(group.tensors), 4)}", indent=4)
            if group.sites:
                lines += _wrapped(f"seen {_listed(self._places(group.sites), 2)}", indent=4)
        reasons: dict[str, list[tuple[str, int]]] = {}
        for axis, reason in self.fixed.items():
            reasons.setdefault(reason.partition(" in ")[0], []).append(axis)
        lines += ["", "Fixed:"] if reasons else []
        for reason, axes in reasons.items():
            lines += _wrapped(f"by {reason}: {_listed(_by_module(axes), 3)}", indent=2)
        if self.unsupported:
            lines += ["", "Operators without a rule (what they touch is fixed):"]
        for operator in self.unsupported:
            lines += _wrapped(operator, indent=2)
        return "\n".join(lines)

    def _places(self, sites: Sequence[Site]) -> list[str]:
        """The modules at whose results a group is observed, by what happens there."""
        words = {"post": "behind", "written": "at"}
        modules = [{node.name: module_of(node) for node in one.nodes} for one in self.traces]
        shown = [
            f"{words[site.kind]} {modules[site.trace][site.node] or site.node}"
            for site in sites
            if site.kind in words
        ]
        return list(dict.fromkeys(shown))


def _by_module(axes: Sequence[tuple[str, int]]) -> list[str]:
    """Axes as TENSOR[DIM], or MODULE.*[DIM] for several tensors of one module."""
    found: dict[tuple[str, int], list[str]] = {}
    for tensor, dim in axes:
        found.setdefault((tensor.rpartition(".")[0], dim), []).append(tensor)
    return [
        f"{tensors[0] if len(tensors) == 1 else f'{module}.*'.lstrip('.')}[{dim}]"
        for (module, dim), tensors in found.items()
    ]


def _listed(entries: Sequence[str], most: int) -> str:
    more = [f"{len(entries) - most} more"] if len(entries) > most else []
    return ", ".join([*entries[:most], *more])


def _wrapped(text: str, indent: int = 0) -> list[str]:
    """Lines of at most 80 columns; the further ones indented by two more."""
    return textwrap.wrap(
        text,
        width=80,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_on_hyphens=False,
    )
