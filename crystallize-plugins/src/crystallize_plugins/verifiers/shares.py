"""Tests of shares of successes, and of scores over many tasks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from crystallize.errors import ValidationError
from crystallize_plugins.verifiers.compared import (
    Compared,
    as_verdict,
    checked_verifier,
    claimed,
    compare,
    judge,
    metrics_of,
    no_spread,
    tails,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from crystallize.hooks import Verdict

__all__ = ["iqm", "performance_profile", "proportion"]

_FEWEST = 2
_CELLS = 2**22


@checked_verifier()
def proportion(
    baseline: Any, treatment: Any, *, alpha: float = 0.05, alternative: str = "two-sided", paired: bool = True
) -> Verdict | dict[str, Verdict]:
    """Test whether a treatment changes the share of successes, of a metric that is 0 or 1.

    Parameters
    ----------
    alpha, alternative
        As in `paired_t`.
    paired : bool, default True
        Whether replicates are compared in pairs, by McNemar's exact test; otherwise by Fisher's.

    Returns
    -------
    Verdict, or dict of str to Verdict
        `statistic` is the number of replicates in which only the treatment succeeded (unpaired: in which the treatment
        did); `effect_size` Cohen's h. ``details["baseline"]`` and ``details["treatment"]`` are the share of successes
        with the two ends of Wilson's interval.

    Raises
    ------
    ValueError
        A value is neither 0 nor 1.

    References
    ----------
    McNemar, Psychometrika 12, 1947. Wilson, Journal of the American Statistical Association 22, 1927. Newcombe,
    "Interval estimation for the difference between independent proportions", method 10, and "Improved confidence
    intervals for the difference between binomial proportions based on paired data", method 10, Statistics in Medicine
    17, 1998. Cohen, "Statistical power analysis for the behavioral sciences", 1988, section 6.2.

    Examples
    --------
    >>> verdict = proportion()([0, 0, 1, 0, 0, 1, 0, 0], [1, 1, 1, 1, 1, 1, 1, 0])
    >>> verdict.estimate, verdict.statistic, verdict.p_value
    (0.625, 5.0, 0.0625)
    """
    return judge(
        "proportion",
        _proportion,
        baseline,
        treatment,
        paired=paired,
        alpha=alpha,
        alternative=alternative,
        flat=_proportion,
    )


def _proportion(compared: Compared) -> dict[str, Any]:
    for side in (compared.baseline, compared.treatment):
        other = side[(side != 0) & (side != 1)]
        if len(other):
            raise ValidationError(f"proportion compares successes, values of 0 or 1, and there is {float(other[0])!r}")
    sizes = compared.n
    counts = int(compared.baseline.sum()), int(compared.treatment.sum())
    shares = counts[0] / sizes[0], counts[1] / sizes[1]
    if compared.paired:
        alone = int((compared.differences > 0).sum()), int((compared.differences < 0).sum())
        method, statistic = "McNemar's exact test", float(alone[0])
        p_value = _binomial(alone[0], sum(alone), compared.alternative)
        both = int((compared.baseline * compared.treatment).sum())
        correlation = _newcombe_phi(both, alone[1], alone[0], sizes[0] - both - sum(alone))
    else:
        from scipy.stats import fisher_exact

        table = [[counts[1], sizes[1] - counts[1]], [counts[0], sizes[0] - counts[0]]]
        method, statistic = "Fisher's exact test", float(counts[1])
        p_value = float(fisher_exact(table, alternative=compared.alternative)[1])
        correlation = 0.0
    ends = _newcombe(counts, sizes, correlation, compared)
    wilson = [_wilson(count, size, compared.alpha / 2) for count, size in zip(counts, sizes, strict=True)]
    angles = [2 * math.asin(math.sqrt(share)) for share in shares]
    return {
        "method": method,
        "estimate": shares[1] - shares[0],
        "estimand": "difference of shares",
        "statistic": statistic,
        "p_value": p_value,
        "ci": claimed(*ends, compared.alternative),
        "effect_size": angles[1] - angles[0],
        "effect_name": "cohens_h",
        "details": {"baseline": (shares[0], *wilson[0]), "treatment": (shares[1], *wilson[1])},
    }


def _binomial(successes: int, count: int, alternative: str) -> float:
    from scipy.special import bdtr, bdtrc

    if not count:
        return 1.0
    lower = float(bdtr(successes, count, 0.5))
    upper = float(bdtrc(successes - 1, count, 0.5)) if successes else 1.0
    return tails(lower, upper, alternative)


def _wilson(count: int, size: int, tail: float) -> tuple[float, float]:
    """Return Wilson's interval for a share, with this probability beyond each end."""
    from scipy.special import ndtri

    z = -float(ndtri(tail))
    share, square = count / size, z * z / size
    middle = share + square / 2
    reach = z * math.sqrt(share * (1 - share) / size + square / (4 * size))
    return max(0.0, (middle - reach) / (1 + square)), min(1.0, (middle + reach) / (1 + square))


