"""What was claimed, and what came out: a sentence for each hypothesis and treatment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from crystallize.hooks import NO_METRIC
from crystallize.hooks.tools import counted, still_allowed
from crystallize_plugins.reports.page.elements import Markup, element, number, section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize import Result
    from crystallize.hooks import HypothesisResult, Verdict

__all__ = ["GLYPHS", "WORDS", "state_of", "verdicts_section"]

WORDS = {True: "holds", False: "not shown", None: "no telling"}
GLYPHS = {True: "▲", False: "○", None: "\N{EN DASH}"}
_KINDS = {True: "holds", False: "not-shown", None: "no-telling"}

_MOST_WITH_DETAILS = 100
_MOST = 1000
"""Verdicts with all that is to be said of them, and as a mere sentence; a browser has to draw what is there."""

_CORRECTIONS = {
    "holm": "Holm",
    "bh": "Benjamini-Hochberg",
    "by": "Benjamini-Yekutieli",
    "bonferroni": "Bonferroni",
}


def state_of(verdict: Verdict) -> str:
    """Return the class that gives a verdict its colour: ``"holds"``, ``"not-shown"`` or ``"no-telling"``."""
    return _KINDS[verdict.holds]


def verdicts_section(result: Result) -> Markup:
    """Return the section of the verdicts, or what is to be said where no hypothesis was tested."""
    tested = result.metrics.hypotheses
    room = _MOST_WITH_DETAILS if sum(len(each.verdicts) for each in tested) > _MOST_WITH_DETAILS else _MOST
    detailed = room == _MOST
    parts = []
    left = _MOST
    for each in tested:
        parts.append(_hypothesis(each, each.verdicts[:left], detailed=detailed))
        left -= min(left, len(each.verdicts))
    if not tested:
        parts.append(element("p", _nothing_tested(result), class_="note"))
    return section("Verdicts", *parts)


def _nothing_tested(result: Result) -> str:
    if not result.metric_names and result.succeeded:
        return f"Nothing was measured: {NO_METRIC}."
    if result.provenance.get("run", {}).get("kind") == "trial":
        return "An optimisation: its trials were compared by their objective, and no hypothesis was tested."
    return "No hypothesis was tested: what follows are observations and estimates, not verdicts."


def _hypothesis(tested: HypothesisResult, shown: Sequence[Verdict], *, detailed: bool) -> Markup:
    rows = [_verdict(verdict, detailed=detailed) for verdict in shown]
    rows += [
        _row("no-telling", GLYPHS[None], "not tested", element("p", f"{name}: {error}", class_="sentence"))
        for name, error in tested.errors.items()
    ]
    left = len(tested.verdicts) - len(shown)
    return element(
        "article",
        element("h3", tested.name),
        _banner(tested),
        element("p", _family(tested), class_="note"),
        element("ol", *rows, class_="verdicts"),
        element("p", f"… and {counted(left, 'verdict')} more, which are stored with the run.") if left else None,
        class_="hypothesis",
    )


def _banner(tested: HypothesisResult) -> Markup | None:
    if tested.state in ("", "valid"):
        return None
    kind = "mild" if tested.state == "exploratory" else "grave"
    return element(
        "p", element("strong", f"{tested.state.capitalize()}."), f" {_sentence(tested.reason)}",
        class_=f"banner {kind}", role="note",
    )  # fmt: skip


def _sentence(text: str) -> str:
    text = text.rstrip(".")
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _family(tested: HypothesisResult) -> str:
    """Say how many comparisons there were, and what was done about their number."""
    told = counted(tested.comparisons, "comparison")
    if tested.correction == "family":
        told += ", their number accounted for by the test itself"
    elif tested.correction == "none":
        told += ", p-values not adjusted for their number"
    elif tested.correction in _CORRECTIONS and tested.comparisons > 1:
        told += f", p-values adjusted for their number ({_CORRECTIONS[tested.correction]})"
    best = tested.ranking.get("best")
    if any(verdict.treatment == best and verdict.holds is False for verdict in tested.verdicts):
        best = None  # what was not shown is not to be read first
    return f"{told}. {best} ranks best." if best else f"{told}."


def _verdict(verdict: Verdict, *, detailed: bool) -> Markup:
    word, glyph, kind = WORDS[verdict.holds], GLYPHS[verdict.holds], state_of(verdict)
    sentence = element("p", str(verdict), class_="sentence")
    if not detailed:
        return _row(kind, glyph, word, sentence)
    about = [verdict.treatment, *([", ".join(verdict.metrics)] if verdict.metrics else [])]
    told = [
        f"{verdict.state}: {verdict.reason}" if verdict.state and verdict.reason else verdict.state,
        verdict.method,
        "" if math.isnan(verdict.effect_size) else f"{verdict.effect_name} = {number(verdict.effect_size)}",
        "" if math.isnan(verdict.e_value) else f"e-value {number(verdict.e_value)}",
        "equivalent within its margin" if verdict.details.get("equivalent") is True else "",
    ]
    warnings = [element("li", warning) for warning in verdict.warnings]
    allows = still_allowed(verdict)
    return _row(
        kind,
        glyph,
        word,
        element("p", " · ".join(filter(None, about)), class_="subject"),
        sentence,
        element("p", allows, class_="allows") if allows else None,
        element("p", " · ".join(filter(None, told)), class_="meta") if any(told) else None,
        element("ul", *warnings, class_="warnings") if warnings else None,
    )


def _row(kind: str, glyph: str, word: str, *said: object) -> Markup:
    badge = element("p", element("span", glyph, class_="glyph", aria_hidden="true"), f" {word}", class_="badge")
    return element("li", badge, element("div", *said), class_=f"verdict {kind}")
