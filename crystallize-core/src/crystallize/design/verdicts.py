"""`Verdict`, what a test says of one treatment, and p-values adjusted for their number."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from crystallize.checks import check_choice
from crystallize.errors import ArgumentTypeError, ValidationError

__all__ = ["CORRECTIONS", "Verdict", "adjust", "adjusted_family", "shown_number", "shown_probability"]

CORRECTIONS = ("holm", "bh", "by", "bonferroni", "none")
"""The ways in which `adjust` adjusts p-values."""


@dataclass(frozen=True, eq=False, slots=True)
class Verdict(Mapping[str, Any]):
    """What a test says of one treatment beside the baseline.

    It is a mapping of its fields too: ``verdict["p_value"]`` is ``verdict.p_value``. A field that a test does not
    define is there all the same: NaN, None, an empty text or an empty tuple.

    Attributes
    ----------
    verifier : str
        The name of the test, such as ``"paired_t"``.
    treatment : str
        The treatment; empty where the test was called by itself.
    metrics : tuple of str
        What it was tested on.
    method : str
        The test in words, with what was decided while it was made.
    alternative : {"two-sided", "greater", "less"}
        What is claimed of the treatment.
    alpha : float
        The probability of a false claim that is accepted.
    estimate : float
        How large the effect is: treatment less baseline.
    estimand : str
        What `estimate` estimates, such as ``"mean difference"``.
    ci : tuple of float
        The interval for the estimand, of level 1 - `alpha`; one side of it is infinite where the claim is one-sided.
    statistic, df : float
        The test statistic, and its degrees of freedom.
    p_value, p_adjusted : float
        By itself, and adjusted for the number of comparisons.
    e_value : float
        The evidence against the hypothesis of no effect, of tests that may be looked at again and again.
    effect_size : float
        The effect in units of its spread, or as a share.
    effect_name : str
        Which effect size that is, such as ``"d_z"``.
    n : tuple of int
        The numbers of replicates that were compared, of baseline and treatment.
    pairs_lost : int
        The number of replicates that have no finite value on one of the sides, where replicates are paired.
    holds : bool or None
        Whether the claim is shown: `p_adjusted` is at most `alpha`. None where there is no telling.
    state : str
        How far it may be believed: ``"valid"``, ``"exploratory"``, ``"confounded"``, ``"reused data"``,
        ``"changed code"`` or ``"changed hypothesis"``; empty where the test was called by itself.
    reason : str
        Why it has that state.
    warnings : tuple of str
        What to know before it is believed; each begins with a code and a colon.
    details : dict
        What only this test says.

    Examples
    --------
    >>> verdict = Verdict("welch", estimate=0.25, estimand="mean difference", p_value=0.03, holds=True)
    >>> verdict["estimate"], verdict.df
    (0.25, nan)
    """

    verifier: str
    treatment: str = ""
    metrics: tuple[str, ...] = ()
    method: str = ""
    alternative: str = "two-sided"
    alpha: float = 0.05
    estimate: float = math.nan
    estimand: str = ""
    ci: tuple[float, float] = (math.nan, math.nan)
    statistic: float = math.nan
    df: float = math.nan
    p_value: float = math.nan
    p_adjusted: float = math.nan
    e_value: float = math.nan
    effect_size: float = math.nan
    effect_name: str = ""
    n: tuple[int, int] = (0, 0)
    pairs_lost: int = 0
    holds: bool | None = None
    state: str = ""
    reason: str = ""
    warnings: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        if name not in _FIELDS:
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(_FIELDS)

    def __len__(self) -> int:
        return len(_FIELDS)

    def __contains__(self, name: object) -> bool:
        return name in _FIELDS

    def __eq__(self, other: object) -> bool:
        """Say whether two verdicts have equal fields; NaN equals NaN."""
        if not isinstance(other, Verdict):
            return NotImplemented
        return all(_equal(getattr(self, name), getattr(other, name)) for name in _FIELDS)

    def __hash__(self) -> int:
        return hash((self.verifier, self.treatment, self.metrics, self.n))

    def __str__(self) -> str:
        """Return one sentence: the estimate, its interval, the numbers of replicates, p, adjusted p."""
        about = f"{', '.join(self.metrics)}: " if self.metrics else ""
        told = {True: "the claim holds", False: "not shown", None: "no telling"}[self.holds]
        whose = self.treatment or "the treatment"
        if math.isnan(self.estimate):
            # A verifier of the user's own need not have one.
            parts = [f"{self.estimand} of {whose} unknown" if self.estimand else whose]
        else:
            parts = [f"{self.estimand or 'estimate'} of {whose} {shown_number(self.estimate)}"]
        if not all(map(math.isnan, self.ci)):
            low, high = self.ci
            if math.isinf(high) and not math.isinf(low):
                bounds = f"at least {shown_number(low)}"
            elif math.isinf(low) and not math.isinf(high):
                bounds = f"at most {shown_number(high)}"
            else:
                bounds = f"{shown_number(low)} to {shown_number(high)}"
            level = self.details.get("level", 1 - self.alpha)
            parts.append(f"{100 * level:.4g} % interval {bounds}")
        before, after = self.n
        if self.n != (0, 0):
            parts.append(f"n = {after}" if before == after else f"n = {before} and {after}")
        if not math.isnan(self.p_value):
            parts.append(f"p {shown_probability(self.p_value)}")
            parts.append(f"adjusted p {shown_probability(self.p_adjusted)}")
        sentence = f"{about}{told}: {'; '.join(parts)}"
        if self.state not in ("", "valid", "exploratory"):
            sentence += f" ({self.state}{': ' + self.reason if self.reason else ''})"
        return sentence + "."

    def replace(self, **fields: Any) -> Verdict:
        """Return this verdict with some fields set to other values."""
        return dataclasses.replace(self, **fields)


_FIELDS: dict[str, None] = dict.fromkeys(each.name for each in dataclasses.fields(Verdict))


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, (list, tuple)) and type(one) is type(other):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(value, other[name]) for name, value in one.items())
    return bool(one == other)


def shown_number(value: float) -> str:
    """Return a number for people, with four digits and a true minus sign."""
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def shown_probability(value: float) -> str:
    """Return a p-value for people, with what it is compared by: ``"= 0.012"``, ``"< 0.0001"``."""
    if math.isnan(value):
        return "unknown"
    return "< 0.0001" if value < 0.0001 else f"= {value:.4f}"  # noqa: PLR2004 - what four decimals show


@overload
def adjust(p: Mapping[Any, float], method: str = ..., n: int | None = ...) -> dict[Any, float]: ...
@overload
def adjust(p: Sequence[float], method: str = ..., n: int | None = ...) -> list[float]: ...
def adjust(
    p: Mapping[Any, float] | Sequence[float], method: str = "holm", n: int | None = None
) -> dict[Any, float] | list[float]:
    """Adjust p-values for their number.

    Parameters
    ----------
    p : sequence of float, or mapping to float
        Numbers from 0 to 1. Those that are NaN stay so, and count for nothing.
    method : {"holm", "bh", "by", "bonferroni", "none"}, default "holm"
        Holm's step-down procedure and Bonferroni's keep the probability of any false claim in the family at alpha;
        Benjamini and Hochberg's (``"bh"``), and Benjamini and Yekutieli's (``"by"``, for any dependence), keep the
        expected share of false claims among all claims there.
    n : int, optional
        The number of comparisons that were made, where it is more than the p-values given. By default as many.

    Returns
    -------
    list of float, or dict
        In the order of `p`, with its keys.

    Raises
    ------
    TypeError
        A p-value, or `n`, is no number.
    ValueError
        A p-value is outside 0 to 1, `n` is less than the number of p-values, or there is no such method.

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
    Benjamini and Hochberg, Journal of the Royal Statistical Society B 57, 1995. Benjamini and Yekutieli, Annals of
    Statistics 29, 2001.

    Examples
    --------
    >>> adjust([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    >>> adjust({"a": 0.01, "b": float("nan")}, "bonferroni")
    {'a': 0.01, 'b': nan}
    """
    check_choice(method, CORRECTIONS, what="method")
    named = dict(p) if isinstance(p, Mapping) else dict(enumerate(p))
    for key, value in named.items():
        if isinstance(value, bool) or not hasattr(type(value), "__float__"):
            raise ArgumentTypeError(f"a p-value must be a number, not {type(value).__name__} ({key!r})")
        if not math.isnan(value) and not 0 <= value <= 1:
            raise ValidationError(f"a p-value must be between 0 and 1, not {float(value)!r} ({key!r})")
    adjusted = {key: float(value) for key, value in named.items()}
    ranked = sorted((key for key, value in adjusted.items() if not math.isnan(value)), key=adjusted.__getitem__)
    count = len(ranked) if n is None else n
    if isinstance(count, bool) or not isinstance(count, int):
        raise ArgumentTypeError(f"n must be a whole number, not {type(n).__name__}")
    if count < len(ranked):
        raise ValidationError(f"n must be at least the number of p-values, {len(ranked)}, not {count}")
    if method != "none" and count > 1:
        _adjust(adjusted, ranked, method, count)
    return adjusted if isinstance(p, Mapping) else [*adjusted.values()]


def _adjust(p: dict[Any, float], ranked: Sequence[Any], method: str, count: int) -> None:
    bound = 0.0 if method == "holm" else 1.0
    if method in ("bh", "by"):
        factor = sum(1 / i for i in range(1, count + 1)) if method == "by" else 1.0
        for rank in range(len(ranked), 0, -1):
            bound = p[ranked[rank - 1]] = min(bound, factor * count / rank * p[ranked[rank - 1]])
        return
    for rank, key in enumerate(ranked):
        if method == "bonferroni":
            p[key] = min(1.0, count * p[key])
        else:
            bound = p[key] = max(bound, min(1.0, (count - rank) * p[key]))


def adjusted_family(verdicts: Mapping[Any, Verdict], method: str, count: int | None = None) -> dict[Any, Verdict]:
    """Adjust the p-values of one family of verdicts, and decide anew which claims hold.

    Parameters
    ----------
    verdicts : mapping to Verdict
        What has no p-value keeps what it decided.
    method : str
        As in `adjust`.
    count : int, optional
        The number of comparisons, those included that could not be made: they count as if their p-value were 1.
    """
    p_values = {key: verdict.p_value for key, verdict in verdicts.items()}
    adjusted = adjust(p_values, method, n=count or len(p_values))
    return {
        key: verdict.replace(
            p_adjusted=adjusted[key],
            holds=verdict.holds if math.isnan(adjusted[key]) else adjusted[key] <= verdict.alpha,
        )
        for key, verdict in verdicts.items()
    }
