"""Optimal transport between two networks' neurons: a permutation, or a soft mixture of neurons.

Every neuron carries the same mass; moving a neuron of B onto one of A costs the distance between
their activations. An exact plan is a permutation. An entropic one spreads each neuron over
several, and the network it makes of B is another function, which fine-tuning or averaging may
still like. Source: "Model Fusion via Optimal Transport" (Singh and Jaggi 2020). The plans are
computed by POT (the extra `basinbridge[transport]`).
"""

from collections.abc import Mapping
from types import ModuleType

import torch
from torch import Tensor, nn

from ..data.batches import Data
from ..errors import InputError
from ..symmetry.groups import Site, Symmetry
from ..symmetry.permutation import Permutation
from .activations import Moments, gather
from .assignment import assign, match, scores
from .methods import Activations
from .slices import slices_of

Statistics = Mapping[str, list[tuple[Site, Moments]]]


def match_by_transport(symmetry: Symmetry, moments: Statistics) -> Permutation:
    """The permutation that an exact plan is, from the statistics of `align.activations.gather`.

    The cost of matching two neurons is the root of their mean squared difference, summed over the
    sites of their group. Blocks are moved at the cost of moving what lies within them.
    """
    costs = _distances(symmetry, moments)
    return match(symmetry, {n: None if c is None else -c for n, c in costs.items()}, _transported)


def transport_plan(
    net_a: nn.Module,
    net_b: nn.Module,
    data: Data,
    symmetry: Symmetry,
    *,
    regularisation: float = 0.05,
    activations: Activations = "post",
    batch_size: int = 100,
) -> dict[str, Tensor]:
    """A doubly stochastic matrix for each group: which parts of B's neurons make up each of A's.

    `plan[i, j]` is the part of B's neuron j in place i, (size, size), float64. `regularisation` is
    the weight of the entropy as a share of the mean cost; 0 gives permutation matrices. Blocks,
    what lies within them, and groups without a site are left out: they stay as they are.

    Raises `InputError` if POT is not installed.

    >>> import basinbridge as bb
    >>> net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    >>> images, labels = torch.randn(50, 4), torch.zeros(50, dtype=torch.long)
    >>> symmetry = bb.discover(net, images[:2])
    >>> plan = transport_plan(net, net, (images, labels), symmetry)["0"]
    >>> bool(torch.allclose(plan.sum(0), torch.ones(5, dtype=torch.float64)))
    True
    """
    if regularisation < 0:
        raise InputError(f"regularisation is {regularisation}; give 0 or more")
    moments = gather(net_a, net_b, data, symmetry, kind=activations, batch_size=batch_size)
    blocks = {group.parent for group in symmetry.groups.values()}
    return {
        name: _plan(cost, regularisation)
        for name, cost in _distances(symmetry, moments).items()
        if cost is not None and symmetry.groups[name].parent is None and name not in blocks
    }


def apply_plan(
    state: Mapping[str, Tensor], symmetry: Symmetry, plans: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The state of B with its neurons mixed: `new[i] = sum_j plan[i, j] old[j]` along every axis.

    That is the barycentric projection: weights into a neuron and out of it are averages over the
    neurons of B that are moved there. A permutation matrix does what `permute` does. Batch norm's
    statistics are averaged too; re-estimate them before use. Raises `InputError` for a plan of no
    group, of another size, or of a group that stands twice on one axis.
    """
    slices = slices_of(symmetry)
    new = {name: tensor.detach().clone() for name, tensor in state.items()}
    for name, plan in plans.items():
        if name not in symmetry.groups:
            raise InputError(f"the symmetry has no group {name!r}, of which there is a plan")
        group = symmetry.groups[name]
        if tuple(plan.shape) != (group.size, group.size) or group.parent is not None:
            raise InputError(
                f"group {name!r}: a plan of shape {tuple(plan.shape)} "
                f"for neurons {list(group.shape)}"
            )
        if {tensor for tensor, _ in group.tensors} != {one.tensor for one in slices[name]}:
            raise InputError(f"group {name!r} holds blocks or stands twice on an axis: permute it")
        for one in slices[name]:
            old = one.read(new[one.tensor])
            new[one.tensor] = one.write(new[one.tensor], plan.to(old) @ old)
    return new


def _distances(symmetry: Symmetry, moments: Statistics) -> dict[str, Tensor | None]:
    """Root of the mean squared difference of every neuron of A and every neuron of B."""
    return {
        name: None if score is None else (-score).clamp_min(0).sqrt()
        for name, score in scores(symmetry, moments, "l2").items()
    }


def _transported(score: Tensor) -> Tensor:
    """The columns that an exact plan sends to each row; `score` is the cost's negative."""
    # An exact plan between equal masses is a permutation; the assignment within it reads it off.
    return assign(_plan(-score, 0))


def _plan(cost: Tensor, regularisation: float) -> Tensor:
    """A plan times the number of neurons, so that rows and columns sum to 1."""
    ot = _pot()
    size = len(cost)
    mass = torch.full((size,), 1 / size, dtype=torch.float64).numpy()
    if regularisation == 0 or float(cost.max()) == 0:
        return size * torch.from_numpy(ot.emd(mass, mass, cost.double().numpy()))
    share = regularisation * float(cost.mean())
    plan = ot.sinkhorn(
        mass,
        mass,
        cost.double().numpy(),
        share,
        method="sinkhorn_log",
        numItermax=1000,
        stopThr=1e-12,
        warn=False,
    )
    return _doubly_stochastic(size * torch.from_numpy(plan))


def _doubly_stochastic(plan: Tensor) -> Tensor:
    """What a slow Sinkhorn left undone, by the rounding of Altschuler, Weed and Rigollet (2017)."""
    plan = plan * (1 / plan.sum(1, keepdim=True)).clamp_max(1)
    plan = plan * (1 / plan.sum(0, keepdim=True)).clamp_max(1)
    rows, columns = ((1 - plan.sum(dim)).clamp_min(0) for dim in (1, 0))
    missing = float(rows.sum())
    return plan + torch.outer(rows, columns) / missing if missing > 0 else plan


def _pot() -> ModuleType:
    try:
        import ot
    except ImportError as error:
        raise InputError(
            "optimal transport needs POT: pip install 'basinbridge[transport]'"
        ) from error
    return ot  # type: ignore[no-any-return]
