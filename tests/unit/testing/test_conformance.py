"""The kit accepts plugins that keep the contract, and names what others break."""

from __future__ import annotations

import random
import threading
from unittest import SkipTest

import pytest

from crystallize.hooks import BasePlugin, hookimpl
from crystallize.testing import PluginConformance, deviates

TESTS = sorted(name for name in vars(PluginConformance) if name.startswith("test_"))


class Watches(BasePlugin):
    """Uses every hook that only looks."""

    neutral = True
    on_error = "record"
    contract = ">=1,<2"

    def __init__(self, limit=3, *, label="w"):
        self.limit, self.label, self.seen = limit, label, []

    def init_hook(self, experiment):
        self.seen.append(experiment.name)

    def before_run(self, experiment):
        self.seen.append(experiment.replicates)

    def worker_start(self):
        self.started = True

    def worker_stop(self):
        self.started = False

    def before_replicate(self, ctx):
        self.cell = ctx["condition"]

    def before_step(self, step):
        self.step = step

    def after_step(self, data, ctx):
        self.size = len(data)

    def after_replicate(self, outcome):
        self.failed = outcome.error is not None

    def on_event(self, event):
        self.seen.append(event.name)

    def collect(self, outcome):
        self.seen.append(outcome.cell)

    def collect_provenance(self):
        return {"watched": len(self.seen)}

    def after_run(self, result):
        self.seen.append(len(result.errors))


class Shifts(BasePlugin):
    """Changes results, and says so by saying nothing."""

    def __init__(self, by=1):
        self.by = by

    def before_replicate(self, ctx):
        ctx.add("shift", self.by)


class Marked:
    """No base class, and other names than the hooks'."""

    neutral = True

    def __init__(self, limit=2):
        self.limit = limit

    @hookimpl(specname="collect")
    def note(self, outcome):
        self.last = outcome.cell


class Backwards(BasePlugin):
    neutral = True

    def run_experiment_loop(self, cells, run_cell):
        for cell in reversed(cells):
            yield run_cell(cell)


class Strict(BasePlugin):
    on_error = "stop_run"

    def collect(self, outcome):
        pass

    def after_step(self, data):
        pass


class FailsItsCell(BasePlugin):
    on_error = "fail_cell"

    def before_step(self, step):
        pass

    def worker_start(self):
        pass


class Noisy(BasePlugin):
    def before_replicate(self, ctx):
        if "factor" not in ctx:
            ctx.add("factor", random.random())


@pytest.mark.parametrize("name", TESTS)
@pytest.mark.parametrize("make", [Watches, Shifts, Marked, Backwards, Strict, FailsItsCell])
def test_a_plugin_that_keeps_the_contract_passes(make, name):
    try:
        getattr(PluginConformance(), name)(make())
    except SkipTest as skipped:
        pytest.skip(str(skipped))


def test_few_tests_are_skipped_for_a_plugin_that_uses_everything():
    skipped = []
    for name in TESTS:
        try:
            getattr(PluginConformance(), name)(Watches())
        except SkipTest:
            skipped.append(name)
    assert skipped == ["test_its_entry_point_leads_to_it"]


def broken(plugin, test, match):
    with pytest.raises(AssertionError, match=match):
        getattr(PluginConformance(), test)(plugin)


class Neutral(BasePlugin):
    neutral = True


def test_a_plugin_without_hooks_is_named():
    broken(Neutral(), "test_its_hooks_and_declarations_are_valid", "'Neutral'.* implements no hook")


def test_a_misspelt_hook_is_named():
    class Misspelt(BasePlugin):
        def before_runs(self):
            pass

    broken(Misspelt(), "test_its_hooks_and_declarations_are_valid", r"^\[hook-unknown\] .*before_runs")


def test_a_plugin_that_does_not_pickle_is_named_with_what_to_do():
    class Holds(BasePlugin):
        def __init__(self):
            self.lock = threading.Lock()

        def before_run(self):
            pass

    broken(Holds(), "test_it_pickles", "Holds does not pickle.*worker_start")


def test_a_neutral_plugin_that_writes_into_the_context_is_named():
    class Writes(Neutral):
        def before_replicate(self, ctx):
            ctx.add("extra", 1)

    broken(Writes(), "test_a_neutral_plugin_changes_nothing", "Writes|changed")


def test_a_neutral_plugin_that_changes_the_data_is_named():
    class Clears(Neutral):
        def after_step(self, data):
            data.append(100.0)

    broken(
        Clears(),
        "test_a_neutral_plugin_changes_nothing",
        r"^\[data\] Clears does not leave it alone: after_step changes the data that goes to the next step$",
    )


