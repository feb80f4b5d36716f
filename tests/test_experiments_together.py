"""Stages done as one batch of networks give what each gives by itself."""

import json

import pytest
import torch
from small_runs import small_plans, small_run

from basinbridge.experiments.store import in_order
from basinbridge.experiments.together import group_at, joining
from basinbridge.experiments.workplace import Workplace
from basinbridge.reading import read_record
from basinbridge.state import load_state

SEEDS = ((0, 1), (2, 3))


@pytest.fixture(scope="module")
def stages():
    (plan,) = small_plans("table1", seeds=SEEDS)
    return in_order(plan.stages)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The stores of one run one by one, and of the same together."""
    return [
        small_run(tmp_path_factory.mktemp("made"), "table1", seeds=SEEDS, together=count)
        for count in (1, 4)
    ]


def test_networks_join_networks_and_curves_join_curves(stages):
    for kind, count in (("endpoint", 4), ("curve", 4)):
        alike = [stage for stage in stages if stage.kind == kind]
        assert len(alike) == count
        for stage in alike:
            joined = joining(stage, stages, most=10)
            assert {one.name for one in (stage, *joined)} == {one.name for one in alike}
            assert len(joining(stage, stages, most=3)) == 2
    for stage in stages:
        if stage.kind not in ("endpoint", "curve"):
            assert joining(stage, stages, most=10) == []


def test_networks_trained_otherwise_do_not_join(stages):
    (robust,) = small_plans("figure7", seeds=SEEDS)
    others = in_order(robust.stages)
    one = next(stage for stage in stages if stage.kind == "endpoint")
    assert any(stage.kind == "endpoint" for stage in others)
    assert {other.name for other in joining(one, others, most=10)} <= {s.name for s in stages}


def vector_in(store, stage):
    return torch.cat([one.double().ravel() for one in load_state(store.path(stage)).values()])


@pytest.mark.parametrize("kind", ["endpoint", "curve"])
def test_networks_and_curves_differ_from_those_made_alone_by_rounding(both, stages, kind):
    # Neurons that hardly differ may be aligned otherwise.
    alike = [stage for stage in stages if stage.kind == kind and "match" not in stage.inputs]
    alone, together = ([vector_in(store, stage) for stage in alike] for store in both)
    for place, one in enumerate(alone):
        apart = [float((one - other).norm()) for other in together]
        assert apart[place] < 0.01 * float(one.norm())
        assert all(far > 0.1 * float(one.norm()) for far in apart if far != apart[place])


def test_records_say_what_was_done_together(both, stages):
    alone, together = both
    for stage in stages:
        if stage.kind in ("endpoint", "curve"):
            assert "together" not in read_record(alone.path(stage))
            record = read_record(together.path(stage))
            alike = [one for one in stages if one.kind == stage.kind and one.depth == stage.depth]
            assert record["together"] == [one.settings["seed"] for one in alike]
            assert len(alike) == (4 if stage.kind == "endpoint" else 2)
            assert len(record["history"]) == stage.settings["training"]["epochs"]
        elif stage.kind == "evaluation":
            one, other = (json.loads(store.path(stage).read_text()) for store in both)
            assert other["loss"] == pytest.approx(one["loss"], rel=0.05)
    assert not list((together.folder / "checkpoints").iterdir())


def test_one_at_a_time_is_no_group(tmp_path, both):
    assert group_at(Workplace(both[0])) is None
