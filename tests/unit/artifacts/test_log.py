"""A write-ahead log that was left behind is read as a whole, or refused."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from crystallize.errors import StoreError
from crystallize_plugins.artifacts.database.log import check_log


@pytest.fixture
def dead(tmp_path):
    """What a process with five commits leaves behind when it is killed."""
    place = tmp_path / "alive"
    place.mkdir()
    writer = sqlite3.connect(place / "run.db", isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("CREATE TABLE t (x)")
    for _ in range(5):
        writer.execute("INSERT INTO t VALUES (zeroblob(5000))")
    left = tmp_path / "dead"
    shutil.copytree(place, left)
    writer.close()
    return left / "run.db"


def rows(database):
    source = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return source.execute("SELECT count(*) FROM t").fetchone()[0]
    finally:
        source.close()


def test_a_log_that_is_whole_passes(dead):
    check_log(dead)
    assert rows(dead) == 5
    check_log(dead)


def test_no_log_and_an_empty_one_pass(tmp_path):
    check_log(tmp_path / "run.db")
    (tmp_path / "run.db-wal").write_bytes(b"")
    check_log(tmp_path / "run.db")


def test_damage_anywhere_is_noticed(dead, tmp_path):
    chance = random.Random(20240607)
    content = Path(f"{dead}-wal").read_bytes()
    for number in range(60):
        copy = tmp_path / str(number)
        shutil.copytree(dead.parent, copy)
        damaged = bytearray(content)
        if number % 3:
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        else:
            damaged = damaged[: chance.randrange(len(damaged))]
        (copy / "run.db-wal").write_bytes(damaged)
        with pytest.raises(StoreError, match="its log is damaged"):
            check_log(copy / "run.db")


@pytest.mark.parametrize("left", [b"", None], ids=["empty", "gone"])
def test_a_log_that_is_gone_while_its_index_is_there_is_noticed(left, dead):
    log = Path(f"{dead}-wal")
    log.unlink()
    if left is not None:
        log.write_bytes(left)
    with pytest.raises(StoreError, match="its log is damaged"):
        check_log(dead)


def test_a_commit_that_was_not_acknowledged_is_no_damage(dead):
    """What a loss of power leaves of the last commit, and the index is of the time before."""
    content = bytearray(Path(f"{dead}-wal").read_bytes())
    content[-100] ^= 1
    Path(f"{dead}-wal").write_bytes(content)
    Path(f"{dead}-shm").unlink()
    check_log(dead)
    assert rows(dead) == 4
    check_log(dead)


def test_several_commits_behind_the_damage_are_missed_without_an_index_too(dead):
    content = bytearray(Path(f"{dead}-wal").read_bytes())
    content[len(content) // 2] ^= 1
    Path(f"{dead}-wal").write_bytes(content)
    Path(f"{dead}-shm").unlink()
    with pytest.raises(StoreError, match="commits follow that cannot be read"):
        check_log(dead)


def test_an_index_that_may_not_be_looked_at_is_left_alone(dead):
    content = bytearray(Path(f"{dead}-wal").read_bytes())
    content[-100] ^= 1
    Path(f"{dead}-wal").write_bytes(content)
    check_log(dead, index=False)
    with pytest.raises(StoreError, match="what was committed last"):
        check_log(dead)


def test_what_an_earlier_log_left_in_the_file_means_nothing(dead):
    """A log is begun anew in the same file, whose end then still holds the one before."""
    writer = sqlite3.connect(dead, isolation_level=None)
    writer.execute("PRAGMA wal_checkpoint(RESTART)")
    writer.execute("INSERT INTO t VALUES (1)")
    copy = dead.parent.with_name("again")
    shutil.copytree(dead.parent, copy)
    writer.close()
    check_log(copy / "run.db")
    assert rows(copy / "run.db") == 6
