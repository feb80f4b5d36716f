"""basinbridge joins independently trained neural networks.

Renumber the neurons of one trained network so that they match another's, then learn a simple curve
between the two along which every network is accurate (Tatro et al., NeurIPS 2020), for any
`torch.nn.Module`.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .align.match import align
    from .curve.fit import fit
    from .curve.neb import fit_chain
    from .curve.pam import PamResult, pam
    from .curve.paths import Bezier, Curve, Linear, PolyChain
    from .curve.together import fit_together
    from .data.images import ImageData
    from .errors import InputError, SymmetryError
    from .evaluate.along import CurveReport, evaluate
    from .evaluate.bound import Bound, bound
    from .evaluate.ensemble import Ensemble, ensemble
    from .evaluate.merge import Merge, merge
    from .evaluate.plane import Plane, plane
    from .evaluate.signature import Signature, signature
    from .stack import Stack
    from .state import load_state, save_state
    from .symmetry.discover import discover
    from .symmetry.groups import Group, Symmetry
    from .symmetry.permutation import identity_permutation, permute, random_permutation
    from .train.adversarial import Attack, adversarial
    from .train.checkpoint import Checkpoint
    from .train.loop import train
    from .train.ranks import Ranks
    from .train.stopping import EarlyStopping
    from .train.together import train_together

__all__ = [
    "Attack",
    "Bezier",
    "Bound",
    "Checkpoint",
    "Curve",
    "CurveReport",
    "EarlyStopping",
    "Ensemble",
    "Group",
    "ImageData",
    "InputError",
    "Linear",
    "Merge",
    "PamResult",
    "Plane",
    "PolyChain",
    "Ranks",
    "Signature",
    "Stack",
    "Symmetry",
    "SymmetryError",
    "adversarial",
    "align",
    "bound",
    "discover",
    "ensemble",
    "evaluate",
    "fit",
    "fit_chain",
    "fit_together",
    "identity_permutation",
    "load_state",
    "merge",
    "pam",
    "permute",
    "plane",
    "random_permutation",
    "save_state",
    "signature",
    "train",
    "train_together",
]

# Torch takes seconds to import, so a name is looked up when it is first used.
_HOMES = {
    "align": "align.match",
    "fit": "curve.fit",
    "fit_chain": "curve.neb",
    **dict.fromkeys(("PamResult", "pam"), "curve.pam"),
    **dict.fromkeys(("Bezier", "Curve", "Linear", "PolyChain"), "curve.paths"),
    "fit_together": "curve.together",
    "ImageData": "data.images",
    **dict.fromkeys(("InputError", "SymmetryError"), "errors"),
    **dict.fromkeys(("CurveReport", "evaluate"), "evaluate.along"),
    **dict.fromkeys(("Bound", "bound"), "evaluate.bound"),
    **dict.fromkeys(("Ensemble", "ensemble"), "evaluate.ensemble"),
    **dict.fromkeys(("Merge", "merge"), "evaluate.merge"),
    **dict.fromkeys(("Plane", "plane"), "evaluate.plane"),
    **dict.fromkeys(("Signature", "signature"), "evaluate.signature"),
    "Stack": "stack",
    **dict.fromkeys(("load_state", "save_state"), "state"),
    "discover": "symmetry.discover",
    **dict.fromkeys(("Group", "Symmetry"), "symmetry.groups"),
    **dict.fromkeys(
        ("identity_permutation", "permute", "random_permutation"), "symmetry.permutation"
    ),
    **dict.fromkeys(("Attack", "adversarial"), "train.adversarial"),
    "Checkpoint": "train.checkpoint",
    "train": "train.loop",
    "EarlyStopping": "train.stopping",
    "Ranks": "train.ranks",
    "train_together": "train.together",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps the subpackages `align`, `evaluate` and `train` from hiding the functions so named."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
