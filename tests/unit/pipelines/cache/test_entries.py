"""Entries as files: whatever is wrong with one, it is one warning line, a recomputation, and a sound entry again."""

from __future__ import annotations

import logging
import os
import pickle
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from crystallize import pipeline_step
from crystallize.pipelines.cache import entry
from crystallize.pipelines.cache.entry import DamagedEntryError, read_entry, sealed

KEY = bytes(range(32))


@pytest.fixture
def slow(note):
    @pipeline_step(cacheable=True)
    def slow(data, ctx):
        note()
        return np.arange(2000.0) + sum(data), {"out": sum(data)}

    return slow


@pytest.fixture
def warnings(log):
    """Give what was warned about since the last time."""

    def look():
        found = [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]
        log.records.clear()
        return found

    return look


def damage(path, how):
    content = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "cut":
        path.write_bytes(content[:-1])
    elif how == "longer":
        path.write_bytes(content + b"\0")
    elif how == "text":
        path.write_text("garbage")
    elif how == "older":
        path.write_bytes(content.replace(b"step cache 1", b"step cache 0"))
    elif how == "header":
        path.write_bytes(content[:70] + bytes([content[70] ^ 1]) + content[71:])
    elif how == "array":
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])


@pytest.mark.parametrize("how", ["empty", "cut", "longer", "text", "older", "header", "array"])
def test_a_damaged_entry_is_one_warning_and_a_recomputation_and_is_repaired(
    make, slow, ran, entries, warnings, values, how
):
    make(slow()).run()
    [path] = entries()
    damage(path, how)
    assert ran() == ["ran"]
    assert values(make(slow()).run()) == [6]
    assert ran() == ["ran"]
    [warned] = warnings()
    assert "SlowStep is computed again" in warned
    assert str(path) in warned
    assert "\n" not in warned
    assert values(make(slow()).run()) == [6]
    assert (ran(), warnings()) == ([], [])


class Trap:
    def __reduce__(self):
        return Path.touch, (Path("trapped"),)


@pytest.mark.parametrize("how", ["a bare pickle", "sealed with another key"])
def test_what_this_user_did_not_write_is_never_unpickled(make, slow, ran, entries, warnings, values, how):
    make(slow()).run()
    [path] = entries()
    if how == "a bare pickle":
        path.write_bytes(pickle.dumps(Trap()))
    else:
        # Whoever plants it knows everything but the key.
        path.write_bytes(b"".join(bytes(part) for part in sealed(Trap(), "any", KEY)))
    assert values(make(slow()).run()) == [6]
    assert not Path("trapped").exists()
    assert len(warnings()) == 1
    assert len(ran()) == 2


def test_the_trap_of_the_test_above_would_spring():
    pickle.loads(pickle.dumps(Trap()))
    assert Path("trapped").exists()


def test_entries_of_another_key_are_computed_again(make, slow, ran, warnings, values, monkeypatch, tmp_path):
    make(slow()).run()
    monkeypatch.setenv("CRYSTALLIZE_CACHE_KEY_FILE", str(tmp_path / "another" / "key"))
    assert values(make(slow()).run()) == [6]
    [warned] = warnings()
    assert "this user's key" in warned
    make(slow()).run()
    assert len(ran()) == 2


def test_an_entry_under_another_ones_name_is_not_believed(make, note, ran, entries, warnings, values):
    @pipeline_step(cacheable=True)
    def give(data, ctx, *, amount):
        note()
        return data, {"out": amount}

    make(give(amount=1)).run()
    [first] = entries()
    make(give(amount=2)).run()
    [second] = set(entries()) - {first}
    shutil.copy(first, second)
    assert values(make(give(amount=2)).run()) == [2]
    [warned] = warnings()
    assert "another step" in warned


def test_damaged_names_of_reads_are_one_warning_and_a_recomputation(make, note, ran, warnings, values):
    @pipeline_step(cacheable=True)
    def read(data, ctx):
        note()
        return data, {"out": ctx["given"]}

    experiment = make(read(), initial_ctx={"given": 5})
    experiment.run()
    [path] = Path(".cache").rglob("*.reads")
    for content in (b"", b'["key given', b"{}", b"[1]", b'["key other"]', b"\xff"):
        path.write_bytes(content)
        assert values(experiment.run()) == [5]
        assert len(warnings()) == 1, content
        assert values(experiment.run()) == [5]
        assert len(ran()) == 2 if content == b"" else 1
        assert warnings() == []


def test_an_entry_whose_class_is_gone_is_computed_again(make, note, ran, warnings, values, monkeypatch):
    @pipeline_step(cacheable=True)
    def give(data, ctx):
        note()
        return SHELL["kind"](), {"out": 1}

    for _ in range(2):
        make(give()).run()
    assert ran() == ["ran"]
    monkeypatch.delitem(globals(), "Held")
    make(give()).run()
    [warned] = warnings()
    assert "cannot be read any more" in warned


class Held:
    pass


SHELL = {"kind": Held}


@pytest.fixture
def written(tmp_path):
    """Write an entry with an array; give its path, its bytes, and what reads it."""
    path = tmp_path / "an.entry"
    record = {"array": np.arange(1024.0), "rest": ["text", 1]}
    content = b"".join(bytes(part) for part in sealed(record, "address", KEY))
    path.write_bytes(content)

    def read():
        found, _ = read_entry(path, "address", KEY)
        assert (found["array"] == record["array"]).all()
        return found["rest"] == record["rest"]

    assert read()
    return path, content, read


def test_an_entry_cut_at_any_byte_is_noticed(written):
    path, content, read = written
    # Every byte of what is not the array, and every 97th of the array; all of them in the soak.
    step = 1 if os.environ.get("CRYSTALLIZE_SOAK") else 97
    lengths = [*range(len(content) - 8192), *range(len(content) - 8192, len(content), step), len(content) - 1]
    for length in lengths:
        path.write_bytes(content[:length])
        with pytest.raises(DamagedEntryError):
            read()
    path.write_bytes(content)
    assert read()


def test_a_thousand_flipped_bits_serve_no_wrong_value(written):
    path, content, read = written
    draw = random.Random(20240501)
    served = 0
    for _ in range(1000):
        flipped = bytearray(content)
        at = draw.randrange(len(content) * 8)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        try:
            read()
        except DamagedEntryError:
            continue
        served += 1
    assert served == 0


def test_large_buffers_lie_outside_of_the_pickle_and_are_loaded_once(tmp_path):
    array = np.zeros(1_000_000)
    parts = sealed(array, "a", KEY)
    assert len(parts) == 5
    assert len(parts[3]) < 1000
    path = tmp_path / "entry"
    path.write_bytes(b"".join(bytes(part) for part in parts))
    loaded, _ = read_entry(path, "a", KEY)
    loaded += 1
    assert loaded.sum() == array.size
    assert read_entry(path, "a", KEY)[0].sum() == 0
    assert array.sum() == 0


def test_a_header_that_promises_too_much_is_refused_before_anything_is_read(tmp_path):
    path = tmp_path / "entry"
    path.write_bytes(entry._MARK + bytes(32) + b"\xff\xff\xff\x7f" + bytes(100))
    with pytest.raises(DamagedEntryError, match="cut short"):
        read_entry(path, "a", KEY)
