"""A store that only keeps a journal and gives it back has optimisations that are resumed."""

from __future__ import annotations

import pytest

from crystallize import Treatment
from crystallize.errors import ReplayError
from crystallize.hooks import StorePlugin


class Shelf(StorePlugin):
    """A store of somebody else's, in memory."""

    keeps_journal = True

    def __init__(self):
        self.entries = []
        self.outcomes = {}
        self.wanted = []

    def journal(self, experiment):
        return list(self.entries)

    def append_journal(self, experiment, entry):
        self.entries.append(entry)

    def before_run(self, experiment):
        self.wanted.append(experiment.run.optimization)

    def completed_cells(self, cells):
        return [self.outcomes[cell] for cell in cells if cell in self.outcomes]

    def collect(self, outcome):
        self.outcomes[outcome.cell] = outcome


class Forgetful(Shelf):
    """One that begins a new run whatever there is."""

    def journal(self, experiment):
        return [] if len(self.wanted) > self.entries_of_runs() else list(self.entries)

    def entries_of_runs(self):
        return sum(entry.name == "optimization_started" for entry in self.entries)


def names_of(shelf):
    return [entry.name for entry in shelf.entries]


def test_an_optimisation_goes_on_and_runs_only_what_is_new(make_experiment, diary):
    shelf = Shelf()
    make_experiment(plugins=[shelf]).optimize(diary([0.0, 1.0]), 2, 2)
    experiment = make_experiment(plugins=[shelf])
    optimizer = diary([0.0, 1.0, 2.0])
    experiment.optimize(optimizer, 3, 2, strategy="resume")
    assert [told["loss"] for told in optimizer.told] == [4.5, 1.5, 0.5]
    assert experiment.last_optimization.replayed == 2
    told = ["trials_asked", "trials_told"]
    # Another number of trials is said, too, before the first thing that is new.
    assert names_of(shelf) == ["optimization_started", *told * 2, "optimization_started", *told]
    assert (shelf.wanted[-1].num_trials, shelf.wanted[-1].told, shelf.wanted[-1].differs) == (3, 2, "")
    assert shelf.wanted[-1].settled == {"baseline", "x_0.0", "x_1.0"}


def test_what_is_proposed_instead_is_refused(make_experiment, diary):
    shelf = Shelf()
    make_experiment(plugins=[shelf]).optimize(diary([0.0, 1.0]), 2)
    before = list(shelf.entries)
    with pytest.raises(ReplayError, match="trial 1 was 'x_1.0' with .* and Diary proposes 'x_3.0'") as caught:
        make_experiment(plugins=[shelf]).optimize(diary([0.0, 3.0]), 2, strategy="resume")
    assert (caught.value.trial, caught.value.recorded, caught.value.proposed) == (1, {"x": 1.0}, {"x": 3.0})
    assert shelf.entries == before


def test_other_numbers_of_replicates_are_no_resumption(make_experiment, diary):
    shelf = Shelf()
    make_experiment(plugins=[shelf]).optimize(diary([0.0]), 1, 2)
    make_experiment(plugins=[shelf]).optimize(diary([5.0]), 1, 3, strategy="resume")
    assert shelf.wanted[-1].differs == "replicates_per_trial was 2 and is 3"
    assert names_of(shelf)[3:] == ["optimization_started", "trials_asked", "trials_told"]


def test_a_store_that_begins_anew_is_asked_from_the_beginning(make_experiment, diary):
    shelf = Forgetful()
    make_experiment(plugins=[shelf]).optimize(diary([0.0]), 1)
    make_experiment(plugins=[shelf]).optimize(diary([5.0]), 1, strategy="resume")
    assert names_of(shelf) == ["optimization_started", "trials_asked", "trials_told"] * 2


def test_functions_are_compared_by_what_they_do(make_experiment, diary):
    def half(ctx):
        ctx.add("x", 0.5)

    def other(ctx):
        ctx.add("x", 0.75)

    shelf = Shelf()
    make_experiment(plugins=[shelf]).optimize(diary([Treatment("f", half)]), 1)
    make_experiment(plugins=[shelf]).optimize(diary([Treatment("f", half)]), 1, strategy="resume")
    with pytest.raises(ReplayError, match="'f', a function"):
        make_experiment(plugins=[shelf]).optimize(diary([Treatment("f", other)]), 1, strategy="resume")


def test_a_plugin_changes_nothing_of_what_was_asked_for(make_experiment):
    class Meddler(StorePlugin):
        def before_run(self, experiment):
            experiment.run.version = 7
            experiment.run.strategy = "resume"

    with pytest.raises(AttributeError, match=r"run\.strategy is what was asked for"):
        make_experiment(plugins=[Meddler()]).run()
