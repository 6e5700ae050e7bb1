"""Trying again: the same cell from its beginning, with the same seed, as often and as soon as was declared."""

from __future__ import annotations

import asyncio
import random
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize import (
    AsyncExecution,
    BasePlugin,
    ParallelExecution,
    Treatment,
    data_source,
    pipeline_step,
    resource_factory,
)
from crystallize.engine.policies import Policies
from crystallize.errors import CellTimeoutError, PluginHookError, StepTimeoutError
from crystallize.hooks import Attempt
from crystallize.pipelines.policy import FailurePolicy


def facts_of(outcome):
    """Everything of a cell that must not depend on how many attempts it took."""
    return (
        outcome.cell,
        outcome.seed,
        {name: [repr(value) for value in values] for name, values in outcome.metrics.items()},
        outcome.tags,
        [(record.step, record.name, record.data, record.sha256, record.size) for record in outcome.artifacts],
        outcome.provenance.shape,
        outcome.provenance.written,
    )


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_late_success_is_the_same_to_the_byte_as_a_first_one_for_fifty_seeds(build, executor, tally, asynchronous):
    @data_source
    def drawn(ctx):
        return [random.random(), np.random.random(), float(ctx.rng.random())]

    def begin(data, ctx):
        ctx.add("begun", data[0])
        ctx.record("early", data[1])
        return [*data, random.random()]

    def work(data, ctx):
        count = tally(ctx)
        ctx.record("drawn", [*data, float(ctx.rng.random()), np.random.random()], tags={"at": "work"})
        ctx.artifacts.add("noise.bin", np.random.bytes(16))
        if count <= ctx["replicate"] % 4:
            ctx.record("never", 1)
            raise ConnectionError("not yet")
        # What the next one finds is part of it, too.
        ctx.record("state", hash(random.getstate()) ^ int(np.random.get_state()[1].sum()))
        return data, {"last": random.random()}

    if asynchronous:

        async def awaiting(data, ctx):
            await asyncio.sleep(0)
            return work(data, ctx)

        step = pipeline_step(retries=3)(awaiting)
        if isinstance(executor, AsyncExecution):
            executor.max_concurrency = 1  # the global random state is shared by cells that overlap
    else:
        step = pipeline_step(retries=3)(work)
    experiment = build(begin, step(), source=drawn(), plugins=[executor])
    treatments = [Treatment("more", {"more": 1})]
    late = {outcome.cell: outcome for outcome in experiment.stream(treatments=treatments, replicates=50)}
    first = {outcome.cell: outcome for outcome in experiment.stream(treatments=treatments, replicates=50)}
    assert len(late) == len(first) == 100
    for cell, outcome in late.items():
        assert outcome.ok, outcome.error
        assert facts_of(outcome) == facts_of(first[cell])
        assert len(outcome.attempts) == cell.replicate % 4
        assert first[cell].attempts == ()


def test_an_attempt_that_failed_leaves_nothing_but_its_record(build, executor, tally):
    @pipeline_step(retries=1)
    def once(data, ctx):
        ctx.emit("seen", attempt=(count := tally(ctx)))
        ctx.record("attempt", count)
        ctx.artifacts.add(f"{count}.txt", str(count).encode())
        ctx.add(f"written {count}", count)
        if count == 1:
            raise ValueError("first")
        return data

    (outcome,) = build(once(), plugins=[executor]).stream()
    assert outcome.metrics == {"attempt": [2]}
    assert [record.name for record in outcome.artifacts] == ["2.txt"]
    assert outcome.provenance.written == {"written 2": 2}
    ((number, step, kind, text, duration),) = outcome.attempts
    assert (number, step, kind, text) == (1, "OnceStep", "ValueError", "first")
    assert 0 < duration < 60


def test_a_cell_that_fails_for_good_has_its_last_error_and_all_earlier_ones(build, executor, tally):
    @pipeline_step(retries=2)
    def never(data, ctx):
        raise ValueError(f"attempt {tally(ctx)}")

    result = build(never(), plugins=[executor]).run()
    assert "attempt 3" in str(result.errors["baseline_rep_0"])
    assert tally.of("baseline", 0) == 3
    assert [attempt["error"] for attempt in result.provenance["attempts"]["baseline"][0]] == ["attempt 1", "attempt 2"]


@pytest.mark.parametrize(
    "raised, retry_on, attempts",
    [
        ("ConnectionResetError", "ConnectionError", 3),
        ("ValueError", "ConnectionError", 1),
        ("ValueError", "(ConnectionError, ValueError)", 3),
        ("SystemExit", "Exception", 1),
        ("SystemExit", "SystemExit", 3),
        ("PrunedError", "Exception", 1),
    ],
)
def test_only_what_was_declared_is_tried_again(build, executor, tally, raised, retry_on, attempts):
    from crystallize.errors import PrunedError

    names = {"PrunedError": PrunedError}
    kind = eval(raised, names)

    @pipeline_step(retries=2, retry_on=eval(retry_on, names))
    def fails(data, ctx):
        tally(ctx)
        raise kind("no")

    assert build(fails(), plugins=[executor]).run().errors
    assert tally.of("baseline", 0) == attempts


