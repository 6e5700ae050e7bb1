"""A permutation test: no supposition about how values are distributed, and nothing to install."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from crystallize.errors import ArgumentTypeError
from crystallize.hooks.tools import check_count, check_flag, check_integer
from crystallize_plugins.samples import pairs_of
from crystallize_plugins.verifiers.checked import check_alternative, checked_verifier, samples_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

__all__ = ["permutation_test"]

_LEAST = 2
# Statistics of rearrangements are blocks of so many numbers at most, 8 MB.
_BLOCK = 1_000_000
# What differs from the observed statistic by rounding alone counts as equal to it.
_ROUNDING = 1e-9


def _check(*, metric: str | None, alternative: str, paired: bool, resamples: int, seed: int) -> None:
    if metric is not None and not isinstance(metric, str):
        raise ArgumentTypeError(f"metric must be the name of a metric, not {type(metric).__name__}")
    check_alternative(alternative)
    check_flag(paired, what="paired")
    check_count(resamples, what="resamples")
    check_integer(seed, what="seed")


@checked_verifier(_check)
def permutation_test(
    baseline: Mapping[str, Sequence[Any]],
    treatment: Mapping[str, Sequence[Any]],
    *,
    metric: str | None = None,
    alternative: str = "two-sided",
    paired: bool = True,
    resamples: int = 9_999,
    seed: int = 0,
) -> dict[str, Any]:
    """Test whether a treatment changes the mean of a metric, by rearranging the values at hand.

    If the treatment changed nothing, what is called baseline and what treatment would be a matter of chance. The
    p-value is the share of the rearrangements whose difference is at least the observed one. All rearrangements of
    pairs are tried where they are no more than `resamples`, else so many random ones; the observed arrangement
    counts as one of them.

    Parameters
    ----------
    metric : str, optional
        By default the only metric that the hypothesis names. Where a cell recorded several values, their mean counts.
    alternative : {"two-sided", "greater", "less"}
        What is claimed of the treatment: that its mean is another one, a greater one, or a smaller one.
    paired : bool, default True
        Whether baseline and treatment change places within each replicate, whose seed they share; replicates that
        failed on one side are left out then. Otherwise all values are shuffled.
    resamples : int, default 9999
        Number of random rearrangements. The smallest p-value that they can give is 1 / (resamples + 1).
    seed : int, default 0
        Of the random rearrangements, so that the p-value can be repeated.

    Returns
    -------
    dict
        ``p_value``, ``difference`` (mean of treatment less baseline), ``exact`` (whether all rearrangements were
        tried), and ``sizes``, the numbers of values compared. The first two are NaN where there are fewer than two
        values on a side, or one is not finite.

    Examples
    --------
    >>> outcome = permutation_test(alternative="greater")({"f1": [0.1, 0.2, 0.3]}, {"f1": [0.3, 0.5, 0.4]})
    >>> outcome["p_value"], outcome["exact"]
    (0.125, True)
    """
    import numpy as np

    ours, theirs = samples_of(baseline, treatment, metric)
    if paired:
        pairs = pairs_of(ours, theirs)
        before, after = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
    else:
        before, after = np.array(list(ours.values())), np.array(list(theirs.values()))
    sizes = [len(before), len(after)]
    if min(sizes) < _LEAST or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return {"p_value": math.nan, "difference": math.nan, "exact": False, "sizes": sizes}
    difference = float(after.mean() - before.mean())
    generator = np.random.default_rng(seed % 2**64)
    exact = paired and 2 ** sizes[0] <= resamples + 1
    if paired:
        observed = float((after - before).mean())
        blocks = _flipped(after - before, None if exact else resamples, generator)
    else:
        observed = difference
        blocks = _shuffled(before, after, resamples, generator)
    tolerance = _ROUNDING * max(float(np.abs(before).max()), float(np.abs(after).max()), abs(observed))
    extreme = tried = 0
    for block in blocks:
        tried += len(block)
        extreme += int(_at_least(block, observed, alternative, tolerance).sum())
    p_value = extreme / tried if exact else (extreme + 1) / (tried + 1)
    return {"p_value": p_value, "difference": difference, "exact": exact, "sizes": sizes}


def _flipped(
    differences: npt.NDArray[np.float64], resamples: int | None, generator: np.random.Generator
) -> Iterator[npt.NDArray[np.float64]]:
    """Return mean differences with the two sides of pairs changed: all ways, or so many random ones."""
    import numpy as np

    count = len(differences)
    total = 2**count if resamples is None else resamples
    rows = max(1, _BLOCK // count)
    for start in range(0, total, rows):
        size = min(rows, total - start)
        if resamples is None:
            flips = (np.arange(start, start + size)[:, None] >> np.arange(count)) & 1
        else:
            flips = generator.integers(0, 2, (size, count))
        yield (1 - 2 * flips) @ differences / count


def _shuffled(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64], resamples: int, generator: np.random.Generator
) -> Iterator[npt.NDArray[np.float64]]:
    """Return differences of means with the values dealt out at random."""
    import numpy as np

    pooled = np.concatenate([before, after])
    rows = max(1, _BLOCK // len(pooled))
    for start in range(0, resamples, rows):
        dealt = generator.permuted(np.tile(pooled, (min(rows, resamples - start), 1)), axis=1)
        yield dealt[:, len(before) :].mean(axis=1) - dealt[:, : len(before)].mean(axis=1)


def _at_least(
    block: npt.NDArray[np.float64], observed: float, alternative: str, tolerance: float
) -> npt.NDArray[np.bool_]:
    import numpy as np

    if alternative == "greater":
        return block >= observed - tolerance
    if alternative == "less":
        return block <= observed + tolerance
    return np.abs(block) >= abs(observed) - tolerance
