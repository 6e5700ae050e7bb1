"""Resources in a run: once for each worker, closed where they were made, when the run ends."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from crystallize import BasePlugin, PipelineStep, Treatment, resource_factory


@pytest.fixture
def resource():
    """A factory that notes in which thread it made and closed what."""
    events = []

    def connect(ctx):
        connection = sqlite3.connect(":memory:")  # may be closed by the thread that made it alone
        events.append(("made", threading.get_ident()))
        return connection

    def close(connection):
        connection.close()
        events.append(("closed", threading.get_ident()))

    factory = resource_factory(connect, close=close)
    return factory, events


def ask(data, ctx):
    ctx.record("answer", ctx["db"].execute("select 40 + 2").fetchone()[0])
    return data


async def ask_later(data, ctx):
    await asyncio.sleep(0)
    return ask(data, ctx)


@pytest.mark.parametrize("step", [ask, ask_later])
def test_it_is_made_once_and_closed_by_the_same_thread_under_every_face(make, face, resource, step):
    factory, events = resource
    result = face(make(step, initial_ctx={"db": factory}), replicates=3, treatments=[Treatment("t", {})])
    assert not result.errors
    assert result.metrics.treatments["t"].metrics["answer"] == [42] * 3
    assert [what for what, _ in events] == ["made", "closed"]
    assert events[0][1] == events[1][1]


class OneByOne(BasePlugin):
    """A plain executor, which `arun` has to drive from a helper thread."""

    neutral = True

    def run_experiment_loop(self, cells, run_cell):
        for cell in cells:
            yield run_cell(cell)


class Pool(BasePlugin):
    """A user's executor, which knows nothing of closing."""

    neutral = True

    def run_experiment_loop(self, cells, run_cell):
        with ThreadPoolExecutor(2) as pool:
            yield from pool.map(run_cell, cells)


@pytest.mark.parametrize("step", [ask, ask_later])
def test_a_plain_executor_under_arun_closes_in_its_helper_thread(make, resource, step):
    factory, events = resource
    experiment = make(step, initial_ctx={"db": factory}, plugins=[OneByOne()])
    result = asyncio.run(experiment.arun(replicates=3))
    assert not result.errors
    assert [what for what, _ in events] == ["made", "closed"]
    assert events[0][1] == events[1][1]


@pytest.mark.parametrize("step", [ask, ask_later])
def test_each_thread_of_a_users_pool_has_its_own(make, step):
    made, closed = [], []
    factory = resource_factory(lambda _: made.append(threading.get_ident()) or object(), close=closed.append)
    barrier = threading.Barrier(2, timeout=10)

    def both(data, ctx):
        ctx["db"]
        if ctx["replicate"] < 2:
            barrier.wait()

    async def both_later(data, ctx):
        both(data, ctx)

    result = make(both if step is ask else both_later, initial_ctx={"db": factory}, plugins=[Pool()]).run(replicates=6)
    assert not result.errors
    assert len(made) == len(set(made)) == len(closed) == 2


def test_every_run_makes_its_own(make, resource):
    factory, events = resource
    experiment = make(ask, initial_ctx={"db": factory})
    experiment.run(replicates=2)
    experiment.apply()
    assert [what for what, _ in events] == ["made", "closed"] * 2


def test_a_factory_that_fails_fails_the_cells_that_ask_with_its_own_message(make):
    def away(ctx):
        raise OSError("database is away")

    result = make(ask, initial_ctx={"db": resource_factory(away)}).run(replicates=2)
    assert sorted(result.errors) == ["baseline_rep_0", "baseline_rep_1"]
    assert "database is away" in str(result.errors["baseline_rep_0"])


def test_one_that_cannot_be_closed_is_told_and_costs_nothing_else(make, log):
    def stuck(_):
        raise OSError("stuck")

    def make_one(ctx):
        return "resource"

    experiment = make(
        lambda data, ctx: ctx.record("db", ctx["db"]), initial_ctx={"db": resource_factory(make_one, close=stuck)}
    )
    result = experiment.run()
    assert result.metrics.baseline.metrics["db"] == ["resource"]
    (key,) = result.errors
    assert "make_one" in key
    assert "stuck" in str(result.errors[key])
    assert "stuck" in log.text()


def test_a_treatment_or_a_step_may_bring_one(make, resource):
    factory, events = resource
    experiment = make(ask)
    assert not experiment.run(treatments=[Treatment("baseline", {"db": factory})], replicates=2).errors
    assert not make(lambda data, ctx: ctx.add("db", factory), ask).run(replicates=2).errors
    assert [what for what, _ in events] == ["made", "closed"] * 2


def test_setup_and_teardown_may_use_it(make, resource):
    factory, events = resource

    class Uses(PipelineStep):
        def setup(self, ctx):
            ctx["db"].execute("create table t (n)")

        def teardown(self, ctx):
            events.append(("rows", ctx["db"].execute("select count(*) from t").fetchone()[0]))

        def __call__(self, data, ctx):
            ctx["db"].execute("insert into t values (1)")

    assert not make(Uses(), initial_ctx={"db": factory}).run(replicates=3).errors
    assert [what for what, _ in events] == ["made", "rows", "closed"]
    assert events[1] == ("rows", 3)


def test_it_is_closed_after_ctrl_c(make, resource):
    factory, events = resource

    def stop(data, ctx):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(ask, stop, initial_ctx={"db": factory}).run()
    assert [what for what, _ in events] == ["made", "closed"]
