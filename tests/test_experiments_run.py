"""Carrying out stages: order, failures, and processes side by side."""

import threading

import pytest

from basinbridge.errors import InputError
from basinbridge.experiments.run import Group, run
from basinbridge.experiments.store import Stage, Store, in_order


def chain():
    """Two ends of one data set, their curve, and a stage that needs neither end."""
    data = Stage("data", {})
    start, end = (Stage("endpoint", {"seed": seed}, {"data": data}) for seed in (0, 1))
    curve = Stage("curve", {}, {"start": start, "end": end})
    return {"data": data, "start": start, "end": end, "curve": curve, "rest": Stage("plane", {})}


def writer(store, log):
    """Carry out a stage by writing its name; it must find its inputs."""

    def carry_out(stage):
        assert all(store.has(needed) for needed in stage.inputs.values())
        store.path(stage).parent.mkdir(parents=True, exist_ok=True)
        store.path(stage).write_text(stage.name)
        log.append(stage.name)

    return carry_out


def diverging(write, one):
    """Carry out stages so, all but one."""

    def carry_out(stage):
        if stage.name == one.name:
            raise InputError("training diverged")
        write(stage)

    return carry_out


def test_every_stage_is_done_once_and_never_again(tmp_path):
    store, log = Store(tmp_path), []
    stages = in_order(chain().values())
    assert run(stages, store, writer(store, log)).done == 5
    assert sorted(log) == sorted(stage.name for stage in stages)
    again = run(stages, store, writer(store, log))
    assert (again.done, again.failed, len(log)) == (0, {}, 5)


def test_stages_are_done_behind_their_inputs_in_whatever_order_they_come(tmp_path):
    store, log = Store(tmp_path), []
    stages = in_order(chain().values())[::-1]
    assert run(stages, store, writer(store, log), wait_seconds=0).done == 5


def test_a_failure_takes_what_needs_it_along_and_nothing_else(tmp_path):
    store, log, parts = Store(tmp_path), [], chain()
    write = writer(store, log)
    carry_out = diverging(write, parts["end"])
    stages = in_order(parts.values())
    found = run(stages, store, carry_out)
    assert found.failed == {
        parts["end"].name: "training diverged",
        parts["curve"].name: "training diverged",
    }
    assert log == [parts[name].name for name in ("data", "start", "rest")]
    # What failed is tried again, and only that and what needed it.
    assert run(stages, store, write).done == 2
    assert log[3:] == [parts["end"].name, parts["curve"].name]


def test_a_stop_in_the_middle_loses_only_the_stage_at_work(tmp_path):
    store, log, parts = Store(tmp_path), [], chain()
    write = writer(store, log)

    def carry_out(stage):
        if stage.name == parts["curve"].name:
            raise KeyboardInterrupt
        write(stage)

    with pytest.raises(KeyboardInterrupt):
        run(in_order(parts.values()), store, carry_out)
    assert not store.running(parts["curve"].name)
    assert run(in_order(parts.values()), store, write).done == 2


def test_what_another_process_holds_is_left_to_it_and_waited_for(tmp_path):
    store, log, parts = Store(tmp_path), [], chain()
    write = writer(store, log)
    with store.claimed(parts["data"].name) as mine:
        assert mine
        other = threading.Thread(
            target=run, args=(in_order(parts.values()), store, write), kwargs={"wait_seconds": 0.01}
        )
        other.start()
        while parts["rest"].name not in log:  # it goes on with what it can do
            other.join(0.01)
        assert log == [parts["rest"].name]
        write(parts["data"])
    other.join(30)
    assert not other.is_alive()
    assert len(log) == len(set(log)) == 5


def test_watching_ends_at_all(tmp_path):
    store, seen = Store(tmp_path), []
    stages = in_order(chain().values())
    run(stages, store, writer(store, []), watch=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 5) for done in range(1, 6)]


def pairs(store, log, fails=False):
    """Ends are done together, and each such piece of work is a list in the log."""
    write = writer(store, [])

    def joining(stage, others):
        return [one for one in others if one.kind == stage.kind == "endpoint" and one is not stage]

    def carry_out(stages):
        if fails:
            raise InputError("one of them diverged")
        log.append([stage.name for stage in stages])
        for stage in stages:
            write(stage)

    return Group(joining, carry_out)


def test_what_joins_a_stage_is_done_with_it(tmp_path):
    store, alone, together, parts = Store(tmp_path), [], [], chain()
    seen = []
    stages = in_order(parts.values())
    found = run(
        stages,
        store,
        writer(store, alone),
        group=pairs(store, together),
        watch=lambda *told: seen.append(told),
    )
    assert (found.done, found.failed) == (5, {})
    assert together == [[parts["start"].name, parts["end"].name]]
    assert sorted(alone) == sorted(parts[name].name for name in ("data", "curve", "rest"))
    assert seen == [(done, 5) for done in range(1, 6)]


def test_a_group_that_fails_is_done_one_by_one(tmp_path):
    store, log, parts = Store(tmp_path), [], chain()
    carry_out = diverging(writer(store, log), parts["end"])
    stages = in_order(parts.values())
    found = run(stages, store, carry_out, group=pairs(store, [], fails=True))
    assert set(found.failed) == {parts["end"].name, parts["curve"].name}
    assert sorted(log) == sorted(parts[name].name for name in ("data", "start", "rest"))
    assert found.done == 3


def test_what_another_process_holds_does_not_join(tmp_path):
    store, log, together, parts = Store(tmp_path), [], [], chain()
    ends = [parts["data"], parts["start"], parts["end"]]
    with store.claimed(parts["end"].name) as mine:
        assert mine
        other = threading.Thread(
            target=run,
            args=(ends, store, writer(store, log)),
            kwargs={"wait_seconds": 0.01, "group": pairs(store, together)},
        )
        other.start()
        while parts["start"].name not in log:
            other.join(0.01)
    other.join(30)
    assert not other.is_alive()
    assert together == []
    assert log == [parts[name].name for name in ("data", "start", "end")]
