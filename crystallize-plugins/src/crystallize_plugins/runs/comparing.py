"""`diff`: what is not the same in two runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize_plugins.runs import surroundings
from crystallize_plugins.runs.code import code
from crystallize_plugins.runs.differences import PARTS, RunDiff
from crystallize_plugins.runs.outcomes import results
from crystallize_plugins.runs.parameters import parameters
from crystallize_plugins.runs.subjects import subject_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize_plugins.runs.differences import Difference
    from crystallize_plugins.runs.subjects import Run, Subject

__all__ = ["compare_surroundings", "diff"]


def diff(run_a: Run, run_b: Run) -> RunDiff:
    """Say what differs between two runs; what is the same is left out.

    Nothing is unpickled or imported, so that folders from anywhere can be compared.

    Parameters
    ----------
    run_a, run_b : path, StoredRun or Result
        Stored runs, or results of this process.

    Returns
    -------
    RunDiff
        Differences in parameters, code (with a unified diff of the recorded source), data, plugins, packages,
        environment, git and results. Durations, moments and where a run lies are no differences.

    Raises
    ------
    StoreError
        There is no run, or it is damaged.
    ArgumentTypeError
        One of them is no run.

    Examples
    --------
    >>> print(diff("data/quickstart/v0", "data/quickstart/v1"))  # doctest: +SKIP
    quickstart@v0 → quickstart@v1
    code
      ~ step FitStep: 1f0c6b3d8a52 → 77d1e0c94b1f
    """
    first, second = subject_of(run_a), subject_of(run_b)
    found = [*compare_surroundings(first, second), *results(first.result, second.result)]
    return RunDiff(first.name, second.name, tuple(sorted(found, key=lambda each: PARTS.index(each.part))))


def compare_surroundings(first: Subject, second: Subject) -> Iterator[Difference]:
    """Compare everything of two runs but their results."""
    for compare in (
        parameters,
        code,
        surroundings.data,
        surroundings.plugins,
        surroundings.packages,
        surroundings.environment,
        surroundings.git,
    ):
        yield from compare(first, second)
