"""Strict mode: a plugin that calls itself neutral is held to it, and what it disturbed is put back."""

from __future__ import annotations

import random

import numpy as np
import pytest

from crystallize import BasePlugin


def draw(data, ctx):
    ctx.record("py", random.random())
    ctx.record("np", float(np.random.rand()))
    ctx.record("data", list(data))
    return data


class Seeds(BasePlugin):
    def before_replicate(self, ctx):
        random.seed(ctx["replicate"])
        np.random.seed(ctx["replicate"])


class Spy(BasePlugin):
    """Draws random numbers, or changes the payload, where it should only look."""

    neutral = True

    def __init__(self, *, draws=False, changes=False):
        self.draws = draws
        self.changes = changes

    def before_step(self):
        if self.draws:
            random.random()
            np.random.rand()

    def after_step(self, data):
        if self.changes:
            data.append(99)


@pytest.fixture
def run(make):
    def run(*plugins, strict):
        return make(draw, draw, plugins=[Seeds(), *plugins], strict=strict).run(replicates=2)

    return run


def test_a_neutral_plugin_that_only_looks_is_left_alone(run):
    result = run(Spy(), strict=True)
    assert not result.errors
    assert result.record_complete
    assert result.metrics.baseline.metrics == run(strict=False).metrics.baseline.metrics


def test_random_states_are_restored_and_the_violation_is_named(run):
    result = run(Spy(draws=True), strict=True)
    assert result.metrics.baseline.metrics == run(strict=False).metrics.baseline.metrics
    assert {failure.hook for failure in result.plugin_errors} == {"before_step"}
    assert "'Spy' says that it is neutral, and changed" in result.plugin_errors[0].error
    assert "random module" in result.plugin_errors[0].error
    assert "NumPy's global generator" in result.plugin_errors[0].error


@pytest.mark.parametrize("policy", [None, "record", "fail_cell"])
def test_a_changed_payload_fails_the_cell_by_name_whatever_on_error_says(run, policy):
    spy = Spy(changes=True)
    spy.on_error = policy
    result = run(spy, strict=True)
    assert sorted(result.errors) == ["baseline_rep_0", "baseline_rep_1"]
    cause = result.errors["baseline_rep_0"].__cause__
    assert (cause.plugin, cause.hook) == ("Spy", "after_step")
    assert "the data that goes to the next step" in str(cause)


@pytest.mark.parametrize("hook", ["before_run", "worker_start", "worker_stop", "before_replicate", "after_replicate",
                                  "on_event", "collect", "collect_provenance", "after_run"])  # fmt: skip
def test_random_states_are_restored_after_every_hook_of_a_neutral_plugin(make, hook):
    def move(self):
        random.random()
        np.random.randn()

    plugin = type("Moves", (BasePlugin,), {hook: move, "neutral": True})()
    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist(), np.random.get_state()[2:]
    result = make(lambda data: data, plugins=[plugin], strict=True).run(replicates=2)
    assert (random.getstate(), np.random.get_state()[1].tolist(), np.random.get_state()[2:]) == before
    assert {(failure.plugin, failure.hook) for failure in result.plugin_errors} == {("Moves", hook)}
    assert "random module (restored) and the state of NumPy" in result.plugin_errors[0].error


def test_what_a_cell_holds_by_reference_is_looked_at(make):
    class Model:
        def __init__(self):
            self.weights = [1]

    class Trains(BasePlugin):
        neutral = True

        def before_step(self, ctx):
            ctx["model"].weights.append(2)

    result = make(
        lambda data, ctx: ctx["model"] and data, plugins=[Trains()], initial_ctx={"model": Model()}, strict=True
    ).run()
    assert "was changed in place by the plugin Trains" in str(result.errors["baseline_rep_0"])


def test_without_strict_mode_nothing_is_looked_at(run):
    assert run(Spy(draws=True, changes=True), strict=False).record_complete


def test_a_plugin_that_is_not_neutral_may_do_what_it_says(run):
    may = type("May", (Spy,), {"neutral": False})
    assert run(may(draws=True, changes=True), strict=True).record_complete


@pytest.mark.parametrize("data", [iter([1]), print, object(), {1, 2}, np.zeros(3), [[1], {"a": np.ones(2)}]])
def test_any_payload_can_be_looked_at_and_goes_on_unharmed(make, data):
    seen = []
    result = make(lambda _: data, lambda given: seen.append(given), plugins=[Spy()], strict=True).run()  # noqa: PLW0108
    assert not result.errors
    assert seen[0] is data


@pytest.mark.parametrize("strict", [1, "yes", None])
def test_strict_is_a_flag(make, strict):
    with pytest.raises(TypeError, match="strict"):
        make(draw, strict=strict).validate()


@pytest.mark.parametrize("neutral", [True, False])
@pytest.mark.parametrize(
    "hook, change, named",
    [
        ("collect", lambda outcome: outcome.metrics["py"].clear(), "outcome.metrics"),
        ("after_replicate", lambda outcome: setattr(outcome, "worker", "me"), "outcome.worker"),
        ("after_run", lambda result: result.errors.update(made=1), "result.errors"),
    ],
)
def test_a_changed_copy_has_no_effect_and_is_refused_by_name(make, hook, change, named, neutral):
    taken = "result" if hook == "after_run" else "outcome"
    namespace = {"change": staticmethod(change)}
    exec(f"def {hook}(self, {taken}): self.change({taken})", namespace)
    members = {hook: namespace[hook], "change": staticmethod(change), "neutral": neutral, "on_error": "record"}
    result = make(draw, plugins=[type("Meddles", (BasePlugin,), members)()], strict=True).run()
    assert len(result.metrics.baseline.metrics["py"]) == 1
    assert {(failure.plugin, failure.hook) for failure in result.plugin_errors} == {("Meddles", hook)}
    assert f"{named} cannot be changed" in result.plugin_errors[0].error
