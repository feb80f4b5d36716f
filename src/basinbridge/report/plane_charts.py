"""A plane through three networks as a contour map and as a surface, for Plotly."""

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy
from scipy.interpolate import RegularGridInterpolator

from basinbridge.report.charts import (
    COLOURS,
    FONT,
    LOSS_FLOOR,
    LOSS_TICKS,
    NARROW,
    WIDE,
    Chart,
    Values,
    axis,
    layout_with_legend,
)

_SPARE = ("#CC79A7", "#E69F00", "#56B4E9")


def contour_chart(plane: Mapping[str, Any]) -> Chart:
    """Test loss or accuracy, chosen by two buttons, with the networks and curves on it."""
    loss, accuracy = _grids(plane)
    heights = numpy.log10(loss)
    hover = "loss %{customdata[0]:.4g} nats<br>accuracy %{customdata[1]:.1f} %<extra></extra>"
    both = numpy.stack([loss, accuracy], axis=-1).tolist()
    common = {"type": "contour", "x": plane["x"], "y": plane["y"], "customdata": both}
    data: list[dict[str, Any]] = [
        {
            **common,
            "z": heights.tolist(),
            "colorscale": "Viridis",
            "reversescale": True,
            "ncontours": 16,
            "colorbar": _colour_bar("loss, nats", heights),
            "hovertemplate": hover,
        },
        {
            **common,
            "z": accuracy.tolist(),
            "colorscale": "Viridis",
            "ncontours": 16,
            "visible": False,
            "colorbar": _colour_bar("accuracy, %"),
            "hovertemplate": hover,
        },
    ]
    for name, path, colour in _curves(plane):
        line = {"x": path[:, 0].tolist(), "y": path[:, 1].tolist(), "mode": "lines"}
        plain = {**line, "hoverinfo": "skip", "legendgroup": name}
        data.append({**plain, "line": {"color": "white", "width": 6}, "showlegend": False})
        data.append({**plain, "line": {"color": colour, "width": 3}, "name": name})
    data.append(
        {
            "x": [x for x, _ in plane["points"]],
            "y": [y for _, y in plane["points"]],
            "mode": "markers+text",
            "text": [f"<b>{escape(name, quote=False)}</b>" for name in plane["names"]],
            "textposition": _positions(plane),
            "textfont": {"color": "white", "size": 14, "shadow": "0 0 4px black, 0 0 4px black"},
            "marker": {"size": 10, "color": "white", "line": {"color": "black", "width": 1.5}},
            "hoverinfo": "text",
            "showlegend": False,
        }
    )
    rest = [True] * (len(data) - 2)
    more = {
        "xaxis": axis("distance in parameter space"),
        "yaxis": axis("at a right angle"),
        "updatemenus": [
            {
                "type": "buttons",
                "direction": "right",
                "x": 0,
                "y": 1.02,
                "yanchor": "bottom",
                "xanchor": "left",
                "showactive": True,
                "buttons": [
                    _button("loss", [True, False, *rest]),
                    _button("accuracy", [False, True, *rest]),
                ],
            }
        ],
    }
    wide, narrow = (
        {**layout_with_legend(data[2:], 350, width), **more} for width in (WIDE // 2, NARROW)
    )
    for layout in (wide, narrow):  # room for the buttons
        layout["margin"]["t"] = 44
    return {"data": data, "layout": wide, "narrow": narrow}


def surface_chart(plane: Mapping[str, Any]) -> Chart:
    """The loss over the plane as a surface, to be turned, with the curves lying on it."""
    loss, accuracy = _grids(plane)
    heights = numpy.log10(loss)
    x, y = (numpy.array(plane[axis], dtype=float) for axis in "xy")
    height_at = RegularGridInterpolator((y, x), heights, bounds_error=False, fill_value=None)
    tick_values, tick_texts = _loss_ticks(heights)
    data: list[dict[str, Any]] = [
        {
            "type": "surface",
            "x": plane["x"],
            "y": plane["y"],
            "z": heights.tolist(),
            "customdata": numpy.stack([loss, accuracy], axis=-1).tolist(),
            "colorscale": "Viridis",
            "reversescale": True,
            "showscale": False,
            "hovertemplate": "loss %{customdata[0]:.4g} nats<br>"
            "accuracy %{customdata[1]:.1f} %<extra></extra>",
        }
    ]
    lift = 0.01 * max(float(heights.max() - heights.min()), 1e-3)
    for name, path, colour in _curves(plane):
        data.append(
            {
                "type": "scatter3d",
                "mode": "lines",
                "x": path[:, 0].tolist(),
                "y": path[:, 1].tolist(),
                "z": (height_at(path[:, ::-1]) + lift).tolist(),
                "line": {"color": colour, "width": 8},
                "name": name,
                "hoverinfo": "name",
            }
        )
    corners = numpy.array(plane["points"], dtype=float)
    data.append(
        {
            "type": "scatter3d",
            "mode": "markers+text",
            "x": corners[:, 0].tolist(),
            "y": corners[:, 1].tolist(),
            "z": (height_at(corners[:, ::-1]) + lift).tolist(),
            "text": [escape(name, quote=False) for name in plane["names"]],
            "marker": {"size": 5, "color": "white", "line": {"color": "black", "width": 2}},
            "hoverinfo": "text",
            "showlegend": False,
        }
    )
    small = {"tickfont": {"size": 10}}
    scene = {
        "xaxis": {"title": {"text": "distance", "font": {"size": 12}}, **small},
        "yaxis": {"title": {"text": "right angle", "font": {"size": 12}}, **small},
        "zaxis": {
            "title": {"text": "loss, nats", "font": {"size": 12}},
            "tickvals": tick_values,
            "ticktext": tick_texts,
            **small,
        },
        "camera": {"eye": {"x": -1.35, "y": -1.45, "z": 0.85}, "center": {"z": -0.12}},
        "aspectmode": "cube",
    }
    layout = {
        "height": 440,
        "font": FONT,
        "paper_bgcolor": "white",
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "showlegend": False,
        "scene": scene,
    }
    return {"data": data, "layout": layout, "narrow": {"height": 340}, "webgl": True}


def _grids(plane: Mapping[str, Any]) -> tuple[Values, Values]:
    loss = numpy.array(plane["loss"], dtype=float).clip(LOSS_FLOOR)
    return loss, 100 * numpy.array(plane["accuracy"], dtype=float)


def _curves(plane: Mapping[str, Any]) -> list[tuple[str, Values, str]]:
    """Name, corners and colour of every curve; one that leaves the plane says so."""
    extent = max(plane["x"][-1] - plane["x"][0], plane["y"][-1] - plane["y"][0])
    found = []
    for place, (name, path) in enumerate(plane["paths"].items()):
        word = name.lower()
        kind = "unaligned" if "unaligned" in word else "aligned" if "aligned" in word else ""
        if "pam" in word:
            kind = f"pam_{kind}"
        projected = plane["distances"][name] >= 1e-3 * extent
        label = escape(name + (" (projected)" if projected else ""), quote=False)
        colour = COLOURS.get(kind, _SPARE[place % len(_SPARE)])
        found.append((label, numpy.array(path, dtype=float), colour))
    return found


def _positions(plane: Mapping[str, Any]) -> list[str]:
    """Names towards the middle, so that none leaves the picture."""
    middle = (plane["x"][0] + plane["x"][-1]) / 2
    centre = (plane["y"][0] + plane["y"][-1]) / 2
    return [
        f"{'bottom' if y > centre else 'top'} {'left' if x > middle else 'right'}"
        for x, y in plane["points"]
    ]


def _loss_ticks(heights: Values) -> tuple[list[float], list[str]]:
    """Places (logarithms) and texts of round losses within a grid's range."""
    low, high = float(heights.min()), float(heights.max())
    ticks = [tick for tick in LOSS_TICKS if low <= numpy.log10(tick) <= high]
    if len(ticks) < 3:  # a narrow range: equal steps of a round size
        least, most = 10**low, 10**high
        step = 10.0 ** numpy.floor(numpy.log10(max(most - least, 1e-9)))
        step *= next(part for part in (0.1, 0.2, 0.5, 1, 2) if (most - least) / (part * step) <= 6)
        first = int(numpy.ceil(least / step))
        ticks = [step * place for place in range(first, int(most / step) + 1)]
    return [float(numpy.log10(tick)) for tick in ticks], [f"{tick:.6g}" for tick in ticks]


def _colour_bar(title: str, heights: Values | None = None) -> dict[str, Any]:
    bar: dict[str, Any] = {"title": {"text": title, "side": "right"}, "thickness": 14}
    if heights is not None:
        bar["tickvals"], bar["ticktext"] = _loss_ticks(heights)
    return bar


def _button(label: str, visible: list[bool]) -> dict[str, Any]:
    return {"label": label, "method": "restyle", "args": [{"visible": visible}]}
