"""Experiments small enough to run under every executor."""

from __future__ import annotations

import logging

import pytest
from tests.plugin_distributions.third_party import third_party

from crystallize import (
    AsyncExecution,
    Experiment,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    SerialExecution,
    data_source,
)
from crystallize_plugins.execution.processes import worker_pool
from crystallize_plugins.execution.processes.fork_server import ForkServer
from crystallize_plugins.execution.processes.spawn import SpawnStarter


@data_source
def numbers(ctx):
    return [1, 2, 3]


@pytest.fixture
def build():
    """Give an experiment with nothing but a seed and the plugins of the test."""

    def make(*steps, plugins=(), source=None, seed=7, **more):
        return Experiment(
            source or numbers(),
            Pipeline(list(steps)),
            plugins=[*([] if seed is None else [SeedPlugin(seed=seed)]), *plugins],
            default_plugins=False,
            name="held",
            **more,
        )

    return make


@pytest.fixture(params=["serial", "thread", "process", "async", "third party"])
def executor(request):
    """Every executor in turn."""
    return {
        "serial": SerialExecution,
        "thread": lambda: ParallelExecution(3),
        "process": lambda: ParallelExecution(2, "process"),
        "async": AsyncExecution,
        "third party": third_party("acme-workers").PoolExecution,
    }[request.param]()


@pytest.fixture(params=["fork", "forkserver", "spawn"])
def processes(request, monkeypatch):
    """Two worker processes, started in every way in turn."""
    ways = {"forkserver": ForkServer.launched, "spawn": lambda needs: SpawnStarter()}
    if request.param in ways:
        monkeypatch.setattr(worker_pool, "new_starter", ways[request.param])
    return ParallelExecution(2, "process")


@pytest.fixture
def logbook():
    """What was logged to `crystallize` and below."""
    records = []

    class Sink(logging.Handler):
        def emit(self, record):
            records.append(record)

    logger, sink = logging.getLogger("crystallize"), Sink()
    logger.addHandler(sink)
    yield records
    logger.removeHandler(sink)
