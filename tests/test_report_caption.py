import statistics

import pytest
from sample_reports import sample_report

from basinbridge.report.caption import (
    describe_run,
    describe_subject,
    describe_training,
    mean_and_spread,
    total_seconds,
)


def test_spread_is_the_sample_standard_deviation():
    values = [1.0, 2.0, 4.0]
    assert mean_and_spread(values, 4) == f"2.3333 ± {statistics.stdev(values):.4f}"
    assert mean_and_spread(values, 1, "+-") == "2.3 +- 1.5"
    assert mean_and_spread([0.9731], 2) == "0.97"


def test_training_states_epochs_and_learning_rates():
    assert describe_training(sample_report()) == (
        "nets 20 epochs at learning rate 0.1; curves 5 epochs at learning rate 0.05"
    )


def test_the_run_states_what_it_used():
    assert describe_run(sample_report()) == (
        "batch size 32; 61 points along a path; 1,197 images for alignment; "
        "1,197 images for batch norm; seeds 0 and 1; 5.5 s"
    )
    assert describe_run(sample_report(4)).endswith("; 4 pairs; 22.0 s")


def test_unknown_settings_are_left_out():
    """Networks that came from files have no epochs, and perhaps no seeds."""
    report = sample_report()
    report["settings"] = {"dataset": "digits", "curve_epochs": 5, "epochs": None}
    for pair in (report, report["pairs"][0]):
        del pair["seeds"], pair["seconds"]
    assert describe_subject(report) == "digits"
    assert describe_training(report) == "curves 5 epochs"
    assert describe_run(report) == ""
    report["settings"] = {}
    assert describe_subject(report) == describe_training(report) == ""


@pytest.mark.parametrize(
    ("seconds", "expected"), [({"train": 2.0, "total": 2.5}, 5.0), ({"train": 2.0, "fit": 1}, 6.0)]
)
def test_seconds_are_counted_once(seconds, expected):
    report = sample_report(2)
    for pair in report["pairs"]:
        pair["seconds"] = seconds
    assert total_seconds(report) == expected


def test_seconds_of_the_whole_stand_in_for_those_of_the_pairs():
    report = sample_report(2)
    for pair in report["pairs"]:
        del pair["seconds"]
    report["seconds"] = {"total": 10.2}
    assert total_seconds(report) == 10.2
    del report["seconds"]
    assert total_seconds(report) is None
