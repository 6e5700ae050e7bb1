"""Judging: hypotheses verified for each treatment, treatments ranked; nothing that user code raises escapes."""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any

from crystallize.design.hypotheses import by_metric
from crystallize.design.verdicts import Verdict, adjusted_family
from crystallize.engine.belief import STATES, Belief
from crystallize.engine.failure import caught
from crystallize.errors import HypothesisError, MissingMetricError
from crystallize.results.metrics import HypothesisResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from crystallize.design import Hypothesis

__all__ = ["judge"]

_Key = tuple[str, int, str]
"""The place of a verdict: treatment, number of the group of metrics, metric within the group."""


def judge(
    hypotheses: Iterable[Hypothesis],
    baseline: Mapping[str, Sequence[Any]],
    treatments: Mapping[str, Mapping[str, Sequence[Any]]],
    *,
    absent: Iterable[str] = (),
    replicates: int | None = None,
    belief: Belief | None = None,
) -> tuple[list[HypothesisResult], dict[str, Exception]]:
    """Test every hypothesis for every treatment.

    Parameters
    ----------
    hypotheses : iterable of Hypothesis
    baseline : mapping of str to sequence
        The baseline's metrics.
    treatments : mapping of str to mapping
        The metrics of each treatment, in the order in which ties are ranked.
    absent : iterable of str
        Treatments of the run that have no metrics, because no cell of theirs ran to its end.
    replicates : int, optional
        How many the run had; by default as many as there are values of.
    belief : Belief, optional
        Whether it was planned; by default it was not.

    Returns
    -------
    results : list of HypothesisResult
        One per hypothesis, with what could be tested.
    errors : dict of str to Exception
        Under ``"hypothesis:<name>"`` one error for each hypothesis that could not be tested for every treatment. It
        names the treatments; it is a `MissingMetricError` where nothing but metrics was missing.
    """
    absent = list(absent)
    belief = belief or Belief()
    results: list[HypothesisResult] = []
    errors: dict[str, Exception] = {}
    for hypothesis in hypotheses:
        tested, error = _judge_one(hypothesis, baseline, treatments, absent, replicates, belief.of(hypothesis))
        results.append(tested)
        if error is not None:
            errors[f"hypothesis:{hypothesis.name}"] = error
    return results, errors


def _judge_one(
    hypothesis: Hypothesis,
    baseline: Mapping[str, Sequence[Any]],
    treatments: Mapping[str, Mapping[str, Sequence[Any]]],
    absent: Sequence[str],
    replicates: int | None,
    believed: tuple[str, str],
) -> tuple[HypothesisResult, Exception | None]:
    outputs: dict[str, Any] = {}
    scores: dict[str, float] = {}
    failures: dict[str, BaseException] = {
        name: HypothesisError("it has no metrics: no replicate of it ran to its end", hypothesis=hypothesis.name)
        for name in absent
    }
    # Results are never lost to what a verifier or a ranker raises, be it of no class that `Exception` covers.
    if not baseline and hypothesis.metrics is None:
        why = "the baseline has no metrics to compare it with"
        failures |= {name: HypothesisError(why, hypothesis=hypothesis.name) for name in treatments}
    elif hypothesis.is_family and treatments:
        with caught(lambda error: failures.update(dict.fromkeys(treatments, error))):
            outputs = hypothesis.verify_family(baseline, treatments)
    else:
        for name, metrics in treatments.items():
            with caught(partial(failures.__setitem__, name)):
                outputs[name] = hypothesis.verify(baseline, metrics, where=f"treatment {name!r}")
    told = _verdicts(hypothesis, outputs, len(failures))
    for key, verdict in told.items():
        confounded = _confounded(verdict, baseline, treatments[key[0]], replicates)
        state, reason = min(believed, confounded or believed, key=lambda each: STATES.index(each[0]))
        told[key] = verdict.replace(state=state, reason=reason)
    outputs = {name: _with_verdicts(hypothesis, name, output, told) for name, output in outputs.items()}
    for name, output in outputs.items():
        with caught(partial(failures.__setitem__, name)):
            scores[name] = hypothesis.score(output)
    worst = min(told.values(), key=lambda verdict: STATES.index(verdict.state), default=None)
    tested = HypothesisResult(
        hypothesis.name,
        outputs,
        _rank(scores, best=hypothesis.ranker is not None or _is_one_sided(hypothesis, outputs)),
        failures,
        hypothesis.metrics,
        verdicts=tuple(told.values()),
        comparisons=_comparisons(told, len(failures)),
        correction="family" if hypothesis.is_family else hypothesis.correction,
        state=worst.state if worst is not None else "",
        reason=worst.reason if worst is not None else "",
    )
    return tested, _summarise(hypothesis, failures) if failures else None


def _verdicts(hypothesis: Hypothesis, outputs: Mapping[str, Any], failed: int) -> dict[_Key, Verdict]:
    """Return a verdict for each treatment and metric, or group, adjusted for their number."""
    told: dict[_Key, Verdict] = {}
    decided: dict[_Key, bool] = {}
    for name, output in outputs.items():
        for number, part in enumerate(output if hypothesis.is_grouped else [output]):
            for metric, said in by_metric(part).items():
                metrics = hypothesis.groups[number]
                key = name, number, metric
                if isinstance(said, Verdict):
                    told[key] = said.replace(treatment=name, metrics=said.metrics or metrics)
                else:
                    told[key] = _of_a_user(hypothesis, name, metrics, said)
                    if said.get("holds") is not None:
                        decided[key] = bool(said["holds"])
    if not hypothesis.is_family:
        told = adjusted_family(told, hypothesis.correction, _comparisons(told, failed))
    return {key: verdict.replace(holds=decided.get(key, verdict.holds)) for key, verdict in told.items()}


