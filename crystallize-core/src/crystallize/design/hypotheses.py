"""Hypotheses, which are tested on what was recorded, and the objective of an optimisation."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crystallize.checks import check_callable, check_choice
from crystallize.design.verdicts import CORRECTIONS, Verdict
from crystallize.design.verifiers import VerifierFactory, VerifierFunction, resolve_verifier
from crystallize.errors import ArgumentTypeError, DuplicateNameError, MissingMetricError, ValidationError
from crystallize.fingerprint import value_of
from crystallize.names import check_name
from crystallize.signatures import accepts_positional, is_async

__all__ = ["Hypothesis", "Metrics", "Objective", "Ranker", "by_metric", "hypothesis"]

Ranker = Callable[[Any], float]
"""What gives a treatment its score, from what the verifier returned for it; lower scores rank first."""

AnyVerifier = VerifierFunction | VerifierFactory | str | tuple[str, Mapping[str, Any]]
"""The ways in which a verifier is named."""

Metrics = str | Sequence[str] | Sequence[Sequence[str]] | None

_WITHOUT_NAME = "hypothesis"


class Hypothesis:
    """A claim about the treatments, tested on the metrics of each one beside the baseline's.

    Parameters
    ----------
    verifier : str, tuple of str and dict, or callable, default "paired_t"
        The name of an installed verifier, its name and settings, or a function ``(baseline, treatment) -> mapping``.
        Both its arguments are mappings of metric to the list of its values in replicate order, with ``.replicates``
        saying which replicate each value came from. A factory made with `verifier` may be given without calling it;
        its defaults hold then.
    metrics : str, list of str, list of lists of str, or None
        Which metrics the verifier gets: all of them (None, the default), one, several, or several groups. For groups
        the verifier is called once per group, and what it says is a list, one output per group.
    ranker : callable, optional
        ``output -> float``; the treatment with the lowest score is the best. It gets what the verifier returned for
        one treatment: a mapping, or the list of them where metrics are grouped. The default takes ``p_value``, that
        of the worst group where there are groups; without one the score is NaN. A score of NaN never ranks best.
    name : str, optional
        By default the name of `ranker` where it is a named function, else ``"hypothesis"``.
    correction : {"holm", "bh", "by", "bonferroni", "none"}, default "holm"
        How p-values are adjusted for their number: all treatments with all metrics, or groups of them, are one family.
        What a verifier of a whole family says stands as it is.

    Raises
    ------
    PluginError
        No verifier of that name is installed, or it cannot be loaded.
    TypeError
        `verifier` or `ranker` cannot be called the way they will be, or `metrics` are not names.
    ValueError
        `metrics` or `name` are empty, or a metric is listed twice in one group.

    Examples
    --------
    >>> def gain(baseline, treatment):
    ...     return {"gain": sum(treatment["accuracy"]) - sum(baseline["accuracy"])}
    >>> better = Hypothesis(gain, metrics="accuracy", ranker=lambda output: -output["gain"], name="better")
    >>> better.verify({"accuracy": [0.5]}, {"accuracy": [0.75]})
    {'gain': 0.25}
    >>> better.score({"gain": 0.25})
    -0.25
    """

    __slots__ = ("__weakref__", "_groups", "correction", "metrics", "name", "ranker", "verifier")

    def __init__(
        self,
        verifier: AnyVerifier = "paired_t",
        metrics: Metrics = None,
        ranker: Ranker | None = None,
        name: str | None = None,
        *,
        correction: str = "holm",
    ) -> None:
        if name is None:
            name = _name_of(ranker) or _WITHOUT_NAME
        self.name = check_name(name, what="hypothesis")
        self.verifier: VerifierFunction = resolve_verifier(verifier, what=f"the verifier of hypothesis {name!r}")
        check_choice(correction, CORRECTIONS, what="correction")
        self.correction = correction
        self.metrics = metrics
        self._groups = _grouped(metrics, name)
        self.ranker = ranker
        if ranker is not None:
            _check_ranker(ranker, name)

    @property
    def is_grouped(self) -> bool:
        """Whether the verifier is called once per group of metrics and its outputs form a list."""
        return isinstance(self._groups, list)

    @property
    def is_family(self) -> bool:
        """Whether the verifier compares all treatments at once."""
        return bool(getattr(self.verifier, "family", False))

    @property
    def is_always_valid(self) -> bool:
        """Whether the verifier's verdicts hold however often one looks at them."""
        return bool(getattr(self.verifier, "always_valid", False))

    @property
    def digest(self) -> str:
        """Its identity: the name, the verifier's code and settings, metrics, ranker and correction; 64 hex digits."""
        metrics = None if self.metrics is None else self.groups
        return value_of((self.name, self.verifier, metrics, self.is_grouped, self.ranker, self.correction))

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """The metrics of each call of the verifier; an empty group stands for all metrics."""
        return self._groups if isinstance(self._groups, list) else [self._groups or ()]

    def verify(
        self,
        baseline: Mapping[str, Sequence[Any]],
        treatment: Mapping[str, Sequence[Any]],
        *,
        where: str = "the treatment",
    ) -> Any:
        """Test the claim for one treatment.

        Parameters
        ----------
        baseline, treatment : mapping of str to sequence
            Metrics of the two conditions. The verifier gets copies of the lists.
        where : str, default "the treatment"
            What to call the treatment in error messages.

        Returns
        -------
        mapping or list of mapping
            What the verifier returned; a list, one per group, where metrics are grouped.

        Raises
        ------
        MissingMetricError
            A metric that the hypothesis names, or that the verifier looks up, was not recorded.
        TypeError
            The verifier returned no mapping.
        Exception
            Whatever the verifier raises.
        """
        told = [
            self._checked(
                self.verifier(_Samples(baseline, group, "the baseline"), _Samples(treatment, group, where)),
                "such as {'p_value': 0.03}",
            )
            for group in self.groups
        ]
        return told if self.is_grouped else told[0]

    def verify_family(
        self, baseline: Mapping[str, Sequence[Any]], treatments: Mapping[str, Mapping[str, Sequence[Any]]]
    ) -> dict[str, Any]:
        """Test the claim for all treatments at once, where the verifier does so.

        Parameters
        ----------
        baseline : mapping of str to sequence
        treatments : mapping of str to mapping
            The metrics of each.

        Returns
        -------
        dict
            What the verifier said of each treatment; a list, one per group, where metrics are grouped.
        """
        told: dict[str, list[Any]] = {name: [] for name in treatments}
        for group in self.groups:
            theirs = {name: _Samples(each, group, f"treatment {name!r}") for name, each in treatments.items()}
            # The types of a verifier of a family and of another differ by its second argument alone.
            outcome = self._checked(self.verifier(_Samples(baseline, group, "the baseline"), theirs), "by treatment")  # type: ignore[arg-type]
            for name, outputs in told.items():
                if name not in outcome:
                    raise ValidationError(
                        f"the verifier of hypothesis {self.name!r} says nothing of treatment {name!r}"
                    )
                outputs.append(self._checked(outcome[name], "for each treatment"))
        return told if self.is_grouped else {name: outputs[0] for name, outputs in told.items()}

    def score(self, output: Any) -> float:
        """Return the score by which a treatment is ranked, from what the verifier returned for it.

        Parameters
        ----------
        output : mapping or list of mapping
            What `verify` gave.

        Returns
        -------
        float
            Lower is better; NaN where there is nothing to rank by.

        Raises
        ------
        Exception
            Whatever the ranker raises, or that its value is no number.
        """
        if self.ranker is not None:
            return _as_score(self.ranker(output), f"the ranker of hypothesis {self.name!r}")
        outputs = [each for part in (output if self.is_grouped else [output]) for each in by_metric(part).values()]
        what = f"the p_value that the verifier of hypothesis {self.name!r} gave"
        scores = [math.nan if each.get("p_value") is None else _as_score(each["p_value"], what) for each in outputs]
        return math.nan if any(map(math.isnan, scores)) else max(scores)

    def __repr__(self) -> str:
        tested = getattr(self.verifier, "__name__", type(self.verifier).__name__)
        return f"Hypothesis({self.name!r}, verifier={tested}, metrics={self.metrics!r})"

    def _checked(self, outcome: Any, such: str) -> Mapping[str, Any]:
        if not isinstance(outcome, Mapping):
            raise ArgumentTypeError(
                f"the verifier of hypothesis {self.name!r} must return a mapping {such}, not {type(outcome).__name__}"
            )
        return outcome


