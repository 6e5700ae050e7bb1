"""Runs on a real Ray: the numbers of a serial run, whatever happens to cells, workers and the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crystallize import (
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
from crystallize.errors import ConfigurationError, ValidationError, WorkerCrashError
from crystallize.testing import ExecutorConformance
from crystallize_plugins.execution.ray import RayExecution

SOAK = bool(os.environ.get("CRYSTALLIZE_SOAK"))
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
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


@pytest.mark.skipif(not SOAK, reason="a hundred runs, each of which starts processes")
class TestConformance(ExecutorConformance):
    @pytest.fixture
    def plugin(self, ray):
        return RayExecution()


def test_numbers_are_those_of_a_serial_run_and_the_users_ray_stays_up(ray):
    for seed in range(20 if SOAK else 1):
        there = experiment_of(drawn(), RayExecution(), seed=seed).run(replicates=5)
        assert numbers(there) == numbers(experiment_of(drawn(), seed=seed).run(replicates=5))
    execution = there.provenance["execution"]
    assert (execution["type"], execution["losses"], execution["refused"]) == ("ray", 0, {})
    assert sum(worker["cells"] for worker in execution["workers"]) == 10
    assert all(worker["name"].startswith(f"ray-{worker['host']}/") for worker in execution["workers"])
    assert ray.is_initialized()


def test_a_cell_that_crashes_is_named_and_what_cells_say_comes_back(ray, capsys):
    heard = []

    class Hears(BasePlugin):
        neutral = True

        def on_event(self, event):
            heard.append(event.name)

    @pipeline_step()
    def step(data, ctx, delta=0):
        print("printed")
        ctx.emit("sent")
        if data == 2 and delta:
            os.kill(os.getpid(), signal.SIGSEGV)
        return data, {"n": data}

    result = experiment_of(step(), Hears(), RayExecution(workers=1)).run(replicates=3)
    assert list(result.metrics.baseline.metrics["n"]) == [0, 1, 2]
    cause = result.errors["more_rep_2"].__cause__
    assert (type(cause), cause.signal) == (WorkerCrashError, "SIGSEGV")
    assert heard.count("sent") >= 5
    assert "printed" in capsys.readouterr().out


def test_cells_of_a_ray_worker_that_is_killed_run_again(ray):
    @pipeline_step()
    def slow(data, ctx, delta=0):
        time.sleep(0.1)
        return data, {"n": data + delta + ctx.rng.random()}

    seen = []
    for outcome in experiment_of(slow(), RayExecution(workers=1)).stream(replicates=12):
        assert outcome.ok
        actor = int(outcome.worker.split("/")[1].split("-")[0])
        seen.append((outcome.cell, actor))
        if len(seen) == 4:
            os.kill(actor, signal.SIGKILL)
    assert len({cell for cell, _ in seen}) == len(seen) == 24
    assert len({actor for _, actor in seen}) == 2


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


def test_a_trial_is_pruned_while_its_cell_runs(ray):
    @pipeline_step()
    def train(data, ctx, *, x=0.0):
        for epoch in range(3000 if x > 10 else 4):
            ctx.report("loss", x, step=epoch)
            time.sleep(0.02)
        return data, {"loss": x}

    experiment = Experiment(source(), pipeline(train()), plugins=[SeedPlugin(1), RayExecution()])
    experiment.optimize(Pruning(), 1)
    whole, pruned = experiment.last_optimization.trials
    assert (whole.state, len(whole.reports), pruned.state) == ("complete", 4, "pruned")
    assert 3 <= len(pruned.reports) < 3000


def test_conditions_that_take_other_resources_have_workers_of_their_own(ray):
    execution = RayExecution(condition_resources={"more": {"cpu": 2, "gadget": 1}})
    workers = {"baseline": set(), "more": set()}
    for outcome in experiment_of(drawn(), execution).stream(replicates=3):
        workers[outcome.cell.condition].add(outcome.worker.split("/")[1])
    assert len(workers["more"]) == 1
    assert not workers["more"] & workers["baseline"]


PROGRAM = """
import sys, time
from crystallize import Experiment, SeedPlugin, data_source, pipeline, pipeline_step
from crystallize_plugins.execution.ray import RayExecution

@data_source
def source(ctx):
    return ctx["replicate"]

@pipeline_step()
def endless(data):
    open("here-{mark}", "w").close()
    time.sleep(600)
    return data, {{"n": data}}

Experiment(source(), pipeline(endless()), plugins=[SeedPlugin(1), RayExecution({address!r})]).run(replicates=2)
"""


@pytest.mark.parametrize("number, seconds", [(signal.SIGINT, 5), (signal.SIGKILL, 15)])
def test_nothing_runs_after_the_program_was_ended(ray, tmp_path, number, seconds):
    mark = f"{tmp_path.name}-{number}"
    script = tmp_path / "script.py"
    script.write_text(PROGRAM.format(mark=mark, address=ray.get_runtime_context().gcs_address))
    program = subprocess.Popen([sys.executable, script], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def at_work():
        return [found.parts[2] for found in Path("/proc").glob(f"[0-9]*/cwd/here-{mark}")]

    try:
        end = time.monotonic() + 60
        while not at_work():
            assert time.monotonic() < end
            assert program.poll() is None, program.communicate()
            time.sleep(0.05)
        program.send_signal(number)
        end = time.monotonic() + seconds
        while at_work() or program.poll() is None:
            assert time.monotonic() < end, f"{at_work()} run after {seconds} s"
            time.sleep(0.05)
    finally:
        program.kill()
        program.communicate()


def test_what_cannot_be_is_refused(ray):
    with pytest.raises(ValidationError, match="num_cpus must be above 0"):
        RayExecution(num_cpus=0)
    with pytest.raises(ConfigurationError, match=r"'mroe', which the experiment does not have.*'more'"):
        experiment_of(drawn(), RayExecution(condition_resources={"mroe": {"gpu": 1}})).run()
    with pytest.raises(ValidationError, match=r"connected to the Ray cluster .* and not to '10.0.0.7:6379'"):
        experiment_of(drawn(), RayExecution("10.0.0.7:6379")).run()
    with pytest.raises(ValidationError, match="cannot stream"):
        experiment_of(drawn(), RayExecution("ray://10.0.0.7:10001")).run()
