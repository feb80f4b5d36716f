"""Runs on digits of a second or two, for the tests of studies and of their report."""

from dataclasses import replace
from functools import partial

from basinbridge.experiments.exhibits import EXHIBITS, SCHEDULES, STAND_IN
from basinbridge.experiments.plan import plan_case, write_plan
from basinbridge.experiments.run import run
from basinbridge.experiments.specs import Training
from basinbridge.experiments.store import Store, in_order
from basinbridge.experiments.together import group_at
from basinbridge.experiments.work import carry_out
from basinbridge.experiments.workplace import Workplace

SHORTEST = replace(
    SCHEDULES["smoke"],
    endpoint=Training(2, 0.1, "cosine", batch_size=32),
    curve=Training(1, 0.05, "cosine", batch_size=32),
    robust=Training(1, 0.1, "cosine", batch_size=32, attack=(8 / 255, 4 / 255, 2)),
    points=3,
    alignment_images=100,
    batchnorm_images=100,
    plane_size=3,
    plane_images=40,
    train_images=320,
    test_images=100,
)


def small_plans(*names, seeds=((0, 1),), schedule=SHORTEST):
    """The exhibits' plans for the stand-in."""
    return [plan_case(EXHIBITS[name], STAND_IN, seeds, schedule) for name in names]


def small_run(folder, *names, seeds=((0, 1),), together=1):
    """Carry such plans out; return the store."""
    store = Store(folder)
    plans = small_plans(*names, seeds=seeds)
    write_plan(store, plans, SHORTEST)
    place = Workplace(store, together=together)
    outcome = run(
        in_order(s for one in plans for s in one.stages),
        store,
        partial(carry_out, place),
        group=group_at(place),
    )
    assert not outcome.failed
    return store
