"""Tests by ranks: Wilcoxon's signed ranks, Mann and Whitney's, Brunner and Munzel's."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from crystallize_plugins.verifiers.compared import (
    NO_INTERVAL,
    Compared,
    checked_verifier,
    claimed,
    interval,
    judge,
    tails,
)
from crystallize_plugins.verifiers.resampling import MOST_ARRANGEMENTS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from crystallize.hooks import Verdict

    Numbers = npt.NDArray[np.float64]

__all__ = ["brunnermunzel", "mannwhitney", "signed_ranks", "wilcoxon"]

_EXACT_UP_TO = 50
_ENOUGH_FOR_T = 10
_RESAMPLES = 9_999


@checked_verifier()
def wilcoxon(
    baseline: Any, treatment: Any, *, alpha: float = 0.05, alternative: str = "two-sided"
) -> Verdict | dict[str, Verdict]:
    """Test whether a treatment shifts a metric, replicate by replicate: Wilcoxon's signed ranks.

    Differences of zero are dropped. The p-value is exact, whatever ties there are, up to 50 differences; beyond it is
    that of the normal distribution, with corrections for ties and continuity.

    Parameters
    ----------
    alpha, alternative
        As in `paired_t`.

    Returns
    -------
    Verdict, or dict of str to Verdict
        `statistic` is V, the sum of the ranks of the positive differences; `estimate` the pseudomedian, the median of
        the means of all pairs of differences; `effect_size` the rank-biserial correlation.

    References
    ----------
    Hollander, Wolfe and Chicken, "Nonparametric statistical methods", 2014, section 3.1 to 3.3. Kerby, "The simple
    difference formula", Comprehensive Psychology 3, 2014.

    Examples
    --------
    >>> verdict = wilcoxon()([1.1, 2.0, 2.9, 4.2, 5.0], [1.5, 2.8, 3.4, 5.1, 6.2])
    >>> verdict.statistic, verdict.p_value
    (15.0, 0.0625)
    """
    return judge("wilcoxon", signed_ranks, baseline, treatment, paired=True, alpha=alpha, alternative=alternative)


def signed_ranks(compared: Compared) -> dict[str, Any]:
    """Return the fields of Wilcoxon's test."""
    import numpy as np
    from scipy.stats import rankdata

    differences = compared.differences[np.abs(compared.differences) > 0]
    count, zeros = len(differences), len(compared.differences) - len(compared.differences.nonzero()[0])
    warnings = [f"zeros: {zeros} differences of zero are dropped"] if zeros else []
    method = "exact Wilcoxon signed-rank test"
    ranks = rankdata(np.abs(differences))
    positive = float(ranks[differences > 0].sum())
    total = count * (count + 1) / 2
    repeats = np.unique(ranks, return_counts=True)[1]
    if (repeats > 1).any():
        warnings.append("ties: some differences are equally large; their ranks are shared")
    if count <= _EXACT_UP_TO:
        chances = _sums_of_any(tuple((2 * ranks).astype(int).tolist()))
        at = round(2 * positive)
        p_value = tails(float(chances[: at + 1].sum()), float(chances[at:].sum()), compared.alternative)
    else:
        method = "Wilcoxon signed-rank test, normal approximation"
        variance = count * (count + 1) * (2 * count + 1) / 24 - float((repeats**3 - repeats).sum()) / 48
        p_value = _normal(positive - total / 2, math.sqrt(variance), compared.alternative)
    means = np.sort(np.add.outer(differences, differences)[np.triu_indices(count)] / 2)
    return {
        "method": method,
        "estimand": "pseudomedian of the differences",
        "estimate": float(np.median(means)),
        "statistic": positive,
        "p_value": p_value,
        "ci": _ordered_interval(means, lambda share: _signed_rank_quantile(share, count), compared),
        "effect_size": (2 * positive - total) / total,
        "effect_name": "rank_biserial",
        "warnings": (*warnings, *_small(2.0**-count, compared)),
    }


