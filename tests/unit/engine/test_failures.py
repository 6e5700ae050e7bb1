"""A failed cell is recorded with what is needed to mend it, and takes no other cell with it."""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
import weakref

import pytest

from crystallize import PipelineStep, Treatment, data_source, pipeline_step
from crystallize.errors import CrystallizeError, PipelineExecutionError


def record(data, ctx):
    ctx.record("n", ctx["replicate"])
    return data


def failing(*replicates, condition=None, exc=None):
    """A step that raises in some cells."""

    def fail(data, ctx):
        if ctx["replicate"] in replicates and condition in (None, ctx["condition"]):
            raise exc or ValueError("no such value")
        return data

    return fail


def test_the_other_cells_run(make, face):
    result = face(make(failing(1), record), replicates=3, treatments=[Treatment("t", {})])
    assert sorted(result.errors) == ["baseline_rep_1", "t_rep_1"]
    assert result.metrics.baseline.metrics["n"] == [0, 2]
    assert result.metrics.baseline.metrics["n"].replicates == [0, 2]
    assert result.metrics.treatments["t"].metrics["n"] == [0, 2]


def test_the_treatments_run_where_the_baseline_failed(make):
    result = make(failing(0, 1, condition="baseline"), record).run(treatments=[Treatment("t", {})], replicates=2)
    assert result.metrics.treatments["t"].metrics["n"] == [0, 1]
    assert dict(result.metrics.baseline.metrics) == {}


def test_a_condition_without_a_success_has_no_metrics(make):
    result = make(failing(0, 1, condition="t"), record).run(
        treatments=[Treatment("t", {}), Treatment("u", {})], replicates=2
    )
    assert list(result.metrics.treatments) == ["t", "u"]
    assert result.metrics.treatments["t"].metrics == {}


def test_an_error_names_step_condition_and_replicate_and_keeps_the_original(make):
    original = LookupError("no such model")
    result = make(record, failing(1, exc=original)).run(replicates=2)
    error = result.errors["baseline_rep_1"]
    assert isinstance(error, PipelineExecutionError)
    assert isinstance(error, CrystallizeError)
    assert str(error) == "FailStep failed in condition 'baseline', replicate 1: LookupError: no such model"
    assert (error.step_name, error.condition, error.replicate) == ("FailStep", "baseline", 1)
    assert error.original_exception is error.__cause__ is original
    assert error.error_type == "LookupError"


def test_an_error_without_a_text_is_named_by_its_kind(make):
    def check(data):
        raise AssertionError

    (error,) = make(check).run().errors.values()
    assert str(error) == "CheckStep failed in condition 'baseline', replicate 0: AssertionError"


def test_the_tracebacks_text_starts_at_the_users_line(make):
    text = make(failing(0)).run().errors["baseline_rep_0"].traceback_text
    assert text.startswith("Traceback (most recent call last):")
    assert "raise exc or ValueError" in text
    assert "ValueError: no such value" in text
    assert text.count("File ") == 1


def test_metrics_of_a_failed_cell_are_not_reported(make):
    result = make(record, failing(0)).run(replicates=2)
    assert result.metrics.baseline.metrics["n"] == [1]


def test_steps_before_the_failure_are_in_the_provenance(make):
    result = make(record, failing(0)).run()
    first, second = result.provenance["ctx_changes"]["baseline"][0]
    assert first["duration"] >= 0
    assert second["duration"] is None


def test_failures_are_logged_with_the_traceback_once_for_each_kind(make, log):
    make(failing(0, 1, 2)).run(replicates=3)
    warnings = [r.getMessage() for r in log.records if r.levelno >= logging.WARNING]
    assert [line.split("\n")[0] for line in warnings] == [
        f"FailStep failed in condition 'baseline', replicate {n}: ValueError: no such value" for n in range(3)
    ]
    assert ["Traceback" in line for line in warnings] == [True, False, False]


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("even this fails")


class OddError(Exception):
    def __init__(self, one, two):
        super().__init__(one)
        self.two = two


@pytest.mark.parametrize(
    "exc", [UnprintableError(), OddError(1, 2), KeyError("k"), StopIteration(3), RecursionError(), Exception()]
)
def test_any_exception_is_recorded(make, exc):
    result = make(failing(0, exc=exc), record).run(replicates=2)
    error = result.errors["baseline_rep_0"]
    assert error.error_type == type(exc).__name__
    assert error.error_type in str(error)
    assert error.traceback_text
    assert result.metrics.baseline.metrics["n"] == [1]


@pytest.mark.parametrize("code", [0, 1, None, "text"])
def test_a_step_that_exits_is_a_failure_and_not_the_end(make, face, code):
    result = face(make(failing(0, exc=SystemExit(code)), record), replicates=2)
    assert result.errors["baseline_rep_0"].error_type == "SystemExit"
    assert result.metrics.baseline.metrics["n"] == [1]


@pytest.mark.parametrize("code", [0, 3])
def test_an_async_step_that_exits_is_a_failure_and_not_a_hang(make, face, code):
    async def leave(data, ctx):
        if not ctx["replicate"]:
            raise SystemExit(code)

    for step in (leave, lambda data, ctx: leave(data, ctx)):  # noqa: PLW0108 - the second is no coroutine function
        result = face(make(step), replicates=2)
        assert list(result.errors) == ["baseline_rep_0"]


