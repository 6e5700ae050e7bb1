"""`optimize(strategy="resume")` with the store: the very sequence of an optimisation that was never stopped."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from pathlib import Path

import pytest

from crystallize import (
    ArtifactPlugin,
    AsyncExecution,
    Experiment,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    SerialExecution,
    Treatment,
    data_source,
    pipeline_step,
)
from crystallize.errors import ReplayError, StoreError
from crystallize.experiments.optimizers import Objective
from crystallize_plugins.artifacts import StoredRun, list_runs, open_optimization
from crystallize_plugins.artifacts.active import ActiveRun
from crystallize_plugins.optimizers import GridSearch, RandomSearch, RelativeConstraint, floating

SPACE = {"x": floating(-3.0, 3.0), "kind": ["a", "b"]}
SOAK = bool(os.environ.get("CRYSTALLIZE_SOAK"))
TRIALS = 13
"""Of Optuna's TPE the first ten are random."""


class Stopped(KeyboardInterrupt):
    """Ends an optimisation where it stands, as a kill would."""


class Aside:
    """Has a state that is no part of what a step is."""

    def __fingerprint__(self):
        return None


class Brake(Aside):
    """Stops at a given moment: the n-th call of whoever asks it."""

    def __init__(self):
        self.left = None
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Stopped


@pytest.fixture
def brake():
    return Brake()


@data_source
def noise(ctx):
    return float(ctx.rng.normal())


@pytest.fixture
def fitting(brake):
    """Make an experiment whose cells can be stopped; a condition with ``kind`` "b" and a large ``x`` fails."""

    def make(root, *, executor=None, waits=False, plugins=(), **more):
        def work(data, ctx, x, kind):
            brake()
            for epoch in range(3):
                ctx.report("loss", x * x - epoch, step=epoch)
            if kind == "b" and x > 2:
                raise ArithmeticError(f"x is {x}")
            return data, {"loss": x * x + 0.1 * data, "cost": 1 + abs(x), "score": -x}

        if waits:

            @pipeline_step()
            async def fit(data, ctx, *, x=0.0, kind="a"):
                await asyncio.sleep(0)
                return work(data, ctx, x, kind)
        else:

            @pipeline_step()
            def fit(data, ctx, *, x=0.0, kind="a"):
                return work(data, ctx, x, kind)

        executors = [] if executor is None else [executor]
        return Experiment(
            noise(),
            Pipeline([fit()]),
            name="tuning",
            plugins=[SeedPlugin(seed=5), ArtifactPlugin(root), *executors, *plugins],
            **more,
        )

    return make


def tpe(**settings):
    pytest.importorskip("optuna")
    from crystallize_plugins.optimizers import OptunaOptimizer

    return OptunaOptimizer(SPACE, settings.pop("objective", Objective("loss")), **{"seed": 7, **settings})


def pruned():
    optuna = pytest.importorskip("optuna")
    return tpe(pruner=optuna.pruners.MedianPruner(n_startup_trials=2))


OPTIMIZERS = {
    "grid": lambda: GridSearch({"x": [-1.0, 0.0, 1.0, 2.5], "kind": ["a", "b"], "z": [1, 2]}, Objective("loss")),
    "grid in batches": lambda: GridSearch(
        {"x": [-1.0, 0.0, 2.5], "kind": ["a", "b"], "z": [*range(7)]}, Objective("loss"), batch_size=3
    ),
    "random": lambda: RandomSearch(SPACE, Objective("loss"), seed=3),
    "random in batches": lambda: RandomSearch(SPACE, Objective("loss"), seed=3, batch_size=2),
    "tpe": tpe,
    "tpe in batches": functools.partial(tpe, batch_size=2),
    "tpe with a baseline": functools.partial(tpe, constraints=[RelativeConstraint("cost", at_most=2.0)]),
    "tpe with two objectives": functools.partial(
        tpe, objective=[Objective("loss"), Objective("score", "maximize")], batch_size=2
    ),
    "tpe that prunes": pruned,
}


