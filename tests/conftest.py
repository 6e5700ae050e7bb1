"""What tests have: an empty folder of their own, programs, experiments to run under every executor, what was logged."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import textwrap
from pathlib import Path

import hypothesis
import pytest
from tests import programs
from tests.plugin_distributions.third_party import third_party

from crystallize import (
    ArtifactPlugin,
    AsyncExecution,
    Experiment,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    SerialExecution,
    data_source,
    pipeline_step,
)
from crystallize_plugins.execution.processes import worker_pool
from crystallize_plugins.execution.processes.fork_server import ForkServer
from crystallize_plugins.execution.processes.spawn import SpawnStarter

# The machine may be busy with other work: no law holds within so and so many milliseconds. Each developer's run of the
# suite tries other examples, the gate always the same ones, and the soak many.
hypothesis.settings.register_profile("default", deadline=None, max_examples=50)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=2000, print_blob=True)
hypothesis.settings.load_profile(
    "soak" if os.environ.get("CRYSTALLIZE_SOAK") else "ci" if os.environ.get("CI") else "default"
)


# Started in the background of a shell, programs inherit that Ctrl-C is ignored; those under test are to hear of it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """Leave what there is by now to no collection of garbage, of which each test would pay a part."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    """End what forks the programs under test."""
    programs.stop()


@pytest.fixture(scope="session")
def repository():
    """The root of the repository."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, tmp_path_factory, monkeypatch):
    """Run each test in an empty folder, so that what an experiment writes is gone afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CRYSTALLIZE_CACHE_DIR", raising=False)
    monkeypatch.delenv("CRYSTALLIZE_CACHE_SIZE", raising=False)
    # Not that of whoever runs the tests; programs under test inherit it.
    monkeypatch.setenv("CRYSTALLIZE_CACHE_KEY_FILE", str(tmp_path_factory.getbasetemp() / "cache.key"))


@pytest.fixture
def run_script(tmp_path):
    """Run the text of a Python script as a user would: a file, in a process and a folder of its own."""

    def run(source, *arguments, python=sys.executable, options=(), timeout=120, **environment):
        script = tmp_path / "script.py"
        script.write_text(textwrap.dedent(source), encoding="utf-8")
        command = [python, *options, str(script), *map(str, arguments)]
        return programs.run(command, cwd=tmp_path, env={**os.environ, **environment}, timeout=timeout)

    return run


@pytest.fixture
def log():
    """Collect what is written to the ``crystallize`` logger."""

    class Sink(logging.Handler):
        def __init__(self):
            super().__init__(logging.DEBUG)
            self.records = []

        def emit(self, record):
            self.records.append(record)

        def text(self, level=logging.DEBUG):
            return "\n".join(record.getMessage() for record in self.records if record.levelno >= level)

    logger = logging.getLogger("crystallize")
    sink, level = Sink(), logger.level
    logger.addHandler(sink)
    logger.setLevel(logging.DEBUG)
    try:
        yield sink
    finally:
        logger.removeHandler(sink)
        logger.setLevel(level)


# -- the smallest experiment that records something -----------------------------------------------


@data_source
def numbers(ctx):
    return [1, 2, 3]


@pipeline_step()
def total(data, ctx, *, delta=0):
    return data, {"total": sum(data) + delta, "replicate": ctx["replicate"]}


@pytest.fixture
def source():
    """A factory of data sources."""
    return numbers


@pytest.fixture
def step():
    """A factory of steps that records ``total`` and ``replicate``."""
    return total


@pytest.fixture
def make(step):
    """Make an experiment without plugins; keywords are those of `Experiment`."""

    def made(*steps, **settings):
        settings.setdefault("datasource", numbers())
        settings.setdefault("pipeline", Pipeline(list(steps) or [step()]))
        settings.setdefault("default_plugins", False)
        return Experiment(**settings)

    return made


# -- experiments under every executor -------------------------------------------------------------


@pytest.fixture
def build():
    """Give an experiment with nothing but a seed and the plugins of the test."""

    def make(*steps, plugins=(), source=None, seed=7, stored=False, **more):
        seeding = [] if seed is None else [SeedPlugin(seed=seed)]
        return Experiment(
            source or numbers(),
            Pipeline(list(steps)),
            plugins=[*seeding, *([ArtifactPlugin()] if stored else []), *plugins],
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
        "third party": lambda: third_party("acme-workers").PoolExecution(),
    }[request.param]()


@pytest.fixture(params=["fork", "forkserver", "spawn"])
def way(request, monkeypatch):
    """Worker processes, started in every way in turn."""
    ways = {"forkserver": ForkServer.launched, "spawn": lambda needs: SpawnStarter()}
    if request.param in ways:
        monkeypatch.setattr(worker_pool, "new_starter", ways[request.param])
    return request.param


@pytest.fixture
def processes(way):
    """Two worker processes, started in every way in turn."""
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
