"""How worker processes come to be, and what is kept for the next run."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from pathlib import Path

import pytest

from crystallize import ParallelExecution, pipeline_step
from crystallize_plugins.execution.processes import worker_pool
from crystallize_plugins.execution.processes.fork_server import ForkServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fork servers are for Linux")


@pytest.fixture
def another_thread():
    """A program that has more than one thread, in which a fork is not sound."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    yield
    over.set()
    thread.join()
    worker_pool.close_kept_starter()


@pipeline_step()
def look_around(data, ctx):
    ctx.metrics.add("parent", os.getppid())
    ctx.metrics.add("had", "yaml" in sys.modules)
    ctx.metrics.add("pid", os.getpid())
    import yaml as found

    ctx.metrics.add("name", found.__name__)
    return data


def run(build, replicates=6):
    result = build(look_around(), plugins=[ParallelExecution(2, "process")]).run(replicates=replicates)
    assert not result.errors
    return result


def test_a_program_of_one_thread_is_forked(run_script):
    # In a process of its own: the tests before this one may have left threads of libraries behind.
    done = run_script(
        """
        from crystallize import Experiment, ParallelExecution, Pipeline, data_source

        @data_source
        def one(ctx):
            return 1

        experiment = Experiment(one(), Pipeline([abs]), plugins=[ParallelExecution(2, "process")])
        print(experiment.run(replicates=4).provenance["execution"]["start_method"])
        """,
        OPENBLAS_NUM_THREADS="1",
    )
    assert done.stdout.strip() == "fork", done.stderr


@pytest.mark.parametrize("name, alone", [("jemalloc_bg_thd", True), ("some_other", False)])
def test_only_threads_that_survive_a_fork_are_passed_over(run_script, name, alone):
    # As a library starts it: Python does not know of it.
    done = run_script(
        f"""
        import ctypes, time
        from pathlib import Path
        from crystallize_plugins.execution.processes.fork_server import ForkServer
        from crystallize_plugins.execution.processes.fork_server_process import is_alone

        libc = ctypes.CDLL(None)
        thread = ctypes.c_ulong()
        libc.pthread_create(ctypes.byref(thread), None, libc.pause, None)
        libc.pthread_setname_np(thread, b"{name}")
        starter = ForkServer.forked()
        print(is_alone(), starter is not None)
        if starter is not None:
            starter.close()
        """
    )
    assert done.stdout.strip() == f"{alone} {alone}", done.stderr


def test_a_program_that_has_loaded_scikit_learn_is_forked(run_script):
    pytest.importorskip("sklearn")
    done = run_script(
        """
        import sklearn.linear_model
        from crystallize import Experiment, ParallelExecution, data_source

        @data_source
        def one(ctx):
            return 1

        experiment = Experiment(one(), [abs], [ParallelExecution(2, "process")], name="x", default_plugins=False)
        print(experiment.run(replicates=4).provenance["execution"]["start_method"])
        """
    )
    assert done.stdout.strip() == "fork", done.stderr


@pytest.mark.usefixtures("another_thread")
def test_a_program_of_several_threads_is_not_forked(build):
    assert ForkServer.forked() is None
    assert run(build).provenance["execution"]["start_method"] == "forkserver"


@pytest.mark.usefixtures("another_thread")
def test_what_starts_workers_is_kept_and_learns_while_workers_are_new(build, monkeypatch):
    worker_pool.close_kept_starter()
    monkeypatch.setattr(ForkServer, "_learnt", {})
    importlib.import_module("yaml")  # what this program has, workers may be given
    first, second, third = (run(build).metrics.baseline.metrics for _ in range(3))
    assert set(second["parent"]) == set(third["parent"])
    assert not (set(first["pid"]) | set(second["pid"])) & set(third["pid"])
    assert not any(first["had"][:1])
    assert all(second["had"])


