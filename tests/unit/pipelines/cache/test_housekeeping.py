"""The cache folder: where it is, how large it may get, and what is in it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from crystallize import pipeline_step
from crystallize.pipelines import cache
from crystallize.pipelines.cache import store
from crystallize.pipelines.cache.settings import DEFAULT_SIZE, current_settings
from crystallize.pipelines.cache.store import entries_folder


@pytest.fixture
def give(note):
    @pipeline_step(cacheable=True)
    def give(data, ctx, *, number=0, size=100):
        note(str(number))
        return bytes([number % 256]) * size

    return give


def test_the_folder_is_read_at_use(make, give, ran, monkeypatch, tmp_path):
    experiment = make(give())
    for folder in ("one", "two", "one"):
        monkeypatch.setenv("CRYSTALLIZE_CACHE_DIR", str(tmp_path / folder))
        experiment.run()
        assert cache.info().folder == tmp_path / folder
        assert cache.info().entries == 1
    assert len(ran()) == 2
    assert not (tmp_path / ".cache").exists()


def test_the_default_folder_is_in_the_working_directory(make, give, tmp_path):
    make(give()).run()
    assert cache.info().folder == tmp_path / ".cache"
    assert cache.info().limit == DEFAULT_SIZE


@pytest.mark.parametrize(
    "text,size",
    [("500", 500), ("1kb", 1000), ("2.5 MB", 2_500_000), ("1GiB", 2**30), ("3 GB", 3 * 10**9), ("", DEFAULT_SIZE)],
)
def test_the_limit_is_a_size(monkeypatch, text, size):
    monkeypatch.setenv("CRYSTALLIZE_CACHE_SIZE", text)
    assert cache.info().limit == size


def test_clear_removes_everything_that_is_ours_and_nothing_else(make, give, ran, entries):
    Path(".cache").mkdir()
    foreign = Path(".cache", "of another program")
    foreign.touch()
    for number in range(3):
        make(give(number=number)).run()
    (entries()[0].parent / ".tmp-left").touch()
    assert cache.clear() == 3
    assert cache.info()[1:3] == (0, 0)
    assert not list(Path(".cache").rglob(".tmp-*"))
    assert foreign.exists()
    assert cache.clear() == 0
    ran()
    make(give(number=1)).run()
    assert ran() == ["1"]


def test_clear_without_a_folder_removes_nothing_and_makes_none(tmp_path):
    assert cache.clear() == 0
    assert cache.info()[1:3] == (0, 0)
    assert not (tmp_path / ".cache").exists()


def test_the_folder_says_what_it_is_to_backups_and_to_version_control(make, give, tmp_path):
    make(give()).run()
    tag = tmp_path / ".cache" / "steps" / "CACHEDIR.TAG"
    assert tag.read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55")
    subprocess.run(["git", "init", "--quiet"], check=True)
    done = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all"], capture_output=True, text=True, check=True
    )
    assert ".cache" not in done.stdout


def test_the_folder_stays_within_its_limit_and_keeps_what_was_used_last(make, give, ran, monkeypatch, entries):
    monkeypatch.setenv("CRYSTALLIZE_CACHE_SIZE", "40kB")
    for number in range(60):
        make(give(number=number, size=2000)).run()
        make(give(number=0, size=2000)).run()
        assert cache.info().size <= 40_000 * (1 + 1 / 16)
        # Times are told apart, on any file system.
        for age, path in enumerate(sorted(entries(), key=lambda path: path.stat().st_mtime_ns)):
            stamp = time.time() - 1000 + age
            os.utime(path, (stamp, stamp))
    assert cache.info().entries > 10
    assert ran().count("0") == 1, "used all the time, it never made room"
    make(give(number=59, size=2000)).run()
    assert ran() == []
    make(give(number=1, size=2000)).run()
    assert ran() == ["1"]
    folders = [path for path in entries_folder(current_settings()).rglob("*") if path.is_dir() and len(path.name) > 2]
    assert len(folders) == cache.info().entries, "no empty folder is left"


def test_an_output_larger_than_the_limit_is_not_kept(make, give, ran, monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_CACHE_SIZE", "10kB")
    make(give(number=1)).run()
    for _ in range(2):
        make(give(number=2, size=20_000)).run()
    assert ran() == ["1", "2", "2"]
    assert cache.info().entries == 1


def test_what_a_killed_process_left_unfinished_is_removed_in_time(make, give, entries, monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_CACHE_SIZE", "20kB")
    make(give(number=1)).run()
    old, young = (entries()[0].parent / name for name in (".tmp-old", ".tmp-young"))
    for path in (old, young):
        path.touch()
    os.utime(old, (1, 1))
    for number in range(2, 6):
        make(give(number=number, size=2000)).run()
    assert not old.exists()
    assert young.exists()


def test_a_large_folder_is_not_looked_through_for_every_entry(make, give, monkeypatch):
    seen = []
    original = store.make_room
    monkeypatch.setattr(store, "make_room", lambda *args: seen.append(1) or original(*args))
    monkeypatch.setenv("CRYSTALLIZE_CACHE_SIZE", "1MB")
    for number in range(40):
        make(give(number=number, size=5000)).run()
    assert len(seen) == 3
