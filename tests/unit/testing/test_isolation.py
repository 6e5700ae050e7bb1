"""A test decides which plugins are installed, and runs a small experiment with them."""

from __future__ import annotations

import os
import threading

import pytest

from crystallize import BasePlugin, Experiment
from crystallize.errors import MissingDistributionError, PluginNotFoundError
from crystallize.hooks import build_plugin, find_plugins
from crystallize.testing import isolated, run_sample

pytest_plugins = ["crystallize.testing.fixtures"]


class Counts(BasePlugin):
    neutral = True

    def __init__(self, limit=3):
        self.limit, self.cells = limit, []

    def collect(self, outcome):
        self.cells.append(outcome.cell)


def names(group="crystallize.plugins"):
    return [record.name for record in find_plugins(group)]


def test_within_the_block_exactly_the_given_plugins_are_installed():
    before = names()
    with isolated({"counts": Counts}, keep=["seed"]):
        assert names() == ["counts", "seed"]
        assert names("crystallize.verifiers") == []
        assert build_plugin(("counts", {"limit": 5})).limit == 5
        with pytest.raises(PluginNotFoundError):
            build_plugin("acme")
        assert names() == ["counts", "seed"]
    assert names() == before


def test_what_a_block_installs_is_gone_where_it_raises():
    before = names()
    with pytest.raises(ZeroDivisionError), isolated({"counts": Counts}):
        _ = 1 / 0
    assert names() == before


def test_a_plugin_of_the_block_is_known_by_its_name_and_distribution():
    with isolated() as plugins:
        plugins.add("counts", Counts, distribution="acme-counts", version="2.1")
        (entry,) = run_sample("counts").provenance["plugins"]
    assert (entry["name"], entry["distribution"], entry["version"]) == ("counts", "acme-counts", "2.1")


def test_functions_instances_and_text_can_be_installed():
    with isolated({"made": lambda limit=1: Counts(limit), "one": Counts(7), "there": "json:JSONDecoder"}):
        assert build_plugin("made").limit == 1
        assert build_plugin("one").limit == 7
        assert names() == ["made", "one", "there"]


def test_the_defaults_are_as_missing_as_if_they_were_not_installed(make):
    with isolated():
        assert Experiment(make().datasource, make().pipeline).plugins == []
        with pytest.raises(MissingDistributionError, match="pip install crystallize-plugins"):
            run_sample(Counts, executor="process")


def test_two_of_one_name_are_a_conflict_as_they_would_be():
    with isolated({"counts": Counts}) as plugins:
        plugins.add("counts", Counts, distribution="acme")
        assert "both" in find_plugins()[0].problem


@pytest.mark.parametrize("executor", ["serial", "thread", "process", "async"])
def test_the_sample_runs_under_every_executor(executor):
    counts = Counts()
    result = run_sample(counts, executor=executor, replicates=2)
    assert len(counts.cells) == 6
    assert result.metrics.baseline.metrics["total"] == [6.0, 10.0]
    assert sorted(result.errors) == ["failing_rep_0", "failing_rep_1"]


def test_the_sample_is_strict_about_neutral_plugins():
    class Draws(BasePlugin):
        neutral = True

        def before_step(self):
            __import__("random").random()

    assert not run_sample(Draws()).record_complete
    assert run_sample(Draws(), strict=False).record_complete


def test_the_fixtures_give_what_the_functions_give(isolated_plugins, run_sample):
    isolated_plugins.add("counts", Counts)
    assert names() == ["counts"]
    assert run_sample("counts").record_complete


def test_the_fixture_names_what_a_test_leaves_behind(pytester):
    pytester.makeconftest('pytest_plugins = ["crystallize.testing.fixtures"]')
    pytester.makepyfile(
        """
        import os, threading

        def test_nothing(no_leaks):
            pass

        def test_a_thread(no_leaks):
            threading.Thread(target=threading.Event().wait, daemon=True, name="forgotten").start()

        def test_a_file(no_leaks):
            open("left.txt", "w").close()

        def test_a_variable(no_leaks):
            os.environ["LEFT"] = "1"

        def test_the_folder(no_leaks):
            os.mkdir("inner")
            os.chdir("inner")
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    os.environ.pop("LEFT")
    result.assert_outcomes(passed=5, errors=4)
    told = result.stdout.str()
    for text in (
        "[leak-thread] thread 'forgotten'",
        "[leak-file] left.txt was written",
        "[leak-environ]",
        "[leak-cwd]",
    ):
        assert text in told
    assert threading.active_count() >= 2
