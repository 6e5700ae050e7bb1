"""`ctx.report`: intermediate values, and trials that end early."""

from __future__ import annotations

import time

import pytest

from crystallize import ParallelExecution, pipeline_step, standalone_context


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
