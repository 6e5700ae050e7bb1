"""What belongs to a worker: resources, setup and teardown, its hooks, its environment."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from crystallize import (
    AsyncExecution,
    BasePlugin,
    ParallelExecution,
    PipelineStep,
    SerialExecution,
    pipeline_step,
    resource_factory,
)


class Diary:
    """Notes lines in one file, from whatever process."""

    def __init__(self, path):
        self.path = str(path)

    def note(self, *words):
        with Path(self.path).open("a", encoding="utf-8") as file:
            file.write(" ".join(map(str, [os.getpid(), threading.get_ident(), *words])) + "\n")

    def lines(self, word):
        text = Path(self.path).read_text(encoding="utf-8") if Path(self.path).exists() else ""
        return [line.split() for line in text.splitlines() if word in line.split()]


@pytest.fixture
def diary(tmp_path):
    return Diary(tmp_path / "diary.txt")


@pytest.mark.parametrize(
    "make, most",
    [
        (SerialExecution, 1),
        (lambda: ParallelExecution(3), 3),
        (lambda: ParallelExecution(2, "process"), 2),
        (AsyncExecution, 1),
    ],
    ids=["serial", "thread", "process", "async"],
)
def test_a_resource_is_made_once_in_each_worker_and_closed_there(make, most, build, diary):
    def connect(ctx):
        diary.note("made")
        return [os.getpid(), threading.get_ident()]

    def close(resource):
        diary.note("closed", *resource)

    @pipeline_step()
    async def use(data, ctx, *, db):
        await asyncio.sleep(0.002)
        diary.note("used")
        ctx.metrics.add("same", db is ctx["db"])
        return data

    factory = resource_factory(connect, close=close)
    result = build(use(), plugins=[make()], initial_ctx={"db": factory}).run(replicates=12)
    assert not result.errors
    made, closed = diary.lines("made"), diary.lines("closed")
    assert 1 <= len(made) <= most
    assert sorted(line[:2] for line in made) == sorted(line[:2] for line in closed)
    assert all(line[:2] == line[3:] for line in closed)
    assert {line[0] for line in diary.lines("used")} == {line[0] for line in made}


class Prepared(PipelineStep):
    def __init__(self, diary):
        self.diary = diary

    @property
    def params(self):
        return {}

    def setup(self, ctx):
        self.diary.note("setup")
        ctx.add("prepared_by", os.getpid())

    def __call__(self, data, ctx):
        ctx.metrics.add("at_home", ctx["prepared_by"] == os.getpid())
        return data

    def teardown(self, ctx):
        self.diary.note("teardown")


def test_setup_and_teardown_come_once_in_each_process(processes, build, diary):
    for _ in range(2):
        result = build(Prepared(diary), plugins=[processes]).run(replicates=8)
        assert list(result.metrics.baseline.metrics["at_home"]) == [True] * 8
    setups, teardowns = [line[0] for line in diary.lines("setup")], [line[0] for line in diary.lines("teardown")]
    assert sorted(setups) == sorted(teardowns)
    assert len(set(setups)) == len(setups) <= 4
    assert str(os.getpid()) not in setups


class Watch(BasePlugin):
    neutral = True

    def __init__(self, diary):
        self.diary = diary

    def worker_start(self):
        self.diary.note("start")

    def worker_stop(self):
        self.diary.note("stop")


def test_worker_hooks_come_once_in_each_process(processes, build, diary):
    @pipeline_step()
    def nothing(data, ctx):
        return data

    build(nothing(), plugins=[Watch(diary), processes]).run(replicates=6)
    starts, stops = [line[0] for line in diary.lines("start")], [line[0] for line in diary.lines("stop")]
    assert sorted(starts) == sorted(stops)
    assert 1 <= len(set(starts)) == len(starts) <= 2
    assert str(os.getpid()) not in starts


def test_an_error_in_a_workers_teardown_is_kept_with_the_result(build, diary):
    class Careless(Prepared):
        def teardown(self, ctx):
            raise OSError("the drawer is stuck")

    result = build(Careless(diary), plugins=[ParallelExecution(1, "process")]).run(replicates=2)
    assert list(result.metrics.baseline.metrics["at_home"]) == [True, True]
    assert "the drawer is stuck" in " ".join(map(str, result.errors.values()))


def test_workers_see_folder_environment_and_path_as_they_are_now(processes, build, tmp_path, monkeypatch):
    @pipeline_step()
    def look(data, ctx):
        import surroundings_of_today

        ctx.metrics.add("folder", str(Path.cwd()))
        ctx.metrics.add("variable", os.environ.get("HELD_TODAY"))
        ctx.metrics.add("module", surroundings_of_today.ANSWER)
        return data

    monkeypatch.setattr("sys.dont_write_bytecode", True)
    for day in ("monday", "tuesday"):
        folder = tmp_path / day
        folder.mkdir()
        (folder / "surroundings_of_today.py").write_text(f"ANSWER = {day!r}\n")
        monkeypatch.chdir(folder)
        monkeypatch.setenv("HELD_TODAY", day)
        monkeypatch.syspath_prepend(folder)
        found = build(look(), plugins=[processes]).run(replicates=1)
        assert not found.errors, found.errors
        values = {name: list(value) for name, value in found.metrics.baseline.metrics.items()}
        assert values == {"folder": [str(folder)], "variable": [day], "module": [day]}


def test_outcomes_say_who_ran_them(build):
    @pipeline_step()
    def slow(data, ctx):
        import time

        time.sleep(0.02)
        return data

    for plugin, kind in ((ParallelExecution(2), "thread"), (ParallelExecution(2, "process"), "process")):
        workers = {outcome.worker for outcome in build(slow(), plugins=[plugin]).stream(replicates=8)}
        assert workers == {f"{kind}-0", f"{kind}-1"}


def test_a_thread_keeps_the_callers_context_variables(build):
    from contextvars import ContextVar

    who = ContextVar("who", default="nobody")

    @pipeline_step()
    def ask(data, ctx):
        ctx.metrics.add("who", who.get())
        return data

    token = who.set("the caller")
    result = build(ask(), plugins=[ParallelExecution(2)]).run(replicates=3)
    who.reset(token)
    assert list(result.metrics.baseline.metrics["who"]) == ["the caller"] * 3


def test_functions_that_steps_leave_for_the_end_of_the_process_run_there(build, tmp_path):
    mark = tmp_path / "left"

    @pipeline_step()
    def leave(data, ctx):
        import atexit

        atexit.register(mark.write_text, str(os.getpid()))
        return data

    build(leave(), plugins=[ParallelExecution(1, "process")]).run(replicates=1)
    assert mark.read_text() != str(os.getpid())