@checked_verifier()
def mannwhitney(
    baseline: Any, treatment: Any, *, alpha: float = 0.05, alternative: str = "two-sided"
) -> Verdict | dict[str, Verdict]:
    """Test whether a treatment shifts a metric, where replicates cannot be paired: Mann and Whitney's U.

    The p-value is exact, whatever ties there are, up to 50 replicates on each side; beyond it is that of the normal
    distribution, with corrections for ties and continuity.

    Parameters
    ----------
    alpha, alternative
        As in `paired_t`.

    Returns
    -------
    Verdict, or dict of str to Verdict
        `statistic` is U of the treatment: in how many pairs of values it is the greater one, ties counted half;
        `estimate` the median of the differences of all such pairs (Hodges and Lehmann's shift); `effect_size` Cliff's
        delta.

    References
    ----------
    Hollander, Wolfe and Chicken, "Nonparametric statistical methods", 2014, section 4.1 to 4.3. Cliff, "Dominance
    statistics", Psychological Bulletin 114, 1993.

    Examples
    --------
    >>> verdict = mannwhitney()([1.1, 2.0, 2.9, 4.2], [3.0, 4.8, 5.4, 7.1])
    >>> verdict.statistic, round(verdict.p_value, 4)
    (15.0, 0.0571)
    """
    return judge("mannwhitney", _rank_sums, baseline, treatment, paired=False, alpha=alpha, alternative=alternative)


def _rank_sums(compared: Compared) -> dict[str, Any]:
    import numpy as np
    from scipy.stats import rankdata

    before, after = compared.n
    pooled = np.concatenate([compared.treatment, compared.baseline])
    ranks = rankdata(pooled)
    statistic = float(ranks[:after].sum()) - after * (after + 1) / 2
    repeats = np.unique(ranks, return_counts=True)[1]
    warnings = ["ties: some values are equal; their ranks are shared"] if (repeats > 1).any() else []
    if max(before, after) <= _EXACT_UP_TO:
        method = "exact Mann-Whitney test"
        doubled = tuple(sorted((2 * ranks).astype(int).tolist()))
        chances = _sums_of_some(doubled, min(before, after))
        # The side with fewer values is the one whose sums were counted.
        own = float(ranks[:after].sum()) if after <= before else float(ranks[after:].sum())
        at = round(2 * own)
        lower, upper = float(chances[: at + 1].sum()), float(chances[at:].sum())
        p_value = tails(*((lower, upper) if after <= before else (upper, lower)), compared.alternative)
    else:
        method = "Mann-Whitney test, normal approximation"
        total = before + after
        ties = float((repeats**3 - repeats).sum()) / (total * (total - 1))
        error = math.sqrt(before * after / 12 * (total + 1 - ties))
        p_value = _normal(statistic - before * after / 2, error, compared.alternative) if error else 1.0
    shifts = np.sort(np.subtract.outer(compared.treatment, compared.baseline).ravel())
    return {
        "method": method,
        "estimate": float(np.median(shifts)),
        "estimand": "Hodges-Lehmann shift",
        "statistic": statistic,
        "p_value": p_value,
        "ci": _ordered_interval(shifts, lambda share: _rank_sum_quantile(share, before, after), compared),
        "effect_size": 2 * statistic / (before * after) - 1,
        "effect_name": "cliffs_delta",
        "warnings": (*warnings, *_small(1 / math.comb(before + after, before), compared)),
    }


@checked_verifier()
def brunnermunzel(
    baseline: Any, treatment: Any, *, alpha: float = 0.05, alternative: str = "two-sided"
) -> Verdict | dict[str, Verdict]:
    """Test whether a value of the treatment tends to be greater than one of the baseline, whatever their spreads.

    Under ten replicates on a side, or where the two sides do not overlap, the statistic is compared with those of
    rearranged values, all of them up to 2**20, in place of Student's distribution.

    Parameters
    ----------
    alpha, alternative
        As in `paired_t`.

    Returns
    -------
    Verdict, or dict of str to Verdict
        `estimate` is P(treatment > baseline) + P(equal) / 2 - 1/2; `effect_size` Cliff's delta, twice as much.

    References
    ----------
    Brunner and Munzel, "The nonparametric Behrens-Fisher problem", Biometrical Journal 42, 2000. Neubert and Brunner,
    "A studentized permutation test for the non-parametric Behrens-Fisher problem", Computational Statistics & Data
    Analysis 51, 2007.

    Examples
    --------
    >>> verdict = brunnermunzel()([1.1, 2.0, 2.9, 4.2], [3.0, 4.8, 5.4, 7.1])
    >>> verdict.estimate, verdict.effect_size
    (0.4375, 0.875)
    """
    return judge(
        "brunnermunzel", _brunner_munzel, baseline, treatment, paired=False, alpha=alpha, alternative=alternative
    )