def test_a_step_that_was_cancelled_by_its_own_doing_is_a_failure(make, where):
    async def cancelled(data, ctx):
        if not ctx["replicate"]:
            raise asyncio.CancelledError

    for step in (cancelled, lambda data, ctx: cancelled(data, ctx)):  # noqa: PLW0108
        result = where(lambda step=step: make(step, record).run(replicates=2))
        assert result.errors["baseline_rep_0"].error_type == "CancelledError"
        assert result.metrics.baseline.metrics["n"] == [1]


class Verdict(BaseException):
    """As test runners raise them: not to be caught by `except Exception`."""


@pytest.mark.parametrize("kind", [Verdict, GeneratorExit])
def test_an_exception_of_any_class_is_a_failure_of_its_cell(make, face, kind):
    result = face(make(failing(1, exc=kind("stop")), record), replicates=3)
    assert result.errors["baseline_rep_1"].step_name == "FailStep"
    assert result.metrics.baseline.metrics["n"] == [0, 2]


class Impatience(KeyboardInterrupt):
    """Of a class of its own."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, Impatience])
def test_what_means_the_whole_run_ends_it_and_carries_what_was_collected(make, face, kind):
    events = []

    class Noting(PipelineStep):
        def setup(self, ctx):
            events.append("setup")

        def teardown(self, ctx):
            events.append("teardown")

        def __call__(self, data, ctx):
            return data

    with pytest.raises(kind) as caught:
        face(make(Noting(), failing(1, exc=kind("stop")), record), replicates=3)
    assert caught.value.result.metrics.baseline.metrics["n"] == [0]
    assert caught.value.result.provenance["run"]["stopped_by"] == kind.__name__
    assert events == ["setup", "teardown"]


@pytest.mark.parametrize("kind", [Impatience, KeyboardInterrupt])
def test_the_same_holds_for_async_steps(make, where, kind):
    async def fail(data, ctx):
        if ctx["replicate"]:
            raise kind
        return data

    for step in (fail, lambda data, ctx: fail(data, ctx)):  # noqa: PLW0108
        with pytest.raises(kind) as caught:
            where(lambda step=step: make(record, step).run(replicates=3))
        assert caught.value.result.metrics.baseline.metrics["n"] == [0]


def test_a_failing_data_source_and_treatment_are_named_as_the_place(make):
    @data_source
    def away(ctx):
        raise OSError("server away")

    error = make(record, source=away()).run().errors["baseline_rep_0"]
    assert error.step_name == "datasource"
    assert str(error).startswith("datasource failed in condition 'baseline', replicate 0: OSError")
    result = make(record).run(treatments=[Treatment("t", lambda ctx: ctx["absent"])])
    assert result.errors["t_rep_0"].step_name == "treatment"
    assert "baseline_rep_0" not in result.errors


@pytest.mark.parametrize("returned", [{"rate": 1}, {}])
def test_a_treatments_function_that_returns_values_is_told_to_add_them(make, returned):
    result = make(record).run(treatments=[Treatment("t", lambda ctx: returned)])
    assert "ctx.add(key, value)" in str(result.errors["t_rep_0"])
    assert result.errors["t_rep_0"].error_type == "ArgumentTypeError"


def test_a_treatments_function_that_turns_out_to_be_async_is_refused(make):
    async def later(ctx):
        ctx.add("rate", 1)

    result = make(record).run(treatments=[Treatment("t", lambda ctx: later(ctx))])  # noqa: PLW0108
    assert "returned a coroutine" in str(result.errors["t_rep_0"])


def test_a_missing_parameter_is_one_failure_for_each_cell(make):
    @pipeline_step()
    def needs(data, ctx, rate):
        return data, {"rate": rate}

    result = make(needs()).run(treatments=[Treatment("t", {"rate": 1})])
    assert "'rate'" in str(result.errors["baseline_rep_0"])
    assert result.metrics.treatments["t"].metrics["rate"] == [1]


def test_an_error_survives_a_pickle_without_its_original(make):
    error = make(failing(0, exc=OddError(1, 2))).run().errors["baseline_rep_0"]
    copied = pickle.loads(pickle.dumps(error))
    assert str(copied) == str(error)
    assert copied.traceback_text == error.traceback_text
    assert copied.original_exception is None


class Big:
    """Stands for a large payload."""


@pytest.mark.parametrize("is_async", [False, True])
def test_failed_cells_do_not_keep_their_data_alive(make, is_async):
    alive = []

    def load(data):
        big = Big()
        alive.append(weakref.ref(big))
        return big

    def fail(data, ctx):
        ctx.add("mine", data)
        local = [data]
        raise ValueError(len(local))

    async def fail_later(data, ctx):
        fail(data, ctx)

    result = make(load, fail_later if is_async else fail).run(replicates=5)
    gc.collect()
    assert len(result.errors) == len(alive) == 5
    assert [ref() for ref in alive] == [None] * 5
    assert all(error.__cause__.__traceback__ is not None for error in result.errors.values())


def test_whoever_applies_gets_the_error_with_its_frames(make):
    def fail(data):
        inside = "seen by a debugger"
        raise ValueError(inside)

    with pytest.raises(ValueError, match="seen by a debugger") as caught:
        make(fail).apply()
    assert any("inside" in entry.frame.f_locals for entry in caught.traceback)
