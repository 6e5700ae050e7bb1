"""What is known at the end of a run, as plain values: facts, hypotheses, errors beside those of cells."""

from __future__ import annotations

import traceback
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from crystallize.errors import CrystallizeError
from crystallize.hooks import HypothesisResult, Verdict
from crystallize.hooks.tools import mask_text
from crystallize_plugins.artifacts.database.cells import failure_from, failure_parts
from crystallize_plugins.artifacts.recorded import recorded_facts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from crystallize import Result

__all__ = ["ENDING", "StoredError", "documents_of", "result_parts"]


ENDING = ("cells", "conditions", "facts", "errors", "failures", "hypotheses")
"""The documents that are written at the end of a run."""


class StoredError(CrystallizeError):
    """An error as a stored run remembers it: of a subclass that has the name of what was raised, and is no such thing.

    Attributes
    ----------
    error_type : str
        The class name of what was raised.
    traceback_text : str
        The formatted traceback.
    """

    def __init__(self, message: str, *, error_type: str, traceback_text: str) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.traceback_text = traceback_text

    def __reduce__(self) -> tuple[Any, ...]:
        return _error_from, ((str(self), self.error_type, self.traceback_text),)


def documents_of(result: Result, *, stored_errors: Collection[str], recorded: Collection[str] = ()) -> dict[str, Any]:
    """Take apart what a result has beside its cells.

    Parameters
    ----------
    result : Result
    stored_errors : collection of str
        The keys of the errors that are stored with their cells.
    recorded : collection of str
        The facts that are documents of their own already.

    Returns
    -------
    dict
        By name the rows of the table ``document``.
    """
    return {
        "conditions": [condition.name for condition in result.conditions],
        "facts": {name: value for name, value in result.facts.items() if name not in recorded},
        "errors": {key: _error_parts(error) for key, error in result.errors.items() if key not in stored_errors},
        "failures": [failure_parts(failure) for failure in result.plugin_errors],
        "hypotheses": [_hypothesis_parts(tested) for tested in result.metrics.hypotheses],
    }


def result_parts(documents: Mapping[str, Any]) -> dict[str, Any]:
    """Give the arguments of `build_result` that the documents hold; a run that was cut short has few."""
    return {
        "facts": {**recorded_facts(documents), **documents.get("facts", {})},
        "errors": {key: _error_from(parts) for key, parts in documents.get("errors", {}).items()},
        "plugin_errors": [failure_from(parts) for parts in documents.get("failures", ())],
        "hypotheses": [_hypothesis_from(parts) for parts in documents.get("hypotheses", ())],
    }


def _error_parts(error: BaseException) -> tuple[str, str, str]:
    text = getattr(error, "traceback_text", "") or "".join(traceback.format_exception(error))
    error_type = error.error_type if isinstance(error, StoredError) else type(error).__name__
    return mask_text(str(error)), error_type, mask_text(text)


def _error_from(parts: tuple[str, str, str]) -> StoredError:
    message, error_type, traceback_text = parts
    return _named(error_type)(message, error_type=error_type, traceback_text=traceback_text)


@lru_cache(maxsize=256)
def _named(error_type: str) -> type[StoredError]:
    """Give the class for errors of a type, which prints as that type does."""
    return type(error_type, (StoredError,), {"__module__": __name__, "__doc__": StoredError.__doc__})


def _hypothesis_parts(tested: HypothesisResult) -> dict[str, Any]:
    return {
        "name": tested.name,
        "metrics": tested.metrics,
        "results": {name: _marked(output) for name, output in tested.results.items()},
        "ranking": dict(tested.ranking),
        "errors": {treatment: _error_parts(error) for treatment, error in tested.errors.items()},
        "verdicts": [dict(verdict) for verdict in tested.verdicts],
        **{name: getattr(tested, name) for name in _FAMILY},
    }


_VERDICT = "crystallize.Verdict"
_FAMILY = ("comparisons", "correction", "state", "reason")


def _marked(output: Any) -> Any:
    """Return what a verifier said with verdicts as mappings that are known again."""
    if isinstance(output, Verdict):
        return {_VERDICT: dict(output)}
    if isinstance(output, list):
        return [_marked(each) for each in output]
    return {key: _marked(each) if isinstance(each, Verdict) else each for key, each in output.items()}


def _unmarked(output: Any) -> Any:
    if isinstance(output, list):
        return [_unmarked(each) for each in output]
    if not isinstance(output, dict):
        return output
    if output.keys() == {_VERDICT}:
        return Verdict(**output[_VERDICT])
    return {key: _unmarked(each) if isinstance(each, dict) else each for key, each in output.items()}


def _hypothesis_from(parts: Mapping[str, Any]) -> HypothesisResult:
    errors: dict[str, BaseException] = {key: _error_from(error) for key, error in parts["errors"].items()}
    # Runs that were stored before there were verdicts have none.
    return HypothesisResult(
        parts["name"],
        {name: _unmarked(output) for name, output in parts["results"].items()},
        parts["ranking"],
        errors,
        parts["metrics"],
        verdicts=tuple(Verdict(**fields) for fields in parts.get("verdicts", ())),
        **{name: parts[name] for name in _FAMILY if name in parts},
    )
