"""The one writer of a run: groups, tickets, errors."""

from __future__ import annotations

import sqlite3
import sys
import threading
import time
from contextlib import suppress

import pytest

from crystallize.engine.record import condition_records
from crystallize.errors import RunStateError, StoreError
from crystallize_plugins.artifacts import operations
from crystallize_plugins.artifacts.database import connection as database
from crystallize_plugins.artifacts.database.facts import Session, facts_of
from crystallize_plugins.artifacts.database.owner import RunLock, is_alive
from crystallize_plugins.artifacts.database.writer import RunWriter
from crystallize_plugins.artifacts.reading.stored import StoredRun


@pytest.fixture
def start(view, tmp_path):
    """Start to write a run."""
    writers, locks = [], []

    def make(**fields):
        run = tmp_path / "data" / "exp" / f"v{len(writers)}"
        run.mkdir(parents=True)
        experiment = view(**fields)
        facts = facts_of(experiment, versioned=True)
        lock = RunLock(run)
        locks.append(lock)
        writers.append(
            RunWriter(
                run,
                facts,
                Session(lock.owner, facts.id),
                lock,
                describe=lambda names: condition_records(experiment, names),
                conditions=["baseline", *(treatment.name for treatment in experiment.treatments)],
            )
        )
        return writers[-1]

    yield make
    for writer, lock in zip(writers, locks, strict=True):
        with suppress(RunStateError, StoreError):
            writer.finish({}).wait()
        lock.release()


def stored(writer):
    return list(StoredRun(writer.folder).lazy_outcomes())


@pytest.fixture
def commits(monkeypatch):
    """The moments of commits."""
    moments = []
    real = operations.commit

    def commit(connection):
        real(connection)
        moments.append(time.monotonic())

    monkeypatch.setattr(operations, "commit", commit)
    return moments


def until(condition, seconds=30):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.001)


def test_what_a_ticket_was_waited_for_is_stored(start, outcome):
    writer = start()
    for replicate in range(20):
        each = outcome("baseline", replicate, {"loss": [0.5]})
        writer.collect(each).wait()
        assert each.cell in stored(writer)


def test_the_last_outcome_is_stored_though_nobody_waits_and_nothing_follows(start, outcome):
    writer = start()
    writer.collect(outcome("baseline", 0, {"loss": [0.5]}))
    until(lambda: (writer.folder / "run.db").exists() and len(stored(writer)) == 1)


def test_outcomes_that_arrive_together_share_a_commit_and_a_ticket(start, outcome, commits):
    writer = start()
    tickets = [writer.collect(outcome("baseline", replicate, {"loss": [0.5]})) for replicate in range(1000)]
    tickets[-1].wait()
    assert len(stored(writer)) == 1000
    assert len(commits) == len({id(ticket) for ticket in tickets}) < 500
    assert all(ticket.done for ticket in tickets)


def test_nothing_but_the_folder_is_opened_before_the_first_outcome(start):
    before = {*threading.enumerate()}
    writer = start()
    assert [thread.name for thread in {*threading.enumerate()} - before] == ["crystallize-heartbeat"]
    assert list(writer.folder.iterdir()) == []


