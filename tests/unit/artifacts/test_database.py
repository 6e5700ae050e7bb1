"""The database of a run: made at once, read without leaving a trace, and damage named."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from crystallize.errors import StoreError
from crystallize_plugins.artifacts.database import connection as database
from crystallize_plugins.artifacts.database.schema import APPLICATION, VERSION


@pytest.fixture
def folder(tmp_path):
    run = tmp_path / "data" / "exp" / "v0"
    run.mkdir(parents=True)
    return run


def add(connection, count=1):
    for _ in range(count):
        connection.execute("INSERT INTO event VALUES ('a', 'b', 0)")


def cells(folder):
    with database.reading(folder) as source:
        return source.execute("SELECT count(*) FROM event").fetchone()[0]


@pytest.mark.parametrize("rollback", [False, True])
def test_what_is_committed_can_be_read_while_the_writer_goes_on(folder, rollback):
    writer = database.create(folder, rollback=rollback)
    add(writer, 3)
    assert cells(folder) == 3
    add(writer)
    assert cells(folder) == 4
    writer.close()
    assert cells(folder) == 4


def test_the_writer_waits_for_the_disk_at_every_commit(folder):
    writer = database.create(folder)
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)
    writer.close()


def test_a_closed_database_is_one_file_and_reading_leaves_it_so(folder, files_below):
    writer = database.create(folder)
    add(writer)
    writer.close()
    before = (folder / "run.db").stat()
    assert cells(folder) == 1
    assert files_below(folder) == ["run.db"]
    assert (folder / "run.db").stat().st_mtime_ns == before.st_mtime_ns


def test_what_a_killed_writer_committed_can_be_read_and_stays_as_it_was(folder, tmp_path):
    writer = database.create(folder)
    add(writer, 5)
    # What is on the disk while the writer is alive is what it leaves behind when it is killed.
    dead = tmp_path / "dead"
    shutil.copytree(folder, dead)
    writer.close()
    before = {path.name: path.read_bytes() for path in dead.iterdir() if path.suffix != ".db-shm"}
    assert before["run.db-wal"]
    assert cells(dead) == 5
    assert {path.name: path.read_bytes() for path in dead.iterdir() if path.suffix != ".db-shm"} == before


def test_half_a_commit_to_a_rollback_journal_is_undone(folder, tmp_path):
    writer = database.create(folder, rollback=True)
    add(writer, 2)
    writer.execute("PRAGMA cache_size = 1")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO event VALUES ('a', zeroblob(1000000), 0)")
    dead = tmp_path / "dead"
    shutil.copytree(folder, dead)
    assert (dead / "run.db-journal").stat().st_size > 0
    writer.execute("ROLLBACK")
    writer.close()
    assert cells(dead) == 2


def test_a_run_without_a_database_reads_like_an_empty_one(folder, files_below):
    assert cells(folder) == 0
    assert files_below(folder) == []


def test_a_database_of_something_else_is_refused(folder):
    other = sqlite3.connect(folder / "run.db")
    other.execute("CREATE TABLE event (x)")
    other.close()
    with pytest.raises(StoreError, match="no database of a run") as caught:
        cells(folder)
    assert caught.value.path == str(folder / "run.db")


def test_a_later_version_says_what_to_upgrade(folder):
    writer = database.create(folder)
    writer.execute(f"PRAGMA user_version = {VERSION + 1}")
    writer.close()
    with pytest.raises(StoreError, match="pip install --upgrade crystallize-plugins"):
        cells(folder)


def test_a_file_that_is_no_database_is_named(folder):
    (folder / "run.db").write_bytes(b"x" * 4096)
    with pytest.raises(StoreError, match=r"cannot read .*run\.db: file is not a database"):
        cells(folder)


def test_the_file_says_what_it_is(folder):
    database.create(folder).close()
    header = (folder / "run.db").read_bytes()[:100]
    assert header[68:72] == APPLICATION.to_bytes(4, "big") == b"CRYS"


def test_a_folder_that_cannot_be_written_to_is_an_error():
    with pytest.raises(OSError, match="nowhere"):
        database.create(Path("nowhere/exp/v0"))