def _comparisons(told: Mapping[_Key, Verdict], failed: int) -> int:
    """Return the number of comparisons: what could not be tested would have been as many as for other treatments."""
    each = Counter(treatment for treatment, _, _ in told)
    return len(told) + failed * max(each.values(), default=1)


def _of_a_user(hypothesis: Hypothesis, treatment: str, metrics: tuple[str, ...], said: Mapping[str, Any]) -> Verdict:
    """Return what a verifier of the user's own said as a verdict."""
    value = said.get("p_value")
    p_value = float(value) if isinstance(value, Real) else math.nan
    if not 0 <= p_value <= 1:
        p_value = math.nan
    verdict = Verdict(
        verifier=getattr(hypothesis.verifier, "__name__", type(hypothesis.verifier).__name__),
        treatment=treatment,
        metrics=metrics,
        p_value=p_value,
        p_adjusted=p_value,
    )
    return verdict.replace(holds=None if math.isnan(p_value) else p_value <= verdict.alpha)


def _with_verdicts(hypothesis: Hypothesis, name: str, output: Any, told: Mapping[_Key, Verdict]) -> Any:
    """Return what a verifier said of a treatment with adjusted verdicts in it; what is a user's own stays as it is."""

    def settled(number: int, part: Mapping[str, Any]) -> Any:
        if isinstance(part, Verdict):
            return told[name, number, ""]
        split = by_metric(part)
        return {metric: told[name, number, metric] for metric in split} if split is part else part

    if hypothesis.is_grouped:
        return [settled(number, part) for number, part in enumerate(output)]
    return settled(0, output)


def _is_one_sided(hypothesis: Hypothesis, outputs: Mapping[str, Any]) -> bool:
    """Whether one treatment may be called the best: a two-sided claim says only that it differs."""
    parts = [part for output in outputs.values() for part in (output if hypothesis.is_grouped else [output])]
    said = [each for part in parts for each in by_metric(part).values()]
    return not any(isinstance(each, Verdict) and each.alternative == "two-sided" for each in said)


# ---------------------------------------------------------------------------------------------- belief

_LOST_SHARE = 0.05
_LOST_P = 0.01
_MOST_EXACT = 2_000


def _confounded(
    verdict: Verdict,
    baseline: Mapping[str, Sequence[Any]],
    treatment: Mapping[str, Sequence[Any]],
    replicates: int | None,
) -> tuple[str, str] | None:
    """Return the state of a verdict, and why, where failures on one side alone chose what was compared."""
    metrics = [name for name in verdict.metrics or baseline if name in baseline]
    ours, theirs = (_complete(side, metrics) for side in (baseline, treatment))
    total = max(replicates or 0, len(ours | theirs))
    alone = len(ours - theirs), len(theirs - ours)
    if total and (abs(alone[0] - alone[1]) >= _LOST_SHARE * total or _mcnemar(*alone) <= _LOST_P):
        reason = (
            f"of {total} replicates {alone[0]} are lost in the treatment alone and {alone[1]} in the baseline alone, "
            "so chance did not choose which are compared"
        )
        return "confounded", reason
    return None


def _complete(metrics: Mapping[str, Sequence[Any]], names: Iterable[str]) -> set[int]:
    """Return the replicates that have a value of each metric, a finite one if it is a number."""
    complete: set[int] | None = None
    for name in names:
        values = metrics.get(name, ())
        replicates = getattr(values, "replicates", range(len(values)))
        usable = {r for r, value in zip(replicates, values, strict=True) if _is_usable(value)}
        complete = usable if complete is None else complete & usable
    return complete or set()


def _is_usable(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except (TypeError, ValueError, OverflowError):
        return True


def _mcnemar(one: int, other: int) -> float:
    """Return the p-value of McNemar's exact test; beyond some thousands the normal distribution's."""
    count = one + other
    if count > _MOST_EXACT:
        return math.erfc(abs(one - other) / math.sqrt(2 * count))
    below = sum(math.comb(count, k) for k in range(min(one, other) + 1))
    return min(1.0, float(2 * below / 2**count))


def _rank(scores: Mapping[str, float], *, best: bool) -> dict[str, Any]:
    # NaN compares false with everything, so a plain sort would leave it wherever it happens to stand.
    ranked = sorted(scores.items(), key=lambda pair: (math.isnan(pair[1]), 0.0 if math.isnan(pair[1]) else pair[1]))
    first = ranked[0][0] if best and ranked and not math.isnan(ranked[0][1]) else None
    return {"best": first, "ranked": ranked}


def _summarise(hypothesis: Hypothesis, failures: Mapping[str, BaseException]) -> Exception:
    first = next(iter(failures.values()))
    if isinstance(first, MissingMetricError) and all(
        isinstance(error, MissingMetricError) and error.metric == first.metric for error in failures.values()
    ):
        places = dict.fromkeys(error.where for error in failures.values() if isinstance(error, MissingMetricError))
        where = f"{', '.join(filter(None, places))} (hypothesis {hypothesis.name!r})"
        summary = MissingMetricError(first.metric, first.available, where=where)
        summary.__cause__ = first
        return summary
    same: dict[str, list[str]] = {}
    for name, error in failures.items():
        same.setdefault(_told(error), []).append(repr(name))
    told = "; ".join(f"{', '.join(names)} ({why.rstrip('.')})" for why, names in same.items())
    return HypothesisError(
        f"hypothesis {hypothesis.name!r} could not be tested for treatment{'s' * (len(failures) > 1)} {told}",
        hypothesis=hypothesis.name,
        failures=failures,
    )


def _told(error: BaseException) -> str:
    if isinstance(error, HypothesisError):
        return str(error)
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception of the user's own class may not even print
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
