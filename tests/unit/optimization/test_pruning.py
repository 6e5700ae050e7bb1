"""`ctx.report`: intermediate values, and trials that end early."""

from __future__ import annotations

import logging
import time

import pytest

from crystallize import (
    ArtifactPlugin,
    AsyncExecution,
    LoggingPlugin,
    ParallelExecution,
    SerialExecution,
    pipeline_step,
    standalone_context,
)
from crystallize.errors import PrunedError
from crystallize_cli.commands.export import long_rows
from crystallize_cli.commands.runs import describe_run
from crystallize_plugins.artifacts import list_runs


@pipeline_step()
def train(data, ctx, *, x=0.0):
    for epoch in range(5):
        ctx.report("loss", x - epoch, step=epoch)
    return data, {"loss": x}


@pytest.fixture
def pruning(whole_trials):
    """Make an optimiser that ends trials whose loss is above 10 from the third epoch on."""

    class Pruning(whole_trials):
        def should_prune(self, condition, report):
            self.lines.append((condition, report.replicate, report.step))
            return report.step == 2 and report.value > 10

    return Pruning


def test_a_pruned_trial_is_told_and_recorded_as_pruned(make_experiment, pruning):
    optimizer = pruning([1.0, 50.0])
    experiment = make_experiment(train())
    experiment.optimize(optimizer, 2)
    assert [trial.state for trial in experiment.last_optimization.trials] == ["complete", "pruned"]
    assert [report.step for report in experiment.last_optimization.trials[1].reports] == [0, 1, 2]
    assert [report.value for report in experiment.last_optimization.trials[0].reports] == [1.0, 0.0, -1.0, -2.0, -3.0]


def test_the_other_replicates_of_a_pruned_trial_end_at_their_first_report(make_experiment, pruning):
    optimizer = pruning([50.0])
    make_experiment(train()).optimize(optimizer, 1, replicates_per_trial=2)
    assert [line for line in optimizer.lines if isinstance(line, tuple)] == [
        ("x_50.0", 0, 0),
        ("x_50.0", 0, 1),
        ("x_50.0", 0, 2),
    ]


@pipeline_step()
def train_long(data, ctx, *, x=0.0):
    epochs = 1000 if x > 10 else 4
    for epoch in range(epochs):
        ctx.report("loss", x - epoch / epochs, step=epoch)
        time.sleep(0.02)
    return data, {"loss": x}


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_trials_end_early_in_other_workers_too(make_experiment, pruning, kind):
    experiment = make_experiment(train_long(), plugins=[ParallelExecution(2, kind)])
    experiment.optimize(pruning([[1.0, 50.0, 60.0, 2.0]]), 1)
    trials = experiment.last_optimization.trials
    assert [trial.state for trial in trials] == ["complete", "pruned", "pruned", "complete"]
    assert all(3 <= len(trial.reports) < 1000 for trial in trials)


def test_a_cell_that_is_over_when_it_is_asked_to_stop_stops_no_other(make_experiment, pruning):
    # What a worker reports crosses to the optimiser while the step goes on: steps this short may end first.
    experiment = make_experiment(train(), plugins=[ParallelExecution(2, "process")])
    experiment.optimize(pruning([[50.0, *range(10)]]), 1)
    trials = experiment.last_optimization.trials
    assert {trial.state for trial in trials[1:]} == {"complete"}
    assert all(len(trial.reports) == 5 for trial in trials[1:])


def test_an_error_in_should_prune_ends_the_optimisation_in_any_worker(make_experiment, whole_trials):
    class Broken(whole_trials):
        def should_prune(self, condition, report):
            raise LookupError("no such study")

    for plugins in ([], [ParallelExecution(2, "thread")], [ParallelExecution(2, "process")]):
        experiment = make_experiment(train(), plugins=plugins)
        with pytest.raises(LookupError, match="no such study"):
            experiment.optimize(Broken([[1.0, 2.0]]), 1)
        assert experiment.last_optimization.trials == []


def test_an_event_that_is_only_called_report_reports_nothing(make_experiment, whole_trials):
    @pipeline_step()
    def chatty(data, ctx):
        ctx.emit("report", text="hello")
        return data, {"loss": 1.0}

    class Listening(whole_trials):
        def should_prune(self, condition, report):
            return True

    experiment = make_experiment(chatty())
    experiment.optimize(Listening([1.0]), 1)
    assert experiment.last_optimization.trials[0].state == "complete"
    assert experiment.last_optimization.trials[0].reports == ()


