"""What the executors' arguments may be, and what is said otherwise."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from crystallize import AsyncExecution, ParallelExecution, SerialExecution
from crystallize.errors import ArgumentTypeError, ValidationError


@pytest.mark.parametrize("bad", [0, -1])
@pytest.mark.parametrize(
    "make, name",
    [(lambda n: ParallelExecution(max_workers=n), "max_workers"), (AsyncExecution, "max_concurrency")],
    ids=["parallel", "async"],
)
def test_a_count_below_one_is_refused_by_name(make, name, bad):
    with pytest.raises(ValidationError, match=name):
        make(bad)


@pytest.mark.parametrize("bad", [True, 2.5, "3"], ids=repr)
@pytest.mark.parametrize(
    "make, name",
    [(lambda n: ParallelExecution(max_workers=n), "max_workers"), (AsyncExecution, "max_concurrency")],
    ids=["parallel", "async"],
)
def test_a_count_that_is_no_integer_is_refused_by_name(make, name, bad):
    with pytest.raises(ArgumentTypeError, match=name):
        make(bad)


def test_an_unknown_executor_type_is_refused_with_the_known_ones():
    with pytest.raises(ValidationError, match=r"(?s)executor_type.*thread.*process"):
        ParallelExecution(executor_type="fiber")


@pytest.mark.parametrize("make", [SerialExecution, ParallelExecution, AsyncExecution])
def test_progress_is_a_flag(make):
    with pytest.raises(ArgumentTypeError, match="progress"):
        make(progress="yes")


def test_integers_of_numpy_are_integers():
    assert ParallelExecution(np.int64(3)).max_workers == 3


def test_arguments_may_be_given_by_position():
    plugin = ParallelExecution(4, "process", True)  # noqa: FBT003 - as the documents write it
    assert (plugin.max_workers, plugin.executor_type, plugin.progress) == (4, "process", True)


def test_executors_look_and_never_change_results():
    assert all(kind.neutral for kind in (SerialExecution, ParallelExecution, AsyncExecution))


@pytest.mark.parametrize(
    "plugin",
    [SerialExecution(progress=True), ParallelExecution(2, "process"), AsyncExecution(5)],
    ids=["serial", "parallel", "async"],
)
def test_an_executor_can_be_pickled_with_its_settings(plugin):
    copy = pickle.loads(pickle.dumps(plugin))
    assert type(copy) is type(plugin)
    assert (copy.progress, getattr(copy, "max_workers", None)) == (
        plugin.progress,
        getattr(plugin, "max_workers", None),
    )


def test_the_run_records_its_workers_and_their_threads(build):
    from crystallize import pipeline_step

    @pipeline_step()
    def nothing(data, ctx):
        return data

    result = build(nothing(), plugins=[ParallelExecution(2, "process")]).run(replicates=2)
    facts = result.provenance["execution"]
    assert facts["workers"] == 2
    assert facts["blas_threads"] == max(1, facts["cores"] // 2)
    assert facts["start_method"] in ("fork", "forkserver", "spawn")


def test_of_two_executors_the_one_that_runs_the_cells_says_so(make):
    result = make(plugins=[ParallelExecution(3), ParallelExecution(2)]).run(replicates=2)
    assert result.provenance["execution"]["workers"] == 2
    assert result.plugin_errors == []
