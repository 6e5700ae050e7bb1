"""Student's test on pairs of replicates and its relatives; SciPy computes them."""

from __future__ import annotations

import importlib
import importlib.util
import math
from typing import TYPE_CHECKING, Any

from crystallize.errors import ArgumentTypeError, MissingExtraError, ValidationError
from crystallize.hooks.tools import standard_error
from crystallize_plugins.samples import pairs_of
from crystallize_plugins.verifiers.checked import check_alternative, checked_verifier, samples_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["paired_t_test", "resampled_t_test", "welch_t_test"]

_LEAST = 2
# Differences whose spread is below this part of their size differ by rounding alone.
_ROUNDING = 1e-12


def _check(*, metric: str | None, alternative: str, confidence: float, test_share: float = 0.5) -> None:
    if metric is not None and not isinstance(metric, str):
        raise ArgumentTypeError(f"metric must be the name of a metric, not {type(metric).__name__}")
    check_alternative(alternative)
    for what, share in [("confidence", confidence), ("test_share", test_share)]:
        if isinstance(share, bool) or not isinstance(share, (int, float)):
            raise ArgumentTypeError(f"{what} must be a number between 0 and 1, not {type(share).__name__}")
        if not 0 < share < 1:
            raise ValidationError(f"{what} must be a number between 0 and 1, not {share!r}")
    if importlib.util.find_spec("scipy") is None:
        raise MissingExtraError(
            "the t tests need SciPy, which is not installed: pip install 'crystallize-plugins[stats]' "
            "(permutation_test needs nothing more)",
            distribution="crystallize-plugins",
        )