def _newcombe(
    counts: tuple[int, int], sizes: tuple[int, int], correlation: float, compared: Compared
) -> tuple[float, float]:
    """Return Newcombe's interval for the difference, from Wilson's for each share."""
    (low0, high0), (low1, high1) = (
        _wilson(count, size, compared.tail) for count, size in zip(counts, sizes, strict=True)
    )
    before, after = (count / size for count, size in zip(counts, sizes, strict=True))

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))

    return after - before - reach(after - low1, high0 - before), after - before + reach(high1 - after, before - low0)


def _newcombe_phi(both: int, baseline: int, treatment: int, neither: int) -> float:
    """Return the correlation of pairs as Newcombe's method 10 takes it: a positive one is reduced, to 0 at least."""
    margins = (both + baseline) * (treatment + neither) * (both + treatment) * (baseline + neither)
    if not margins:
        return 0.0
    product = float(both * neither - baseline * treatment)
    if product > 0:
        product = max(product - (both + baseline + treatment + neither) / 2, 0.0)
    return product / math.sqrt(margins)


@checked_verifier()
def iqm(
    baseline: Any,
    treatment: Any,
    *,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    paired: bool = True,
    resamples: int = 9_999,
    seed: int = 0,
) -> Verdict:
    """Compare the interquartile means of scores over many tasks; the metrics are the tasks.

    The interquartile mean is that of the middle half of all scores, so a few tasks or replicates that stand out count
    for nothing. The interval redraws the replicates within each task.

    Parameters
    ----------
    alpha, alternative
        As in `paired_t`.
    paired : bool, default True
        Whether both sides of a replicate are redrawn together.
    resamples : int, default 9999
    seed : int, default 0

    Returns
    -------
    Verdict
        One for all metrics. `effect_size`, and ``details["probability_of_improvement"]``, is the probability that a
        score of the treatment exceeds one of the baseline, ties counted half, averaged over tasks; `n` are the numbers
        of scores.

    References
    ----------
    Agarwal, Schwarzer, Castro, Courville and Bellemare, "Deep reinforcement learning at the edge of the statistical
    precipice", Advances in Neural Information Processing Systems 34, 2021.

    Examples
    --------
    >>> verdict = iqm()({"a": [1.0, 1.1, 0.9], "b": [2.0, 2.1, 1.9]}, {"a": [1.2, 1.3, 1.0], "b": [2.1, 2.4, 2.2]})
    >>> verdict.metrics, round(verdict.estimate, 3)
    (('a', 'b'), 0.2)
    """
    tasks = {
        metric: compare(ours, theirs, metric=metric, paired=paired, alpha=alpha, alternative=alternative)
        for metric, (ours, theirs) in metrics_of(baseline, treatment).items()
    }
    return _iqm(tasks, resamples, seed)


