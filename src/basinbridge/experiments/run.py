"""Carrying out stages in this process, one after the other, beside whoever else does the same."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ..errors import InputError
from .store import Stage, Store

WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Group:
    """How several stages are done as one piece of work.

    `joining(stage, others)` tells which others can be done with a stage; `carry_out` does them.
    """

    joining: Callable[[Stage, Sequence[Stage]], list[Stage]]
    carry_out: Callable[[Sequence[Stage]], None]


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
    group: Group | None = None,
    watch: Callable[[int, int], None] | None = None,
    wait_seconds: float = WAIT_SECONDS,
) -> Outcome:
    """Carry out those of `stages` (in an order that suits them) that the store lacks.

    A stage that another process holds is left to it, and waited for once nothing else can be done.
    One that fails with an `InputError` takes those that need it with it, and no others. With a
    `group` stages whose inputs are there are done together; if that fails, each by itself.
    `watch(finished, of all)` is called whenever one is.
    """
    waiting = [stage for stage in stages if not store.has(stage)]
    if group is not None:  # what may join a stage should be as ready as it is
        waiting.sort(key=lambda stage: stage.depth)
    failed: dict[str, str] = {}
    done = 0
    while waiting:
        before = len(waiting)
        for stage in list(waiting):
            lost = next((one for one in stage.inputs.values() if one.name in failed), None)
            if lost is not None:
                failed[stage.name] = failed[lost.name]
            elif stage.name not in failed and not store.has(stage):
                with ExitStack() as held:
                    if not _claimed(stage, store, held):
                        continue
                    others = [] if group is None else group.joining(stage, waiting)
                    joined = [other for other in others if _claimed(other, store, held)]
                    # One may have been finished between the question and the claim.
                    mine = [one for one in (stage, *joined) if not store.has(one)]
                    done += _done(mine, carry_out, group, failed)
            waiting.remove(stage)
            if watch is not None:
                watch(len(stages) - len(waiting), len(stages))
        if len(waiting) == before:
            time.sleep(wait_seconds)
    return Outcome(done, failed)


def _claimed(stage: Stage, store: Store, held: ExitStack) -> bool:
    """Hold a stage whose inputs are there, if no other process does."""
    ready = all(store.has(needed) for needed in stage.inputs.values())
    return ready and held.enter_context(store.claimed(stage.name))


def _done(
    stages: Sequence[Stage],
    carry_out: Callable[[Stage], None],
    group: Group | None,
    failed: dict[str, str],
) -> int:
    """How many of some stages could be done: together, or each by itself if that fails."""
    if group is not None and len(stages) > 1:
        try:
            group.carry_out(stages)
            return len(stages)
        except InputError:
            pass  # which of them it is shows when each is done by itself
    return sum(_tried(one, carry_out, failed) for one in stages)


def _tried(stage: Stage, carry_out: Callable[[Stage], None], failed: dict[str, str]) -> bool:
    try:
        carry_out(stage)
    except InputError as error:
        failed[stage.name] = str(error)
        return False
    return True
