"""The pictures of a run as files for a paper, PNG and PDF, from the saved results."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from basinbridge.report.charts import colour_of
from basinbridge.report.figures import Drawn, curves_figure
from basinbridge.report.picture import FONT_SIZE, save_picture
from basinbridge.report.planes import plane_figure
from basinbridge.report.run import CaseResults, Run
from basinbridge.report.signatures import signatures_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_pictures(run: Run, folder: Path) -> list[Path]:
    """Draw whatever is done of a run; return the files, two for each picture."""
    written = []
    for case in run.cases:
        for name, figure in _figures(case):
            for suffix in (".png", ".pdf"):
                words = f"{case.exhibit}-{case.case.name}-{name}"
                path = folder / (re.sub(r"[^\w.]+", "-", words).strip("-") + suffix)
                save_picture(figure, path)
                written.append(path)
    return written


def _figures(case: CaseResults) -> Iterator[tuple[str, "Figure"]]:
    if case.shows("paths"):
        for kind in case.kinds:
            figure = curves_of(case, kind)
            if figure is not None:
                yield f"{kind}curves", figure
    if case.shows("training"):
        figure = training_of(case)
        if figure is not None:
            yield "training", figure
    for part, keys in (("planes", ("both",)), ("curve planes", tuple(case.methods))):
        for key in keys if case.shows(part) else ():
            for plane, seeds in zip(case.found(part, key), case.seeds, strict=False):
                yield f"plane-{key}-{seeds[0]}-{seeds[1]}", plane_figure(dict(plane))
    panels = _panels(case)
    if panels:
        title = f"{case.case.model} on {case.case.dataset}, test images"
        yield "signatures", signatures_figure({"title": title, "panels": panels})


def curves_of(case: CaseResults, kind: str = "") -> "Figure | None":
    """Accuracy and loss, usual or robust, along curves and lines; None where none is measured."""
    drawn: list[Drawn] = []
    for part, dashes in (("paths", "solid"), ("lines", (0, (4, 2)))):
        for method, title in case.methods.items():
            found = case.found(part, method)
            if found:
                drawn.append(
                    Drawn(
                        title if part == "paths" else f"line, {title}",
                        colour_of(method, list(case.methods)),
                        dashes,
                        found[0]["t"],
                        100 * numpy.array([one[f"{kind}accuracy"] for one in found], dtype=float),
                        numpy.array([one[f"{kind}loss"] for one in found], dtype=float),
                    )
                )
    if not drawn:
        return None
    ends = [drawn[0].accuracy[:, [0, -1]], drawn[0].loss[:, [0, -1]]]
    return curves_figure(drawn, ends, _title(case, "under attack" if kind else ""))


def training_of(case: CaseResults) -> "Figure | None":
    """Training loss of every epoch of every curve; None where nothing is trained."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for method, title in case.methods.items():
        histories = case.histories("training", method)
        if histories:
            mean = numpy.mean(numpy.array(histories, dtype=float), axis=0)
            colour = colour_of(method, list(case.methods))
            axes.plot(range(1, len(mean) + 1), mean, color=colour, linewidth=1.8, label=title)
    if not axes.lines:
        return None
    axes.set_yscale("log")
    axes.set_xlabel("epoch", fontsize=FONT_SIZE)
    axes.set_ylabel("training loss, nats (log axis)", fontsize=FONT_SIZE)
    axes.grid(visible=True, color="0.9", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=FONT_SIZE)
    axes.set_title("\n".join(_title(case)), fontsize=FONT_SIZE + 1, parse_math=False)
    return figure


def _title(case: CaseResults, words: str = "") -> list[str]:
    schedule = case.run.schedule
    lines = [
        f"{case.case.model} on {case.case.dataset}, schedule {schedule['name']}"
        + (f", {words}" if words else "")
    ]
    if len(case.seeds) > 1:
        lines.append(f"mean over {len(case.seeds)} pairs, band from the lowest to the highest")
    return lines


def _panels(case: CaseResults) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    pairs = case.found("signatures", "both") if case.shows("signatures") else []
    if pairs:
        panels.append({"title": "the endpoints", "entries": [dict(one) for one in pairs]})
    for key, title in case.methods.items() if case.shows("midpoints") else ():
        entries = [entry for one in case.found("midpoints", key) for entry in one["entries"]]
        if entries:
            panels.append({"title": f"ends and middle: {title}", "entries": entries})
    return panels
