"""One process writes a run, wherever others look from; who has lost it damages nothing."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests import programs

from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, data_source, pipeline_step
from crystallize.errors import RunLockedError, StoreError
from crystallize_plugins.artifacts import list_runs, open_run
from crystallize_plugins.artifacts.database.schema import seal

PROGRAM = """
    import os, sys, time
    from pathlib import Path
    from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, data_source, pipeline_step
    from crystallize.errors import StoreError

    WHO, REPLICATES, STRATEGY = sys.argv[1], int(sys.argv[2]), sys.argv[3]

    @data_source
    def source(ctx):
        return ctx["replicate"]

    @pipeline_step()
    def work(data, ctx):
        Path(f"began-{WHO}-{data}").touch()
        while Path(f"hold-{WHO}-{data}").exists():
            time.sleep(0.005)
        ctx.artifacts.add("who.txt", WHO)
        return data, {"x": data}

    try:
        experiment = Experiment(source(), Pipeline([work()]), [SeedPlugin(seed=1), ArtifactPlugin()], name="exp")
        result = experiment.run(replicates=REPLICATES, strategy=STRATEGY)
        print("done", (result.provenance.get("resume") or {}).get("kept"))
    except StoreError as error:
        print(type(error).__name__, error)
"""
V0 = Path("data/exp/v0")


@pytest.fixture
def start():
    """Start the program, by a command in front of it; give the process."""
    Path("program.py").write_text(textwrap.dedent(PROGRAM), encoding="utf-8")
    started = []

    def begin(who, replicates=3, strategy="resume", *, before=()):
        command = [*before, sys.executable, "program.py", who, str(replicates), strategy]
        # Of another namespace nothing can be forked from here.
        process = (subprocess.Popen if before else programs.popen)(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def said(process):
    return process.communicate(timeout=120)[0].strip()


def until(condition):
    limit = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


def began(who, replicate):
    until(Path(f"began-{who}-{replicate}").exists)


def content(folder):
    return {path: path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


# -- whom others take for dead -----------------------------------------------------------------------

_NO_PROC = 'mount -t tmpfs none /proc && exec "$@"'
_OTHER_BOOT = 'echo 01234567-89ab-cdef-0123-456789abcdef > boot && mount --bind boot "$(readlink -f \
/proc/sys/kernel/random)/boot_id" && exec "$@"'
ELSEWHERE = {
    "host name": ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"],
    "container": ["unshare", "--pid", "--fork", "--mount-proc"],
    "no proc": ["unshare", "--mount", "sh", "-c", _NO_PROC, "sh"],
    "boot identifier": ["unshare", "--mount", "sh", "-c", _OTHER_BOOT, "sh"],
    # Who may look at what is another's, as the folders of these tests are.
    "user": [
        "setpriv",
        "--reuid",
        "4321",
        "--clear-groups",
        "--inh-caps=+dac_read_search",
        "--ambient-caps=+dac_read_search",
    ],
}


def _can(command):
    return (
        bool(shutil.which(command[0]))
        and not subprocess.run([*command, "true"], capture_output=True, check=False).returncode
    )


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
@pytest.mark.parametrize("where", ELSEWHERE)
def test_a_run_in_its_first_cell_is_locked_for_whoever_looks_and_free_once_its_owner_is_killed(start, where):
    if not _can(ELSEWHERE[where]):
        pytest.skip("this needs root, and a system that lets it make namespaces and users")
    Path("hold-a-0").touch()
    first = start("a")
    began("a", 0)
    os.utime(V0 / "run.json", (1, 1))
    answer = said(start("b", before=ELSEWHERE[where]))
    assert answer.startswith("RunLockedError")
    assert f"process {first.pid} on" in answer
    assert not list(Path().glob("began-b-*"))
    first.send_signal(signal.SIGKILL)
    first.wait()
    if where in ("host name", "container"):
        assert said(start("b", before=ELSEWHERE[where])) == "done 0"  # at once: they are on one kernel


def test_a_run_whose_owner_is_stopped_is_locked(start):
    Path("hold-a-1").touch()
    first = start("a")
    began("a", 1)
    first.send_signal(signal.SIGSTOP)
    os.utime(V0 / "run.json", (1, 1))
    assert said(start("b")).startswith("RunLockedError")
    Path("hold-a-1").unlink()
    first.send_signal(signal.SIGCONT)
    assert said(first) == "done 0"


# -- who has lost a run ------------------------------------------------------------------------------


def _removed():
    shutil.rmtree("data")


def _renamed():
    Path("data").rename("old")


def _replaced_by_a_copy():
    Path("data").rename("old")
    shutil.copytree("old", "data")


def _database_replaced():
    shutil.copy(V0 / "run.db", "run.db")
    Path("run.db").replace(V0 / "run.db")


def _database_removed():
    (V0 / "run.db").unlink()


def _nothing_is_written():
    before = content("data")
    time.sleep(0.2)
    return content("data") == before


@pytest.mark.parametrize("lose", [_removed, _renamed, _replaced_by_a_copy, _database_replaced, _database_removed])
@pytest.mark.parametrize("at", [0, 1], ids=["before the first commit", "later"])
def test_who_lost_its_folder_stops_and_leaves_what_lies_there_as_it_is(start, lose, at):
    if at == 0 and lose in (_database_replaced, _database_removed):
        pytest.skip("there is no database yet")
    Path(f"hold-a-{at}").touch()
    first = start("a", 4, "rerun")
    began("a", at)
    if at:
        until(lambda: len(list_runs()) == 1 and (V0 / "run.db").exists() and list_runs()[0].outcomes())
        until(_nothing_is_written)
    lose()
    if not lose.__name__.startswith("_database"):
        assert said(start("b", 4, "rerun")) == "done None"
    before = content("data")
    Path(f"hold-a-{at}").unlink()
    assert said(first).startswith("RunLockedError")
    assert content("data") == before
    if lose in (_renamed, _replaced_by_a_copy) and at:
        (kept,) = list_runs("old")
        assert (kept.status, [outcome.cell.replicate for outcome in kept.outcomes()]) == ("interrupted", [0])


def test_who_was_taken_over_while_it_could_not_be_seen_stops_and_changes_nothing(start):
    Path("hold-a-1").touch()
    first = start("a", 4, "rerun")
    began("a", 1)
    until(lambda: (V0 / "run.db").exists() and list_runs()[0].outcomes())
    with closing(sqlite3.connect(V0 / "run.db", timeout=60)) as other, other:
        # As a process on another machine does it.
        row = (2, "another run", "elsewhere", 17, "another kernel", time.time(), None, None)
        other.execute("INSERT INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, seal(*row)))
    before = {path: found for path, found in content("data").items() if not path.name.startswith("run.db")}
    Path("hold-a-1").unlink()
    answer = said(first)
    assert answer.startswith("RunLockedError")
    assert "process 17 on elsewhere has taken it over" in answer
    assert {path: found for path, found in content("data").items() if not path.name.startswith("run.db")} == before
    assert [outcome.cell.replicate for outcome in list_runs()[0].outcomes()] == [0]


# -- descriptors that a step closed ------------------------------------------------------------------


@data_source
def replicate(ctx):
    return ctx["replicate"]


def experiment(step, **store):
    return Experiment(replicate(), Pipeline([step]), [SeedPlugin(seed=1), ArtifactPlugin(**store)], name="exp")


CLOSES = """
    import os, sys
    from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, data_source, pipeline_step
    from crystallize.errors import StoreError

    @data_source
    def source(ctx):
        return ctx["replicate"]

    @pipeline_step()
    def work(data, ctx):
        if data == 20:
            os.closerange(3, 64)
            if sys.argv[1] == "reused":
                for number in range(30):
                    os.open("mine", os.O_RDWR | os.O_CREAT)
        return data, {"x": data}

    def build():
        return Experiment(source(), Pipeline([work()]), [SeedPlugin(seed=1), ArtifactPlugin()], name="exp")

    shown = []
    try:
        for outcome in build().stream(replicates=40):
            shown.append(outcome.cell.replicate)
        print("done", *shown)
    except StoreError as error:
        print(type(error).__name__, *shown)
