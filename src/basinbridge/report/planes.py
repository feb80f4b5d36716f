"""The picture of a plane through three networks (Figures 3 and 5 to 7), from a saved result.

The result holds the fields of `evaluate.plane.Plane`, `names` of the three points, and perhaps a
`title` and `lines`: pairs of points, by number, to join by a straight line.
"""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import NDArray

from basinbridge.errors import InputError
from basinbridge.report.picture import FONT_SIZE, HUES, check_name, label_figure, save_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = NDArray[numpy.float64]

# Round values for contours, dense enough for every range that five or more of them fall into.
_LOSSES = [digit * 10.0**power for power in range(-4, 3) for digit in (1, 1.5, 2, 3, 5, 7)]
_ACCURACIES = [*range(10, 90, 10), 85, 90, 93, 95, 96, 97, 98, 99, 99.5, 99.9]
_LOSS_FLOOR = 1e-5
NAME_WIDTH = 18
_OTHER_HUES = ("#CC79A7", "#009E73", "#56B4E9")


def draw_plane(result: dict[str, Any], path: Path) -> None:
    """Draw loss and accuracy over the plane with its networks and curves, `.png` or `.pdf`.

    Raises `InputError` if the result's grid is not one.
    """
    check_name(path)
    save_picture(plane_figure(result), path)


def plane_figure(result: dict[str, Any]) -> "Figure":
    """Build the figure of `draw_plane`; it belongs to no window and to no global state."""
    from matplotlib.figure import Figure

    x, y = (numpy.array(result[axis], dtype=float) for axis in "xy")
    loss = numpy.array(result["loss"], dtype=float)
    accuracy = 100 * numpy.array(result["accuracy"], dtype=float)
    if loss.shape != (len(y), len(x)) or accuracy.shape != loss.shape:
        raise InputError(f"the grid is {loss.shape}, but there are {len(y)} y and {len(x)} x")
    true_shape = float((y[-1] - y[0]) / (x[-1] - x[0]))
    shape = float(numpy.clip(true_shape, 0.45, 1.4))
    figure = Figure(figsize=(11.5, 1.35 + 4.3 * shape), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_grid(left, x, y, loss, "loss, nats")
    _draw_grid(right, x, y, accuracy, "accuracy, %")
    for axes in (left, right):
        _draw_networks(axes, result)
        axes.set_box_aspect(shape)
        axes.set_xlim(x[0], x[-1])
        axes.set_ylim(y[0], y[-1])
        axes.set_xlabel("distance in parameter space", fontsize=FONT_SIZE)
        axes.tick_params(labelsize=FONT_SIZE - 1)
    stretched = abs(shape - true_shape) > 1e-9
    left.set_ylabel("at a right angle" + (", other scale" if stretched else ""), fontsize=FONT_SIZE)
    handles, labels = left.get_legend_handles_labels()
    label_figure(figure, dict(zip(labels, handles, strict=True)), result.get("title"))
    return figure


def _draw_grid(axes: "Axes", x: Values, y: Values, values: Values, label: str) -> None:
    """Filled contours between round values, each named in the colour bar; better is lighter."""
    from matplotlib import colormaps
    from matplotlib.colors import BoundaryNorm

    is_loss = label.startswith("loss")
    # Between grid points a loss, like an error, changes by a factor rather than by a step.
    height = _height_of_loss if is_loss else _height_of_accuracy
    levels = _levels(values, _LOSSES if is_loss else _ACCURACIES)
    colours = colormaps["viridis_r" if is_loss else "viridis"]
    heights = height(numpy.array(levels))
    norm = BoundaryNorm(heights, colours.N, extend="both")
    filled = axes.contourf(
        x, y, height(values), levels=heights, cmap=colours, norm=norm, extend="both"
    )
    axes.contour(
        x, y, height(values), levels=heights, colors="white", linewidths=0.4, linestyles="solid"
    )
    # Inside the axes' own box, so that the bar is as high as the picture.
    bar = axes.figure.colorbar(
        filled, cax=axes.inset_axes((1.03, 0.0, 0.045, 1.0)), ticks=heights, spacing="uniform"
    )
    bar.ax.set_yticklabels([f"{value:.6g}" for value in levels])
    bar.ax.tick_params(labelsize=FONT_SIZE - 2)
    bar.set_label(label, fontsize=FONT_SIZE)


def _levels(values: Values, candidates: list[float]) -> list[float]:
    """Round values within the range of a grid: some of the candidates, or equal steps."""
    from matplotlib.ticker import MaxNLocator

    lowest, highest = float(values.min()), float(values.max())
    chosen = [value for value in candidates if lowest < value < highest]
    if len(chosen) < 5:
        chosen = [v for v in MaxNLocator(8).tick_values(lowest, highest) if lowest < v < highest]
    if len(chosen) > 12:
        chosen = chosen[:: -(-len(chosen) // 12)]
    # A flat grid still needs two levels to lie between.
    return chosen if len(chosen) > 1 else [lowest - 1e-3, highest + 1e-3]


def _height_of_loss(loss: Values) -> Values:
    return numpy.asarray(numpy.log(loss.clip(_LOSS_FLOOR)))


def _height_of_accuracy(accuracy: Values) -> Values:
    # Half a percent more error than there is keeps a perfect network on the page.
    return numpy.asarray(-numpy.log((100.5 - accuracy).clip(0.01)))


def _draw_networks(axes: "Axes", result: dict[str, Any]) -> None:
    points = result["points"]
    for one, other in result.get("lines", []):
        axes.plot(
            [points[one][0], points[other][0]],
            [points[one][1], points[other][1]],
            color="black",
            linewidth=1.0,
            linestyle=(0, (2, 2)),
        )
    spare = iter(_OTHER_HUES)
    for name, path in result["paths"].items():
        hue = next((HUES[word] for word in ("unaligned", "aligned") if word in name.lower()), None)
        off = result["distances"][name]
        extent = max(result["x"][-1] - result["x"][0], result["y"][-1] - result["y"][0])
        where = "" if off < 1e-3 * extent else " (projected)"
        corners = numpy.array(path)
        axes.plot(*corners.T, color="white", linewidth=3.6, solid_capstyle="round")
        axes.plot(*corners.T, color=hue or next(spare), linewidth=2.0, label=name + where)
    middle = 0.5 * (result["x"][0] + result["x"][-1])
    centre = 0.5 * (result["y"][0] + result["y"][-1])
    for (x, y), name in zip(points, result["names"], strict=True):
        axes.plot(
            [x], [y], "o", markersize=7, color="white", markeredgecolor="black", clip_on=False
        )
        # Towards the middle, so that no name leaves the picture or covers its own point.
        to_left, below = x > middle, y > centre
        axes.annotate(
            textwrap.fill(name, NAME_WIDTH),  # two names side by side have room
            (x, y),
            xytext=(-7 if to_left else 7, -7 if below else 7),
            textcoords="offset points",
            ha="right" if to_left else "left",
            va="top" if below else "bottom",
            fontsize=FONT_SIZE,
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5},
        )
