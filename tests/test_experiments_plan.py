"""From exhibits to stages, and the file that lists them."""

import json
from dataclasses import replace

import pytest
from small_runs import SHORTEST, small_plans

from basinbridge.errors import InputError
from basinbridge.experiments.exhibits import EXHIBITS, SCHEDULES
from basinbridge.experiments.plan import plan_case, read_plan, write_plan
from basinbridge.experiments.specs import Case
from basinbridge.experiments.store import Store, in_order

PAIRS = ((0, 1), (2, 3), (4, 5))
CASE = Case("TinyTen", "cifar10")


def kinds(plan):
    found = [stage.kind for stage in plan.stages]
    return {kind: found.count(kind) for kind in found}


def test_table_1_of_one_case():
    found = kinds(plan_case(EXHIBITS["table1"], CASE, PAIRS, SCHEDULES["paper"]))
    assert found == {
        "data": 1, "endpoint": 6, "alignment": 3, "curve": 6, "pam": 6, "evaluation": 12,
    }  # fmt: skip


def test_an_exhibit_takes_as_many_pairs_as_it_shows():
    plan = plan_case(EXHIBITS["figure6"], CASE, PAIRS, SCHEDULES["paper"])
    assert [pair.seeds for pair in plan.pairs] == [(0, 1)]
    assert kinds(plan)["plane"] == 1


def test_tables_and_figures_share_networks_and_curves():
    table, *others = (
        plan_case(EXHIBITS[name], CASE, PAIRS, SCHEDULES["short"])
        for name in ("table1", "table2", "figure1", "figure2", "figure6", "figure7")
    )
    known = {stage.name for stage in table.stages}
    for plan in others:
        new = {stage.kind for stage in plan.stages if stage.name not in known}
        assert "endpoint" not in new
        if plan.exhibit.name != "figure2":  # which aligns by other techniques too
            assert not new & {"curve", "pam", "alignment"}


def test_curves_of_a_pair_meet_the_same_batches_and_differ_between_pairs():
    plan = plan_case(EXHIBITS["table1"], CASE, PAIRS, SCHEDULES["paper"])
    for pair in plan.pairs:
        seeds = {stage.settings["seed"] for stage in pair.parts["training"].values()}
        assert seeds == {pair.seeds[0]}


@pytest.mark.parametrize("exhibit", EXHIBITS.values(), ids=lambda one: one.name)
def test_every_exhibit_can_be_planned_and_has_what_it_shows(exhibit):
    for case in exhibit.cases:
        plan = plan_case(exhibit, case, PAIRS, SCHEDULES["paper"])
        assert len(plan.pairs) == exhibit.pairs
        for pair in plan.pairs:
            assert {"endpoints", "training", *exhibit.parts} == set(pair.parts)
            for part in ("paths", "lines", "curve planes", "midpoints"):
                names = {method.name for method in exhibit.methods_for(case)}
                assert set(pair.parts.get(part, names)) == names


def test_a_plan_is_read_as_written_and_names_every_result(tmp_path):
    store = Store(tmp_path)
    plans = small_plans("table1", "figure6")
    write_plan(store, plans, SHORTEST)
    plan = read_plan(store)
    stages = in_order(stage for one in plans for stage in one.stages)
    assert list(plan["stages"]) == [stage.name for stage in stages]
    for stage in stages:
        entry = plan["stages"][stage.name]
        assert entry["file"] == stage.file
        assert entry["settings"] == json.loads(json.dumps(stage.settings))
        assert all(name in plan["stages"] for name in entry["inputs"].values())
    (case,) = plan["exhibits"]["table1"]["cases"].values()
    assert case["methods"]["aligned"] == "Aligned"
    assert case["pairs"][0]["seeds"] == [0, 1]


def test_planning_again_adds_exhibits_and_replaces_cases(tmp_path):
    store = Store(tmp_path)
    write_plan(store, small_plans("table1"), SHORTEST)
    before = read_plan(store)
    write_plan(store, small_plans("figure7"), SHORTEST)
    assert list(read_plan(store)["exhibits"]) == ["table1", "figure7"]
    write_plan(store, small_plans("table1", seeds=((7, 8),)), SHORTEST)
    plan = read_plan(store)
    (case,) = plan["exhibits"]["table1"]["cases"].values()
    assert [pair["seeds"] for pair in case["pairs"]] == [[7, 8]]
    # What only the former pair needed is no longer asked for; what figure7 needs still is.
    gone = set(before["stages"]) - set(plan["stages"])
    assert {before["stages"][name]["kind"] for name in gone} == {"pam", "evaluation"}


def test_a_run_has_one_schedule(tmp_path):
    store = Store(tmp_path)
    write_plan(store, small_plans("table1"), SHORTEST)
    other = replace(SHORTEST, points=5)
    with pytest.raises(InputError, match="another folder"):
        write_plan(store, small_plans("table1", schedule=other), other)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"kind": "plan", "format": 0}'])
def test_a_folder_without_a_sound_plan_is_one_clear_error(tmp_path, content):
    if content is not None:
        (tmp_path / "plan.json").write_text(content)
    with pytest.raises(InputError, match=r"plan|run"):
        read_plan(Store(tmp_path))


def test_robust_networks_are_others_and_the_two_robust_figures_of_a_data_set_share_them():
    case = Case("ResNet32", "cifar100")
    usual, one, other = (
        {stage.name for stage in plan_case(EXHIBITS[name], case, PAIRS, SCHEDULES["short"]).stages}
        for name in ("figure3", "figure4", "figure8")
    )
    assert one == other
    assert {name.split("-")[0] for name in usual & one} == {"data"}


def test_exhibits_stand_in_the_papers_order(tmp_path):
    store = Store(tmp_path)
    for name in ("figure7", "table2", "figure1", "table1"):
        write_plan(store, small_plans(name), SHORTEST)
    assert list(read_plan(store)["exhibits"]) == ["table1", "table2", "figure1", "figure7"]
