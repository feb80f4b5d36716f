"""Join independently trained neural networks."""

from .errors import InputError, SymmetryError
from .symmetry.discover import discover
from .symmetry.permutation import identity_permutation, permute, random_permutation

__all__ = [
    "InputError",
    "SymmetryError",
    "discover",
    "identity_permutation",
    "permute",
    "random_permutation",
]
