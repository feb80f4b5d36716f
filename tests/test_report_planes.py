import numpy as np
import pytest
from PIL import Image

from basinbridge.errors import InputError
from basinbridge.report.planes import draw_plane, plane_figure

SIZE = 9


def sample_plane(height=4.0, spread=2.0):
    x, y = np.linspace(-0.5, 10.5, SIZE), np.linspace(-0.05, 1.05, SIZE) * height
    points = [(0.0, 0.0), (10.0, 0.0), (4.0, height)]
    away = [np.hypot(x[None] - px, y[:, None] - py) for px, py in points]
    loss = 0.05 + spread * np.minimum.reduce(away) / 10
    return {
        "title": "made up",
        "names": ["one", "two", "three"],
        "lines": [[0, 1]],
        "x": x.tolist(),
        "y": y.tolist(),
        "loss": loss.tolist(),
        "accuracy": (0.99 * np.exp(-loss / 4)).tolist(),
        "points": points,
        "paths": {"aligned curve": [(0, 0), (4, height / 2), (10, 0)]},
        "distances": {"aligned curve": 0.0},
        "batchnorm_images": 10,
    }


def test_points_curves_and_names_stand_where_the_result_says():
    result = sample_plane()
    for axes in plane_figure(result).axes[:2]:
        assert {text.get_text() for text in axes.texts} == {"one", "two", "three"}
        markers = [line.get_xydata()[0] for line in axes.lines if line.get_marker() == "o"]
        assert np.allclose(markers, result["points"])
        (curve,) = [line for line in axes.lines if line.get_label() == "aligned curve"]
        assert np.allclose(curve.get_xydata(), result["paths"]["aligned curve"])


def test_a_curve_off_the_plane_is_called_projected():
    result = sample_plane()
    result["distances"]["aligned curve"] = 1.0
    labels = [line.get_label() for line in plane_figure(result).axes[0].lines]
    assert "aligned curve (projected)" in labels


@pytest.mark.parametrize("height", [0.3, 4.0, 30.0])
@pytest.mark.parametrize("spread", [0.0, 1e-4, 2.0, 200.0])
def test_all_is_inside_the_picture_at_any_shape_and_range(height, spread):
    figure = plane_figure(sample_plane(height, spread))
    figure.draw_without_rendering()
    boxes = [figure.legends[0].get_window_extent(), figure._suptitle.get_window_extent()]
    boxes += [axes.get_tightbbox().padded(-0.5) for axes in figure.axes]  # but half a pixel
    for index, box in enumerate(boxes):
        assert box.x0 >= figure.bbox.x0 - 1
        assert box.x1 <= figure.bbox.x1 + 1
        assert box.y0 >= figure.bbox.y0 - 1
        assert box.y1 <= figure.bbox.y1 + 1
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
    for axes in figure.axes[:2]:
        names = [text.get_window_extent() for text in axes.texts]
        assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in names)


def test_an_uneven_scale_is_told():
    assert "other scale" in plane_figure(sample_plane(0.3)).axes[0].get_ylabel()
    assert "other scale" not in plane_figure(sample_plane(8.0)).axes[0].get_ylabel()


def test_the_same_result_gives_the_same_bytes(tmp_path):
    draw_plane(sample_plane(), tmp_path / "a.png")
    draw_plane(sample_plane(), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 1000


def test_a_grid_of_another_size_and_a_strange_name_are_refused(tmp_path):
    result = sample_plane()
    result["loss"] = result["loss"][1:]
    with pytest.raises(InputError, match="grid"):
        plane_figure(result)
    with pytest.raises(InputError, match="must end in"):
        draw_plane(sample_plane(), tmp_path / "plane.jpg")


def test_names_as_long_as_those_of_files_do_not_cover_each_other():
    result = sample_plane()
    result["names"] = [f"resnet32-cifar10-seed-{seed}-250-epochs.safetensors" for seed in range(3)]
    figure = plane_figure(result)
    figure.draw_without_rendering()
    for axes in figure.axes[:2]:
        boxes = [text.get_window_extent() for text in axes.texts]
        for index, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[index + 1 :])
            assert axes.bbox.x0 <= box.x0 <= box.x1 <= axes.bbox.x1
