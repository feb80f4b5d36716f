"""Interactive charts as Plotly's data and layout, from the results of a run.

A chart is a dict with `data` and `layout` and, for narrow screens, `narrow`: what differs there.
All names are escaped, since Plotly reads some HTML in texts.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy
from numpy.typing import NDArray

from basinbridge.report.run import CaseResults

Chart = dict[str, Any]
Values = NDArray[numpy.float64]

# Okabe and Ito (2008): apart for every kind of colour vision.
COLOURS = {
    "unaligned": "#D55E00",
    "aligned": "#0072B2",
    "pam_unaligned": "#E69F00",
    "pam_aligned": "#56B4E9",
}
_OTHERS = ("#009E73", "#CC79A7", "#7F7F7F", "#332288", "#882255", "#117733", "#AA4499", "#999933")
FONT = {"family": "system-ui, sans-serif", "size": 13, "color": "#222"}
GRID = {"gridcolor": "#e6e6e6", "zeroline": False, "automargin": True}
LOSS_FLOOR = 1e-5
LOSS_TICKS = [digit * 10.0**power for power in range(-5, 4) for digit in (1, 2, 5)]
# About how wide a chart is, in pixels, on a desk and on a phone.
WIDE, NARROW = 1100, 330


def colour_of(method: str, methods: Sequence[str]) -> str:
    """The colour of a method among others."""
    if method in COLOURS:
        return COLOURS[method]
    others = [one for one in methods if one not in COLOURS]
    return _OTHERS[others.index(method) % len(_OTHERS)]


def paths_chart(case: CaseResults, kind: str = "") -> Chart | None:
    """Accuracy and loss along every curve and line, side by side; None where nothing is measured.

    `kind` is one of the case's: the usual scores, or those under attack.

    A line is the mean over pairs, its band reaches from the lowest to the highest. Both sides of a
    curve share one entry of the legend.
    """
    traces: list[dict[str, Any]] = []
    for part, dash in (("paths", "solid"), ("lines", "dash")):
        for method, title in case.methods.items():
            found = case.found(part, method)
            if not found:
                continue
            name = escape(title if part == "paths" else f"line, {title}", quote=False)
            colour = colour_of(method, list(case.methods))
            t = found[0]["t"]
            for side, quantity, scale in (("", "accuracy", 100.0), ("2", "loss", 1.0)):
                values = scale * numpy.array([one[kind + quantity] for one in found], dtype=float)
                unit = " %" if quantity == "accuracy" else " nats"
                traces += _mean_and_band(
                    t,
                    values,
                    name,
                    colour,
                    group=f"{part} {method}",
                    shown=side == "",
                    dash=dash,
                    hover=f"t = %{{x:.3f}}<br>%{{y:.4g}}{unit}<extra>{name}</extra>",
                    axes={"xaxis": f"x{side}", "yaxis": f"y{side}"},
                )
    if not traces:
        return None
    what = "robust" if kind else "test"
    losses = [v for one in traces if one["yaxis"] == "y2" for v in one["y"]]
    accuracy, loss = axis(f"{what} accuracy, %"), loss_axis(losses, f"{what} loss, nats")
    wide = {
        **layout_with_legend(traces, 320, WIDE),
        "xaxis": axis("t", domain=[0, 0.46]),
        "yaxis": accuracy,
        "xaxis2": axis("t", domain=[0.56, 1]),
        "yaxis2": {**loss, "anchor": "x2"},
    }
    narrow = {
        **layout_with_legend(traces, 560, NARROW),
        "xaxis": axis("t", domain=[0, 1], anchor="y"),
        "yaxis": {**accuracy, "domain": [0.58, 1]},
        "xaxis2": axis("t", domain=[0, 1], anchor="y2"),
        "yaxis2": {**loss, "anchor": "x2", "domain": [0, 0.42]},
    }
    return {"data": traces, "layout": wide, "narrow": narrow}


def training_chart(case: CaseResults) -> Chart | None:
    """Training loss of every epoch, of curves and of the networks that they join."""
    traces: list[dict[str, Any]] = []
    for method, title in case.methods.items():
        histories = case.histories("training", method)
        if histories:
            name = escape(title, quote=False)
            traces += _epochs(histories, name, colour_of(method, list(case.methods)), method)
    ends = [*case.histories("endpoints", "start"), *case.histories("endpoints", "end")]
    if ends:
        traces += _epochs(ends, "endpoints", "#666666", "endpoints", dash="dot")
    if not traces:
        return None
    values = [value for one in traces for value in one["y"]]
    last = max(one["x"][-1] for one in traces)
    axes = {
        "xaxis": axis("epoch", tick0=0, dtick=max(1, round(last / 10))),
        "yaxis": loss_axis(values, "training loss, nats"),
    }
    return _one_plot(traces, 280, axes)


def _one_plot(traces: list[dict[str, Any]], height: int, axes: Mapping[str, Any]) -> Chart:
    """A chart of one plot, whose legend alone takes another shape on a phone."""
    wide, narrow = (
        {**layout_with_legend(traces, height, width), **axes} for width in (WIDE, NARROW)
    )
    return {"data": traces, "layout": wide, "narrow": narrow}


def _epochs(
    histories: list[list[float]], name: str, colour: str, group: str, dash: str = "solid"
) -> list[dict[str, Any]]:
    length = min(len(one) for one in histories)
    values = numpy.array([one[:length] for one in histories], dtype=float)
    return _mean_and_band(
        list(range(1, length + 1)),
        values,
        name,
        colour,
        group=group,
        dash=dash,
        hover=f"epoch %{{x}}<br>%{{y:.4g}} nats<extra>{name}</extra>",
    )


def signature_chart(
    entries: Sequence[Mapping[str, Any]], lines: Mapping[str, tuple[str, str, str]]
) -> Chart:
    """Correlation of every layer, mean over `entries` with a standard deviation to either side.

    `lines` gives title, colour and dashes of each quantity that is drawn.
    """
    layers = [escape(layer, quote=False) for layer in entries[0]["layers"]]
    traces: list[dict[str, Any]] = []
    for quantity, (title, colour, dash) in lines.items():
        if quantity not in entries[0]:
            continue
        values = numpy.array([entry[quantity] for entry in entries], dtype=float)
        traces += _mean_and_band(
            layers,
            values,
            title,
            colour,
            group=quantity,
            dash=dash,
            deviation=True,
            markers=True,
            hover=f"%{{x}}<br>%{{y:.3f}}<extra>{title}</extra>",
        )
    longest = max(len(layer) for layer in layers)
    axes = {
        "xaxis": {**GRID, "type": "category", "tickangle": -90},
        "yaxis": axis("mean correlation", zeroline=True),
    }
    chart = _one_plot(traces, 250, axes)
    for layout in (chart["layout"], chart["narrow"]):  # names of layers stand upright
        layout["margin"]["b"] += 6 * longest
        layout["height"] += 6 * longest
    return chart


def _mean_and_band(
    x: Sequence[float] | Sequence[str],
    values: Values,
    name: str,
    colour: str,
    *,
    group: str,
    hover: str,
    shown: bool = True,
    dash: str = "solid",
    deviation: bool = False,
    markers: bool = False,
    axes: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """The mean over rows, and a band behind it where there are several."""
    on = dict(axes or {"xaxis": "x", "yaxis": "y"})
    mean = values.mean(axis=0)
    traces: list[dict[str, Any]] = []
    if len(values) > 1:
        low, high = values.min(axis=0), values.max(axis=0)
        if deviation:
            spread = values.std(axis=0, ddof=1)
            low, high = mean - spread, mean + spread
        edge = {"mode": "lines", "line": {"width": 0, "color": colour}, "hoverinfo": "skip"}
        hidden = {"legendgroup": group, "showlegend": False, "name": name, **on}
        traces.append({"x": list(x), "y": low.tolist(), **edge, **hidden})
        traces.append(
            {
                "x": list(x),
                "y": high.tolist(),
                "fill": "tonexty",
                "fillcolor": _faint(colour),
                **edge,
                **hidden,
            }
        )
    traces.append(
        {
            "x": list(x),
            "y": mean.tolist(),
            "mode": "lines+markers" if markers else "lines",
            "line": {"color": colour, "dash": dash, "width": 2.5},
            "marker": {"size": 5},
            "name": name,
            "legendgroup": group,
            "showlegend": shown,
            "hovertemplate": hover,
            **on,
        }
    )
    return traces


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"


def layout_with_legend(traces: Sequence[Mapping[str, Any]], plot: int, width: int) -> Chart:
    """A layout with a plot of `plot` pixels' height and room for the legend and an axis below.

    `width` is about how wide the chart will be, in pixels: it tells how the legend will be broken.
    """
    names = [one["name"] for one in traces if one.get("showlegend", True) and "name" in one]
    rows, free = 1, float(width)
    for name in names:
        needed = 50 + 7.5 * len(name)
        if needed > free and free < width:
            rows, free = rows + 1, float(width)
        free -= needed
    below = 58 + 24 * rows
    return {
        "height": plot + below + 12,
        "font": FONT,
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "margin": {"l": 50, "r": 12, "t": 12, "b": below},
        "hovermode": "closest",
        # On a phone a finger scrolls the page.
        "dragmode": False if width <= NARROW else "zoom",
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 0,
            "yref": "container",
            "yanchor": "bottom",
            "maxheight": 0.5,
        },
    }


def axis(title: str, **more: object) -> dict[str, Any]:
    """An axis as all charts have it."""
    return {**GRID, "title": {"text": title, "standoff": 6}, **more}


def loss_axis(values: Sequence[float], title: str) -> dict[str, Any]:
    """A logarithmic axis with plain numbers where losses differ by more than five times."""
    lowest, highest = max(min(values), LOSS_FLOOR), max(values)
    if highest < 5 * lowest:
        return axis(title)
    ticks = [tick for tick in LOSS_TICKS if 0.8 * lowest <= tick <= 1.25 * highest]
    if highest > 1000 * lowest:
        ticks = ticks[::3]
    return axis(
        f"{title} (log axis)",
        type="log",
        tickvals=ticks,
        ticktext=[f"{tick:g}" for tick in ticks],
    )
