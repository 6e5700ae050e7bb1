"""Tests that may be looked at after every replicate, and a posterior probability."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from crystallize.errors import ValidationError
from crystallize_plugins.verifiers.compared import (
    Compared,
    check_number,
    check_range,
    checked_verifier,
    claimed,
    interval,
    judge,
    no_spread,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from crystallize.hooks import Verdict

__all__ = ["bayes_t", "sequential"]

_BETS = 20
"""The shares of the possible stake that are bet, from 1/21 to 20/21; their mean is the evidence."""


def _check_sequential(*, g: Any, bounds: Any, margin: Any, **_settings: Any) -> None:
    check_number(g, "g", low=0)
    if bounds is not None:
        low, high = check_range(bounds, "bounds")
        if not low < 0 < high:
            raise ValidationError(f"bounds must be (low, high) of the difference, with 0 between them, not {bounds!r}")
    if margin is not None:
        check_range(margin, "margin")


@checked_verifier(_check_sequential, always_valid=True)
def sequential(
    baseline: Any,
    treatment: Any,
    *,
    g: float = 1.0,
    bounds: tuple[float, float] | None = None,
    margin: float | tuple[float, float] | None = None,
    alpha: float = 0.05,
    alternative: str = "two-sided",
) -> Verdict | dict[str, Verdict]:
    """Test whether a treatment changes the mean of a metric, however often one looks.

    An ordinary test that is repeated as replicates arrive, until it shows something, shows something sooner or later.
    This one is always valid: the probability that it ever declares an effect that is not there is at most `alpha`, and
    that its interval ever misses the effect, too. It is exact for normal differences of pairs; for skewed ones it is
    not, and there `bounds` make it exact for any.

    Parameters
    ----------
    g : float, default 1.0
        How large an effect is expected: the prior variance of the mean difference, in units of the variance of the
        differences.
    bounds : tuple of float, optional
        ``(low, high)`` between which every difference lies, such as (-1, 1) for a share.
    margin : float, or tuple of float, optional
        ``details["equivalent"]`` says whether the interval lies within it.
    alpha, alternative
        As in `paired_t`.

    Returns
    -------
    Verdict, or dict of str to Verdict
        `e_value` is the evidence, `p_value` its inverse, at most 1.

    Raises
    ------
    ValueError
        A difference is outside `bounds`.

    References
    ----------
    Wang and Ramdas, "Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance",
    Sequential Analysis 44, 2025. Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting",
    Journal of the Royal Statistical Society B 86, 2024.

    Examples
    --------
    >>> verdict = sequential()({"f1": [0.1, 0.2, 0.3, 0.2, 0.4]}, {"f1": [0.3, 0.5, 0.4, 0.4, 0.7]})
    >>> round(verdict.e_value, 2), verdict.holds
    (12.67, False)
    """

    def test(compared: Compared) -> dict[str, Any]:
        fields = _normal(compared, float(g)) if bounds is None else _bounded(compared, check_range(bounds, "bounds"))
        if margin is not None:
            low, high = check_range(margin, "margin")
            fields["details"]["equivalent"] = low < fields["ci"][0] and fields["ci"][1] < high
        return {"estimate": compared.estimate, "estimand": "mean difference", **fields}

    flat = no_spread if bounds is None else test
    return judge("sequential", test, baseline, treatment, paired=True, alpha=alpha, alternative=alternative, flat=flat)


def _normal(compared: Compared, g: float) -> dict[str, Any]:
    count = len(compared.differences)
    df = count - 1
    spread = float(compared.differences.std(ddof=1))
    statistic = math.sqrt(count) * compared.estimate / spread
    widened = 1 + count * g
    square = statistic**2 / df
    evidence = math.exp(
        _capped(-0.5 * math.log(widened) + count / 2 * (math.log1p(square) - math.log1p(square / widened)))
    )
    ratio = math.exp((math.log(widened) - 2 * math.log(compared.alpha)) / count)
    reach = math.inf
    if ratio < widened:
        reach = spread * math.sqrt(df * (ratio - 1) / (1 - ratio / widened) / count)
    if _on_wrong_side(compared):
        evidence = 0.0
    return {
        "method": "always valid t test",
        "statistic": statistic,
        "df": df,
        "e_value": evidence,
        "p_value": min(1.0, 1 / evidence) if evidence else 1.0,
        "ci": interval(compared.estimate, reach, compared.alternative),
        "details": {"g": g},
    }


def _on_wrong_side(compared: Compared) -> bool:
    return (compared.alternative == "greater" and compared.estimate <= 0) or (
        compared.alternative == "less" and compared.estimate >= 0
    )


def _bounded(compared: Compared, bounds: tuple[float, float]) -> dict[str, Any]:
    from scipy.optimize import brentq

    low, high = bounds
    differences = compared.differences
    outside = differences[(differences < low) | (differences > high)]
    if len(outside):
        raise ValidationError(f"a difference of {float(outside[0]):g} is outside the bounds {low:g} to {high:g}")

    def above(m: float) -> float:
        return _log_bet(differences - m, m - low)

    def below(m: float) -> float:
        return _log_bet(m - differences, high - m)

    needed = -math.log(compared.alpha)

    def solved(evidence: Callable[[float], float], end: float, other: float) -> float:
        """Return where the evidence against a mean near `end` is no longer enough."""
        step = 1e-9 * (high - low) * (1 if end == low else -1)
        if evidence(end + step) < needed:
            return end
        if evidence(other - step) >= needed:
            return other
        return float(brentq(lambda m: evidence(m) - needed, end + step, other - step, xtol=1e-12 * (high - low)))

    logs = {"greater": above(0.0), "less": below(0.0)}
    evidence = math.exp(
        _capped(max(logs.values()) if compared.alternative == "two-sided" else logs[compared.alternative])
    )
    if _on_wrong_side(compared):
        evidence = min(evidence, 1.0)
    return {
        "method": f"always valid test of a mean between {low:g} and {high:g}",
        "e_value": evidence,
        "p_value": min(1.0, 1 / evidence) if evidence else 1.0,
        "ci": claimed(solved(above, low, high), solved(below, high, low), compared.alternative),
        "details": {"bounds": bounds},
    }


def _log_bet(away: npt.NDArray[np.float64], stake: float) -> float:
    """Return the logarithm of half the mean of what the bets have won."""
    import numpy as np
    from scipy.special import logsumexp

    shares = np.arange(1, _BETS + 1) / (_BETS + 1)
    won = np.log1p(shares[:, None] * away[None, :] / stake).sum(axis=1)
    return float(logsumexp(won)) - math.log(2 * _BETS)


def _capped(log: float) -> float:
    return min(log, 709.0)  # the logarithm of the largest float


def _check_bayes(*, rope: Any, test_share: Any, probability: Any, **_settings: Any) -> None:
    if rope != 0:
        check_range(rope, "rope")
    if test_share is not None:
        check_number(test_share, "test_share", low=0, high=1)
    check_number(probability, "probability", low=0, high=1)


@checked_verifier(_check_bayes)
def bayes_t(
    baseline: Any,
    treatment: Any,
    *,
    rope: float | tuple[float, float],
    test_share: float | None = None,
    probability: float = 0.95,
    alpha: float = 0.05,
    alternative: str = "two-sided",
) -> Verdict | dict[str, Verdict]:
    """Say how probable it is that a treatment raises, lowers, or practically keeps the mean of a metric.

    The posterior of the mean difference of pairs under the usual flat prior, which is Student's distribution.

    Parameters
    ----------
    rope : float, or tuple of float
        The region of practical equivalence, in the unit of the metric: how large a difference is still none.
    test_share : float, optional
        Where replicates are random splits of one data set: the share that each holds out, as in `resampled_t`.
    probability : float, default 0.95
        What a claimed side must reach for the claim to hold.
    alpha, alternative
        As in `paired_t`; `ci` holds the effect with probability 1 - `alpha`.

    Returns
    -------
    Verdict, or dict of str to Verdict
        ``details["probabilities"]`` has ``below``, ``within`` and ``above``. There is no p-value.

    References
    ----------
    Benavoli, Corani, Demšar and Zaffalon, "Time for a change: a tutorial for comparing multiple classifiers through
    Bayesian analysis", Journal of Machine Learning Research 18, 2017, section 4.1.

    Examples
    --------
    >>> verdict = bayes_t(rope=0.01)({"f1": [0.1, 0.2, 0.3, 0.2, 0.4]}, {"f1": [0.3, 0.5, 0.4, 0.4, 0.7]})
    >>> round(verdict.details["probabilities"]["above"], 3), verdict.holds
    (0.998, True)
    """
    low, high = check_range(rope, "rope") if rope != 0 else (0.0, 0.0)

    def test(compared: Compared) -> dict[str, Any]:
        from scipy.special import stdtr, stdtrit

        count = len(compared.differences)
        overlap = test_share / (1 - test_share) if test_share is not None else 0.0
        spread = float(compared.differences.std(ddof=1))
        error, df = spread * math.sqrt(1 / count + overlap), count - 1
        below = float(stdtr(df, (low - compared.estimate) / error))
        above = float(stdtr(df, (compared.estimate - high) / error))
        claimed = {"greater": above, "less": below}.get(compared.alternative, max(below, above))
        return {
            "method": "Bayesian t test" if test_share is None else "Bayesian correlated t test",
            "estimate": compared.estimate,
            "estimand": "mean difference",
            "df": df,
            "effect_size": compared.estimate / spread,
            "effect_name": "d_z",
            "ci": interval(compared.estimate, -float(stdtrit(df, compared.tail)) * error, compared.alternative),
            "holds": claimed >= probability,
            "details": {
                "probabilities": {"below": below, "within": max(0.0, 1 - below - above), "above": above},
                "rope": (low, high),
            },
        }

    return judge("bayes_t", test, baseline, treatment, paired=True, alpha=alpha, alternative=alternative)