def by_metric(output: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a verifier said of each metric; under an empty name where it said one thing of all."""
    if not isinstance(output, Verdict) and output and all(isinstance(each, Verdict) for each in output.values()):
        return output
    return {"": output}


def hypothesis(
    *,
    verifier: AnyVerifier = "paired_t",
    metrics: Metrics = None,
    name: str | None = None,
    correction: str = "holm",
) -> Callable[[Ranker], Hypothesis]:
    """Turn a ranker into a `Hypothesis` that is named after it.

    Parameters
    ----------
    verifier, metrics, correction
        As in `Hypothesis`.
    name : str, optional
        By default the name of the decorated function.

    Returns
    -------
    decorator
        Takes the ranker, ``output -> float``, and gives the `Hypothesis`.

    Examples
    --------
    >>> @hypothesis(verifier=lambda baseline, treatment: {"gain": 1.0}, metrics="accuracy")
    ... def largest_gain(output):
    ...     return -output["gain"]
    >>> largest_gain.name
    'largest_gain'
    """

    def decorate(ranker: Ranker) -> Hypothesis:
        return Hypothesis(verifier, metrics, ranker, name, correction=correction)

    return decorate


class _Samples(dict[str, Sequence[Any]]):
    """Metrics as a verifier sees them: copies, and a metric that is absent is named when it is looked up."""

    def __init__(self, metrics: Mapping[str, Sequence[Any]], names: tuple[str, ...], where: str) -> None:
        self._available = tuple(metrics)
        self._where = where
        super().__init__()
        for name in names or metrics:
            if name not in metrics:
                raise MissingMetricError(name, metrics, where=where)
            # A verifier that sorts its lists must not reorder the result's.
            self[name] = copy.copy(metrics[name])

    def __missing__(self, name: str) -> Sequence[Any]:
        raise MissingMetricError(name, self._available, where=self._where)


def _grouped(metrics: Any, hypothesis: str) -> tuple[str, ...] | list[tuple[str, ...]] | None:
    if metrics is None:
        return None
    if isinstance(metrics, str):
        return _names([metrics], hypothesis)
    if not isinstance(metrics, Sequence) or isinstance(metrics, (bytes, bytearray)):
        raise ArgumentTypeError(
            f"hypothesis {hypothesis!r}: metrics must be a name, a list of names or a list of such lists, "
            f"not {type(metrics).__name__}"
        )
    if not metrics:
        raise ValidationError(f"hypothesis {hypothesis!r}: metrics is empty; leave it out to take all of them")
    if any(isinstance(each, str) for each in metrics):
        return _names(metrics, hypothesis)
    groups = []
    for group in metrics:
        if not isinstance(group, Sequence) or isinstance(group, (bytes, bytearray)):
            raise ArgumentTypeError(
                f"hypothesis {hypothesis!r}: metrics must be a name, a list of names or a list of such lists, "
                f"not a list with {type(group).__name__} ({group!r:.60}) in it"
            )
        if not group:
            raise ValidationError(f"hypothesis {hypothesis!r}: a group of metrics is empty")
        groups.append(_names(group, hypothesis))
    return groups


def _names(names: Sequence[Any], hypothesis: str) -> tuple[str, ...]:
    for name in names:
        if not isinstance(name, str):
            raise ArgumentTypeError(
                f"hypothesis {hypothesis!r}: names of metrics must be text, not {type(name).__name__} ({name!r:.60})"
            )
        if not name:
            raise ValidationError(f"hypothesis {hypothesis!r}: the name of a metric is empty")
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise DuplicateNameError(f"hypothesis {hypothesis!r}: metric {twice!r} is listed twice")
    return tuple(names)


def _check_ranker(ranker: Any, hypothesis: str) -> None:
    what = f"the ranker of hypothesis {hypothesis!r}"
    check_callable(ranker, what=what)
    if is_async(ranker):
        raise ArgumentTypeError(f"{what} must be a plain function, not an async one")
    if not accepts_positional(ranker, 1):
        raise ArgumentTypeError(f"{what} must take one argument: what the verifier returned for a treatment")


def _name_of(fn: Any) -> str:
    """Return the name that a callable was defined with, ``""`` for a lambda or where there is none."""
    name = getattr(fn, "__name__", "")
    return name if isinstance(name, str) and name.isidentifier() else ""


def _as_score(value: Any, what: str) -> float:
    if isinstance(value, (str, bytes, bytearray)):
        raise ArgumentTypeError(f"{what} must be a number, not {type(value).__name__} ({value!r:.60})")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentTypeError(f"{what} must be a number, not {type(value).__name__}") from error


@dataclass(frozen=True)
class Objective:
    """What an optimiser is told about each trial.

    Parameters
    ----------
    metric : str
        Name of a metric that the steps record; its values are averaged over the replicates.
    direction : {"minimize", "maximize"}
        Which way is better. It informs the optimiser, the core does nothing with it.

    Raises
    ------
    TypeError
        `metric` or `direction` is no text.
    ValueError
        `metric` is empty, or `direction` is neither of the two.

    Examples
    --------
    >>> Objective("loss").direction
    'minimize'
    """

    metric: str
    direction: str = "minimize"

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str):
            raise ArgumentTypeError(f"metric must be the name of a metric, not {type(self.metric).__name__}")
        if not self.metric:
            raise ValidationError("metric must be the name of a metric, not an empty text")
        check_choice(self.direction, ("minimize", "maximize"), what="direction")
