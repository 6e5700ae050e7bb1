"""Permutation tests and bootstrap intervals: what rearranging and redrawing the values at hand says."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize_plugins.verifiers.compared import (
    NO_INTERVAL,
    Compared,
    checked_verifier,
    claimed,
    judge,
    no_spread,
    tails,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt

    from crystallize.hooks import Verdict

    Numbers = npt.NDArray[np.float64]

__all__ = ["bootstrap", "flat_mean", "permutation"]

MOST_ARRANGEMENTS = 2**20
"""Up to how many arrangements are all tried."""
_CELLS = 2**22
# Numbers in one block of resamples, which bounds the memory.
_FEW = 30


@checked_verifier(scipy=False)
def permutation(
    baseline: Any,
    treatment: Any,
    *,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    paired: bool = True,
    resamples: int = 9_999,
    seed: int = 0,
) -> Verdict | dict[str, Verdict]:
    """Test whether a treatment changes the mean of a metric, by rearranging the values at hand.

    If the treatment changed nothing, what is called baseline and what treatment would be a matter of chance. The
    p-value is the share of the arrangements whose difference of means is at least the observed one; for a two-sided
    claim, by absolute value. Every arrangement is tried up to 2**20 of them, otherwise so many random ones as
    `resamples` says, and then the observed one counts as one of them.

    Parameters
    ----------
    alpha, alternative
        As in `paired_t`.
    paired : bool, default True
        Whether baseline and treatment change places within each replicate; otherwise all values are dealt out anew.
    resamples : int, default 9999
        The number of random arrangements. The smallest p-value that they can give is 1 / (resamples + 1).
    seed : int, default 0
        Of the random arrangements, so that the p-value can be repeated.

    Returns
    -------
    Verdict, or dict of str to Verdict
        `details` has ``exact``, whether every arrangement was tried, and ``arrangements``, how many. `ci` is made
        of typical values: the shifts that the test would not reject.

    References
    ----------
    Phipson and Smyth, "Permutation p-values should never be zero", Statistical Applications in Genetics and Molecular
    Biology 9, 2010. Hartigan, "Using subsample values as typical values", Journal of the American Statistical
    Association 64, 1969.

    Examples
    --------
    >>> verdict = permutation(alternative="greater")({"f1": [0.1, 0.2, 0.3]}, {"f1": [0.3, 0.5, 0.4]})
    >>> verdict.p_value, verdict.details["exact"]
    (0.125, True)
    """

    def test(compared: Compared) -> dict[str, Any]:
        return _permuted(compared, resamples=resamples, seed=seed)

    return judge(
        "permutation", test, baseline, treatment, paired=paired, alpha=alpha, alternative=alternative, flat=test
    )


def _permuted(compared: Compared, *, resamples: int, seed: int) -> dict[str, Any]:
    """Return the fields of a permutation test of the mean difference."""
    import numpy as np

    arrangements, typical, exact = (_flips if compared.paired else _exchanges)(compared, resamples, seed)
    observed = compared.estimate
    tolerance = max(compared.rounding, 1e-12 * abs(observed))
    if compared.alternative == "two-sided":
        extreme = np.abs(arrangements) >= abs(observed) - tolerance
    elif compared.alternative == "greater":
        extreme = arrangements >= observed - tolerance
    else:
        extreme = arrangements <= observed + tolerance
    count, tried = int(extreme.sum()), len(arrangements)
    return {
        "method": f"permutation test, {'all' if exact else 'random'} {tried} arrangements",
        "estimate": observed,
        "estimand": "mean difference",
        "statistic": observed,
        "p_value": count / tried if exact else (count + 1) / (tried + 1),
        "ci": _between(typical, compared) if compared.varies else NO_INTERVAL,
        "details": {"exact": exact, "arrangements": tried},
    }


def flat_mean(compared: Compared) -> dict[str, Any]:
    """Return what rearranging says of a mean where nothing varies, and a t test would divide by zero."""
    warning = "no-spread: nothing varies, so the p-value is that of a permutation test"
    return _permuted(compared, resamples=9_999, seed=0) | {"warnings": (warning,)}


def _flips(compared: Compared, resamples: int, seed: int) -> tuple[Numbers, Numbers, bool]:
    """Return the mean differences with sides of pairs changed, and the means of subsets of the differences."""
    import numpy as np

    differences = compared.differences
    count = len(differences)
    if 2**count <= MOST_ARRANGEMENTS:
        sums, sizes = np.zeros(1), np.zeros(1)
        for difference in differences:
            sums, sizes = np.concatenate([sums, sums + difference]), np.concatenate([sizes, sizes + 1])
        exact = True
    else:
        kept = _drawn(
            lambda rng, rows: rng.integers(0, 2, (rows, count)) @ _columns(differences), resamples, seed, count
        )
        sums, sizes = kept[:, 0], kept[:, 1]
        exact = False
    chosen = sizes > 0
    return (differences.sum() - 2 * sums) / count, sums[chosen] / sizes[chosen], exact


def _columns(differences: Numbers) -> Numbers:
    import numpy as np

    return np.column_stack([differences, np.ones(len(differences))])


def _exchanges(compared: Compared, resamples: int, seed: int) -> tuple[Numbers, Numbers, bool]:
    """Return the differences of means with values exchanged, and what each exchange says of the shift.

    If j values of the treatment change places with j of the baseline, the difference of means is the observed one for
    just that shift by which the means of those values differ.
    """
    import numpy as np

    before, after = compared.baseline, compared.treatment
    exact = math.comb(len(before) + len(after), len(before)) <= MOST_ARRANGEMENTS
    if exact:
        most = min(compared.n)
        ours, theirs = _subset_sums(before, most), _subset_sums(after, most)
        moved = [np.subtract.outer(theirs[j], ours[j]).ravel() for j in range(most + 1)]
        sizes: npt.NDArray[Any] = np.repeat(np.arange(most + 1), [len(each) for each in moved])
        exchanged = np.concatenate(moved)
    else:
        pooled = np.concatenate([before, after])
        total, size, own = after.sum(), len(after), np.arange(len(pooled)) >= len(before)

        def deal(rng: np.random.Generator, rows: int) -> Numbers:
            chosen = rng.permuted(np.tile(np.arange(len(pooled)), (rows, 1)), axis=1)[:, :size]
            return np.column_stack([total - pooled[chosen].sum(axis=1), size - own[chosen].sum(axis=1)])

        drawn = _drawn(deal, resamples, seed, len(pooled))
        exchanged, sizes = drawn[:, 0], drawn[:, 1]
    chosen = sizes > 0
    arrangements = compared.estimate - exchanged * (1 / len(before) + 1 / len(after))
    return arrangements, exchanged[chosen] / sizes[chosen], exact


def _subset_sums(values: Numbers, most: int) -> list[Numbers]:
    """Return, for each size up to `most`, the sums of all subsets of that size."""
    import numpy as np

    sums = [np.zeros(1), *(np.zeros(0) for _ in range(most))]
    for value in values:
        for size in range(most, 0, -1):
            sums[size] = np.concatenate([sums[size], sums[size - 1] + value])
    return sums


def _between(typical: Numbers, compared: Compared) -> tuple[float, float]:
    """Return the interval between typical values: each of the gaps between them is equally likely to hold the shift."""
    import numpy as np

    share = compared.tail
    rank = math.floor(share * (len(typical) + 1) * (1 + 1e-12))
    if rank < 1:
        return -math.inf, math.inf
    ordered = np.partition(typical, [rank - 1, len(typical) - rank])
    return claimed(float(ordered[rank - 1]), float(ordered[len(typical) - rank]), compared.alternative)


def _drawn(draw: Callable[[np.random.Generator, int], Numbers], resamples: int, seed: int, width: int) -> Numbers:
    """Return what many random draws give, a row each, in blocks that fit into memory."""
    import numpy as np

    rng = np.random.default_rng(seed % 2**64)
    rows = max(1, _CELLS // max(width, 1))
    return np.concatenate([draw(rng, min(rows, resamples - at)) for at in range(0, resamples, rows)])


# ---------------------------------------------------------------------------------------------- bootstrap


def _check_bootstrap(*, statistic: Any, **_settings: Any) -> None:
    if isinstance(statistic, str):
        if statistic not in ("mean", "median"):
            raise ValidationError(f"statistic must be 'mean', 'median' or a function, not {statistic!r}")
    elif not callable(statistic):
        raise ArgumentTypeError(f"statistic must be 'mean', 'median' or a function, not {type(statistic).__name__}")


@checked_verifier(_check_bootstrap)
def bootstrap(
    baseline: Any,
    treatment: Any,
    *,
    statistic: str | Callable[[Numbers, Numbers], float] = "mean",
    alpha: float = 0.05,
    alternative: str = "two-sided",
    paired: bool = True,
    resamples: int = 9_999,
    seed: int = 0,
) -> Verdict | dict[str, Verdict]:
    """Test whether a treatment changes a statistic of a metric, by redrawing replicates.

    Parameters
    ----------
    statistic : {"mean", "median"} or callable, default "mean"
        Of the differences of pairs; of independent samples, the difference of the two sides' statistics. A function
        ``(baseline, treatment) -> float`` of two arrays says itself what is compared. The interval of a mean is
        the bootstrap-t's, that of any other statistic is bias-corrected and accelerated (BCa).
    alpha, alternative
        As in `paired_t`.
    paired : bool, default True
        Whether pairs are redrawn; otherwise each side is redrawn by itself.
    resamples : int, default 9999
    seed : int, default 0

    Returns
    -------
    Verdict, or dict of str to Verdict
        `p_value` is the alpha at which `ci` reaches 0, at least 1 / (resamples + 1). For BCa, `details` has
        ``acceleration`` and ``bias_correction``, and under 30 replicates there is a warning: the interval is too short
        then.

    References
    ----------
    Efron and Tibshirani, "An introduction to the bootstrap", 1993, sections 12.5 and 14.3.

    Examples
    --------
    >>> verdict = bootstrap()({"f1": [0.1, 0.2, 0.3, 0.2, 0.4]}, {"f1": [0.3, 0.5, 0.4, 0.4, 0.7]})
    >>> verdict.holds, verdict.method
    (True, 'bootstrap-t, 9999 resamples')
    """

    def test(compared: Compared) -> dict[str, Any]:
        if statistic == "mean":
            return _bootstrap_t(compared, resamples, seed)
        return _bca(compared, statistic, resamples, seed)

    flat = flat_mean if statistic == "mean" else no_spread
    return judge("bootstrap", test, baseline, treatment, paired=paired, alpha=alpha, alternative=alternative, flat=flat)


def _bootstrap_t(compared: Compared, resamples: int, seed: int) -> dict[str, Any]:
    import numpy as np

    samples = [compared.differences] if compared.paired else [compared.treatment, compared.baseline]
    signs = (1.0, -1.0)

    def draw(rng: np.random.Generator, rows: int) -> Numbers:
        means, variances = np.zeros(rows), np.zeros(rows)
        for sign, sample in zip(signs, samples, strict=False):
            drawn = sample[rng.integers(0, len(sample), (rows, len(sample)))]
            means += sign * drawn.mean(axis=1)
            variances += drawn.var(axis=1, ddof=1) / len(sample)
        return np.column_stack([means, np.sqrt(variances)])

    drawn = _drawn(draw, resamples, seed, sum(compared.n))
    estimate = compared.estimate
    error = math.sqrt(sum(float(sample.var(ddof=1)) / len(sample) for sample in samples))
    away = drawn[:, 0] - estimate
    # A resample without spread lies infinitely far away, unless it is where the sample is.
    flat = drawn[:, 1] <= compared.rounding
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(
            flat, np.where(np.abs(away) <= compared.rounding, 0.0, np.copysign(np.inf, away)), away / drawn[:, 1]
        )
    share = compared.tail
    low, high = np.quantile(scaled, [share, 1 - share], method="inverted_cdf")
    ends = estimate - float(high) * error, estimate - float(low) * error
    statistic = estimate / error
    lower, upper = float((scaled <= statistic).mean()), float((scaled >= statistic).mean())
    return {
        "method": f"bootstrap-t, {resamples} resamples",
        "estimate": estimate,
        "estimand": "mean difference",
        "statistic": statistic,
        "p_value": max(tails(lower, upper, compared.alternative), 1 / (resamples + 1)),
        "ci": claimed(*ends, compared.alternative),
        "details": {"resamples": resamples},
    }


def _bca(compared: Compared, statistic: Any, resamples: int, seed: int) -> dict[str, Any]:
    import numpy as np
    from scipy.special import ndtr, ndtri

    sizes = compared.n
    of, estimand = _statistic_of(statistic, paired=compared.paired)
    ours, theirs = compared.baseline, compared.treatment
    estimate = float(of(ours[None], theirs[None])[0])

    def draw(rng: np.random.Generator, rows: int) -> Numbers:
        chosen = rng.integers(0, sizes[0], (rows, sizes[0]))
        return of(ours[chosen], theirs[chosen if compared.paired else rng.integers(0, sizes[1], (rows, sizes[1]))])

    drawn = np.sort(_drawn(draw, resamples, seed, sum(sizes)))
    if not np.isfinite(drawn).all() or not math.isfinite(estimate):
        raise ValidationError("the statistic of the bootstrap gave a value that is not finite")
    fields: dict[str, Any] = {"estimate": estimate, "estimand": estimand, "statistic": estimate}
    if drawn[0] == drawn[-1]:
        return no_spread(compared) | fields
    bias = float(ndtri(_share_below(drawn, estimate)))
    influences = _influences(of, ours, theirs, paired=compared.paired)
    second = sum(float((each**2).sum()) for each in influences)
    acceleration = sum(float((each**3).sum()) for each in influences) / (6 * second**1.5) if second else 0.0

    def corrected(share: float) -> float:
        reached = bias + float(ndtri(share))
        return float(ndtr(bias + reached / (1 - acceleration * reached)))

    share = compared.tail
    ends = np.quantile(drawn, [corrected(share), corrected(1 - share)])
    # The same correction backwards: the level at which the interval ends at zero.
    reached = float(ndtri(_share_below(drawn, 0.0))) - bias
    lower = float(ndtr(reached / (1 + acceleration * reached) - bias)) if math.isfinite(reached) else float(reached > 0)
    warnings = ("small-n: a BCa interval of fewer than 30 replicates is too short",) if min(sizes) < _FEW else ()
    return fields | {
        "method": f"BCa bootstrap, {resamples} resamples",
        "p_value": max(tails(1 - lower, lower, compared.alternative), 1 / (resamples + 1)),
        "ci": claimed(float(ends[0]), float(ends[1]), compared.alternative),
        "warnings": warnings,
        "details": {"resamples": resamples, "acceleration": acceleration, "bias_correction": bias},
    }


def _statistic_of(statistic: Any, *, paired: bool) -> tuple[Callable[[Numbers, Numbers], Numbers], str]:
    """Return a function of many resamples, a row each, and the name of what it estimates."""
    import numpy as np

    if statistic == "median":
        if paired:
            return lambda ours, theirs: np.median(theirs - ours, axis=1), "median difference"
        return lambda ours, theirs: np.median(theirs, axis=1) - np.median(ours, axis=1), "difference of medians"

    def each(ours: Numbers, theirs: Numbers) -> Numbers:
        return np.fromiter((float(statistic(a, b)) for a, b in zip(ours, theirs, strict=True)), float, len(ours))

    return each, getattr(statistic, "__name__", "statistic")


def _share_below(ordered: Numbers, value: float) -> float:
    """Return the share of ordered numbers below a value, those equal to it counted half."""
    import numpy as np

    below, up_to = np.searchsorted(ordered, [value], "left")[0], np.searchsorted(ordered, [value], "right")[0]
    return float((below + up_to) / (2 * len(ordered)))


def _influences(
    of: Callable[[Numbers, Numbers], Numbers], ours: Numbers, theirs: Numbers, *, paired: bool
) -> Sequence[Numbers]:
    """Return how much each replicate pulls the statistic, by leaving it out; of unpaired sides, each side apart."""
    import numpy as np

    def without(values: Numbers) -> Numbers:
        count = len(values)
        return np.broadcast_to(values, (count, count))[~np.eye(count, dtype=bool)].reshape(count, count - 1)

    def pull(left_out: Numbers) -> Numbers:
        return np.asarray((left_out.mean() - left_out) * (len(left_out) - 1) / len(left_out))

    if paired:
        return [pull(of(without(ours), without(theirs)))]
    return [
        pull(of(without(ours), np.broadcast_to(theirs, (len(ours), len(theirs))))),
        pull(of(np.broadcast_to(ours, (len(theirs), len(ours))), without(theirs))),
    ]
