"""Optimisations on the disk: stored as they happen, and opened again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests import programs

from crystallize import ArtifactPlugin, ParallelExecution, Treatment, pipeline_step
from crystallize.errors import OptimizationError, RunStateError, StoreError, TrialFailedError
from crystallize_plugins.artifacts import StoredRun, open_optimization

RUN = "data/tuning/v0"


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def stored(make_experiment):
    """Make an experiment that is stored."""
    return lambda *steps, plugins=(): make_experiment(*steps, plugins=[ArtifactPlugin(), *plugins])


@pipeline_step()
def fragile(data, ctx, *, x=0.0):
    ctx.report("progress", x, step=ctx["replicate"])
    if x < 0:
        raise ZeroDivisionError(f"x is {x}")
    return data, {"loss": x + ctx["replicate"]}


def facts(trial):
    return (
        trial.number,
        trial.batch,
        trial.treatment.name,
        dict(trial.treatment.apply_map),
        trial.condition,
        {name: (list(values), values.replicates) for name, values in trial.metrics.items()},
        trial.seeds,
        trial.state,
        trial.durations,
        {key: str(error) for key, error in trial.errors.items()},
        trial.reports,
    )


@pytest.mark.parametrize("executor", [None, "thread", "process"])
def test_an_optimisation_is_opened_as_it_was(stored, whole_trials, executor):
    class Listening(whole_trials):
        def should_prune(self, condition, report):
            return report.value > 100

    experiment = stored(fragile(), plugins=[ParallelExecution(2, executor)] if executor else [])
    optimizer = Listening([[1.0, -1.0], [0.5, 1.0]])
    experiment.optimize(optimizer, 2, replicates_per_trial=2)
    lived, opened = experiment.last_optimization, open_optimization(RUN)
    assert [facts(trial) for trial in opened.trials] == [facts(trial) for trial in lived.trials]
    assert [trial.state for trial in opened.trials] == ["complete", "failed", "complete", "complete"]
    assert opened.trials[0].reports
    assert opened.rows() == lived.rows()
    assert opened.statement() == lived.statement()
    assert opened.result.to_dict() == lived.result.to_dict()


def test_asks_and_tells_are_in_the_journal_in_their_order(stored, diary):
    optimizer = diary([1.0, 3.0])
    stored().optimize(optimizer, 2, replicates_per_trial=2)
    begun, *rest = StoredRun(RUN).journal()
    assert begun.name == "optimization_started"
    assert begun.fields["optimizer"].endswith(":Diary")
    assert begun.fields["settings"]["batches"] == [1.0, 3.0]
    assert (begun.fields["num_trials"], begun.fields["replicates"]) == (2, 2)
    assert begun.fields["objectives"] == [("loss", "minimize")]
    assert [entry.name for entry in rest] == ["trials_asked", "trials_told"] * 2
    assert [entry.fields["values"] for entry in rest[1::2]] == [{"loss": 1.5}, {"loss": 1.5}]
    assert [entry.fields["how"] for entry in rest[1::2]] == ["tell"] * 2
    assert [entry.time for entry in rest] == sorted(entry.time for entry in rest)


def test_a_trial_that_cannot_be_told_is_stored_all_the_same(stored, diary):
    experiment = stored(fragile())
    with pytest.raises(TrialFailedError):
        experiment.optimize(diary([1.0, -1.0]), 2)
    opened = open_optimization(RUN)
    assert [trial.state for trial in opened.trials] == ["complete", "failed"]
    assert StoredRun(RUN).journal()[-1].fields["how"] is None


def test_the_baseline_comes_back_with_what_adjusted_it(make_experiment, whole_trials):
    class Relative(whole_trials):
        needs_baseline = True

        def tell_baseline(self, trial):
            self.base = trial.mean("loss")

    optimizer = Relative([1.0])
    experiment = make_experiment(plugins=[ArtifactPlugin()], treatments=[Treatment("baseline", {"x": 5.0})])
    experiment.optimize(optimizer, 1)
    assert optimizer.base == 9.0
    assert open_optimization(RUN).baseline.mean("loss") == 9.0
    checked = open_optimization(RUN, experiment=experiment).reevaluate(top=1, replicates=2)
    assert checked.metrics.baseline.metrics["loss"] == [10.0, 11.0]


def test_a_stored_optimisation_is_evaluated_again_with_its_experiment(stored, diary):
    experiment = stored()
    experiment.optimize(diary([1.0, 3.5]), 2)
    with pytest.raises(RunStateError, match="experiment="):
        open_optimization(RUN).reevaluate(top=1)
    result = open_optimization(RUN, experiment=experiment).reevaluate(top=1, replicates=3)
    assert result.metrics.treatments["x_1.0"].metrics["loss"] == [2.0, 3.0, 4.0]


@pytest.mark.parametrize("value", [lambda ctx: ctx.add("x", 1.0), {"x": 1.0, "kind": object()}])
def test_what_cannot_be_stored_exactly_is_shown_and_not_run_again(stored, diary, value):
    experiment = stored()
    experiment.optimize(diary([Treatment("odd", value)]), 1)
    opened = open_optimization(RUN, experiment=experiment)
    assert opened.best().treatment.name == "odd"
    assert opened.best().treatment.is_callable == callable(value)
    with pytest.raises(RunStateError, match="'odd' cannot run again"):
        opened.reevaluate(top=1)
    if callable(value):
        with pytest.raises(RunStateError, match="was a function"):
            experiment.apply(opened.best().treatment)


def test_values_of_treatments_come_back_exactly(stored, diary):
    values = {"x": 0.1 + 0.2, "sizes": (1, 2), "weights": np.arange(3.0), "none": None, "huge": 10**30}
    stored().optimize(diary([Treatment("exact", values)]), 1)
    (trial,) = open_optimization(RUN).trials
    found = trial.treatment.apply_map
    assert found["weights"].dtype == float
    assert found["weights"].tolist() == [0.0, 1.0, 2.0]
    assert {**found, "weights": 0} == {**values, "weights": 0}


def test_only_optimisations_are_opened_as_such(stored):
    stored().run()
    with pytest.raises(StoreError, match="ordinary run"):
        open_optimization(RUN)
    with pytest.raises(StoreError, match="no run"):
        open_optimization("data/nowhere/v0")


def test_a_damaged_journal_is_noticed(stored, diary):
    import sqlite3
    from contextlib import closing

    stored().optimize(diary([1.0]), 1)
    with closing(sqlite3.connect(f"{RUN}/run.db")) as database, database:
        database.execute("UPDATE event SET body = replace(body, '1.0', '2.0') WHERE name = 'trials_told'")
    with pytest.raises(StoreError, match="event is damaged"):
        open_optimization(RUN)


PROGRAM = """
import sys, time
from crystallize import Experiment, Objective, Pipeline, ArtifactPlugin, data_source, pipeline_step
from crystallize_plugins.optimizers import RandomSearch, floating

