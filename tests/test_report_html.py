"""The page of a run: what is in it, that nothing escapes it, and how it behaves in a browser."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from basinbridge.experiments.exhibits import EXHIBITS
from basinbridge.report.html import html_of, write_html
from basinbridge.report.run import read_run

pytest.importorskip("plotly", reason="the report needs plotly")

SCRIPT = "<script>window.broken = true</script>"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)


@pytest.fixture
def made(digits_run):
    return digits_run


@pytest.fixture
def page(made):
    return html_of(read_run(made))


class _Reader(HTMLParser):
    """Collects texts outside scripts and styles, and checks that tags close what they open."""

    def __init__(self):
        super().__init__()
        self.open, self.texts, self.tags, self.attributes = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in ("meta", "link", "p"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "p":
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.texts.append(data)


def read(page):
    reader = _Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def charts_of(page):
    text = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S)
    return json.loads(text.group(1))


def test_the_page_needs_no_network(page):
    reader = read(page)
    loaded = [value for name, value in reader.attributes if name in ("src", "href")]
    assert all(value.startswith("#") or value == "data:," for value in loaded)
    assert "plotly.js" in page


def test_every_room_has_its_chart_and_every_part_is_there(page):
    charts = charts_of(page)
    rooms = re.findall(r'data-figure="(\d+)"', page)
    assert rooms == [str(number) for number in range(len(charts))]
    kinds = {trace.get("type", "scatter") for chart in charts for trace in chart["data"]}
    assert {"scatter", "contour", "surface", "scatter3d"} <= kinds
    text = " ".join(read(page).texts)
    for words in (
        "Table 1", "Figure 6", "PAM Aligned", "Seeds of the pairs: 0 and 1; 2 and 3",
        "mean ± standard deviation over 2 pairs", "Endpoints compared", "Training",
        "Plane of both initialisations", "Plane of the curve: Aligned", "fingerprints", "torch",
        "Along the curves under attack", "attacked by 2 steps of 4/255 within 8/255",
        "batch 32", "lacks its Table 2", "The schedule is",
    ):  # fmt: skip
        assert words in text, words


def test_curves_are_drawn_with_their_values(made, page):
    run = read_run(made)
    case = next(case for case in run.cases if case.exhibit == "table1")
    found = case.found("paths", "aligned")
    means = [
        100 * sum(values) / 2 for values in zip(*(one["accuracy"] for one in found), strict=True)
    ]
    traces = [trace for trace in charts_of(page)[0]["data"] if trace["name"] == "Aligned"]
    shown = [trace for trace in traces if trace.get("showlegend") and trace["yaxis"] == "y"]
    assert len(shown) == 1
    assert shown[0]["y"] == pytest.approx(means)
    assert shown[0]["x"] == found[0]["t"]
    assert {trace["legendgroup"] for trace in traces} == {"paths aligned"}


def test_the_papers_figures_stand_beside_ours_with_the_difference(made):
    run = read_run(made)
    for case in run.cases:
        case.entry["model"], case.entry["dataset"] = "TinyTen", "cifar10"
    text = html_of(run)
    assert "paper 87.8 ± 0.1" in text
    cells = re.findall(r"class='difference (good|bad)'>(.) (.)(\d+\.\d)", text)
    # Table 1 has five averages and four minima, Figure 6 two curves and the endpoints.
    assert len(cells) == 5 + 4 + 3 + 2
    for kind, mark, sign, _ in cells:
        assert (kind, mark) == (("good", "▲") if sign == "+" else ("bad", "▼"))


def poisoned(folder, made):
    """A copy of a run in which every name that people read is a script."""
    shutil.copytree(made, folder, dirs_exist_ok=True)
    text = (folder / "plan.json").read_text()
    plan = json.loads(text)
    for exhibit in plan["exhibits"].values():
        exhibit["title"] = SCRIPT
        for case in exhibit["cases"].values():
            case["model"], case["dataset"] = SCRIPT, f'"{SCRIPT}'
            case["methods"] = dict.fromkeys(case["methods"], SCRIPT)
    for entry in plan["stages"].values():
        entry["label"] = SCRIPT
    plan["schedule"]["name"] = SCRIPT
    (folder / "plan.json").write_text(json.dumps(plan))
    for file in (folder / "results").glob("*.json"):
        result = json.loads(file.read_text())
        result["record"]["device"] = SCRIPT
        if file.name.startswith("data-"):
            result["class_names"] = [SCRIPT, "</script><b>bold</b>"]
            result["data"]["name"] = SCRIPT
        for name in ("layers", "names"):
            if name in result:
                result[name] = [SCRIPT] * len(result[name])
        if "paths" in result:
            result["paths"] = {
                f"{SCRIPT}{place}": p for place, p in enumerate(result["paths"].values())
            }
            result["distances"] = dict.fromkeys(result["paths"], 0.0)
        file.write_text(json.dumps(result))
    return folder


def test_names_are_text_and_never_markup(made, tmp_path, page):
    text = html_of(read_run(poisoned(tmp_path / "poisoned", made)))
    assert text.count("<script") == page.count("<script")
    # In the charts' data not even a `<` of ours stands as one: it could end the script.
    data = text.partition('id="figures">')[2].partition("</script>")[0]
    assert "<" not in data
    assert "\\u003cbr>" in data
    assert "<b>bold" not in text
    assert SCRIPT in " ".join(read(text).texts)
    for chart in charts_of(text):
        names = json.dumps(chart)
        assert "<script" not in names
        assert "window.broken" not in names or "&lt;script&gt;" in names


def test_an_unfinished_run_says_so(made, tmp_path):
    (tmp_path / "plan.json").write_text((made / "plan.json").read_text())
    text = html_of(read_run(tmp_path))
    assert "The run is not complete: 0 of" in text
    assert charts_of(text) == []
    read(text)


def test_writing_replaces_an_older_page(made, tmp_path):
    file = tmp_path / "report.html"
    file.write_text("older")
    write_html(read_run(made), file)
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert len(list(tmp_path.iterdir())) == 1


def test_every_exhibit_has_a_title_fit_for_a_heading():
    from basinbridge.report.html import _shown

    for name in EXHIBITS:
        assert re.fullmatch(r"(Table|Figure) \d|Appendix F", _shown(name))


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium; where there is none the tests that need it say so and are not run."""
    if not CHROMIUM:
        pytest.skip("NO CHROMIUM ON THIS MACHINE: the report was not tested in a browser")
    playwright = pytest.importorskip("playwright.sync_api", reason="PLAYWRIGHT IS NOT INSTALLED")
    with playwright.sync_playwright() as found:
        options = ["--no-sandbox", "--enable-unsafe-swiftshader"]
        running = found.chromium.launch(executable_path=CHROMIUM, args=options)
        yield running
        running.close()


