"""What a run asks of the step cache: on or off, for all steps or for some, whatever they declare."""

from __future__ import annotations

import asyncio

import pytest

from crystallize import ExperimentGraph, ParallelExecution, SerialExecution, pipeline_step
from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.pipelines import cache


@pytest.fixture
def steps(note):
    @pipeline_step(cacheable=True)
    def fit(data, ctx):
        note("fit")
        return sum(data)

    @pipeline_step()
    def score(data, ctx):
        note("score")
        return data, {"out": data}

    return fit(), score()


@pytest.mark.parametrize("executor", [SerialExecution(), ParallelExecution(max_workers=1, executor_type="process")])
def test_a_run_says_of_each_step_whether_it_is_cached(make, steps, ran, executor):
    experiment = make(*steps, plugins=[executor])
    asked = [None, False, None, {"fit": False, "ScoreStep": True}, True, True]
    seen = []
    for each in asked:
        result = experiment.run(cache=each)
        assert not result.errors
        seen.append((ran(), result.provenance["run"]["cache"]))
    assert seen == [
        (["fit", "score"], {"FitStep": True, "ScoreStep": False}),
        (["fit", "score"], {"FitStep": False, "ScoreStep": False}),
        (["score"], {"FitStep": True, "ScoreStep": False}),  # what ran with the cache off left the entries alone
        (["fit", "score"], {"FitStep": False, "ScoreStep": True}),
        (["score"], {"FitStep": True, "ScoreStep": True}),  # what fit gives is known by its entry now, not by content
        ([], {"FitStep": True, "ScoreStep": True}),
    ]


def test_off_writes_nothing_and_changes_no_identity(make, steps):
    experiment = make(*steps)
    before = experiment.id
    asyncio.run(experiment.arun(cache=False))
    assert cache.info().entries == 0
    assert [outcome.ok for outcome in experiment.stream(cache={"score": True})] == [True]
    assert cache.info().entries == 2  # of both: fit is declared cacheable
    assert experiment.id == before
    assert experiment.plan(cache=False).summary() == experiment.plan().summary()


def test_what_is_no_step_or_no_choice_is_refused(make, steps):
    experiment = make(*steps)
    with pytest.raises(ValidationError, match=r"'fti'.*FitStep, ScoreStep.*Did you mean 'fit'"):
        experiment.run(cache={"fti": False})
    with pytest.raises(ArgumentTypeError, match="mapping of steps"):
        experiment.plan(cache="off")
    with pytest.raises(ArgumentTypeError, match="fit"):
        experiment.run(cache={"fit": 1})


def test_a_graph_names_experiment_and_step(make, steps, ran):
    graph = ExperimentGraph(make(*steps, name="one"), make(*steps, name="two"))
    graph.run(max_parallel=1)
    assert ran() == ["fit", "score", "score"]
    assert not graph.run(max_parallel=1, cache={"two.fit": False})["two"].errors
    assert sorted(ran()) == ["fit", "score", "score"]
    with pytest.raises(ValidationError, match=r"'fit'.*experiment\.step.*one, two"):
        graph.run(cache={"fit": False})
