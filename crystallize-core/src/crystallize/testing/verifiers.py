"""The tests that every verifier should pass, in a class to inherit."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crystallize.design import Hypothesis
from crystallize.design.verifiers import VerifierFactory
from crystallize.testing.overriding import check_overrides
from crystallize.testing.promises import promise, raising_breaks
from crystallize.testing.sample import REPLICATES, TREATMENTS, experiment_with

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["VerifierConformance"]

_BASELINE = [1.0, 2.5, 2.0, 3.5, 3.0, 4.5]
_TREATMENT = [2.0, 3.0, 3.5, 4.0, 4.5, 6.0]


class VerifierConformance:
    """Inherit this, give one fixture, and pytest tries the verifier on small samples.

    The fixture ``verifier`` gives the verifier: what ``(baseline, treatment)`` can be called with. The messages of
    tests that fail have the name of the broken rule in square brackets: see `RULES`.

    Attributes
    ----------
    metrics : sequence of str, default ("total",)
        The metrics that it looks at; each sample has all of them.

    Examples
    --------
    In a test module of the verifier's distribution::

        import pytest
        from crystallize.testing import VerifierConformance

        from acme_tests import sign_test


        class TestSignTest(VerifierConformance):
            @pytest.fixture
            def verifier(self):
                return sign_test(alternative="greater")
    """

    metrics: Sequence[str] = ("total",)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_overrides(cls)

    def test_it_gives_a_mapping(self, verifier: Any) -> None:
        """What it gives has names, which are text."""
        found = self._verdict(verifier, _BASELINE, _TREATMENT)
        promise(
            all(isinstance(name, str) for name in found), "result", f"it gives {found!r}, whose keys are not all text"
        )

    def test_its_p_value_is_a_probability(self, verifier: Any) -> None:
        """A p-value lies between 0 and 1, or is NaN where there is none, whatever the samples are."""
        samples = ((_BASELINE, _TREATMENT), (_TREATMENT, _BASELINE), (_BASELINE, _BASELINE), ([1.0] * 5, [1.0] * 5))
        for baseline, treatment in samples:
            _check_p_value(self._verdict(verifier, baseline, treatment), baseline, treatment)

    def test_it_says_the_same_twice(self, verifier: Any) -> None:
        """The same samples give the same verdict: chance has no part in it."""
        one, other = (self._verdict(verifier, _BASELINE, _TREATMENT) for _ in range(2))
        promise(_same(one, other), "state", f"the same samples gave {one!r} and then {other!r}")

    def test_it_leaves_the_samples_alone(self, verifier: Any) -> None:
        """Neither the values nor their order are changed."""
        samples = self._samples(_BASELINE), self._samples(_TREATMENT)
        before = copy.deepcopy(samples)
        with raising_breaks("errors", "comparing two samples"):
            _made(verifier)(*samples)
        promise(samples == before, "data", f"it changed the samples from {before} to {samples}")

    def test_it_copes_with_few_values(self, verifier: Any) -> None:
        """With one value or two it gives a verdict, or says in words that there are too few."""
        for count in (1, 2):
            baseline, treatment = _BASELINE[:count], _TREATMENT[:count]
            try:
                found = _made(verifier)(self._samples(baseline), self._samples(treatment))
            except ValueError as exc:
                promise(bool(str(exc)), "errors", f"with {count} values it raises {exc!r}, which says nothing")
                continue
            except Exception as exc:
                text = f"with {count} values it raises {type(exc).__name__}: {exc}: give NaN, or raise ValueError"
                raise AssertionError(f"[errors] {text}") from exc
            _check_p_value(found, baseline, treatment)

    def test_it_judges_a_hypothesis(self, verifier: Any) -> None:
        """In an experiment its verdict is there for each treatment that has values."""
        if tuple(self.metrics) != ("total",):
            hypothesis = Hypothesis(_renamed(_made(verifier), self.metrics), metrics="total", name="it holds")
        else:
            hypothesis = Hypothesis(_made(verifier), metrics="total", name="it holds")
        with raising_breaks("errors", "judging a hypothesis"):
            result = experiment_with([]).run(
                treatments=TREATMENTS[:1], hypotheses=[hypothesis], replicates=2 * REPLICATES
            )
        promise(not result.errors, "errors", f"the hypothesis could not be judged: {result.errors}")
        judged = result.get_hypothesis("it holds").results
        promise("doubled" in judged, "result", f"there is no verdict on the treatment: {judged}")

    def _samples(self, values: Sequence[float]) -> dict[str, list[float]]:
        return {metric: list(values) for metric in self.metrics}

    def _verdict(self, verifier: Any, baseline: Sequence[float], treatment: Sequence[float]) -> Mapping[str, Any]:
        with raising_breaks("errors", f"comparing {baseline} with {treatment}"):
            found: Mapping[str, Any] = _made(verifier)(self._samples(baseline), self._samples(treatment))
        promise(isinstance(found, Mapping), "result", f"it gives {found!r}, which is no mapping")
        return found


def _made(verifier: Any) -> Callable[..., Any]:
    made: Callable[..., Any] = verifier() if isinstance(verifier, VerifierFactory) else verifier
    if getattr(made, "family", False):
        return lambda baseline, treatment: made(baseline, {"treatment": treatment})["treatment"]
    return made


def _renamed(verifier: Callable[..., Any], metrics: Sequence[str]) -> Callable[..., Any]:
    """Return a verifier for the sample's metric that hands it on under the names that the one under test expects."""

    def compare(baseline: Mapping[str, Any], treatment: Mapping[str, Any]) -> Any:
        return verifier(dict.fromkeys(metrics, baseline["total"]), dict.fromkeys(metrics, treatment["total"]))

    return compare


def _check_p_value(found: Mapping[str, Any], baseline: Sequence[float], treatment: Sequence[float]) -> None:
    if "p_value" not in found:
        return
    value = found["p_value"]
    try:
        fits = math.isnan(value) or 0 <= value <= 1
    except TypeError:
        fits = False
    text = f"the p-value of {list(baseline)} and {list(treatment)} is {value!r}: it has to be in [0, 1], or NaN"
    promise(fits, "result", text)


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return repr(sorted(one.items())) == repr(sorted(other.items()))
