"""What may be declared, and what is refused before anything runs."""

from __future__ import annotations

import numpy as np
import pytest

from crystallize import (
    AsyncExecution,
    Experiment,
    ParallelExecution,
    PipelineStep,
    SerialExecution,
    data_source,
    pipeline_step,
)
from crystallize.errors import ArgumentTypeError, ConfigurationError, PrunedError, ValidationError


def step(data, ctx):
    return data


@pytest.mark.parametrize(
    "declared, error",
    [
        ({"retries": -1}, ValidationError),
        ({"retries": 1.5}, ArgumentTypeError),
        ({"retries": True}, ArgumentTypeError),
        ({"retries": "3"}, ArgumentTypeError),
        ({"retry_on": "ConnectionError"}, ArgumentTypeError),
        ({"retry_on": ConnectionError("no")}, ArgumentTypeError),
        ({"retry_on": (ConnectionError, 3)}, ArgumentTypeError),
        ({"retry_on": int}, ArgumentTypeError),
        ({"retry_on": ()}, ValidationError),
        ({"retry_on": KeyboardInterrupt}, ValidationError),
        ({"retry_on": (ValueError, PrunedError)}, ValidationError),
        ({"backoff": -0.1}, ValidationError),
        ({"backoff": float("inf")}, ValidationError),
        ({"backoff": "1"}, ArgumentTypeError),
        ({"backoff": None}, ArgumentTypeError),
        ({"timeout": 0}, ValidationError),
        ({"timeout": -1}, ValidationError),
        ({"timeout": float("nan")}, ValidationError),
        ({"timeout": "1s"}, ArgumentTypeError),
        ({"timeout": True}, ArgumentTypeError),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_is_written_and_named(declared, error, build):
    (name,) = declared
    with pytest.raises(error, match=name):
        pipeline_step(**declared)
    with pytest.raises(error, match=name):
        build(step, **declared)
    written = type("Written", (PipelineStep,), {"__call__": lambda self, data, ctx: data, **declared})
    with pytest.raises(error, match=f"{name} of the step Written"):
        build(written())


@pytest.mark.parametrize("version", [1.5, True, ("a",)])
def test_a_version_is_text_or_an_integer(version):
    with pytest.raises(ArgumentTypeError, match="version"):
        pipeline_step(version=version)


@pytest.mark.parametrize(
    "declared, error",
    [
        ({"max_failures": -1}, ValidationError),
        ({"max_failures": 0.5}, ArgumentTypeError),
        ({"fail_fast": 1}, ArgumentTypeError),
    ],
)
def test_limits_of_failures_are_checked(declared, error, build):
    with pytest.raises(error, match=next(iter(declared))):
        build(step, **declared)


def test_steps_say_what_they_declare():
    @pipeline_step(version="2", retries=3, retry_on=ConnectionError, backoff=0.5, timeout=np.float64(2))
    def careful(data, ctx):
        return data

    made = careful()
    assert (made.version, made.retries, made.retry_on, made.backoff, made.timeout) == (
        "2", 3, (ConnectionError,), 0.5, 2.0,
    )  # fmt: skip
    plain = pipeline_step(step)()
    assert (plain.version, plain.retries, plain.retry_on, plain.backoff, plain.timeout) == (
        None, 0, (Exception,), 0.0, None,
    )  # fmt: skip


def test_what_was_changed_since_is_checked_by_the_run(build):
    experiment = build(step)
    experiment.timeout = -1
    with pytest.raises(ValidationError, match="timeout"):
        experiment.run()


def test_the_builder_takes_what_the_experiment_takes():
    experiment = (
        Experiment.builder("careful")
        .datasource(data_source(lambda ctx: 1))
        .add_step(step)
        .default_plugins(default_plugins=False)
        .retries(2, retry_on=(OSError, ValueError), backoff=1)
        .timeout(None)
        .max_failures(3)
        .fail_fast()
        .build()
    )
    assert (experiment.retries, experiment.retry_on, experiment.backoff) == (2, (OSError, ValueError), 1.0)
    assert (experiment.timeout, experiment.max_failures, experiment.fail_fast) == (None, 3, True)


@pytest.mark.parametrize(
    "plugins",
    [(), (SerialExecution(),), (ParallelExecution(2),), (AsyncExecution(),)],
    ids=["none", "serial", "thread", "async"],
)
def test_a_time_out_of_a_plain_function_is_refused_where_only_a_process_could_keep_it(plugins, build):
    ran = []

    @pipeline_step(timeout=1)
    def slow(data, ctx):
        ran.append(data)

    with pytest.raises(ConfigurationError, match=r"SlowStep has a time-out of 1 s.*executor_type='process'"):
        build(slow(), plugins=plugins).run()
    with pytest.raises(ConfigurationError, match=r"1 s for each cell, and its step StepStep is a plain function"):
        build(step, plugins=plugins, timeout=1).validate()
    assert ran == []


def test_an_executor_of_ones_own_is_asked_before_its_first_cell(build):
    from crystallize.hooks import ExecutorPlugin

    ran = []

    class Own(ExecutorPlugin):
        ends_overdue_cells = True  # says so, and does nothing about it

        def run_experiment_loop(self, experiment, cells, run_cell):
            return [run_cell(cell) for cell in cells]

    @pipeline_step(timeout=1)
    def slow(data, ctx):
        ran.append(data)

    with pytest.raises(ConfigurationError, match="SlowStep"):
        build(slow(), plugins=[Own()]).run()
    assert ran == []


def test_whoever_applies_or_debugs_sees_the_failure_at_once(build, tally):
    @pipeline_step(retries=5, timeout=1)
    def fails(data, ctx):
        tally(ctx)
        raise ValueError("no")

    experiment = build(fails(), retries=5, fail_fast=True)
    with pytest.raises(ValueError, match="no"):
        experiment.apply()
    with pytest.raises(ValueError, match="no"):
        experiment.debug()
    assert tally.of("baseline", 0) == 2
