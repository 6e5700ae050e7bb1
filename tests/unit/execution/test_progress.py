"""A progress bar where somebody looks, and silence where nobody does."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
import asyncio, sys
from crystallize import (
    AsyncExecution, Experiment, ParallelExecution, Pipeline, SerialExecution, data_source, pipeline_step
)

@data_source
def one(ctx):
    return 1

@pipeline_step()
def sometimes(data, ctx):
    if ctx["replicate"] % 4 == 0:
        raise ValueError("no")
    return data

import logging
logging.getLogger("crystallize").addHandler(logging.NullHandler())
logging.getLogger("crystallize").propagate = False
executor = {executor}
Experiment(one(), Pipeline([sometimes()]), name="watched", default_plugins=False, plugins=[executor]).run(replicates=8)
"""
EXECUTORS = [
    "SerialExecution(progress=True)",
    "ParallelExecution(2, progress=True)",
    "ParallelExecution(2, 'process', progress=True)",
    "AsyncExecution(progress=True)",
]


def on_a_terminal(source, cwd):
    """Run a program whose standard error is a terminal, and give what it wrote there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", source], cwd=cwd, stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the last one closed it
            break
        if not part:
            break
        seen += part
    os.close(ours)
    assert process.wait(60) == 0, seen
    return seen.decode()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_terminal_shows_cells_done_failed_rate_and_time_left(executor, tmp_path):
    seen = on_a_terminal(PROGRAM.format(executor=executor), tmp_path)
    last = re.split(r"[\r\n]+", seen.strip())[-1]
    assert "watched" in last
    assert "8/8" in last
    assert "2 failed" in last
    assert "cell/s" in last or "s/cell" in last
    assert "<" in last  # elapsed < left


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_terminal_shows_how_often_cells_were_tried_again(executor, tmp_path):
    program = PROGRAM.replace("@pipeline_step()", "@pipeline_step(retries=2)")
    seen = on_a_terminal(program.format(executor=executor), tmp_path)
    assert "2 failed, 4 tried again" in re.split(r"[\r\n]+", seen.strip())[-1]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_nothing_is_shown_where_nobody_looks(executor, run_script):
    found = run_script(textwrap.dedent(PROGRAM.format(executor=executor)))
    assert found.returncode == 0
    assert (found.stdout, found.stderr) == ("", "")


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_line_of_the_log_has_a_line_of_its_own(executor, tmp_path):
    program = PROGRAM[: PROGRAM.index("import logging")] + PROGRAM[PROGRAM.index("executor =") :]
    program = program.replace("default_plugins=False", "default_plugins=['logging']")
    seen = on_a_terminal(program.format(executor=executor), tmp_path)
    logged = [line for line in re.split(r"[\r\n]+", seen) if " WARNING " in line]
    assert len(logged) == 2
    assert all(re.match(r"\d\d:\d\d:\d\d WARNING SometimesStep failed", line) for line in logged), logged
    assert "2 failed" in seen


def test_without_progress_a_terminal_stays_empty(tmp_path):
    assert on_a_terminal(PROGRAM.format(executor="SerialExecution()"), tmp_path) == ""


def test_a_notebook_shows_it_too(run_script):
    found = run_script(
        textwrap.dedent("""
            import sys, types
            IPython = types.ModuleType("IPython")
            class Shell:
                kernel = object()
            IPython.get_ipython = Shell
            sys.modules["IPython"] = IPython
        """)
        + PROGRAM.format(executor="SerialExecution(progress=True)")
    )
    assert found.returncode == 0, found.stderr
    assert "8/8" in found.stderr
    assert "IProgress" not in found.stderr
