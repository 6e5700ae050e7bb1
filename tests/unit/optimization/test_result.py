"""`OptimizationResult`: what was found, and how far to believe it."""

from __future__ import annotations

import math

import pytest

from crystallize import Objective, SeedPlugin, pipeline_step
from crystallize.errors import OptimizationError, RunStateError, UnknownNameError
from crystallize.optimization.result import OptimizationResult


@pipeline_step()
def noisy(data, ctx, *, x=0.0):
    ctx.metrics.add("loss", x + ctx.rng.normal())
    return data


def _optimized(make_experiment, optimizer, trials, replicates, *steps, seed=1, **settings):
    experiment = make_experiment(*steps, plugins=[SeedPlugin(seed=seed)], **settings)
    experiment.optimize(optimizer, trials, replicates)
    return experiment.last_optimization


def test_trials_share_their_noise(make_experiment, diary):
    found = _optimized(make_experiment, diary([0.0, 1.0]), 2, 5, noisy())
    first, second = (trial.per_replicate("loss") for trial in found.trials)
    assert [b - a for a, b in zip(first, second, strict=True)] == pytest.approx([1.0] * 5)
    assert found.trials[0].seeds == found.trials[1].seeds


def test_the_best_follows_the_direction(make_experiment, diary):
    assert _optimized(make_experiment, diary([3.0, 1.0]), 2, 2, noisy()).best().treatment.name == "x_1.0"
    upwards = diary([3.0, 1.0], Objective("loss", "maximize"))
    assert _optimized(make_experiment, upwards, 2, 2, noisy()).best().treatment.name == "x_3.0"


def test_nan_is_never_best(make_experiment, diary):
    @pipeline_step()
    def sometimes(data, ctx, *, x=0.0):
        return data, {"loss": math.nan if x < 1 else x}

    found = _optimized(make_experiment, diary([0.0, 2.0, 1.0]), 3, 1, sometimes())
    assert [trial.treatment.name for trial in found.ranked()] == ["x_1.0", "x_2.0"]


def test_two_that_cannot_be_told_apart_are_said_so(make_experiment, diary):
    @pipeline_step()
    def own_noise(data, ctx, *, x=0.0):
        return data, {"loss": x + (-1) ** (ctx["replicate"] + int(x * 10))}

    found = _optimized(make_experiment, diary([0.1, 0.2]), 2, 6, own_noise())
    assert "cannot be told apart from the second best" in found.statement()


def test_a_clear_winner_is_said_so(make_experiment, diary):
    statement = _optimized(make_experiment, diary([0.0, 5.0]), 2, 6, noisy()).statement()
    assert "The second best, 'x_5.0', differs by 5" in statement
    assert "cannot" not in statement


def test_a_single_replicate_claims_nothing(make_experiment, diary):
    statement = _optimized(make_experiment, diary([0.0, 5.0]), 2, 1, noisy()).statement()
    assert "single replicate" in statement
    assert "unknown" in statement


def test_rows_hold_parameters_and_uncertainty(make_experiment, diary):
    rows = _optimized(make_experiment, diary([0.0, 5.0]), 2, 3, noisy()).rows()
    assert [row["param_x"] for row in rows] == [0.0, 5.0]
    assert all(row["loss_low"] < row["loss"] < row["loss_high"] for row in rows)


def test_the_frame_has_a_row_for_each_trial(make_experiment, diary):
    pandas = pytest.importorskip("pandas")
    frame = _optimized(make_experiment, diary([0.0, 5.0]), 2, 3, noisy()).to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["treatment"]) == ["x_0.0", "x_5.0"]


def test_a_second_look_uses_seeds_that_nobody_has_seen(make_experiment, diary):
    found = _optimized(make_experiment, diary([3.0, 0.0, 1.0]), 3, 4, noisy())
    result = found.reevaluate(top=2, replicates=5)
    assert list(result.metrics.treatments) == ["x_0.0", "x_1.0"]
    fresh = set(result.provenance["seeds"]["x_0.0"])
    assert len(fresh) == 5
    assert not fresh & set(found.trials[0].seeds)
    assert result.provenance["seeds"]["x_1.0"] == result.provenance["seeds"]["x_0.0"]
    assert result.metrics.treatments["x_0.0"].metrics["loss"].replicates == [4, 5, 6, 7, 8]


def test_the_baseline_may_stand_beside_the_second_look(make_experiment, diary):
    found = _optimized(make_experiment, diary([3.0]), 1, 2, noisy())
    assert found.reevaluate(top=1, replicates=2, baseline=True).metrics.baseline.metrics["loss"]
    assert not found.reevaluate(top=1, replicates=2).metrics.baseline.metrics


def test_seeds_that_repeat_are_refused_for_a_second_look(make_experiment, diary):
    experiment = make_experiment(noisy(), plugins=[SeedPlugin(seed=1, auto_seed=False)])
    experiment.optimize(diary([1.0]), 1, 2)
    with pytest.raises(OptimizationError, match="not fresh"):
        experiment.last_optimization.reevaluate(top=1, replicates=2)


def test_what_has_no_experiment_cannot_run_again(make_experiment, diary):
    found = _optimized(make_experiment, diary([1.0]), 1, 2, noisy())
    with pytest.raises(RunStateError, match="experiment"):
        OptimizationResult(found.trials, found.objectives).reevaluate()


def test_an_unknown_objective_is_named(make_experiment, diary):
    with pytest.raises(UnknownNameError, match=r"'accuracy'.*'loss'"):
        _optimized(make_experiment, diary([1.0]), 1, 2, noisy()).best("accuracy")


def test_without_a_complete_trial_nothing_is_best(make_experiment, whole_trials):
    @pipeline_step()
    def broken(data, ctx):
        raise ValueError("no")

    found = _optimized(make_experiment, whole_trials([1.0]), 1, 2, broken())
    with pytest.raises(OptimizationError, match="no trial is complete"):
        found.best()
