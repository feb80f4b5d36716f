"""What the command `subset-study` does."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..align.methods import Activations, Method
from ..experiments.pair import Watch
from ..experiments.subset import SubsetStudy, subset_study
from ..report.picture import write_result
from .work import Setting


def study_subsets(
    work: Setting,
    ends: tuple[Path, Path],
    sizes: Sequence[int],
    method: Method,
    activations: Activations,
    out: Path | None,
    *,
    watch: Watch,
) -> SubsetStudy:
    """Compare the permutations that two states get from subsets of the training images."""
    start, end = (work.network_with(path) for path in ends)
    began = time.perf_counter()
    found = subset_study(
        start,
        end,
        work.train_data,
        work.symmetry,
        [min(size, len(work.train_data)) for size in sizes],
        seed=work.seed,
        method=method,
        activations=activations,
        attack=work.attack,
        watch=watch,
    )
    if out is not None:
        record = work.record(
            began, files=[str(path) for path in ends], method=method, activations=activations
        )
        write_result({**asdict(found), "record": record}, out, "subset-study")
    return found
