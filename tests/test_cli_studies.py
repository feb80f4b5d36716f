"""The commands about whole studies, on the digits."""

import json

import pytest
from small_runs import SHORTEST
from test_cli import call

from basinbridge.cli.reproduce_work import plans_for
from basinbridge.experiments import exhibits
from basinbridge.reading import read_record


@pytest.fixture(autouse=True)
def no_data_but_digits(monkeypatch):
    """The shortest of schedules, and no data sets on the machine or the Hub."""
    monkeypatch.setitem(exhibits.SCHEDULES, "smoke", SHORTEST)
    monkeypatch.delenv("BASINBRIDGE_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_smoke_runs_is_shown_and_is_not_done_twice(tmp_path, monkeypatch, capsys):
    arguments = ["reproduce", "table1", "--schedule", "smoke", "--threads", 1, "--out", tmp_path]
    assert call(monkeypatch, *arguments, "--dry-run") == 0
    listed = capsys.readouterr().out
    assert "digitsnet/digits 0,1: fit PAM Aligned" in listed
    assert "12 stages" in listed
    assert max(len(line) for line in listed.splitlines()) <= 80
    assert not list(tmp_path.iterdir())
    assert call(monkeypatch, *arguments) == 0
    assert "12 of 12 stages are done, 12 of them now" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").iterdir()}
    assert call(monkeypatch, *arguments) == 0
    assert "12 of 12 stages are done, 0 of them now" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "results").iterdir()} == before
    assert call(monkeypatch, *arguments, "--dry-run") == 0
    assert capsys.readouterr().out.count(" done  ") == 12
    next((tmp_path / "results").glob("pam-*")).unlink()
    assert call(monkeypatch, "status", tmp_path, "--all") == 0
    shown = capsys.readouterr().out
    assert "table1; schedule smoke" in shown
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.strip()}
    assert rows["pam"] == ["1", "0", "1"]
    assert rows["all"] == ["11", "0", "1"]
    assert sum(line.strip().startswith("missing  digitsnet") for line in shown.splitlines()) == 1


def test_stages_are_done_together_where_told_so(tmp_path, monkeypatch):
    arguments = ["table2", "--schedule", "smoke", "--together", 3, "--out", tmp_path]
    assert call(monkeypatch, "reproduce", *arguments) == 0
    records = [read_record(path) for path in (tmp_path / "results").glob("endpoint-*")]
    assert [record["together"] for record in records] == [[0, 1], [0, 1]]


def test_missing_data_stop_their_stages_and_are_named(tmp_path, monkeypatch, capsys):
    arguments = ["table2", "--only", "tinyten/cifar100", "--schedule", "smoke", "--out", tmp_path]
    assert call(monkeypatch, "reproduce", *arguments) == 2
    output = capsys.readouterr()
    assert "0 of 8 stages are done" in output.out
    (line,) = output.err.strip().splitlines()
    assert line.startswith("basinbridge: 8 stages could not be done: data set 'cifar100'")
    assert json.loads((tmp_path / "plan.json").read_text())["stages"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["table3"], "table1, table2"),
        (["table1", "--only", "tinyten"], "tinyten/cifar10"),
        (["table1", "--seeds", "0,1,2"], "two for each pair"),
        (["table1", "--seeds", "zero,one"], "whole numbers"),
        (["table1", "--device", "abacus"], "abacus"),
        (["table1", "--data-root", "nowhere"], "nowhere"),
        (["table1", "--together", 2, "--executor", "ray"], "--gpus"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    arguments, expected, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    command = ["reproduce", *arguments, "--schedule", "smoke", "--out", "run"]
    assert call(monkeypatch, *command) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert expected in line
    assert not (tmp_path / "run").exists()


def test_another_schedule_in_the_same_folder_is_refused(tmp_path, monkeypatch, capsys):
    arguments = ["reproduce", "table2", "--only", "digitsnet/digits", "--out", tmp_path]
    assert call(monkeypatch, *arguments, "--schedule", "smoke") == 0
    assert call(monkeypatch, *arguments, "--schedule", "short") == 2
    assert "another folder" in capsys.readouterr().err


def test_status_of_a_folder_without_a_run(tmp_path, monkeypatch, capsys):
    assert call(monkeypatch, "status", tmp_path) == 2
    assert "basinbridge reproduce" in capsys.readouterr().err


def test_a_smoke_run_takes_the_data_that_are_there(tmp_path):
    (tmp_path / "cifar10").mkdir()
    smoke, paper = SHORTEST, exhibits.SCHEDULES["paper"]
    names = [plan.case.name for plan in plans_for("table1", None, None, smoke, tmp_path)]
    assert names == ["tinyten/cifar10"]
    assert len(plans_for("table1", None, None, paper, tmp_path)) == 9
    (plan,) = plans_for("table1", "tinyten/cifar10", None, paper, tmp_path)
    assert [pair.seeds for pair in plan.pairs] == [(0, 1), (2, 3), (4, 5)]


def test_seeds_give_as_many_pairs_as_they_are_for_figures_too():
    paper = exhibits.SCHEDULES["paper"]
    (plan,) = plans_for("figure3", "tinyten/cifar100", (4, 5, 8, 9), paper, None)
    assert [pair.seeds for pair in plan.pairs] == [(4, 5), (8, 9)]


def test_losses_go_to_tensorboard_too(tmp_path, monkeypatch, capsys):
    readers = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    arguments = ["table2", "--only", "digitsnet/digits", "--schedule", "smoke", "--seeds", "0,1"]
    assert call(monkeypatch, "reproduce", *arguments, "--tensorboard", "--out", tmp_path) == 0
    folders = sorted(path.name for path in (tmp_path / "tensorboard").iterdir())
    assert len(folders) == 6  # two networks and four curves
    found = readers.EventAccumulator(str(tmp_path / "tensorboard" / folders[-1]))
    found.Reload()
    events = found.Scalars("loss, nats")
    assert [event.step for event in events] == [1, 2]
    assert events[0].value > events[1].value > 0
