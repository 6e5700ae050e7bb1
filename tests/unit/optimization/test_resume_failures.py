"""`optimize(strategy="resume")` where trials failed, and where treatments are functions or have odd values."""

from __future__ import annotations

import pytest

from crystallize import (
    ArtifactPlugin,
    Experiment,
    Pipeline,
    Treatment,
    pipeline_step,
)
from crystallize.errors import OptimizationError, ReplayError, TrialFailedError
from crystallize.experiments.optimizers import Objective
from crystallize_plugins.artifacts import list_runs, open_optimization
from crystallize_plugins.optimizers import RandomSearch, floating


class Stopped(KeyboardInterrupt):
    """Ends an optimisation where it stands, as a kill would."""


class Service:
    def __fingerprint__(self):
        return None  # its state is no part of what a step is

    def __init__(self):
        self.broken = set()
        self.ran = []
        self.stops = None

    def asked(self, x):
        self.ran.append(x)
        if self.stops == x:
            raise Stopped
        if x in self.broken:
            raise ConnectionError("the service is down")


@pytest.fixture
def fragile(make_experiment):
    """Make an experiment whose cells fail where ``broken`` says so."""
    state = Service()

    @pipeline_step()
    def loss(data, ctx, *, x=0.0):
        state.asked(x)
        return data, {"loss": x}

    def make():
        return make_experiment(loss(), plugins=[ArtifactPlugin()])

    make.broken, make.ran, make.state = state.broken, state.ran, state
    return make


def test_a_trial_that_was_told_as_failed_stays_so(fragile, whole_trials):
    fragile.broken.add(2.0)
    fragile().optimize(whole_trials([1.0, 2.0]), 2)
    fragile.broken.clear()
    again = whole_trials([1.0, 2.0, 3.0])
    fragile().optimize(again, 3, strategy="resume")
    assert [batch[0].state for batch in again.told] == ["complete", "failed", "complete"]
    assert fragile.ran == [1.0, 2.0, 3.0]


def test_a_failed_trial_that_could_not_be_told_is_run_again(fragile, diary):
    fragile.broken.add(2.0)
    with pytest.raises(TrialFailedError):
        fragile().optimize(diary([1.0, 2.0, 3.0]), 3)
    with pytest.raises(TrialFailedError):
        fragile().optimize(diary([1.0, 2.0, 3.0]), 3, strategy="resume")
    assert fragile.ran == [1.0, 2.0, 2.0]
    fragile.broken.clear()
    again = diary([1.0, 2.0, 3.0])
    fragile().optimize(again, 3, strategy="resume")
    assert again.told == [{"loss": 1.0}, {"loss": 2.0}, {"loss": 3.0}]
    assert fragile.ran == [1.0, 2.0, 2.0, 2.0, 3.0]
    assert [trial.state for trial in open_optimization("data/tuning/v0").trials] == ["complete"] * 3


def test_a_failed_cell_of_a_batch_that_was_cut_is_run_again(fragile, whole_trials):
    fragile.broken.add(2.0)
    experiment, service = fragile(), fragile.state

    @pipeline_step()
    def stop(data, ctx, *, x=0.0):
        if x == 3.0 and service.broken:
            raise Stopped
        return data

    experiment.pipeline = Pipeline([*experiment.pipeline.steps, stop()])
    with pytest.raises(Stopped):
        experiment.optimize(whole_trials([[1.0, 2.0, 3.0]]), 1)
    fragile.broken.clear()
    again = whole_trials([[1.0, 2.0, 3.0]])
    experiment.optimize(again, 1, strategy="resume")
    assert [trial.state for trial in again.told[0]] == ["complete"] * 3
    assert fragile.ran == [1.0, 2.0, 3.0, 2.0, 3.0]


def test_an_optimiser_whose_tell_raised_is_told_again(fragile, diary):
    class Failing(diary):
        fails = True

        def tell(self, objective_values):
            if self.fails and len(self.told) == 1:
                raise OSError("the optimiser's server is down")
            super().tell(objective_values)

    with pytest.raises(OSError, match="server"):
        fragile().optimize(Failing([1.0, 2.0, 3.0]), 3)
    Failing.fails = False
    again = Failing([1.0, 2.0, 3.0])
    fragile().optimize(again, 3, strategy="resume")
    assert again.told == [{"loss": 1.0}, {"loss": 2.0}, {"loss": 3.0}]
    assert fragile.ran == [1.0, 2.0, 3.0]


def test_functions_and_values_without_an_exact_encoding_are_known_again(fragile, diary):
    class Point:
        def __init__(self, x):
            self.x = x

    def batches(x, y):
        return [
            Treatment("function", lambda ctx: ctx.add("x", x)),
            Treatment("object", {"x": 1.5, "point": Point(y)}),
            Treatment("sets", {"x": 2.5, "names": {"a", "b", "c", "d"}}),
        ]

    fragile().optimize(diary(batches(0.5, 1.0)), 3)
    experiment = fragile()
    experiment.optimize(diary([*batches(0.5, 1.0), 3.0]), 4, strategy="resume")
    assert experiment.last_optimization.replayed == 3
    assert fragile.ran == [0.5, 1.5, 2.5, 3.0]
    with pytest.raises(ReplayError, match="trial 0 was 'function', a function"):
        fragile().optimize(diary(batches(0.7, 1.0)), 3, strategy="resume")
    with pytest.raises(ReplayError, match="trial 1 was 'object'") as caught:
        fragile().optimize(diary(batches(0.5, 2.0)), 3, strategy="resume")
    assert [trial.treatment.name for trial in caught.value.trials] == ["function"]


