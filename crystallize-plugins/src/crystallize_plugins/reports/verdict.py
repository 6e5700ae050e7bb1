"""What a hypothesis says of each treatment, with p-values adjusted for the number of treatments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crystallize_plugins.samples import as_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize.hooks import HypothesisResult

__all__ = ["Verdict", "adjust_p_values", "verdicts"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one hypothesis says of one treatment.

    Attributes
    ----------
    treatment : str
    metrics : tuple of str, or None
        The metrics it was tested on; None for all.
    holds : bool or None
        None where there is no telling.
    p_value, adjusted : float
        As the verifier gave it, and adjusted for the number of treatments; NaN where it gave none.
    error : str
        Why it could not be tested.
    """

    treatment: str
    metrics: tuple[str, ...] | None
    holds: bool | None
    p_value: float = math.nan
    adjusted: float = math.nan
    error: str = ""

    def __str__(self) -> str:
        if self.error:
            return f"not tested: {self.error}"
        told = {True: "holds", False: "not shown", None: "no verdict"}[self.holds]
        if not math.isnan(self.adjusted):
            told += f", p {_shown(self.adjusted)}"
        return told


def verdicts(tested: HypothesisResult, *, level: float = 0.05) -> list[Verdict]:
    """Say of each treatment whether a hypothesis holds.

    A verifier that returns ``holds`` (True or False) has decided itself. Otherwise the hypothesis holds where the
    p-value is below `level` after Holm's adjustment over the treatments: the more treatments are compared with one
    baseline, the more of them look better by chance.

    Parameters
    ----------
    tested : HypothesisResult
    level : float, default 0.05
        The probability of even one false verdict in the whole family that is accepted.

    Returns
    -------
    list of Verdict
        By treatment, and for each by group where the metrics are grouped.

    Examples
    --------
    >>> from crystallize.hooks import HypothesisResult
    >>> results = {"a": {"p_value": 0.01}, "b": {"p_value": 0.04}, "c": {"p_value": 0.03}}
    >>> for verdict in verdicts(HypothesisResult("better", results, {})):
    ...     print(verdict.treatment, verdict)
    a holds, p = 0.0300
    b not shown, p = 0.0600
    c not shown, p = 0.0600
    """
    groups = _groups(tested.metrics)
    found: dict[tuple[str, int], Verdict] = {}
    for number, metrics in enumerate(groups):
        outputs = {name: _output(output, number) for name, output in tested.results.items()}
        adjusted = adjust_p_values({name: _p_value(output) for name, output in outputs.items()})
        for name, output in outputs.items():
            found[name, number] = _verdict(name, metrics, output, adjusted[name], level)
    for name, error in tested.errors.items():
        if name not in tested.results:
            for number, metrics in enumerate(groups):
                found[name, number] = Verdict(name, metrics, None, error=_first_line(error))
    return list(found.values())


def adjust_p_values(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p-values for their number by Holm's step-down procedure.

    Parameters
    ----------
    p_values : mapping of str to float
        Those that are NaN stay so, and count for nothing.

    Examples
    --------
    >>> adjust_p_values({"a": 0.04, "b": 0.01, "c": float("nan")})
    {'a': 0.04, 'b': 0.02, 'c': nan}
    """
    adjusted = dict(p_values)
    known = sorted((value, name) for name, value in p_values.items() if not math.isnan(value))
    least = 0.0
    for rank, (value, name) in enumerate(known):
        least = adjusted[name] = max(least, min(1.0, value * (len(known) - rank)))
    return adjusted


def _groups(metrics: Any) -> Sequence[tuple[str, ...] | None]:
    if metrics is None:
        return [None]
    if isinstance(metrics, str):
        return [(metrics,)]
    if any(isinstance(each, str) for each in metrics):
        return [tuple(metrics)]
    return [tuple(group) for group in metrics]


def _output(output: Any, number: int) -> Mapping[str, Any]:
    chosen = output if isinstance(output, Mapping) else output[number]
    return chosen if isinstance(chosen, Mapping) else {}


def _p_value(output: Mapping[str, Any]) -> float:
    number = as_number(output.get("p_value"))
    return math.nan if number is None else number


def _verdict(
    treatment: str, metrics: tuple[str, ...] | None, output: Mapping[str, Any], adjusted: float, level: float
) -> Verdict:
    decided = output.get("holds")
    if decided is not None:
        holds: bool | None = bool(decided)
    else:
        holds = None if math.isnan(adjusted) else adjusted < level
    return Verdict(treatment, metrics, holds, _p_value(output), adjusted)


def _shown(p_value: float) -> str:
    return "< 0.0001" if p_value < 0.0001 else f"= {p_value:.4f}"  # noqa: PLR2004 - what four decimals show


def _first_line(error: BaseException) -> str:
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