class Tab:
    """A run's page in a browser that has no network, and the errors that it met."""

    def __init__(self, browser, folder, file, width):
        write_html(read_run(folder), file)
        self.width, self.errors = width, []
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
        self.page = context.new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(file.as_uri())
        self.charts = self.page.locator(".chart")

    def _hear(self, message):
        if message.type == "error":
            self.errors.append(message.text)

    def chart(self, place):
        """A chart, once it is drawn."""
        chart = self.charts.nth(place)
        chart.scroll_into_view_if_needed()
        chart.locator(".main-svg").first.wait_for()
        return chart


@pytest.fixture(scope="module")
def wide(browser, digits_run, tmp_path_factory):
    return Tab(browser, digits_run, tmp_path_factory.mktemp("wide") / "report.html", 1280)


@pytest.fixture(scope="module")
def narrow(browser, digits_run, tmp_path_factory):
    return Tab(browser, digits_run, tmp_path_factory.mktemp("narrow") / "report.html", 390)


@pytest.mark.browser
@pytest.mark.parametrize("shape", ["wide", "narrow"])
def test_in_a_browser_every_chart_is_drawn_without_an_error(shape, request):
    tab = request.getfixturevalue(shape)
    count = tab.charts.count()
    assert count >= 8
    for place in range(count):
        box = tab.chart(place).locator(".main-svg").first.bounding_box()
        assert 250 < box["width"] <= tab.width
        assert box["height"] > 250
    assert tab.errors == []
    # Nothing sticks out to the side.
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= tab.width


@pytest.mark.browser
def test_in_a_browser_a_click_on_a_name_hides_the_curve_on_both_sides(wide):
    chart = wide.chart(0)
    states = "plot => plot.data.filter(one => one.name === 'Aligned').map(one => one.visible)"
    assert "legendonly" not in chart.evaluate(states)
    for expected in ({"legendonly"}, {True}):
        chart.locator(".legendtoggle").last.click()
        # Plotly waits for a second click before it believes in a single one.
        wide.page.wait_for_function(
            "want => [...new Set(document.querySelector('.chart').data.filter("
            "one => one.name === 'Aligned').map(one => one.visible))].join() === want",
            arg=",".join("true" if one is True else one for one in expected),
            timeout=10_000,
        )
    assert len(chart.evaluate(states)) == 6  # accuracy and loss, a mean and a band each
    assert wide.errors == []


@pytest.mark.browser
def test_in_a_browser_hovering_tells_t(wide):
    chart = wide.chart(0)
    x, y = chart.evaluate(
        "plot => { const trace = plot.data.at(-4), l = plot._fullLayout;"
        "return [l.xaxis._offset + l.xaxis.d2p(trace.x[1]),"
        "l.yaxis._offset + l.yaxis.d2p(trace.y[1])]; }"
    )
    chart.hover(position={"x": x, "y": y})
    shown = chart.locator(".hoverlayer .hovertext").first
    shown.wait_for()
    assert "t = 0.500" in shown.text_content()


@pytest.mark.browser
def test_in_a_browser_a_button_changes_loss_to_accuracy(wide):
    chart = wide.chart(wide.page.evaluate("figures.findIndex(one => one.data[0].z)"))
    assert chart.evaluate("plot => plot.data[1].visible") is False
    chart.locator(".updatemenu-button").nth(1).click()
    assert chart.evaluate("plot => plot.data.slice(0, 2).map(one => one.visible)") == [False, True]


@pytest.mark.browser
def test_in_a_browser_it_prints_on_paper_with_its_charts(wide):
    assert wide.page.pdf(format="A4", print_background=True).startswith(b"%PDF")
    wide.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    flat = wide.page.evaluate("figures.filter(one => !one.webgl).length")
    assert wide.page.locator(".chart:has(.main-svg)").count() >= flat
    assert wide.page.locator("details[open]").count() == 1
    assert wide.errors == []


@pytest.mark.browser
def test_in_a_browser_names_run_nothing(browser, made, tmp_path):
    tab = Tab(browser, poisoned(tmp_path / "poisoned", made), tmp_path / "report.html", 1280)
    for place in range(tab.charts.count()):
        tab.chart(place)
    assert tab.page.evaluate("window.broken") is None
    assert tab.errors == []


def test_style_and_script_are_part_of_the_package():
    from importlib import resources

    folder = resources.files("basinbridge.report") / "page"
    assert {Path(str(one)).name for one in folder.iterdir()} >= {"report.css", "report.js"}
