import copy
import json

import pytest
from sample_reports import robust_report, sample_report

from basinbridge.errors import InputError
from basinbridge.report.load import (
    all_pairs,
    check_report,
    is_robust,
    present_paths,
    read_report,
    write_report,
)


def changed(entry, value, pairs=1):
    """A sample report with one entry, given as a list of keys, replaced or (None) removed."""
    report = sample_report(pairs)
    place = report
    for key in entry[:-1]:
        place = place[key]
    if value is None:
        del place[entry[-1]]
    else:
        place[entry[-1]] = value
    return report


def test_what_is_written_is_read_back(tmp_path):
    report = sample_report(2)
    file = write_report(report, tmp_path / "new" / "folder")
    assert file == tmp_path / "new" / "folder" / "report.json"
    assert read_report(file) == read_report(file.parent) == report


def test_writing_replaces_and_leaves_no_draft(tmp_path):
    write_report(sample_report(1), tmp_path)
    file = write_report(sample_report(3), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert len(all_pairs(read_report(file))) == 3


def test_others_may_read_the_result(tmp_path):
    """Whoever may read a plainly written file may read a report."""
    plain = tmp_path / "plain"
    plain.write_text("")
    file = write_report(sample_report(), tmp_path)
    assert not plain.stat().st_mode & ~file.stat().st_mode


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_not_written(tmp_path, value):
    old = write_report(sample_report(), tmp_path).read_bytes()
    report = changed(["pairs", 0, "linear_aligned", "loss", 7], value)
    with pytest.raises(InputError, match=r"report\.json.*pairs\[0\]\.linear_aligned\.loss\[7\]"):
        write_report(report, tmp_path)
    assert (tmp_path / "report.json").read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InputError, match=r"taken.*cannot be written"):
        write_report(sample_report(), tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "a file"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b'{"format": 1, "settings"', "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "format is missing"),
        (b'{"format": 2}', "format is 2, this basinbridge reads 1"),
        (b'{"format": 1}', "settings is missing"),
        (b'{"format": 1, "settings": {"x": NaN}}', "settings.x is not a finite number"),
    ],
)
def test_a_file_that_is_no_report(tmp_path, content, message):
    file = tmp_path / "report.json"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_report(tmp_path)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"report\.json: there is no such file"):
        read_report(tmp_path)
    with pytest.raises(InputError, match="nowhere"):
        read_report(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        (["settings"], [], "settings must be a JSON object"),
        (["endpoints"], None, "endpoints is missing"),
        (["pairs", 0, "endpoints"], None, r"pairs\[0\]: endpoints is missing"),
        (["pairs", 0, "endpoints", "end"], None, r"pairs\[0\]\.endpoints: end is missing"),
        (["endpoints", "start", "loss"], None, "endpoints.start: loss is missing"),
        (["endpoints", "start", "accuracy"], 98.8, "accuracy must be a number from 0 to 1"),
        (["endpoints", "start", "accuracy"], True, "accuracy must be a number from 0 to 1"),
        (["pairs"], [], "pairs must be a list"),
        (["pairs"], {"0": {}}, "pairs must be a list"),
        (["pairs", 0], 3, r"pairs\[0\] must be a JSON object"),
        (["curve_aligned"], [1, 2], "curve_aligned must be a JSON object"),
        (["curve_aligned", "t"], None, "curve_aligned: t is missing"),
        (["curve_aligned", "loss"], 0.5, "curve_aligned.loss must be a list"),
        (["curve_aligned", "loss"], [0.5] * 60, "loss has 60 entries, curve_aligned.t has 61"),
        (["curve_aligned", "loss", 3], "0.5", r"loss\[3\] must be a finite number, not '0.5'"),
        (["curve_aligned", "loss", 3], 10**400, r"loss\[3\] must be a finite number"),
        (["curve_aligned", "loss", 3], float("nan"), r"curve_aligned\.loss\[3\] is not a finite"),
        (["curve_aligned", "accuracy", 9], -0.1, r"accuracy\[9\] must be a number from 0 to 1"),
        (["curve_aligned", "robust_loss"], [1.0], "robust_loss must be a list of two"),
        (["curve_aligned", "robust_accuracy"], [1.0] * 5, "robust_accuracy has 5 entries"),
        (["curve_aligned", "t", 9], 0.0, "t must increase"),
        (["curve_aligned", "barrier"], None, "curve_aligned: barrier is missing"),
        (["curve_aligned", "minimum_accuracy"], 97.3, "minimum_accuracy must be a number from 0"),
        (["seconds", "align"], "fast", r"seconds\.align must be a finite number"),
        (["seeds"], 3, "seeds must be a list"),
    ],
)
def test_an_unsound_entry_is_named(entry, value, message):
    with pytest.raises(InputError, match=message) as caught:
        check_report(changed(entry, value), "here/report.json")
    assert str(caught.value).startswith("here/report.json: ")
    assert "\n" not in str(caught.value)


def test_pairs_must_share_paths_and_points():
    report = sample_report(2)
    del report["pairs"][1]["linear_aligned"]
    with pytest.raises(InputError, match=r"pairs\[1\]: linear_aligned is not in every pair"):
        check_report(report, "report.json")
    report = sample_report(2)
    report["pairs"][1]["curve_aligned"]["t"][5] += 1e-3
    with pytest.raises(InputError, match=r"pairs\[1\]\.curve_aligned\.t differs"):
        check_report(report, "report.json")


def test_some_paths_are_enough_but_not_none():
    report = sample_report()
    for pair in (report, report["pairs"][0]):
        del pair["linear_aligned"], pair["linear_unaligned"], pair["seeds"], pair["seconds"]
    assert present_paths(check_report(report, "report.json")) == [
        "curve_unaligned",
        "curve_aligned",
    ]
    for pair in (report, report["pairs"][0]):
        del pair["curve_aligned"], pair["curve_unaligned"]
    with pytest.raises(InputError, match=r"none of linear_unaligned.*is there"):
        check_report(report, "report.json")


def test_a_report_without_pairs_is_one_pair():
    report = sample_report()
    del report["pairs"]
    assert all_pairs(check_report(report, "report.json")) == [report]


def test_scores_under_attack_are_checked_like_the_others():
    assert check_report(robust_report(2), "report.json")
    assert is_robust(robust_report())
    assert not is_robust(sample_report())
    report = robust_report()
    report["curve_aligned"]["robust_accuracy"][3] = 1.5
    with pytest.raises(InputError, match=r"curve_aligned.robust_accuracy\[3\]"):
        check_report(report, "report.json")
    report = robust_report()
    del report["curve_aligned"]["robust_barrier"]
    with pytest.raises(InputError, match="robust_barrier is missing"):
        check_report(report, "report.json")
    report = robust_report()
    report["endpoints"]["start"]["robust_loss"] = "low"
    with pytest.raises(InputError, match=r"endpoints.start.robust_loss"):
        check_report(report, "report.json")


def test_rounding_is_no_error():
    """A mean of ones can come out as 1 + 2e-16, a barrier of nothing as -1e-17."""
    report = changed(["curve_aligned", "average_accuracy"], 1.0000000000000002)
    report["curve_aligned"]["barrier"] = -1e-17
    assert check_report(report, "report.json") is report


def test_a_report_is_left_as_it_was(tmp_path):
    report = sample_report(2)
    before = copy.deepcopy(report)
    check_report(report, "report.json")
    file = write_report(report, tmp_path)
    assert report == before == json.loads(file.read_text())
