"""The report as a browser shows it, on the screens, papers and eyes that people have."""

from __future__ import annotations

import base64
import json
import math
import random
import re
from itertools import pairwise

import pytest
from tests.report.conftest import ODD

from crystallize.hooks import Cell, CellOutcome, ConditionRecord, build_result

SIZES = [(1280, 800), (390, 844)]
RECORD = "document.getElementById('crystallize-result').textContent"


@pytest.fixture(scope="module")
def record(report):
    text = report.read_text(encoding="utf-8")
    (found,) = re.findall(r'id="crystallize-result">(.*?)</script>', text, re.DOTALL)
    return json.loads(found, parse_constant=pytest.fail)


@pytest.fixture(scope="module")
def expected(result):
    """What has to be readable: every verdict, every condition, both failures."""
    verdicts = [str(verdict) for tested in result.metrics.hypotheses for verdict in tested.verdicts]
    return [*verdicts, *result.metrics.treatments, *map(str, result.errors.values())]


def read(page):
    return " ".join(page.run("document.body.innerText").split())


def test_it_loads_nothing_and_says_nothing(page, report):
    page.show(report)
    requests = [told["params"]["request"]["url"] for told in page.events("Network.requestWillBeSent")]
    assert requests == [report.as_uri()]
    names = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
    assert page.events(*names) == []


def test_without_javascript_everything_is_there(page, report, expected):
    page.show(report, scripts=False)
    shown = read(page)
    assert [text for text in expected if " ".join(text.split()) not in shown] == []


def test_in_a_sandbox_everything_is_there(page, report, expected, tmp_path):
    page.show(report)
    whole = read(page)
    frame = tmp_path / "frame.html"
    frame.write_text(f'<iframe sandbox src="{report.as_uri()}" width="1200" height="700"></iframe>')
    page.show(frame)
    # Such a frame is a process of its own.
    inside = page.frame()
    assert inside.events("Runtime.exceptionThrown") == []
    told = inside.run("document.body.innerText")
    shown = " ".join(told.split())
    # Buttons that copy and sort are the script's.
    assert shown == whole.replace(" Copy ", " ")
    assert [text for text in expected if " ".join(text.split()) not in shown] == []


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_first_verdict_is_on_the_first_screen(page, report, result, size):
    page.show(report, width=size[0], height=size[1])
    box = page.run("JSON.stringify(document.querySelector('.verdict .sentence').getBoundingClientRect())")
    box = json.loads(box)
    assert page.run("document.querySelector('.verdict .sentence').textContent") == str(
        result.metrics.hypotheses[0].verdicts[0]
    )
    assert box["top"] >= 0
    assert box["left"] >= 0
    assert box["bottom"] <= size[1]
    assert box["right"] <= size[0]


def test_on_a_phone_nothing_is_wider_than_the_screen_or_too_small_to_read(page, report):
    page.show(report, width=390, height=844)
    assert page.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    wide = page.run("""[...document.querySelectorAll('table')].filter(table =>
        table.scrollWidth > table.parentNode.clientWidth
        && getComputedStyle(table.parentNode).overflowX !== 'auto').length""")
    assert wide == 0
    small = page.run("""(() => {
        document.querySelectorAll('details').forEach(each => each.open = true);
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), small = [];
        while (walker.nextNode()) {
            const element = walker.currentNode.parentElement;
            if (!walker.currentNode.data.trim() || element.closest('script, title, desc')) continue;
            const scale = element.getScreenCTM ? element.getScreenCTM().d : 1;
            if (parseFloat(getComputedStyle(element).fontSize) * scale < 12) small.push(walker.currentNode.data);
        }
        return small;
    })()""")
    assert small == []


