"""What the verifiers share: settings checked when they are given, the samples that are compared, the verdict on them.

A verifier is a function ``(baseline, treatment, *, settings)``. Its body calls `judge` with a function that compares
the numbers of one metric and returns the fields of a `Verdict`; pairing, what is left out, the warnings, and what the
fields have in common are here.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crystallize.errors import ArgumentTypeError, MissingExtraError, ValidationError
from crystallize.hooks import MetricValues, Verdict
from crystallize.hooks.declarations import BoundVerifier, VerifierFactory
from crystallize.hooks.tools import as_number, check_choice

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.float64]

__all__ = [
    "ALTERNATIVES",
    "NO_INTERVAL",
    "CheckedFactory",
    "Compared",
    "as_verdict",
    "check_number",
    "check_range",
    "checked_verifier",
    "claimed",
    "compare",
    "interval",
    "judge",
    "judge_family",
    "metrics_of",
    "no_spread",
    "tails",
]

ALTERNATIVES = ("two-sided", "greater", "less")
_FEWEST = 2
NO_INTERVAL = (math.nan, math.nan)


@dataclass(frozen=True)
class Compared:
    """The numbers of one metric that are compared, one a replicate.

    Attributes
    ----------
    baseline, treatment : array
        Float64. Of paired samples, the two sides of each pair, in the order of replicates.
    paired : bool
    alternative : str
    alpha : float
    pairs_lost : int
    warnings : tuple of str
    """

    baseline: Numbers
    treatment: Numbers
    paired: bool
    alternative: str
    alpha: float
    pairs_lost: int
    warnings: tuple[str, ...]

    @property
    def n(self) -> tuple[int, int]:
        """The numbers of replicates."""
        return len(self.baseline), len(self.treatment)

    @functools.cached_property
    def differences(self) -> Numbers:
        """Treatment less baseline of each pair."""
        return self.treatment - self.baseline

    @property
    def estimate(self) -> float:
        """The difference of the means."""
        return float(self.differences.mean() if self.paired else self.treatment.mean() - self.baseline.mean())

    @property
    def tail(self) -> float:
        """The probability that may lie beyond an end of the interval: half of alpha, of a one-sided claim all of it."""
        return self.alpha / 2 if self.alternative == "two-sided" else self.alpha

    @functools.cached_property
    def rounding(self) -> float:
        """By how much numbers of this size may differ by rounding alone."""
        largest = max(float(abs(self.baseline).max()), float(abs(self.treatment).max()))
        return 8 * 2.220446049250313e-16 * largest

    @property
    def varies(self) -> bool:
        """Whether anything varies: the differences of pairs, or one of two independent samples."""
        samples = (self.differences,) if self.paired else (self.baseline, self.treatment)
        return any(float(sample.max() - sample.min()) > self.rounding for sample in samples)


# ---------------------------------------------------------------------------------------------- settings


class CheckedFactory(VerifierFactory):
    """A factory of verifiers that looks at its settings when they are given, before anything has run."""

    def __init__(
        self,
        fn: Callable[..., Any],
        check: Callable[..., None] | None,
        *,
        family: bool = False,
        always_valid: bool = False,
        scipy: bool = True,
    ) -> None:
        super().__init__(fn, family=family, always_valid=always_valid)
        self._check = check
        self._needs_scipy = scipy

    def __call__(self, *args: Any, **settings: Any) -> BoundVerifier:
        """Set settings; see `VerifierFactory.__call__`."""
        bound = super().__call__(*args, **settings)
        _check_settings(**bound.params)
        if self._check is not None:
            self._check(**bound.params)
        if self._needs_scipy and importlib.util.find_spec("scipy") is None:
            raise MissingExtraError(
                f"{self.__name__} needs SciPy, which is not installed: pip install 'crystallize-plugins[stats]' "
                "(permutation needs nothing more)",
                distribution="crystallize-plugins",
            )
        return bound


def checked_verifier(
    check: Callable[..., None] | None = None, *, family: bool = False, always_valid: bool = False, scipy: bool = True
) -> Callable[[Callable[..., Any]], CheckedFactory]:
    """Make a verifier of a function; settings of one name have one check, `check` looks at the others."""
    return lambda fn: CheckedFactory(fn, check, family=family, always_valid=always_valid, scipy=scipy)


def check_number(value: Any, what: str, *, low: float = -math.inf, high: float = math.inf) -> None:
    """Refuse what is no finite number between two others, which it may not reach."""
    if isinstance(value, bool) or as_number(value) is None:
        raise ArgumentTypeError(f"{what} must be a number, not {type(value).__name__}")
    if not (low < value < high and math.isfinite(value)):
        between = f" between {low:g} and {high:g}" if math.isfinite(high) else f" above {low:g}" if low >= 0 else ""
        raise ValidationError(f"{what} must be a finite number{between}, not {value!r}")


def check_range(value: Any, what: str) -> tuple[float, float]:
    """Return the two ends of a range, given as ``(low, high)``, or as one number for both sides of zero."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:  # noqa: PLR2004 - the two ends
            raise ValidationError(f"{what} must be one number, or (low, high), not {value!r}")
        for each in value:
            check_number(each, what)
        low, high = map(float, value)
        if not low < high:
            raise ValidationError(f"{what} must be (low, high) with low below high, not {value!r}")
        return low, high
    check_number(value, what, low=0)
    return -float(value), float(value)