def test_names_that_come_again_get_the_numbers_that_they_had(fragile, diary):
    fragile().optimize(diary([1.0, 1.0, 1.0]), 3)
    experiment = fragile()
    experiment.optimize(diary([1.0] * 5), 5, strategy="resume")
    conditions = [trial.condition for trial in experiment.last_optimization.trials]
    assert conditions == ["x_1.0", "x_1.0_2", "x_1.0_3", "x_1.0_4", "x_1.0_5"]
    assert experiment.last_optimization.replayed == 3


def test_what_is_told_in_ones_own_words_must_be_what_was_told(fragile, diary):
    class Doubled(Experiment):
        factor = 2.0

        def _extract_objective_from_result(self, result, objective):
            told = super()._extract_objective_from_result(result, objective)
            return {name: self.factor * value for name, value in told.items()}

    def doubled(factor):
        plain = fragile()
        experiment = Doubled(plain.datasource, plain.pipeline, [ArtifactPlugin()], name="tuning", default_plugins=False)
        experiment.factor = factor
        return experiment

    doubled(2.0).optimize(diary([1.0]), 1)
    again = diary([1.0, 2.0])
    doubled(2.0).optimize(again, 2, strategy="resume")
    assert again.told == [{"loss": 2.0}, {"loss": 4.0}]
    with pytest.raises(
        ReplayError, match=r"trial 0 tell was given \{'loss': 2.0\}, and tell would be given \{'loss': 3.0\}"
    ):
        doubled(3.0).optimize(diary([1.0, 2.0]), 2, strategy="resume")


def test_an_optimisation_without_any_success_is_resumed_too(fragile, whole_trials):
    class Nothing(whole_trials):
        def get_best_treatment(self):
            raise OptimizationError("none is best")

    fragile.broken.update({1.0, 2.0})
    for _ in range(2):
        with pytest.raises(OptimizationError, match="none is best"):
            fragile().optimize(Nothing([1.0, 2.0]), 2, strategy="resume")
    assert fragile.ran == [1.0, 2.0]


def test_files_of_trials_are_taken_over_into_the_next_version(make_experiment):
    state = Service()

    @pipeline_step()
    def save(data, ctx, *, x=0.0):
        state.asked(x)
        ctx.artifacts.add("model.txt", f"x is {x}".encode())
        return data, {"loss": x * x, "cost": -x}

    def optimize(metric, trials):
        experiment = make_experiment(save(), plugins=[ArtifactPlugin()])
        search = RandomSearch({"x": floating(-1.0, 1.0)}, Objective(metric), seed=1)
        experiment.optimize(search, trials, strategy="resume")
        return experiment.last_optimization

    first = optimize("loss", 3)
    second = optimize("cost", 4)
    assert len(state.ran) == 4
    for version, found in enumerate((first, second)):
        assert [run.version for run in list_runs()][version] == version
        files = {name: path.read_text() for name, path in found.result.get_artifact("model.txt").items()}
        assert files == {trial.condition: f"x is {trial.treatment.apply_map['x']}" for trial in found.trials}
        paths = open_optimization(f"data/tuning/v{version}").result.get_artifact("model.txt")
        assert all(f"v{version}" in path.parts for path in paths.values())
        assert {name: path.read_text() for name, path in paths.items()} == files


def test_what_is_heard_comes_in_its_order_where_failed_cells_run_again(make_experiment, whole_trials):
    class Hearing(whole_trials):
        def should_prune(self, condition, report):
            self.lines.append((condition, report.replicate, report.step))
            return False

    service = Service()

    @pipeline_step()
    def fit(data, ctx, *, x=0.0):
        ctx.report("loss", x, step=0)
        service.asked((x, ctx["replicate"]))
        ctx.report("loss", x, step=1)
        return data, {"loss": x}

    def experiment(root):
        return make_experiment(fit(), plugins=[ArtifactPlugin(root)])

    batches = [[0.0], [1.0, 2.0, 3.0]]
    whole, cut, again = (Hearing(batches) for _ in range(3))
    service.broken = {(2.0, 0)}
    experiment("whole").optimize(whole, 2, 2)
    service.stops = (2.0, 1)
    with pytest.raises(Stopped):
        experiment("cut").optimize(cut, 2, 2)
    service.stops = None
    service.ran.clear()
    experiment("cut").optimize(again, 2, 2, strategy="resume")
    assert service.ran == [(2.0, 0), (3.0, 0), (1.0, 1), (2.0, 1), (3.0, 1)]
    assert again.lines == whole.lines
    cut, whole = (open_optimization(f"{root}/tuning/v0").trials for root in ("cut", "whole"))
    assert [(each.condition, each.state, each.reports) for each in cut] == [
        (each.condition, each.state, each.reports) for each in whole
    ]
