"""The page of a run, as text; what a browser makes of it is in tests/report."""

from __future__ import annotations

import json
import math
import re

import pytest

from crystallize import Hypothesis, Result
from crystallize.errors import MissingExtraError, PluginNotFoundError
from crystallize_plugins.reports.page import render

RECORD = re.compile(r'<script type="application/json" id="crystallize-result">(.*?)</script>', re.DOTALL)


def record_of(page):
    (text,) = RECORD.findall(page)
    return json.loads(text, parse_constant=pytest.fail)


@pytest.fixture
def wines(result_of):
    hypotheses = [Hypothesis(metrics="loss", name="lower")]
    losses = {"baseline": [5.0, 6.0, 5.5, 7.0], "</script><b>": [4.0, 5.5, None, 5.0]}
    return result_of({name: {"loss": values} for name, values in losses.items()}, hypotheses=hypotheses)


def test_two_reports_of_one_run_differ_in_one_line_at_most(wines):
    pages = [re.sub(r"\d{2}:\d{2} UTC by", "", render(wines)).splitlines() for _ in range(2)]
    assert pages[0] == pages[1]
    assert sum(line.startswith("Written ") for line in pages[0]) == 1


def test_names_of_the_run_are_text_in_the_page_and_in_its_json(wines):
    page = render(wines)
    assert "<b>" not in page
    assert page.count("</script>") == 2
    assert "&lt;/script&gt;&lt;b&gt;" in page
    assert record_of(page) == json.loads(wines.to_json())


def test_a_large_run_is_abridged_and_says_where_the_rest_is(result_of):
    result = result_of({"baseline": {"loss": [float(value % 7) for value in range(7000)]}})
    page = render(result)
    assert len(page) < 2_000_000
    record = record_of(page)
    assert "/data/wines/v0" in record["abridged"]
    assert record["metrics"]["baseline"]["loss"]["n"] == 7000


def test_secrets_in_messages_are_masked_in_the_page_and_its_json(result_of):
    result = result_of({"baseline": {"loss": [1.0]}}, stopped_by="ConnectionError: password=hunter2")
    result.errors["teardown"] = RuntimeError("login with password=hunter2 failed")
    assert "hunter2" not in render(result)
    assert "hunter2" not in result.to_json()


def test_code_that_is_too_long_for_a_small_page_is_left_out(result_of):
    result = result_of({"baseline": {"loss": [1.0]}})
    result.provenance["code"] = {"sources": {"a": "<" * 2_000_000}, "complete": True}
    page = render(result)
    assert len(page.encode()) < 2_000_000
    assert record_of(page)["provenance"]["code"] == {"complete": True}


@pytest.mark.parametrize(
    "values",
    [[1e308, -1e308, 3e307], [1e-310, 2e-310, 3e-310], [1.0, 1.0, 1.0], [1e9, 1e9 + 1e-4, 1e9 + 3e-4],
     [math.inf, math.nan, -math.inf], [True, False, True], ["a", "b", "c"]],
    ids=str,
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the statistics, of numbers that overflow
def test_any_values_can_be_drawn(result_of, values):
    result = result_of({"baseline": {"loss": values}, "fast": {"loss": values[::-1]}})
    page = render(result)
    assert not re.search(r'[xyrd]\d?="[^"]*(nan|inf)', page)
    assert record_of(page) == json.loads(result.to_json())


def test_a_run_of_which_every_cell_failed_has_a_report(result_of):
    page = render(result_of({"baseline": {"loss": [None, None]}}))
    assert "2 of 2 cells failed" in page
    assert "in FitStep: 2 cells" in page


def test_a_verdict_of_ones_own_verifier_is_a_sentence(result_of):
    own = Hypothesis(lambda before, after: {"p_value": 0.03}, "loss", name="own")
    page = render(result_of({"baseline": {"loss": [1.0, 2.0]}, "fast": {"loss": [2.0, 4.0]}}, hypotheses=[own]))
    assert "loss: the claim holds: fast; p = 0.0300; adjusted p = 0.0300." in page


def test_a_test_that_was_looked_at_again_shows_its_looks_and_why_it_stopped(result_of):
    values = {"baseline": {"loss": [5.0, 6.0, 5.5, 7.0]}, "fast": {"loss": [4.0, 5.5, 4.2, 6.1]}}
    result = result_of(values, hypotheses=[Hypothesis("sequential", metrics="loss", name="lower")])
    result.provenance["stopping"] = {"hypothesis": "lower", "looks": [2, 3, 4], "reason": "budget"}
    page = render(result)
    assert "lower: stopped after 4 replicates: budget" in page
    assert re.findall(r'class="interval"[^>]* data-replicates="(\d)"', page) == ["2", "3", "4"]


def test_metrics_that_are_no_numbers_are_named(result_of):
    page = render(result_of({"baseline": {"loss": [1.0, 2.0], "kind": ["a", "b"]}}))
    assert "not all of their values are numbers: kind." in page


def test_a_report_replaces_a_file_and_refuses_a_folder(wines, tmp_path):
    (tmp_path / "a.html").write_text("old")
    assert wines.report(tmp_path / "a.html") == tmp_path / "a.html"
    assert (tmp_path / "a.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    with pytest.raises(ValueError, match="is a folder"):
        wines.report(tmp_path)
    with pytest.raises(TypeError, match="path"):
        wines.report(None)


def test_without_what_makes_the_page_the_error_says_what_to_install(wines, monkeypatch):
    def missing(name, group):
        raise PluginNotFoundError("nothing", plugin=name)

    monkeypatch.setitem(Result.report.__globals__, "load_plugin", missing)
    with pytest.raises(MissingExtraError, match="pip install crystallize-plugins"):
        wines.report("a.html")
