"""Stages' names, and two processes at one store."""

import multiprocessing
import os
import signal
from dataclasses import replace

import pytest

from basinbridge.errors import InputError
from basinbridge.experiments.store import Stage, Store, in_order

DATA = Stage("data", {"dataset": "digits"})
START = Stage("endpoint", {"seed": 0, "training": {"epochs": 2}}, {"data": DATA})
END = Stage("endpoint", {"seed": 1, "training": {"epochs": 2}}, {"data": DATA})
CURVE = Stage("curve", {"seed": 0}, {"start": START, "end": END})


def test_a_name_says_the_kind_and_the_label_does_not_matter():
    assert CURVE.name.startswith("curve-")
    assert replace(CURVE, label="something to read").name == CURVE.name
    assert CURVE.file == f"{CURVE.name}.safetensors"
    assert DATA.file == f"{DATA.name}.json"


def test_a_name_does_not_depend_on_the_order_of_settings():
    turned = Stage("endpoint", {"training": {"epochs": 2}, "seed": 0}, {"data": DATA})
    assert turned.name == START.name


@pytest.mark.parametrize(
    "changed",
    [
        replace(CURVE, kind="pam"),
        replace(CURVE, settings={"seed": 2}),
        replace(CURVE, inputs={"start": END, "end": START}),
        replace(CURVE, inputs={"start": START}),
        replace(
            CURVE,
            inputs={
                "start": replace(START, inputs={"data": replace(DATA, settings={})}),
                "end": END,
            },
        ),
    ],
)
def test_whatever_a_stage_depends_on_changes_its_name(changed):
    assert changed.name != CURVE.name


def test_order_puts_every_stage_once_and_behind_its_inputs():
    twin = Stage("curve", {"seed": 1}, {"start": replace(START), "end": END})
    found = in_order([CURVE, twin, START])
    names = [stage.name for stage in found]
    assert len(names) == len(set(names)) == 5
    for stage in found:
        assert all(names.index(one.name) < names.index(stage.name) for one in stage.inputs.values())


def test_a_stage_is_done_when_its_file_is_there(tmp_path):
    store = Store(tmp_path)
    assert not store.has(DATA)
    store.path(DATA).parent.mkdir(parents=True)
    store.path(DATA).write_text("{}")
    assert store.has(DATA)


def _hold(folder, holding, leave):
    with Store(folder).claimed("stage") as mine:
        assert mine
        holding.set()
        leave.wait()


def test_a_stage_is_held_by_one_process_and_given_back_even_if_it_is_killed(tmp_path):
    store, context = Store(tmp_path), multiprocessing.get_context("spawn")
    holding, leave = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, holding, leave))
    assert not store.running("stage")
    other.start()
    try:
        assert holding.wait(60)
        assert store.running("stage")
        with store.claimed("stage") as mine:
            assert not mine
        with store.claimed("another") as mine:
            assert mine
    finally:
        os.kill(other.pid, signal.SIGKILL)
        other.join()
    assert not store.running("stage")
    with store.claimed("stage") as mine:
        assert mine


def test_a_file_in_the_folders_place_is_one_clear_error(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="not a folder"), Store(tmp_path / "run").claimed("stage"):
        pass
