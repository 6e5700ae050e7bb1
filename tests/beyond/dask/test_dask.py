"""Runs on a real Dask cluster: the numbers of a serial run, whatever happens to workers, scheduler and coordinator."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crystallize import (
    ArtifactPlugin,
    BaseOptimizer,
    BasePlugin,
    Experiment,
    Objective,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline,
    pipeline_step,
)
from crystallize.errors import (
    ConfigurationError,
    ValidationError,
    WorkerCrashError,
    WorkerMismatchError,
    WorkerStartError,
)
from crystallize.testing import ExecutorConformance
from crystallize_plugins.execution.dask import DaskExecution

SOAK = bool(os.environ.get("CRYSTALLIZE_SOAK"))
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
    # Of the client's and the scheduler's own threads, when a connection of theirs is cut.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Mismatched versions"),
    pytest.mark.timeout(300),
]


@data_source
def source(ctx):
    return ctx["replicate"]


@pipeline_step()
def drawn(data, ctx, delta=0):
    return data, {"n": data + delta + ctx.rng.random()}


def experiment_of(step, *plugins, seed=3, **options):
    treatments = [Treatment("more", {"delta": 1})]
    return Experiment(source(), pipeline(step), plugins=[SeedPlugin(seed), *plugins], treatments=treatments, **options)


def numbers(result):
    assert not result.errors
    return [list(result.metrics.baseline.metrics["n"]), list(result.metrics.treatments["more"].metrics["n"])]


KIT = {
    "test_it_is_an_executor",
    "test_every_cell_is_run_and_handed_out_once",
    "test_what_steps_emit_reaches_the_coordinator",
    "test_ctrl_c_stops_the_run_and_leaves_nothing_behind",
    "test_its_entry_point_leads_to_it",
    "test_it_leaves_nothing_behind",
    "test_an_error_in_any_of_its_hooks_is_dealt_with_as_it_declares",
}
"""Tests of the kit that the gate runs: what executors differ in; the soak runs the whole."""


class TestConformance(ExecutorConformance):
    @pytest.fixture
    def plugin(self, cluster, request):
        if not SOAK and request.function.__name__ not in KIT:
            pytest.skip("part of the soak")
        # Of a hundred runs, each would open a process on each worker; what those promise is tested below.
        return DaskExecution(cluster.address, isolate=SOAK)


def test_numbers_are_those_of_a_serial_run_for_every_seed(cluster):
    for seed in range(20 if SOAK else 2):
        there = experiment_of(drawn(), DaskExecution(str(cluster.file)), seed=seed).run(replicates=5)
        assert numbers(there) == numbers(experiment_of(drawn(), seed=seed).run(replicates=5))
    execution = there.provenance["execution"]
    assert (execution["type"], execution["losses"], execution["refused"]) == ("dask", 0, {})
    assert sum(worker["cells"] for worker in execution["workers"]) == 10
    outcomes = list(experiment_of(drawn(), DaskExecution(cluster.address)).stream(replicates=2))
    assert all(outcome.worker == f"dask-{outcome.host}/{outcome.worker.partition('/')[2]}" for outcome in outcomes)


def test_a_standing_cluster_runs_the_code_of_now_and_says_what_cells_say(cluster, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    heard = []

    class Hears(BasePlugin):
        neutral = True

        def on_event(self, event):
            heard.append(event.name)

    def run(factor):
        (folder / "changing_code.py").write_text(f"def times(value):\n    return {factor} * value\n")
        importlib.invalidate_caches()
        sys.modules.pop("changing_code", None)
        module = importlib.import_module("changing_code")

        @pipeline_step()
        def step(data, ctx, delta=0):
            print("printed")
            ctx.emit("sent")
            if data == 2 and delta and factor == 5:
                os.kill(os.getpid(), signal.SIGSEGV)
            return data, {"n": module.times(data)}

        return experiment_of(step(), Hears(), DaskExecution(cluster.address)).run(replicates=3)

    assert numbers(run(3))[0] == [0, 3, 6]
    assert (heard.count("sent"), "printed" in capsys.readouterr().out) == (6, True)
    result = run(5)
    assert list(result.metrics.baseline.metrics["n"]) == [0, 5, 10]
    cause = result.errors["more_rep_2"].__cause__
    assert (type(cause), cause.signal) == (WorkerCrashError, "SIGSEGV")


@pytest.mark.parametrize("kill", range(30 if SOAK else 1))
def test_cells_of_a_worker_that_is_killed_run_elsewhere(start_cluster, tmp_path, kill):
    cluster = start_cluster()

    @pipeline_step()
    def slow(data, ctx, delta=0):
        (tmp_path / f"{os.getpid()}").touch()
        time.sleep(0.1)
        return data, {"n": data + delta + ctx.rng.random()}

    victim = cluster.started[1 + kill % 2]
    seen = 0
    for outcome in (stream := experiment_of(slow(), DaskExecution(cluster.address)).stream(replicates=15)):
        assert outcome.ok
        seen += 1
        if seen == 4 + kill % 5:
            victim.kill()
        if seen == 12:
            cluster.worker()  # hosts may come late
    assert seen == 30
    del stream


def test_a_run_whose_scheduler_is_killed_ends_and_is_resumed_elsewhere(start_cluster, cluster, tmp_path):
    first = start_cluster(workers=1)

    @pipeline_step()
    def slow(data, ctx, delta=0):
        time.sleep(0.1)
        return data, {"n": data + delta + ctx.rng.random()}

    def experiment(address):
        return experiment_of(slow(), DaskExecution(address), ArtifactPlugin(root_dir=tmp_path / "runs"), name="e")

    seen = []

    def interrupted():
        for outcome in experiment(first.address).stream(replicates=40):
            seen.append(outcome.cell)
            if len(seen) == 4:
                first.scheduler.kill()

    with pytest.raises(WorkerCrashError, match=r"scheduler of the Dask cluster is gone.*strategy='resume'"):
        interrupted()
    assert 4 <= len(seen) < 80
    again = [outcome.cell for outcome in experiment(cluster.address).stream(replicates=8, strategy="resume")]
    assert not set(again) & set(seen)


class Pruning(BaseOptimizer):
    def __init__(self):
        super().__init__(Objective("loss", "minimize"))

    def ask(self):
        return [Treatment(f"x{x}", {"x": x}) for x in (1.0, 50.0)]

    def tell(self, objective_values):
        raise NotImplementedError

    def tell_trials(self, trials):
        pass

    def get_best_treatment(self):
        return Treatment("x1.0", {"x": 1.0})

    def should_prune(self, condition, report):
        return report.step == 2 and report.value > 10


def test_a_trial_is_pruned_while_its_cell_runs_on_the_cluster(cluster):
    @pipeline_step()
    def train(data, ctx, *, x=0.0):
        for epoch in range(3000 if x > 10 else 4):
            ctx.report("loss", x, step=epoch)
            time.sleep(0.02)
        return data, {"loss": x}

    experiment = Experiment(source(), pipeline(train()), plugins=[SeedPlugin(1), DaskExecution(cluster.address)])
    experiment.optimize(Pruning(), 1)
    whole, pruned = experiment.last_optimization.trials
    assert (whole.state, len(whole.reports), pruned.state) == ("complete", 4, "pruned")
    assert 3 <= len(pruned.reports) < 3000


def test_cells_that_take_resources_wait_for_a_worker_that_has_them(start_cluster):
    cluster = start_cluster(workers=1)
    execution = DaskExecution(cluster.address, condition_resources={"more": {"gpu": 1}})
    seen = []
    for outcome in experiment_of(drawn(), execution).stream(replicates=2):
        seen.append(outcome)
        if len(seen) == 2:  # those of the baseline
            cluster.worker("--resources", "gpu=1")
    assert [outcome.cell.condition for outcome in seen[:2]] == ["baseline", "baseline"]
    assert len({outcome.worker for outcome in seen}) == 2


PROGRAM = """
import sys, time
from crystallize import Experiment, SeedPlugin, data_source, pipeline, pipeline_step
from crystallize_plugins.execution.dask import DaskExecution

