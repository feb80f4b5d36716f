"""Algorithm 1: the permutation of network B that fits network A, from activations."""

from typing import get_args

from torch import Tensor, nn

from ..errors import InputError
from ..symmetry.groups import Symmetry
from ..symmetry.permutation import (
    Permutation,
    compose,
    identity_permutation,
    permute,
    random_permutation,
)
from ..train.adversarial import Attack
from .activations import Observed, gather
from .assignment import match, scores
from .methods import Activations, Method
from .transport import match_by_transport
from .weights import match_weights


def align(
    net_a: nn.Module,
    net_b: nn.Module,
    data: Observed,
    symmetry: Symmetry,
    *,
    method: Method = "correlation",
    activations: Activations = "post",
    batch_size: int = 100,
    seed: int = 0,
    attack: Attack | None = None,
) -> Permutation:
    """The permutation of `net_b` under which its neurons match those of `net_a` best.

    `data` is what both networks see, without augmentation: 10,000 training images in the paper.
    For a network with several inputs it is an iterable of (inputs, labels), the inputs a tuple or a
    dict, as `discover` takes them.
    The methods:

    - "correlation" maximises the sum of correlations of matched neurons;
    - "l2" minimises their mean squared difference (the Wasserstein-2 plan of Section 3.1);
    - "optimal-transport" minimises their distance itself, the square root of that, by the POT
      library (`align.transport`; Singh and Jaggi 2020);
    - "weights" compares parameters instead of activations (`align.weights`; Ainsworth et al. 2023);
    - "identity" leaves every neuron where it is; "random" draws an order, for comparison.

    The first three look at `activations` behind or before the nonlinearities; the last three need
    no data. `seed` serves "weights" and "random". A group observed at several sites sums over them
    (Appendix D). Blocks (attention heads, convolution groups) are matched by the best match of
    their insides. Groups that cannot be observed (the inner layers of a stacked LSTM) are matched
    by their weights once all others are in place. A neuron that does not vary on `data` correlates
    with none: such neurons take the places that are left over, in the order that the assignment
    finds, the same each time. With an `attack`, robust networks are compared on attacked images:
    each network on those that it is itself attacked with.

    Source: Algorithm 1 and eq. (2), Tatro et al. 2020; Li et al. 2016.

    >>> import basinbridge as bb, torch
    >>> net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    >>> images, labels = torch.randn(50, 4), torch.zeros(50, dtype=torch.long)
    >>> symmetry = bb.discover(net, images[:2])
    >>> other = bb.permute(net, symmetry, bb.random_permutation(symmetry, seed=1))
    >>> match = align(net, other, (images, labels), symmetry)
    >>> bool((bb.permute(other, symmetry, match)[0].weight == net[0].weight).all())
    True
    """
    if method not in get_args(Method) or activations not in get_args(Activations):
        raise InputError(
            f"method {method!r}, activations {activations!r}: methods are "
            f"{', '.join(get_args(Method))}; activations are {', '.join(get_args(Activations))}"
        )
    if method == "identity":
        return identity_permutation(symmetry)
    if method == "random":
        return random_permutation(symmetry, seed)
    one, other = (_parameters(network) for network in (net_a, net_b))
    if method == "weights":
        return match_weights(one, other, symmetry, seed=seed)
    moments = gather(
        net_a, net_b, data, symmetry, kind=activations, batch_size=batch_size, attack=attack
    )
    if method == "optimal-transport":
        found = match_by_transport(symmetry, moments)
    else:
        found = match(symmetry, scores(symmetry, moments, method))
    unseen = _unobserved(symmetry, {name for name, entries in moments.items() if entries})
    if not unseen:
        return found
    moved = permute(other, symmetry, found)
    return compose(symmetry, found, match_weights(one, moved, symmetry, seed=seed, groups=unseen))


def _parameters(network: nn.Module) -> dict[str, Tensor]:
    return dict(network.named_parameters())


def _unobserved(symmetry: Symmetry, observed: set[str]) -> list[str]:
    """The groups that have no site, and no group with one within them."""
    for name in reversed(symmetry.groups):
        parent = symmetry.groups[name].parent
        if name in observed and parent is not None:
            observed = {*observed, parent}
    return [name for name in symmetry.groups if name not in observed]
