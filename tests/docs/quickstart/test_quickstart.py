"""The quickstart: real data, the same numbers every time, however it runs."""

from __future__ import annotations

import runpy

import pytest

from crystallize import AsyncExecution, ParallelExecution, SerialExecution
from crystallize_plugins.reports import compare

pytest.importorskip("sklearn")


@pytest.fixture
def quickstart(repository):
    """Give the quickstart's experiment, afresh at each call."""
    return lambda: runpy.run_path(str(repository / "docs/examples/quickstart/quickstart.py"))["experiment"]


@pytest.fixture(scope="module")
def ran(repository, tmp_path_factory):
    """Give the result of the quickstart with so many replicates; each is run once, and only read."""
    results = {}

    def result_of(replicates=None):
        if replicates not in results:
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(tmp_path_factory.mktemp("quickstart"))
                experiment = runpy.run_path(str(repository / "docs/examples/quickstart/quickstart.py"))["experiment"]
                results[replicates] = experiment.run(replicates=replicates)
        return results[replicates]

    return result_of


def test_two_runs_with_one_seed_print_the_same_numbers(quickstart, ran):
    experiment = quickstart()
    first = experiment.run()
    assert not first.errors
    assert first.summary() == experiment.run().summary() == ran().summary()


def test_another_seed_gives_other_numbers(quickstart, ran):
    from crystallize import SeedPlugin

    other = quickstart()
    other.get_plugin(SeedPlugin).seed += 1
    assert other.run(replicates=6).summary() != ran(6).summary()


@pytest.mark.parametrize(
    "executor",
    [SerialExecution(), ParallelExecution(2, "thread"), ParallelExecution(2, "process"), AsyncExecution()],
    ids=["serial", "thread", "process", "async"],
)
def test_every_executor_prints_the_same_numbers(quickstart, ran, executor):
    other = quickstart()
    other.plugins.append(executor)
    result = other.run(replicates=6)
    assert len(result.metrics.treatments["standardised"].metrics["accuracy"]) == 6
    assert result.summary() == ran(6).summary()


def test_three_changes_are_compared_over_splits_that_differ(ran):
    result = ran()
    rows = compare(result)
    assert {row.condition for row in rows} == {"baseline", "standardised", "nearer counts more", "15 neighbours"}
    assert all(row.replicates >= 20 for row in rows)
    assert len(set(result.metrics.baseline.metrics["accuracy"])) > 5
    assert result.get_hypothesis("more accurate").ranking["best"] == "standardised"


def test_the_run_is_kept_under_data(quickstart, tmp_path):
    quickstart().run(replicates=2)
    assert (tmp_path / "data" / "quickstart" / "v0" / "standardised" / "results.json").exists()


def test_the_tutorial_shows_what_the_quickstart_prints(ran, repository):
    page = (repository / "docs" / "tutorial" / "quickstart.md").read_text(encoding="utf-8")
    for line in ran().summary().splitlines()[2:]:
        assert line in page
