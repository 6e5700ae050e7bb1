"""The table of a result, and everything that a person should know beside it."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING

from crystallize.design.verdicts import shown_number, shown_probability
from crystallize.names import counted, printable
from crystallize.results.comparison import compare, metrics_by_condition, numeric_metrics
from crystallize.results.metrics import BASELINE, NO_METRIC
from crystallize.results.text_table import aligned, decimals_for, filled_columns, fixed, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from crystallize.design.verdicts import Verdict
    from crystallize.results.comparison import ComparisonRow
    from crystallize.results.metrics import HypothesisResult
    from crystallize.results.result import Result

__all__ = ["comparison_table", "still_allowed", "summary_html", "summary_text"]

_LONGEST = 160
_MOST_FAILURES = 5
_MOST_ROWS = 40
_LEFT = ' style="text-align:left"'


def comparison_table(
    result: Result,
    metrics: str | Sequence[str] | None = None,
    *,
    hypotheses: str | Sequence[str] | None = None,
    confidence: float = 0.95,
) -> str:
    """Return the table of a result: every condition beside the baseline.

    Parameters
    ----------
    result : Result
    metrics : str or list of str, optional
        By default every metric whose values are numbers.
    hypotheses : str or list of str, optional
        Names of the hypotheses whose verdicts are shown, one column each; by default all.
    confidence : float, default 0.95
        Of the interval for the difference, which is shown where no hypothesis brings an interval of its own.

    Returns
    -------
    str
        Plain text. Its columns: condition, metric, ``n`` (replicates), mean, standard deviation, difference to the
        baseline with its interval, a verdict for each hypothesis, and failed cells where there are some. A column that
        would be empty is left out.
    """
    return "\n".join(aligned(*_table(result, metrics, hypotheses, confidence)))


def _table(
    result: Result,
    metrics: str | Sequence[str] | None = None,
    hypotheses: str | Sequence[str] | None = None,
    confidence: float = 0.95,
) -> tuple[list[list[str]], Sequence[int]]:
    """Return the cells of the table, the heading first, and which columns are numbers."""
    rows = compare(result, metrics, confidence=confidence)
    tested = _chosen(result, hypotheses)
    told = [_verdict_words(each) for each in tested]
    heading = ["condition", "metric", "n", "mean", "sd", "difference"]
    # Beside a verdict, which has an interval of its own, another one would only confuse.
    if not tested:
        heading.append(f"{100 * confidence:.4g}% interval")
    lines = [[*heading, *(each.name for each in tested), "failed"]]
    spreads: dict[str, list[float]] = {}
    for row in rows:
        spreads.setdefault(row.metric, []).append(row.spread)
    for row in rows:
        decimals = decimals_for(spreads[row.metric])
        verdict = [texts.get((row.condition, row.metric)) or texts.get((row.condition, None), "") for texts in told]
        lines.append([*_numbers(row, decimals)[: len(heading)], *verdict, _failed(result, row.condition)])
    if not rows:
        lines = [["condition", "failed"], *([name, _failed(result, name)] for name in result.provenance["cells"])]
    return lines, range(2, 6) if rows else ()


def summary_text(
    result: Result,
    metrics: str | Sequence[str] | None = None,
    *,
    hypotheses: str | Sequence[str] | None = None,
    confidence: float = 0.95,
) -> str:
    """Return what a person should know of a result: what ran, the table, the verdicts, what failed.

    Parameters
    ----------
    result, metrics, hypotheses, confidence
        As in `comparison_table`.

    Returns
    -------
    str
        Plain text of several lines. The same for two runs with one seed: no times, no folders.
    """
    parts = [
        [_headline(result)],
        aligned(*_table(result, metrics, hypotheses, confidence)),
        *_remarks(result, hypotheses, left_out=metrics is None),
    ]
    return "\n\n".join("\n".join(map(printable, part)) for part in parts)


def summary_html(result: Result) -> str:
    """Return what `summary_text` says as a piece of HTML for notebooks: escaped, without scripts, of limited length."""

    def shown(text: str) -> str:
        return html.escape(printable(text))

    def line(cells: Sequence[str], tag: str) -> str:
        aligned_right = ' style="text-align:right"'
        texts = (f"<{tag}{aligned_right if i in right else _LEFT}>{shown(cells[i])}</{tag}>" for i in columns)
        return f"<tr>{''.join(texts)}</tr>"

    rows, right = _table(result)
    columns = filled_columns(rows)
    body = [line(row, "td") for row in rows[1 : _MOST_ROWS + 1]]
    parts = [
        f"<p><strong>{shown(_headline(result))}</strong></p>",
        f"<table><thead>{line(rows[0], 'th')}</thead><tbody>{''.join(body)}</tbody></table>",
    ]
    if len(rows) - 1 > _MOST_ROWS:
        parts.append(f"<p>… and {len(rows) - 1 - _MOST_ROWS} more rows: print(result.summary()) shows all.</p>")
    for remarks in _remarks(result):
        told = [shown(remark.strip()) for remark in _cut(remarks, _MOST_ROWS)]
        parts.append(f"<p>{'<br>'.join(told)}</p>")
    return f"<div>{''.join(parts)}</div>"


def _remarks(
    result: Result, hypotheses: str | Sequence[str] | None = None, *, left_out: bool = True
) -> list[list[str]]:
    """Return what is said below the table, by paragraph."""
    parts = [
        *map(_said, _chosen(result, hypotheses)),
        _left_out(result) if left_out else [],
        _unread(result),
        _failures(result),
    ]
    return [part for part in parts if part]


def still_allowed(verdict: Verdict) -> str:
    """Say which effects the interval of a claim that is not shown still allows, and what would halve it.

    Parameters
    ----------
    verdict : Verdict

    Returns
    -------
    str
        Two sentences; empty where the claim holds, there is no telling, or there is no interval. The width of an
        interval falls as one over the square root of the number of replicates, so that four times as many halve it;
        where there are few, a little less is enough.

    Examples
    --------
    >>> from crystallize.hooks import Verdict
    >>> still_allowed(Verdict("paired_t", estimand="mean difference", ci=(0.1, 1.5), n=(9, 9), holds=False))
    'The interval still allows a mean difference from 0.1 to 1.5. To halve it takes about 36 replicates in place of 9.'
    """
    low, high = verdict.ci
    if verdict.holds is not False or math.isnan(low) or math.isnan(high):
        return ""
    effect = verdict.estimand or "difference"
    if math.isinf(low) and math.isinf(high):
        return f"The interval still allows any {effect}: more replicates are needed."
    if math.isinf(low) or math.isinf(high):
        limit = f"below {shown_number(high)}" if math.isinf(low) else f"above {shown_number(low)}"
        allowed, halved = f"any {effect} {limit}", "that limit's distance from the estimate"
    else:
        allowed, halved = f"a {effect} from {shown_number(low)} to {shown_number(high)}", "it"
    before, after = verdict.n
    needed = f"{4 * after}" if before == after else f"{4 * before} and {4 * after}"
    had = f"{after}" if before == after else f"{before} and {after}"
    # Of a verdict on several metrics the values of all are counted.
    noun = "values" if len(verdict.metrics) > 1 else "replicates"
    return f"The interval still allows {allowed}. To halve {halved} takes about {needed} {noun} in place of {had}."


def _chosen(result: Result, names: str | Sequence[str] | None) -> list[HypothesisResult]:
    tested = result.metrics.hypotheses
    if names is None:
        return list(tested)
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        result.get_hypothesis(name)
    return [each for each in tested if each.name in wanted]


def _numbers(row: ComparisonRow, decimals: int | None) -> list[str]:
    interval = ""
    if not math.isnan(row.low):
        interval = f"{fixed(row.low, decimals, sign=True)} to {fixed(row.high, decimals, sign=True)}"
    return [
        row.condition,
        row.metric,
        str(row.replicates),
        fixed(row.mean, decimals),
        fixed(row.spread, decimals),
        fixed(row.difference, decimals, sign=True),
        interval,
    ]


def _verdict_words(tested: HypothesisResult) -> dict[tuple[str, str | None], str]:
    """Return a word for each treatment and metric, with the adjusted p-value."""
    words: dict[tuple[str, str | None], str] = dict.fromkeys(((name, None) for name in tested.errors), "not tested")
    for verdict in tested.verdicts:
        word = {True: "holds", False: "not shown", None: "no telling"}[verdict.holds]
        if not math.isnan(verdict.p_adjusted):
            word += f", p {shown_probability(verdict.p_adjusted)}"
        for metric in verdict.metrics or (None,):
            words[verdict.treatment, metric] = word
    return words


def _failed(result: Result, condition: str) -> str:
    cells = result.provenance["cells"].get(condition)
    if not cells:
        return ""
    pruned = cells.get("pruned", 0)
    ran = cells["completed"] + cells["failed"] + pruned
    return ", ".join(
        text
        for text, count in (
            (f"{cells['failed']} of {ran}", cells["failed"]),
            (f"{pruned} pruned", pruned),
            (f"{cells['missing']} not run", cells["missing"]),
        )
        if count
    )


def _headline(result: Result) -> str:
    run = result.provenance.get("run", {})
    conditions = [condition.name for condition in result.conditions]
    treatments = sum(name != BASELINE for name in conditions)
    what = " and ".join(
        filter(None, [BASELINE * (BASELINE in conditions), counted(treatments, "treatment") if treatments else ""])
    )
    ran, requested = result.provenance["replicates"], result.provenance["replicates_requested"]
    replicates = counted(ran, "replicate") if ran == requested else f"{ran} of {requested} replicates"
    parts = [what, replicates]
    if run.get("seed") is not None:
        parts.append(f"seed {run['seed']}")
    name = run.get("experiment")
    return (f"{name}: " if name else "") + ", ".join(filter(None, parts))


def _said(tested: HypothesisResult) -> list[str]:
    """Say what a hypothesis came to: what ranks best, each verdict in a sentence, how far to believe it."""
    lines = []
    if _ranks(tested):
        best = tested.ranking["best"]
        lines.append(f"{tested.name}: {best} ranks best" if best else f"{tested.name}:")
    elif tested.verdicts:
        lines.append(f"{tested.name}:")
    for verdict in tested.verdicts:
        # What a verifier of the user's own said, which has neither method nor warnings, is in the table.
        if verdict.method or verdict.warnings:
            lines += [f"  {verdict}", *(f"    {each}" for each in (still_allowed(verdict), *verdict.warnings) if each)]
    if any(not math.isnan(verdict.p_adjusted) for verdict in tested.verdicts):
        counting = counted(tested.comparisons, "comparison")
        lines.append(f"  {counting}; p-values adjusted for their number ({_CORRECTIONS[tested.correction]}).")
    if tested.state in _STATES:
        lines.append(f"  {_STATES[tested.state]}: {tested.reason}.")
    return lines


_CORRECTIONS = {
    "holm": "Holm",
    "bh": "Benjamini-Hochberg",
    "by": "Benjamini-Yekutieli",
    "bonferroni": "Bonferroni",
    "none": "not at all",
    "family": "by the test itself",
}
_STATES = {
    "valid": "Valid",
    "exploratory": "Exploratory",
    "confounded": "Confounded",
    "reused data": "Reused data",
    "changed code": "Changed code",
    "changed hypothesis": "Changed hypothesis",
}


def _ranks(tested: HypothesisResult) -> bool:
    # A verifier that only says whether its claim holds gives nothing to rank by, and that is no fault.
    return any(not math.isnan(score) for _, score in tested.ranking["ranked"])


def _left_out(result: Result) -> list[str]:
    recorded = metrics_by_condition(result)
    shown = set(numeric_metrics(recorded))
    others = [
        name for name in dict.fromkeys(name for values in recorded.values() for name in values) if name not in shown
    ]
    if not (others or shown) and result.succeeded:
        return [NO_METRIC]
    return [f"metrics that are not numbers, and not in the table: {', '.join(others)}"] if others else []


def _unread(result: Result) -> list[str]:
    """Say which keys of treatments changed nothing, the conditions that share some in one line."""
    by_keys: dict[tuple[str, ...], list[str]] = {}
    for condition in result.conditions:
        if condition.unread:
            by_keys.setdefault(condition.unread, []).append(condition.name)
    return _shortened(
        one_line(
            f"{'treatment' if len(names) == 1 else 'treatments'} {', '.join(map(repr, names))} "
            f"{'sets' if len(names) == 1 else 'set'} {', '.join(map(repr, keys))}, which nothing has read: "
            f"{'it' if len(keys) == 1 else 'they'} changed nothing",
            _LONGEST,
        )
        for keys, names in by_keys.items()
    )


def _failures(result: Result) -> list[str]:
    lines = []
    if result.errors:
        lines.append(f"{counted(len(result.errors), 'error')}:")
        lines += _shortened(f"  {key}: {one_line(str(error), _LONGEST)}" for key, error in result.errors.items())
    if result.plugin_errors:
        lines.append(f"the record is incomplete, {counted(len(result.plugin_errors), 'error')} of plugins:")
        lines += _shortened(
            f"  {failure.plugin}, {failure.hook}: {one_line(failure.error, _LONGEST)}"
            for failure in result.plugin_errors
        )
    return lines


def _shortened(lines: Iterable[str]) -> list[str]:
    return _cut(list(lines), _MOST_FAILURES)


def _cut(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"  … and {len(lines) - most} more"]
