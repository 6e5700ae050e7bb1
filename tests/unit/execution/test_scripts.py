"""Programs as people write them: no guard, `-c`, standard input, an interactive session."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
import functools
import sys
from dataclasses import dataclass
from random import random
from crystallize import Experiment, ParallelExecution, Pipeline, SeedPlugin, SerialExecution, data_source, pipeline_step

print("once")

@dataclass
class Reading:
    value: float

    @functools.cached_property
    def doubled(self):
        return 2 * self.value

@functools.cache
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

SCALE = 3

def scaled(x):
    return SCALE * x

@data_source
def numbers(ctx):
    return [Reading(1.0), Reading(2.0)]

@pipeline_step()
def total(data, ctx):
    ctx.metrics.add("total", scaled(sum(reading.value for reading in data)))
    ctx.metrics.add("kept", Reading(float(ctx.rng.random())))
    ctx.metrics.add("lambda", (lambda x: x + 1)(ctx["replicate"]))
    ctx.metrics.add("cached", fibonacci(30) + data[0].doubled)
    ctx.metrics.add("drawn", random())
    return data

experiment = Experiment(
    numbers(), Pipeline([total()]), name="script", default_plugins=False,
    plugins=[SeedPlugin(seed=1), ParallelExecution(2, "process")],
)
result = experiment.run(replicates=4)
values = result.metrics.baseline.metrics
print(dict(result.errors), values["total"], values["lambda"], all(type(one) is Reading for one in values["kept"]))
experiment.plugins.append(SerialExecution())
print(values["cached"], values["drawn"] == experiment.run(replicates=4).metrics.baseline.metrics["drawn"])
"""
EXPECTED = ["once", "{} [9.0, 9.0, 9.0, 9.0] [1, 2, 3, 4] True", "[832042.0, 832042.0, 832042.0, 832042.0] True"]
THREADED = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()\n"


@pytest.fixture(params=["single-threaded", "threaded", "spawn"])
def program(request):
    """The program, in an interpreter that may be forked, that may not, and where nothing may."""
    before = {
        "single-threaded": "",
        "threaded": THREADED,
        "spawn": "import crystallize_plugins.execution.processes.worker_pool as s; s.start_method = lambda: 'spawn'\n",
    }
    return before[request.param] + PROGRAM


def said(completed):
    assert completed.returncode == 0, completed.stderr
    assert completed.stderr == ""
    return completed.stdout.splitlines()


def test_a_script_needs_no_guard(program, run_script):
    assert said(run_script(program)) == EXPECTED


def test_a_timeout_for_the_script_s_own_sockets_ends_no_worker(program, run_script):
    assert said(run_script("import socket; socket.setdefaulttimeout(0.01)\n" + program)) == EXPECTED


def test_a_program_of_the_command_line_runs(program, tmp_path):
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert said(found) == EXPECTED


def test_a_program_from_standard_input_runs(program, tmp_path):
    found = subprocess.run(
        [sys.executable, "-"], input=program, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert said(found) == EXPECTED


def test_an_interactive_session_runs(tmp_path):
    session = textwrap.dedent(
        """
        from crystallize import Experiment, ParallelExecution, Pipeline, data_source, pipeline_step
        @data_source
        def one(ctx):
            return 1

        @pipeline_step()
        def double(data, ctx):
            ctx.metrics.add("double", 2 * data)
            return data

        e = Experiment(one(), Pipeline([double()]), default_plugins=False, plugins=[ParallelExecution(2, "process")])
        print(e.run(replicates=3).metrics.baseline.metrics["double"])
        """
    )
    found = subprocess.run(
        [sys.executable, "-i", "-q"],
        input=session,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "[2, 2, 2]" in found.stdout, found.stderr


def test_definitions_of_a_module_that_nobody_else_could_import_travel(run_script):
    found = run_script(
        THREADED
        + """
import importlib.util, sys, types
from crystallize import Experiment, ParallelExecution, Pipeline, data_source

module = types.ModuleType("made_up")
exec('''
from crystallize import pipeline_step
FACTOR = 5
@pipeline_step()
def five(data, ctx):
    ctx.metrics.add("five", FACTOR * data)
    return data
''', module.__dict__)
sys.modules["made_up"] = module

@data_source
def one(ctx):
    return 1

e = Experiment(one(), Pipeline([module.five()]), default_plugins=False, plugins=[ParallelExecution(2, "process")])
print(e.run(replicates=2).metrics.baseline.metrics["five"])
"""
    )
    assert said(found) == ["[5, 5]"]


def test_a_finished_program_leaves_no_process(run_script):
    found = run_script(THREADED + PROGRAM + "\nimport os; print(os.getpgrp())")
    assert found.returncode == 0, found.stderr
