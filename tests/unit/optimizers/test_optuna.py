"""The adapter to Optuna proposes what Optuna proposes."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
import textwrap
import warnings

import pytest

from crystallize import (
    ArtifactPlugin,
    Experiment,
    Objective,
    ParallelExecution,
    Pipeline,
    data_source,
    pipeline_step,
)
from crystallize.errors import ArgumentTypeError, OptimizationError, ValidationError
from crystallize_plugins.optimizers import RelativeConstraint, choice, floating, integer

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.ERROR)

from crystallize_plugins.optimizers import OptunaOptimizer  # noqa: E402 - an extra

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def branin(x, y):
    """Value of Branin's function; its minimum is 0.397887."""
    curve = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return curve**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


@data_source
def nothing(ctx):
    return None


@pipeline_step()
def value(data, ctx, *, x=0.0, y=0.0):
    ctx.metrics.add("loss", branin(x, y))
    ctx.metrics.add("cost", 1.0 + abs(x))
    return data


SPACE = {"x": floating(-5.0, 10.0), "y": floating(0.0, 15.0)}


def _experiment(*steps, plugins=()):
    return Experiment(nothing(), Pipeline(list(steps) or [value()]), default_plugins=False, plugins=list(plugins))


def _proposed(optimizer, trials=20):
    experiment = _experiment()
    experiment.optimize(optimizer, trials)
    return [dict(trial.treatment.apply_map) for trial in experiment.last_optimization.trials]


def _native(sampler, trials=20):
    study = optuna.create_study(sampler=sampler)
    study.optimize(
        lambda trial: branin(trial.suggest_float("x", -5.0, 10.0), trial.suggest_float("y", 0.0, 15.0)), trials
    )
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("seed", range(5))
def test_with_one_seed_the_sequence_is_optunas_own(seed):
    native = _native(optuna.samplers.TPESampler(seed=seed))
    assert _proposed(OptunaOptimizer(SPACE, Objective("loss"), seed=seed)) == native


def test_any_sampler_may_propose():
    native = _native(optuna.samplers.RandomSampler(seed=3))
    assert _proposed(OptunaOptimizer(SPACE, Objective("loss"), sampler=optuna.samplers.RandomSampler(seed=3))) == native


def test_a_function_of_the_trial_may_be_the_space():
    def space(trial):
        x = trial.suggest_float("x", -5.0, 10.0)
        return {"x": x, "y": trial.suggest_float("y", 0.0, 15.0)}

    optimizer = OptunaOptimizer(space, Objective("loss"), seed=1)
    assert _proposed(optimizer) == _native(optuna.samplers.TPESampler(seed=1))


def test_optunas_distributions_may_stand_beside_ours():
    space = {
        "x": optuna.distributions.FloatDistribution(-5.0, 10.0, step=0.5),
        "y": integer(0, 15),
        "kind": choice(["a", "b"]),
    }
    for parameters in _proposed(OptunaOptimizer(space, Objective("loss"), seed=1), 5):
        assert parameters["x"] % 0.5 == 0
        assert isinstance(parameters["y"], int)
        assert parameters["kind"] in "ab"


def test_batches_are_the_same_for_the_same_seed_and_size():
    first, second = (_proposed(OptunaOptimizer(SPACE, Objective("loss"), seed=1, batch_size=4), 5) for _ in range(2))
    assert first == second
    assert len(first) == 20


def test_the_best_of_the_study_is_the_best_treatment():
    experiment = _experiment()
    best = experiment.optimize(OptunaOptimizer(SPACE, Objective("loss"), seed=1), 30)
    assert best.apply_map == experiment.last_optimization.best().treatment.apply_map


def test_failed_trials_are_told_as_failed():
    @pipeline_step()
    def fragile(data, ctx, *, x=0.0):
        if x < 0:
            raise ValueError("negative")
        return data, {"loss": x}

    optimizer = OptunaOptimizer({"x": floating(-1.0, 1.0)}, Objective("loss"), seed=1)
    _experiment(fragile()).optimize(optimizer, 12)
    states = [trial.state.name for trial in optimizer.study.trials]
    assert {"COMPLETE", "FAIL"} == set(states)
    assert all((trial.params["x"] < 0) == (trial.state.name == "FAIL") for trial in optimizer.study.trials)


def test_a_pruner_ends_trials_early():
    @pipeline_step()
    def train(data, ctx, *, x=0.0):
        for epoch in range(3):
            ctx.report("loss", x, step=epoch)
        return data, {"loss": x}

    pruner = optuna.pruners.ThresholdPruner(upper=0.5)
    optimizer = OptunaOptimizer({"x": floating(0.0, 1.0)}, Objective("loss"), seed=1, pruner=pruner)
    experiment = _experiment(train())
    experiment.optimize(optimizer, 12)
    for trial in experiment.last_optimization.trials:
        assert (trial.state == "pruned") == (trial.treatment.apply_map["x"] > 0.5)
    assert {trial.state.name for trial in optimizer.study.trials} == {"PRUNED", "COMPLETE"}


