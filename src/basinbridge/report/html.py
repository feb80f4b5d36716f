"""The report of a run: one page that holds everything, Plotly included, and needs no network."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import import_module, resources
from pathlib import Path

from basinbridge.errors import InputError
from basinbridge.experiments.exhibits import EXHIBITS
from basinbridge.report.caption import mean_and_spread
from basinbridge.report.charts import Chart, paths_chart, signature_chart, training_chart
from basinbridge.report.html_settings import settings_section
from basinbridge.report.plane_charts import contour_chart, surface_chart
from basinbridge.report.run import CaseResults, Row, Run, difference, final_losses, rows_of
from basinbridge.state import replacing

_PAIR_LINES = {
    "before": ("as numbered", "#D55E00", "solid"),
    "after": ("aligned", "#0072B2", "solid"),
    "cka": ("linear CKA", "#888888", "dash"),
}
_MIDPOINT_LINES = {
    "before": ("as numbered", "#D55E00", "solid"),
    "after": ("middle aligned to the end", "#0072B2", "dash"),
    "line": ("middle of the straight line", "#555555", "dot"),
}


@dataclass
class _Page:
    """The parts of a page in the making: text and the charts that it has room for."""

    parts: list[str] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)

    def add(self, *parts: str) -> None:
        self.parts += parts

    def chart(self, chart: Chart) -> str:
        """Room for a chart."""
        self.charts.append(chart)
        return f'<div class="chart" data-figure="{len(self.charts) - 1}"></div>'


def write_html(run: Run, file: Path) -> None:
    """Write the page; an older one is replaced whole."""
    text = html_of(run)
    with replacing(file) as draft:
        draft.write_text(text, encoding="utf-8")


def html_of(run: Run) -> str:
    """The page as text. Raises `InputError` if plotly, which goes into it, is not installed."""
    page = _Page()
    cases = list(run.cases)
    names = [_shown(name) for name in run.plan["exhibits"]]
    title = f"{', '.join(names)}, reproduced"
    page.add(f"<h1>{escape(title)}</h1>", *_introduction(run))
    links = [
        f'<a href="#{_anchor(name)}">{escape(_shown(name))}</a>' for name in run.plan["exhibits"]
    ]
    page.add(f"<nav>{''.join(links)}<a href='#settings'>Settings and times</a></nav>")
    for name, exhibit in run.plan["exhibits"].items():
        heading = f"{escape(_shown(name))}: {escape(exhibit['title'])}"
        page.add(f'<section><h2 id="{_anchor(name)}">{heading}</h2>')
        for case in (one for one in cases if one.exhibit == name):
            _add_case(page, case)
        page.add("</section>")
    page.add(*settings_section(run))
    return _whole(title, page)


def _whole(title: str, page: _Page) -> str:
    files = resources.files("basinbridge.report") / "page"
    style, script = ((files / name).read_text("utf-8") for name in ("report.css", "report.js"))
    # A `<` could end the script that holds the data.
    charts = json.dumps(page.charts, allow_nan=False).replace("<", "\\u003c")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title>",
            f"<style>{style}</style></head><body>",
            *page.parts,
            f'<script type="application/json" id="figures">{charts}</script>',
            f"<script>{_plotly()}</script>",
            f"<script>{script}</script></body></html>\n",
        ]
    )


def _plotly() -> str:
    try:
        found: str = import_module("plotly.offline").get_plotlyjs()
    except ImportError:
        raise InputError(
            "the report needs plotly: pip install 'basinbridge[report]'; "
            "the pictures in files do not"
        ) from None
    return found


def _introduction(run: Run) -> Iterator[str]:
    stages, done = run.plan["stages"], run.results
    schedule = run.schedule
    yield (
        "<p class='quiet'>Optimizing Mode Connectivity via Neuron Alignment (Tatro, Chen, Das, "
        "Melnyk, Sattigeri and Lai, NeurIPS 2020), made again with basinbridge. Accuracies and "
        "losses are on test images; batch norm is re-estimated at every point.</p>"
    )
    if len(done) < len(stages):
        yield (
            f"<p class='note'>The run is not complete: {len(done)} of {len(stages)} stages are "
            "done. What is missing has no entry below.</p>"
        )
    if schedule["name"] != "paper":
        images = schedule["train_images"]
        subset = f" on {images:,} training images" if images else ""
        advice = (
            "It shows that everything works; its figures say nothing about the paper's."
            if schedule["name"] == "smoke"
            else "Read the order of the rows, not their height."
        )
        yield (
            f"<p class='note'>The schedule is <b>{escape(str(schedule['name']))}</b>, not the "
            f"paper's: {_lengths(run)}{subset}. {advice}</p>"
        )


def _lengths(run: Run) -> str:
    """How long networks and curves of the run's exhibits are trained, and how long the paper's."""
    schedule = run.schedule
    robust = {EXHIBITS[name].robust for name in run.plan["exhibits"] if name in EXHIBITS}
    parts = []
    if robust != {True}:
        parts.append(
            f"networks {schedule['endpoint']['epochs']} epochs and curves "
            f"{schedule['curve']['epochs']}, instead of 250 each"
        )
    if True in robust:
        parts.append(f"robust ones {schedule['robust']['epochs']} epochs instead of 200")
    return "; ".join(parts)


def _add_case(page: _Page, case: CaseResults) -> None:
    name = f"{case.case.model} on {case.case.dataset}"
    seeds = "; ".join(" and ".join(str(seed) for seed in pair) for pair in case.seeds)
    page.add(f"<h3>{escape(name)}</h3>", f"<p class='quiet'>Seeds of the pairs: {seeds}</p>")
    before = len(page.parts)
    if case.shows("paths"):
        for kind in case.kinds:
            words = " under attack" if kind else ""
            page.add(*_comparison(rows_of(case, kind), words))
            chart = paths_chart(case, kind)
            _add_chart(page, f"Along the curves{words}", chart, several=len(case.seeds) > 1)
    if case.exhibit == "table2":
        page.add(*_final_losses(case))
    for key in ("both",) if case.shows("planes") else ():
        _add_planes(page, case, "planes", key, "Plane of both initialisations")
    for key, title in case.methods.items() if case.shows("curve planes") else ():
        _add_planes(page, case, "curve planes", key, f"Plane of the curve: {title}")
    for key in ("both",) if case.shows("signatures") else ():
        found = case.found("signatures", key)
        if found:
            _add_chart(page, "Endpoints compared", signature_chart(found, _PAIR_LINES))
    for key, title in case.methods.items() if case.shows("midpoints") else ():
        entries = [entry for one in case.found("midpoints", key) for entry in one["entries"]]
        if entries:
            heading = f"Ends and middle of the curve: {title}"
            _add_chart(page, heading, signature_chart(entries, _MIDPOINT_LINES))
    if case.shows("training"):
        _add_chart(page, "Training", training_chart(case), several=len(case.seeds) > 1)
    if len(page.parts) == before:
        page.add("<p class='note'>Nothing of it is done yet.</p>")


def _add_chart(page: _Page, heading: str, chart: Chart | None, *, several: bool = False) -> None:
    if chart is None:
        return
    hint = "Hover for values; click a name to hide or show it."
    if several:
        hint += " Lines are means over pairs, bands reach from the lowest to the highest."
    page.add(f"<h4>{escape(heading)}</h4>", f"<p class='quiet on-screen'>{hint}</p>")
    page.add(page.chart(chart))


def _add_planes(page: _Page, case: CaseResults, part: str, key: str, heading: str) -> None:
    for plane, seeds in zip(case.found(part, key), case.seeds, strict=False):
        pair = f", seeds {seeds[0]} and {seeds[1]}" if len(case.seeds) > 1 else ""
        page.add(f"<h4>{escape(heading)}{pair}</h4>")
        page.add("<p class='quiet on-screen'>Light is good. Drag the surface to turn it.</p>")
        both = page.chart(contour_chart(plane)), page.chart(surface_chart(plane))
        page.add(f"<div class='side-by-side'><div>{both[0]}</div><div>{both[1]}</div></div>")


def _comparison(rows: Sequence[Row], words: str) -> Iterator[str]:
    if not rows:
        return
    pairs = len(rows[0].average)
    spread = "mean ± standard deviation over " + (f"{pairs} pairs" if pairs > 1 else "")
    known = any(row.paper for row in rows)
    caption = (
        (spread if pairs > 1 else "one pair, so no spread")
        + ". "
        + (
            "▲ marks what is at least the paper's, ▼ what is below."
            if known
            else "The paper gives no such figures."
        )
    )
    yield f"<table><caption>Test accuracy{words} along the curve, %: {caption}</caption><thead><tr>"
    yield "<th>curve</th><th>average</th><th>minimum</th></tr></thead><tbody>"
    for row in rows:
        average = _cell(row.average, row.paper.average if row.paper else None)
        minimum = _cell(row.minimum, row.paper.minimum if row.paper else None)
        yield f"<tr><th>{escape(row.title)}</th><td>{average}</td><td>{minimum}</td></tr>"
    yield "</tbody></table>"


def _cell(values: Sequence[float] | None, paper: tuple[float, float] | None) -> str:
    """Our value, the paper's, and the difference of what is shown of both."""
    if values is None:
        return ""
    ours = f"<span class='ours'>{mean_and_spread(values, 1)}</span>"
    if paper is None:
        return f"<div class='cells'>{ours}</div>"
    apart = difference(values, paper[0])
    mark, kind = ("▲", "good") if apart >= 0 else ("▼", "bad")
    text = f"{mark} {apart:+.1f}".replace("-", "\N{MINUS SIGN}")
    return (
        f"<div class='cells'>{ours}<span class='paper'>paper {paper[0]:.1f} ± {paper[1]:.1f}</span>"
        f"<span class='difference {kind}'>{text}</span></div>"
    )


def _final_losses(case: CaseResults) -> Iterator[str]:
    found = {title: final_losses(case, method) for method, title in case.methods.items()}
    if not any(found.values()):
        return
    yield (
        "<table><caption>Training loss of the last epoch, nats, with the L2 term. The text of the "
        "paper at hand lacks its Table 2, so there is nothing to compare with.</caption>"
        "<thead><tr><th>curve</th><th>loss</th></tr></thead><tbody>"
    )
    for title, losses in found.items():
        if losses:
            yield f"<tr><th>{escape(title)}</th><td>{mean_and_spread(losses, 3)}</td></tr>"
    yield "</tbody></table>"


def _shown(name: str) -> str:
    """An exhibit's name as the paper writes it.

    >>> _shown("table1"), _shown("appendix-f")
    ('Table 1', 'Appendix F')
    """
    words = name.replace("-", " ")
    head = words.rstrip("0123456789")
    number = words[len(head) :]
    if number:
        return f"{head.capitalize()} {number}"
    return " ".join(word.capitalize() for word in words.split())


def _anchor(name: str) -> str:
    return escape(name.replace(" ", "-"), quote=True)