def _check_settings(
    *,
    alpha: Any = 0.05,
    alternative: Any = "two-sided",
    paired: Any = True,
    resamples: Any = 1,
    seed: Any = 0,
    **_others: Any,
) -> None:
    check_number(alpha, "alpha", low=0, high=1)
    check_choice(alternative, ALTERNATIVES, what="alternative")
    if not isinstance(paired, bool):
        raise ArgumentTypeError(f"paired must be True or False, not {type(paired).__name__}")
    for what, value in [("resamples", resamples), ("seed", seed)]:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ArgumentTypeError(f"{what} must be a whole number, not {type(value).__name__}")
    if resamples < 1:
        raise ValidationError(f"resamples must be at least 1, not {resamples}")


# ---------------------------------------------------------------------------------------------- samples


def metrics_of(baseline: Any, treatment: Any) -> dict[str, tuple[Any, Any]]:
    """Return what is compared, by metric; of two sequences, under an empty name."""
    if isinstance(baseline, Mapping) is not isinstance(treatment, Mapping):
        raise ArgumentTypeError("baseline and treatment must both be sequences, or both mappings of metric to values")
    if not isinstance(baseline, Mapping):
        return {"": (baseline, treatment)}
    # The names of the baseline are looked up in both, so that one which is missing is named.
    names = list(baseline) or list(treatment)
    if not names:
        raise ValidationError("there is no metric to compare: the mappings are empty")
    return {name: (baseline[name], treatment[name]) for name in names}


def compare(
    baseline: Any,
    treatment: Any,
    *,
    metric: str = "",
    paired: bool,
    alpha: float = 0.05,
    alternative: str = "two-sided",
) -> Compared:
    """Return the numbers of two samples, one a replicate, with what was left out counted."""
    import numpy as np

    before, before_dropped = _finite(baseline, metric, "baseline")
    after, after_dropped = _finite(treatment, metric, "treatment")
    warnings = _dropped_warnings(before_dropped, after_dropped)
    lost = 0
    if paired:
        both = sorted(before.keys() & after.keys())
        recorded = _replicates(baseline) | _replicates(treatment)
        if not (isinstance(baseline, MetricValues) or isinstance(treatment, MetricValues)):
            sizes = len(baseline), len(treatment)
            if sizes[0] != sizes[1]:
                raise ValidationError(
                    f"{_named(metric)}pairs are taken by position, and there are {sizes[0]} values of the baseline and "
                    f"{sizes[1]} of the treatment"
                )
        lost = len(recorded) - len(both)
        if lost:
            warnings.append(
                f"pairs-lost: {lost} of {len(recorded)} replicates have no finite value on one of the sides"
            )
        before, after = ({replicate: side[replicate] for replicate in both} for side in (before, after))
    elif isinstance(baseline, MetricValues) and isinstance(treatment, MetricValues):
        warnings.append(
            "shared-seeds: both sides carry replicates, which share seeds; a test of pairs sees smaller effects"
        )
    ours, theirs = (np.fromiter(side.values(), float, len(side)) for side in (before, after))
    return Compared(ours, theirs, paired, alternative, alpha, lost, tuple(warnings))


def _dropped_warnings(before: Sequence[int], after: Sequence[int]) -> list[str]:
    """Return the warning for values that are not finite, where there are some."""
    told = [
        f"{len(dropped)} of the {side} (first in replicate {dropped[0]})"
        for side, dropped in [("baseline", before), ("treatment", after)]
        if dropped
    ]
    return [f"not-finite: left out {' and '.join(told)}"] if told else []


def _replicates(values: Any) -> set[int]:
    return set(values.by_replicate()) if isinstance(values, MetricValues) else set(range(len(values)))


def _finite(values: Any, metric: str, side: str) -> tuple[dict[int, float], list[int]]:
    """Return the mean of the finite values of each replicate, and the replicates of the others, once for each."""
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
        raise ArgumentTypeError(
            f"{_named(metric)}the values of the {side} must be a sequence of numbers, not {type(values).__name__}"
        )
    grouped = values.by_replicate() if isinstance(values, MetricValues) else {at: [v] for at, v in enumerate(values)}
    means: dict[int, float] = {}
    dropped: list[int] = []
    for replicate, recorded in grouped.items():
        finite = []
        for value in recorded:
            number = as_number(value)
            if number is None:
                if isinstance(value, int):
                    what = "an integer that no float holds: record its logarithm"
                else:
                    what = f"no number but {type(value).__name__} ({value!r:.60}): only numbers can be compared"
                raise ArgumentTypeError(f"{_named(metric)}the value of replicate {replicate} of the {side} is {what}")
            if math.isfinite(number):
                finite.append(number)
            else:
                dropped.append(replicate)
        if finite:
            means[replicate] = finite[0] if len(finite) == 1 else math.fsum(finite) / len(finite)
    return means, dropped


