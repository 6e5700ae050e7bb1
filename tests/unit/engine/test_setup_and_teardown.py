"""`setup` and `teardown`: once around the cells, and never at the price of the results."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from crystallize import BasePlugin, PipelineStep, Treatment, pipeline_step
from crystallize.errors import ContextMutationError


class Tracker(PipelineStep):
    """Notes what happens to it."""

    def __init__(self, name="T", events=None, **faults):
        self._name = name
        self.events = [] if events is None else events
        self.faults = faults

    @property
    def name(self):
        return self._name

    def note(self, what):
        self.events.append(f"{self._name} {what}")
        if what in self.faults:
            raise self.faults[what]

    def setup(self, ctx):
        self.note("setup")

    def teardown(self, ctx):
        self.note("teardown")

    def __call__(self, data, ctx):
        self.note("call")
        return data


def test_they_come_once_around_all_cells(make, face):
    step = Tracker()
    face(make(step), replicates=2, treatments=[Treatment("t", {})])
    assert step.events == ["T setup", *["T call"] * 4, "T teardown"]


def test_every_run_starts_afresh(make):
    step = Tracker()
    experiment = make(step)
    experiment.run()
    experiment.apply()
    experiment.debug()
    assert step.events == ["T setup", "T call", "T teardown"] * 3


def test_setup_goes_in_order_and_teardown_backwards(make):
    events = []
    make(Tracker("A", events), Tracker("B", events)).run()
    assert events == ["A setup", "B setup", "A call", "B call", "B teardown", "A teardown"]


def test_a_step_that_stands_in_two_places_is_set_up_once(make):
    step = Tracker()
    make(step, step).run()
    assert step.events == ["T setup", "T call", "T call", "T teardown"]


class Adds(PipelineStep):
    def setup(self, ctx):
        ctx.add("client", ["ready", ctx["host"]])

    def __call__(self, data, ctx):
        ctx.record("client", ctx["client"])
        ctx["client"].append("used")
        return data


def test_what_setup_adds_is_there_in_every_cell_isolated_and_in_every_run(make):
    experiment = make(Adds(), initial_ctx={"host": "h"})
    for _ in range(2):
        result = experiment.run(replicates=2, treatments=[Treatment("t", {})])
        assert result.metrics.baseline.metrics["client"] == [["ready", "h"]] * 2
        assert result.metrics.treatments["t"].metrics["client"] == [["ready", "h"]] * 2
    assert experiment.apply() == [1, 2, 3]
    assert list(experiment.initial_ctx) == ["host"]


def test_what_setup_adds_is_injected_and_described_in_the_provenance(make):
    show = pipeline_step()(lambda data, ctx, *, client=None: (data, {"client": client}))
    result = make(Adds(), show(), initial_ctx={"host": "h"}).run()
    assert result.metrics.baseline.metrics["client"] == [["ready", "h"]] * 2
    first, second = result.provenance["ctx_changes"]["baseline"][0]
    assert first["reads"]["client"] == second["reads"]["client"] == ["ready", "h"]


def test_a_setup_step_after_the_others_is_seen_by_all(make):
    seen = []
    make(lambda data, ctx: seen.append(ctx["client"]), Adds(), initial_ctx={"host": "h"}).run()
    assert seen == [["ready", "h"]]


@pytest.mark.parametrize("key", ["replicate", "condition", "seed_used"])
def test_setup_cannot_write_what_the_framework_writes(make, key):
    step = type("Wrong", (Tracker,), {"setup": lambda self, ctx: ctx.add(key, 5)})("W")
    error = make(step).run().errors["baseline_rep_0"]
    assert error.step_name == "W.setup"
    assert repr(key) in str(error)
    assert isinstance(error.__cause__, ContextMutationError)


def test_setup_cannot_overwrite_the_initial_context(make):
    step = type("Again", (Tracker,), {"setup": lambda self, ctx: ctx.add("host", 5)})("W")
    error = make(step, initial_ctx={"host": "h"}).run().errors["baseline_rep_0"]
    assert isinstance(error.__cause__, ContextMutationError)


def test_a_treatment_cannot_overwrite_what_setup_wrote(make):
    result = make(Adds(), initial_ctx={"host": "h"}).run(treatments=[Treatment("t", {"client": 5})])
    assert "'client'" in str(result.errors["t_rep_0"])
    assert "setup has written" in str(result.errors["t_rep_0"])
    assert result.metrics.baseline.metrics["client"] == [["ready", "h"]]


@pytest.mark.parametrize("exc", [OSError("no server"), SystemExit(3)])
def test_a_failing_setup_fails_every_cell_by_name_and_only_the_finished_are_torn_down(make, face, exc):
    events = []
    steps = [Tracker("A", events), Tracker("B", events, setup=exc), Tracker("C", events)]
    result = face(make(*steps), replicates=2)
    assert sorted(result.errors) == ["baseline_rep_0", "baseline_rep_1"]
    error = result.errors["baseline_rep_0"]
    assert str(error).startswith("B.setup failed in condition 'baseline', replicate 0")
    assert error.__cause__ is exc
    assert events == ["A setup", "B setup", "A teardown"]


@pytest.mark.parametrize("exc", [OSError("stuck"), SystemExit(3)])
def test_a_failing_teardown_costs_no_result_and_no_other_teardown(make, face, exc, log):
    events = []
    steps = [Tracker("A", events), Tracker("B", events, teardown=exc), lambda data, ctx: ctx.record("n", 1)]
    result = face(make(*steps), replicates=2)
    assert result.metrics.baseline.metrics["n"] == [1, 1]
    assert list(result.errors) == ["teardown:B"]
    assert f"B.teardown failed: {type(exc).__name__}" in str(result.errors["teardown:B"])
    assert events[-2:] == ["B teardown", "A teardown"]
    assert "B.teardown failed" in log.text(logging.WARNING)


def test_two_failing_teardowns_are_both_kept(make):
    result = make(Tracker("A", teardown=OSError(1)), Tracker("A", teardown=OSError(2))).run()
    assert sorted(result.errors) == ["teardown:A", "teardown:A_2"]


def test_teardown_comes_after_a_failed_step_also_under_apply(make):
    step = Tracker(call=LookupError("no such model"))
    with pytest.raises(LookupError, match="no such model"):
        make(step).apply()
    assert step.events == ["T setup", "T call", "T teardown"]


def test_ctrl_c_in_a_setup_tears_down_what_was_set_up(make):
    events = []
    steps = [Tracker("A", events), Tracker("B", events, setup=KeyboardInterrupt())]
    with pytest.raises(KeyboardInterrupt) as caught:
        make(*steps).run()
    assert events == ["A setup", "B setup", "A teardown"]
    assert caught.value.result.provenance["run"]["stopped_by"] == "KeyboardInterrupt"


def test_ctrl_c_in_a_teardown_still_finishes_the_run(make):
    events = []
    steps = [Tracker("A", events), Tracker("B", events, teardown=KeyboardInterrupt())]
    with pytest.raises(KeyboardInterrupt) as caught:
        make(*steps, lambda data, ctx: ctx.record("n", 1)).run()
    assert caught.value.result.metrics.baseline.metrics["n"] == [1]
    assert events[-2:] == ["B teardown", "A teardown"]


def test_no_cell_no_call(make):
    step = Tracker()

    class Refuses(BasePlugin):
        def before_run(self, experiment):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        make(step, plugins=[Refuses()]).run()
    assert step.events == []


def test_a_large_array_from_setup_is_not_copied_for_the_cells(make):
    weights = np.zeros(1000)

    class Loads(Tracker):
        def setup(self, ctx):
            ctx.add("weights", weights)

        def __call__(self, data, ctx):
            assert np.shares_memory(ctx["weights"], weights)
            return data

    assert not make(Loads()).run(replicates=3).errors
