import itertools
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from matplotlib.colors import to_hex
from PIL import Image
from sample_reports import robust_report, sample_report

from basinbridge.errors import InputError
from basinbridge.report.figures import draw_paths, paths_figure


def lines_of(axes):
    return {line.get_label(): line for line in axes.lines}


def ticks_of(axes):
    lowest, highest = axes.get_ylim()
    return [tick for tick in axes.get_yticks() if lowest <= tick <= highest]


def test_lines_are_the_reports_arrays():
    report = sample_report()
    accuracy_axes, loss_axes = paths_figure(report).axes
    curve = report["pairs"][0]["curve_aligned"]
    line = lines_of(accuracy_axes)["curve, aligned"]
    assert numpy.array_equal(line.get_xdata(), curve["t"])
    assert numpy.allclose(line.get_ydata(), 100 * numpy.array(curve["accuracy"]), rtol=1e-15)
    assert numpy.array_equal(lines_of(loss_axes)["curve, aligned"].get_ydata(), curve["loss"])
    ends = lines_of(loss_axes)["endpoints"]
    assert list(ends.get_xdata()) == [0, 1]
    assert list(ends.get_ydata()) == [0.05, 0.045]


def test_scores_under_attack_are_drawn_below():
    report = robust_report()
    figure = paths_figure(report)
    curve = report["pairs"][0]["curve_aligned"]
    for place, (name, scale) in enumerate(
        [("accuracy", 100), ("loss", 1), ("robust_accuracy", 100), ("robust_loss", 1)]
    ):
        line = lines_of(figure.axes[place])["curve, aligned"]
        assert numpy.allclose(line.get_ydata(), scale * numpy.array(curve[name]), rtol=1e-15)
        ends = lines_of(figure.axes[place])["endpoints"].get_ydata()
        assert ends[0] == scale * report["endpoints"]["start"][name]
        assert figure.axes[place].get_ylabel().startswith("robust") == ("robust" in name)
    assert "PGD-5" in figure.get_suptitle()
    assert len(paths_figure(sample_report()).axes) == 2


def test_hue_tells_alignment_and_dashes_tell_the_kind():
    lines = lines_of(paths_figure(sample_report()).axes[0])
    hue = {label: to_hex(line.get_color()) for label, line in lines.items()}
    assert hue["linear, aligned"] == hue["curve, aligned"]
    assert hue["linear, unaligned"] == hue["curve, unaligned"] != hue["curve, aligned"]
    assert lines["curve, aligned"].get_linestyle() == "-"
    assert lines["linear, aligned"].get_linestyle() == "--"


def test_several_pairs_are_a_mean_and_a_band():
    report = sample_report(3)
    axes = paths_figure(report).axes[1]
    losses = numpy.array([pair["linear_aligned"]["loss"] for pair in report["pairs"]])
    assert numpy.allclose(lines_of(axes)["linear, aligned"].get_ydata(), losses.mean(axis=0))
    assert len(axes.collections) == 4
    heights = axes.collections[1].get_paths()[0].vertices[:, 1]
    assert numpy.isclose(heights.max(), losses.max())
    assert "mean over 3 pairs" in paths_figure(report).get_suptitle()
    assert not paths_figure(sample_report()).axes[1].collections


@pytest.mark.parametrize("pairs", [1, 3])
def test_all_is_inside_the_picture_and_nothing_overlaps(pairs):
    figure = paths_figure(sample_report(pairs))
    figure.draw_without_rendering()
    legend, title = figure.legends[0].get_window_extent(), figure._suptitle.get_window_extent()
    boxes = [legend, title, *(axes.get_tightbbox() for axes in figure.axes)]
    whole = figure.bbox
    for index, box in enumerate(boxes):
        assert box.x0 >= whole.x0 - 1
        assert box.x1 <= whole.x1 + 1
        assert box.y0 >= whole.y0 - 1
        assert box.y1 <= whole.y1 + 1
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
    for axes in figure.axes:
        labels = [label.get_window_extent() for label in axes.get_yticklabels()]
        heights = sorted((box.y0, box.y1) for box in labels if box.height)
        assert all(low[1] <= high[0] for low, high in itertools.pairwise(heights))


