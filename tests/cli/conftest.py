"""The command line as a shell sees it: a process, its two streams, its exit code."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import pytest
from tests import programs

EXPERIMENT = """
from crystallize import Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step


@data_source
def draws(ctx):
    return [ctx.rng.random() for _ in range(5)]


@pipeline_step()
def scale(data, ctx, *, factor=1.0):
    return [factor * value for value in data]


@pipeline_step()
def total(data, ctx):
    return data, {"total": round(sum(data), 6)}


experiment = Experiment(
    datasource=draws(),
    pipeline=Pipeline([scale(), total()]),
    plugins=[SeedPlugin(seed=1)],
    treatments=[Treatment("doubled", {"factor": 2.0})],
    replicates=3,
    name="draws",
)
"""


@pytest.fixture
def write(tmp_path):
    """Write a file into the working folder."""

    def write(source=EXPERIMENT, name="file.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def command():
    """The installed command."""
    return Path(sys.executable).with_name("crystallize")


@pytest.fixture
def crystallize(command, tmp_path):
    """Run ``crystallize`` in the working folder and give the finished process."""

    def run(*arguments, **environment):
        environment = {**os.environ, "COLUMNS": "100", **environment}
        return programs.run([command, *map(str, arguments)], cwd=tmp_path, env=environment)

    return run
