"""What the commands `merge` and `ensemble` do."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..align.transport import apply_plan, transport_plan
from ..errors import InputError
from ..evaluate.along import Score, prepared, score
from ..evaluate.ensemble import Ensemble, ensemble
from ..evaluate.merge import merge
from ..reading import read_record
from ..report.picture import write_result
from ..state import save_state, with_state
from ..symmetry.permutation import identity_permutation
from .symmetry_work import load_match
from .work import Setting


@dataclass(frozen=True)
class Mixture:
    """The options of a merge."""

    t: float
    repair: bool
    images: int
    soft_transport: float | None
    augment: bool


def merge_states(
    work: Setting, ends: tuple[Path, Path], match: Path | None, chosen: Mixture, out: Path
) -> dict[str, Score]:
    """Write the merged state; test scores of both networks and of the one, by file."""
    if match is not None and chosen.soft_transport is not None:
        raise InputError("--soft-transport mixes neurons and --match renumbers them; give one")
    start, end = (work.network_with(path) for path in ends)
    data = work.train_data.at_most(chosen.images, work.seed)
    began = time.perf_counter()
    symmetry = work.symmetry
    if match is not None:
        work.check_record(match)
    order = None if match is None else load_match(match, symmetry)
    other = end
    if chosen.soft_transport is not None:
        plans = transport_plan(start, end, data, symmetry, regularisation=chosen.soft_transport)
        other = with_state(end, apply_plan(end.state_dict(), symmetry, plans))
        order = identity_permutation(symmetry)
    found = merge(
        start,
        other,
        data,
        symmetry,
        order,
        t=chosen.t,
        repair=chosen.repair,
        augmentation=work.augmentation(chosen.augment),
    )
    record = work.record(
        began,
        **asdict(chosen),
        repaired=found.repaired,
        start=read_record(ends[0]),
        end=read_record(ends[1]),
        match=None if match is None else read_record(match),
    )
    save_state(found.network.state_dict(), out, record=json.dumps(record))
    tests = prepared(work.test_data, 500, work.device)
    networks = {ends[0]: start, ends[1]: end, out: found.network}
    return {str(path): score(network, tests) for path, network in networks.items()}


def score_ensemble(
    work: Setting,
    file: Path,
    times: Sequence[float],
    batchnorm_images: int,
    augment: bool,
    out: Path | None,
) -> Ensemble:
    """Score the networks at some t of a curve and their ensemble; write it if a file is named."""
    curve, made = work.curve_in(file)
    began = time.perf_counter()
    found = ensemble(
        curve,
        work.test_data,
        times=times,
        batchnorm_data=work.train_data,
        batchnorm_images=batchnorm_images,
        augmentation=work.augmentation(augment),
    )
    if out is not None:
        record = work.record(began, file=str(file), curve=made)
        write_result({**asdict(found), "record": record}, out, "ensemble")
    return found
