"""`Experiment.plan`: what a run would do, without running or writing anything."""

from __future__ import annotations

import pytest

from crystallize import BasePlugin, Treatment, pipeline_step
from crystallize.errors import PluginDefinitionError, RunLockedError, ValidationError
from crystallize.hooks import Cell, SeederPlugin


def test_a_plan_says_what_would_run_and_why(build, ran, files):
    build().run(replicates=2)
    ran()
    before = files()
    plan = build().plan(replicates=3, treatments=[Treatment("more", {"delta": 2.0})])
    assert [(planned.cell.key, planned.action, planned.reason) for planned in plan.cells] == [
        ("baseline_rep_0", "keep", "complete"),
        ("more_rep_0", "run", "changed: treatment"),
        ("baseline_rep_1", "keep", "complete"),
        ("more_rep_1", "run", "changed: treatment"),
        ("baseline_rep_2", "run", "missing"),
        ("more_rep_2", "run", "missing"),
    ]
    assert files() == before
    assert not ran()


def test_a_plan_is_summed_up_in_a_few_lines(build):
    build().run(replicates=2)
    plan = build().plan(replicates=8)
    assert plan.summary() == str(plan)
    assert plan.summary().splitlines() == [
        "16 cells: 4 to keep, 12 to run",
        "  12 missing: baseline_rep_2, more_rep_2, baseline_rep_3, more_rep_3, baseline_rep_4, … (7 more)",
    ]
    assert len(plan.to_run) == 12
    assert len(plan.to_keep) == 4


def test_a_plan_of_one_cell_says_cell(build):
    assert build(treatments=[]).plan(replicates=1).summary().startswith("1 cell: 0 to keep, 1 to run")


def test_the_plan_is_what_the_run_then_does(build, ran):
    build().run(replicates=2)
    ran()
    treatments = [Treatment("more", {"delta": 2.0}), Treatment("new", {"delta": 1.0})]
    plan = build().plan(replicates=3, treatments=treatments)
    build().run(replicates=3, treatments=treatments, strategy="resume")
    assert ran() == sorted(planned.cell.key for planned in plan.to_run)


def test_without_a_stored_run_everything_is_missing(build, files, log):
    plan = build(seed=None).plan(replicates=2)
    assert {planned.reason for planned in plan.cells} == {"missing"}
    assert not files()
    assert not log.text()  # no seed is drawn for it


def test_the_recorded_seed_is_adopted_for_it(build):
    build(seed=None).run(replicates=2)
    assert not build(seed=None).plan(replicates=2).to_run
    assert len(build(seed=5).plan(replicates=2).to_run) == 4


def test_a_rerun_keeps_nothing(build):
    build().run(replicates=1)
    plan = build().plan(replicates=1, strategy="rerun")
    assert [(planned.action, planned.reason) for planned in plan.cells] == [("run", "rerun")] * 2


def test_an_unknown_strategy_is_refused(build):
    with pytest.raises(ValidationError, match="strategy"):
        build().plan(strategy="again")


def test_a_run_that_is_under_way_is_named(build):
    stream = build().stream(replicates=3)
    next(stream)
    with pytest.raises(RunLockedError, match="this very process has been working on it since"):
        build().plan(replicates=3)
    stream.close()
    assert build().plan(replicates=3).to_run


def test_any_plugin_can_answer(build):
    class Knows(BasePlugin):
        neutral = True
        before = ("artifacts",)

        def plan_cells(self, cells):
            return {cell: "complete" for cell in cells if cell.replicate == 0}

    plan = build(plugins=[Knows()]).plan(replicates=2)
    assert [planned.cell for planned in plan.to_keep] == [Cell("baseline", 0), Cell("more", 0)]
    assert {planned.reason for planned in plan.to_run} == {"missing"}


def test_no_other_hook_is_called(build):
    class Noisy(BasePlugin):
        neutral = True

        def before_run(self, experiment):
            raise AssertionError("nothing is to be run")

    assert build(plugins=[Noisy()]).plan(replicates=1).to_run


class Dice(SeederPlugin):
    """A seeder that is not ours."""

    def __init__(self, seed=None):
        self.seed = seed

    def base_seed(self, experiment):
        return super().base_seed(experiment) if self.seed is None else self.seed

    def before_replicate(self, experiment, ctx):
        ctx.add("seed_used", experiment.run.seed + ctx["replicate"])

    def __fingerprint__(self):
        return ()


@pipeline_step()
def note_seed(data, ctx):
    return data, {"seed": ctx["seed_used"]}


@pytest.mark.parametrize("seed, kept", [(1, 4), (2, 0), (None, 4)])
def test_another_seeder_is_planned_as_the_run_then_does(build, ran, seed, kept):
    build(note_seed(), seeder=Dice(1)).run(replicates=2)
    ran()
    again = build(note_seed(), seeder=Dice(seed))
    assert len(again.plan(replicates=2).to_keep) == kept
    result = again.run(replicates=2, strategy="resume")
    assert len(ran()) == 4 - kept
    assert result.metrics.baseline.metrics["seed"] == [seed or 1, (seed or 1) + 1]


def test_what_another_seeder_draws_is_kept_for_the_next_run(build, ran):
    first = build(note_seed(), seeder=Dice()).run(replicates=1)
    ran()
    again = build(note_seed(), seeder=Dice()).run(replicates=1, strategy="resume")
    assert again.provenance["run"]["seed"] == first.provenance["run"]["seed"]
    assert not ran()


def test_a_seed_that_no_plan_can_know_of_is_refused(build):
    class Sneaky(BasePlugin):
        def before_run(self, experiment):
            experiment.run.seed = 5

    with pytest.raises(PluginDefinitionError, match=r"Sneaky.*SeederPlugin"):
        build(plugins=[Sneaky()]).run()