def journal(path):
    """Give what was asked and told, but for the times."""
    return [
        (entry.name, entry.fields["batch"], entry.fields.get("trials"), entry.fields.get("values"))
        for entry in StoredRun(path).journal()
        if "batch" in entry.fields
    ]


def found_in(optimization):
    """Give everything that an optimisation found, but for the times."""
    rows = [{**row, "duration": None} for row in optimization.rows()]
    trials = [
        (
            trial.condition,
            trial.state,
            trial.treatment.name,
            {name: (list(values), values.replicates) for name, values in trial.metrics.items()},
            trial.seeds,
            trial.reports,
            {key: str(error) for key, error in trial.errors.items()},
        )
        for trial in optimization.trials
    ]
    baseline = optimization.baseline and optimization.baseline.mean("loss")
    return rows, trials, baseline, optimization.statement()


def check_same(root, other, *, version=0):
    """Two roots hold the same optimisation."""
    path, wanted = f"{root}/tuning/v{version}", f"{other}/tuning/v0"
    assert journal(path) == journal(wanted)
    assert found_in(open_optimization(path)) == found_in(open_optimization(wanted))
    ours, theirs = StoredRun(path).result(), StoredRun(wanted).result()
    assert ours.metrics.treatments == theirs.metrics.treatments
    assert ours.provenance["seeds"] == theirs.provenance["seeds"]
    assert StoredRun(path).status == StoredRun(wanted).status == "complete"