CONTRASTS = """(() => {
    const light = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(each => each / 255).map(
            each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const paper = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (!colour.endsWith(', 0)')) return colour;
        }
    };
    const contrast = (one, other) => {
        const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    document.querySelectorAll('details').forEach(each => each.open = true);
    const found = {};
    const note = (kind, value, what) => {
        if (!(kind in found) || value < found[kind][0]) found[kind] = [value, what];
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || element.closest('script, title, desc')) continue;
        const style = getComputedStyle(element);
        const ink = element instanceof SVGElement ? style.fill : style.color;
        note('text', contrast(ink, paper(element)), walker.currentNode.data);
    }
    for (const mark of document.querySelectorAll('svg[role=img] :is(line, circle, path, use)')) {
        const style = getComputedStyle(mark);
        if (style.opacity !== '1') note('marks', 0, 'opacity');
        const inks = [style.stroke, mark.tagName === 'line' ? 'none' : style.fill].filter(ink => ink !== 'none');
        note('marks', Math.max(...inks.map(ink => contrast(ink, paper(mark)))), mark.getAttribute('class'));
    }
    return found;
})()"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_and_marks_stand_out_from_the_paper(page, report, dark):
    page.show(report, dark=dark)
    found = page.run(CONTRASTS)
    assert found["text"][0] >= 4.5, found
    assert found["marks"][0] >= 3, found


def test_it_is_accessible(page, report, axe):
    page.show(report, width=390, height=844)
    page.run(axe + "; undefined")
    page.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    rules = "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}"
    broken = page.run(
        f"axe.run(document, {rules}).then(found => found.violations.map(each => [each.id, each.nodes[0].html]))"
    )
    assert broken == []
    levels = page.run("[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(each => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_each_drawing_says_in_words_what_it_draws(page, report, result):
    page.show(report)
    drawings = page.run("""[...document.querySelectorAll('svg[role=img]')].map(svg => [
        svg.querySelector(':scope > title').textContent, svg.querySelector(':scope > desc').textContent])""")
    assert all(title and words for title, words in drawings)
    everything = " ".join(words for _, words in drawings)
    for tested in result.metrics.hypotheses:
        for verdict in tested.verdicts:
            for value in (verdict.estimate, *filter(math.isfinite, verdict.ci)):
                assert f"{value:.4g}".replace("-", "\N{MINUS SIGN}") in everything
    for value in result.metrics.baseline.metrics["seconds"]:
        assert f"{value:.4g}" in everything


def test_without_colour_verdicts_differ_in_word_and_shape(page, report, result):
    page.call("Emulation.setEmulatedVisionDeficiency", type="achromatopsia")
    page.show(report)
    badges = page.run("[...document.querySelectorAll('.badge')].map(each => each.innerText)")
    marks = page.run("[...document.querySelectorAll('.estimate .mark')].map(each => each.getAttribute('href'))")
    page.call("Emulation.setEmulatedVisionDeficiency", type="none")
    verdicts = [verdict for tested in result.metrics.hypotheses for verdict in tested.verdicts]
    words = {True: "▲ holds", False: "○ not shown", None: "\N{EN DASH} no telling"}
    assert badges == [words[verdict.holds] for verdict in verdicts]
    assert {True, False} <= {verdict.holds for verdict in verdicts}
    assert {"#mark-holds", "#mark-not-shown"} <= set(marks)


POSITIONS = """[...document.querySelectorAll('svg[role=img]:has(g.estimate)')].map(svg => {
    const centre = (each) => { const box = each.getBoundingClientRect(); return (box.top + box.bottom) / 2; };
    return {
        title: svg.querySelector('title').textContent,
        ticks: [...svg.querySelectorAll('.y-axis .tick')].map(tick => [
            tick.textContent.replace('\\u2212', '-'), centre(tick.previousElementSibling)]),
        estimates: [...svg.querySelectorAll('g.estimate')].map(group => {
            const line = group.querySelector('.interval').getBoundingClientRect();
            return {
                condition: group.dataset.condition, at: centre(group.querySelector('.mark')),
                low: line.bottom, high: line.top,
                arrows: group.querySelectorAll('.arrow').length,
            };
        }),
    };
})"""


def test_estimates_and_intervals_lie_where_their_numbers_are(page, report, record):
    page.show(report)
    panels = {panel["title"]: panel for panel in page.run(POSITIONS)}
    checked = 0
    for tested in record["hypotheses"]:
        for verdict in tested["verdicts"]:
            (metric,) = verdict["metrics"]
            panel = next(panel for title, panel in panels.items() if title.startswith(f"{metric}, {tested['name']}:"))
            ticks = [(float(text), y) for text, y in panel["ticks"]]
            (low, at_low), (high, at_high) = ticks[0], ticks[-1]
            drawn = next(each for each in panel["estimates"] if each["condition"] == verdict["treatment"])
            # JSON has no infinity: the open end of a one-sided interval is null, and an arrow.
            ends = dict(zip(("low", "high"), verdict["ci"], strict=True))
            assert drawn["arrows"] == sum(end is None for end in ends.values())
            for name, value in {"at": verdict["estimate"], **ends}.items():
                if value is not None:
                    assert drawn[name] == pytest.approx(
                        at_low + (value - low) / (high - low) * (at_high - at_low), abs=0.5
                    ), (metric, tested["name"], name)
                    checked += 1
    assert checked >= 20


def test_every_finite_value_is_a_point_and_every_lost_replicate_a_cross(page, report, result):
    page.show(report)
    drawn = page.run("""[...document.querySelectorAll('svg[role=img]')].filter(svg => svg.querySelector('circle')).map(
        svg => [svg.querySelector('title').textContent, Object.fromEntries(
            [...svg.querySelectorAll('[data-condition]')].map(group => [group.dataset.condition, [
                [...group.querySelectorAll('circle')].map(each => Number(each.dataset.replicate)),
                [...group.querySelectorAll('.lost')].map(each => Number(each.dataset.replicate)),
            ]]))])""")
    conditions = {"baseline": result.metrics.baseline, **result.metrics.treatments}
    lost = {("trimmed", "accuracy"): [4], ("trimmed", "seconds"): [4], ("robust", "accuracy"): [9],
            ("robust", "seconds"): [9], (ODD, "accuracy"): [7]}  # fmt: skip
    assert [title.partition(":")[0] for title, _ in drawn] == ["accuracy", "seconds"]
    for title, groups in drawn:
        metric = title.partition(":")[0]
        assert list(groups) == list(conditions)
        for name, (points, crosses) in groups.items():
            values = conditions[name].metrics[metric]
            finite = [r for r, value in zip(values.replicates, values, strict=True) if math.isfinite(value)]
            assert points == finite
            assert crosses == lost.get((name, metric), [])


def test_the_embedded_result_is_that_of_to_json(page, report, result):
    page.show(report)
    text = page.run(RECORD)
    assert json.loads(text, parse_constant=pytest.fail) == json.loads(result.to_json())
    assert page.run("document.querySelectorAll('b, i').length") == 0
    assert ODD in read(page)


def test_on_paper_nothing_is_cut_and_what_was_folded_is_open(page, report):
    page.show(report, media="print", width=680, height=1000)
    # Where a figure is taller than a page it is cut, but between its panels. A4 less its margins, in pixels of CSS.
    parts = ".verdict, .group, .strip-row, figure:not(:has(.group, .strip-row))"
    cut = page.run(f"""[...document.querySelectorAll('{parts}')].filter(each =>
        each.getBoundingClientRect().height > 1000 || getComputedStyle(each).breakInside !== 'avoid').length""")
    assert cut == 0
    assert page.run(f"[...document.querySelectorAll('svg[role=img]')].every(each => each.closest('{parts}'))")
    hidden = page.run("""[...document.querySelectorAll('.failures details > pre')].filter(each =>
        !each.checkVisibility({contentVisibilityAuto: true}) || each.getBoundingClientRect().height < 20).length""")
    assert hidden == 0
    assert page.run("document.querySelectorAll('.failures details > pre').length") == 2
    links = (
        "[...document.querySelectorAll('a[href]')].every(each => getComputedStyle(each, '::after').content !== 'none')"
    )
    assert page.run(links)
    page.call("Emulation.setEmulatedMedia", media="")
    printed = page.call("Page.printToPDF", preferCSSPageSize=True, transferMode="ReturnAsBase64")["data"]
    pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", base64.b64decode(printed)))
    assert 1 <= pages <= 12


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A report of 10,000 values: ten conditions, ten metrics, a hundred replicates."""
    noise = random.Random(1)
    names = ["baseline", *(f"treatment {number}" for number in range(1, 10))]
    metrics = [f"metric {number}" for number in range(10)]
    outcomes = [
        CellOutcome(Cell(name, replicate), {metric: [noise.gauss(0, 1)] for metric in metrics}, seed=replicate)
        for replicate in range(100)
        for name in names
    ]
    result = build_result(
        conditions=[ConditionRecord(name) for name in names], outcomes=outcomes, replicates=100, facts={}
    )
    return result.report(tmp_path_factory.mktemp("large") / "large.html")


