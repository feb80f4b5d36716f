"""Runs read for tables and pictures."""

import json
import statistics

import pytest

from basinbridge.errors import InputError
from basinbridge.experiments.exhibits import STAND_IN
from basinbridge.experiments.published import Published
from basinbridge.experiments.specs import Case
from basinbridge.reading import read_record
from basinbridge.report.comparison import print_comparison
from basinbridge.report.pictures import write_pictures
from basinbridge.report.run import difference, final_losses, read_run, rows_of

EXHIBITS = ("table1", "table2", "figure1", "figure6", "figure7", "figure9")


@pytest.fixture
def made(digits_run):
    return digits_run


def case_of(folder, exhibit):
    return next(case for case in read_run(folder).cases if case.exhibit == exhibit)


def results(folder, kind):
    return [json.loads(file.read_text()) for file in folder.glob(f"results/{kind}-*.json")]


def test_rows_hold_every_pair_in_percent(made):
    case = case_of(made, "table1")
    assert case.case == STAND_IN
    rows = rows_of(case)
    assert [row.title for row in rows] == [
        "Endpoints", "Unaligned (Garipov)", "PAM Unaligned", "PAM Aligned", "Aligned",
    ]  # fmt: skip
    curves = [
        one
        for one in results(made, "evaluation")
        if "line" not in one["record"]["label"] and "robust" not in one["record"]["label"]
    ]
    found = {value for row in rows[1:] for value in row.average}
    assert found == {100 * one["average_accuracy"] for one in curves}
    assert all(len(row.average) == 2 and row.paper is None for row in rows)
    assert all(max(row.minimum) <= max(row.average) for row in rows[1:])


def test_endpoints_are_the_mean_of_both_ends(made):
    case = case_of(made, "table1")
    for ours, path in zip(case.endpoint_accuracies(), case.found("paths", "aligned"), strict=True):
        assert ours == pytest.approx((path["accuracy"][0] + path["accuracy"][-1]) / 2)


def test_robust_networks_have_both_kinds_of_scores_and_no_paper_beside_them(made, monkeypatch):
    case = case_of(made, "figure9")
    monkeypatch.setitem(case.entry, "model", "TinyTen")
    monkeypatch.setitem(case.entry, "dataset", "cifar10")
    assert case.kinds == ("", "robust_")
    assert case_of(made, "table1").kinds == ("",)
    clean, robust = (rows_of(case, kind) for kind in case.kinds)
    for one, other in zip(clean, robust, strict=True):
        assert one.paper is other.paper is None
        assert max(other.average) <= max(one.average)
    assert robust[1].average != clean[1].average


def test_the_paper_stands_beside_its_own_cases_only(made, monkeypatch):
    plan = json.loads((made / "plan.json").read_text())
    entry = plan["exhibits"]["table1"]["cases"]["digitsnet/digits"]
    case = case_of(made, "table1")
    monkeypatch.setitem(case.entry, "model", "TinyTen")
    monkeypatch.setitem(case.entry, "dataset", "cifar10")
    assert case.case == Case("TinyTen", "cifar10")
    assert entry["model"] == "DigitsNet"
    rows = rows_of(case)
    assert rows[0].paper == Published((89.0, 0.1))
    assert rows[-1].paper == Published((88.5, 0.1), (87.8, 0.1))


def test_losses_at_convergence_hold_the_l2_term(made):
    records = [read_record(file) for file in made.glob("results/curve-*.safetensors")]
    records = [record for record in records if record["settings"]["training"]["attack"] is None]
    expected = sorted(record["history"][-1] + record["decay_term"] for record in records)
    case = case_of(made, "table2")
    found = final_losses(case, "unaligned") + final_losses(case, "aligned")
    assert sorted(found) == expected
    assert all(record["decay_term"] > 0 for record in records)


def test_difference_is_one_of_the_shown_digits():
    values = [87.44, 87.46]
    assert difference(values, 87.4) == round(round(statistics.fmean(values), 1) - 87.4, 1)


def test_the_comparison_fits_80_columns(made, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    run = read_run(made)
    for case in run.cases:
        case.entry["model"], case.entry["dataset"] = "TinyTen", "cifar10"
    print_comparison(run)
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "PAM Unaligned" in shown
    assert "87.8" in shown
    assert "training loss of the last epoch" in shown


def test_pictures_of_everything_as_png_and_pdf(made, tmp_path):
    files = write_pictures(read_run(made), tmp_path)
    names = {file.name for file in files}
    assert {f"{file.stem}.png" for file in files} | {f"{file.stem}.pdf" for file in files} == names
    for name in (
        "table1-digitsnet-digits-curves",
        "table1-digitsnet-digits-training",
        "figure1-digitsnet-digits-signatures",
        "figure9-digitsnet-digits-robust_curves",
        "figure6-digitsnet-digits-plane-both-0-1",
        "figure7-digitsnet-digits-plane-aligned-0-1",
    ):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_an_unfinished_run_shows_what_there_is(made, tmp_path):
    (tmp_path / "plan.json").write_text((made / "plan.json").read_text())
    assert [rows_of(case) for case in read_run(tmp_path).cases] == [[]] * len(EXHIBITS)
    assert write_pictures(read_run(tmp_path), tmp_path / "pictures") == []
    (tmp_path / "results").mkdir()
    one = next(
        file
        for file in sorted(made.glob("results/evaluation-*.json"))
        if json.loads(file.read_text())["record"]["settings"]["path"] == "curve"
    )
    (tmp_path / "results" / one.name).write_text(one.read_text())
    rows = [row for case in read_run(tmp_path).cases for row in rows_of(case)]
    assert len(rows) >= 2
    assert {len(row.average) for row in rows} == {1}


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"record": 1}'])
def test_a_damaged_result_is_named(made, tmp_path, content):
    (tmp_path / "plan.json").write_text((made / "plan.json").read_text())
    (tmp_path / "results").mkdir()
    name = next(made.glob("results/plane-*.json")).name
    (tmp_path / "results" / name).write_text(content)
    with pytest.raises(InputError, match=name):
        read_run(tmp_path)


def test_a_plan_that_lacks_something_is_one_clear_error(tmp_path):
    plan = {"format": 1, "kind": "plan", "schedule": {}, "stages": {"a": {}}, "exhibits": {}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(InputError, match="damaged"):
        read_run(tmp_path)
