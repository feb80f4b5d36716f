import io

import pytest
from rich.console import Console
from sample_reports import robust_report, sample_report

from basinbridge.report.tables import count_aligned_ahead, markdown_table, print_table


def printed(report, **options):
    stream = io.StringIO()
    print_table(report, Console(file=stream, width=80, **options))
    return stream.getvalue()


def cells(text, row):
    (line,) = [line for line in text.splitlines() if line.startswith(row)]
    return line.removeprefix(row).split()


def test_one_pair_shows_its_own_numbers():
    report = sample_report()
    text = printed(report)
    curve = report["pairs"][0]["curve_aligned"]
    assert cells(text, "curve aligned") == [
        f"{100 * curve['average_accuracy']:.1f}",
        f"{100 * curve['minimum_accuracy']:.1f}",
        f"{curve['average_loss']:.3f}",
        f"{curve['barrier']:.3f}",
    ]
    assert "endpoints: 98.8 and 99.0 %; 0.050 and 0.045 nats" in text
    assert "±" not in text
    assert "ahead" not in text


def test_scores_under_attack_stand_in_a_table_of_their_own():
    report = robust_report()
    text = printed(report)
    clean, attacked = text.split("under attack  ")
    curve = report["pairs"][0]["curve_aligned"]
    for table, kind in ((clean, ""), (attacked, "robust_")):
        assert cells(table, "curve aligned") == [
            f"{100 * curve[f'{kind}average_accuracy']:.1f}",
            f"{100 * curve[f'{kind}minimum_accuracy']:.1f}",
            f"{curve[f'{kind}average_loss']:.3f}",
            f"{curve[f'{kind}barrier']:.3f}",
        ]
    assert "endpoints under attack: 49.4 and 49.5 %; 0.100 and 0.090 nats" in text
    assert "PGD-5 within 0.1 of the range of pixels" in text
    assert max(len(line) for line in text.splitlines()) <= 80
    assert markdown_table(report).count("| curve aligned |") == 2
    assert "attack" not in printed(sample_report())


def test_what_was_used_is_broken_between_its_parts_only():
    lines = printed(sample_report()).splitlines()
    used = lines[next(place for place, one in enumerate(lines) if "batch size" in one) :]
    assert len(used) == 2
    assert used[0].endswith("alignment;")
    assert used[1].startswith("1,197 images for batch norm; seeds 0 and 1; ")
    assert used[1].endswith(" s")


def test_rows_stand_in_the_paths_order():
    lines = printed(sample_report()).splitlines()
    rows = [line[:18].strip() for line in lines if line.startswith(("linear", "curve"))]
    assert rows == ["linear unaligned", "linear aligned", "curve unaligned", "curve aligned"]


def test_several_pairs_show_mean_and_spread():
    report = sample_report(2)
    for pair, minimum, start in zip(report["pairs"], (0.90, 0.94), (0.98, 0.99), strict=True):
        pair["curve_aligned"]["minimum_accuracy"] = minimum
        pair["endpoints"]["start"]["accuracy"] = start
    text = printed(report)
    # The sample standard deviation of 90 and 94 is 4 / sqrt(2) = 2.83; 2.0 would be ddof = 0.
    assert "92.0 ± 2.8" in text
    assert "endpoints: 98.5 ± 0.7 and 99.0 ± 0.0 %" in text
    assert "2 pairs" in text


def test_aligned_ahead_counts_minimum_accuracy_and_no_tie():
    report = sample_report(3)
    pairs = report["pairs"]
    assert count_aligned_ahead(report) == (3, 3)
    pairs[1]["curve_aligned"]["minimum_accuracy"] = 0.5
    tie = pairs[2]["curve_unaligned"]["minimum_accuracy"]
    pairs[2]["curve_aligned"]["minimum_accuracy"] = tie
    assert count_aligned_ahead(report) == (1, 3)
    assert "aligned ahead in 1 of 3 pairs" in printed(report)


@pytest.mark.parametrize("pairs", [1, 10])
def test_it_fits_eighty_columns_and_is_plain(pairs):
    text = printed(sample_report(pairs))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "…" not in text
    assert "\x1b" not in text
    assert "nets 20 epochs at learning rate 0.1; curves 5 epochs at learning rate 0.05" in text


def test_standard_output_that_is_no_terminal_gets_no_colours(capsys):
    print_table(sample_report())
    text = capsys.readouterr().out
    assert "curve aligned" in text
    assert "\x1b" not in text


def test_names_with_brackets_are_no_markup():
    report = sample_report()
    report["settings"]["model"] = "own.nets:make[bold](x)[/nothing]"
    assert "own.nets:make[bold](x)[/nothing]" in printed(report)


def test_an_ascii_terminal_gets_ascii():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    print_table(sample_report(2), Console(file=stream, width=80))
    stream.flush()
    assert b" +- " in raw.getvalue()


def test_absent_paths_have_no_row():
    report = sample_report()
    report["settings"] = {}
    for pair in (report, report["pairs"][0]):
        del pair["linear_unaligned"], pair["curve_unaligned"]
    for text in (printed(report), markdown_table(report)):
        assert "curve aligned" in text
        assert "unaligned" not in text


def test_markdown_has_the_printed_numbers():
    report = sample_report(2)
    lines = markdown_table(report).splitlines()
    assert lines[0].startswith("| path | average accuracy % | minimum accuracy % |")
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 6
    assert {line.count("|") for line in table} == {6}
    curve = [cell.strip() for cell in table[-1].split("|")[1:-1]]
    assert " ".join(curve[1:]).split() == cells(printed(report), "curve aligned")
    assert any("aligned ahead in 2 of 2 pairs" in line for line in lines)
    assert any("learning rate 0.05" in line for line in lines)
