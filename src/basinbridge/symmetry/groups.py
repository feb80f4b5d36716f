"""What is known about the symmetry of one architecture: its groups, and what is fixed and why."""

from dataclasses import dataclass

from .axes import Atoms
from .solution import Solution
from .trace import Trace


@dataclass(frozen=True)
class Site:
    """An activation at which a group can be observed.

    `node` is an operator's result in `Symmetry.traces[trace]`, `dim` its dimension, and
    `places[i]` the position there of the group's member `i` (shaped as the group's permutation).
    `kind` is "post" (behind a nonlinearity), "pre" (before one) or "written" (where a sum or a
    contraction writes the group).
    """

    trace: int
    node: str
    dim: int
    places: Atoms
    kind: str


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
        """A table of the groups, and what is fixed."""
        lines = [
            f"{len(self.groups)} groups act on {100 * self.parameter_share:.1f} % of the parameters"
        ]
        width = max((len(name) for name in self.groups), default=0)
        for group in self.groups.values():
            sites = len([site for site in group.sites if site.kind != "pre"])
            within = "" if group.parent is None else f", within each of {group.parent}"
            counts = f"{_counted(len(group.tensors), 'axis')}, {_counted(sites, 'site')}"
            lines.append(f"  {group.name:<{width}}  size {group.size:>5}, {counts}{within}")
        reasons: dict[str, list[str]] = {}
        for (tensor, dim), reason in self.fixed.items():
            reasons.setdefault(reason.partition(" in ")[0], []).append(f"{tensor}[{dim}]")
        if reasons:
            lines.append("fixed:")
        for reason, axes in reasons.items():
            shown = ", ".join(axes[:2]) + (f" and {len(axes) - 2} more" if len(axes) > 2 else "")
            lines.append(f"  by {reason}: {shown}")
        if self.unsupported:
            lines.append("operators without a rule (what they touch is fixed):")
            lines.extend(f"  {operator}" for operator in self.unsupported)
        return "\n".join(lines)


def _counted(count: int, noun: str) -> str:
    plural = "axes" if noun == "axis" else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"
