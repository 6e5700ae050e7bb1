"""Tests of all treatments at once: Dunnett's against one baseline, Friedman's over many data sets."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from crystallize.errors import ValidationError
from crystallize.hooks.tools import adjust, check_choice
from crystallize_plugins.verifiers.compared import (
    ALTERNATIVES,
    Compared,
    as_verdict,
    checked_verifier,
    compare,
    interval,
    judge_family,
    no_spread,
)
from crystallize_plugins.verifiers.ranks import signed_ranks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystallize.hooks import Verdict

__all__ = ["dunnett", "friedman"]

_FEWEST = 2


@checked_verifier(family=True)
def dunnett(baseline: Any, treatments: Any, *, alpha: float = 0.05, alternative: str = "two-sided") -> dict[str, Any]:
    """Compare the means of several treatments with one baseline: Dunnett's test.

    It is called ``(baseline, {treatment: values})``. It supposes normal values of one variance, not paired.

    Parameters
    ----------
    alpha, alternative
        As in `paired_t`.

    Returns
    -------
    dict of str to Verdict, or to dict of str to Verdict
        By treatment, and by metric where there are several. `p_value` and `ci` are simultaneous for all treatments;
        `p_adjusted` is `p_value` times the number of metrics.

    References
    ----------
    Dunnett, "A multiple comparison procedure for comparing several treatments with a control", Journal of the American
    Statistical Association 50, 1955.

    Examples
    --------
    >>> told = dunnett()([4.2, 5.6, 5.2, 6.1, 4.5], {"a": [6.3, 5.1, 5.5, 5.6, 5.4], "b": [7.9, 8.2, 6.9, 7.5, 8.0]})
    >>> {name: verdict.holds for name, verdict in told.items()}
    {'a': False, 'b': True}
    """

    def test(ours: Mapping[str, Any], theirs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        told: dict[str, dict[str, Verdict]] = {name: {} for name in theirs}
        for metric, values in ours.items():
            compared = {
                name: compare(values, each[metric], metric=metric, paired=False, alpha=alpha, alternative=alternative)
                for name, each in theirs.items()
            }
            for name, fields in _dunnett(compared, alpha, alternative).items():
                p_value = fields.get("p_value", math.nan)
                fields["p_adjusted"] = min(1.0, p_value * len(ours)) if not math.isnan(p_value) else math.nan
                told[name][metric] = as_verdict("dunnett", compared[name], fields, (metric,) if metric else ())
        return {
            name: by_metric if len(by_metric) > 1 else next(iter(by_metric.values()))
            for name, by_metric in told.items()
        }

    return judge_family("dunnett", test, baseline, treatments)


def _dunnett(compared: Mapping[str, Compared], alpha: float, alternative: str) -> dict[str, dict[str, Any]]:
    import numpy as np
    from scipy.optimize import brentq

    samples = [next(iter(compared.values())).baseline, *(each.treatment for each in compared.values())]
    sizes = [len(sample) for sample in samples]
    if min(sizes) < _FEWEST:
        return {name: {"warnings": (f"too-few: a sample has fewer than {_FEWEST} values",)} for name in compared}
    df = sum(sizes) - len(samples)
    if not any(each.varies for each in compared.values()):
        return {name: no_spread(each) for name, each in compared.items()}
    pooled = math.sqrt(sum(float(((sample - sample.mean()) ** 2).sum()) for sample in samples) / df)
    errors = {name: pooled * math.sqrt(1 / each.n[0] + 1 / each.n[1]) for name, each in compared.items()}
    loadings = np.array([math.sqrt(each.n[1] / (each.n[0] + each.n[1])) for each in compared.values()])
    two_sided = alternative == "two-sided"
    critical = float(brentq(lambda c: _tail(c, loadings, df, two_sided=two_sided) - alpha, 0.0, 1e3))
    sign = -1.0 if alternative == "less" else 1.0
    told = {}
    for name, each in compared.items():
        statistic = each.estimate / errors[name]
        bound = abs(statistic) if two_sided else sign * statistic
        told[name] = {
            "method": "Dunnett's test",
            "estimate": each.estimate,
            "estimand": "mean difference",
            "statistic": statistic,
            "df": df,
            "p_value": min(1.0, _tail(bound, loadings, df, two_sided=two_sided)),
            "ci": interval(each.estimate, critical * errors[name], alternative),
            "details": {"critical_value": critical},
        }
    return told


def _tail(bound: float, loadings: Any, df: int, *, two_sided: bool) -> float:
    """Return the probability that some statistic exceeds a bound; their correlations come from the common baseline.

    Given the baseline's mean and the pooled spread the statistics are independent, so the probability is an integral
    over these two: Dunnett 1955, equations 3 and 4.
    """
    import numpy as np
    from scipy.special import ndtr

    spreads, common, weights = _grid(df)
    reach, shift, rest = bound * spreads[:, None, None], loadings * common[None, :, None], np.sqrt(1 - loadings**2)
    beyond = ndtr((shift - reach) / rest)
    if two_sided:
        beyond += ndtr((-reach - shift) / rest)
    # In this form small probabilities keep their digits.
    with np.errstate(divide="ignore"):
        some = -np.expm1(np.log1p(-np.minimum(beyond, 1.0)).sum(axis=2))
    return float((weights * some).sum())


@lru_cache(maxsize=64)
def _grid(df: int) -> tuple[Any, Any, Any]:
    """Return spreads (of a chi distribution with `df` degrees of freedom), normal values, and the weight of each pair.

    The trapezoidal rule, which converges fast where an integrand vanishes at both ends.
    """
    import numpy as np
    from scipy.special import chdtri

    normal = np.linspace(-8.5, 8.5, 121)
    logs = np.linspace(math.log(chdtri(df, 1 - 1e-15)) / 2, math.log(chdtri(df, 1e-15)) / 2, 121)
    density = np.exp(df * logs - np.exp(2 * logs) / 2 - (df * logs - np.exp(2 * logs) / 2).max())
    weights = np.outer(density / density.sum(), np.exp(-(normal**2) / 2))
    return np.exp(logs) / math.sqrt(df), normal, weights / weights.sum()


def _check_friedman(*, posthoc: Any, better: Any, **_settings: Any) -> None:
    check_choice(posthoc, ("wilcoxon", "nemenyi"), what="posthoc")
    check_choice(better, ("higher", "lower"), what="better")


@checked_verifier(_check_friedman, family=True)
def friedman(
    baseline: Any,
    treatments: Any,
    *,
    posthoc: str = "wilcoxon",
    better: str = "higher",
    alpha: float = 0.05,
) -> dict[str, Verdict]:
    """Compare treatments with the baseline over many data sets: Friedman's test, and one after it.

    It is called ``(baseline, {treatment: metrics})``; the metrics are the data sets, and count by their means.

    Parameters
    ----------
    posthoc : {"wilcoxon", "nemenyi"}
        How each treatment is compared with the baseline: by Wilcoxon's exact test, adjusted by Holm's procedure, or by
        the difference of mean ranks, which depends on what else is in the pool.
    better : {"higher", "lower"}
        Which values get the first ranks.
    alpha : float, default 0.05

    Returns
    -------
    dict of str to Verdict
        By treatment. ``details["omnibus"]`` has ``chi2``, Iman and Davenport's ``F`` and its ``p_value``, Nemenyi's
        ``critical_difference``, and ``mean_ranks`` by condition.

    References
    ----------
    Demšar, "Statistical comparisons of classifiers over multiple data sets", Journal of Machine Learning Research 7,
    2006. Benavoli, Corani and Mangili, "Should we really use post-hoc tests based on mean-ranks?", Journal of Machine
    Learning Research 17, 2016.

    Examples
    --------
    >>> first = {"iris": [0.90], "wine": [0.80], "digits": [0.70], "faces": [0.60]}
    >>> second = {"iris": [0.91], "wine": [0.83], "digits": [0.72], "faces": [0.64]}
    >>> told = friedman()(first, {"second": second})
    >>> told["second"].p_value, told["second"].details["omnibus"]["mean_ranks"]
    (0.125, {'baseline': 2.0, 'second': 1.0})
    """

    def test(ours: Mapping[str, Any], theirs: Mapping[str, Mapping[str, Any]]) -> dict[str, Verdict]:
        return _friedman(ours, theirs, posthoc=posthoc, better=better, alpha=alpha)

    return judge_family("friedman", test, baseline, treatments)


def _friedman(
    ours: Mapping[str, Any], theirs: Mapping[str, Mapping[str, Any]], *, posthoc: str, better: str, alpha: float
) -> dict[str, Verdict]:
    from scipy.special import fdtrc
    from scipy.stats import rankdata, studentized_range

    if len(ours) < _FEWEST:
        raise ValidationError(
            f"friedman compares over data sets, one a metric, and needs at least two, not {len(ours)}"
        )
    means, dropped = _means(ours, theirs)
    sets, pool = means.shape
    ranks = rankdata(-means if better == "higher" else means, axis=1).mean(axis=0)
    chi2 = 12 * sets / (pool * (pool + 1)) * (float((ranks**2).sum()) - pool * (pool + 1) ** 2 / 4)
    rest = sets * (pool - 1) - chi2
    ratio = (sets - 1) * chi2 / rest if rest > 1e-9 * sets else math.inf
    unit = math.sqrt(pool * (pool + 1) / (6 * sets))
    omnibus = {
        "chi2": chi2,
        "F": ratio,
        "p_value": float(fdtrc(pool - 1, (pool - 1) * (sets - 1), ratio)) if math.isfinite(ratio) else 0.0,
        "critical_difference": float(studentized_range.ppf(1 - alpha, pool, math.inf)) / math.sqrt(2) * unit,
        "mean_ranks": dict(zip(["baseline", *theirs], ranks.tolist(), strict=True)),
    }
    compared = {
        name: Compared(means[:, 0], means[:, at], True, ALTERNATIVES[0], alpha, 0, dropped[name])  # noqa: FBT003
        for at, name in enumerate(theirs, 1)
    }
    fields: dict[str, dict[str, Any]] = {}
    for at, name in enumerate(theirs, 1):
        if posthoc == "wilcoxon":
            fields[name] = signed_ranks(compared[name]) if compared[name].differences.any() else {"p_value": 1.0}
        else:
            difference = float(ranks[at] - ranks[0])
            fields[name] = {
                "method": "Nemenyi's test",
                "estimate": difference,
                "estimand": "difference of mean ranks",
                "statistic": difference / unit,
                "p_value": float(studentized_range.sf(abs(difference) / unit * math.sqrt(2), pool, math.inf)),
                "ci": interval(difference, omnibus["critical_difference"], ALTERNATIVES[0]),
            }
    p_values = {name: each["p_value"] for name, each in fields.items()}
    adjusted = adjust(p_values) if posthoc == "wilcoxon" else p_values
    return {
        name: as_verdict(
            "friedman",
            compared[name],
            {**each, "p_adjusted": adjusted[name], "details": {"omnibus": omnibus, "posthoc": posthoc}},
            tuple(ours),
        )
        for name, each in fields.items()
    }


def _means(ours: Mapping[str, Any], theirs: Mapping[str, Mapping[str, Any]]) -> tuple[Any, dict[str, tuple[str, ...]]]:
    """Return the mean of each data set (rows) by condition (columns, baseline first), and the warnings by treatment."""
    import numpy as np

    columns: list[list[float]] = [[] for _ in range(1 + len(theirs))]
    warnings: dict[str, tuple[str, ...]] = dict.fromkeys(theirs, ())
    for metric, values in ours.items():
        for at, (name, each) in enumerate(theirs.items(), 1):
            compared = compare(values, each[metric], metric=metric, paired=False)
            if not min(compared.n):
                raise ValidationError(f"metric {metric!r} of treatment {name!r} or of the baseline has no finite value")
            warnings[name] += tuple(text for text in compared.warnings if not text.startswith("shared-seeds"))
            if at == 1:
                columns[0].append(float(compared.baseline.mean()))
            columns[at].append(float(compared.treatment.mean()))
    return np.array(columns).T, warnings
