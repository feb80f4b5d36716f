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

_HOVER = "loss %{customdata[0]:.4g} nats<br>accuracy %{customdata[1]:.1f} %<extra></extra>"
_SPARE = ("#CC79A7", "#E69F00", "#56B4E9")


def contour_chart(plane: Mapping[str, Any]) -> Chart:
    """Test loss or accuracy, chosen by two buttons, with the networks and curves on it."""
    data = [*_contours(plane)]
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
    more = {
        "xaxis": axis("distance in parameter space"),
        "yaxis": axis("at a right angle"),
        "updatemenus": [_buttons(len(data) - 2)],
    }
    wide, narrow = (
        {**layout_with_legend(data[2:], 350, width), **more} for width in (WIDE // 2, NARROW)
    )
    for layout in (wide, narrow):  # room for the buttons
        layout["margin"]["t"] = 44
    return {"data": data, "layout": wide, "narrow": narrow}


def _contours(plane: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Loss, on a logarithmic scale, and accuracy, which is hidden at first."""
    loss, accuracy = _grids(plane)
    heights = numpy.log10(loss)
    common = {
        "type": "contour",
        "x": plane["x"],
        "y": plane["y"],
        "customdata": numpy.stack([loss, accuracy], axis=-1).tolist(),
        "colorscale": "Viridis",
        "ncontours": 16,
        "hovertemplate": _HOVER,
    }
    bar = _colour_bar("loss, nats", heights)
    shown = {**common, "z": heights.tolist(), "reversescale": True, "colorbar": bar}
    bar = _colour_bar("accuracy, %")
    return shown, {**common, "z": accuracy.tolist(), "visible": False, "colorbar": bar}


def _buttons(others: int) -> dict[str, Any]:
    """Two that show the first or the second trace, and leave all others."""
    rest = [True] * others
    return {
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


def surface_chart(plane: Mapping[str, Any]) -> Chart:
    """The loss over the plane as a surface, to be turned, with the curves lying on it."""
    loss, accuracy = _grids(plane)
    heights = numpy.log10(loss)
    x, y = (numpy.array(plane[axis], dtype=float) for axis in "xy")
    height_at = RegularGridInterpolator((y, x), heights, bounds_error=False, fill_value=None)
    lift = 0.01 * max(float(heights.max() - heights.min()), 1e-3)

    def lying(places: Values) -> dict[str, Any]:
        above = (height_at(places[:, ::-1]) + lift).tolist()
        along = {"x": places[:, 0].tolist(), "y": places[:, 1].tolist(), "z": above}
        return {"type": "scatter3d", **along}

    surface = {
        "type": "surface",
        "x": plane["x"],
        "y": plane["y"],
        "z": heights.tolist(),
        "customdata": numpy.stack([loss, accuracy], axis=-1).tolist(),
        "colorscale": "Viridis",
        "reversescale": True,
        "showscale": False,
        "hovertemplate": _HOVER,
    }
    curves = [
        {
            **lying(path),
            "mode": "lines",
            "line": {"color": colour, "width": 8},
            "name": name,
            "hoverinfo": "name",
        }
        for name, path, colour in _curves(plane)
    ]
    networks = {
        **lying(numpy.array(plane["points"], dtype=float)),
        "mode": "markers+text",
        "text": [escape(name, quote=False) for name in plane["names"]],
        "marker": {"size": 5, "color": "white", "line": {"color": "black", "width": 2}},
        "hoverinfo": "text",
        "showlegend": False,
    }
    layout = {
        "height": 440,
        "font": FONT,
        "paper_bgcolor": "white",
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "showlegend": False,
        "scene": _scene(heights),
    }
    data = [surface, *curves, networks]
    return {"data": data, "layout": layout, "narrow": {"height": 340}, "webgl": True}


def _scene(heights: Values) -> dict[str, Any]:
    """The three axes of a surface, and where it is looked at from."""
    titles = {"xaxis": "distance", "yaxis": "right angle", "zaxis": "loss, nats"}
    axes: dict[str, dict[str, Any]] = {
        name: {"title": {"text": text, "font": {"size": 12}}, "tickfont": {"size": 10}}
        for name, text in titles.items()
    }
    axes["zaxis"]["tickvals"], axes["zaxis"]["ticktext"] = _loss_ticks(heights)
    camera = {"eye": {"x": -1.35, "y": -1.45, "z": 0.85}, "center": {"z": -0.12}}
    return {**axes, "camera": camera, "aspectmode": "cube"}


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