@data_source
def nothing(ctx):
    return None

@pipeline_step()
def loss(data, ctx, *, x=0.0):
    if ctx["condition"] == "random_4":
        print("at the fifth", flush=True)
        time.sleep(600)
    return data, {"loss": x * x}

if __name__ == "__main__":
    search = RandomSearch({"x": floating(-1.0, 1.0)}, Objective("loss"), seed=3)
    plugins = {"default_plugins": False, "plugins": [ArtifactPlugin()]}
    experiment = Experiment(nothing(), Pipeline([loss()]), name="tuning", **plugins)
    experiment.optimize(search, 10, replicates_per_trial=2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_an_optimisation_that_was_killed_keeps_what_was_told():
    Path("program.py").write_text(PROGRAM)
    process = programs.popen([sys.executable, "program.py"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "at the fifth\n"
    # What was asked is on the disk a few milliseconds later; the journal can be read while it is written.
    deadline = time.monotonic() + 60
    while len(StoredRun(RUN).journal()) < 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    opened = open_optimization(RUN)
    assert [trial.number for trial in opened.trials] == [0, 1, 2, 3]
    assert all(trial.mean("loss") == trial.treatment.apply_map["x"] ** 2 for trial in opened.trials)
    assert StoredRun(RUN).journal()[-1].fields["trials"][0].name == "random_4"
    assert opened.result.provenance["run"]["stopped_by"] == "interrupted"


def test_no_optimisation_without_a_complete_trial_has_a_best(stored, whole_trials):
    stored(fragile()).optimize(whole_trials([-1.0]), 1)
    with pytest.raises(OptimizationError, match="none is best"):
        open_optimization(RUN).best()