def test_ten_thousand_values_stay_a_small_page_that_is_drawn_and_scrolled_at_once(page, large):
    assert large.stat().st_size <= 2_000_000
    fresh = page.another()
    fresh.show(large)
    # Of the processor, not of the clock: the machine may be busy with other work.
    assert fresh.seconds() <= 0.5
    nodes = """(() => { let count = 0; const walker = document.createTreeWalker(document, NodeFilter.SHOW_ALL);
        while (walker.nextNode()) count += 1; return count; })()"""
    assert fresh.run(nodes) <= 20_000
    height = fresh.run("document.documentElement.scrollHeight")
    before = fresh.seconds()
    for place in range(0, height, 800):
        fresh.run(f"scrollTo(0, {place}); new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        after = fresh.seconds()
        assert after - before <= 0.1, place
        before = after


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_screenshots_are_kept_for_a_persons_eye(page, report, repository, size, dark):
    page.show(report, width=size[0], height=size[1], dark=dark)
    folder = repository / "build" / "report"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{size[0]}-{'dark' if dark else 'light'}.png"
    file.write_bytes(page.screenshot())
    assert page.run("getComputedStyle(document.documentElement).backgroundColor") == (
        "rgb(20, 23, 27)" if dark else "rgb(253, 253, 251)"
    )
