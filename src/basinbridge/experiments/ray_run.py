"""Carrying out stages on many workers by Ray, on one machine or on a cluster.

Every worker needs the run's folder under one path: a file system that all machines share.
"""

import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from .run import Outcome, run
from .store import Stage, Store
from .work import carry_out as carry_out_at
from .workplace import Workplace

RETRIES = 3


def run_on_ray(
    stages: Sequence[Stage],
    store: Store,
    carry_out: Callable[[Stage], None],
    *,
    cpus: int = 1,
    gpus: float = 0.0,
    watch: Callable[[int, int], None] | None = None,
) -> Outcome:
    """As `run`, but stages that do not need each other run at once, on Ray's workers.

    A stage takes `cpus` processors and `gpus` graphics cards, of which a part is allowed, so that
    several small networks share a card. A stage whose worker is lost is tried again, on another,
    up to three times. The environment variable RAY_ADDRESS names a cluster; without it workers are
    started on this machine. `carry_out` must be a function that can be pickled.
    """
    try:
        import ray
    except ImportError:
        raise InputError("--executor ray needs ray: pip install 'basinbridge[ray]'") from None
    started = not ray.is_initialized()
    if started:
        address = os.environ.get("RAY_ADDRESS")
        more: dict[str, Any] = {} if address else {"include_dashboard": False}
        ray.init(address=address, log_to_driver=False, **more)
    try:
        task = ray.remote(_carry_out_one).options(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)
        waiting = [stage for stage in stages if not store.has(stage)]
        running: dict[str, Any] = {}
        for stage in waiting:
            needed = [running[one.name] for one in stage.inputs.values() if one.name in running]
            running[stage.name] = task.remote(stage, store, carry_out, cpus, *needed)
        left = list(running.values())
        while left:
            _, left = ray.wait(left)
            if watch is not None:
                watch(len(stages) - len(left), len(stages))
        reasons = {name: _answer(ray, one) for name, one in running.items()}
    finally:
        if started:
            ray.shutdown()
    failed = {name: reason for name, reason in reasons.items() if reason is not None}
    return Outcome(len(reasons) - len(failed), failed)


def _answer(ray: Any, running: Any) -> str | None:  # noqa: ANN401 - Ray's own types
    """Why a stage could not be done; None if it was."""
    try:
        found: str | None = ray.get(running)
    except ray.exceptions.WorkerCrashedError:
        return f"its worker was lost {RETRIES + 1} times"
    return found


def _carry_out_one(
    stage: Stage, store: Store, carry_out: Callable[[Stage], None], cpus: int, *needed: str | None
) -> str | None:
    """On a worker: do a stage unless one of its inputs failed, for which reason it then fails."""
    lost = next((reason for reason in needed if reason is not None), None)
    if lost is not None:
        return lost
    torch.set_num_threads(cpus)
    return run([stage], store, carry_out).failed.get(stage.name)


def at_a_place(place: Workplace) -> Callable[[Stage], None]:
    """A function that does stages at such a place, wherever it is called.

    A worker reads data and discovers symmetries once, for all stages that it gets.
    """
    root = None if place.data_root is None else place.data_root.resolve()
    return partial(_carry_out_at, place.store.folder.resolve(), str(place.device), root)


def _carry_out_at(folder: Path, device: str, data_root: Path | None, stage: Stage) -> None:
    carry_out_at(_place(folder, device, data_root), stage)


@cache
def _place(folder: Path, device: str, data_root: Path | None) -> Workplace:
    return Workplace(Store(folder), torch.device(device), data_root)
