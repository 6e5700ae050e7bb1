"""What is not kept, and what is said about it."""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
import sqlite3
import threading
from pathlib import Path

import pytest

from crystallize import BasePlugin, PipelineStep, data_source, pipeline_step
from crystallize.results.metrics import NO_METRIC

TALLY = []


@pytest.mark.parametrize(
    "output",
    [lambda: (n for n in range(3)), threading.Lock, lambda: lambda: 1, lambda: Path("opened.txt").open("w")],  # noqa: SIM115
    ids=["generator", "lock", "lambda", "file"],
)
def test_what_cannot_be_stored_is_simply_not_cached(make, note, ran, log, output):
    kept = []

    class Close(BasePlugin):
        neutral = True

        def after_step(self, experiment, step, data, ctx):
            kept.append(data)

    @pipeline_step(cacheable=True)
    def give(data, ctx):
        note()
        return output()

    for _ in range(2):
        make(give(), plugins=[Close()]).run()
    assert len(ran()) == 2
    assert set(log.text(logging.INFO).splitlines()) <= {NO_METRIC}
    for each in kept:
        if hasattr(each, "write"):
            each.close()


@pytest.mark.parametrize(
    "given", [lambda: (n for n in range(3)), lambda: [threading.local(), 1]], ids=["generator", "local"]
)
def test_an_input_that_cannot_be_hashed_leaves_the_step_uncached(make, note, ran, log, values, given):
    @pipeline_step(cacheable=True)
    def count(data, ctx):
        note()
        return None, {"out": len(list(data))}

    for _ in range(2):
        result = make(count(), source=data_source(lambda ctx: given())()).run()
        assert values(result) in ([3], [2])
    assert len(ran()) == 2
    assert set(log.text(logging.INFO).splitlines()) <= {NO_METRIC}


def test_a_failing_step_is_never_cached(make, note, ran):
    @pipeline_step(cacheable=True)
    def fail(data, ctx):
        note()
        ctx.record("before", 1)
        raise ValueError("no")

    for _ in range(2):
        assert "baseline_rep_0" in make(fail()).run().errors
    assert len(ran()) == 2


def test_a_later_attempt_takes_from_the_cache_what_the_first_one_kept(make, note, ran, values):
    @pipeline_step(cacheable=True)
    def slow(data, ctx):
        note("slow")
        ctx.record("slow", float(ctx.rng.random()))
        return data

    @pipeline_step(retries=2)
    def flaky(data, ctx):
        marker = Path("failed")
        if not marker.exists():
            marker.touch()
            raise ConnectionError("once")
        return data, {"out": float(ctx.rng.random())}

    first = make(slow(), flaky()).run()
    second = make(slow(), flaky()).run()
    assert values(first) == values(second)
    assert values(first, "slow") == values(second, "slow")
    assert ran() == ["slow"]


def test_a_step_that_changes_what_it_refers_to_is_not_cached_and_named(make, note, ran, log, values):
    @pipeline_step(cacheable=True)
    def tally(data, ctx):
        TALLY.append(1)
        note()
        return data, {"out": len(TALLY)}

    TALLY.clear()
    assert values(make(tally()).run(replicates=3)) == [1, 2, 3]
    assert len(ran()) == 3
    warned = [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]
    assert len(warned) == 1
    assert "TallyStep is not cached: it changes what it refers to" in warned[0]


class Counting(PipelineStep):
    cacheable = True

    def __init__(self):
        self.seen = 0

    def __call__(self, data, ctx):
        self.seen += 1
        return data, {"out": self.seen}


def test_a_class_step_that_keeps_state_is_not_cached(make, values, log):
    for _ in range(2):
        assert values(make(Counting()).run(replicates=3)) == [1, 2, 3]
    assert "changes what it refers to" in log.text(logging.WARNING)


class Model:
    def __init__(self):
        self.fitted = 0

    def fit(self, data):
        self.fitted += sum(data)


@pytest.mark.parametrize("way", ["read", "injected"])
def test_a_step_that_changes_an_object_of_the_context_fails_and_is_not_cached(make, note, ran, log, way):
    @pipeline_step(cacheable=True)
    def fit(data, ctx, *, injected=None):
        note()
        (ctx["read"] if injected is None else injected).fit(data)
        return data

    for _ in range(2):
        result = make(fit(), initial_ctx={way: Model()}).run()
        assert "changed in place by the step FitStep" in str(result.errors["baseline_rep_0"])
    assert len(ran()) == 2
    assert "not cached: it changes" in log.text(logging.WARNING)


@pytest.mark.parametrize("way", ["read", "injected"])
def test_a_step_that_draws_from_a_generator_of_the_context_is_not_cached(make, note, ran, log, values, way):
    @pipeline_step(cacheable=True)
    def draw(data, ctx, *, injected=None):
        note()
        return (ctx["read"] if injected is None else injected).random()

    @pipeline_step()
    def draw_again(data, ctx):
        return data, {"out": (data, ctx[way].random())}

    same = random.Random(1)
    expected = (same.random(), same.random())
    for _ in range(2):
        assert values(make(draw(), draw_again(), initial_ctx={way: random.Random(1)}).run()) == [expected]
    assert len(ran()) == 2
    assert "not cached: it changes its cell's copy of an object" in log.text(logging.WARNING)