def test_an_exception_that_only_the_worker_knows_is_matched_there(build, tally):
    @pipeline_step()
    def local(data, ctx):
        class OwnError(ConnectionError):
            def __reduce__(self):
                raise TypeError("stays where it is")

        if tally(ctx) == 1:
            raise OwnError("only here")
        return data

    step = local()
    step.retries, step.retry_on = 1, ConnectionError
    result = build(step, plugins=[ParallelExecution(2, "process")]).run()
    assert result.errors == {}
    assert result.provenance["attempts"]["baseline"][0][0]["error_type"] == "OwnError"


def test_a_steps_retries_count_its_own_failures_and_the_experiments_all(build, tally):
    @pipeline_step(retries=1)
    def first(data, ctx):
        if (count := tally(ctx)) in (1, 3):
            raise ValueError(f"first fails in attempt {count}")
        return count

    @pipeline_step(retries=1)
    def second(data, ctx):
        if data == 2:
            raise ValueError("second fails in attempt 2")
        return data

    # Attempt 3 fails in `first` for the second time.
    result = build(first(), second()).run()
    assert "attempt 3" in str(result.errors["baseline_rep_0"])
    result = build(first(), second(), retries=3).run(replicates=2)
    assert result.errors == {}
    assert [a["step"] for a in result.provenance["attempts"]["baseline"][1]] == ["FirstStep", "SecondStep", "FirstStep"]


def test_a_failing_data_source_is_tried_again_by_the_experiment(build, executor, tally):
    @data_source
    def source(ctx):
        if tally(ctx) < 3:
            raise ConnectionError("not yet")
        return 5

    result = build(lambda data: (data, {"data": data}), source=source(), plugins=[executor], retries=2).run()
    assert result.metrics.baseline.metrics["data"] == [5]
    assert [a["step"] for a in result.provenance["attempts"]["baseline"][0]] == ["datasource", "datasource"]


def test_a_worker_that_could_not_be_set_up_is_not_asked_again(build):
    from crystallize import PipelineStep

    class Broken(PipelineStep):
        setups = 0
        retries = 5

        def setup(self, ctx):
            Broken.setups += 1
            raise ConnectionError("no")

        def __call__(self, data, ctx):
            return data

    result = build(Broken(), retries=5).run()
    assert "Broken.setup" in str(result.errors["baseline_rep_0"])
    assert Broken.setups == 1
    assert result.provenance["attempts"] == {}


def test_hooks_of_a_cell_are_called_for_each_attempt_in_pairs(build, tally):
    calls = []

    class Watcher(BasePlugin):
        neutral = True

        def before_replicate(self, experiment, ctx):
            calls.append("before")

        def after_replicate(self, experiment, ctx, outcome):
            calls.append(None if outcome.ok else outcome.error.error_type)

        def collect(self, experiment, outcome):
            calls.append("collected")

    @pipeline_step(retries=2)
    def third_time(data, ctx):
        if tally(ctx) < 3:
            raise OSError("no")

    build(third_time(), plugins=[Watcher()]).run()
    assert calls == ["before", "OSError", "before", "OSError", "before", None, "collected"]


def test_a_hooks_error_counts_as_what_the_hook_raised(build, tally):
    class Tracker(BasePlugin):
        neutral = False

        def before_replicate(self, experiment, ctx):
            if tally(ctx) == 1:
                raise ConnectionError("the tracking server is busy")

    result = build(lambda data: data, plugins=[Tracker()], retries=1, retry_on=ConnectionError).run()
    assert result.errors == {}
    assert result.provenance["attempts"]["baseline"][0][0]["error_type"] == "PluginHookError"
    policy = FailurePolicy(1, (ConnectionError,))
    assert not policy.covers(PluginHookError("no cause"))


def test_a_plugin_that_wants_the_run_to_stop_is_not_overruled(build, tally):
    class Strict(BasePlugin):
        neutral = False
        on_error = "stop_run"

        def before_replicate(self, experiment, ctx):
            tally(ctx)
            raise ConnectionError("stop")

    with pytest.raises(PluginHookError, match="stop"):
        build(lambda data: data, plugins=[Strict()], retries=3).run()
    assert tally.of("baseline", 0) == 1


def test_errors_that_plugins_had_in_a_failed_attempt_are_kept(build, executor, tally):
    class Recorder(BasePlugin):
        neutral = True
        on_error = "record"

        def before_step(self, experiment, step, ctx):
            raise OSError("not recorded")

    @pipeline_step(retries=1)
    def second_time(data, ctx):
        if tally(ctx) == 1:
            raise ValueError("no")

    result = build(second_time(), plugins=[executor, Recorder()]).run()
    assert len(result.plugin_errors) == 2
    assert not result.record_complete


