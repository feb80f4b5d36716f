import itertools

import numpy as np
import pytest

from basinbridge.errors import InputError
from basinbridge.report.signatures import draw_signatures, signatures_figure


def sample_result(panels=2, pairs=3, layers=9):
    names = [f"features.{place}.convolution" for place in range(layers - 1)] + ["logits"]
    entries = [
        {
            "layers": names,
            "before": np.linspace(0.1, 0.2 + pair / 50, layers).tolist(),
            "after": np.linspace(0.9, 0.6 + pair / 50, layers).tolist(),
            "cka": np.linspace(0.95, 0.7, layers).tolist(),
        }
        for pair in range(pairs)
    ]
    return {
        "title": "made up",
        "panels": [{"title": f"panel {n}", "entries": entries} for n in range(panels)],
    }


def test_lines_are_means_and_bands_are_one_deviation():
    result = sample_result()
    axes = signatures_figure(result).axes[0]
    values = np.array([entry["after"] for entry in result["panels"][0]["entries"]])
    lines = {line.get_label(): line for line in axes.lines}
    assert np.allclose(lines["aligned"].get_ydata(), values.mean(axis=0))
    heights = axes.collections[1].get_paths()[0].vertices[:, 1]
    for edge in (values.mean(axis=0) + values.std(axis=0, ddof=1))[1:]:
        assert np.isclose(heights, edge, rtol=1e-12).any()
    assert not signatures_figure(sample_result(pairs=1)).axes[0].collections


@pytest.mark.parametrize("layers", [3, 9, 70])
@pytest.mark.parametrize("panels", [1, 3])
def test_all_is_inside_the_picture_and_no_names_overlap(panels, layers):
    figure = signatures_figure(sample_result(panels, layers=layers))
    figure.draw_without_rendering()
    boxes = [figure.legends[0].get_window_extent(), figure._suptitle.get_window_extent()]
    boxes += [axes.get_tightbbox() for axes in figure.axes]
    for index, box in enumerate(boxes):
        assert box.x0 >= figure.bbox.x0 - 1
        assert box.x1 <= figure.bbox.x1 + 1
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
    for axes in figure.axes:
        names = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(one.x1 <= other.x0 + 1 for one, other in itertools.pairwise(names))
        assert axes.get_xticklabels()[-1].get_text() == "logits"


def test_the_straight_lines_middle_is_drawn_where_there_is_one():
    result = sample_result(panels=1)
    for entry in result["panels"][0]["entries"]:
        entry["line"] = entry["cka"]
    labels = [line.get_label() for line in signatures_figure(result).axes[0].lines]
    assert "middle of the straight line" in labels


def test_different_networks_and_empty_panels_are_refused(tmp_path):
    result = sample_result(panels=1)
    result["panels"][0]["entries"][1] = {**result["panels"][0]["entries"][1], "layers": ["x"]}
    with pytest.raises(InputError, match="different networks"):
        signatures_figure(result)
    with pytest.raises(InputError, match="no signature"):
        signatures_figure({"panels": []})
    draw_signatures(sample_result(), tmp_path / "signature.png")
    assert (tmp_path / "signature.png").stat().st_size > 10_000
