"""What user code raises is its cell's failure, alike under all executors; `KeyboardInterrupt` alone ends the run."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

import pytest

from crystallize import BasePlugin, Hypothesis, PipelineStep, Treatment, data_source, pipeline_step

SOAK = bool(os.environ.get("CRYSTALLIZE_SOAK"))
pytestmark = pytest.mark.timeout(60)


class FunctionTimedOut(BaseException):
    """As func_timeout, gevent and eventlet define theirs."""


class Odd(BaseException):
    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


class Unspeakable(BaseException):
    def __str__(self):
        raise SystemExit(5)

    __repr__ = __str__


def leave():
    sys.exit(3)


def skip():
    pytest.skip("not here")


def end_tests():
    pytest.exit("enough")


def fail_a_test():
    pytest.fail("no")


def of_class(kind, *arguments):
    def raising():
        raise kind(*arguments)

    return raising


def a_group():
    if sys.version_info < (3, 11):
        raise FunctionTimedOut
    raise BaseExceptionGroup("several", [FunctionTimedOut(), ValueError()])  # noqa: F821 - from Python 3.11 on


RAISED = {
    "a time-out": of_class(FunctionTimedOut, "after 1 s"),
    "odd arguments": of_class(Odd, 1, 2),
    "BaseException": of_class(BaseException, "bare"),
    "GeneratorExit": of_class(GeneratorExit),
    "CancelledError": of_class(asyncio.CancelledError),
    "SystemExit": of_class(SystemExit),
    "sys.exit": leave,
    "pytest.skip": skip,
    "pytest.exit": end_tests,
    "pytest.fail": fail_a_test,
    "an error whose text cannot be made": of_class(Unspeakable),
    "a group": a_group,
}


class Work:
    """A step, plain or not, that raises in one replicate."""

    def __init__(self, raising, *, asynchronous=False):
        def plain(data, ctx):
            if ctx["replicate"] == 1:
                raising()
            return data, {"fine": ctx["replicate"]}

        async def awaiting(data, ctx):
            await asyncio.sleep(0)
            return plain(data, ctx)

        self.step = pipeline_step()(awaiting if asynchronous else plain)()


@pytest.fixture(params=["run", "arun"])
def run(request):
    """Run an experiment, in plain code and in an event loop."""

    def running(experiment, **settings):
        if request.param == "run":
            return experiment.run(**settings)
        return asyncio.run(experiment.arun(**settings))

    return running


@pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("what", RAISED)
def test_what_a_step_raises_is_its_cells_failure_and_names_the_step(build, executor, run, what, asynchronous):
    if what == "CancelledError" and sys.version_info < (3, 11):
        pytest.skip("Python 3.10 cannot tell who cancelled a task")
    work = Work(RAISED[what], asynchronous=asynchronous).step
    result = run(build(work, plugins=[executor]), replicates=4)
    assert list(result.metrics.baseline.metrics["fine"]) == [0, 2, 3]
    (error,) = result.errors.values()
    assert error.step_name == ("AwaitingStep" if asynchronous else "PlainStep")
    assert (error.condition, error.replicate) == ("baseline", 1)
    assert error.error_type in str(error)
    assert "in plain" in error.traceback_text


def test_what_a_data_source_raises_is_its_cells_failure(build, executor, run):
    @data_source
    def away(ctx):
        if ctx["replicate"] == 1:
            raise FunctionTimedOut("no answer")
        return 1

    @pipeline_step()
    def work(data):
        return data, {"fine": data}

    result = run(build(work(), plugins=[executor], source=away()), replicates=3)
    assert list(result.metrics.baseline.metrics["fine"]) == [1, 1]
    assert result.errors["baseline_rep_1"].step_name == "datasource"


def test_what_a_treatments_function_raises_is_its_cells_failure(build, executor):
    def never(ctx):
        raise FunctionTimedOut

    work = Work(lambda: None).step
    result = build(work, plugins=[executor], treatments=[Treatment("t", never)]).run(replicates=2)
    assert list(result.metrics.baseline.metrics["fine"]) == [0, 1]
    assert [error.step_name for error in result.errors.values()] == ["treatment", "treatment"]


class RaisesBefore(BasePlugin):
    neutral = True

    def __init__(self, on_error=None):
        self.on_error = on_error

    def before_replicate(self, experiment, ctx):
        if ctx["replicate"] == 1:
            raise FunctionTimedOut


class RaisesAround(RaisesBefore):
    before_replicate = BasePlugin.before_replicate

    def before_step(self, experiment, step, ctx):
        RaisesBefore.before_replicate(self, experiment, ctx)


class RaisesAfter(RaisesAround):
    before_step = BasePlugin.before_step

    def after_replicate(self, experiment, ctx, outcome):
        RaisesBefore.before_replicate(self, experiment, ctx)


@pytest.mark.parametrize("kind", [RaisesBefore, RaisesAround, RaisesAfter])
def test_what_a_hook_raises_fails_its_cell_or_is_recorded_as_its_plugin_says(build, executor, kind):
    result = build(Work(lambda: None).step, plugins=[kind(), executor]).run(replicates=3)
    assert list(result.errors) == ["baseline_rep_1"]
    assert kind.__name__ in str(result.errors["baseline_rep_1"])
    result = build(Work(lambda: None).step, plugins=[kind("record"), executor]).run(replicates=3)
    assert not result.errors
    assert [failure.error for failure in result.plugin_errors] == ["FunctionTimedOut"]


class Prepares(PipelineStep):
    def __init__(self, where, kind):
        self.where = where
        self.kind = kind

    def setup(self, ctx):
        if self.where == "setup":
            raise self.kind

    def teardown(self, ctx):
        if self.where == "teardown":
            raise self.kind

    def __call__(self, data, ctx):
        return data, {"fine": ctx["replicate"]}


def test_what_setup_raises_is_the_failure_of_every_cell(build, executor):
    result = build(Prepares("setup", FunctionTimedOut), plugins=[executor]).run(replicates=2)
    assert {error.step_name for error in result.errors.values()} == {"Prepares.setup"}
    assert len(result.errors) == 2


def test_what_teardown_raises_is_kept_with_the_result_and_costs_no_metric(build, executor):
    result = build(Prepares("teardown", FunctionTimedOut), plugins=[executor]).run(replicates=2)
    assert list(result.metrics.baseline.metrics["fine"]) == [0, 1]
    assert all("FunctionTimedOut" in str(error) for error in result.errors.values())
    assert result.errors


@pytest.mark.parametrize("kind", [FunctionTimedOut, GeneratorExit, SystemExit, asyncio.CancelledError])
def test_what_verifiers_and_rankers_raise_is_an_error_of_the_hypothesis(build, kind):
    def broken(*_):
        raise kind

    def verifier(baseline, treatment):
        return {"p_value": 0.5}

    hypotheses = [Hypothesis(broken, name="verifies"), Hypothesis(verifier, ranker=broken, name="ranks")]
    experiment = build(Work(lambda: None).step, treatments=[Treatment("t", {})], hypotheses=hypotheses)
    result = experiment.run(replicates=2)
    assert list(result.metrics.baseline.metrics["fine"]) == [0, 1]
    for name in ("verifies", "ranks"):
        assert kind.__name__ in str(result.errors[f"hypothesis:{name}"])


@pytest.mark.parametrize("hook", ["collect", "on_event", "collect_provenance", "after_run"])
def test_what_a_hook_of_the_coordinator_raises_is_its_plugins(build, hook):
    def raising(self, **_):
        raise FunctionTimedOut

    hooks = {
        "collect": lambda self, outcome: raising(self),
        "on_event": lambda self, event: raising(self),
        "collect_provenance": lambda self, experiment: raising(self),
        "after_run": lambda self, result: raising(self),
    }
    plugin = type("Broken", (BasePlugin,), {"neutral": True, hook: hooks[hook]})()
    result = build(Work(lambda: None).step, plugins=[plugin]).run(replicates=2)
    assert list(result.metrics.baseline.metrics["fine"]) == [0, 1]
    assert {(failure.hook, failure.error) for failure in result.plugin_errors} == {(hook, "FunctionTimedOut")}


def raise_it():
    raise KeyboardInterrupt


def send_it():
    signal.raise_signal(signal.SIGINT)
    time.sleep(0.1)


def kill_itself():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)


INTERRUPTS = {"raise": raise_it, "raise_signal": send_it, "kill": kill_itself}
posix = pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends a process there")


class Interrupted:
    """A step, plain or not, that interrupts in its second cell, when the first has ended."""

    def __init__(self, interrupt, *, asynchronous=False, **policy):
        def pause(replicate):
            return (0, 0.05)[replicate] if replicate < 2 else 0.2

        def end(data, ctx):
            if ctx["replicate"] == 1:
                interrupt()
            return data, {"fine": ctx["replicate"]}

        def plain(data, ctx):
            time.sleep(pause(ctx["replicate"]))
            return end(data, ctx)

        async def awaiting(data, ctx):
            await asyncio.sleep(pause(ctx["replicate"]))
            return end(data, ctx)

        self.step = pipeline_step(**policy)(awaiting if asynchronous else plain)()


def with_result(error):
    """Give the exception that has the result: `asyncio.run` makes a new one of the cancellation that Ctrl-C is."""
    while not hasattr(error, "result"):
        error = error.__context__
    return error


@pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("how", ["raise", "raise_signal", pytest.param("kill", marks=posix)])
def test_a_keyboard_interrupt_of_a_step_ends_the_run_and_what_is_done_is_kept(build, executor, run, how, asynchronous):
    work = Interrupted(INTERRUPTS[how], asynchronous=asynchronous).step
    with pytest.raises(KeyboardInterrupt) as caught:
        run(build(work, plugins=[executor]), replicates=30)
    result = with_result(caught.value).result
    kept = list(result.metrics.baseline.metrics["fine"])
    assert 0 in kept
    assert len(kept) < 25
    assert not result.errors
    assert result.provenance["run"]["stopped_by"] in ("KeyboardInterrupt", "CancelledError")


@pytest.mark.parametrize(
    "how, way",
    [("raise", "fork"), ("raise_signal", "forkserver"), *([("raise", "spawn")] if SOAK else [])],
    indirect=["way"],
)
def test_a_keyboard_interrupt_in_a_worker_process_says_in_which_cell(build, processes, how):
    with pytest.raises(KeyboardInterrupt, match="condition 'baseline', replicate 1") as caught:
        build(Interrupted(INTERRUPTS[how]).step, plugins=[processes]).run(replicates=3)
    assert 1 not in caught.value.result.metrics.baseline.metrics["fine"]


def test_a_keyboard_interrupt_ends_a_run_whose_cells_may_be_tried_again(build, executor):
    work = Interrupted(raise_it, retries=3, retry_on=BaseException).step
    with pytest.raises(KeyboardInterrupt):
        build(work, plugins=[executor]).run(replicates=4)


def test_a_time_out_of_a_librarys_own_class_may_be_tried_again(build, executor, tmp_path):
    @pipeline_step(retries=1, retry_on=(Exception, FunctionTimedOut))
    def work(data):
        with (tmp_path / "calls").open("a") as calls:
            calls.write("x")
        if (tmp_path / "calls").stat().st_size == 1:
            raise FunctionTimedOut
        return data, {"fine": 1}

    result = build(work(), plugins=[executor]).run()
    assert list(result.metrics.baseline.metrics["fine"]) == [1]


@pytest.mark.parametrize("where", ["setup", "teardown"])
def test_a_keyboard_interrupt_of_setup_and_teardown_ends_the_run(build, executor, where):
    with pytest.raises(KeyboardInterrupt) as caught:
        build(Prepares(where, KeyboardInterrupt), plugins=[executor]).run(replicates=2)
    kept = caught.value.result.metrics.baseline.metrics.get("fine", ())
    assert list(kept) == ([] if where == "setup" else [0, 1])


def test_a_program_that_handles_ctrl_c_itself_is_not_ended_by_its_workers(build):
    from crystallize import ParallelExecution

    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        work = Work(lambda: signal.raise_signal(signal.SIGINT)).step
        result = build(work, plugins=[ParallelExecution(2, "process")]).run(replicates=4)
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(result.metrics.baseline.metrics["fine"]) == [0, 1, 2, 3]


class Tells(BasePlugin):
    """Tells that an outcome has arrived."""

    neutral = True

    def __init__(self, tell):
        self.tell = tell

    def collect(self, outcome):
        self.tell()

    def __getstate__(self):
        return {}


def test_a_caller_that_cancels_arun_cancels_it_under_every_executor(build, executor):
    async def wait(data, ctx):
        await asyncio.sleep(0 if ctx["replicate"] == 0 else 5)
        return data, {"fine": 1}

    async def main():
        arrived, loop = asyncio.Event(), asyncio.get_running_loop()
        tells = Tells(lambda: loop.call_soon_threadsafe(arrived.set))
        experiment = build(pipeline_step()(wait)(), plugins=[tells, executor])
        task = asyncio.create_task(experiment.arun(replicates=20))
        await arrived.wait()
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError) as caught:
        asyncio.run(main())
    result = with_result(caught.value).result
    assert list(result.metrics.baseline.metrics["fine"]) == [1]
    assert not result.errors


def test_a_cell_that_is_dropped_while_it_awaits_has_not_failed(build):
    given = []

    class Drops(BasePlugin):
        neutral = True

        async def run_experiment_loop(self, cells, run_cell):
            dropped = run_cell.aio(cells[0])
            dropped.send(None)
            # As a loop does it that is closed, or the garbage collector: not in the task that began the cell.
            dropped.close()
            given.append(dropped)
            for cell in cells:
                yield await run_cell.aio(cell)

    async def wait(data, ctx):
        ctx.metrics.add("fine", 1)
        await asyncio.get_running_loop().create_future() if not given else None
        return data

    result = build(pipeline_step()(wait)(), plugins=[Drops()]).run(replicates=2)
    assert list(result.metrics.baseline.metrics["fine"]) == [1, 1]
    assert not result.errors
