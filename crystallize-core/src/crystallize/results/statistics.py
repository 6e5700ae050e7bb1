"""Means and their uncertainty, from the standard library alone."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from crystallize.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["confidence_interval", "mean", "standard_error", "student_t_quantile"]

_TINY = 1e-300
_PRECISION = 1e-15
_TERMS = 500


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean; NaN of nothing."""
    if not values:
        return math.nan
    try:
        return math.fsum(values) / len(values)
    except (OverflowError, ValueError):
        return sum(value / len(values) for value in values)  # beyond the largest float, or infinities of both signs


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean, ``s / sqrt(n)``; NaN of fewer than two values."""
    count = len(values)
    if count < 2:  # noqa: PLR2004 - a spread takes two
        return math.nan
    centre = mean(values)
    # By hypot, which neither overflows nor underflows where a square would.
    return math.hypot(*(value - centre for value in values)) / math.sqrt((count - 1) * count)


def confidence_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return Student's interval of the mean: ``mean ± t * standard_error``; NaN of fewer than two values.

    Parameters
    ----------
    values : sequence of float
        One value for each replicate.
    level : float, default 0.95
        Between 0 and 1.

    Examples
    --------
    >>> low, high = confidence_interval([1.0, 2.0, 3.0, 4.0])
    >>> round(low, 4), round(high, 4)
    (0.4457, 4.5543)
    """
    if not 0 < level < 1:
        raise ValidationError(f"level must lie between 0 and 1, not {level!r}")
    error = standard_error(values)
    if math.isnan(error):
        return math.nan, math.nan
    reach = student_t_quantile((1 + level) / 2, len(values) - 1) * error
    return mean(values) - reach, mean(values) + reach


@lru_cache(maxsize=256)
def student_t_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t distribution.

    The distribution function is ``1 - I_x(v/2, 1/2) / 2`` with ``x = v / (v + t^2)`` (NIST DLMF 8.17
    and Abramowitz & Stegun 26.7.1), inverted by bisection.

    Examples
    --------
    >>> round(student_t_quantile(0.975, 10), 6)
    2.228139
    """
    if probability < 0.5:  # noqa: PLR2004 - the distribution is symmetric about zero
        return -student_t_quantile(1 - probability, degrees)
    low, high = 0.0, 1.0
    while _upper_tail(high, degrees) > 1 - probability:
        high *= 2
    while high - low > 1e-12 * max(1.0, high):
        middle = (low + high) / 2
        if _upper_tail(middle, degrees) > 1 - probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _upper_tail(t: float, degrees: int) -> float:
    return _incomplete_beta(degrees / (degrees + t * t), degrees / 2, 0.5) / 2


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by the continued fraction of NIST DLMF 8.17.22."""
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    # Evaluated from the front by the modified Lentz algorithm (Thompson & Barnett, 1986).
    numerator, denominator = 1.0, 1.0 / _away_from_zero(1 - (a + b) * x / (a + 1))
    fraction = denominator
    for term in range(1, _TERMS):
        for step in (
            term * (b - term) * x / ((a + 2 * term - 1) * (a + 2 * term)),
            -(a + term) * (a + b + term) * x / ((a + 2 * term) * (a + 2 * term + 1)),
        ):
            denominator = 1 / _away_from_zero(1 + step * denominator)
            numerator = _away_from_zero(1 + step / numerator)
            change = denominator * numerator
            fraction *= change
        if abs(change - 1) < _PRECISION:
            break
    return front * fraction / a


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
