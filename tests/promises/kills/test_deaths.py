"""Cells that brought their worker down, or could not travel, are run again by a resumed run, and nothing else is."""

from __future__ import annotations

import ctypes
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from crystallize import ArtifactPlugin, ParallelExecution, Treatment, pipeline_step
from crystallize_plugins.artifacts import list_runs

pytestmark = pytest.mark.timeout(60)
HOME = os.getpid()
VICTIMS = [("baseline", 2), ("baseline", 9), ("t", 5)]


class NoPickle:
    def __reduce__(self):
        raise ValueError("not for export")


class NoRebuild:
    def __init__(self):
        self.home = HOME

    def __setstate__(self, state):
        raise ValueError("no way home")


class OddError(Exception):
    def __init__(self, code, *, where):
        super().__init__(f"code {code} at {where}")


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def broken():
    ctypes.string_at(0)


def left():
    os._exit(3)


def hungry():
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 32, hard))
    bytearray(1 << 40)


def odd():
    raise OddError(3, where="home")


HOW = {
    "SIGKILL": (killed, "WorkerCrashError", "SIGKILL"),
    "SIGSEGV": (broken, "WorkerCrashError", "SIGSEGV"),
    "os._exit": (left, "WorkerCrashError", "exit code 3"),
    "out of memory": (hungry, "MemoryError", ""),
    "an error while running": (odd, "OddError", "code 3 at home"),
    "an error while pickling": (NoPickle, "SerializationError", "not for export"),
    "an error while unpickling": (NoRebuild, "SerializationError", "no way home"),
}


@pytest.mark.parametrize("how", HOW)
def test_cells_that_died_are_run_again_by_a_resumed_run_and_no_others(how, build, tmp_path, tally):
    strike, kind, word = HOW[how]
    armed, log = os.fspath(tmp_path / "armed"), os.fspath(tmp_path / "log")  # a path would count with its content

    @pipeline_step()
    def work(data, ctx, *, delta=0):
        cell = (ctx["condition"], ctx["replicate"])
        with Path(log).open("a") as file:
            file.write(f"{cell[0]} {cell[1]}\n")
        ctx.metrics.add("drawn", float(ctx.rng.random()) + delta)
        if Path(armed).exists() and cell in VICTIMS:
            what = strike()
            if what is not None:
                ctx.metrics.add("odd", what)
        return data

    def run(**more):
        Path(log).unlink(missing_ok=True)
        plugins = [ArtifactPlugin(), ParallelExecution(2, "process")]
        result = build(work(), plugins=plugins, treatments=[Treatment("t", {"delta": 5})]).run(replicates=12, **more)
        return result, Counter(
            (name, int(number)) for name, number in map(str.split, Path(log).read_text().splitlines())
        )

    whole, _ = run()
    Path(armed).touch()
    result, _ = run()
    assert sorted(result.errors) == sorted(f"{condition}_rep_{replicate}" for condition, replicate in VICTIMS)
    for error in result.errors.values():
        assert error.error_type == kind
        assert word in str(error)
    assert len(result.metrics.baseline.metrics["drawn"]) == 10
    Path(armed).unlink()
    resumed, ran = run(strategy="resume")
    assert ran == dict.fromkeys(VICTIMS, 1)
    assert not resumed.errors
    for name, measured in (("baseline", whole.metrics.baseline), ("t", whole.metrics.treatments["t"])):
        got = resumed.metrics.baseline if name == "baseline" else resumed.metrics.treatments[name]
        assert list(got.metrics["drawn"]) == list(measured.metrics["drawn"])
        assert got.metrics["drawn"].replicates == list(range(12))
    assert list_runs()[-1].result().metrics.baseline.metrics["drawn"] == whole.metrics.baseline.metrics["drawn"]
    tally(f"a cell struck by {how}", cells=len(VICTIMS), others_kept=24 - len(VICTIMS), run_again=len(VICTIMS))


def test_a_run_that_could_not_begin_is_resumed_once_its_cause_is_gone(build, tmp_path):
    from crystallize.errors import SerializationError

    @pipeline_step()
    def use(data, ctx, *, tool=None):
        ctx.metrics.add("fine", ctx["replicate"])
        return data

    def run(tool):
        plugins = [ArtifactPlugin(), ParallelExecution(2, "process")]
        return build(use(tool=tool), plugins=plugins).run(replicates=4, strategy="resume")

    with pytest.raises(SerializationError, match="not for export"):
        run(NoPickle())
    assert [stored.status for stored in list_runs()] == ["interrupted"]
    assert list(run("sound").metrics.baseline.metrics["fine"]) == [0, 1, 2, 3]


def test_whoever_dies_while_others_work_costs_a_resumed_run_nothing_more(build, tmp_path):
    """The workers of a resumed run may die as those of any other."""
    names = {name: os.fspath(tmp_path / name) for name in ("log", "first", "second")}  # paths count with their content

    @pipeline_step()
    def work(data, ctx):
        with Path(names["log"]).open("a") as file:
            file.write(f"{ctx['replicate']}\n")
        ctx.metrics.add("drawn", float(ctx.rng.random()))
        if ctx["replicate"] >= 6 and Path(names["first"]).exists():
            raise ValueError("not yet")
        if ctx["replicate"] == 8 and not Path(names["second"]).exists():
            Path(names["second"]).touch()
            killed()
        return data

    def run(*plugins, **more):
        return build(work(), plugins=plugins).run(replicates=12, **more)

    Path(names["first"]).touch()
    assert len(run(ArtifactPlugin()).errors) == 6
    Path(names["first"]).unlink()
    Path(names["log"]).unlink()
    resumed = run(ArtifactPlugin(), ParallelExecution(2, "process"), strategy="resume")
    assert not resumed.errors
    ran = Counter(map(int, Path(names["log"]).read_text().split()))
    assert ran == {6: 1, 7: 1, 8: 2, 9: 1, 10: 1, 11: 1}
    assert resumed.metrics.baseline.metrics["drawn"] == run().metrics.baseline.metrics["drawn"]
