"""Experiments that fail on purpose, and a count of attempts that outlives the process that made them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crystallize import (
    ArtifactPlugin,
    AsyncExecution,
    Experiment,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    SerialExecution,
    data_source,
)


@data_source
def one(ctx):
    return 1


@pytest.fixture
def build():
    """Give an experiment with nothing but a seed and the plugins of the test."""

    def make(*steps, plugins=(), source=None, stored=False, **more):
        return Experiment(
            source or one(),
            Pipeline(list(steps)),
            plugins=[SeedPlugin(seed=7), *([ArtifactPlugin()] if stored else []), *plugins],
            default_plugins=False,
            name="tried",
            **more,
        )

    return make


EXECUTORS = {
    "serial": SerialExecution,
    # One thread: several share the global random state, which is one of the things compared.
    "thread": lambda: ParallelExecution(1),
    "process": lambda: ParallelExecution(2, "process"),
    "async": AsyncExecution,
}


@pytest.fixture(params=list(EXECUTORS))
def executor(request):
    """Every executor in turn."""
    return EXECUTORS[request.param]()


@pytest.fixture
def tally(tmp_path):
    """Count attempts by cell, in whatever process: ``tally(ctx)`` gives the number of this one, from 1."""
    return Tally(tmp_path)


class Tally:
    def __init__(self, folder):
        # As text: the files below a Path would be part of what the steps are, and each attempt writes one.
        self._folder = str(folder)

    def _file(self, cell):
        return Path(self._folder, f"{cell['condition']}_{cell['replicate']}.attempts")

    def __call__(self, ctx):
        with self._file(ctx).open("ab", buffering=0) as file:
            file.write(b"x")
            return os.fstat(file.fileno()).st_size

    def of(self, condition, replicate):
        file = self._file({"condition": condition, "replicate": replicate})
        return file.stat().st_size if file.exists() else 0