"""


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="descriptors are listed in /dev/fd")
@pytest.mark.parametrize("how", ["closed", "reused"])
def test_what_was_shown_is_stored_though_a_step_closes_the_files_of_the_store(how):
    Path("program.py").write_text(textwrap.dedent(CLOSES), encoding="utf-8")
    done = programs.run([sys.executable, "program.py", how])
    kind, *shown = done.stdout.split()
    assert kind in ("done", "StoreError"), done.stderr
    stored = {outcome.cell.replicate for outcome in list_runs()[0].outcomes()}
    assert stored >= set(map(int, shown)) >= set(range(20))
    if how == "reused":
        assert Path("mine").read_bytes() == b""


# -- what has the name of a run, and is none ---------------------------------------------------------


@pytest.mark.parametrize("what", ["file", "link"])
def test_a_resumed_run_whose_name_is_taken_by_something_else_is_an_error(what):
    @pipeline_step()
    def work(data, ctx):
        return data, {"x": data}

    experiment(work()).run(replicates=2)
    taken = Path("data/exp/v1")
    taken.touch() if what == "file" else taken.symlink_to("/nowhere/at/all")
    assert experiment(work()).run(replicates=2, strategy="resume").provenance["run"]["version"] == 0

    @pipeline_step()
    def other(data, ctx):
        return data, {"x": data + 1}

    with pytest.raises(StoreError, match=r"v1 has the name of the next run, and is no folder"):
        experiment(other()).run(replicates=2, strategy="resume")
    assert sorted(path.name for path in Path("data/exp").iterdir()) == ["v0", "v1"]
    assert experiment(other()).run(replicates=2).provenance["run"]["version"] == 2


# -- runs that end beside each other -----------------------------------------------------------------


def test_a_run_that_ends_keeps_its_files_though_a_newer_one_goes_on():
    @pipeline_step()
    def work(data, ctx):
        ctx.artifacts.add("a", b"1")
        return data, {"x": data}

    older = experiment(work(), artifact_retention=1).stream(replicates=2)
    next(older)
    newer = experiment(work(), artifact_retention=1).stream(replicates=2)
    next(newer)
    files = "v{}/replicate_0/baseline/WorkStep/a"
    list(older)
    assert [Path("data/exp", files.format(version)).exists() for version in (0, 1)] == [True, True]
    list(newer)
    assert [Path("data/exp", files.format(version)).exists() for version in (0, 1)] == [False, True]


# -- runs of the version before ----------------------------------------------------------------------


def _made_older(path):
    """Make a database what version 3 had."""
    with closing(sqlite3.connect(path)) as source, source:
        (row,) = source.execute("SELECT id, run, host, pid, process, started, ended, stopped_by FROM session")
        row = (*row[:2], "12345", *row[2:])
        source.execute("DROP TABLE session")
        source.execute(
            "CREATE TABLE session (id INTEGER PRIMARY KEY, run TEXT NOT NULL, place TEXT NOT NULL, host TEXT NOT NULL, "
            "pid INTEGER NOT NULL, process TEXT NOT NULL, started DOUBLE NOT NULL, ended DOUBLE, stopped_by TEXT, "
            "seal INTEGER NOT NULL)"
        )
        source.execute("INSERT INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, seal(*row)))
        (view,) = source.execute("SELECT sql FROM sqlite_master WHERE name = 'step'").fetchone()
        source.execute("DROP VIEW step")
        source.execute(view[: view.index(" / iif")] + view[view.index(") AS seconds") :])
        source.execute("PRAGMA user_version = 3")


def test_a_run_of_the_version_before_opens_and_goes_on():
    @pipeline_step()
    def work(data, ctx):
        return data, {"x": data}

    experiment(work()).run(replicates=2)
    _made_older(V0 / "run.db")
    assert open_run(V0).metrics.baseline.metrics["x"] == [0, 1]
    result = experiment(work()).run(replicates=3, strategy="resume")
    assert (result.provenance["run"]["version"], result.provenance["resume"]["kept"]) == (0, 2)
    assert open_run(V0).metrics.baseline.metrics["x"] == [0, 1, 2]
    with closing(sqlite3.connect(V0 / "run.db")) as source:
        assert source.execute("PRAGMA user_version").fetchone() == (4,)
        seconds = [row[0] for row in source.execute("SELECT seconds FROM step ORDER BY replicate")]
    assert seconds == [steps[0]["duration"] for steps in result.provenance["ctx_changes"]["baseline"].values()]


def test_a_stream_that_was_left_is_named_and_can_be_closed():
    @pipeline_step()
    def work(data, ctx):
        return data, {"x": data}

    left = experiment(work()).stream(replicates=2)
    next(left)
    with pytest.raises(RunLockedError, match="this very process .*close the stream"):
        experiment(work()).run(replicates=2, strategy="resume")
    left.close()
    assert experiment(work()).run(replicates=2, strategy="resume").provenance["run"]["version"] == 0
