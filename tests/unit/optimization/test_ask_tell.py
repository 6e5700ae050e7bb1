"""`optimize` and `aoptimize`: what is asked, run and told."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from crystallize import Artifact, Experiment, Treatment, pipeline_step
from crystallize.errors import (
    ArgumentTypeError,
    ContextMutationError,
    MissingMetricError,
    OptimizationError,
    TrialFailedError,
    ValidationError,
)
from crystallize.experiments.optimizers import BaseOptimizer, Objective


@pipeline_step()
def fragile(data, ctx, *, x=0.0):
    if x < 0 or (x > 10 and ctx["replicate"] == 0):
        raise ZeroDivisionError(f"x is {x}")
    ctx.metrics.add("loss", x)
    return data


def test_asks_and_tells_alternate_and_the_best_comes_last(make_experiment, diary):
    optimizer = diary([1.0, 3.0])
    best = make_experiment().optimize(optimizer, 2)
    assert optimizer.lines == ["ask", "tell", "ask", "tell", "best"]
    assert best.name == "best"


def test_told_is_the_mean_over_the_replicates(make_experiment, diary):
    optimizer = diary([1.0])
    make_experiment().optimize(optimizer, 1, replicates_per_trial=3)
    assert optimizer.told == [{"loss": 2.0}]


def test_a_replicate_that_records_often_counts_once(make_experiment, diary):
    @pipeline_step()
    def often(data, ctx):
        for _ in range(1 + 8 * ctx["replicate"]):
            ctx.metrics.add("loss", ctx["replicate"])
        return data

    optimizer = diary([1.0])
    make_experiment(often()).optimize(optimizer, 1, replicates_per_trial=2)
    assert optimizer.told == [{"loss": 0.5}]


def test_several_objectives_are_told_together(make_experiment, diary):
    @pipeline_step()
    def two(data, ctx, *, x=0.0):
        return data, {"loss": x, "size": 10 * x}

    optimizer = diary([3.0], [Objective("loss"), Objective("size", "maximize")])
    make_experiment(two()).optimize(optimizer, 1)
    assert optimizer.told == [{"loss": 3.0, "size": 30.0}]


def test_the_same_in_a_running_loop(make_experiment, diary):
    async def main():
        optimizer = diary([1.0, 2.0])
        await make_experiment().aoptimize(optimizer, 2)
        inner = diary([1.0])
        make_experiment().optimize(inner, 1)
        return optimizer.told, inner.told

    assert asyncio.run(main()) == ([{"loss": 1.0}, {"loss": 0.0}], [{"loss": 1.0}])


def test_a_batch_is_told_as_whole_trials_in_its_order(make_experiment, whole_trials):
    optimizer = whole_trials([[1.0, 4.0], [2.0, 0.0]])
    make_experiment().optimize(optimizer, 2, replicates_per_trial=2)
    assert optimizer.lines == ["ask", "tell_trials"] * 2 + ["best"]
    assert [[trial.mean("loss") for trial in batch] for batch in optimizer.told] == [[1.5, 4.5], [0.5, 4.5]]
    assert [[trial.number for trial in batch] for batch in optimizer.told] == [[0, 1], [2, 3]]


def test_several_treatments_need_a_word_for_them(make_experiment, diary):
    optimizer = diary([[1.0, 2.0]])
    with pytest.raises(OptimizationError, match=r"2 treatments.*tell_trials"):
        make_experiment().optimize(optimizer, 1)


def test_an_extraction_of_ones_own_is_told_as_it_is(make_experiment, diary):
    class Spread(Experiment):
        def _extract_objective_from_result(self, result, objective):
            return {name: max(found.metrics[objective.metric]) for name, found in result.metrics.treatments.items()}

    optimizer = diary([[1.0, 2.0]])
    parent = make_experiment()
    Spread(parent.datasource, parent.pipeline, default_plugins=False).optimize(optimizer, 1, replicates_per_trial=2)
    assert optimizer.told == [{"x_1.0": 2.0, "x_2.0": 1.0}]


def test_the_default_extraction_can_be_called_by_the_one_that_replaces_it(make_experiment, diary):
    class Negated(Experiment):
        def _extract_objective_from_result(self, result, objective):
            values = super()._extract_objective_from_result(result, objective)
            return {name: -value for name, value in values.items()}

    parent, optimizer = make_experiment(), diary([4.0])
    Negated(parent.datasource, parent.pipeline, default_plugins=False).optimize(optimizer, 1)
    assert optimizer.told == [{"loss": -4.0}]


def test_a_treatment_that_comes_again_is_run_again_under_a_number(make_experiment, diary):
    experiment = make_experiment()
    experiment.optimize(diary([1.0, 1.0, 1.0]), 3)
    assert [trial.condition for trial in experiment.last_optimization.trials] == ["x_1.0", "x_1.0_2", "x_1.0_3"]
    assert [trial.treatment.name for trial in experiment.last_optimization.trials] == ["x_1.0"] * 3


def test_names_that_share_a_folder_on_some_systems_are_numbered_too(make_experiment, diary):
    names = ["abc", "ABC", "abc_2", "Baseline", "stra\u00dfe", "STRASSE"]
    experiment = make_experiment()
    experiment.optimize(diary([Treatment(name, {"x": 1.0}) for name in names]), len(names))
    conditions = [trial.condition for trial in experiment.last_optimization.trials]
    assert conditions == ["abc", "ABC_2", "abc_2_2", "Baseline_2", "stra\u00dfe", "STRASSE_2"]


def test_trials_are_forgotten_by_what_runs_them(make_experiment, diary):
    seen = []

    class Looking(diary):
        def tell(self, objective_values):
            super().tell(objective_values)
            runner = self.experiment.running.runner
            seen.append((len(runner._job.treatments), len(runner._job.programs)))

    class Watched(Experiment):
        def _run_of(self, request, **settings):
            self.running = super()._run_of(request, **settings)
            return self.running

    parent, optimizer = make_experiment(), Looking([1.0, 2.0, 3.0])
    optimizer.experiment = Watched(parent.datasource, parent.pipeline, default_plugins=False)
    optimizer.experiment.optimize(optimizer, 3)
    assert seen == [(0, 0)] * 3


def test_the_baseline_runs_once_where_the_optimiser_needs_it(make_experiment, whole_trials):
    class Relative(whole_trials):
        needs_baseline = True

        def tell_baseline(self, trial):
            self.lines.append(f"baseline {trial.mean('loss')}")

    optimizer = Relative([1.0, 2.0])
    experiment = make_experiment()
    experiment.optimize(optimizer, 2)
    assert optimizer.lines[:2] == ["baseline 4.0", "ask"]
    assert experiment.last_optimization.baseline.condition == "baseline"
    assert list(experiment.last_optimization.result.metrics.treatments) == ["x_1.0", "x_2.0"]


def test_the_baseline_does_not_run_unasked(make_experiment, diary):
    seen = []

    @pipeline_step()
    def spy(data, ctx):
        seen.append(ctx["condition"])
        return data, {"loss": 1.0}

    make_experiment(spy()).optimize(diary([1.0]), 1)
    assert seen == ["x_1.0"]


def test_the_experiments_own_treatments_stay_untouched(make_experiment, diary):
    own = Treatment("own", {"x": 9.0})
    experiment = make_experiment(treatments=[own], replicates=4)
    experiment.optimize(diary([1.0]), 1)
    assert experiment.treatments == [own]
    assert experiment.replicates == 4


@pytest.mark.parametrize("count", [0, -1])
def test_a_number_of_trials_below_one_is_refused(make_experiment, diary, count):
    optimizer = diary([1.0])
    with pytest.raises(ValidationError, match="num_trials"):
        make_experiment().optimize(optimizer, count)
    with pytest.raises(ValidationError, match="replicates_per_trial"):
        make_experiment().optimize(optimizer, 1, count)
    assert optimizer.lines == []


def test_an_optimiser_is_not_a_class_nor_anything(make_experiment, diary):
    for wrong in (diary, "grid", None):
        with pytest.raises(ArgumentTypeError, match="optimizer must be a BaseOptimizer"):
            make_experiment().optimize(wrong, 1)


def test_an_objective_is_an_objective(diary):
    with pytest.raises(ArgumentTypeError, match="objective must be an Objective"):
        diary([1.0], "accuracy")
    with pytest.raises(ValidationError, match="needs an objective"):
        BaseOptimizer.__init__(diary([1.0]), [])


@pytest.mark.parametrize(
    "asked, error, words",
    [
        ([], ValidationError, "returned no treatment"),
        (["x"], ArgumentTypeError, "must return treatments, not str"),
        (None, ArgumentTypeError, "must return a list of treatments, not NoneType"),
        ([Treatment("a", {}), Treatment("a", {})], ValidationError, "two treatments are named 'a'"),
    ],
)
def test_each_wrong_answer_to_ask_has_its_own_error(make_experiment, whole_trials, asked, error, words):
    class Wrong(whole_trials):
        def ask(self):
            return asked

    with pytest.raises(error, match=words):
        make_experiment().optimize(Wrong([]), 1)


def test_a_treatment_may_not_write_a_key_of_the_initial_context(make_experiment, diary):
    with pytest.raises(ContextMutationError, match="'x'"):
        make_experiment(initial_ctx={"x": 1.0}).optimize(diary([2.0]), 1)


def test_a_missing_metric_is_named_beside_those_that_exist(make_experiment, diary):
    with pytest.raises(MissingMetricError, match=r"'accuracy'.*'loss'"):
        make_experiment().optimize(diary([1.0], Objective("accuracy")), 1)


def test_a_metric_that_is_no_number_is_named(make_experiment, diary):
    @pipeline_step()
    def word(data, ctx):
        return data, {"loss": "small"}

    with pytest.raises(ArgumentTypeError, match=r"'loss' holds 'small'"):
        make_experiment(word()).optimize(diary([1.0]), 1)


def test_a_failed_trial_is_never_told_as_a_number(make_experiment, diary):
    optimizer = diary([1.0, -1.0, 2.0])
    experiment = make_experiment(fragile())
    with pytest.raises(TrialFailedError, match="trial 1, treatment 'x_-1.0'") as caught:
        experiment.optimize(optimizer, 3)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert optimizer.told == [{"loss": 1.0}]
    assert [trial.state for trial in caught.value.trials] == ["complete", "failed"]
    assert [trial.state for trial in experiment.last_optimization.trials] == ["complete", "failed"]


def test_an_optimiser_with_a_word_for_failure_goes_on(make_experiment, whole_trials):
    optimizer = whole_trials([1.0, -1.0, 2.0])
    make_experiment(fragile()).optimize(optimizer, 3)
    assert [batch[0].state for batch in optimizer.told] == ["complete", "failed", "complete"]
    assert "x is -1.0" in str(next(iter(optimizer.told[1][0].errors.values())))


def test_replicates_that_succeed_speak_for_a_trial_with_failed_ones(make_experiment, diary):
    optimizer = diary([11.0])
    experiment = make_experiment(fragile())
    experiment.optimize(optimizer, 1, replicates_per_trial=3)
    (trial,) = experiment.last_optimization.trials
    assert optimizer.told == [{"loss": 11.0}]
    assert trial.state == "complete"
    assert list(trial.errors) == ["x_11.0_rep_0"]
    assert trial.metrics["loss"].replicates == [1, 2]


def test_the_trials_so_far_survive_an_interruption(make_experiment, diary):
    class Impatient(diary):
        def ask(self):
            if len(self.told) == 2:
                raise KeyboardInterrupt
            return super().ask()

    experiment = make_experiment()
    with pytest.raises(KeyboardInterrupt):
        experiment.optimize(Impatient([1.0, 2.0, 3.0]), 3)
    assert [trial.treatment.apply_map["x"] for trial in experiment.last_optimization.trials] == [1.0, 2.0]


def test_the_best_treatment_is_a_treatment(make_experiment, diary):
    class Unsure(diary):
        def get_best_treatment(self):
            return None

    with pytest.raises(ArgumentTypeError, match="get_best_treatment"):
        make_experiment().optimize(Unsure([1.0]), 1)


def test_a_callable_treatment_may_be_proposed(make_experiment, diary):
    optimizer = diary([Treatment("late", lambda ctx: ctx.add("x", 3.0))])
    make_experiment().optimize(optimizer, 1)
    assert optimizer.told == [{"loss": 1.0}]


def test_what_trials_write_is_kept_by_trial(make_experiment, diary):
    @pipeline_step()
    def save(data, ctx, out: Artifact, x=0.0):
        out.write(str(x).encode())
        return data, {"loss": x}

    experiment = make_experiment(save(), outputs=[Artifact("out")], default_plugins=["artifacts"])
    experiment.optimize(diary([1.0, 2.0]), 2)
    files = experiment.last_optimization.result.get_artifact("out")
    assert {name: path.read_text() for name, path in files.items()} == {"x_1.0": "1.0", "x_2.0": "2.0"}


def test_an_optimiser_that_has_nothing_left_is_told_of_in_words(make_experiment, diary):
    class Iterating(diary):
        def ask(self):
            return [next(self.batches)]

    optimizer = Iterating([])
    optimizer.batches = iter([Treatment("only", {"x": 1.0})])
    with pytest.raises(OptimizationError, match=r"Iterating\.ask\(\) raised StopIteration after 1 trials") as caught:
        make_experiment().optimize(optimizer, 3)
    assert [trial.condition for trial in caught.value.trials] == ["only"]
    with pytest.raises(OptimizationError, match="after 0 trials"):
        asyncio.run(make_experiment().aoptimize(optimizer, 3))


def test_an_array_is_no_number_to_optimise(make_experiment, diary):
    @pipeline_step()
    def array(data, ctx):
        return data, {"loss": np.ones(3)}

    with pytest.raises(ArgumentTypeError, match=r"metric 'loss' holds array\(\[1\., 1\., 1\.\]\), which is no number"):
        make_experiment(array()).optimize(diary([1.0]), 1)


def test_the_default_extraction_says_what_it_takes(make_experiment):
    experiment = make_experiment(fragile())
    good, bad = Treatment("good", {"x": 1.0}), Treatment("bad", {"x": -1.0})
    extract = experiment._extract_objective_from_result
    result = experiment.run(treatments=[good], replicates=2)
    assert extract(result, Objective("loss")) == extract(result, [Objective("loss")]) == {"loss": 1.0}
    with pytest.raises(MissingMetricError, match="'cost'"):
        extract(result, [Objective("loss"), Objective("cost")])
    with pytest.raises(OptimizationError, match="the result has metrics of 2: override _extract_objective_from_result"):
        extract(experiment.run(treatments=[good, Treatment("fine", {"x": 2.0})]), Objective("loss"))
    with pytest.raises(OptimizationError, match="the result has metrics of 0") as caught:
        extract(experiment.run(treatments=[bad]), Objective("loss"))
    assert "x is -1.0" in str(caught.value.__cause__)