def test_resources_of_a_worker_outlive_an_attempt(build, tally):
    made = []

    def connect(ctx):
        made.append(1)
        return object()

    @pipeline_step(retries=1)
    def use(data, ctx, *, client):
        if tally(ctx) == 1:
            raise ConnectionError("no")

    assert build(use(), initial_ctx={"client": resource_factory(connect)}).run().errors == {}
    assert made == [1]


def test_an_array_that_workers_map_is_the_same_again_for_the_next_attempt(build, tally):
    weights = np.zeros(1 << 17)

    @data_source
    def source(ctx):
        return weights

    @pipeline_step(retries=2)
    def spoil(data, ctx):
        data += 1
        if tally(ctx) < 3:
            raise ValueError("no")
        return data, {"sum": float(data.sum())}

    plugins = [ParallelExecution(1, "process")]
    result = build(spoil(), source=source(), plugins=plugins).run(replicates=3)
    assert result.metrics.baseline.metrics["sum"] == [float(1 << 17)] * 3


def test_plugins_and_the_log_hear_of_every_attempt_that_is_followed_by_another(build, executor, tally, log):
    heard = []

    class Listener(BasePlugin):
        neutral = True
        wanted_events = ("cell_retried", "cell_finished")

        def on_event(self, experiment, event):
            heard.append((event.name, event.cell, event.fields.get("attempt"), event.fields.get("delay")))

    @pipeline_step(retries=2, backoff=0.01)
    def third_time(data, ctx):
        if tally(ctx) < 3:
            raise ConnectionError("busy")

    build(third_time(), plugins=[executor, Listener()]).run()
    cell = ("baseline", 0)
    assert heard == [
        ("cell_retried", cell, 1, 0.01), ("cell_retried", cell, 2, 0.02), ("cell_finished", cell, None, None),
    ]  # fmt: skip
    assert "attempt 2 at condition 'baseline', replicate 0 failed in ThirdTimeStep: ConnectionError: busy" in log.text()
    assert "trying again in 0.02 s" in log.text()


def test_backoff_is_waited_for_and_doubles(build, executor, tally):
    @pipeline_step(retries=3, backoff=0.05)
    def fourth_time(data, ctx):
        if tally(ctx) < 4:
            raise ConnectionError("busy")

    begun = time.monotonic()
    assert build(fourth_time(), plugins=[executor]).run().errors == {}
    assert time.monotonic() - begun >= 0.05 + 0.1 + 0.2


def test_no_worker_process_waits_for_the_next_attempt(build, tally, tmp_path):
    order = tmp_path / "order"

    @pipeline_step(retries=1, backoff=1.5)
    def step(data, ctx):
        with order.open("a") as file:
            file.write(f"{ctx['replicate']} ")
        if ctx["replicate"] == 0 and tally(ctx) == 1:
            raise ConnectionError("busy")

    assert build(step(), plugins=[ParallelExecution(1, "process")]).run(replicates=12).errors == {}
    assert order.read_text().split() == [*map(str, range(12)), "0"]


def test_overlapping_cells_go_on_while_one_waits_for_its_next_attempt(build, tally):
    order = []

    @pipeline_step(retries=1, backoff=0.2)
    async def step(data, ctx):
        await asyncio.sleep(0)
        order.append(ctx["replicate"])
        if ctx["replicate"] == 0 and tally(ctx) == 1:
            raise ConnectionError("busy")

    assert build(step(), plugins=[AsyncExecution()]).run(replicates=5).errors == {}
    assert order == [0, 1, 2, 3, 4, 0]


@given(
    steps=st.integers(0, 4),
    cell=st.integers(0, 4),
    failures=st.lists(st.sampled_from(["A", "B", "datasource"]), min_size=1, max_size=12),
)
def test_a_cell_ends_with_the_first_failure_that_no_policy_covers(steps, cell, failures):
    policies = Policies(FailurePolicy(cell), (FailurePolicy(steps), FailurePolicy(0)), ("A", "B"), ())
    earlier = []
    for place in failures:
        granted = policies.delay_after(ValueError(), place, earlier) is not None
        same = 1 + sum(attempt.step == place for attempt in earlier)
        assert granted == (len(earlier) + 1 <= cell or (place == "A" and same <= steps))
        if not granted:
            break
        earlier.append(Attempt(len(earlier) + 1, place, "ValueError", "", 0.0))


def test_the_cells_own_time_out_is_no_failure_of_the_step_that_it_was_at():
    policies = Policies(FailurePolicy(), (FailurePolicy(3),), ("A",), ())
    assert policies.delay_after(StepTimeoutError("slow", step="A", limit=1), "A", []) == 0.0
    assert policies.delay_after(CellTimeoutError("slow", step="A", limit=1), "A", []) is None


@given(backoff=st.floats(0, 1e6), failures=st.integers(1, 10_000))
def test_delays_double_up_to_five_minutes_or_the_first_one(backoff, failures):
    delay = FailurePolicy(backoff=backoff).delay(failures)
    assert delay == min(backoff * 2.0 ** min(failures - 1, 60), max(backoff, 300))
