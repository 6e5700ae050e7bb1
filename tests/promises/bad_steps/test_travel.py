"""What cannot travel, on the way there or back, fails by name."""

from __future__ import annotations

import os
import subprocess
import threading

import pytest

from crystallize import BasePlugin, ParallelExecution, pipeline_step
from crystallize.errors import SerializationError, WorkerStartError
from crystallize_plugins.execution.processes import worker_pool
from crystallize_plugins.execution.processes.fork_server import ForkServer
from crystallize_plugins.execution.processes.spawn import SpawnStarter

pytestmark = pytest.mark.timeout(60)
HOME = os.getpid()


class NoPickle:
    def __reduce__(self):
        raise ValueError("not for export")


class NoRebuild:
    """Can be rebuilt anywhere but where the test runs."""

    def __init__(self, home):
        self.home = home

    def __setstate__(self, state):
        if os.getpid() == state["home"]:
            raise ValueError("no way home")
        vars(self).update(state)


class OnlyHere:
    """Can be rebuilt nowhere but where the test runs."""

    def __init__(self):
        self.home = os.getpid()

    def __setstate__(self, state):
        if os.getpid() != state["home"]:
            raise ValueError("homesick")
        vars(self).update(state)


SOAK = bool(os.environ.get("CRYSTALLIZE_SOAK"))
BAD = {
    "lock": (threading.Lock, "pickle"),
    "no pickle": (NoPickle, "not for export"),
    "no rebuild": (lambda: NoRebuild(HOME), "no way home"),
}


@pytest.mark.parametrize(
    "what, way",
    [*((what, "fork") for what in BAD), ("no rebuild", "forkserver"), *([("lock", "spawn")] if SOAK else [])],
    indirect=["way"],
)
def test_a_metric_that_cannot_travel_fails_its_cell_and_no_other(what, way, build):
    make, word = BAD[what]

    @pipeline_step()
    def record(data, ctx):
        ctx.metrics.add("fine", ctx["replicate"])
        if ctx["replicate"] in (4, 9):
            ctx.metrics.add("odd", make())
        return data

    result = build(record(), plugins=[ParallelExecution(2, "process")]).run(replicates=20)
    assert list(result.metrics.baseline.metrics["fine"]) == [r for r in range(20) if r not in (4, 9)]
    assert sorted(result.errors) == ["baseline_rep_4", "baseline_rep_9"]
    for error in result.errors.values():
        assert error.error_type == "SerializationError"
        assert word in str(error)
    if what != "no rebuild":
        assert "'odd'" in str(result.errors["baseline_rep_4"])


def test_a_parameter_that_cannot_be_pickled_stops_the_run_before_its_first_cell(way, build):
    @pipeline_step()
    def use(data, ctx, *, tool):
        return data

    with pytest.raises(SerializationError, match=r"steps\[0\]\.params\['tool'\].*not for export"):
        build(use(tool=NoPickle()), plugins=[ParallelExecution(2, "process")]).run(replicates=3)


@pytest.mark.parametrize("way", ["fork", "forkserver", *(["spawn"] if SOAK else [])], indirect=True)
def test_a_parameter_that_cannot_be_rebuilt_stops_the_run_and_says_why(way, build):
    @pipeline_step()
    def use(data, ctx, *, tool):
        return data

    with pytest.raises(WorkerStartError, match="homesick"):
        build(use(tool=OnlyHere()), plugins=[ParallelExecution(2, "process")]).run(replicates=3)


def test_a_parameter_that_can_be_rebuilt_nowhere_is_named_with_its_place(build):
    class Broken:
        def __setstate__(self, state):
            raise ValueError("in pieces")

        def __getstate__(self):
            return {"a": 1}

    @pipeline_step()
    def use(data, ctx, *, tool):
        return data

    with pytest.raises(WorkerStartError, match=r"(?s)in pieces.*steps\[0\]\.params\['tool'\]"):
        build(use(tool=Broken()), plugins=[ParallelExecution(2, "process")]).run(replicates=3)