@data_source
def source(ctx):
    return ctx["replicate"]

@pipeline_step()
def endless(data):
    import os
    open("here-{mark}", "w").close()
    sys.stderr.write("begun\\n")
    sys.stderr.flush()
    time.sleep(600)
    return data, {{"n": data}}

Experiment(source(), pipeline(endless()), plugins=[SeedPlugin(1), DaskExecution({address!r})]).run(replicates=4)
"""


@pytest.mark.parametrize("number, seconds", [(signal.SIGINT, 5), (signal.SIGKILL, 15)])
def test_nothing_runs_after_the_coordinator_was_ended(cluster, tmp_path, running, number, seconds):
    mark = f"{tmp_path.name}-{number}"
    script = tmp_path / "script.py"
    script.write_text(PROGRAM.format(mark=mark, address=cluster.address))
    program = subprocess.Popen([sys.executable, script], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def sites():
        return [pid for pid in running("crystallize-") if (Path(f"/proc/{pid}/cwd") / f"here-{mark}").exists()]

    end = time.monotonic() + 60
    while not sites():
        assert time.monotonic() < end
        assert program.poll() is None, program.communicate()
        time.sleep(0.05)
    program.send_signal(number)
    end = time.monotonic() + seconds
    while sites() or program.poll() is None:
        assert time.monotonic() < end, f"{sites()} run after {seconds} s"
        time.sleep(0.05)
    program.communicate()


def test_a_worker_with_other_libraries_is_named_and_gets_no_cells(start_cluster, tmp_path, caplog):
    cluster = start_cluster(workers=0)
    other = tmp_path / "other" / "cloudpickle-9.9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: cloudpickle\nVersion: 9.9.9\n")
    cluster.worker(PYTHONPATH=str(other.parent))
    with pytest.raises(WorkerMismatchError, match=r"dask-.* cannot run cells .*cloudpickle is 9\.9\.9") as caught:
        experiment_of(drawn(), DaskExecution(cluster.address)).run()
    assert caught.value.differences
    cluster.worker()
    deadline = time.monotonic() + 60
    while True:  # until the good one is there
        try:
            result = experiment_of(drawn(), DaskExecution(cluster.address)).run(replicates=2)
            break
        except WorkerMismatchError:
            assert time.monotonic() < deadline
    assert len(result.provenance["execution"]["refused"]) == 1
    assert "gets no cells" in caplog.text


def test_a_cluster_of_its_own_is_gone_with_the_run(running):
    own = DaskExecution(workers=1)
    assert numbers(experiment_of(drawn(), own).run(replicates=2)) == numbers(experiment_of(drawn()).run(replicates=2))
    deadline = time.monotonic() + 5
    while running("crystallize-dask-"):  # what was killed takes a moment
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_cannot_be_is_refused(cluster):
    with pytest.raises(ValidationError, match="two clusters"):
        DaskExecution(cluster.address, client=object())
    with pytest.raises(ValidationError, match="number above 0"):
        DaskExecution(resources={"gpu": 0})
    with pytest.raises(ConfigurationError, match=r"'mroe', which the experiment does not have.*'more'"):
        experiment_of(drawn(), DaskExecution(condition_resources={"mroe": {"gpu": 1}})).run()
    with pytest.raises(WorkerStartError, match="no Dask scheduler at 'tcp://127.0.0.1:9'"):
        experiment_of(drawn(), DaskExecution("tcp://127.0.0.1:9")).run()
