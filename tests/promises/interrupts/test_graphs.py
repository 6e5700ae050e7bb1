"""Ctrl-C while a graph runs: every branch stops, and what was finished is stored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from tests import programs

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent to one process there")

PROGRAM = """
    import asyncio, sys, time
    from crystallize import Experiment, ExperimentGraph, ParallelExecution, data_source, pipeline_step

    @data_source
    def nothing(ctx):
        return None

    @pipeline_step()
    def slow(data, ctx):
        if ctx["replicate"]:
            for _ in range(600):
                time.sleep(0.05)
        ctx.record("done", 1)

    def plugins():
        return [ParallelExecution(2, "process")] if "process" in sys.argv else []

    graph = ExperimentGraph(
        *(Experiment(nothing(), [slow()], plugins(), name=name, replicates=3) for name in ("left", "right"))
    )
    try:
        if "arun" in sys.argv:
            asyncio.run(graph.arun())
        else:
            graph.run()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(130)
"""


@pytest.mark.parametrize("way", ["run", "arun", "process"])
def test_ctrl_c_ends_all_branches_and_keeps_what_was_finished(tmp_path, way):
    from crystallize_plugins.artifacts import list_runs

    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(PROGRAM), encoding="utf-8")
    program = programs.popen(
        [sys.executable, str(script), way], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            runs = list_runs(tmp_path / "data")
            if len(runs) == 2 and all(len(list(run.outcomes())) >= 1 for run in runs):
                break
            time.sleep(0.05)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=30)
    finally:
        program.kill()
    assert program.returncode == 130, err
    assert "interrupted" in out
    for run in list_runs(tmp_path / "data"):
        assert run.status != "running"
        assert [outcome.metrics["done"] for outcome in run.outcomes() if outcome.ok] == [[1]]
