"""How many replicates are needed, and what so many would show; before a run, never after it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from crystallize.errors import ValidationError
from crystallize.hooks.tools import check_choice
from crystallize_plugins.verifiers.compared import ALTERNATIVES, check_number

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["mde", "power", "sample_size"]

_MOST = 1e9
_FEWEST = 2


def power(
    n: float,
    delta: float,
    sd: float,
    *,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    paired: bool = True,
) -> float:
    """Return the probability that a t test shows a difference.

    It is for planning: what is computed for a run already made from its own estimate says no more than its p-value.

    Parameters
    ----------
    n : float
        Replicates; of unpaired samples, on each side. It need not be whole.
    delta : float
        The difference of the means, treatment less baseline.
    sd : float
        The standard deviation of the differences of pairs; of unpaired samples, within each.
    alpha : float, default 0.05
    alternative : {"two-sided", "greater", "less"}
    paired : bool, default True

    References
    ----------
    Cohen, "Statistical power analysis for the behavioral sciences", 1988, chapter 2: the noncentral t distribution,
    both of its tails.

    Examples
    --------
    >>> round(power(20, delta=1.0, sd=1.0, paired=False), 4)
    0.869
    """
    _check(alpha=alpha, alternative=alternative, n=n, sd=sd, delta=delta)
    from scipy.special import stdtrit
    from scipy.stats import nct

    df = n - 1 if paired else 2 * n - 2
    away = delta / sd * math.sqrt(n if paired else n / 2)
    critical = -float(stdtrit(df, alpha / 2 if alternative == "two-sided" else alpha))

    def beyond(noncentral: float) -> float:
        """Return the probability of a statistic above the critical value."""
        chance = float(nct.sf(critical, df, noncentral))
        # Far out the library gives NaN for what is next to nothing, or next to certain.
        return (0.0 if noncentral < critical else 1.0) if math.isnan(chance) else min(1.0, max(0.0, chance))

    if alternative == "two-sided":
        return min(1.0, beyond(away) + beyond(-away))
    return beyond(away if alternative == "greater" else -away)


def sample_size(
    delta: float,
    sd: float,
    power: float = 0.8,
    *,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    paired: bool = True,
) -> float:
    """Return how many replicates a t test needs to show a difference with a given probability.

    Parameters
    ----------
    delta, sd, alpha, alternative, paired
        As in `power`.
    power : float, default 0.8
        The probability.

    Returns
    -------
    float
        Not rounded, at least 2; of unpaired samples, on each side.

    Raises
    ------
    ValueError
        No number of replicates would do: the difference is 0, or on the other side than the claim.

    Examples
    --------
    >>> round(sample_size(delta=1.0, sd=1.0, paired=False), 2)
    16.71
    """
    _check(alpha=alpha, alternative=alternative, power=power, sd=sd, delta=delta)
    if delta == 0 or (alternative == "greater" and delta < 0) or (alternative == "less" and delta > 0):
        raise ValidationError(
            f"no number of replicates shows a difference of {delta:g} where {alternative!r} is claimed"
        )

    def reached(n: float) -> float:
        return _power(n, delta, sd, alpha=alpha, alternative=alternative, paired=paired)

    return _solve(reached, power, float(_FEWEST), _MOST)


def mde(
    n: float,
    sd: float,
    power: float = 0.8,
    *,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    paired: bool = True,
) -> float:
    """Return the smallest difference that a t test shows with a given probability.

    Parameters
    ----------
    n, sd, alpha, alternative, paired
        As in `power`.
    power : float, default 0.8
        The probability, above `alpha`.

    Returns
    -------
    float
        In the unit of `sd`; below 0 where ``"less"`` is claimed.

    Examples
    --------
    >>> round(mde(20, sd=1.0, paired=False), 4)
    0.9091
    """
    _check(alpha=alpha, alternative=alternative, power=power, sd=sd, n=n)
    if power <= alpha:
        raise ValidationError(f"power must be above alpha, {alpha:g}, which a test reaches without any difference")
    sign = -1.0 if alternative == "less" else 1.0

    def reached(effect: float) -> float:
        return _power(n, sign * effect * sd, sd, alpha=alpha, alternative=alternative, paired=paired)

    return sign * sd * _solve(reached, power, 0.0, 1e6)


_power = power


def _solve(reached: Callable[[float], float], power: float, low: float, high: float) -> float:
    from scipy.optimize import brentq

    if reached(low) >= power:
        return low
    top = max(2 * low, 1.0)
    while reached(top) < power and top < high:
        top *= 2
    return float(brentq(lambda at: reached(at) - power, low, top, xtol=1e-12, rtol=1e-12))


def _check(*, alpha: Any, alternative: Any, **others: Any) -> None:
    check_number(alpha, "alpha", low=0, high=1)
    check_choice(alternative, ALTERNATIVES, what="alternative")
    for what, value in others.items():
        if what == "n":
            check_number(value, "n", low=1)
        elif what == "sd":
            check_number(value, "sd", low=0)
        elif what == "power":
            check_number(value, "power", low=0, high=1)
        else:
            check_number(value, what)
