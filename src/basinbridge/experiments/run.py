"""Carrying out stages in this process, one after the other, beside whoever else does the same."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import InputError
from .store import Stage, Store

WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Outcome:
    """What became of stages: how many were done here, and why others could not be, by name."""

    done: int
    failed: dict[str, str]


def run(
    stages: Sequence[Stage],
    store: Store,
    carry_out: Callable[[Stage], None],
    *,
    watch: Callable[[int, int], None] | None = None,
    wait_seconds: float = WAIT_SECONDS,
) -> Outcome:
    """Carry out those of `stages` (in an order that suits them) that the store lacks.

    A stage that another process holds is left to it, and waited for once nothing else can be done.
    One that fails with an `InputError` takes those that need it with it, and no others.
    `watch(finished, of all)` is called whenever one is.
    """
    waiting = [stage for stage in stages if not store.has(stage)]
    failed: dict[str, str] = {}
    done = 0
    while waiting:
        before = len(waiting)
        for stage in list(waiting):
            lost = next((one for one in stage.inputs.values() if one.name in failed), None)
            if lost is not None:
                failed[stage.name] = failed[lost.name]
            elif not store.has(stage):
                if not all(store.has(needed) for needed in stage.inputs.values()):
                    continue
                with store.claimed(stage.name) as mine:
                    if not mine:
                        continue
                    # It may have been finished between the question and the claim.
                    if not store.has(stage):
                        done += _tried(stage, carry_out, failed)
            waiting.remove(stage)
            if watch is not None:
                watch(len(stages) - len(waiting), len(stages))
        if len(waiting) == before:
            time.sleep(wait_seconds)
    return Outcome(done, failed)


def _tried(stage: Stage, carry_out: Callable[[Stage], None], failed: dict[str, str]) -> bool:
    try:
        carry_out(stage)
    except InputError as error:
        failed[stage.name] = str(error)
        return False
    return True