def test_a_module_that_starts_threads_when_it_is_imported_ends_the_teaching_and_no_run(tmp_path, run_script):
    (tmp_path / "lively.py").write_text("import threading\nthreading.Timer(3600, print).start()\nVALUE = 7\n")
    done = run_script("""
        import os, sys
        import lively
        from crystallize import Experiment, ParallelExecution, data_source, pipeline_step

        @data_source
        def one(ctx):
            return 1

        @pipeline_step()
        def look(data, ctx):
            import lively
            return data, {"value": lively.VALUE}

        def run():
            plugins = [ParallelExecution(2, "process")]
            result = Experiment(one(), [look()], plugins, name="x", default_plugins=False).run(replicates=4)
            assert not result.errors, result.errors
            return result.metrics.baseline.metrics["value"]

        from crystallize_plugins.execution.processes.fork_server import ForkServer
        print(run())
        ForkServer._learnt["lively"] = None  # as if it were an installed library
        for _ in range(3):
            print(run())
        sys.stdout.flush()
        os._exit(0)
        """)
    assert done.stdout.split("\n")[:-1] == ["[7, 7, 7, 7]"] * 4, done.stderr
    assert "ended" not in done.stderr


@pytest.mark.usefixtures("another_thread")
def test_two_runs_at_the_same_time_do_not_meet(build):
    results = []
    threads = [threading.Thread(target=lambda: results.append(run(build, 20))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(result.metrics.baseline.metrics["pid"]) for result in results] == [20, 20, 20]


@pytest.mark.parametrize("threads", [1, 2])
def test_workers_that_were_made_ready_and_are_not_needed_leave_with_the_run(run_script, threads):
    done = run_script(
        f"""
        import threading, time
        from pathlib import Path
        from crystallize import BasePlugin, Experiment, ParallelExecution, data_source
        from crystallize_plugins.execution.processes.worker_pool import close_kept_starter

        if {threads} > 1:
            threading.Thread(target=threading.Event().wait, daemon=True).start()

        class Own(BasePlugin):
            def run_experiment_loop(self, experiment, cells, run_cell):
                return [run_cell(cell) for cell in cells]

        class Refuses(BasePlugin):
            def before_run(self, experiment):
                raise RuntimeError("not today")

        @data_source
        def one(ctx):
            return 1

        def children(pid):
            return [
                child
                for thread in Path(f"/proc/{{pid}}/task").iterdir()
                for child in (thread / "children").read_text().split()
            ]

        def descendants():
            return [child for server in children("self") for child in children(server)]

        for last in (Own, Refuses):
            plugins = [ParallelExecution(2, "process"), last()]
            experiment = Experiment(one(), [abs], plugins, name="x", default_plugins=False)
            try:
                print(experiment.run(replicates=4).provenance["replicates"])
            except RuntimeError as error:
                print(error)
            limit = time.monotonic() + 20
            while descendants() and time.monotonic() < limit:
                time.sleep(0.01)
            print(len(descendants()))
        close_kept_starter()
        print(len(children("self")))
        """,
        OPENBLAS_NUM_THREADS="1",
    )
    assert done.stdout.split("\n")[:-1] == ["4", "0", "not today", "0", "0"], done.stderr


def test_nothing_is_started_for_apply(build, monkeypatch):
    from crystallize_plugins.execution.processes import worker_pool

    monkeypatch.setattr(worker_pool, "new_starter", lambda needs: pytest.fail("a process was started"))
    assert build(look_around(), plugins=[ParallelExecution(2, "process")]).apply() == [1, 2, 3]


def test_a_run_that_ends_leaves_no_descriptor_open(build):
    run(build)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        run(build)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_a_forked_program_does_not_use_its_parents_starter(build, run_script):
    found = run_script("""
        import os, threading
        from crystallize import Experiment, ParallelExecution, Pipeline, data_source, pipeline_step
        event = threading.Event(); threading.Thread(target=event.wait).start()

        @data_source
        def one(ctx):
            return 1

        @pipeline_step()
        def who(data, ctx):
            ctx.metrics.add("parent", os.getppid())
            return data

        def run():
            return Experiment(one(), Pipeline([who()]), name="x", default_plugins=False,
                              plugins=[ParallelExecution(2, "process")]).run(replicates=2)

        mine = set(run().metrics.baseline.metrics["parent"])
        import warnings; warnings.simplefilter("ignore")
        pid = os.fork()
        if pid == 0:
            theirs = set(run().metrics.baseline.metrics["parent"])
            print("apart", not mine & theirs, flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        print("again", set(run().metrics.baseline.metrics["parent"]) == mine)
        event.set()
    """)
    assert found.stdout.split() == ["apart", "True", "again", "True"], found.stderr