def test_several_objectives_give_a_front():
    objectives = [Objective("loss"), Objective("cost")]
    optimizer = OptunaOptimizer(SPACE, objectives, seed=1)
    best = _experiment().optimize(optimizer, 25)
    front = {f"trial_{trial.number}" for trial in optimizer.study.best_trials}
    assert len(front) > 1
    assert best.name in front


def test_constraints_are_relative_to_the_baseline():
    constraint = RelativeConstraint("cost", at_most=2.0)  # the baseline's cost is 1: |x| is at most 1
    optimizer = OptunaOptimizer(SPACE, Objective("loss"), seed=1, constraints=[constraint])
    experiment = _experiment()
    best = experiment.optimize(optimizer, 30)
    assert experiment.last_optimization.baseline.mean("cost") == 1.0
    assert abs(best.apply_map["x"]) <= 1.0
    unconstrained = experiment.last_optimization.best().treatment.apply_map["x"]
    assert abs(unconstrained) > 1.0


def test_constraints_that_nothing_keeps_leave_no_best():
    optimizer = OptunaOptimizer(SPACE, Objective("loss"), constraints=RelativeConstraint("cost", at_most=0.5))
    with pytest.raises(OptimizationError, match="keeps the constraints"):
        _experiment().optimize(optimizer, 3)


@pytest.mark.parametrize("bounds", [{}, {"at_most": 1.0, "at_least": 1.0}, {"at_most": math.inf}])
def test_a_constraint_has_one_finite_bound(bounds):
    with pytest.raises(ValidationError):
        RelativeConstraint("cost", **bounds)


def test_a_seed_belongs_to_the_default_sampler():
    with pytest.raises(ArgumentTypeError, match="seed is for the default sampler"):
        OptunaOptimizer(SPACE, Objective("loss"), sampler=optuna.samplers.RandomSampler(), seed=1)


