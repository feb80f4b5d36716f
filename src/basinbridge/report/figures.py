"""The picture of a report: accuracy and loss along all paths."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import ArrayLike, NDArray

from basinbridge.report.caption import describe_subject, describe_training
from basinbridge.report.load import all_pairs, present_paths
from basinbridge.report.picture import FONT_SIZE, HUES, check_name, save_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = NDArray[numpy.float64]

_DASHES = {"linear": (0, (4, 2)), "curve": "solid"}
# Round accuracies first: a tick is kept if the ones before it leave room.
_ACCURACY_TICKS = (100, 0, 90, 50, 95, 99, 98, 80, 70, 20, 97, 60, 30, 85, 96, 40, 10, 93, 75)
_LOSS_FLOOR = 1e-5


def draw_paths(report: dict[str, Any], path: Path) -> None:
    """Draw accuracy (%) and loss (nats) along every path of a report.

    Lines show the only pair, or the mean over several with a band from the lowest to the highest.

    Args:
        report: what `read_report` returns.
        path: the picture to write, `.png` or `.pdf`; an older one is replaced.

    Raises:
        InputError: another ending than those two, or `path` cannot be written.
    """
    check_name(path)
    save_picture(paths_figure(report), path)


def paths_figure(report: dict[str, Any]) -> "Figure":
    """Build the figure of `draw_paths`; it belongs to no window and to no global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.9), layout="constrained")
    accuracy_axes, loss_axes = figure.subplots(1, 2, gridspec_kw={"wspace": 0.06})
    _draw_lines(accuracy_axes, report, "accuracy", 100.0)
    _draw_lines(loss_axes, report, "loss", 1.0)
    _scale_accuracy(accuracy_axes, _all_values(report, "accuracy", 100.0))
    _scale_loss(loss_axes, _all_values(report, "loss", 1.0))
    for axes in (accuracy_axes, loss_axes):
        axes.set_xlim(-0.03, 1.03)
        axes.set_xlabel("t, from start (0) to end (1)", fontsize=FONT_SIZE)
        axes.tick_params(labelsize=FONT_SIZE - 1)
        axes.grid(visible=True, color="0.9", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = accuracy_axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=len(labels),
        frameon=False,
        fontsize=FONT_SIZE,
        handlelength=3,
    )
    figure.suptitle("\n".join(_title_lines(report)), fontsize=FONT_SIZE + 1, parse_math=False)
    return figure


def _draw_lines(axes: "Axes", report: dict[str, Any], quantity: str, scale: float) -> None:
    pairs = all_pairs(report)
    for path in present_paths(report):
        kind, alignment = path.split("_")
        times = pairs[0][path]["t"]
        values = _per_pair(report, path, quantity, scale)
        axes.plot(
            times,
            values.mean(axis=0),
            color=HUES[alignment],
            linestyle=_DASHES[kind],
            linewidth=1.8,
            label=f"{kind}, {alignment}",
        )
        if len(pairs) > 1:
            lowest, highest = values.min(axis=0), values.max(axis=0)
            axes.fill_between(
                times, lowest, highest, color=HUES[alignment], alpha=0.12, linewidth=0
            )
    axes.plot(
        [0, 1],
        _endpoints(report, quantity, scale).mean(axis=0),
        linestyle="none",
        marker="o",
        markersize=6,
        color="black",
        zorder=5,
        label="endpoints",
    )


def _scale_accuracy(axes: "Axes", values: Values) -> None:
    """Stretch the axis towards 100 % where a deep dip would flatten all that is good.

    The height of an accuracy a is then -log(100.5 - a): equal steps are equal ratios of error,
    and the half percent keeps a perfect network on the page.
    """
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_ylabel("accuracy, %", fontsize=FONT_SIZE)
    lowest, highest = float(values.min()), float(values.max())
    if highest - lowest < 10.0:
        return
    axes.set_yscale("function", functions=(_height_of_accuracy, _accuracy_of_height))
    bottom, top = _height_of_accuracy(numpy.array([lowest, highest]))
    margin = 0.05 * (top - bottom)
    bottom, top = bottom - margin, min(top + margin, float(_height_of_accuracy(100.0)))
    axes.set_ylim(*_accuracy_of_height(numpy.array([bottom, top])))
    kept: list[int] = []
    for tick in _ACCURACY_TICKS:
        height = float(_height_of_accuracy(tick))
        gaps = [abs(height - float(_height_of_accuracy(other))) for other in kept]
        if bottom <= height <= top and min(gaps, default=numpy.inf) >= 0.06 * (top - bottom):
            kept.append(tick)
    axes.yaxis.set_major_locator(FixedLocator(sorted(kept)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("accuracy, % (axis stretched towards 100)", fontsize=FONT_SIZE)


def _height_of_accuracy(accuracy: ArrayLike) -> Values:
    # matplotlib also asks for heights above 100 %; there the logarithm would not exist.
    error = numpy.maximum(100.5 - numpy.asarray(accuracy, dtype=float), 0.01)
    return numpy.asarray(-numpy.log10(error))


def _accuracy_of_height(height: ArrayLike) -> Values:
    return numpy.asarray(100.5 - 10.0 ** -numpy.asarray(height, dtype=float))


def _scale_loss(axes: "Axes", values: Values) -> None:
    """Use a logarithmic axis, with plain numbers, where losses differ by more than five times."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_ylabel("loss, nats", fontsize=FONT_SIZE)
    lowest, highest = max(float(values.min()), _LOSS_FLOOR), float(values.max())
    if highest < 5.0 * lowest:
        return
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(lowest / 1.25, highest * 1.25)
    # About as many ticks for a narrow range as for a wide one.
    if highest < 20.0 * lowest:
        steps = [1.0, 1.5, 2.0, 3.0, 5.0, 7.0]
    else:
        steps = [1.0, 2.0, 5.0] if highest < 1e3 * lowest else [1.0]
    axes.yaxis.set_major_locator(LogLocator(subs=steps))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("loss, nats (log axis)", fontsize=FONT_SIZE)


def _per_pair(report: dict[str, Any], path: str, quantity: str, scale: float) -> Values:
    """Values along one path, one row a pair."""
    return scale * numpy.array([pair[path][quantity] for pair in all_pairs(report)], dtype=float)


def _endpoints(report: dict[str, Any], quantity: str, scale: float) -> Values:
    """Values of the start and the end, one row a pair."""
    endpoints = [pair["endpoints"] for pair in all_pairs(report)]
    return scale * numpy.array(
        [[ends["start"][quantity], ends["end"][quantity]] for ends in endpoints], dtype=float
    )


def _all_values(report: dict[str, Any], quantity: str, scale: float) -> Values:
    drawn = [_per_pair(report, path, quantity, scale) for path in present_paths(report)]
    return numpy.concatenate(
        [values.ravel() for values in [*drawn, _endpoints(report, quantity, scale)]]
    )


def _title_lines(report: dict[str, Any]) -> list[str]:
    pairs = len(all_pairs(report))
    lines = [describe_subject(report), describe_training(report)]
    if pairs > 1:
        lines.append(f"mean over {pairs} pairs, band from the lowest to the highest")
    return [_shorten(line) for line in lines if line]


def _shorten(line: str, longest: int = 110) -> str:
    """Cut the middle out of a line too wide for the figure; both ends of a name tell the most."""
    if len(line) <= longest:
        return line
    return line[: longest // 2 - 1] + "…" + line[-longest // 2 :]