def test_a_deep_dip_stretches_both_axes():
    report = sample_report()
    accuracy_axes, loss_axes = paths_figure(report).axes
    assert "stretched" in accuracy_axes.get_ylabel()
    assert "log" in loss_axes.get_ylabel()
    assert loss_axes.get_yscale() == "log"
    assert len(ticks_of(accuracy_axes)) >= 5
    assert len(ticks_of(loss_axes)) >= 4
    # Four fifths of a plain axis would go to the straight line; here the curves have room.
    height = accuracy_axes.transAxes.inverted().transform
    points = accuracy_axes.transData.transform([(0.5, 94.5), (0.5, 97.3)])
    assert height(points[1])[1] - height(points[0])[1] > 0.1


def test_a_shallow_dip_leaves_plain_axes():
    report = sample_report()
    for pair in (report, report["pairs"][0]):
        del pair["linear_unaligned"], pair["linear_aligned"], pair["curve_unaligned"]
    accuracy_axes, loss_axes = paths_figure(report).axes
    assert accuracy_axes.get_yscale() == loss_axes.get_yscale() == "linear"
    assert set(lines_of(accuracy_axes)) == {"curve, aligned", "endpoints"}


@pytest.mark.parametrize("loss", [0.0, 3.0])
def test_perfect_and_equal_values_can_be_drawn(tmp_path, loss):
    """A loss of 0 has no logarithm, and an accuracy of 100 % lies at the scale's end."""
    report = sample_report()
    for path in ("linear_unaligned", "curve_aligned"):
        report["pairs"][0][path]["accuracy"][3] = 1.0
        report["pairs"][0][path]["loss"] = [loss] * 61
    report["pairs"][0]["endpoints"]["start"] = {"accuracy": 1.0, "loss": 0.0}
    draw_paths(report, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 10_000


def test_png_and_pdf_are_written_whole_and_the_same_twice(tmp_path):
    report = sample_report()
    for name, start in (("curve.png", b"\x89PNG"), ("curve.PDF", b"%PDF")):
        file = tmp_path / "made" / name
        draw_paths(report, file)
        first = file.read_bytes()
        assert first.startswith(start)
        draw_paths(report, file)
        assert file.read_bytes() == first
    assert len(list((tmp_path / "made").iterdir())) == 2
    with Image.open(tmp_path / "made" / "curve.png") as picture:
        colours = numpy.asarray(picture.convert("RGB")).reshape(-1, 3)
    for hue in ([0xD5, 0x5E, 0x00], [0x00, 0x72, 0xB2]):
        assert (colours == hue).all(axis=1).sum() > 1000


def test_another_ending_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(InputError, match=r"curve\.gif.*\.png or \.pdf"):
        draw_paths(sample_report(), tmp_path / "curve.gif")
    assert not list(tmp_path.iterdir())


def test_odd_names_are_shown_as_they_are(tmp_path):
    """A dollar sign starts no formula, and a long name is cut rather than clipped."""
    report = sample_report()
    report["settings"]["model"] = "own.nets:$x_{" + "long" * 50
    draw_paths(report, tmp_path / "curve.png")
    title = paths_figure(report).get_suptitle()
    assert "own.nets:$x_{" in title
    assert max(len(line) for line in title.splitlines()) <= 110


def test_pyplot_is_not_used(tmp_path):
    """pyplot keeps every figure alive and may want a display."""
    program = (
        "import sys, pathlib\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from sample_reports import sample_report\n"
        "from basinbridge.report.figures import draw_paths\n"
        "assert 'matplotlib' not in sys.modules\n"
        f"draw_paths(sample_report(), pathlib.Path({str(tmp_path / 'curve.png')!r}))\n"
        "assert 'matplotlib' in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
