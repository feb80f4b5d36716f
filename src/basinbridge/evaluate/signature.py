"""Correlation signatures: how alike two networks are, layer by layer (Figure 1 of the paper)."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, fx, nn

from ..align.activations import Moments, gather
from ..align.assignment import match, scores
from ..align.methods import Activations
from ..curve.paths import Curve
from ..data.batches import Augmentation, Data, global_seed
from ..errors import InputError
from ..symmetry.groups import Group, Site, Symmetry
from ..symmetry.permutation import Permutation, flat_places
from ..train.adversarial import Attack
from .along import BATCH_SIZE, BATCHNORM_IMAGES, statistics_batches
from .batchnorm import reestimate

LOGITS = "logits"


@dataclass(frozen=True)
class Signature:
    """How alike two networks are at each of `layers`: the groups, and the logits last.

    `before` and `after` hold the mean correlation of neurons of one number, in [-1, 1], as the
    networks are and with the second renumbered. `cka` is linear centred kernel alignment, in
    [0, 1], which no numbering changes. A group with several sites has the mean over them.
    """

    layers: tuple[str, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    cka: tuple[float, ...]

    def __str__(self) -> str:
        """A line for each layer, and the mean over all groups."""
        width = max(len("mean of groups"), *(len(layer) for layer in self.layers))
        lines = [f"{'':<{width}}  before   after     CKA"]
        rows = list(zip(self.layers, self.before, self.after, self.cka, strict=True))
        means = [float(np.mean(part[:-1] or part)) for part in (self.before, self.after, self.cka)]
        rows.append(("mean of groups", means[0], means[1], means[2]))
        lines += [f"{name:<{width}}  {b:6.3f}  {a:6.3f}  {c:6.3f}" for name, b, a, c in rows]
        return "\n".join(lines)


def signature(
    net_a: nn.Module,
    net_b: nn.Module,
    data: Data,
    symmetry: Symmetry,
    permutation: Permutation | None = None,
    *,
    activations: Activations = "post",
    batch_size: int = BATCH_SIZE,
    attack: Attack | None = None,
) -> Signature:
    """The signature of two networks on `data`, in one pass (test images in the paper).

    `permutation` renumbers `net_b` for `after`. Left out, it is the one that fits these very data
    best; to see what an alignment is worth elsewhere, find it on other images with `align`. Blocks,
    whose insides are shown, and groups without a site have no entry. For convolutions
    every position is a sample, in `cka` too. With an `attack` each network sees the images that it
    is itself attacked with. Source: Figure 1, Tatro et al. 2020; eq. (3); CKA: Kornblith et al.
    2019.

    >>> import basinbridge as bb
    >>> net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    >>> data = (torch.randn(50, 4), torch.zeros(50, dtype=torch.long))
    >>> symmetry = bb.discover(net, data[0][:2])
    >>> other = bb.permute(net, symmetry, bb.random_permutation(symmetry, seed=1))
    >>> found = signature(net, other, data, symmetry)
    >>> found.layers, found.before[0] < found.after[0], round(found.after[1], 6)
    (('0', 'logits'), True, 1.0)
    """
    wider, name = _with_outputs(symmetry)
    statistics = gather(
        net_a,
        net_b,
        data,
        wider,
        kind=activations,
        batch_size=batch_size,
        make=GramMoments,
        attack=attack,
    )
    if permutation is None:
        groups = {group: statistics[group] for group in symmetry.groups}
        permutation = match(symmetry, scores(symmetry, groups, "correlation"))
    places = {group: rows.ravel() for group, rows in flat_places(symmetry, permutation).items()}
    blocks = {group.parent for group in symmetry.groups.values()}
    seen = {
        group: [moments for _, moments in entries]
        for group, entries in statistics.items()
        if entries and group not in blocks
    }
    tables = {group: [one.correlation().cpu() for one in found] for group, found in seen.items()}
    return Signature(
        layers=tuple(LOGITS if group == name else group for group in seen),
        before=tuple(_mean(table.diagonal() for table in found) for found in tables.values()),
        after=tuple(
            _mean(
                table[torch.arange(len(table)), places.get(group, _all(table))] for table in found
            )
            for group, found in tables.items()
        ),
        cka=tuple(_mean(_alignment_of_kernels(one) for one in found) for found in seen.values()),
    )


def signature_along(
    curve: Curve,
    data: Data,
    symmetry: Symmetry,
    *,
    t: float = 0.5,
    batchnorm_data: Data | None = None,
    batchnorm_images: int = BATCHNORM_IMAGES,
    augmentation: Augmentation | None = None,
    activations: Activations = "post",
    attack: Attack | None = None,
) -> tuple[Signature, Signature]:
    """Signatures of the curve's start, and of its end, with the network at t.

    `after` is with that network aligned to the end in question, on `data`: a curve between
    aligned networks leaves nothing to align (Figure 1, middle and right). Batch-norm statistics
    are re-estimated for all three, as in `evaluate`; with an `attack`, from attacked images.
    """
    device = curve.points.device
    statistics = statistics_batches(
        curve.network, batchnorm_data, batchnorm_images, device, augmentation=augmentation
    )
    networks = [curve.network_at(place) for place in (0.0, t, 1.0)]
    for network in networks:
        with global_seed(0, device):
            reestimate(network, statistics, attack)
    start, middle, end = networks
    one, other = (
        signature(network, middle, data, symmetry, activations=activations, attack=attack)
        for network in (start, end)
    )
    return one, other


@dataclass
class GramMoments(Moments):
    """Moments with each side's covariance as well, which kernel alignment needs."""

    within: list[Tensor] = field(default_factory=list)

    def update(self, one: Tensor, other: Tensor) -> None:
        """Add samples, each given as (samples, channels)."""
        super().update(one, other)
        assert self.shifts is not None
        for place, values in enumerate((one, other)):
            centred = values - self.shifts[place]
            gram = (centred.T @ centred).double()
            if len(self.within) <= place:
                self.within.append(torch.zeros_like(gram))
            self.within[place] += gram

    def linear_cka(self) -> Tensor:
        """|cov(a, b)|^2 / (|cov(a, a)| |cov(b, b)|), Frobenius norms; 0 for constant channels.

        Source: eq. (3) and (4) with linear kernels, Kornblith et al. 2019.
        """
        across = self.covariance()[0].square().sum()
        own = [
            (gram / self.count - torch.outer(total, total) / self.count**2).norm()
            for gram, total in zip(self.within, self.sums, strict=True)
        ]
        scale = own[0] * own[1]
        return torch.where(scale > 0, across / scale, 0.0).clamp(0, 1).cpu()


def _alignment_of_kernels(one: Moments) -> Tensor:
    assert isinstance(one, GramMoments)
    return one.linear_cka()


def _with_outputs(symmetry: Symmetry) -> tuple[Symmetry, str]:
    """The symmetry with one more group, the first output's last dimension, and its name."""
    one = symmetry.traces[0]
    found: list[fx.Node] = [
        node
        for node in one.nodes[-1].all_input_nodes
        if isinstance(node.meta.get("val"), Tensor) and node.meta["val"].ndim > 0
    ]
    if not found or found[0].op != "call_function":
        raise InputError("the network has no output that its operators compute")
    value = found[0].meta["val"]
    size = int(value.shape[-1])
    site = Site(0, found[0].name, value.ndim - 1, np.arange(size), "written")
    name = LOGITS if LOGITS not in symmetry.groups else f"{LOGITS} (output)"
    outputs = Group(name, size, (size,), None, (), (site,))
    return replace(symmetry, groups={**symmetry.groups, name: outputs}), name


def _all(table: Tensor) -> Tensor:
    return torch.arange(len(table))


def _mean(parts: Iterable[Tensor]) -> float:
    """Mean over sites of the mean over channels."""
    return float(torch.stack([part.double().mean() for part in parts]).mean())