@pytest.mark.parametrize("version", [None, 1])
def test_what_cannot_be_tracked_in_code_is_named_once_and_version_is_the_way_out(make, note, ran, log, version):
    opened = Path("opened.txt").open("w")  # noqa: SIM115

    @pipeline_step(cacheable=True, version=version)
    def writing(data, ctx):
        opened.fileno()
        note()
        return data

    for _ in range(2):
        make(writing()).run(replicates=3)
    opened.close()
    warned = [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]
    if version is None:
        assert len(warned) == 2, "once in each run"
        assert "TextIOWrapper" in warned[0]
        assert "version=" in warned[0]
        assert len(ran()) == 6
    else:
        assert warned == []
        assert len(ran()) == 1


class Writing(PipelineStep):
    cacheable = True
    opened = itertools.count()

    def __init__(self, note):
        self._note = note

    def __call__(self, data, ctx):
        self._note()
        return data, {"out": str(self.opened)[:5]}


class VersionedWriting(Writing):
    version = "1"


def test_a_version_vouches_for_what_a_class_of_steps_holds_but_not_for_its_attributes(make, note, ran, log):
    for kind, times in ((Writing, 2), (VersionedWriting, 1)):
        for _ in range(2):
            make(kind(note)).run()
        assert len(ran()) == times
    step = VersionedWriting(note)
    step.given = itertools.count()
    for _ in range(2):
        make(step).run()
    assert len(ran()) == 2


class Reading(PipelineStep):
    cacheable = True

    def __init__(self, source=None):
        self.source = source

    def __call__(self, data, ctx):
        source = self.source or ctx["source"]
        return data, {"out": source.execute("select value from t").fetchone()[0]}


@pytest.mark.parametrize("place", ["attribute", "parameter", "injected", "read"])
def test_two_connections_are_never_taken_for_one(make, log, values, place):
    def connect(value):
        connection = sqlite3.connect(":memory:")
        connection.execute("create table t as select ? as value", (value,))
        return connection

    @pipeline_step(cacheable=True)
    def ask(data, ctx, *, source):
        return data, {"out": source.execute("select value from t").fetchone()[0]}

    found = []
    for value in (1, 2):
        with contextlib.closing(connect(value)) as source:
            steps = {
                "attribute": Reading(source),
                "parameter": ask(source=source),
                "injected": ask(),
                "read": Reading(),
            }
            context = {"source": source} if place in ("injected", "read") else {}
            found += values(make(steps[place], initial_ctx=context).run(replicates=2))
    assert found == [1, 1, 2, 2]
    warned = [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]
    assert len(warned) == 2
    assert "sqlite3.Connection" in warned[0]
    assert "resource_factory" in warned[0]


class Guarded(PipelineStep):
    cacheable = True

    def __init__(self, note):
        self._note, self._lock = note, threading.RLock()

    def __call__(self, data, ctx):
        with self._lock, ctx["lock"]:
            self._note()
            return data


def test_locks_are_all_alike(make, note, ran, log):
    for _ in range(2):
        make(Guarded(note), initial_ctx={"lock": threading.Lock()}).run()
    assert ran() == ["ran"]
    assert log.text(logging.WARNING) == ""


class Shy:
    def __fingerprint__(self):
        raise RuntimeError("not to be looked at")

    def __reduce__(self):
        raise RuntimeError("nor this way")


@pytest.mark.parametrize("place", ["input", "read", "injected", "parameter", "metric", "output"])
def test_what_refuses_to_be_hashed_fails_no_step(make, note, ran, log, values, place):
    @pipeline_step()
    def before(data, ctx):
        if place == "metric":
            ctx.record("shy", Shy())
        return data

    @pipeline_step(cacheable=True)
    def look(data, ctx, *, shy=None):
        note()
        found = ctx.get("read"), ctx.metrics["shy"]
        return Shy() if place == "output" else len(found), {"out": 1}

    source = data_source(lambda ctx: Shy() if place == "input" else 0)()
    context = {"read": {"read": Shy()}, "injected": {"shy": Shy()}}.get(place, {})
    step = look(shy=Shy()) if place == "parameter" else look()
    for _ in range(2):
        assert values(make(before(), step, source=source, initial_ctx=context).run()) == [1]
    assert len(ran()) == 2
    assert log.text(logging.WARNING) == ""


def test_a_step_that_replaces_the_generators_source_is_not_cached(make, note, ran):
    @pipeline_step(cacheable=True)
    def replace(data, ctx):
        note()
        ctx.set_rng_factory(ctx["factory"])
        return data

    for _ in range(2):
        make(replace(), initial_ctx={"factory": lambda position: None}).run()
    assert len(ran()) == 2
