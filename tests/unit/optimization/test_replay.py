"""Resuming in the core: outcomes that somebody kept are told again, and what their cells reported is heard again."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from crystallize import BasePlugin, ParallelExecution, pipeline_step
from crystallize.errors import RunStateError, ValidationError


class Keeps(BasePlugin):
    """Keeps outcomes in memory, and gives back those that `gives` says."""

    neutral = True

    def __init__(self):
        self.outcomes = {}
        self.gives = lambda cell: True

    def collect(self, outcome):
        self.outcomes[outcome.cell] = outcome

    def completed_cells(self, cells):
        return [self.outcomes[cell] for cell in cells if cell in self.outcomes and self.gives(cell)]


@pytest.fixture
def keeps():
    return Keeps()


@pytest.fixture
def ran():
    """The cells that really ran, by key."""
    return []


@pytest.fixture
def counted(ran):
    @pipeline_step()
    def loss(data, ctx, *, x=0.0):
        ran.append(f"{ctx['condition']}_rep_{ctx['replicate']}")
        return data, {"loss": x + ctx["replicate"]}

    return loss()


def test_what_is_kept_is_told_again_and_not_run_again(make_experiment, diary, keeps, counted, ran):
    experiment = make_experiment(counted, plugins=[keeps])
    experiment.optimize(diary([1.0, 2.0, 3.0]), 2, replicates_per_trial=2)
    ran.clear()
    again = diary([1.0, 2.0, 3.0])
    experiment.optimize(again, 3, 2, strategy="resume")
    assert again.told == [{"loss": 1.5}, {"loss": 2.5}, {"loss": 3.5}]
    assert ran == ["x_3.0_rep_0", "x_3.0_rep_1"]
    found = experiment.last_optimization
    assert found.replayed == 2
    assert "2 of them from the store" in repr(found)
    assert list(found.result.metrics.treatments) == ["x_1.0", "x_2.0", "x_3.0"]


def test_of_a_batch_that_was_cut_only_the_rest_is_run(make_experiment, whole_trials, keeps, counted, ran):
    experiment = make_experiment(counted, plugins=[keeps])
    experiment.optimize(whole_trials([[1.0, 2.0]]), 1, 2)
    ran.clear()
    keeps.gives = lambda cell: cell in {("x_1.0", 0), ("x_1.0", 1), ("x_2.0", 0)}
    again = whole_trials([[1.0, 2.0]])
    experiment.optimize(again, 1, 2, strategy="resume")
    assert ran == ["x_2.0_rep_1"]
    assert [trial.mean("loss") for trial in again.told[0]] == [1.5, 2.5]
    assert experiment.last_optimization.replayed == 1


def test_the_experiments_own_strategy_holds_where_none_is_given(make_experiment, diary, keeps, counted, ran):
    experiment = make_experiment(counted, plugins=[keeps])
    experiment.optimize(diary([1.0]), 1)
    experiment.strategy = "resume"
    experiment.optimize(diary([1.0]), 1)
    assert ran == ["x_1.0_rep_0"]
    experiment.optimize(diary([1.0]), 1, strategy="rerun")
    assert ran == ["x_1.0_rep_0"] * 2
    with pytest.raises(ValidationError, match="strategy"):
        experiment.optimize(diary([1.0]), 1, strategy="go on")


def test_resuming_where_nothing_is_kept_is_a_first_run(make_experiment, diary):
    optimizer = diary([1.0])
    experiment = make_experiment()
    experiment.optimize(optimizer, 1, strategy="resume")
    assert optimizer.told == [{"loss": 1.0}]
    assert experiment.last_optimization.replayed == 0


@pipeline_step()
def train(data, ctx, *, x=0.0):
    for epoch in range(4):
        ctx.report("loss", x - epoch, step=epoch)
    return data, {"loss": x}


@pytest.fixture
def hearing(whole_trials):
    """Make an optimiser that ends trials above 10 at their second report, and notes what it hears."""

    class Hearing(whole_trials):
        def should_prune(self, condition, report):
            self.lines.append((condition, report.replicate, report.value))
            return report.step == 1 and report.value > 10

    return Hearing


def test_reports_are_heard_again_in_their_order_and_decide_again(make_experiment, hearing, keeps):
    experiment = make_experiment(train(), plugins=[keeps])
    first, again = hearing([[1.0, 50.0], [2.0]]), hearing([[1.0, 50.0], [2.0]])
    experiment.optimize(first, 2, replicates_per_trial=2)
    lived = experiment.last_optimization
    experiment.optimize(again, 2, replicates_per_trial=2, strategy="resume")
    resumed = experiment.last_optimization
    assert again.lines == first.lines
    assert [trial.reports for trial in resumed.trials] == [trial.reports for trial in lived.trials]
    assert [trial.state for trial in resumed.trials] == ["complete", "pruned", "complete"]


def test_a_trial_that_was_pruned_in_a_cut_batch_stays_pruned(make_experiment, hearing, keeps):
    experiment = make_experiment(train(), plugins=[keeps])
    first, again = hearing([[50.0, 1.0]]), hearing([[50.0, 1.0]])
    experiment.optimize(first, 1, replicates_per_trial=3)
    keeps.gives = lambda cell: cell.replicate == 0
    experiment.optimize(again, 1, replicates_per_trial=3, strategy="resume")
    assert again.lines == first.lines
    assert [trial.state for trial in experiment.last_optimization.trials] == ["pruned", "complete"]
    assert {key: str(error) for key, error in again.told[0][0].errors.items()} == {
        key: str(error) for key, error in first.told[0][0].errors.items()
    }


def test_a_recorded_end_counts_where_the_optimiser_would_decide_otherwise(make_experiment, hearing, keeps):
    experiment = make_experiment(train(), plugins=[keeps])
    experiment.optimize(hearing([50.0]), 1, replicates_per_trial=2)

    class Lenient(hearing):
        def should_prune(self, condition, report):
            return False

    keeps.gives = lambda cell: cell.replicate == 0
    experiment.optimize(Lenient([50.0]), 1, replicates_per_trial=2, strategy="resume")
    (trial,) = experiment.last_optimization.trials
    assert (trial.state, len(trial.errors)) == ("pruned", 2)


def test_an_error_in_should_prune_ends_a_replay_before_anything_runs(make_experiment, hearing, keeps):
    experiment = make_experiment(train(), plugins=[keeps])
    experiment.optimize(hearing([1.0]), 1, replicates_per_trial=2)

    class Broken(hearing):
        def should_prune(self, condition, report):
            raise LookupError("no such study")

    known = dict(keeps.outcomes)
    keeps.gives = lambda cell: cell.replicate == 0
    with pytest.raises(LookupError, match="no such study"):
        experiment.optimize(Broken([1.0]), 1, replicates_per_trial=2, strategy="resume")
    assert keeps.outcomes == known


def test_reports_stay_with_their_cells_in_every_executor(make_experiment, hearing, keeps):
    for plugins in ([], [ParallelExecution(2, "thread")], [ParallelExecution(2, "process")]):
        experiment = make_experiment(train(), plugins=[keeps, *plugins])
        experiment.optimize(hearing([[1.0, 2.0]]), 1, replicates_per_trial=2)
        for (condition, _), outcome in keeps.outcomes.items():
            x = float(condition.removeprefix("x_"))
            assert [report[1:] for report in outcome.reports] == [("loss", x - epoch, epoch) for epoch in range(4)]
        orders = [report[0] for outcome in keeps.outcomes.values() for report in outcome.reports]
        assert sorted(orders) == list(range(16))


def test_the_baseline_is_told_again(make_experiment, whole_trials, keeps, counted, ran):
    class Relative(whole_trials):
        needs_baseline = True

        def tell_baseline(self, trial):
            self.lines.append(("baseline", trial.mean("loss")))

    experiment = make_experiment(counted, plugins=[keeps])
    experiment.optimize(Relative([1.0]), 1)
    ran.clear()
    again = Relative([1.0, 2.0])
    experiment.optimize(again, 2, strategy="resume")
    assert ran == ["x_2.0_rep_0"]
    assert again.lines[0] == ("baseline", 0.0)
    assert experiment.last_optimization.replayed == 1  # the baseline is no trial


def test_the_same_in_a_running_loop(make_experiment, diary, keeps, counted, ran):
    experiment = make_experiment(counted, plugins=[keeps])
    asyncio.run(experiment.aoptimize(diary([1.0, 2.0]), 1))
    again = diary([1.0, 2.0])
    asyncio.run(experiment.aoptimize(again, 2, strategy="resume"))
    assert ran == ["x_1.0_rep_0", "x_2.0_rep_0"]
    assert again.told == [{"loss": 1.0}, {"loss": 2.0}]


# ---------------------------------------------------------------- optimisers beside the loop


def test_an_optimiser_that_thinks_does_not_hold_up_the_loop(make_experiment, diary):
    beats = []
    asked = threading.Event()

    class Thinking(diary):
        def ask(self):
            asked.set()
            assert beating.wait(30)
            return super().ask()

    beating = threading.Event()

    async def main():
        async def beat():
            await asyncio.to_thread(asked.wait, 30)
            beats.append(1)
            beating.set()

        await asyncio.gather(make_experiment().aoptimize(Thinking([1.0]), 1), beat())

    asyncio.run(main())
    assert beats == [1]


def test_all_calls_of_an_optimiser_come_from_one_thread(make_experiment, diary):
    threads = set()

    class Noting(diary):
        def ask(self):
            threads.add(threading.get_ident())
            return super().ask()

        def tell(self, objective_values):
            threads.add(threading.get_ident())
            super().tell(objective_values)

        def get_best_treatment(self):
            threads.add(threading.get_ident())
            return super().get_best_treatment()

    asyncio.run(make_experiment().aoptimize(Noting([1.0, 2.0]), 2))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("error", [RunStateError, KeyboardInterrupt, StopIteration])
def test_what_an_optimiser_raises_reaches_whoever_awaits(make_experiment, diary, error):
    class Failing(diary):
        def get_best_treatment(self):
            raise error("enough")

    experiment = make_experiment()

    async def main():
        # A coroutine cannot raise StopIteration, and the loop lets Ctrl-C through: look at it before they do.
        try:
            await experiment.aoptimize(Failing([1.0]), 1)
        except (error, RuntimeError) as raised:
            return raised

    raised = asyncio.run(main())
    assert "enough" in f"{raised} {raised.__cause__}"
    assert len(experiment.last_optimization.trials) == 1


def test_a_cancelled_optimisation_ends_once_the_optimiser_is_back(make_experiment, diary):
    order = []

    class Slow(diary):
        def ask(self):
            started.set()
            time.sleep(0.05)
            order.append("ask is over")
            return super().ask()

    started = threading.Event()
    experiment = make_experiment()

    async def main():
        task = asyncio.ensure_future(experiment.aoptimize(Slow([1.0]), 1))
        await asyncio.to_thread(started.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        order.append("cancelled")

    asyncio.run(main())
    assert order == ["ask is over", "cancelled"]
    assert experiment.last_optimization.trials == []