def test_without_optuna_the_error_says_what_to_install(tmp_path):
    script = """
        import sys
        sys.modules["optuna"] = None
        from crystallize.errors import MissingExtraError
        import crystallize_plugins.optimizers as optimizers
        try:
            optimizers.OptunaOptimizer
        except MissingExtraError as error:
            assert isinstance(error, ImportError)
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert "pip install 'crystallize-plugins[optuna]'" in done.stdout


def test_a_trial_without_a_number_has_failed_as_in_optunas_own_loop():
    def half(x):
        return x if x < 0.5 else math.nan

    @pipeline_step()
    def step(data, *, x=0.0):
        return data, {"loss": half(x)}

    optimizer = OptunaOptimizer({"x": floating(0.0, 1.0)}, Objective("loss"), seed=2)
    experiment = Experiment(nothing(), Pipeline([step()]), default_plugins=False)
    experiment.optimize(optimizer, 20)
    native = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=2))
    native.optimize(lambda trial: half(trial.suggest_float("x", 0.0, 1.0)), n_trials=20)
    states = [trial.state for trial in optimizer.study.trials]
    assert optuna.trial.TrialState.FAIL in states
    assert [(trial.params, trial.state) for trial in native.trials] == [
        (trial.params, state) for trial, state in zip(optimizer.study.trials, states, strict=True)
    ]


def exhaustive(kind, values, **settings):
    """Give an optimiser whose sampler has as many points as there are values."""
    if kind == "grid":
        sampler = optuna.samplers.GridSampler({"x": values}, seed=1)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.BruteForceSampler(seed=1)
    return OptunaOptimizer({"x": values}, Objective("loss"), sampler=sampler, **settings)


@pytest.mark.parametrize("num_trials", [3, 4, 50])
@pytest.mark.parametrize("kind", ["grid", "brute force"])
def test_an_exhaustive_sampler_ends_the_optimisation_in_peace(kind, num_trials, caplog):
    experiment = _experiment()
    with caplog.at_level(logging.INFO, "crystallize"):
        best = experiment.optimize(exhaustive(kind, [0.0, 1.0, 2.0]), num_trials)
    trials = experiment.last_optimization.trials
    assert sorted(trial.treatment.apply_map["x"] for trial in trials) == [0.0, 1.0, 2.0]
    assert {trial.state for trial in trials} == {"complete"}
    assert best.apply_map == experiment.last_optimization.best().treatment.apply_map
    said = [record.getMessage() for record in caplog.records if "nothing left to propose" in record.getMessage()]
    assert len(said) == (num_trials > 3)


@pytest.mark.parametrize("batch_size", [2, 3, 4, 10])
@pytest.mark.parametrize("kind", ["grid", "brute force"])
def test_the_last_batch_of_an_exhaustive_sampler_repeats_nothing(kind, batch_size, capfd):
    experiment = _experiment()
    experiment.optimize(exhaustive(kind, [0.0, 1.0, 2.0, 3.0], batch_size=batch_size), 20)
    tried = [trial.treatment.apply_map["x"] for trial in experiment.last_optimization.trials]
    assert sorted(tried) == [0.0, 1.0, 2.0, 3.0]
    assert "re-evaluating" not in capfd.readouterr().err


def test_whoever_stops_a_study_ends_the_optimisation():
    def space(trial):
        if trial.number == 2:
            trial.study.stop()
        return {"x": trial.suggest_float("x", -1.0, 1.0)}

    experiment = _experiment()
    experiment.optimize(OptunaOptimizer(space, Objective("loss"), seed=1), 10)
    assert len(experiment.last_optimization.trials) == 3


def test_an_exhausted_optimisation_is_resumed_and_ends_again(tmp_path):
    def again():
        experiment = _experiment(plugins=[ArtifactPlugin(str(tmp_path))])
        best = experiment.optimize(exhaustive("grid", [0.0, 1.0, 2.0]), 10, strategy="resume")
        return best.apply_map, experiment.last_optimization

    first, _ = again()
    second, optimization = again()
    assert first == second
    assert (len(optimization.trials), optimization.replayed) == (3, 3)


def odd_ones_only(trial):
    x = trial.suggest_int("x", 0, 5)
    if x % 2 == 0:
        raise optuna.TrialPruned(f"{x} is even")
    return {"x": x}


@pytest.mark.parametrize("executor", [None, "thread", "process"])
def test_a_space_that_raises_prunes_its_trial_and_the_next_one_goes_on(executor, caplog):
    plugins = [] if executor is None else [ParallelExecution(2, executor)]
    optimizer = OptunaOptimizer(odd_ones_only, Objective("loss"), seed=3)
    experiment = _experiment(plugins=plugins)
    with caplog.at_level(logging.INFO, "crystallize"):
        best = experiment.optimize(optimizer, 12)
    trials = experiment.last_optimization.trials
    assert len(trials) == 12
    assert {trial.state for trial in trials} == {"complete", "pruned"}
    assert [trial.state.name.lower() for trial in optimizer.study.trials] == [trial.state for trial in trials]
    assert best.apply_map["x"] % 2 == 1
    assert best.apply_map == experiment.last_optimization.best().treatment.apply_map
    assert "is even" in str(next(trial.errors for trial in trials if trial.state == "pruned"))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_space_may_prune_in_a_batch():
    experiment = _experiment()
    experiment.optimize(OptunaOptimizer(odd_ones_only, Objective("loss"), seed=3, batch_size=4), 3)
    assert {trial.state for trial in experiment.last_optimization.trials} == {"complete", "pruned"}


def test_no_data_is_fetched_for_a_trial_that_its_space_prunes():
    fetched = []

    @data_source
    def counted(ctx):
        fetched.append(ctx["condition"])

    def never(trial):
        if trial.number:
            raise optuna.TrialPruned
        return {"x": trial.suggest_float("x", 0.0, 1.0)}

    experiment = Experiment(counted(), Pipeline([value()]), name="tuning", default_plugins=False)
    experiment.optimize(OptunaOptimizer(never, Objective("loss"), seed=1), 4)
    assert fetched == ["trial_0"]


def test_where_all_trials_are_pruned_the_error_says_so():
    def never(trial):
        raise optuna.TrialPruned

    experiment = _experiment()
    with pytest.raises(OptimizationError, match=r"no trial is complete.*3 of 3 were pruned"):
        experiment.optimize(OptunaOptimizer(never, Objective("loss"), seed=1), 3)
    assert [trial.state for trial in experiment.last_optimization.trials] == ["pruned"] * 3


def test_a_pruned_space_is_resumed_as_it_was(tmp_path):
    def again():
        experiment = _experiment(plugins=[ArtifactPlugin(str(tmp_path))])
        optimizer = OptunaOptimizer(odd_ones_only, Objective("loss"), seed=3)
        experiment.optimize(optimizer, 6, strategy="resume")
        return experiment.last_optimization

    first, second = again(), again()
    assert [trial.state for trial in first.trials] == [trial.state for trial in second.trials]
    assert second.replayed == 6


def test_a_step_may_raise_what_optuna_prunes_with():
    @pipeline_step(retries=2)
    def picky(data, ctx, *, x=0.0):
        ctx.metrics.add("loss", x)
        if x < 0:
            raise optuna.TrialPruned
        return data

    optimizer = OptunaOptimizer({"x": floating(-1.0, 1.0)}, Objective("loss"), seed=1)
    experiment = _experiment(picky())
    experiment.optimize(optimizer, 12)
    for trial, told in zip(experiment.last_optimization.trials, optimizer.study.trials, strict=True):
        assert trial.state == ("pruned" if trial.treatment.apply_map["x"] < 0 else "complete")
        assert told.state.name.lower() == trial.state