def test_outcomes_from_many_threads_are_all_stored(start, outcome):
    writer = start()

    def hand_in(first):
        for replicate in range(first, first + 200):
            writer.collect(outcome("baseline", replicate, {f"loss{replicate % 7}": [0.5] * (replicate % 5)}))

    threads = [threading.Thread(target=hand_in, args=(200 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.finish({}).wait()
    assert len(stored(writer)) == 1600


def test_a_busy_interpreter_does_not_starve_the_writer(start, outcome, commits):
    writer = start()
    interval = sys.getswitchinterval()
    handed_in = 0
    while len(commits) < 3:
        writer.collect(outcome("baseline", handed_in, {"loss": [0.5]}))
        handed_in += 1
        # Hold the interpreter for longer than a group takes.
        limit = time.perf_counter() + 4 * interval
        while time.perf_counter() < limit:
            pass
        assert handed_in < 500


def test_a_finished_run_is_one_file_and_closed(start, outcome, files_below):
    writer = start()
    writer.collect(outcome())
    writer.finish({"facts": {"a": 1}}).wait()
    assert files_below(writer.folder) == ["run.db"]


def test_a_run_without_a_single_cell_is_stored(start):
    writer = start()
    writer.finish({}).wait()
    with database.reading(writer.folder) as source:
        assert source.execute("SELECT id FROM run").fetchone() == (writer.facts.id,)
        assert source.execute("SELECT ended IS NULL FROM session").fetchone() == (0,)


def test_artifacts_are_on_the_disk_before_the_row_that_names_them(start, outcome, monkeypatch):
    writer = start()
    seen = []
    real = RunWriter._insert

    def look(self, connection, group, files):
        seen.append([(self.folder / row[4]).read_bytes() for row in files])
        real(self, connection, group, files)

    monkeypatch.setattr(RunWriter, "_insert", look)
    each = outcome("baseline", 2, {"loss": [0.5]}, files={"model.bin": b"\0\1", "log.txt": b"x" * 100_000})
    writer.collect(each).wait()
    assert seen == [[b"\0\1", b"x" * 100_000]]
    model, log = each.artifacts
    assert model.path == str(writer.folder / "replicate_2/baseline/FitStep/model.bin")
    assert (model.data, model.size, log.size) == (None, 2, 100_000)
    assert model.sha256 == "b413f47d13ee2fe6c845b2ee141af81de858df4ec549a58b7970bb96645bc8d2"


def test_what_waits_to_be_written_is_bounded(start, outcome):
    writer = start()
    waiting = []
    for replicate in range(12):
        each = outcome("baseline", replicate, files={"big": bytes(8 * 2**20)})
        writer.collect(each)
        waiting.append(each)
        assert sum(len(one.artifacts[0].data or b"") for one in waiting) < 100 * 2**20


def test_a_disk_error_reaches_whoever_waits_and_whoever_comes_next(start, outcome):
    writer = start()
    writer.collect(outcome()).wait()
    (writer.folder / "replicate_1").write_text("a file where a folder has to be")
    ticket = writer.collect(outcome("baseline", 1, files={"a": b""}))
    with pytest.raises(StoreError, match="replicate_1") as caught:
        ticket.wait()
    assert caught.value.path
    with pytest.raises(StoreError, match="replicate_1"):
        writer.collect(outcome("baseline", 2))
    with pytest.raises(StoreError, match="replicate_1"):
        writer.finish({})
    assert not is_alive(writer._run_lock.owner, writer.folder)
    assert [replicate for _, replicate in stored(writer)] == [0]


def test_an_error_of_the_database_names_its_file(start, outcome):
    writer = start()
    writer.collect(outcome()).wait()
    intruder = sqlite3.connect(writer.folder / "run.db")
    intruder.execute("DROP TABLE cell")
    intruder.close()
    with pytest.raises(StoreError, match=r"run\.db: no such table: cell"):
        writer.collect(outcome("baseline", 1)).wait()


def test_a_folder_that_vanished_is_an_error(start, outcome):
    writer = start()
    writer.folder.rmdir()
    with pytest.raises(StoreError, match=r"v0"):
        writer.collect(outcome()).wait()


def test_a_finished_run_takes_nothing_more(start, outcome):
    writer = start()
    writer.finish({}).wait()
    with pytest.raises(RunStateError, match="finished"):
        writer.collect(outcome())
    with pytest.raises(RunStateError, match="finished"):
        writer.finish({})


def test_conditions_that_join_later_are_recorded(start, outcome):
    writer = start()
    writer.collect(outcome("trial_1", 0, {"loss": [0.5]}))
    writer.finish({}).wait()
    with database.reading(writer.folder) as source:
        assert source.execute("SELECT name FROM condition ORDER BY id").fetchall() == [("baseline",), ("trial_1",)]
