"""Networks by architecture family: narrow, but with the whole structure of the real ones.

Every function named in `FAMILIES` builds a network and an example input. Its docstring says which
published architecture it stands for and, where a count of groups is given, how to derive it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

Built = tuple[nn.Module, Any]


@dataclass(frozen=True)
class Family:
    """How to build one family, and what discovery must find in it."""

    build: Callable[[], Built]
    groups: int | None
    share: float
    why: str


FAMILIES: dict[str, Family] = {}


def family(groups: int | None = None, share: float = 0.95, why: str = ""):
    """Enter a function; a `share` below 0.95 needs a reason `why`."""

    def enter(build: Callable[[], Built]) -> Callable[[], Built]:
        assert build.__name__ not in FAMILIES
        FAMILIES[build.__name__] = Family(build, groups, share, why)
        return build

    return enter


def _load() -> None:
    from . import (  # noqa: F401
        branching,
        dense,
        generative,
        language,
        mixing,
        mobile,
        plain,
        recurrent,
        residual,
        sets,
        vision,
        windows,
    )


_load()
