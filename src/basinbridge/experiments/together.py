"""Stages that are done as one batch of networks: several trainings, several fits."""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial

from ..curve.together import fit_together
from ..errors import InputError
from ..train.checkpoint import Checkpoint
from ..train.together import train_together
from .run import Group
from .store import Stage
from .work import save_fitted, save_network, unfitted
from .workplace import Job, Workplace, setting_of


def group_at(place: Workplace) -> Group | None:
    """How stages are grouped at a workplace; None if each is done by itself."""
    if place.together < 2:
        return None
    return Group(partial(joining, most=place.together), partial(carry_out_together, place))


def joining(stage: Stage, others: Sequence[Stage], most: int) -> list[Stage]:
    """Those of `others` that differ from a stage in nothing but seed and ends; `most` with it."""
    if stage.kind not in ("endpoint", "curve"):
        return []
    alike = [one for one in others if one.kind == stage.kind and one.name != stage.name]
    return [one for one in alike if _shared(one) == _shared(stage)][: most - 1]


def _shared(stage: Stage) -> str:
    """What all stages of a group have in common."""
    settings = {name: value for name, value in stage.settings.items() if name != "seed"}
    return json.dumps(
        [settings, stage.inputs["data"].name, setting_of(stage, "model")], sort_keys=True
    )


def carry_out_together(place: Workplace, stages: Sequence[Stage]) -> None:
    """Do the stages of a group, whose inputs are there, and write their results.

    Each history is the mean loss of all, each time an equal part of the whole.
    """
    began = time.perf_counter()
    jobs = [Job.at(place, stage, began) for stage in stages]
    first, seeds = jobs[0], [job.settings["seed"] for job in jobs]
    # No stage of a plan: only a name that tells which stages have this checkpoint.
    name = Stage("together", {}, {str(i): stage for i, stage in enumerate(stages)}).name
    checkpoint = Checkpoint(first.checkpoint.path.with_name(name), place.checkpoint_seconds)
    history: list[float] = []
    resumed = bool(checkpoint.files())
    settings = first.training(seeds[0], history)
    settings["checkpoint"] = checkpoint
    writers: list[Callable[..., None]]
    try:
        if first.stage.kind == "endpoint":
            networks = [job.network for job in jobs]
            found = train_together(networks, first.train_data, seeds=seeds, **settings)
            writers = [partial(save_network, *pair) for pair in zip(jobs, found, strict=True)]
        else:
            curves = [unfitted(job) for job in jobs]
            fitted = fit_together(curves, first.train_data, seeds=seeds, **settings)
            writers = [partial(save_fitted, *pair) for pair in zip(jobs, fitted, strict=True)]
    except InputError:
        checkpoint.remove()  # nothing goes on from it: each is trained by itself
        raise
    seconds = round((time.perf_counter() - began) / len(jobs), 2)
    for write in writers:
        write(history=history, resumed=resumed, together=seeds, seconds=seconds)
    checkpoint.remove()
