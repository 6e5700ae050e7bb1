"""`diff`: what is not the same in two runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize_plugins.artifacts.database.connection import making_sense
from crystallize_plugins.runs import record_differences
from crystallize_plugins.runs.compared_run import compared_run
from crystallize_plugins.runs.differences import PARTS, RunDiff
from crystallize_plugins.runs.parameter_differences import parameters
from crystallize_plugins.runs.record_differences import code
from crystallize_plugins.runs.result_differences import results

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize_plugins.runs.compared_run import ComparedRun, Run
    from crystallize_plugins.runs.differences import Difference

__all__ = ["compare_records", "diff"]


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
    first, second = compared_run(run_a), compared_run(run_b)
    with making_sense(f"{first.name} and {second.name}"):
        found = [*compare_records(first, second), *results(first.result, second.result)]
    return RunDiff(first.name, second.name, tuple(sorted(found, key=lambda each: PARTS.index(each.part))))


def compare_records(first: ComparedRun, second: ComparedRun) -> Iterator[Difference]:
    """Compare everything of two runs but their results."""
    for compare in (
        parameters,
        code,
        record_differences.data,
        record_differences.plugins,
        record_differences.packages,
        record_differences.environment,
        record_differences.git,
    ):
        yield from compare(first, second)
