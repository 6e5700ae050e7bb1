"""Judging: hypotheses verified for each treatment, treatments ranked; nothing that user code raises escapes."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from crystallize.engine.failure import caught
from crystallize.errors import HypothesisError, MissingMetricError
from crystallize.results.metrics import HypothesisResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from crystallize.design import Hypothesis

__all__ = ["judge"]


def judge(
    hypotheses: Iterable[Hypothesis],
    baseline: Mapping[str, Sequence[Any]],
    treatments: Mapping[str, Mapping[str, Sequence[Any]]],
    *,
    absent: Iterable[str] = (),
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

    Returns
    -------
    results : list of HypothesisResult
        One per hypothesis, with what could be tested.
    errors : dict of str to Exception
        Under ``"hypothesis:<name>"`` one error for each hypothesis that could not be tested for every treatment. It
        names the treatments; it is a `MissingMetricError` where nothing but metrics was missing.
    """
    absent = list(absent)
    results: list[HypothesisResult] = []
    errors: dict[str, Exception] = {}
    for hypothesis in hypotheses:
        tested, error = _judge_one(hypothesis, baseline, treatments, absent)
        results.append(tested)
        if error is not None:
            errors[f"hypothesis:{hypothesis.name}"] = error
    return results, errors


def _judge_one(
    hypothesis: Hypothesis,
    baseline: Mapping[str, Sequence[Any]],
    treatments: Mapping[str, Mapping[str, Sequence[Any]]],
    absent: Sequence[str],
) -> tuple[HypothesisResult, Exception | None]:
    outputs: dict[str, Any] = {}
    scores: dict[str, float] = {}
    failures: dict[str, BaseException] = {
        name: HypothesisError("it has no metrics: no replicate of it ran to its end", hypothesis=hypothesis.name)
        for name in absent
    }
    for name, metrics in treatments.items():
        if not baseline and hypothesis.metrics is None:
            why = "the baseline has no metrics to compare it with"
            failures[name] = HypothesisError(why, hypothesis=hypothesis.name)
            continue
        # Results are never lost to what a verifier or a ranker raises, be it of no class that `Exception` covers.
        with caught(partial(failures.__setitem__, name)):
            outputs[name] = hypothesis.verify(baseline, metrics, where=f"treatment {name!r}")
            scores[name] = hypothesis.score(outputs[name])
    tested = HypothesisResult(hypothesis.name, outputs, _rank(scores), failures, hypothesis.metrics)
    return tested, _summarise(hypothesis, failures) if failures else None


def _rank(scores: Mapping[str, float]) -> dict[str, Any]:
    # NaN compares false with everything, so a plain sort would leave it wherever it happens to stand.
    ranked = sorted(scores.items(), key=lambda pair: (math.isnan(pair[1]), 0.0 if math.isnan(pair[1]) else pair[1]))
    best = ranked[0][0] if ranked and not math.isnan(ranked[0][1]) else None
    return {"best": best, "ranked": ranked}


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
