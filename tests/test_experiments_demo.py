"""The demo's report: complete, and showing the paper's effect on real digits."""

import dataclasses

import pytest

from basinbridge.experiments.demo import demo_settings, run_demo
from basinbridge.experiments.pair import PairSettings
from basinbridge.report.load import PATHS, check_report, is_robust


@pytest.fixture(scope="module")
def report():
    return run_demo(settings=PairSettings(epochs=10, curve_epochs=3, points=9))


def test_report_is_complete(report):
    check_report(report, "the demo")
    assert set(PATHS) <= set(report)
    assert report["pairs"][0]["curve_aligned"] == report["curve_aligned"]
    assert report["data"]["train"] == 1197
    assert report["data"]["test"] == 600
    assert report["seeds"] == [0, 1]
    assert set(report["seconds"]) == {"train", "align", "fit_unaligned", "fit_aligned", "evaluate"}


def test_alignment_helps_on_real_data(report):
    assert min(end["accuracy"] for end in report["endpoints"].values()) > 0.95
    minimum = {path: report[path]["minimum_accuracy"] for path in PATHS}
    assert minimum["linear_aligned"] > minimum["linear_unaligned"] + 0.2
    assert minimum["curve_aligned"] > minimum["curve_unaligned"]
    assert report["linear_aligned"]["barrier"] < report["linear_unaligned"]["barrier"]


def test_all_paths_share_their_ends(report):
    for place in (0, -1):
        accuracies = [report[path]["accuracy"][place] for path in PATHS]
        assert max(accuracies) - min(accuracies) < 0.004  # renumbering alters rounding only


def test_the_robust_demo_is_robust_and_says_so():
    settings = demo_settings(6, 2, robust=True)
    assert settings.attack.epsilon == settings.test_attack.epsilon == 0.1
    report = run_demo(settings=dataclasses.replace(settings, points=3, batchnorm_images=300))
    check_report(report, "the demo")
    assert is_robust(report)
    assert report["settings"]["attack"]["epsilon"] == 0.1
    for end in report["endpoints"].values():
        assert end["robust_accuracy"] > 0.7
        assert end["robust_accuracy"] < end["accuracy"]
    for path in PATHS:
        assert len(report[path]["robust_loss"]) == len(report[path]["robust_accuracy"]) == 3
    lowest = {path: report[path]["robust_minimum_accuracy"] for path in PATHS}
    assert lowest["linear_aligned"] > lowest["linear_unaligned"] + 0.2


def test_pairs_have_seeds_of_their_own():
    settings = PairSettings(epochs=0, curve_epochs=0, points=2)
    seen = []
    report = run_demo(2, seed=5, settings=settings, watch=lambda *shown: seen.append(shown))
    assert [pair["seeds"] for pair in report["pairs"]] == [[5, 6], [7, 8]]
    assert any(stage.startswith("pair 2 of 2") for stage, _, _ in seen)