def failed_in_the_batch_that_was_cut(run):
    batches = {entry.fields["batch"]: entry.fields for entry in run.journal() if entry.name == "trials_asked"}
    for entry in run.journal():
        if entry.name == "trials_told":
            del batches[entry.fields["batch"]]
    untold = {trial.condition for fields in batches.values() for trial in fields["trials"]}
    failed = [outcome for outcome in run.outcomes() if outcome.error and outcome.cell.condition in untold]
    return sum(outcome.error.error_type != "PrunedError" for outcome in failed)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_stopped_in_any_cell_it_goes_on_as_if_it_never_was(fitting, brake, kind):
    make = OPTIMIZERS[kind]
    lived = make()
    best = fitting("whole").optimize(lived, TRIALS, 2)
    cells = brake.calls
    for number, cut in enumerate(range(cells) if SOAK else (1, cells // 2, cells - 1)):
        brake.calls, brake.left = 0, cut
        with pytest.raises(Stopped):
            fitting(f"cut {number}").optimize(make(), TRIALS, 2)
        (run,) = list_runs(f"cut {number}")
        assert run.status == "interrupted"
        again = failed_in_the_batch_that_was_cut(run)
        brake.left = None
        experiment = fitting(f"cut {number}")
        found = experiment.optimize(make(), TRIALS, 2, strategy="resume")
        assert (found.name, found.apply_map) == (best.name, best.apply_map)
        # The cell that was running ran again, and no other that succeeded.
        assert brake.calls == cells + 1 + again
        check_same(f"cut {number}", "whole")
        assert found_in(experiment.last_optimization) == found_in(open_optimization("whole/tuning/v0"))


@pytest.mark.parametrize(
    "executor",
    [SerialExecution(), ParallelExecution(2, "thread"), ParallelExecution(2, "process"), AsyncExecution(2)],
    ids=["serial", "thread", "process", "async"],
)
def test_every_executor_goes_on_where_another_stopped(fitting, brake, executor):
    make = OPTIMIZERS["tpe in batches"]
    waits = isinstance(executor, AsyncExecution)
    fitting("whole", waits=waits).optimize(make(), TRIALS, 2)
    fitting("cut", executor=executor, waits=waits).optimize(make(), 4, 2)
    brake.left = 5
    with pytest.raises(Stopped):
        fitting("cut", waits=waits).optimize(make(), TRIALS, 2, strategy="resume")
    brake.left = None
    experiment = fitting("cut", executor=executor, waits=waits)
    experiment.optimize(make(), TRIALS, 2, strategy="resume")
    assert experiment.last_optimization.replayed >= 8
    check_same("cut", "whole")


def test_the_same_in_a_running_loop(fitting, brake):
    make = OPTIMIZERS["tpe"]
    fitting("whole").optimize(make(), TRIALS)
    asyncio.run(fitting("cut").aoptimize(make(), 5))
    experiment = fitting("cut")
    asyncio.run(experiment.aoptimize(make(), TRIALS, strategy="resume"))
    assert experiment.last_optimization.replayed == 5
    check_same("cut", "whole")


def test_an_optimisation_may_be_stopped_and_resumed_again_and_again(fitting, brake):
    make = OPTIMIZERS["tpe that prunes"]
    fitting("whole").optimize(make(), TRIALS, 2)
    for cut in range(6):
        brake.left = cut
        with pytest.raises(Stopped):
            fitting("cut").optimize(make(), TRIALS, 2, strategy="resume")
    brake.left = None
    fitting("cut").optimize(make(), TRIALS, 2, strategy="resume")
    assert len(list_runs("cut")) == 1
    check_same("cut", "whole")


def test_more_trials_go_on_from_those_that_are_there(fitting, brake):
    fitting("data").optimize(tpe(), 5)
    experiment = fitting("data")
    experiment.optimize(tpe(), TRIALS, strategy="resume")
    assert brake.calls == TRIALS
    assert experiment.last_optimization.replayed == 5
    assert [run.version for run in list_runs("data")] == [0]
    fitting("whole").optimize(tpe(), TRIALS)
    check_same("data", "whole")
    begun = [
        entry.fields["num_trials"] for entry in StoredRun("data/tuning/v0").journal() if "num_trials" in entry.fields
    ]
    assert begun == [5, TRIALS]


def test_a_finished_optimisation_is_looked_up_and_left_alone(fitting, brake, tmp_path):
    best = fitting("data").optimize(tpe(), TRIALS)
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    for count in (TRIALS, 3):
        experiment = fitting("data")
        again = experiment.optimize(tpe(), count, strategy="resume")
        assert experiment.last_optimization.replayed == count == len(experiment.last_optimization.trials)
    assert again.name == experiment.last_optimization.best().treatment.name
    assert brake.calls == TRIALS
    assert {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()} == before
    assert open_optimization("data/tuning/v0").best().treatment.apply_map == best.apply_map


def test_one_that_was_cut_short_after_its_last_trial_is_brought_to_its_end(fitting, brake, monkeypatch):
    def without_an_end(active, experiment, result):
        active.writer.add_documents({}).wait()
        active.writer.leave()
        active.writer._run_lock.release()  # as the system does when a process ends
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(ActiveRun, "finish", without_an_end)
        with pytest.raises(StoreError, match="disk is full"):
            fitting("data").optimize(RandomSearch(SPACE, Objective("loss")), 4, 2)
    assert len(open_optimization("data/tuning/v0").trials) == 4
    assert StoredRun("data/tuning/v0").status == "interrupted"
    fitting("data").optimize(RandomSearch(SPACE, Objective("loss")), 2, 2, strategy="resume")
    assert StoredRun("data/tuning/v0").status == "interrupted"  # half of it was looked up
    fitting("data").optimize(RandomSearch(SPACE, Objective("loss")), 4, 2, strategy="resume")
    assert brake.calls == 8
    fitting("whole").optimize(RandomSearch(SPACE, Objective("loss")), 4, 2)
    check_same("data", "whole")
    assert Path("data/tuning/v0/random_3/results.json").exists()


def test_a_resumed_optimisation_is_evaluated_again_like_any(fitting):
    fitting("data").optimize(tpe(), 4, 2)
    experiment = fitting("data")
    experiment.optimize(tpe(), 6, 2, strategy="resume")
    fitting("whole").optimize(tpe(), 6, 2)
    whole = open_optimization("whole/tuning/v0", experiment=fitting("whole"))
    for again in (experiment.last_optimization, open_optimization("data/tuning/v0", experiment=fitting("data"))):
        assert (
            again.reevaluate(top=2, replicates=2).metrics.treatments
            == whole.reevaluate(top=2, replicates=2).metrics.treatments
        )


def test_what_was_kept_is_said_and_recorded(fitting, brake, log):
    brake.left = 7
    with pytest.raises(Stopped):
        fitting("data").optimize(OPTIMIZERS["random in batches"](), 3, 2)
    brake.left = None
    experiment = fitting("data")
    experiment.optimize(OPTIMIZERS["random in batches"](), 3, 2, strategy="resume")
    facts = experiment.last_optimization.result.provenance["resume"]
    assert facts["in_place"] is True
    assert (facts["kept"], facts["new"], facts["why"]) == (7, 4, "")
    assert facts["ran"] == {"missing": {"random_3": [1]}}
    assert open_optimization("data/tuning/v0").result.provenance["resume"]["kept"] == 7
    said = log.text(logging.INFO)
    assert "goes on after 2 trials" in said
    assert "7 were kept, 1 were still to run or ran again, and 4 are of new trials" in said


@pytest.mark.parametrize("cut", [None, 9])
def test_where_a_single_run_is_kept_it_goes_on_as_well(fitting, brake, cut):
    def experiment():
        made = fitting("data")
        made.plugins[1] = ArtifactPlugin("data", versioned=False)
        return made

    make = OPTIMIZERS["tpe"]
    if cut is None:
        experiment().optimize(make(), 6, 2)
    else:
        brake.left = cut
        with pytest.raises(Stopped):
            experiment().optimize(make(), TRIALS, 2)
        brake.left = None
    resumed = experiment()
    resumed.optimize(make(), TRIALS, 2, strategy="resume")
    assert resumed.last_optimization.replayed >= 4
    fitting("whole").optimize(make(), TRIALS, 2)
    check_same("data", "whole")
    assert [run.version for run in list_runs("data")] == [0]


def test_ordinary_runs_in_between_are_passed_over(fitting):
    fitting("data").optimize(tpe(), 3)
    fitting("data").run(treatments=[Treatment("one", {"x": 1.0})])
    experiment = fitting("data")
    experiment.optimize(tpe(), 5, strategy="resume")
    assert experiment.last_optimization.replayed == 3
    assert len(open_optimization("data/tuning/v0").trials) == 5


# ---------------------------------------------------------------- what does not go on


def test_other_settings_that_ask_for_something_else_are_refused(fitting, tmp_path):
    fitting("data").optimize(RandomSearch(SPACE, Objective("loss"), seed=3), 4)
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    with pytest.raises(
        ReplayError, match=r"trial 0 was 'random_0' with .*seed was 3 and is 4.*strategy=\"rerun\""
    ) as caught:
        fitting("data").optimize(RandomSearch(SPACE, Objective("loss"), seed=4), 6, strategy="resume")
    error = caught.value
    assert (error.trial, set(error.recorded), set(error.proposed)) == (0, {"x", "kind"}, {"x", "kind"})
    assert error.trials == ()
    with pytest.raises(ReplayError, match="its class was"):
        fitting("data").optimize(tpe(), 6, strategy="resume")
    with pytest.raises(ReplayError, match="it proposed 1, and RandomSearch proposes 2 now"):
        fitting("data").optimize(RandomSearch(SPACE, Objective("loss"), seed=3, batch_size=2), 6, strategy="resume")
    # Nothing of it was touched, and it can still be continued.
    assert {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()} == before
    experiment = fitting("data")
    experiment.optimize(RandomSearch(SPACE, Objective("loss"), seed=3), 6, strategy="resume")
    assert experiment.last_optimization.replayed == 4


def test_other_settings_that_ask_for_the_same_go_on(fitting, brake):
    fitting("data").optimize(GridSearch({"x": [0.0, 1.0], "kind": ["a", "b"]}, Objective("loss")), 4)
    longer = GridSearch({"x": [0.0, 1.0, 2.0], "kind": ["a", "b"]}, Objective("loss"))
    fitting("data").optimize(longer, 6, strategy="resume")
    assert brake.calls == 6
    assert StoredRun("data/tuning/v0").journal()[-5].fields["settings"]["space"]["x"] == [0.0, 1.0, 2.0]


def test_an_optimiser_that_was_used_already_is_told_so(fitting):
    optimizer = tpe()
    fitting("data").optimize(optimizer, 3)
    with pytest.raises(ReplayError, match=r"trial 0 was 'trial_0' .* proposes 'trial_3' .* new optimiser"):
        fitting("data").optimize(optimizer, 6, strategy="resume")


def test_an_optimiser_that_draws_its_seed_adopts_the_recorded_one(fitting):
    first = tpe(seed=None)
    fitting("data").optimize(first, 4)
    again = tpe(seed=None)
    assert again.drawn_seed != first.drawn_seed
    experiment = fitting("data")
    experiment.optimize(again, TRIALS, strategy="resume")
    assert again.drawn_seed == first.drawn_seed
    assert experiment.last_optimization.replayed == 4
    fitting("whole").optimize(tpe(seed=first.drawn_seed), TRIALS)
    check_same("data", "whole")


def test_an_experiment_without_a_seed_adopts_the_recorded_one(fitting, brake):
    def experiment(root, seed=None):
        made = fitting(root)
        made.plugins[0] = SeedPlugin(seed)
        return made

    experiment("data").optimize(tpe(), 4, 2)
    seed = StoredRun("data/tuning/v0").seed
    experiment("data").optimize(tpe(), TRIALS, 2, strategy="resume")
    assert brake.calls == TRIALS * 2
    experiment("whole", seed).optimize(tpe(), TRIALS, 2)
    check_same("data", "whole")


def test_a_sampler_without_a_seed_is_refused(fitting):
    optuna = pytest.importorskip("optuna")

    def make():
        return tpe(seed=None, sampler=optuna.samplers.RandomSampler())

    fitting("data").optimize(make(), 3)
    with pytest.raises(ReplayError, match="give it the seed that it had"):
        fitting("data").optimize(make(), 5, strategy="resume")


def test_another_objective_starts_the_next_version_with_the_cells_that_are_there(fitting, brake, log):
    fitting("data").optimize(RandomSearch(SPACE, Objective("loss"), seed=3), 4)
    experiment = fitting("data")
    experiment.optimize(RandomSearch(SPACE, Objective("cost", "maximize"), seed=3), 6, strategy="resume")
    assert [len(open_optimization(f"data/tuning/v{version}").trials) for version in (0, 1)] == [4, 6]
    assert brake.calls == 6
    assert "the objective was" in log.text(logging.INFO)
    fitting("whole").optimize(RandomSearch(SPACE, Objective("cost", "maximize"), seed=3), 6)
    check_same("data", "whole", version=1)


def test_more_replicates_start_the_next_version_and_run_only_the_new_ones(fitting, brake):
    make = OPTIMIZERS["random in batches"]
    fitting("data").optimize(make(), 3, 2)
    fitting("data").optimize(make(), 5, 3, strategy="resume")
    assert brake.calls == 5 * 2 * 3
    fitting("whole").optimize(make(), 5, 3)
    check_same("data", "whole", version=1)
    assert len(open_optimization("data/tuning/v0").trials) == 6


def test_changed_code_starts_the_next_version_and_runs_everything(diary, make_experiment):
    ran = []

    def experiment(offset):
        @pipeline_step()
        def loss(data, ctx, *, x=0.0):
            ran.append(ctx["condition"])
            return data, {"loss": x + offset}

        return make_experiment(loss(), plugins=[ArtifactPlugin()])

    experiment(1.0).optimize(diary([1.0, 2.0]), 2)
    experiment(2.0).optimize(diary([1.0, 2.0, 3.0]), 3, strategy="resume")
    assert ran == ["x_1.0", "x_2.0", "x_1.0", "x_2.0", "x_3.0"]
    assert [trial.mean("loss") for trial in open_optimization("data/tuning/v0").trials] == [2.0, 3.0]
    assert [trial.mean("loss") for trial in open_optimization("data/tuning/v1").trials] == [3.0, 4.0, 5.0]