@checked_verifier(_check)
def paired_t_test(
    baseline: Mapping[str, Sequence[Any]],
    treatment: Mapping[str, Sequence[Any]],
    *,
    metric: str | None = None,
    alternative: str = "two-sided",
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Test whether a treatment changes the mean of a metric, replicate by replicate.

    Baseline and treatment share each replicate's seed, and so, where steps draw from ``ctx.rng``, its data: comparing
    within replicates takes the variation between them out. Replicates that failed on one side are left out. It supposes
    that the differences are about normal, or many.

    Parameters
    ----------
    metric : str, optional
        By default the only metric that the hypothesis names. Where a cell recorded several values, their mean counts.
    alternative : {"two-sided", "greater", "less"}
        What is claimed of the treatment: that its mean is another one, a greater one, or a smaller one.
    confidence : float, default 0.95
        Of the interval for the mean difference.

    Returns
    -------
    dict
        ``p_value``, ``statistic``, ``difference`` (mean of treatment less baseline), ``low`` and ``high`` (its
        interval, open to one side for a one-sided test) and ``pairs`` (number of replicates compared). The p-value
        is NaN where there is no telling: fewer than two pairs, a value that is not finite, or a difference that is
        the same in every replicate (`permutation_test` takes that).

    Raises
    ------
    MissingExtraError
        SciPy is not installed; when the test is made, not when it is used.

    Examples
    --------
    >>> test = paired_t_test(alternative="greater")
    >>> outcome = test({"accuracy": [0.5, 0.6, 0.7]}, {"accuracy": [0.6, 0.75, 0.8]})
    >>> round(outcome["p_value"], 4), outcome["pairs"]
    (0.0099, 3)
    """
    pairs = pairs_of(*samples_of(baseline, treatment, metric))
    return {**_paired(pairs, alternative, confidence), "pairs": len(pairs)}


@checked_verifier(_check)
def resampled_t_test(
    baseline: Mapping[str, Sequence[Any]],
    treatment: Mapping[str, Sequence[Any]],
    *,
    test_share: float,
    metric: str | None = None,
    alternative: str = "two-sided",
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Test whether a treatment changes the mean of a metric, where replicates are random splits of one data set.

    Such splits share most of their training data, so their results are not independent, and `paired_t_test` finds
    effects too easily. This test widens the variance by the correction of Nadeau and Bengio ("Inference for the
    generalization error", Machine Learning 52, 2003): ``1/n + test_share / (1 - test_share)`` in place of ``1/n``.

    Parameters
    ----------
    test_share : float
        The share of the data that each split holds out for testing.
    metric, alternative, confidence
        As in `paired_t_test`.

    Returns
    -------
    dict
        As from `paired_t_test`.

    Examples
    --------
    >>> test = resampled_t_test(test_share=0.3, alternative="greater")
    >>> outcome = test({"accuracy": [0.5, 0.6, 0.7]}, {"accuracy": [0.6, 0.75, 0.8]})
    >>> round(outcome["p_value"], 4)
    0.0218
    """
    pairs = pairs_of(*samples_of(baseline, treatment, metric))
    return {**_paired(pairs, alternative, confidence, test_share / (1 - test_share)), "pairs": len(pairs)}


@checked_verifier(_check)
def welch_t_test(
    baseline: Mapping[str, Sequence[Any]],
    treatment: Mapping[str, Sequence[Any]],
    *,
    metric: str | None = None,
    alternative: str = "two-sided",
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Test whether a treatment changes the mean of a metric, where replicates cannot be paired.

    Variances may differ. Where baseline and treatment share seeds, `paired_t_test` sees smaller effects.

    Parameters
    ----------
    metric, alternative, confidence
        As in `paired_t_test`.

    Returns
    -------
    dict
        ``p_value``, ``statistic``, ``difference`` of the means, ``low`` and ``high`` as from `paired_t_test`, and
        ``sizes``, the numbers of replicates of baseline and treatment.

    Examples
    --------
    >>> outcome = welch_t_test()({"loss": [1.0, 2.0, 3.0]}, {"loss": [4.0, 5.0, 6.5]})
    >>> round(outcome["p_value"], 4), outcome["sizes"]
    (0.0291, [3, 3])
    """
    before, after = (list(sample.values()) for sample in samples_of(baseline, treatment, metric))
    sizes = [len(before), len(after)]
    difference = _mean(after) - _mean(before)
    if min(sizes) < _LEAST or not all(map(math.isfinite, before + after)):
        return {**_no_verdict(difference), "sizes": sizes}
    rounding = _ROUNDING * max(map(abs, before + after))
    if max(_spread(before), _spread(after)) <= rounding:
        return {**_invariable(difference, rounding), "sizes": sizes}
    outcome = _scipy_stats().ttest_ind(after, before, equal_var=False, alternative=alternative)
    return {**_told(outcome, difference, confidence), "sizes": sizes}


def _paired(
    pairs: Sequence[tuple[float, float]], alternative: str, confidence: float, overlap: float = 0.0
) -> dict[str, Any]:
    differences = [after - before for before, after in pairs]
    difference = _mean(differences)
    if len(differences) < _LEAST or not all(map(math.isfinite, differences)):
        return _no_verdict(difference)
    rounding = _ROUNDING * max(max(abs(before), abs(after)) for before, after in pairs)
    error = standard_error(differences)
    if _spread(differences) <= rounding or error == 0:
        return _invariable(difference, rounding)
    return _student(difference, error, len(differences), alternative, confidence, overlap)


def _student(
    difference: float, error: float, count: int, alternative: str, confidence: float, overlap: float
) -> dict[str, Any]:
    """Compare a mean difference with zero; `overlap` is added to the ``1/n`` of its variance."""
    error *= math.sqrt(1 + count * overlap)
    student = _scipy_stats().t(count - 1)
    statistic = difference / error
    if alternative == "two-sided":
        p_value, reach = 2 * student.sf(abs(statistic)), student.isf((1 - confidence) / 2)
        low, high = difference - reach * error, difference + reach * error
    else:
        reach = student.isf(1 - confidence) * error
        greater = alternative == "greater"
        p_value = student.sf(statistic) if greater else student.cdf(statistic)
        low, high = (difference - reach, math.inf) if greater else (-math.inf, difference + reach)
    return {
        "p_value": float(p_value),
        "statistic": statistic,
        "difference": difference,
        "low": float(low),
        "high": float(high),
    }


def _scipy_stats() -> Any:
    # Imported by name: an optional part, of which type checkers need not know.
    return importlib.import_module("scipy.stats")


def _told(outcome: Any, difference: float, confidence: float) -> dict[str, Any]:
    low, high = outcome.confidence_interval(confidence)
    return {
        "p_value": float(outcome.pvalue),
        "statistic": float(outcome.statistic),
        "difference": difference,
        "low": float(low),
        "high": float(high),
    }


def _invariable(difference: float, rounding: float) -> dict[str, Any]:
    """Say what there is to say where nothing varies: no difference is none, and of any other a t test knows nothing.

    A difference that is the same in every replicate is usually that of a metric with few values in few replicates; the
    limit of the p-value, zero, would claim a certainty that nobody has.
    """
    if abs(difference) > rounding:
        return {**_no_verdict(difference), "low": difference, "high": difference}
    return {"p_value": 1.0, "statistic": 0.0, "difference": 0.0, "low": 0.0, "high": 0.0}


def _no_verdict(difference: float) -> dict[str, Any]:
    return {"p_value": math.nan, "statistic": math.nan, "difference": difference, "low": math.nan, "high": math.nan}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values)
