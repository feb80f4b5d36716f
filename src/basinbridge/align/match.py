"""Algorithm 1: the permutation of network B that fits network A, from activations."""

from typing import get_args

from torch import nn

from ..data.batches import Data
from ..errors import InputError
from ..symmetry.groups import Symmetry
from ..symmetry.permutation import Permutation, identity_permutation, random_permutation
from ..train.adversarial import Attack
from .activations import gather
from .assignment import match, scores
from .methods import Activations, Method
from .transport import match_by_transport
from .weights import match_weights


def align(
    net_a: nn.Module,
    net_b: nn.Module,
    data: Data,
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
    their insides. A group without a site keeps its order. With an `attack`, robust networks are
    compared on attacked images: each network on those that it is itself attacked with.

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
    if method == "weights":
        one, other = (dict(network.named_parameters()) for network in (net_a, net_b))
        return match_weights(one, other, symmetry, seed=seed)
    moments = gather(
        net_a, net_b, data, symmetry, kind=activations, batch_size=batch_size, attack=attack
    )
    if method == "optimal-transport":
        return match_by_transport(symmetry, moments)
    return match(symmetry, scores(symmetry, moments, method))
