"""Student's tests and their relatives: of a mean difference, of equivalence, of being not inferior."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from crystallize.hooks.tools import check_choice
from crystallize_plugins.verifiers.compared import (
    Compared,
    check_number,
    check_range,
    checked_verifier,
    interval,
    judge,
)
from crystallize_plugins.verifiers.resampling import flat_mean

if TYPE_CHECKING:
    from crystallize.hooks import Verdict

__all__ = ["noninferiority", "paired_t", "resampled_t", "tost", "welch"]


@checked_verifier()
def paired_t(
    baseline: Any, treatment: Any, *, alpha: float = 0.05, alternative: str = "two-sided"
) -> Verdict | dict[str, Verdict]:
    """Test whether a treatment changes the mean of a metric, replicate by replicate: Student's t test on differences.

    Baseline and treatment share each replicate's seed, and so, where steps draw from ``ctx.rng``, its data: comparing
    within replicates takes the variation between them out. It supposes that the differences are about normal, or many.

    Parameters
    ----------
    alpha : float, default 0.05
        The probability of a false claim that is accepted, between 0 and 1.
    alternative : {"two-sided", "greater", "less"}
        What is claimed of the treatment: that its mean is another one, a greater one, or a smaller one.

    Returns
    -------
    Verdict, or dict of str to Verdict
        By metric where there are several. `effect_size` is d_z: the mean difference divided by the standard
        deviation of the differences. Where all differences are equal, the p-value is that of `permutation`.

    Raises
    ------
    TypeError, ValueError
        A setting, or a value of a metric, is of the wrong kind, or makes no sense; settings are checked when given.
    MissingExtraError
        SciPy is not installed.

    References
    ----------
    Student, "The probable error of a mean", Biometrika 6, 1908. d_z: Cohen, "Statistical power analysis for the
    behavioral sciences", 1988, section 2.3.5.

    Examples
    --------
    >>> verdict = paired_t(alternative="greater")({"accuracy": [0.5, 0.6, 0.7]}, {"accuracy": [0.6, 0.75, 0.8]})
    >>> round(verdict.p_value, 4), verdict.n
    (0.0099, (3, 3))
    """
    return judge(
        "paired_t", _student, baseline, treatment, paired=True, alpha=alpha, alternative=alternative, flat=flat_mean
    )


def _check_resampled(*, test_share: Any, **_settings: Any) -> None:
    check_number(test_share, "test_share", low=0, high=1)


@checked_verifier(_check_resampled)
def resampled_t(
    baseline: Any, treatment: Any, *, test_share: float, alpha: float = 0.05, alternative: str = "two-sided"
) -> Verdict | dict[str, Verdict]:
    """Test whether a treatment changes the mean of a metric, where replicates are random splits of one data set.

    Such splits share most of their training data, so their results are not independent, and `paired_t` finds effects
    too easily. This test widens the variance: ``1/n + test_share / (1 - test_share)`` in place of ``1/n``.

    Parameters
    ----------
    test_share : float
        The share of the data that each split holds out for testing; of k folds, 1/k.
    alpha, alternative
        As in `paired_t`.

    Returns
    -------
    Verdict, or dict of str to Verdict

    References
    ----------
    Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003.

    Examples
    --------
    >>> verdict = resampled_t(test_share=0.3)({"accuracy": [0.5, 0.6, 0.7]}, {"accuracy": [0.6, 0.75, 0.8]})
    >>> round(verdict.p_value, 4)
    0.0436
    """

    def test(compared: Compared) -> dict[str, Any]:
        return _student(compared, _Difference.of_pairs(compared, overlap=test_share / (1 - test_share)))

    return judge("resampled_t", test, baseline, treatment, paired=True, alpha=alpha, alternative=alternative)


@checked_verifier()
def welch(
    baseline: Any, treatment: Any, *, alpha: float = 0.05, alternative: str = "two-sided"
) -> Verdict | dict[str, Verdict]:
    """Test whether a treatment changes the mean of a metric, where replicates cannot be paired; variances may differ.

    Where baseline and treatment share seeds, `paired_t` sees smaller effects.

    Parameters
    ----------
    alpha, alternative
        As in `paired_t`.

    Returns
    -------
    Verdict, or dict of str to Verdict
        `effect_size` is Hedges' g: the difference in units of the pooled standard deviation, times the exact
        correction J for its bias.

    References
    ----------
    Welch, "The generalization of Student's problem", Biometrika 34, 1947. Hedges, "Distribution theory for Glass's
    estimator of effect size", Journal of Educational Statistics 6, 1981, equation 6e.

    Examples
    --------
    >>> verdict = welch()({"loss": [1.0, 2.0, 3.0]}, {"loss": [4.0, 5.0, 6.5]})
    >>> round(verdict.p_value, 4), verdict.n
    (0.0291, (3, 3))
    """
    return judge(
        "welch", _student, baseline, treatment, paired=False, alpha=alpha, alternative=alternative, flat=flat_mean
    )


def _check_tost(*, margin: Any, **_settings: Any) -> None:
    check_range(margin, "margin")


@checked_verifier(_check_tost)
def tost(
    baseline: Any, treatment: Any, *, margin: float | tuple[float, float], alpha: float = 0.05, paired: bool = True
) -> Verdict | dict[str, Verdict]:
    """Test whether a treatment leaves the mean of a metric as it is, but for a margin: two one-sided t tests.

    Parameters
    ----------
    margin : float, or tuple of float
        In the unit of the metric: how far the means may differ and still be called equivalent, to both sides, or
        ``(low, high)``.
    alpha : float, default 0.05
    paired : bool, default True
        Whether replicates are compared in pairs; otherwise by Welch's test.

    Returns
    -------
    Verdict, or dict of str to Verdict
        `p_value` is the larger of the two, `statistic` its t; `ci` has the level 1 - 2 alpha, and lies within the
        margin just where the claim holds.

    References
    ----------
    Schuirmann, "A comparison of the two one-sided tests procedure and the power approach", Journal of
    Pharmacokinetics and Biopharmaceutics 15, 1987.

    Examples
    --------
    >>> verdict = tost(margin=0.5)({"accuracy": [0.5, 0.6, 0.7]}, {"accuracy": [0.6, 0.75, 0.8]})
    >>> verdict.holds, round(verdict.p_value, 4)
    (True, 0.0009)
    """
    low, high = check_range(margin, "margin")

    def test(compared: Compared) -> dict[str, Any]:
        difference = _Difference.of(compared)
        above, below = difference.test("greater", low), difference.test("less", high)
        statistic, p_value = max(above, below, key=lambda each: each[1])
        return {
            "method": f"two one-sided {difference.method}s, margin {low:g} to {high:g}",
            "statistic": statistic,
            "p_value": p_value,
            "ci": difference.interval(2 * compared.alpha, "two-sided"),
            "details": {"margin": (low, high), "level": 1 - 2 * compared.alpha},
            **difference.fields(),
        }

    def flat(compared: Compared) -> dict[str, Any]:
        p_values = _flat_claim(compared, "greater", low)["p_value"], _flat_claim(compared, "less", high)["p_value"]
        return flat_mean(compared) | {"p_value": max(p_values), "details": {"margin": (low, high)}}

    return judge("tost", test, baseline, treatment, paired=paired, alpha=alpha, flat=flat)


def _check_noninferiority(*, margin: Any, better: Any = "higher", **_settings: Any) -> None:
    check_number(margin, "margin", low=0)
    check_choice(better, ("higher", "lower"), what="better")


@checked_verifier(_check_noninferiority)
def noninferiority(
    baseline: Any,
    treatment: Any,
    *,
    margin: float,
    better: str = "higher",
    alpha: float = 0.05,
    paired: bool = True,
) -> Verdict | dict[str, Verdict]:
    """Test whether a treatment is worse than the baseline by less than a margin.

    Parameters
    ----------
    margin : float
        In the unit of the metric, above 0: how much worse is still acceptable.
    better : {"higher", "lower"}
        Which values of the metric are better.
    alpha, paired
        As in `tost`.

    Returns
    -------
    Verdict, or dict of str to Verdict

    Examples
    --------
    >>> verdict = noninferiority(margin=0.1)({"accuracy": [0.5, 0.6, 0.7]}, {"accuracy": [0.5, 0.58, 0.69]})
    >>> verdict.holds, verdict.alternative
    (True, 'greater')
    """
    alternative, bound = ("greater", -margin) if better == "higher" else ("less", margin)

    def test(compared: Compared) -> dict[str, Any]:
        difference = _Difference.of(compared)
        statistic, p_value = difference.test(alternative, bound)
        return {
            "method": f"{difference.method} of not being worse by {margin:g}",
            "statistic": statistic,
            "p_value": p_value,
            "ci": difference.interval(compared.alpha, alternative),
            "details": {"margin": float(margin)},
            **difference.fields(),
        }

    def flat(compared: Compared) -> dict[str, Any]:
        return _flat_claim(compared, alternative, bound) | {
            "estimate": compared.estimate,
            "details": {"margin": margin},
        }

    return judge(
        "noninferiority",
        test,
        baseline,
        treatment,
        paired=paired,
        alpha=alpha,
        alternative=alternative,
        flat=flat,
    )


@dataclass(frozen=True)
class _Difference:
    """A mean difference with what Student's distribution needs to judge it."""

    method: str
    estimate: float
    error: float
    df: float
    effect_name: str
    effect_size: float

    @classmethod
    def of(cls, compared: Compared) -> _Difference:
        """Return that of pairs, or of two samples."""
        return cls.of_pairs(compared) if compared.paired else cls.of_samples(compared)

    @classmethod
    def of_pairs(cls, compared: Compared, *, overlap: float = 0.0) -> _Difference:
        """Return the mean of the differences; `overlap` is added to the ``1/n`` of its variance."""
        count = len(compared.differences)
        estimate, spread = compared.estimate, float(compared.differences.std(ddof=1))
        error = spread * math.sqrt(1 / count + overlap)
        method = "corrected resampled t test" if overlap else "paired t test"
        return cls(method, estimate, error, count - 1, "d_z", estimate / spread)

    @classmethod
    def of_samples(cls, compared: Compared) -> _Difference:
        """Return the difference of two means, whose variances need not be equal."""
        sizes = compared.n
        spreads = [float(side.std(ddof=1)) for side in (compared.baseline, compared.treatment)]
        # Scaled, so that squares neither vanish nor overflow.
        unit = max(spreads)
        variances = [(spread / unit) ** 2 for spread in spreads]
        parts = [variance / size for variance, size in zip(variances, sizes, strict=True)]
        df = sum(parts) ** 2 / sum(part**2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
        free = sum(sizes) - 2
        pooled = math.sqrt(sum(v * (size - 1) for v, size in zip(variances, sizes, strict=True)) / free)
        effect = compared.estimate / unit / pooled * _hedges_correction(free)
        return cls("Welch's t test", compared.estimate, unit * math.sqrt(sum(parts)), df, "hedges_g", effect)

    def test(self, alternative: str, bound: float = 0.0) -> tuple[float, float]:
        """Return statistic and p-value of a claim about the difference less `bound`."""
        from scipy.special import stdtr

        statistic = (self.estimate - bound) / self.error
        if alternative == "two-sided":
            return statistic, float(2 * stdtr(self.df, -abs(statistic)))
        return statistic, float(stdtr(self.df, statistic if alternative == "less" else -statistic))

    def interval(self, alpha: float, alternative: str) -> tuple[float, float]:
        """Return the interval of level 1 - `alpha`."""
        from scipy.special import stdtrit

        tail = alpha / 2 if alternative == "two-sided" else alpha
        return interval(self.estimate, -float(stdtrit(self.df, tail)) * self.error, alternative)

    def fields(self) -> dict[str, Any]:
        """Return the fields of a verdict that do not depend on the claim."""
        return {
            "estimate": self.estimate,
            "estimand": "mean difference",
            "df": self.df,
            "effect_name": self.effect_name,
            "effect_size": self.effect_size,
        }


def _hedges_correction(df: float) -> float:
    """Return J, which takes the bias out of a standardised difference with so many degrees of freedom.

    ``gamma(df/2) / (sqrt(df/2) gamma((df-1)/2))``: Hedges 1981, equation 6e.
    """
    if df < 2:  # noqa: PLR2004 - undefined with one degree of freedom
        return math.nan
    return math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2)


def _flat_claim(compared: Compared, alternative: str, bound: float) -> dict[str, Any]:
    """Return what rearranging says of a claim about the difference less `bound`, where nothing varies."""
    return flat_mean(replace(compared, treatment=compared.treatment - bound, alternative=alternative))


def _student(compared: Compared, difference: _Difference | None = None) -> dict[str, Any]:
    difference = difference or _Difference.of(compared)
    statistic, p_value = difference.test(compared.alternative)
    return {
        "method": difference.method,
        "statistic": statistic,
        "p_value": p_value,
        "ci": difference.interval(compared.alpha, compared.alternative),
        **difference.fields(),
    }
