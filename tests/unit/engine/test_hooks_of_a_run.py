"""Hooks in a run: when they come, and what becomes of their errors under every policy."""

from __future__ import annotations

import logging

import pytest

from crystallize import BasePlugin, Treatment
from crystallize.errors import ContextMutationError, PluginHookError, ReadOnlyError

COORDINATOR = ("before_run", "collect", "on_event", "collect_provenance", "after_run")
WORKER = ("worker_start", "before_replicate", "before_step", "after_step", "after_replicate")


def emitting(data, ctx):
    ctx.emit("half_way")
    ctx.record("n", ctx["replicate"])
    return data


class Diary(BasePlugin):
    """Notes every hook in the order of their coming."""

    def __init__(self):
        self.lines = []


def _noting(hook):
    def note(self):
        self.lines.append(hook)

    return note


for _hook in ("init_hook", "worker_stop", "completed_cells", *COORDINATOR, *WORKER):
    setattr(Diary, _hook, _noting(_hook))


class Raising(BasePlugin):
    """Raises in the hooks that it is told."""

    def __init__(self, *hooks, exc=None, policy=None, silent=()):
        self.hooks = hooks
        self.exc = exc or LookupError("plugin's own trouble")
        self.on_error = policy
        self.silent_hooks = [*silent, *{*COORDINATOR, *WORKER, "worker_stop"}.difference(hooks)]


def _raising(hook):
    def fail(self):
        raise self.exc

    return fail


for _hook in ("worker_stop", *COORDINATOR, *WORKER):
    setattr(Raising, _hook, _raising(_hook))


def test_the_order_of_hooks_in_a_run(make):
    diary = Diary()
    make(emitting, plugins=[diary]).run(replicates=2)
    cell = [
        *["on_event", "before_replicate", "on_event", "before_step", "on_event", "after_step"],  # cell, step, half_way
        *["after_replicate", "collect", "on_event"],
    ]
    assert diary.lines == [
        *["init_hook", "before_run", "on_event", "worker_start"],
        *cell * 2,
        *["worker_stop", "on_event", "collect_provenance", "after_run"],
    ]


def test_a_hook_gets_this_runs_own_values(make):
    seen = []

    class Look(BasePlugin):
        def before_run(self, experiment):
            seen.append((experiment.replicates, [t.name for t in experiment.treatments], experiment.strategy))
            seen.append((experiment.run.kind, experiment.name))
            seen.append((experiment.get_plugin(Look) is self, repr(experiment)))
            with pytest.raises(ReadOnlyError):
                experiment.treatments.clear()
            with pytest.raises(ReadOnlyError):
                experiment.replicates = 99

    experiment = make(emitting, plugins=[Look()], name="e", treatments=[Treatment("own", {})], replicates=7)
    experiment.run(replicates=2, treatments=[Treatment("given", {})])
    assert seen == [(2, ["given"], "rerun"), ("run", "e"), (True, "ExperimentView('e', run, replicates=2)")]
    assert ([t.name for t in experiment.treatments], experiment.replicates) == (["own"], 7)


@pytest.mark.parametrize("hook", WORKER)
def test_an_undeclared_error_in_the_worker_fails_its_cell_by_name(make, face, hook):
    result = face(make(emitting, plugins=[Raising(hook)]), replicates=2)
    assert sorted(result.errors) == ["baseline_rep_0", "baseline_rep_1"]
    error = result.errors["baseline_rep_0"]
    assert isinstance(error.__cause__, PluginHookError)
    assert (error.__cause__.plugin, error.__cause__.hook) == ("Raising", hook)
    assert isinstance(error.__cause__.__cause__, LookupError)
    assert f"raised in {hook}: LookupError: plugin's own trouble" in str(error)


def test_an_undeclared_error_in_before_run_propagates_as_it_is(make, face):
    plugin = Raising("before_run")
    with pytest.raises(LookupError) as caught:
        face(make(emitting, plugins=[plugin]))
    assert caught.value is plugin.exc
    assert caught.value.result.provenance["replicates"] == 0


@pytest.mark.parametrize("hook", ["collect", "on_event", "collect_provenance", "after_run", "worker_stop"])
def test_an_undeclared_error_elsewhere_is_kept(make, face, hook, log):
    result = face(make(emitting, plugins=[Raising(hook)]), replicates=2)
    assert result.metrics.baseline.metrics["n"] == [0, 1]
    assert not result.record_complete
    assert {failure.hook for failure in result.plugin_errors} == {hook}
    assert result.plugin_errors[0].plugin == "Raising"
    assert "LookupError: plugin's own trouble" in result.plugin_errors[0].error
    assert [entry["hook"] for entry in result.provenance["plugin_failures"]] == [
        failure.hook for failure in result.plugin_errors
    ]
    assert (f"after_run:{'Raising'}" in result.errors) == (hook == "after_run")


@pytest.mark.parametrize("hook", [*COORDINATOR, *WORKER, "worker_stop"])
def test_a_recorded_error_is_data_and_the_run_goes_on(make, face, hook, log):
    result = face(make(emitting, plugins=[Raising(hook, policy="record")]), replicates=2)
    assert result.metrics.baseline.metrics["n"] == [0, 1]
    assert result.plugin_errors
    assert {failure.hook for failure in result.plugin_errors} == {hook}
    if hook in ("before_replicate", "before_step", "after_step", "after_replicate", "collect"):
        assert [failure.cell.key for failure in result.plugin_errors] == ["baseline_rep_0", "baseline_rep_1"]
    assert log.text(logging.WARNING).count("plugin 'Raising'") == 1
    assert not result.errors or hook in WORKER


