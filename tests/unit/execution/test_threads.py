"""Threads for cells, on a system that gives out no more of them."""

from __future__ import annotations

import logging
import threading

import pytest

from crystallize import Experiment, ParallelExecution, Pipeline, data_source, pipeline_step
from crystallize.errors import WorkerStartError


@data_source
def numbers(ctx):
    return ctx["replicate"]


@pipeline_step()
def double(data):
    return data, {"double": 2 * data}


@pytest.fixture
def experiment():
    return Experiment(
        numbers(),
        Pipeline([double()]),
        [ParallelExecution(max_workers=4, executor_type="thread")],
        replicates=8,
        default_plugins=False,
    )


def allow(threads, monkeypatch):
    """Let only so many threads for cells be started."""
    start, started = threading.Thread.start, []

    def limited(thread):
        if thread.name.startswith("crystallize-thread-"):
            if len(started) == threads:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)


def test_a_run_goes_on_with_the_threads_that_it_gets(experiment, monkeypatch, caplog):
    allow(2, monkeypatch)
    with caplog.at_level(logging.WARNING, "crystallize"):
        result = experiment.run()
    assert result.metrics.baseline.metrics["double"] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert "2 threads instead of 4" in caplog.text


def test_without_any_thread_a_run_says_what_to_do(experiment, monkeypatch):
    allow(0, monkeypatch)
    with pytest.raises(WorkerStartError, match=r"can't start new thread.*SerialExecution"):
        experiment.run()
