"""Expected times: what is counted, and that measuring gives something."""

from dataclasses import replace

import pytest
import torch
from small_runs import SHORTEST

from basinbridge.experiments.estimate import FACTS, Speeds, measure, seconds_of, sizes_of
from basinbridge.experiments.exhibits import EXHIBITS, SCHEDULES, STAND_IN
from basinbridge.experiments.plan import plan_case
from basinbridge.experiments.specs import Case
from basinbridge.experiments.store import in_order

SPEEDS = Speeds(training=1.0, curve=10.0, permutation=100.0, scoring=1e-3, discovery=5.0)


def stages_of(schedule):
    case = Case("TinyTen", "cifar10")
    plans = [
        plan_case(EXHIBITS[name], case, ((0, 1),), schedule)
        for name in ("table1", "figure1", "figure6")
    ]
    found = in_order(stage for plan in plans for stage in plan.stages)
    return {stage.kind: stage for stage in found}


def test_a_paper_run_is_counted_image_by_image():
    stages = stages_of(SCHEDULES["paper"])
    sizes = sizes_of(stages["data"])
    assert sizes == (50_000, 10_000)
    expected = {
        "data": 0.0,
        "endpoint": 250 * 50_000 * 1.0,
        "curve": 250 * 50_000 * 10.0,
        "pam": 250 * 50_000 * 10.0 + 20 * 50_000 * 100.0 + 34 * 16 * 128 * 1e-3 + 5.0,
        "alignment": 5.0 + 20_000 * 1e-3,
        "evaluation": 65 * (50_000 + 10_000) * 1e-3,
        "plane": 17 * 17 * (50_000 + 10_000) * 1e-3,
        "signature": 5.0 + 20_000 * 1e-3,
        "midpoint": 5.0 + (80_000 + 300_000) * 1e-3,
    }
    found = {kind: seconds_of(stage, SPEEDS, sizes) for kind, stage in stages.items()}
    assert found == pytest.approx(expected)


def test_attacks_cost_a_training_step_each():
    case = Case("TinyTen", "cifar10")
    plan = plan_case(EXHIBITS["figure9"], case, ((0, 1),), SCHEDULES["paper"])
    found = {stage.kind: seconds_of(stage, SPEEDS, (100, 10)) for stage in plan.stages}
    assert found["endpoint"] == 200 * 100 * 6 * 1.0
    assert found["curve"] == 200 * 100 * (10.0 + 5 * 1.0)
    assert found["evaluation"] == pytest.approx(65 * (110 * 1e-3 + 110 * 5 * 1.0 + 10 * 1e-3))


def test_a_subset_takes_its_share():
    stages = stages_of(replace(SHORTEST, train_images=500, test_images=50))
    sizes = sizes_of(stages["data"])
    assert sizes == (500, 50)
    assert seconds_of(stages["endpoint"], SPEEDS, sizes) == 2 * 500 * 1.0
    assert seconds_of(stages["plane"], SPEEDS, sizes) == pytest.approx(9 * (100 + 40) * 1e-3)


def test_every_data_set_of_the_exhibits_has_its_facts():
    cases = {case.dataset for one in EXHIBITS.values() for case in one.cases}
    assert cases | {STAND_IN.dataset} == set(FACTS)


def test_measuring_gives_positive_speeds_and_leaves_the_random_numbers_alone():
    before = torch.get_rng_state()
    found = measure(STAND_IN, torch.device("cpu"))
    assert min(found.training, found.curve, found.scoring, found.discovery) > 0
    assert found.permutation >= 0
    assert torch.equal(torch.get_rng_state(), before)
