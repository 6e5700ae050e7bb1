"""Metrics as samples: one number for each replicate, and pairs of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from crystallize.errors import ArgumentTypeError
from crystallize.results.columns import MetricValues

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["as_number", "pairs_of", "per_replicate"]

# Kinds of NumPy: a complex number, a date and a text would be made a float, too. "V" has the short floats of others.
_REAL = frozenset("biufV")


def as_number(value: Any) -> float | None:
    """Convert a value to a float; None where it is no single number.

    Examples
    --------
    >>> as_number(True), as_number("0.5")
    (1.0, None)
    """
    kind = type(value)
    if kind is float:
        return value  # type: ignore[no-any-return]
    is_number = isinstance(value, (int, float))
    if not is_number and hasattr(kind, "dtype") and getattr(value, "shape", None) == ():
        is_number = getattr(value.dtype, "kind", "f") in _REAL
    if not is_number:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):  # the last of integers that no float can hold
        return None


def per_replicate(values: Sequence[Any], *, metric: str) -> dict[int, float]:
    """Return one number for each replicate: the mean of what it recorded.

    Values of one replicate depend on each other, so they count as one.

    Parameters
    ----------
    values : sequence
        A metric's values, such as ``result.metrics.baseline.metrics["accuracy"]``. Without ``.replicates`` the
        position in the sequence is the replicate.
    metric : str
        Its name, for the message.

    Raises
    ------
    ArgumentTypeError
        A value is no number.

    Examples
    --------
    >>> per_replicate(MetricValues([1, 3, 5], replicates=[0, 0, 4]), metric="loss")
    {0: 2.0, 4: 5.0}
    """
    grouped = values.by_replicate() if isinstance(values, MetricValues) else {i: [v] for i, v in enumerate(values)}
    return {replicate: _mean_of(recorded, metric, replicate) for replicate, recorded in grouped.items()}


def _mean_of(recorded: Sequence[Any], metric: str, replicate: int) -> float:
    numbers = []
    for value in recorded:
        number = as_number(value)
        if number is None:
            raise ArgumentTypeError(
                f"metric {metric!r} of replicate {replicate} is no number but {type(value).__name__} ({value!r:.60}): "
                "only numbers can be averaged and compared"
            )
        numbers.append(number)
    # The exact sum of infinities of both signs is an error instead of NaN.
    total = math.fsum(numbers) if all(map(math.isfinite, numbers)) else sum(numbers)
    return total / len(numbers)


def pairs_of(baseline: Mapping[int, float], treatment: Mapping[int, float]) -> list[tuple[float, float]]:
    """Pair the replicates that both conditions have, in order.

    Examples
    --------
    >>> pairs_of({0: 1.0, 1: 2.0}, {1: 3.0, 2: 9.0})
    [(2.0, 3.0)]
    """
    return [(baseline[replicate], treatment[replicate]) for replicate in sorted(baseline.keys() & treatment.keys())]
