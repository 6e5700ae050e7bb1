"""`stream`: outcomes as they complete, and an end whenever the caller likes."""

from __future__ import annotations

import gc

import pytest

from crystallize import BasePlugin, PipelineStep, Treatment
from crystallize.errors import ValidationError
from crystallize.hooks import Cell


class Tracker(PipelineStep):
    def __init__(self):
        self.events = []

    def setup(self, ctx):
        self.events.append("setup")

    def teardown(self, ctx):
        self.events.append("teardown")

    def __call__(self, data, ctx):
        self.events.append(ctx["replicate"])
        ctx.record("n", ctx["replicate"])
        return data


class Keep(BasePlugin):
    neutral = True

    def __init__(self):
        self.results = []

    def after_run(self, result):
        self.results.append(result)


def test_each_outcome_comes_when_its_cell_has_run_and_before_the_next(make, where):
    step = Tracker()

    def consume():
        for number, outcome in enumerate(make(step).stream(replicates=3)):
            assert outcome.cell == Cell("baseline", number)
            assert outcome.metrics == {"n": [number]}
            assert step.events == ["setup", *range(number + 1)]

    where(consume)
    assert step.events == ["setup", 0, 1, 2, "teardown"]


def test_nothing_runs_before_the_first_is_asked_for_and_mistakes_are_found_at_once(make):
    step = Tracker()
    make(step).stream()
    assert step.events == []
    with pytest.raises(ValidationError):
        make(step).stream(replicates=0)


def test_closing_early_ends_the_run_and_keeps_what_was_finished(make):
    step, keep = Tracker(), Keep()
    stream = make(step, plugins=[keep]).stream(replicates=5)
    next(stream), next(stream)
    stream.close()
    assert step.events == ["setup", 0, 1, "teardown"]
    assert keep.results[0].metrics.baseline.metrics["n"] == [0, 1]
    assert keep.results[0].provenance["run"]["stopped_by"] == "GeneratorExit"


def test_forgetting_it_ends_the_run_too(make):
    step = Tracker()
    for _ in make(step).stream(replicates=5):
        break
    gc.collect()
    assert step.events == ["setup", 0, "teardown"]


def test_an_error_of_the_consumer_ends_the_run(make):
    step = Tracker()

    def consume():
        for outcome in make(step).stream(replicates=5):
            raise LookupError(outcome.cell.key)

    with pytest.raises(LookupError, match="baseline_rep_0"):
        consume()
    gc.collect()
    assert step.events[-1] == "teardown"


def test_an_outcome_is_given_once_it_is_stored(make):
    order = []

    class Ticket:
        def __init__(self, key):
            self.key = key

        def wait(self):
            order.append(f"stored {self.key}")

    class Store(BasePlugin):
        neutral = True

        def collect(self, outcome):
            return Ticket(outcome.cell.key)

    given = make(Tracker(), plugins=[Store()]).stream(replicates=2)
    order.extend(f"given {outcome.cell.key}" for outcome in given)
    assert order == [f"{what} baseline_rep_{n}" for n in range(2) for what in ("stored", "given")]


def test_failed_cells_are_outcomes_too(make):
    def fail(data):
        raise ValueError("no")

    outcomes = list(make(fail).stream(replicates=2, treatments=[Treatment("t", {})]))
    assert [outcome.ok for outcome in outcomes] == [False] * 4


def test_two_streams_of_one_experiment_keep_apart(make):
    experiment = make(lambda data, ctx: ctx.record("n", ctx["replicate"]))
    first, second = experiment.stream(replicates=2), experiment.stream(replicates=3)
    assert [next(first).cell.replicate, next(second).cell.replicate] == [0, 0]
    assert [outcome.cell.replicate for outcome in second] == [1, 2]
    assert [outcome.cell.replicate for outcome in first] == [1]