def _named(metric: str) -> str:
    return f"metric {metric!r}: " if metric else ""


# ---------------------------------------------------------------------------------------------- verdicts


def judge(
    verifier: str,
    test: Callable[[Compared], Mapping[str, Any]],
    baseline: Any,
    treatment: Any,
    *,
    paired: bool,
    alpha: float,
    alternative: str = "two-sided",
    flat: Callable[[Compared], Mapping[str, Any]] | None = None,
) -> Verdict | dict[str, Verdict]:
    """Compare two conditions metric by metric.

    Parameters
    ----------
    verifier : str
        Its name.
    test : callable
        Takes a `Compared` with at least two values on each side; returns the fields of the verdict that the test
        defines.
    baseline, treatment : sequence, or mapping of str to sequence
    paired, alpha, alternative
        The settings.
    flat : callable, optional
        What is asked instead of `test` where nothing varies; by default there is no telling then.

    Returns
    -------
    Verdict, or dict of str to Verdict
        By metric where there are several.
    """
    told = {}
    for metric, (ours, theirs) in metrics_of(baseline, treatment).items():
        compared = compare(ours, theirs, metric=metric, paired=paired, alpha=alpha, alternative=alternative)
        if min(compared.n) < _FEWEST:
            fields: Mapping[str, Any] = _too_few(compared)
        else:
            fields = test(compared) if compared.varies else (flat or no_spread)(compared)
        told[metric] = as_verdict(verifier, compared, fields, (metric,) if metric else ())
    return told if len(told) > 1 else next(iter(told.values()))


def as_verdict(verifier: str, compared: Compared, fields: Mapping[str, Any], metrics: tuple[str, ...]) -> Verdict:
    """Return the verdict of which a test gave some fields."""
    given: dict[str, Any] = {
        name: float(value) if name in _FLOATS else (float(value[0]), float(value[1])) if name == "ci" else value
        for name, value in fields.items()
    }
    p_value = given.setdefault("p_value", math.nan)
    given.setdefault("p_adjusted", p_value)
    given.setdefault("holds", None if math.isnan(given["p_adjusted"]) else bool(given["p_adjusted"] <= compared.alpha))
    given.setdefault("n", compared.n)
    given["warnings"] = (*compared.warnings, *given.get("warnings", ()))
    given.setdefault("alternative", compared.alternative)
    return Verdict(
        verifier=verifier, metrics=metrics, alpha=float(compared.alpha), pairs_lost=compared.pairs_lost, **given
    )


_FLOATS = frozenset({"estimate", "statistic", "df", "p_value", "p_adjusted", "e_value", "effect_size"})


def judge_family(
    verifier: str,
    test: Callable[[Mapping[str, Any], Mapping[str, Mapping[str, Any]]], Mapping[str, Any]],
    baseline: Any,
    treatments: Any,
) -> dict[str, Any]:
    """Check that a family of treatments was given, and compare them; `test` is given mappings by metric."""
    if not isinstance(treatments, Mapping) or not treatments:
        raise ArgumentTypeError(
            f"{verifier} compares all treatments at once: give it (baseline, {{name: values of a treatment}})"
        )
    by_metric = {name: metrics_of(baseline, theirs) for name, theirs in treatments.items()}
    metrics = next(iter(by_metric.values()))
    ours = {metric: pair[0] for metric, pair in metrics.items()}
    return dict(test(ours, {name: {m: pair[1] for m, pair in each.items()} for name, each in by_metric.items()}))


def interval(estimate: float, reach: float, alternative: str) -> tuple[float, float]:
    """Return the interval around an estimate, open to one side where the claim is one-sided."""
    return claimed(estimate - reach, estimate + reach, alternative)


def claimed(low: float, high: float, alternative: str) -> tuple[float, float]:
    """Return the ends of an interval, that of the side which is not claimed infinite."""
    return -math.inf if alternative == "less" else low, math.inf if alternative == "greater" else high


def tails(lower: float, upper: float, alternative: str) -> float:
    """Return the p-value, given the probabilities of at most and of at least what was observed."""
    if alternative == "two-sided":
        return min(1.0, 2 * min(lower, upper))
    return min(1.0, upper if alternative == "greater" else lower)


def _too_few(compared: Compared) -> dict[str, Any]:
    before, after = compared.n
    counted = f"{before} pairs" if compared.paired else f"{before} values of the baseline and {after} of the treatment"
    fields: dict[str, Any] = {"warnings": (f"too-few: {counted}; a test needs {_FEWEST}",)}
    if min(compared.n):
        fields |= {"estimate": compared.estimate, "estimand": "mean difference"}
    return fields


def no_spread(compared: Compared) -> dict[str, Any]:
    """Return the fields of a test that needs spread, where there is none."""
    return {
        "estimate": compared.estimate,
        "estimand": "mean difference",
        "warnings": ("no-spread: nothing varies, so there is no telling how far chance would go",),
    }