def test_reports_without_an_optimiser_do_nothing(make_experiment):
    result = make_experiment(train()).run()
    assert not result.errors
    standalone_context().report("loss", 1.0, step=0)


def shown():
    """Give a step that reports, and fails for one value."""

    @pipeline_step()
    def mixed(data, ctx, *, x=0.0):
        for epoch in range(4):
            ctx.report("loss", x, step=epoch)
        if x == 3.0:
            raise ValueError("no")
        return data, {"loss": x}

    return mixed()


def test_a_pruned_cell_is_neither_a_warning_nor_an_error(make_experiment, pruning, caplog):
    experiment = make_experiment(shown(), plugins=[LoggingPlugin()])
    with caplog.at_level(logging.DEBUG, "crystallize"):
        experiment.optimize(pruning([[1.0, 50.0, 60.0, 3.0]]), 1, replicates_per_trial=2)
    result = experiment.last_optimization.result
    assert sorted(result.errors) == ["x_3.0_rep_0", "x_3.0_rep_1"]
    assert result.provenance["cells"]["x_50.0"] == {
        "requested": 2, "completed": 0, "failed": 0, "missing": 0, "pruned": 2,
    }  # fmt: skip
    assert result.provenance["cells"]["x_3.0"] == {"requested": 2, "completed": 0, "failed": 2, "missing": 0}
    assert "2 failed, 4 pruned" in repr(result)
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warned
    assert all("x_3.0" in text for text in warned)
    assert any("2 errors, 4 pruned" in record.getMessage() for record in caplog.records)
    assert "PRUNED" in result.tree_text()


def test_a_trial_keeps_what_its_cells_were_pruned_for(make_experiment, pruning):
    experiment = make_experiment(shown())
    experiment.optimize(pruning([50.0]), 1)
    (trial,) = experiment.last_optimization.trials
    assert "stopped by the optimiser" in str(trial.errors["x_50.0_rep_0"])


def test_a_stored_optimisation_tells_pruned_cells_from_failed_ones(make_experiment, pruning):
    experiment = make_experiment(shown(), plugins=[ArtifactPlugin()])
    experiment.optimize(pruning([[1.0, 50.0, 60.0, 3.0]]), 1)
    (run,) = list_runs("data", "tuning")
    result = run.result()
    assert list(result.errors) == ["x_3.0_rep_0"]
    assert "pruned" in result.summary()
    assert "1 error:" in result.summary()
    assert len(list(run.path.glob("*/results.json"))) == 4
    described = describe_run(run)
    assert (described["cells"], described["failed"], described["pruned"]) == (4, 1, 2)
    states = {row["condition"]: row["status"] for row in long_rows("tuning@v0", result)}
    assert states == {"x_1.0": "done", "x_50.0": "pruned", "x_60.0": "pruned", "x_3.0": "failed"}


def test_without_an_optimiser_a_step_that_prunes_has_failed(make_experiment, caplog):
    @pipeline_step()
    def prunes(data):
        raise PrunedError("nobody asked")

    result = make_experiment(prunes()).run()
    assert list(result.errors) == ["baseline_rep_0"]
    assert result.provenance["cells"]["baseline"]["failed"] == 1


@pytest.mark.parametrize("executor", [SerialExecution, ParallelExecution, AsyncExecution])
@pytest.mark.parametrize("batches, total", [([1.0] * 6, 6), ([[1.0, 2.0]] * 3, 6)])
def test_a_progress_bar_knows_how_many_cells_an_optimisation_will_have(
    make_experiment, whole_trials, monkeypatch, executor, batches, total
):
    totals, counts = [], []

    class Bar:
        monitor_interval = 0

        def __init__(self, total, **_):
            self.total = total

        def refresh(self):
            totals.append(self.total)

        def update(self):
            counts.append(self.total)

        def set_postfix_str(self, text, refresh):
            pass

        def close(self):
            pass

    monkeypatch.setattr("crystallize_plugins.execution.progress.where_to_show", lambda: "terminal")
    monkeypatch.setattr("crystallize_plugins.execution.progress.open_bar", lambda place, **_: Bar(0))
    experiment = make_experiment(plugins=[executor(progress=True)])
    experiment.optimize(whole_trials(batches), len(batches), replicates_per_trial=2)
    assert counts == [total * 2] * (total * 2)
    assert totals[-1] == total * 2