def test_a_neutral_plugin_that_draws_random_numbers_is_named():
    class Draws(Neutral):
        def before_step(self):
            random.random()

    class DrawsOnce(Neutral):
        def before_run(self):
            random.random()

    broken(Draws(), "test_a_neutral_plugin_changes_nothing", "random")
    broken(
        DrawsOnce(),
        "test_a_neutral_plugin_changes_nothing",
        r"^\[random\] .* before_run changes the global random states$",
    )


def test_a_neutral_plugin_that_changes_an_outcome_is_named():
    class Improves(Neutral):
        def collect(self, outcome):
            for values in outcome.metrics.values():
                values[0] = 0

    broken(Improves(), "test_a_neutral_plugin_changes_nothing", r"^\[outcome\] .* collect changes an outcome's numbers")


def test_an_executor_that_loses_cells_is_named():
    class Forgets(Neutral):
        def run_experiment_loop(self, cells, run_cell):
            return [run_cell(cell) for cell in cells[1:]]

    broken(Forgets(), "test_it_works_in_a_run_with_failing_cells", "'Forgets' gave no outcome for 1 of 9 cells")


def test_a_plugin_that_gives_other_numbers_each_time_is_named():
    broken(Noisy(), "test_a_plugin_that_is_not_neutral_says_the_same_twice", "two runs gave")


def test_a_plugin_that_cannot_stand_a_second_run_is_named():
    class Once(BasePlugin):
        def __init__(self):
            self.file = None

        def before_run(self):
            self.file = [] if self.file is None else 1 / 0

    broken(Once(), "test_it_works_in_a_second_run", r"^\[state\] the second run .*ZeroDivisionError")


def test_a_plugin_that_fails_where_cells_fail_is_named():
    class Optimist(BasePlugin):
        def collect(self, outcome):
            assert outcome.metrics["total"]

    broken(Optimist(), "test_it_works_in_a_run_with_failing_cells", "Optimist in collect")


def test_what_a_plugin_opens_is_closed_where_a_hook_is_made_to_raise(tmp_path):
    class Opens(BasePlugin):
        neutral = True
        opened = 0
        file = None

        def before_run(self, experiment):
            self.file = "open"
            self.opened += 1

        def collect(self, outcome):
            pass

        def after_run(self, result):
            self.file = None

    plugin = Opens()
    PluginConformance().test_an_error_in_any_of_its_hooks_is_dealt_with_as_it_declares(plugin)
    assert plugin.opened == 2
    assert plugin.file is None


def test_a_plugin_that_needs_companions_gets_them():
    class Friend(BasePlugin):
        neutral = True

        def before_run(self):
            pass

    class Needs(BasePlugin):
        neutral = True
        requires = (Friend,)

        def after_run(self):
            pass

    class TestNeeds(PluginConformance):
        def companions(self):
            return [Friend]

    TestNeeds().test_it_works_in_a_run_with_failing_cells(Needs())
    TestNeeds().test_a_neutral_plugin_changes_nothing(Needs())


# ------------------------------------------------------------------ overriding


def test_overriding_a_test_without_a_reason_is_refused():
    with pytest.raises(TypeError, match=r"TestMine\.test_it_pickles overrides .* without a reason.*@deviates"):

        class TestMine(PluginConformance):
            def test_it_pickles(self, plugin):
                pass


def test_switching_a_test_off_without_a_reason_is_refused():
    with pytest.raises(TypeError, match="without a reason"):
        type("TestMine", (PluginConformance,), {"test_it_pickles": None})


def test_overriding_with_a_reason_and_adding_tests_are_fine():
    class TestMine(PluginConformance):
        @deviates("it holds a lock, and never leaves its process")
        def test_it_pickles(self, plugin):
            pass

        def test_something_of_its_own(self, plugin):
            pass

    assert TestMine().test_it_pickles(None) is None


@pytest.mark.parametrize("reason", ["", "because", None, len])
def test_a_reason_is_a_sentence(reason):
    with pytest.raises(ValueError, match="state the reason"):
        deviates(reason)


# ------------------------------------------------------------------ as authors use it


def test_authors_inherit_the_class_and_give_one_fixture(pytester):
    pytester.makepyfile(
        acme="""
        from crystallize import BasePlugin

        class Counts(BasePlugin):
            neutral = True

            def __init__(self, path):
                self.path = path

            def collect(self, outcome):
                with open(self.path, "a") as file:
                    file.write(outcome.cell.key + "\\n")
        """,
        test_acme="""
        import pytest
        from acme import Counts
        from crystallize.testing import PluginConformance

        class TestCounts(PluginConformance):
            @pytest.fixture
            def plugin(self, tmp_path):
                return Counts(tmp_path / "cells")
        """,
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--disable-plugin-autoload", "-W", "error")
    outcomes = result.parseoutcomes()
    assert outcomes.get("failed", 0) == outcomes.get("errors", 0) == 0
    assert outcomes["passed"] >= 10
