"""What plugins cost, by plugin and hook, where an experiment is asked to keep account."""

from __future__ import annotations

import logging

import pytest

from crystallize import (
    AsyncExecution,
    BasePlugin,
    ParallelExecution,
    SeedPlugin,
    SerialExecution,
    Treatment,
)


def scaled(data, ctx, *, factor=1):
    ctx.record("n", factor * len(data))
    return data


class Watches(BasePlugin):
    """Is called in every cell, and computes something there."""

    neutral = True

    def __init__(self, *, work=0):
        self.work = work

    def before_step(self, step):
        sum(range(self.work))

    def after_replicate(self, outcome):
        pass

    def collect(self, outcome):
        pass


def executors():
    yield SerialExecution()
    yield AsyncExecution()
    yield ParallelExecution(max_workers=2)
    yield ParallelExecution(max_workers=2, executor_type="process")


@pytest.mark.parametrize("executor", list(executors()), ids=["serial", "async", "thread", "process"])
def test_every_call_is_in_the_account_under_every_executor(make, executor):
    experiment = make(scaled, scaled, plugins=[SeedPlugin(seed=1), Watches(), executor], account=True)
    result = experiment.run(replicates=3, treatments=[Treatment("more", {"factor": 2})])
    cost = result.provenance["plugin_cost"]
    assert list(cost) == [entry["name"] for entry in result.provenance["plugins"]]
    hooks = cost["Watches"]["hooks"]
    assert {name: spent["calls"] for name, spent in hooks.items()} == {
        "before_step": 12,
        "after_replicate": 6,
        "collect": 6,
    }
    assert cost["seed"]["hooks"]["before_replicate"]["calls"] == 6
    for spent in cost.values():
        assert spent["seconds"] == pytest.approx(sum(each["seconds"] for each in spent["hooks"].values()))
        assert 0 <= spent["share"] <= 1
    assert cost["Watches"]["import_ms"] is None  # this module was not imported by asking for the plugin
    assert {name: part.metrics["n"] for name, part in result.metrics.treatments.items()} == {"more": [6] * 6}


def test_without_being_asked_nothing_is_counted(make):
    assert "plugin_cost" not in make(scaled, plugins=[Watches()]).run().provenance


def test_plugins_that_only_look_and_take_long_are_warned_of_once(make, caplog):
    with caplog.at_level(logging.WARNING, "crystallize"):
        make(scaled, plugins=[Watches(work=100_000)], account=True).run(replicates=5)
        assert caplog.text.count("plugins that only look took") == 1
        assert "'Watches' the most" in caplog.text
        caplog.clear()
        heavy = type("Heavy", (Watches,), {"neutral": False})
        make(scaled, plugins=[heavy(work=100_000)], account=True).run(replicates=5)
    assert "plugins that only look" not in caplog.text


def test_account_is_a_flag(make):
    with pytest.raises(TypeError, match="account"):
        make(scaled, account="yes")
