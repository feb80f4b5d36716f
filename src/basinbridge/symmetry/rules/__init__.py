"""What each ATen operator says about the axes of its inputs and outputs.

A rule takes a `Call` and returns the axes of the result (a list of them where the operator has
several results). Most operators are one line, since nearly everything is either a contraction
(`Call.contract`: equal letters are numbered alike, letters missing from the result are summed over)
or moves data about, which atoms follow by themselves. To teach a new operator, write a function
of one `Call` in the file of its family and name it with `@rule("operator")`; overloads and in-place
twins (`relu_`) share it. A rule may return `None` for a form of the operator that it does not know.

An operator without a rule pins every axis that it touches and is reported in
`symmetry.unsupported`: an unknown network loses freedom, never correctness.
"""

from . import (
    contraction,
    creation,
    indexing,
    movement,
    normalisation,
    patches,
    pointwise,
    recurrent,
    shape,
)
from .call import RULES, Call, Result, Value
from .pointwise import NONLINEAR

__all__ = [
    "NONLINEAR",
    "RULES",
    "Call",
    "Result",
    "Value",
    "contraction",
    "creation",
    "indexing",
    "movement",
    "normalisation",
    "patches",
    "pointwise",
    "recurrent",
    "shape",
]
