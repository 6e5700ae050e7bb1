"""Runs over a real SLURM: the numbers of a serial run, what a run says of its jobs, what is refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.beyond.slurm.cluster import MAX_ARRAY_SIZE

from crystallize import PipelineStep, SerialExecution, Treatment, pipeline_step
from crystallize.errors import ValidationError, WorkerStartError
from crystallize.experiments.optimizers import BaseOptimizer, Objective
from crystallize_plugins.execution import SlurmExecution


@pipeline_step()
def draw(data, ctx, *, shift=0.0):
    print(f"drawn by {ctx['condition']}")
    ctx.artifacts.add("note.txt", f"{ctx['condition']} {ctx['replicate']}".encode())
    return data, {"drawn": float(ctx.rng.normal()) + shift, "many": ctx.rng.normal(size=3)}


def test_a_run_over_slurm_is_a_serial_run(slurm, build, capfd):
    treatments = [Treatment("shifted", {"shift": 1.5})]
    jobs = MAX_ARRAY_SIZE + 1
    executor = SlurmExecution(
        jobs, poll=0.3, sbatch={"comment": "all"}, condition_sbatch={"shifted": {"partition": "urgent", "nice": 5}}
    )
    results = [
        build(draw(), plugins=[each], treatments=treatments, stored=True).run(replicates=20)
        for each in (SerialExecution(), executor)
    ]
    serial, spread = results

    def numbers(result):
        conditions = [result.metrics.baseline, *result.metrics.treatments.values()]
        return [[each.metrics["drawn"], [list(row) for row in each.metrics["many"]]] for each in conditions]

    assert not spread.errors
    assert numbers(spread) == numbers(serial)
    assert spread.provenance["seeds"] == serial.provenance["seeds"]
    assert spread.get_artifact("note.txt")["shifted"].read_text() == "shifted 0"
    assert capfd.readouterr().out.count("drawn by shifted") == 2 * 20  # what jobs print is printed here, too
    facts = spread.provenance["execution"]
    assert facts["type"] == "slurm"
    assert sum(worker["cells"] for worker in facts["workers"]) == 40
    assert {worker["name"] for worker in facts["workers"]} <= {"slurm-one", "slurm-two"}
    assert (facts["losses"], facts["refused"], facts["drift"]) == (0, [], [])
    arrays = {job["id"].partition("_")[0] for job in facts["jobs"]}
    assert len(arrays) >= 3, "two sets of options, and three jobs where an array has two at most"
    assert {job["restarts"] for job in facts["jobs"]} == {0}
    folders = list(Path("jobs/held").iterdir())
    assert len(folders) == 1
    assert {path.name for path in folders[0].iterdir()} == {"coordinator", "job.sh", "logs"}


def test_what_sbatch_refuses_is_said_in_its_words_and_nothing_is_queued(slurm, build):
    executor = SlurmExecution(2, condition_sbatch={"other": {"partition": "nowhere"}}, setup=["sleep 60"])
    experiment = build(draw(), plugins=[executor], treatments=[Treatment("other", {"shift": 1.0})])
    with pytest.raises(WorkerStartError, match="Invalid partition name specified"):
        experiment.run(replicates=2)
    slurm.until(lambda: not slurm.queue(), "there are jobs")


def test_jobs_that_never_begin_end_the_run_with_what_they_said(slurm, build):
    executor = SlurmExecution(3, poll=0.3, setup=["echo no such module >&2; exit 3"])
    with pytest.raises(WorkerStartError, match=r"ended before they had begun a cell(.|\n)*no such module"):
        build(draw(), plugins=[executor]).run(replicates=4)


def test_options_of_a_condition_that_there_is_not_are_refused(build):
    executor = SlurmExecution(condition_sbatch={"othr": {"mem": "1G"}})
    experiment = build(draw(), plugins=[executor], treatments=[Treatment("other", {"shift": 1.0})])
    with pytest.raises(ValidationError, match="'othr'.*'other'"):
        experiment.run(replicates=2)
    assert not Path("jobs").exists()


class ClosesLate(PipelineStep):
    @property
    def params(self):
        return {}

    def __call__(self, data, ctx):
        return data, {"one": 1}

    def teardown(self, ctx):
        time.sleep(3)  # by then the outcomes are there
        raise RuntimeError("cannot close")


def test_what_jobs_say_when_they_close_is_heard(slurm, build):
    result = build(ClosesLate(), plugins=[SlurmExecution(1, poll=0.3)]).run(replicates=2)
    assert "cannot close" in str(list(result.errors.values()))
    slurm.until(lambda: not slurm.queue(), "there are jobs")


@pipeline_step()
def train(data, ctx, *, x=0.0):
    epochs = 600 if x > 10 else 4
    for epoch in range(epochs):
        ctx.report("loss", x, step=epoch)
        time.sleep(0.05)
    return data, {"loss": x}


class Pruning(BaseOptimizer):
    def __init__(self):
        super().__init__(Objective("loss"))

    def ask(self):
        return [Treatment("near", {"x": 1.0}), Treatment("far", {"x": 50.0})]

    def should_prune(self, condition, report):
        return report.value > 10

    def tell_trials(self, trials):
        pass

    def tell(self, objective_values):
        pass

    def get_best_treatment(self):
        return Treatment("best", {"x": 1.0})


def test_events_are_heard_while_cells_run_and_a_trial_is_pruned_at_its_next_report(slurm, build):
    experiment = build(train(), plugins=[SlurmExecution(2, poll=0.3)])
    experiment.optimize(Pruning(), 1)
    trials = experiment.last_optimization.trials
    assert [trial.state for trial in trials] == ["complete", "pruned"]
    assert len(trials[1].reports) < 600
