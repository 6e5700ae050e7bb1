"""`apply` and `debug`: one cell, with everything around it, and the error as it is."""

from __future__ import annotations

import asyncio
import logging

import pytest

from crystallize import BasePlugin, PipelineStep, Treatment, data_source, pipeline_step, resource_factory
from crystallize.errors import ArgumentTypeError, MissingParameterError


class Diary(BasePlugin):
    def __init__(self):
        self.lines = []
        self.results = []

    def before_run(self, experiment):
        self.lines.append(f"before_run {experiment.run.kind} {experiment.replicates}")

    def before_replicate(self, ctx):
        self.lines.append(f"cell {ctx['condition']} {ctx['replicate']}")

    def after_step(self, step):
        self.lines.append(step.name)

    def after_run(self, result):
        self.lines.append("after_run")
        self.results.append(result)


class Seeding(BasePlugin):
    """As the seeding plugin does it, without global state."""

    def before_replicate(self, experiment, ctx):
        override = experiment.run.seed_override
        ctx.add("seed_used", 100 + ctx["replicate"] if override is None else override)


def test_apply_gives_the_final_data_with_metrics_taken_off(make):
    experiment = make(lambda data: (data, {"n": len(data)}), sum)
    assert experiment.apply() == 6
    assert make(lambda data: (data, {"n": 1})).apply() == [1, 2, 3]


@pytest.mark.parametrize("junk", ["best", {"delta": 1}, [Treatment("best", {})]], ids=["name", "mapping", "list"])
def test_a_single_treatment_is_a_treatment(make, junk):
    for call in (make().apply, make().debug):
        with pytest.raises(ArgumentTypeError, match=f"treatment must be a Treatment, not {type(junk).__name__}"):
            call(junk)


def test_apply_takes_a_treatment_or_the_baseline(make):
    @pipeline_step()
    def shift(data, ctx, *, delta=0):
        return [value + delta for value in data], {"condition": ctx["condition"]}

    experiment = make(shift(), treatments=[Treatment("own", {"delta": 100})])
    assert experiment.apply() == [1, 2, 3]
    assert experiment.apply(Treatment("t", {"delta": 4})) == [5, 6, 7]
    assert experiment.apply(treatment=Treatment("f", lambda ctx: ctx.add("delta", 1))) == [2, 3, 4]
    assert experiment.apply(Treatment("baseline", {"delta": 2})) == [3, 4, 5]


def test_the_baseline_is_the_same_in_a_run_in_apply_and_in_debug(make):
    @pipeline_step()
    def shift(data, ctx, *, delta=0):
        return [value + delta for value in data], {"delta": delta}

    experiment = make(shift(), treatments=[Treatment("up", {"delta": 1}), Treatment("baseline", {"delta": 100})])
    for _ in range(2):
        assert experiment.run().metrics.baseline.metrics == {"delta": [100]}
        assert experiment.apply() == [101, 102, 103]
        assert experiment.debug().metrics == {"delta": [100]}
        assert experiment.apply(Treatment("other", {"delta": 2})) == [3, 4, 5]


@pytest.mark.parametrize("data", [None, 0, False, "", [], {}, (), (1, {"a": 2})], ids=repr)
def test_data_that_is_given_skips_the_source_whatever_it_is(make, data):
    @data_source
    def never(ctx):
        raise AssertionError("fetched")

    assert make(lambda given: [given], datasource=never()).apply(data=data) == [data]


def test_all_hooks_come_once(make):
    diary = Diary()
    make(lambda data: data, sum, plugins=[diary]).apply(Treatment("best", {}))
    assert diary.lines == ["before_run apply 1", "cell best 0", "LambdaStep", "SumStep", "after_run"]
    assert list(diary.results[0].metrics.treatments) == ["best"]


def test_the_experiments_own_treatments_hypotheses_and_replicates_are_left_out(make):
    diary = Diary()
    make(len, plugins=[diary], treatments=[Treatment("t", {})], replicates=9).apply()
    assert diary.lines == ["before_run apply 1", "cell baseline 0", "LenStep", "after_run"]


def test_a_seed_replaces_the_computed_one(make, log):
    experiment = make(lambda data, ctx: ctx["seed_used"], plugins=[Seeding()])
    assert experiment.apply() == 100
    assert experiment.apply(seed=21) == 21
    assert experiment.apply(seed=0) == 0
    assert log.text(logging.WARNING) == ""


def test_a_seed_that_nobody_uses_is_warned_about(make, log):
    make(len).apply(seed=21)
    assert "seed=21 had no effect" in log.text(logging.WARNING)


@pytest.mark.parametrize("face", ["apply", "debug"])
def test_a_steps_own_error_reaches_the_caller(make, face):
    error = LookupError("no such model")

    def fail(data):
        raise error

    with pytest.raises(LookupError) as caught:
        getattr(make(fail), face)()
    assert caught.value is error


@pytest.mark.parametrize("face", ["apply", "debug"])
def test_a_missing_parameter_reaches_the_caller(make, face):
    with pytest.raises(MissingParameterError, match="'rate'"):
        getattr(make(pipeline_step()(lambda data, *, rate: rate)()), face)()


@pytest.mark.parametrize("exc", [SystemExit(3), KeyboardInterrupt()])
def test_an_exit_reaches_the_caller(make, exc):
    def leave(data):
        raise exc

    with pytest.raises(type(exc)):
        make(leave).apply()


def test_the_initial_context_and_resources_are_there_and_closed(make):
    closed = []
    factory = resource_factory(lambda _: ["db"], close=closed.append)
    experiment = make(lambda data, ctx: (ctx["db"], ctx["rate"]), initial_ctx={"db": factory, "rate": 0.1})
    assert experiment.apply() == (["db"], 0.1)
    assert closed == [["db"]]


def test_apply_works_inside_a_running_loop(make):
    async def later(data):
        await asyncio.sleep(0)
        return sum(data)

    async def main():
        return make(later).apply(), make(sum).apply()

    assert asyncio.run(main()) == (6, 6)


def test_apply_does_not_isolate_what_it_was_handed(make):
    mine = object()
    assert make(lambda data: data).apply(data=mine) is mine


def test_debug_gives_the_outcome_of_one_cell(make):
    outcome = make(lambda data, ctx: (sum(data), {"r": ctx["replicate"]}), plugins=[Seeding()]).debug(
        Treatment("t", {}), replicate=3
    )
    assert outcome.cell == ("t", 3)
    assert outcome.metrics == {"r": [3]}
    assert outcome.payload == 6
    assert outcome.seed == 103


def test_debug_tells_what_happened(make, log):
    make(lambda data, ctx: ctx.record("rate", ctx["rate"]), initial_ctx={"rate": 0.125}).debug()
    text = log.text(logging.INFO)
    assert "LambdaStep" in text
    assert "0.125" in text


def test_a_failing_teardown_is_told_and_does_not_cost_the_answer(make, log):
    class Stuck(PipelineStep):
        def teardown(self, ctx):
            raise OSError("stuck")

        def __call__(self, data, ctx):
            return sum(data)

    assert make(Stuck()).apply() == 6
    assert "stuck" in log.text(logging.WARNING)
