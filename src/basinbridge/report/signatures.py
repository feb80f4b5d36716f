"""The picture of correlation signatures (Figure 1 of the paper), from a saved result.

The result holds `panels`, each with a `title` and `entries`: one for each pair of networks, with
`layers`, `before`, `after` and `cka` as `evaluate.signature.Signature` has them, and perhaps
`line`, the correlation with the midpoint of the straight line.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import NDArray

from basinbridge.errors import InputError
from basinbridge.report.picture import FONT_SIZE, HUES, check_name, label_figure, save_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES = {
    "before": ("as numbered", HUES["unaligned"], "solid", "o"),
    "after": ("aligned", HUES["aligned"], "solid", "s"),
    "line": ("middle of the straight line", "0.35", (0, (1, 1.5)), "None"),
    "cka": ("linear CKA", "0.55", (0, (4, 2)), "None"),
}
_MOST_NAMES = 24


def draw_signatures(result: dict[str, Any], path: Path) -> None:
    """Draw every panel of a result side by side, `.png` or `.pdf`.

    Lines are means over a panel's entries, bands one sample standard deviation to either side.
    Raises `InputError` if a panel is empty or its entries are of different networks.
    """
    check_name(path)
    save_picture(signatures_figure(result), path)


def signatures_figure(result: dict[str, Any]) -> "Figure":
    """Build the figure of `draw_signatures`; it belongs to no window and to no global state."""
    from matplotlib.figure import Figure

    panels = result["panels"]
    if not panels or not all(panel["entries"] for panel in panels):
        raise InputError("there is no signature to draw; make the result again")
    figure = Figure(figsize=(1.2 + 4.6 * len(panels), 4.7), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for one, panel in zip(axes, panels, strict=True):
        _draw_panel(one, panel)
    axes[0].set_ylabel("mean correlation of matched neurons", fontsize=FONT_SIZE)
    shown = {
        label: handle
        for one in axes
        for handle, label in zip(*one.get_legend_handles_labels(), strict=True)
    }
    label_figure(figure, shown, result.get("title"))
    return figure


def _draw_panel(axes: "Axes", panel: dict[str, Any]) -> None:
    entries = panel["entries"]
    layers = entries[0]["layers"]
    if any(entry["layers"] != layers for entry in entries):
        raise InputError("the signatures of one panel are of different networks")
    places = numpy.arange(len(layers))
    for quantity, (label, colour, dashes, marker) in _LINES.items():
        if quantity not in entries[0]:
            continue
        values: NDArray[numpy.float64] = numpy.array([entry[quantity] for entry in entries])
        mean = values.mean(axis=0)
        axes.plot(
            places, mean, color=colour, linestyle=dashes, marker=marker, markersize=4, label=label
        )
        if len(entries) > 1 and quantity in ("before", "after"):
            spread = values.std(axis=0, ddof=1)
            axes.fill_between(
                places, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0
            )
    # Names of many layers would run into each other.
    step = -(-len(layers) // _MOST_NAMES)
    kept = sorted({*range(0, len(layers), step), len(layers) - 1})
    axes.set_xticks(kept, [_short(layers[place]) for place in kept], rotation=90)
    axes.tick_params(labelsize=FONT_SIZE - 2)
    axes.set_title(panel["title"], fontsize=FONT_SIZE, parse_math=False)
    axes.grid(visible=True, axis="y", color="0.9", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.axhline(0, color="0.7", linewidth=0.8, zorder=0)


def _short(name: str, longest: int = 24) -> str:
    """The end of a long module name, which tells the layer."""
    return name if len(name) <= longest else "…" + name[-longest + 1 :]