def _brunner_munzel(compared: Compared) -> dict[str, Any]:
    import numpy as np
    from scipy.special import stdtr, stdtrit

    before, after = compared.n
    pooled = np.concatenate([compared.baseline, compared.treatment])
    own = np.zeros((1, len(pooled)), bool)
    own[0, before:] = True
    estimate, error, df = (float(each[0]) for each in _placements(pooled, own))
    separated = error == 0
    statistic = math.copysign(math.inf, estimate) if separated else estimate / error
    fields: dict[str, Any] = {
        "estimate": estimate,
        "estimand": "P(treatment > baseline) + P(equal)/2 - 1/2",
        "statistic": statistic,
        "df": df,
        "effect_size": 2 * estimate,
        "effect_name": "cliffs_delta",
        "ci": NO_INTERVAL,
    }
    warnings = []
    if not separated:
        low, high = interval(estimate, -float(stdtrit(df, compared.tail)) * error, compared.alternative)
        # No probability is outside 0 to 1.
        fields["ci"] = (max(low, -0.5) if math.isfinite(low) else low, min(high, 0.5) if math.isfinite(high) else high)
    else:
        warnings = ["separated: all values of one side are above those of the other, so there is no interval"]
    if separated or min(before, after) < _ENOUGH_FOR_T:
        p_value, tried, exact = _permuted_statistic(pooled, before, statistic, compared.alternative)
        fields["method"] = f"Brunner-Munzel test, {'all' if exact else 'random'} {tried} arrangements"
        fields["details"] = {"exact": exact, "arrangements": tried}
        warnings += _small(1 / math.comb(before + after, before), compared)
    else:
        fields["method"] = "Brunner-Munzel test"
        lower = float(stdtr(df, statistic))
        p_value = tails(lower, float(stdtr(df, -statistic)), compared.alternative)
    return fields | {"p_value": p_value, "warnings": (*warnings,)}


def _placements(pooled: Numbers, own: npt.NDArray[np.bool_]) -> tuple[Numbers, Numbers, Numbers]:
    """Return estimate, standard error and degrees of freedom, for each row that says which values are the treatment's.

    A value's placement is its rank among all, less that among its own side: how many of the other side it exceeds.
    """
    import numpy as np

    wins = (pooled[:, None] > pooled[None, :]) + 0.5 * (pooled[:, None] == pooled[None, :])
    theirs = own.astype(float)
    ours = 1 - theirs
    sizes = ours.sum(axis=1), theirs.sum(axis=1)
    over_baseline, over_treatment = ours @ wins.T, theirs @ wins.T

    def spread(placements: Numbers, chosen: Numbers, size: Numbers) -> tuple[Numbers, Numbers]:
        mean = (placements * chosen).sum(axis=1) / size
        return mean, (chosen * (placements - mean[:, None]) ** 2).sum(axis=1) / (size - 1)

    mean, after = spread(over_baseline, theirs, sizes[1])
    _, before = spread(over_treatment, ours, sizes[0])
    before, after = before / (sizes[0] * sizes[1] ** 2), after / (sizes[1] * sizes[0] ** 2)
    # Rounding leaves traces of a variance that is none.
    error = np.sqrt(np.where(before + after < 1e-20, 0.0, before + after))  # noqa: PLR2004 - of placements, which are halves
    with np.errstate(invalid="ignore", divide="ignore"):
        df = (before + after) ** 2 / (before**2 / (sizes[0] - 1) + after**2 / (sizes[1] - 1))
    return mean / sizes[0] - 0.5, error, df


