"""What the verifiers share: parameters checked when they are given, one metric chosen, samples of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.errors import MissingMetricError, ValidationError
from crystallize.hooks.declarations import BoundVerifier, VerifierFactory
from crystallize.hooks.tools import check_choice
from crystallize_plugins.samples import per_replicate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["ALTERNATIVES", "CheckedFactory", "Samples", "check_alternative", "checked_verifier", "samples_of"]

Samples = dict[int, float]
ALTERNATIVES = ("two-sided", "greater", "less")


class CheckedFactory(VerifierFactory):
    """A factory of verifiers that looks at its parameters when they are given, before anything has run."""

    def __init__(self, fn: Callable[..., Any], check: Callable[..., None]) -> None:
        super().__init__(fn)
        self._check = check

    def __call__(self, **params: Any) -> BoundVerifier:
        """Set parameters; see `VerifierFactory.__call__`."""
        bound = super().__call__(**params)
        self._check(**bound.params)
        return bound


def checked_verifier(check: Callable[..., None]) -> Callable[[Callable[..., Any]], CheckedFactory]:
    """Make a verifier of a function, with `check` called on its parameters."""

    def decorate(fn: Callable[..., Any]) -> CheckedFactory:
        return CheckedFactory(fn, check)

    return decorate


def check_alternative(alternative: str) -> None:
    """Refuse what is none of the three alternatives."""
    check_choice(alternative, ALTERNATIVES, what="alternative")


def samples_of(
    baseline: Mapping[str, Sequence[Any]], treatment: Mapping[str, Sequence[Any]], metric: str | None
) -> tuple[Samples, Samples]:
    """Return both conditions' numbers by replicate, of the metric that is named or of the only one that there is."""
    if metric is None:
        names = [name for name in baseline if name in treatment]
        if not names:
            raise MissingMetricError("(any)", [*baseline, *treatment], where="both baseline and treatment")
        if len(names) > 1:
            raise ValidationError(
                f"the test compares one metric, and the hypothesis gives {len(names)} ({', '.join(names)}): "
                "name one in the hypothesis (metrics=...), or as the test's metric=..."
            )
        (metric,) = names
    return per_replicate(baseline[metric], metric=metric), per_replicate(treatment[metric], metric=metric)
