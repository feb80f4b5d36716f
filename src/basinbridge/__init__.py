"""basinbridge joins independently trained neural networks.

Renumber the neurons of one trained network so that they match another's, then learn a simple curve
between the two along which every network is accurate (Tatro et al., NeurIPS 2020), for any
`torch.nn.Module`.
"""

from .align.match import align
from .curve.fit import fit
from .curve.paths import Bezier, Linear, PolyChain
from .data.batches import ImageData
from .errors import InputError, SymmetryError
from .evaluate.along import CurveReport, evaluate
from .state import load_state, save_state
from .symmetry.discover import discover
from .symmetry.groups import Group, Symmetry
from .symmetry.permutation import identity_permutation, permute, random_permutation
from .train.loop import train

__all__ = [
    "Bezier",
    "CurveReport",
    "Group",
    "ImageData",
    "InputError",
    "Linear",
    "PolyChain",
    "Symmetry",
    "SymmetryError",
    "align",
    "discover",
    "evaluate",
    "fit",
    "identity_permutation",
    "load_state",
    "permute",
    "random_permutation",
    "save_state",
    "train",
]
