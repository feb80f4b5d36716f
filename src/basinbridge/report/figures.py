"""The picture of a report: accuracy and loss along all paths."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import ArrayLike, NDArray

from basinbridge.report.caption import describe_attack, describe_subject, describe_training
from basinbridge.report.load import all_pairs, is_robust, present_paths
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
    """Draw accuracy (%) and loss (nats) along every path of a report, and below it under attack.

    Lines show the only pair, or the mean over several with a band from the lowest to the highest.

    Args:
        report: what `read_report` returns.
        path: the picture to write, `.png` or `.pdf`; an older one is replaced.

    Raises:
        InputError: another ending than those two, or `path` cannot be written.
    """
    check_name(path)
    save_picture(paths_figure(report), path)


@dataclass(frozen=True)
class Drawn:
    """A path to draw: `accuracy` in % and `loss` in nats, one row for each pair, over `t`."""

    label: str
    colour: str
    dashes: Any
    t: Sequence[float]
    accuracy: Values
    loss: Values


def paths_figure(report: dict[str, Any]) -> "Figure":
    """Build the figure of `draw_paths`; it belongs to no window and to no global state."""
    rows = [_row(report, "")]
    if is_robust(report):
        rows.append(_row(report, "robust_"))
    return curves_figure(
        *rows[0], _title_lines(report), under_attack=rows[-1] if rows[1:] else None
    )


def _row(report: dict[str, Any], attacked: str) -> tuple[list[Drawn], list[Values]]:
    """The lines and endpoints of one kind of scores, by what their names begin with."""
    drawn = []
    for path in present_paths(report):
        kind, alignment = path.split("_")
        drawn.append(
            Drawn(
                f"{kind}, {alignment}",
                HUES[alignment],
                _DASHES[kind],
                all_pairs(report)[0][path]["t"],
                _per_pair(report, path, f"{attacked}accuracy", 100.0),
                _per_pair(report, path, f"{attacked}loss", 1.0),
            )
        )
    units = ("accuracy", 100.0), ("loss", 1.0)
    return drawn, [_endpoints(report, attacked + name, scale) for name, scale in units]


def curves_figure(
    drawn: Sequence[Drawn],
    endpoints: Sequence[Values],
    title: Sequence[str],
    *,
    under_attack: tuple[Sequence[Drawn], Sequence[Values]] | None = None,
) -> "Figure":
    """Accuracy and loss along paths, side by side.

    `endpoints` are accuracies in %, and losses in nats, of start and end, a row for each pair.
    Lines and endpoints `under_attack` come below.
    """
    from matplotlib.figure import Figure

    kinds = [(drawn, endpoints)] if under_attack is None else [(drawn, endpoints), under_attack]
    figure = Figure(figsize=(10, 1.1 + 3.8 * len(kinds)), layout="constrained")
    rows = figure.subplots(len(kinds), 2, squeeze=False, gridspec_kw={"wspace": 0.06})
    for (lines_of_kind, ends_of_kind), (accuracy_axes, loss_axes) in zip(kinds, rows, strict=True):
        for axes, values, ends, scale in (
            (
                accuracy_axes,
                [one.accuracy for one in lines_of_kind],
                ends_of_kind[0],
                _scale_accuracy,
            ),
            (loss_axes, [one.loss for one in lines_of_kind], ends_of_kind[1], _scale_loss),
        ):
            _draw_lines(axes, lines_of_kind, values, ends)
            scale(axes, numpy.concatenate([part.ravel() for part in (*values, ends)]))
            axes.set_xlim(-0.03, 1.03)
            axes.tick_params(labelsize=FONT_SIZE - 1)
            axes.grid(visible=True, color="0.9", linewidth=0.8)
            axes.spines[["top", "right"]].set_visible(False)
            if accuracy_axes is not rows[0][0]:
                axes.set_ylabel(f"robust {axes.get_ylabel()}")
    for axes in rows[-1]:
        axes.set_xlabel("t, from start (0) to end (1)", fontsize=FONT_SIZE)
    handles, labels = rows[0][0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(labels), 5),
        frameon=False,
        fontsize=FONT_SIZE,
        handlelength=3,
    )
    lines = [_shorten(line) for line in title if line]
    figure.suptitle("\n".join(lines), fontsize=FONT_SIZE + 1, parse_math=False)
    return figure


def _draw_lines(
    axes: "Axes", drawn: Sequence[Drawn], values: Sequence[Values], endpoints: Values
) -> None:
    for one, rows in zip(drawn, values, strict=True):
        axes.plot(
            one.t,
            rows.mean(axis=0),
            color=one.colour,
            linestyle=one.dashes,
            linewidth=1.8,
            label=one.label,
        )
        if len(rows) > 1:
            lowest, highest = rows.min(axis=0), rows.max(axis=0)
            axes.fill_between(one.t, lowest, highest, color=one.colour, alpha=0.12, linewidth=0)
    axes.plot(
        [0, 1],
        endpoints.mean(axis=0),
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


def _title_lines(report: dict[str, Any]) -> list[str]:
    pairs = len(all_pairs(report))
    lines = [describe_subject(report), describe_training(report), describe_attack(report)]
    if pairs > 1:
        lines.append(f"mean over {pairs} pairs, band from the lowest to the highest")
    return lines


def _shorten(line: str, longest: int = 110) -> str:
    """Cut the middle out of a line too wide for the figure; both ends of a name tell the most."""
    if len(line) <= longest:
        return line
    return line[: longest // 2 - 1] + "…" + line[-longest // 2 :]
