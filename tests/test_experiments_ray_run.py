"""Stages on two workers of a local Ray: the same results as in one process, and lost workers.

These tests run where the extra `ray` is installed.
"""

import os
import signal
import warnings
from pathlib import Path

import pytest
import torch
from small_runs import SHORTEST, small_plans

from basinbridge.errors import InputError
from basinbridge.experiments.plan import write_plan
from basinbridge.experiments.ray_run import at_a_place, run_on_ray
from basinbridge.experiments.store import Stage, Store, in_order
from basinbridge.experiments.workplace import Workplace
from basinbridge.state import load_state

ray = pytest.importorskip("ray", reason="RAY IS NOT INSTALLED: --executor ray was not tested")
# Ray's own sockets and settings warn; what happens here is in its workers.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module", autouse=True)
def workers():
    """Two workers that find what the tests import."""
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": paths}},
        )
        yield
        ray.shutdown()


def test_two_workers_give_the_bits_of_one_process(digits_run, tmp_path):
    store = Store(tmp_path)
    plans = small_plans("table1")
    write_plan(store, plans, SHORTEST)
    stages = in_order(stage for plan in plans for stage in plan.stages)
    seen = []
    outcome = run_on_ray(
        stages,
        store,
        at_a_place(Workplace(store)),
        watch=lambda done, total: seen.append((done, total)),
    )
    assert (outcome.done, outcome.failed) == (len(stages), {})
    assert seen[-1] == (len(stages), len(stages))
    alone = Store(digits_run)
    for stage in stages:
        if stage.kind in ("endpoint", "alignment", "curve", "pam"):
            one, other = (load_state(place.path(stage)) for place in (alone, store))
            assert all(torch.equal(one[name], other[name]) for name in one), stage.label
    assert run_on_ray(stages, store, at_a_place(Workplace(store))).done == 0


def fragile(folder: Path, stage: Stage) -> None:
    """Write the stage's name; the first worker that tries `end` is killed, and `start` refuses."""
    store = Store(folder)
    if stage.settings["name"] == "end" and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if stage.settings["name"] == "start":
        raise InputError("diverged")
    store.path(stage).parent.mkdir(parents=True, exist_ok=True)
    store.path(stage).write_text(stage.name)


def test_a_lost_workers_stage_is_done_again_and_a_failure_takes_only_what_needs_it(tmp_path):
    from functools import partial

    start, end = (Stage("endpoint", {"name": name}) for name in ("start", "end"))
    alone = Stage("plane", {"name": "alone"}, {"end": end})
    curve = Stage("curve", {"name": "curve"}, {"start": start, "end": end})
    store = Store(tmp_path)
    outcome = run_on_ray([start, end, alone, curve], store, partial(fragile, tmp_path))
    assert (tmp_path / "killed").exists()
    assert store.has(end)
    assert store.has(alone)
    assert outcome.failed == {start.name: "diverged", curve.name: "diverged"}
    assert outcome.done == 2


def test_the_command_does_it_too(tmp_path, monkeypatch, capsys):
    from test_cli import call

    from basinbridge.experiments import exhibits

    monkeypatch.setitem(exhibits.SCHEDULES, "smoke", SHORTEST)
    arguments = ["table2", "--only", "digitsnet/digits", "--schedule", "smoke", "--seeds", "0,1"]
    command = ["reproduce", *arguments, "--executor", "ray", "--out", tmp_path]
    assert call(monkeypatch, *command) == 0
    assert "8 of 8 stages are done, 8 of them now" in capsys.readouterr().out