def _permuted_statistic(pooled: Numbers, before: int, observed: float, alternative: str) -> tuple[float, int, bool]:
    """Return the p-value of the studentized statistic, how many arrangements were tried, and whether these are all."""
    import itertools

    import numpy as np

    count = len(pooled)
    after = count - before
    exact = math.comb(count, after) <= MOST_ARRANGEMENTS
    rng = np.random.default_rng(0)
    chosen = itertools.combinations(range(count), after) if exact else None
    extreme = tried = 0
    rows = max(1, 2**20 // count)
    total = math.comb(count, after) if exact else _RESAMPLES
    while tried < total:
        size = min(rows, total - tried)
        own = np.zeros((size, count), bool)
        if chosen is not None:
            picked = np.fromiter(
                itertools.chain.from_iterable(itertools.islice(chosen, size)), int, size * after
            ).reshape(size, after)
        else:
            picked = rng.permuted(np.tile(np.arange(count), (size, 1)), axis=1)[:, :after]
        np.put_along_axis(own, picked, values=True, axis=1)
        estimate, error, _ = _placements(pooled, own)
        with np.errstate(invalid="ignore", divide="ignore"):
            statistics = np.where(
                error > 0, estimate / error, np.where(estimate == 0, 0.0, np.copysign(np.inf, estimate))
            )
        tolerance = 0.0 if math.isinf(observed) else 1e-9 * max(abs(observed), 1.0)
        if alternative == "two-sided":
            extreme += int((np.abs(statistics) >= abs(observed) - tolerance).sum())
        elif alternative == "greater":
            extreme += int((statistics >= observed - tolerance).sum())
        else:
            extreme += int((statistics <= observed + tolerance).sum())
        tried += size
    return (extreme / tried if exact else (extreme + 1) / (tried + 1)), tried, exact


# ---------------------------------------------------------------------------------------------- distributions


@lru_cache(maxsize=64)
def _sums_of_any(parts: tuple[int, ...]) -> Numbers:
    """Return the probability of each sum, where each part is taken with probability 1/2."""
    import numpy as np

    chances = np.zeros(sum(parts) + 1)
    chances[0] = 1.0
    for part in parts:
        chances[part:] = (chances[part:] + chances[: len(chances) - part]) / 2
        chances[:part] /= 2
    return chances


@lru_cache(maxsize=64)
def _sums_of_some(parts: tuple[int, ...], size: int) -> Numbers:
    """Return the probability of each sum of `size` parts out of all, each choice being equally likely."""
    import numpy as np

    counts = np.zeros((size + 1, sum(parts[-size:]) + 1))
    counts[0, 0] = 1.0
    for part in parts:
        counts[1:, part:] += counts[:-1, : counts.shape[1] - part]
    return np.asarray(counts[size] / counts[size].sum())


def _signed_rank_quantile(share: float, count: int) -> int:
    """Return the smallest sum of signed ranks that is reached with at least this probability."""
    if count > _EXACT_UP_TO:
        return _normal_quantile(share, count * (count + 1) / 4, count * (count + 1) * (2 * count + 1) / 24)
    return _quantile(_sums_of_any(tuple(range(1, count + 1))), share)


def _rank_sum_quantile(share: float, before: int, after: int) -> int:
    if max(before, after) > _EXACT_UP_TO:
        return _normal_quantile(share, before * after / 2, before * after * (before + after + 1) / 12)
    size = min(before, after)
    chances = _sums_of_some(tuple(range(1, before + after + 1)), size)
    return _quantile(chances[size * (size + 1) // 2 :], share)


def _quantile(chances: Numbers, share: float) -> int:
    import numpy as np

    # As much as rounding may take from a sum of probabilities.
    return int(np.searchsorted(np.cumsum(chances), share * (1 - 1e-12)))


def _normal_quantile(share: float, mean: float, variance: float) -> int:
    from scipy.special import ndtri

    return max(0, math.floor(mean + float(ndtri(share)) * math.sqrt(variance) + 0.5))


def _normal(away: float, error: float, alternative: str) -> float:
    """Return the p-value of the normal distribution, corrected for continuity."""
    from scipy.special import ndtr

    if alternative == "two-sided":
        return min(1.0, 2 * float(ndtr(-max(abs(away) - 0.5, 0.0) / error)))
    sign = 1 if alternative == "greater" else -1
    return float(ndtr(-(sign * away - 0.5) / error))


def _ordered_interval(ordered: Numbers, quantile: Any, compared: Compared) -> tuple[float, float]:
    """Return the interval between two of the ordered estimates, as the test's own distribution gives them."""
    rank = max(1, quantile(compared.tail))
    return claimed(float(ordered[rank - 1]), float(ordered[len(ordered) - rank]), compared.alternative)


def _small(chance: float, compared: Compared) -> list[str]:
    """Return a warning where no arrangement of so few values could show anything."""
    least = chance * (2 if compared.alternative == "two-sided" else 1)
    if least <= compared.alpha:
        return []
    return [f"small-n: with so few replicates the smallest p-value is {min(1.0, least):.2g}"]
