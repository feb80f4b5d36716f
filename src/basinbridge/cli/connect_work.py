"""What the command `connect` does."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from ..curve.files import save_curve
from ..curve.fit import fit
from ..curve.neb import fit_chain
from ..curve.paths import Bezier, Curve, Linear, PolyChain
from ..errors import InputError
from ..experiments.pair import Watch
from ..reading import read_record
from ..state import State
from .options import Training
from .symmetry_work import renumbered
from .train_work import checkpoint_of, settings_of
from .work import Setting


@dataclass(frozen=True)
class Shape:
    """What kind of curve, and what of it moves; `bends` left out are one, or none in a line."""

    kind: str
    bends: int | None
    movable_ends: bool = False
    autoneb_cycles: int | None = None

    def between(self, start: nn.Module, end: nn.Module | State) -> Curve:
        """The curve before it is fitted."""
        bends = self.bends if self.bends is not None else int(self.kind != "linear")
        if self.kind == "bezier":
            return Bezier.between(start, end, degree=bends + 1, movable_ends=self.movable_ends)
        chain = Linear if self.kind == "linear" else PolyChain
        return chain.between(start, end, bends=bends, movable_ends=self.movable_ends)


def fit_curve(
    work: Setting,
    ends: tuple[Path, Path],
    match: Path | None,
    shape: Shape,
    training: Training,
    out: Path,
    *,
    watch: Watch,
) -> Curve:
    """Fit a curve between two states, the second renumbered by a match; write and return it."""
    start, end = (work.network_with(path) for path in ends)
    curve = shape.between(start, renumbered(work, end, match))
    kept = checkpoint_of(training, out)
    settings = settings_of(work, training, watch, "fitting the curve", kept)
    began = time.perf_counter()
    if shape.autoneb_cycles is None:
        curve = fit(curve, work.train_data, **settings)
    elif isinstance(curve, PolyChain):
        curve = fit_chain(curve, work.train_data, cycles=shape.autoneb_cycles, **settings)
    else:
        raise InputError("--autoneb-cycles is for chains; add --curve polychain")
    record = work.record(
        began,
        **asdict(training),
        **asdict(shape),
        aligned=match is not None,
        start=read_record(ends[0]),
        end=read_record(ends[1]),
        match=None if match is None else read_record(match),
    )
    save_curve(curve, out, record)
    kept.remove()
    return curve