def test_a_plugin_that_cannot_be_imported_in_a_worker_is_named_at_once(launch):
    program = launch("""
        import sys, threading, types
        threading.Thread(target=threading.Event().wait, daemon=True).start()  # no fork, then
        import crystallize
        from crystallize import BasePlugin, Experiment, ParallelExecution, Pipeline, data_source, pipeline_step
        import importlib.machinery, pathlib
        folder = pathlib.Path("here_only"); folder.mkdir()
        (folder / "shy_plugin.py").write_text('''
        import os, sys
        if os.environ.get("HOME_PID") != str(os.getpid()):
            raise ImportError("only at home")
        from crystallize import BasePlugin
        class Shy(BasePlugin):
            neutral = True
        '''.replace("\\n        ", "\\n"))
        import os
        os.environ["HOME_PID"] = str(os.getpid())
        sys.path.insert(0, str(folder.resolve()))
        import shy_plugin

        @data_source
        def one(ctx):
            return 1

        @pipeline_step()
        def nothing(data, ctx):
            return data

        e = Experiment(one(), Pipeline([nothing()]), default_plugins=False,
                       plugins=[shy_plugin.Shy(), ParallelExecution(2, "process")])
        try:
            e.run(replicates=4)
        except Exception as exc:
            print("GOT", type(exc).__name__, "only at home" in str(exc), "shy_plugin" in str(exc))
    """)
    assert program.wait_for_line("GOT") == "GOT WorkerStartError True True"
    assert program.end(10)[0] == 0
    assert program.gone_within(5)


def test_workers_that_die_before_they_are_ready_are_not_started_for_ever(way, build):
    class Deadly:
        def __init__(self):
            self.home = os.getpid()

        def __setstate__(self, state):
            if os.getpid() != state["home"]:
                os._exit(7)

    @pipeline_step()
    def use(data, ctx, *, tool):
        return data

    with pytest.raises(WorkerStartError, match=r"before they were ready.*exit code 7"):
        build(use(tool=Deadly()), plugins=[ParallelExecution(2, "process")]).run(replicates=3)


@pytest.mark.parametrize("starter", [lambda needs: SpawnStarter(), ForkServer.launched], ids=["spawn", "forkserver"])
def test_an_interpreter_that_does_not_start_is_named(starter, build, monkeypatch):
    monkeypatch.setattr(worker_pool, "new_starter", starter)
    monkeypatch.setattr("multiprocessing.spawn.get_executable", lambda: "/no/such/python")

    @pipeline_step()
    def nothing(data, ctx):
        return data

    with pytest.raises(WorkerStartError, match="/no/such/python"):
        build(nothing(), plugins=[ParallelExecution(2, "process")]).run(replicates=3)


@pytest.mark.parametrize("starter", [lambda needs: SpawnStarter(), ForkServer.launched], ids=["spawn", "forkserver"])
def test_an_interpreter_that_leaves_at_once_is_noticed(starter, build, monkeypatch, tmp_path):
    wrapper = tmp_path / "python"
    wrapper.write_text("#!/bin/sh\nexit 5\n")
    wrapper.chmod(0o755)
    assert subprocess.run([str(wrapper)], check=False).returncode == 5
    monkeypatch.setattr(worker_pool, "new_starter", starter)
    monkeypatch.setattr("multiprocessing.spawn.get_executable", lambda: str(wrapper))

    @pipeline_step()
    def nothing(data, ctx):
        return data

    with pytest.raises(WorkerStartError, match="exit code 5"):
        build(nothing(), plugins=[ParallelExecution(2, "process")]).run(replicates=3)


def test_a_program_without_an_interpreter_is_told_what_to_do(build, monkeypatch):
    monkeypatch.setattr(worker_pool, "new_starter", ForkServer.launched)
    monkeypatch.setattr("multiprocessing.spawn.get_executable", lambda: None)

    @pipeline_step()
    def nothing(data, ctx):
        return data

    with pytest.raises(WorkerStartError, match="executor_type='thread'"):
        build(nothing(), plugins=[ParallelExecution(2, "process")]).run(replicates=3)


def test_an_executor_survives_a_run_that_failed(build):
    @pipeline_step()
    def use(data, ctx, *, tool=None):
        ctx.metrics.add("fine", 1)
        return data

    plugin = ParallelExecution(2, "process")
    with pytest.raises(SerializationError):
        build(use(tool=NoPickle()), plugins=[plugin]).run(replicates=3)
    assert list(build(use(), plugins=[plugin]).run(replicates=3).metrics.baseline.metrics["fine"]) == [1, 1, 1]


def test_a_hook_of_a_plugin_that_dies_takes_its_cell_alone(build):
    class Poison(BasePlugin):
        neutral = True

        def before_replicate(self, ctx):
            if ctx["replicate"] == 2:
                os._exit(4)

    @pipeline_step()
    def record(data, ctx):
        ctx.metrics.add("fine", ctx["replicate"])
        return data

    result = build(record(), plugins=[Poison(), ParallelExecution(2, "process")]).run(replicates=5)
    assert list(result.metrics.baseline.metrics["fine"]) == [0, 1, 3, 4]
    assert "exit code 4" in str(result.errors["baseline_rep_2"])
