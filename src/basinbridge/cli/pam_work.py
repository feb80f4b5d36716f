"""What the command `pam` does."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..curve.files import save_curve
from ..curve.pam import PamResult, PermutationMethod, Start, pam
from ..experiments.pair import Watch
from ..reading import read_record
from ..state import save_state
from .connect_work import Shape
from .options import Training
from .train_work import checkpoint_of, settings_of
from .work import Setting


@dataclass(frozen=True)
class Turns:
    """The options of PAM beside those of the curve."""

    begin: Start
    method: PermutationMethod
    outer: int
    permutation_epochs: int


def fit_in_turns(
    work: Setting,
    ends: tuple[Path, Path],
    turns: Turns,
    shape: Shape,
    training: Training,
    out: Path,
    match_out: Path | None,
    *,
    watch: Watch,
) -> PamResult:
    """Run PAM on two states; write the curve, and the permutation if asked for."""
    start, end = (work.network_with(path) for path in ends)
    kept = checkpoint_of(training, out)
    began = time.perf_counter()
    found = pam(
        start,
        end,
        work.train_data,
        work.symmetry,
        start=turns.begin,
        method=turns.method,
        outer=turns.outer,
        permutation_epochs=turns.permutation_epochs,
        between=shape.between,
        **settings_of(work, training, watch, "learning permutation and curve", kept),
    )
    made: dict[str, Any] = work.record(
        began,
        **asdict(training),
        **asdict(shape),
        pam=asdict(turns),
        objective=list(found.history),
    )
    more = {"aligned": turns.begin == "aligned", "match": None}
    records = dict(zip(("start", "end"), map(read_record, ends), strict=True))
    save_curve(found.curve, out, {**made, **more, **records})
    if match_out is not None:
        save_state(found.permutation, match_out, kind="permutation", record=json.dumps(made))
    kept.remove()
    return found
