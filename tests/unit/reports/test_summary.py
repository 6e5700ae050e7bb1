"""The table of a result and what stands around it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from crystallize import Hypothesis, verifier
from crystallize.design.verdicts import shown_number
from crystallize.hooks import PluginFailure
from crystallize.results.text_table import aligned, decimals_for, fixed
from crystallize_plugins.reports import comparison_table


@verifier
def given_p(baseline, treatment, *, metric="m"):
    """Give the p-value that the treatment's mean stands for."""
    return {"p_value": round(1 / sum(treatment[metric]), 4)}


VALUES = {
    "baseline": {"m": [1.0, 2.0, 4.0, 3.0]},
    "better": {"m": [2.0, 3.0, 6.0, 4.5]},
    "other": {"m": [1.0, 2.0, 4.0, None]},
}


def test_the_whole_summary_reads_like_this(result_of):
    result = result_of(VALUES, hypotheses=[Hypothesis(given_p(), "m", name="differs")])
    assert result.summary() == (
        "wines: baseline and 2 treatments, 4 replicates, seed 7\n"
        "\n"
        "condition  metric  n  mean    sd  difference  differs                failed\n"
        "baseline   m       4  2.50  1.29\n"
        "better     m       4  3.88  1.75       +1.38  not shown, p = 0.1290\n"
        "other      m       3  2.33  1.53       +0.00  not shown, p = 0.1429  1 of 4\n"
        "\n"
        "differs:\n"
        "  2 comparisons; p-values adjusted for their number (Holm).\n"
        "  Confounded: of 4 replicates 1 are lost in the treatment alone and 0 in the baseline alone, so chance did "
        "not choose which are compared.\n"
        "\n"
        "1 error:\n"
        "  other_rep_3: FitStep failed in condition 'other', replicate 3: ValueError: boom"
    )


def test_two_runs_with_the_same_numbers_read_the_same(result_of):
    first = result_of(VALUES, folder="/data/wines/v0", started=1.0, duration=2.0)
    second = result_of(VALUES, folder="/data/wines/v1", started=9.0, duration=3.0)
    assert first.summary() == second.summary()


def test_the_table_is_part_of_the_summary(result_of):
    result = result_of(VALUES)
    assert comparison_table(result) in result.summary()


def test_a_condition_that_failed_altogether_is_in_the_table(result_of):
    table = comparison_table(result_of({"baseline": {"m": [1.0]}, "t": {"m": [None]}}))
    assert re.search(r"^t +m +0 +1 of 1$", table, flags=re.MULTILINE)


def test_a_run_in_which_everything_failed_still_has_a_table(result_of):
    text = result_of({"baseline": {"m": [None, None]}, "t": {"m": [None, None]}}).summary()
    assert re.search(r"^baseline +2 of 2$", text, flags=re.MULTILINE)
    assert "4 errors" in text


def test_many_errors_are_counted_and_the_first_ones_shown(result_of):
    text = result_of({"baseline": {"m": [None] * 30}}).summary()
    assert "30 errors:" in text
    assert "… and 25 more" in text
    assert text.count("boom") == 5


def test_a_run_that_was_interrupted_says_how_far_it_came(result_of):
    text = result_of({"baseline": {"m": [1.0, 2.0]}}, replicates=20).summary()
    assert "2 of 20 replicates" in text
    assert "18 not run" in text


def test_hypotheses_on_other_metrics_say_nothing_of_this_one(result_of):
    result = result_of(
        {"baseline": {"m": [1.0], "n": [1.0]}, "t": {"m": [9.0], "n": [9.0]}},
        hypotheses=[Hypothesis(given_p(metric="n"), ["n"], name="h")],
    )
    by_metric = {line.split()[1]: line for line in comparison_table(result).splitlines() if line.startswith("t ")}
    assert "p = 0.1111" in by_metric["n"]
    assert "p =" not in by_metric["m"]


def test_a_hypothesis_on_all_metrics_is_shown_with_each(result_of):
    result = result_of(
        {"baseline": {"m": [1.0], "n": [1.0]}, "t": {"m": [9.0], "n": [9.0]}},
        hypotheses=[Hypothesis(given_p, name="h")],
    )
    assert comparison_table(result).count("p = 0.1111") == 2


def test_each_hypothesis_has_a_column_and_some_can_be_chosen(result_of):
    result = result_of(VALUES, hypotheses=[Hypothesis(given_p, "m", name=name) for name in ("first", "second")])
    assert "first" in comparison_table(result)
    assert "second" in comparison_table(result)
    assert "second" not in result.summary(hypotheses=["first"])
    assert result.summary(hypotheses="first") == result.summary(hypotheses=["first"])
    with pytest.raises(KeyError, match=r"'third'.*'first', 'second'"):
        comparison_table(result, hypotheses=["third"])


def test_a_hypothesis_that_could_not_be_tested_is_seen_in_the_table_and_explained_below(result_of):
    result = result_of(VALUES, hypotheses=[Hypothesis(lambda b, t: 1 / 0, "m", name="broken")])
    assert comparison_table(result).count("not tested") == 2
    assert "hypothesis:broken" in result.summary()
    assert "division by zero" in result.summary()


def test_a_verifier_that_decides_itself_needs_no_explanation_of_p(result_of):
    result = result_of(VALUES, hypotheses=[Hypothesis(lambda b, t: {"holds": True}, "m", name="h")])
    assert re.search(r"^better .*holds", comparison_table(result), flags=re.MULTILINE)
    assert "Holm" not in result.summary()
    assert "ranks best" not in result.summary()