@pytest.mark.parametrize("hook", [hook for hook in (*COORDINATOR, *WORKER) if hook != "worker_stop"])
def test_an_error_that_stops_the_run_is_raised_with_what_was_collected(make, face, hook):
    plugin, diary = Raising(hook, policy="stop_run"), Diary()
    with pytest.raises((LookupError, PluginHookError)) as caught:
        face(make(emitting, plugins=[plugin, diary]), replicates=3)
    exc = caught.value
    assert plugin.exc in (exc, exc.__cause__)
    ran = {"before_run": 0, "after_run": 3, "collect_provenance": 3}.get(hook, None if hook == "on_event" else 1)
    if ran is not None:
        assert exc.result.provenance["replicates"] == ran
    assert diary.lines.count("after_run") == 1


@pytest.mark.parametrize("hook", ["collect", "on_event", "after_run", "after_replicate"])
def test_one_plugins_error_is_its_own(make, hook):
    diary = Diary()
    make(emitting, plugins=[Raising(hook), diary]).run()
    quiet = Diary()
    make(emitting, plugins=[quiet]).run()
    assert diary.lines == quiet.lines


def test_an_error_after_a_failed_cell_is_not_lost(make):
    def fail(data):
        raise ValueError("the step's own")

    result = make(fail, plugins=[Raising("after_replicate")]).run()
    assert "the step's own" in str(result.errors["baseline_rep_0"])
    (failure,) = result.plugin_errors
    assert (failure.hook, failure.cell.key) == ("after_replicate", "baseline_rep_0")


def test_two_plugins_of_one_name_that_fail_in_after_run_are_both_kept(make):
    result = make(emitting, plugins=[Raising("after_run"), Raising("after_run")]).run()
    assert sorted(result.errors) == ["after_run:Raising", "after_run:Raising_2"]


def test_after_replicate_sees_failed_cells_too(make):
    seen = []

    class Look(BasePlugin):
        def after_replicate(self, ctx, outcome):
            seen.append((ctx["replicate"], outcome.ok, dict(outcome.metrics)))

    def fail(data, ctx):
        ctx.record("n", 1)
        if ctx["replicate"]:
            raise ValueError

    make(fail, plugins=[Look()]).run(replicates=2)
    assert seen == [(0, True, {"n": [1]}), (1, False, {})]


def test_a_neutral_plugin_cannot_write_and_one_that_is_not_can(make):
    class Writes(BasePlugin):
        def before_replicate(self, ctx):
            ctx.add("by_plugin", 1)

    def show(data, ctx):
        return data, {"there": "by_plugin" in ctx}

    assert make(show, plugins=[Writes()]).run().metrics.baseline.metrics["there"] == [True]
    neutral = type("Neutral", (Writes,), {"neutral": True})
    error = make(show, plugins=[neutral()]).run().errors["baseline_rep_0"]
    assert isinstance(error.__cause__.__cause__, ContextMutationError)


def test_what_a_plugin_sits_out_may_change_between_runs(make):
    plugin = Diary()
    experiment = make(emitting, plugins=[plugin])
    plugin.silent_hooks = ["before_step"]
    experiment.run()
    assert "before_step" not in plugin.lines
    plugin.silent_hooks = ()
    experiment.run()
    assert plugin.lines.count("before_step") == 1


def test_collected_provenance_is_kept_with_the_run(make):
    class Facts(BasePlugin):
        def collect_provenance(self):
            return {"machine": "m1", "api_key": "sk-1"}

    provenance = make(emitting, plugins=[Facts()]).run().provenance
    assert provenance["machine"] == "m1"
    assert provenance["api_key"] == "***"


@pytest.mark.parametrize("hook", [*WORKER, "collect", "on_event", "collect_provenance", "after_run", "worker_stop"])
def test_a_plugin_that_exits_does_not_end_the_program(make, face, hook):
    diary = Diary()
    result = face(make(emitting, plugins=[Raising(hook, exc=SystemExit(3)), diary]), replicates=2)
    assert "SystemExit" in " ".join([*map(str, result.errors.values()), *(f.error for f in result.plugin_errors)])
    assert diary.lines.count("after_run") == 1


def test_ctrl_c_at_the_end_leaves_the_others_their_turn(make):
    diary = Diary()
    with pytest.raises(KeyboardInterrupt) as caught:
        make(emitting, plugins=[Raising("after_run", exc=KeyboardInterrupt()), diary]).run(replicates=2)
    assert diary.lines[-1] == "after_run"
    assert caught.value.result.metrics.baseline.metrics["n"] == [0, 1]


def test_a_hook_cannot_change_the_initial_context(make):
    class Meddles(BasePlugin):
        def before_run(self, experiment):
            experiment.initial_ctx["rate"] = 5

    with pytest.raises(TypeError):
        make(emitting, initial_ctx={"rate": 1}, plugins=[Meddles()]).run()
