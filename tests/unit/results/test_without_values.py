"""Conditions that never succeed, hypotheses that are misspelt, and runs in which nothing was recorded."""

from __future__ import annotations

import json
import logging

import pytest

from crystallize import (
    AsyncExecution,
    Experiment,
    Hypothesis,
    ParallelExecution,
    Pipeline,
    SerialExecution,
    Treatment,
    data_source,
)
from crystallize.errors import CrystallizeError, HypothesisError
from crystallize_plugins.artifacts import open_run
from crystallize_plugins.reports import compare, comparison_table
from crystallize_plugins.verifiers import paired_t

ABSENT = ("broken", "never")
EXECUTORS = {
    "serial": SerialExecution,
    "threads": lambda: ParallelExecution(2),
    "processes": lambda: ParallelExecution(2, "process"),
    "async": AsyncExecution,
}


@data_source
def one(ctx):
    return 1


def measured(data, ctx):
    if ctx["condition"] in ABSENT:
        raise ValueError("boom")
    return data, {"total": data + ctx["replicate"] ** 2 + ctx.get("shift", 0) * (1 + ctx["replicate"])}


def difference(baseline, treatment):
    return {"p_value": sum(baseline["total"]) - sum(treatment["total"])}


def experiment(*names, step=measured, hypotheses=(), executor=SerialExecution, **more):
    return Experiment(
        one(), Pipeline([step]), name="exp", replicates=3, plugins=[executor()],
        treatments=[Treatment(name, {"shift": 1}) for name in names], hypotheses=list(hypotheses), **more,
    )  # fmt: skip


# ------------------------------------------------------------------ a condition without a success


@pytest.mark.parametrize("names", [("broken",), ("broken", "fine"), ("fine", "broken"), ("broken", "fine", "never")])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_condition_without_a_success_is_there_with_no_values(names, executor):
    result = experiment(*names, executor=EXECUTORS[executor]).run()
    for given in (result, open_run("data/exp/v0"), experiment(*names).run(strategy="resume")):
        assert list(given.metrics.treatments) == list(names)
        for name in names:
            assert given.metrics.treatments[name].metrics == ({} if name in ABSENT else {"total": [2, 4, 8]})
        written = json.loads(given.to_json())["metrics"]["treatments"]
        assert written == {name: {} if name in ABSENT else {"total": [2, 4, 8]} for name in names}
        for text in (given.tree_text(), comparison_table(given), given.summary(), repr(given)):
            assert text
        rows = [(row.condition, row.replicates) for row in compare(given)]
        assert rows == [("baseline", 3), *((name, 0 if name in ABSENT else 3) for name in names)]


VERIFIERS = {
    "own, all metrics": Hypothesis(difference, name="h"),
    "own, one metric": Hypothesis(difference, "total", name="h"),
    "own, groups": Hypothesis(difference, [["total"], ["total"]], ranker=lambda outputs: 0.5, name="h"),
    "installed": Hypothesis(paired_t(alternative="greater"), "total", name="h"),
    "installed, all metrics": Hypothesis(paired_t(alternative="greater"), name="h"),
    "with a ranker": Hypothesis(difference, "total", ranker=lambda output: output["p_value"], name="h"),
}


@pytest.mark.parametrize("kind", VERIFIERS)
def test_a_hypothesis_is_void_for_a_condition_without_a_success_and_says_why(kind):
    result = experiment("broken", "fine", hypotheses=[VERIFIERS[kind]]).run()
    tested = result.get_hypothesis("h")
    assert list(tested.results) == ["fine"]
    assert tested.ranking["best"] == "fine"
    assert list(tested.errors) == ["broken"]
    assert isinstance(tested.errors["broken"], HypothesisError)
    assert "no replicate of it ran to its end" in str(result.errors["hypothesis:h"])
    assert open_run("data/exp/v0").get_hypothesis("h").ranking["best"] == "fine"
    assert result.summary()


def test_a_condition_that_recorded_nothing_is_told_from_one_that_never_succeeded():
    def quiet(data, ctx):
        return data if ctx["condition"] == "fine" else measured(data, ctx)

    result = experiment("broken", "fine", step=quiet, hypotheses=[Hypothesis(difference, "total", name="h")]).run()
    assert result.metrics.treatments["fine"].metrics == result.metrics.treatments["broken"].metrics == {}
    assert "no replicate of it ran to its end" in str(result.get_hypothesis("h").errors["broken"])
    assert "no replicate" not in str(result.get_hypothesis("h").errors["fine"])


# ------------------------------------------------------------------ hypotheses by name


@pytest.mark.parametrize(
    "name, said",
    [
        ("mroe accurate", "Did you mean 'more accurate'?"),
        ("More accurate", "Did you mean 'more accurate'?"),
        ("stedier", "Did you mean 'steadier'?"),
        ("xyz", "its hypotheses: 'more accurate', 'steadier'"),
        ("", "its hypotheses: 'more accurate', 'steadier'"),
    ],
)
def test_an_unknown_hypothesis_is_an_error_with_the_nearest_name(name, said):
    hypotheses = [Hypothesis(difference, "total", name=known) for known in ("more accurate", "steadier")]
    for result in (experiment("fine", hypotheses=hypotheses).run(), open_run("data/exp/v0")):
        with pytest.raises(KeyError) as caught:
            result.get_hypothesis(name)
        assert isinstance(caught.value, LookupError)
        assert isinstance(caught.value, CrystallizeError)
        assert said in str(caught.value)
        assert repr(name) in str(caught.value)


def test_of_a_result_without_hypotheses_that_is_said():
    with pytest.raises(LookupError, match="no hypothesis was tested in it"):
        experiment("fine").run().get_hypothesis("h")


# ------------------------------------------------------------------ nothing recorded


def returns_nothing(data, ctx):
    return None


def returns_an_empty_mapping(data, ctx):
    return data, {}


def forgets_the_mapping(data, ctx):
    return {"total": data}


async def waits(data, ctx):
    return data


@pytest.mark.parametrize("step", [returns_nothing, returns_an_empty_mapping, forgets_the_mapping, waits])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_run_in_which_no_step_recorded_a_metric_says_so(step, executor, caplog):
    with caplog.at_level(logging.INFO, "crystallize"):
        result = experiment("fine", step=step, executor=EXECUTORS[executor]).run()
    (said,) = [record for record in caplog.records if "no step recorded a metric" in record.getMessage()]
    assert said.levelname == "INFO"
    for each in (result, open_run("data/exp/v0")):
        assert each.metric_names == []
        text = each.summary()
        assert "no step recorded a metric: return (data," in text
        assert "ctx.metrics.add(" in text


@pytest.mark.parametrize("step", [measured, lambda data, ctx: 1 / (ctx.get("shift", 0) * 0)])
def test_it_is_not_said_where_there_are_metrics_or_nothing_succeeded(step, caplog):
    with caplog.at_level(logging.INFO, "crystallize"):
        result = experiment("broken", step=step).run()
    assert "no step recorded a metric" not in caplog.text + result.summary()


def test_it_is_not_said_of_a_single_cell(caplog):
    bare = experiment(step=returns_nothing, default_plugins=False)
    bare.apply()
    bare.debug()
    assert "no step recorded a metric" not in caplog.text


def test_metric_names_are_those_of_all_conditions_in_order():
    def varies(data, ctx):
        return data, {"base": 1} if ctx["condition"] == "baseline" else {ctx["condition"]: 1, "base": 2}

    assert experiment("a", "b", step=varies).run().metric_names == ["base", "a", "b"]
