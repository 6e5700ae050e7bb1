"""Files are there whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from crystallize.errors import StoreError
from crystallize_plugins.artifacts import operations
from crystallize_plugins.artifacts.files.synced import Content, replace_text, store_error, write_synced


def test_files_are_written_with_their_folders(tmp_path, files_below):
    contents = {"a/b/one": b"1", "a/two": b"", "a/b/three": b"\0" * 10**6}
    write_synced([Content(tmp_path / name, data) for name, data in contents.items()], inside=tmp_path)
    assert files_below(tmp_path) == ["a/b/one", "a/b/three", "a/two"]
    assert (tmp_path / "a/b/three").read_bytes() == b"\0" * 10**6


def test_the_later_of_two_files_of_one_name_stays(tmp_path, files_below):
    write_synced([Content(tmp_path / "one", b"first"), Content(tmp_path / "one", b"second")], inside=tmp_path)
    assert (tmp_path / "one").read_bytes() == b"second"
    assert files_below(tmp_path) == ["one"]


def test_a_file_and_every_folder_on_its_way_are_synced_before_it_counts(tmp_path, monkeypatch):
    calls = []
    real_sync, real_rename = operations.sync, operations.replace

    def sync(descriptor):
        calls.append(("sync", os.path.relpath(Path(f"/proc/self/fd/{descriptor}").readlink(), tmp_path)))
        real_sync(descriptor)

    def rename(source, target):
        calls.append(("rename", os.path.relpath(target, tmp_path)))
        real_rename(source, target)

    monkeypatch.setattr(operations, "sync", sync)
    monkeypatch.setattr(operations, "replace", rename)
    write_synced([Content(tmp_path / "a/b/one", b"1"), Content(tmp_path / "a/b/two", b"2")], inside=tmp_path)
    kinds = [kind for kind, _ in calls]
    assert kinds == ["sync"] * 2 + ["rename"] * 2 + ["sync"] * 3
    assert [path for _, path in calls[2:4]] == ["a/b/one", "a/b/two"]
    assert sorted(path for _, path in calls[4:]) == [".", "a", "a/b"]


def test_text_replaces_what_was_there_and_leaves_nothing_beside(tmp_path, files_below):
    replace_text(tmp_path, "run.json", "old")
    replace_text(tmp_path, "run.json", "né")
    assert (tmp_path / "run.json").read_bytes() == "né".encode()
    assert files_below(tmp_path) == ["run.json"]


def test_an_error_says_where_and_why():
    error = store_error("cannot write", "/data/x", OSError(errno.ENOSPC, "No space left on device"))
    assert str(error) == "cannot write /data/x: No space left on device"
    assert (error.errno, error.path) == (errno.ENOSPC, "/data/x")
    assert isinstance(error, OSError)


def test_a_file_in_the_way_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(OSError, match="a"):
        write_synced([Content(tmp_path / "a/one", b"")], inside=tmp_path)


def test_a_file_that_cannot_be_written_is_named_and_leaves_nothing_half_done(tmp_path, monkeypatch, files_below):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(operations, "sync", full)
    with pytest.raises(StoreError, match=r"cannot write .*a/one: No space left on device") as caught:
        write_synced([Content(tmp_path / "a/one", b"1")], inside=tmp_path)
    assert (caught.value.errno, caught.value.path) == (errno.ENOSPC, str(tmp_path / "a/one"))
    assert files_below(tmp_path) == []