def test_metrics_that_are_not_numbers_are_named_below(result_of):
    text = result_of({"baseline": {"m": [1.0], "curve": [[1, 2]]}}).summary()
    assert "not numbers, and not in the table: curve" in text


def test_a_metric_can_be_chosen(result_of):
    text = result_of({"baseline": {"m": [1.0], "n": [2.0], "curve": [[1]]}}).summary("n")
    assert "curve" not in text
    assert " m " not in text


def test_errors_of_plugins_make_the_record_incomplete(result_of):
    failure = PluginFailure("audit", None, None, "after_run", None, "OSError: disk full")
    text = result_of(VALUES, plugin_errors=[failure]).summary()
    assert "the record is incomplete" in text
    assert "audit, after_run: OSError: disk full" in text


def test_a_run_of_one_replicate_has_no_spread(result_of):
    heading = comparison_table(result_of({"baseline": {"m": [0.123456789]}})).splitlines()
    assert heading[0].split() == ["condition", "metric", "n", "mean"]
    assert heading[1].split() == ["baseline", "m", "1", "0.123457"]


def test_a_result_without_a_name_and_a_seed_has_a_headline_too(result_of):
    text = result_of({"baseline": {"m": [1.0]}}, experiment=None, seed=None).summary()
    assert text.startswith("baseline, 1 replicate\n")


def test_where_a_claim_is_not_shown_the_summary_says_what_may_still_be(result_of):
    hypotheses = [
        Hypothesis("paired_t", "m", name="differs"),
        Hypothesis(("paired_t", {"alternative": "greater"}), "m", name="more"),
        Hypothesis(("paired_t", {"alternative": "less"}), "m", name="less"),
    ]
    result = result_of({"baseline": {"m": [1.0, 2.0, 4.0]}, "t": {"m": [2.0, 1.5, 5.5]}}, hypotheses=hypotheses)
    limits = [shown_number(bound) for each in result.metrics.hypotheses for bound in each.verdicts[0].ci]
    for told in (
        f"The interval still allows a mean difference from {limits[0]} to {limits[1]}. To halve it takes about 12",
        f"The interval still allows any mean difference above {limits[2]}. To halve",
        f"The interval still allows any mean difference below {limits[5]}. To halve",
    ):
        assert told in result.summary()
        assert told in result._repr_html_()
    # The verdict on several metrics counts the values of all.
    tasks = (
        {"m": [1.0, 2.0, 4.0, 3.0], "k": [3.0, 1.0, 2.0, 1.0]},
        {"m": [2.0, 1.5, 4.5, 2.0], "k": [1.0, 3.0, 2.0, 2.0]},
    )
    together = result_of(dict(zip(("baseline", "t"), tasks, strict=True)), hypotheses=[Hypothesis("iqm")])
    assert "takes about 32 values in place of 8" in together.summary()
    held = result_of({"baseline": {"m": [1.0, 2.0, 4.0]}, "t": {"m": [9.0, 10.1, 12.0]}}, hypotheses=hypotheses[:2])
    assert "still allows" not in held.summary()


def test_where_there_is_no_telling_the_summary_says_why(result_of):
    ranks = Hypothesis("wilcoxon", "m", name="ranks differ")
    same = result_of({"baseline": {"m": [1.0, 2.0, 4.0]}, "t": {"m": [1.0, 2.0, 4.0]}}, hypotheses=[ranks])
    assert "m: no telling: mean difference of t 0; n = 3." in same.summary()
    assert "no-spread: nothing varies" in same.summary()
    one = result_of({"baseline": {"m": [1.0]}, "t": {"m": [2.0]}}, hypotheses=[ranks])
    assert "too-few: 1 pair" in one.summary()


def test_a_notebook_shows_the_same_escaped_and_no_more_than_a_page(result_of):
    name = '<script>alert("x")</script>'
    result = result_of({"baseline": {"m": [1.0, None]}, name: {"m": [1.0, 2.0]}})
    tags, cells, texts = [], [], []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append(tag)
    parser.handle_data = lambda text: (texts.append(text), cells.append(text) if tags[-1] in ("td", "th") else None)
    parser.feed(result._repr_html_())
    assert {*tags} == {"div", "p", "strong", "br", "table", "thead", "tbody", "tr", "th", "td"}
    assert name in cells
    assert "boom" in " ".join(texts)
    many = result_of({f"t{number}": {"m": [1.0, None]} for number in range(3000)})
    assert len(many._repr_html_()) < 20_000
    assert "2960 more rows" in many._repr_html_()


# ------------------------------------------------------------------ columns


def test_columns_line_up_whatever_the_script():
    lines = aligned([["name", "n"], ["日本", "1"], ["é", "22"]], right=[1])
    assert lines == ["name   n", "日本   1", "é     22"]


def test_columns_without_content_are_left_out():
    assert aligned([["a", "b", "c"], ["1", "", "3"]]) == ["a  c", "1  3"]


@pytest.mark.parametrize(
    "spreads, decimals",
    [([0.0123], 4), ([12.3], 1), ([1230.0], 0), ([1e-12], 7), ([], None), ([0.0, float("nan")], None), ([5, 0.5], 3)],
)
def test_the_smallest_spread_is_shown_with_three_digits(spreads, decimals):
    assert decimals_for(spreads) == decimals


@pytest.mark.parametrize(
    "number, decimals, text",
    [
        (1.25, 3, "1.250"),
        (float("nan"), 2, ""),
        (1e12, 3, "1e+12"),
        (0.1234567, None, "0.123457"),
        (float("inf"), 2, "inf"),
    ],
)
def test_numbers_are_shown_with_so_many_decimals(number, decimals, text):
    assert fixed(number, decimals) == text