def _iqm(tasks: Mapping[str, Compared], resamples: int, seed: int) -> Verdict:
    import numpy as np

    first = next(iter(tasks.values()))
    whole = Compared(
        np.concatenate([task.baseline for task in tasks.values()]),
        np.concatenate([task.treatment for task in tasks.values()]),
        first.paired,
        first.alternative,
        first.alpha,
        sum(task.pairs_lost for task in tasks.values()),
        tuple(dict.fromkeys(warning for task in tasks.values() for warning in task.warnings)),
    )
    metrics = tuple(name for name in tasks if name)
    if any(min(task.n) < _FEWEST for task in tasks.values()):
        return as_verdict("iqm", whole, {"warnings": (f"too-few: a task has fewer than {_FEWEST} scores",)}, metrics)
    estimated = {
        "estimate": float(_middle_mean(whole.treatment[None])[0] - _middle_mean(whole.baseline[None])[0]),
        "estimand": "difference of interquartile means",
    }
    if not any(task.varies for task in tasks.values()):  # all that is drawn is the estimate, however few there are
        return as_verdict("iqm", whole, no_spread(whole) | estimated, metrics)
    rng = np.random.default_rng(seed % 2**64)
    rows = max(1, _CELLS // sum(whole.n))
    drawn = []
    for at in range(0, resamples, rows):
        size = min(rows, resamples - at)
        ours, theirs = [], []
        for task in tasks.values():
            chosen = rng.integers(0, task.n[0], (size, task.n[0]))
            ours.append(task.baseline[chosen])
            theirs.append(task.treatment[chosen if task.paired else rng.integers(0, task.n[1], (size, task.n[1]))])
        drawn.append(_middle_mean(np.hstack(theirs)) - _middle_mean(np.hstack(ours)))
    differences = np.concatenate(drawn)
    low, high = np.quantile(differences, [first.tail, 1 - first.tail])
    improvement = float(np.mean([_improvement(task) for task in tasks.values()]))
    lower, upper = float((differences >= 0).mean()), float((differences <= 0).mean())
    fields = {
        "method": f"interquartile means, percentile bootstrap by task, {resamples} resamples",
        **estimated,
        "p_value": max(tails(lower, upper, first.alternative), 1 / (resamples + 1)),
        "ci": claimed(low, high, first.alternative),
        "effect_size": improvement,
        "effect_name": "probability_of_improvement",
        "details": {"probability_of_improvement": improvement, "resamples": resamples},
    }
    return as_verdict("iqm", whole, fields, metrics)


def _middle_mean(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean of the middle half of each row: a quarter, rounded down, is cut off at each end."""
    import numpy as np

    count = scores.shape[1]
    cut = count // 4
    return np.asarray(np.partition(scores, [cut, count - cut - 1], axis=1)[:, cut : count - cut].mean(axis=1))


def _improvement(task: Compared) -> float:
    import numpy as np

    signs = np.sign(np.subtract.outer(task.treatment, task.baseline))
    return float((signs.mean() + 1) / 2)


def performance_profile(
    scores: Mapping[str, Sequence[float]] | Sequence[float], thresholds: Sequence[float]
) -> list[float]:
    """Return the share of scores above each threshold.

    Parameters
    ----------
    scores : mapping of str to sequence of float, or sequence of float
        By task, each task counting by its number of scores.
    thresholds : sequence of float

    Returns
    -------
    list of float
        A share for each threshold.

    References
    ----------
    Agarwal and others, as for `iqm`, section 4.2.

    Examples
    --------
    >>> performance_profile({"a": [1.0, 2.0], "b": [3.0, 4.0]}, [0.0, 2.0, 5.0])
    [1.0, 0.5, 0.0]
    """
    import numpy as np

    listed = [scores] if not hasattr(scores, "values") else [*scores.values()]
    pooled = np.concatenate([np.asarray(each, float).ravel() for each in listed])
    return [float((pooled > threshold).mean()) for threshold in thresholds]
