"""The cache under faults: processes killed at every change to the disk, a full disk, many writers at once."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import textwrap
from pathlib import Path

import pytest

from crystallize import pipeline_step
from crystallize.pipelines.cache import files

OPERATIONS = ["write", "sync", "rename", "make_folder", "append"]

PROGRAM = textwrap.dedent(
    '''
    """Runs cached steps in children of its own, which may end themselves at the n-th change to the disk."""
    import json, logging, os, signal, sys
    from pathlib import Path

    import numpy as np

    from crystallize import Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step
    from crystallize.pipelines.cache import files

    OPERATIONS = ["write", "sync", "rename", "make_folder", "append"]
    logging.basicConfig(format="%(message)s", stream=sys.stdout, level=logging.WARNING)
    count = 0


    def counting(original, last, way):
        def counted(*arguments):
            global count
            count += 1
            if count == last:
                if way == "in the middle" and original.__name__ == "write":
                    original(arguments[0], arguments[1][: len(arguments[1]) // 2])
                if way == "after":
                    original(*arguments)
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments)

        return counted


    @data_source
    def numbers(ctx):
        return [1, 2, 3]


    @pipeline_step(cacheable=True)
    def draw(data, ctx, *, scale=1):
        ctx.record("scale", scale)
        return scale * ctx.rng.random(5000)


    @pipeline_step(cacheable=True)
    def add(data, ctx):
        return float(data.sum()), {"out": float(data.sum())}


    def once():
        experiment = Experiment(
            numbers(), Pipeline([draw(), add()]), plugins=[SeedPlugin(seed=3)], default_plugins=False, replicates=2
        )
        return experiment.run(treatments=[Treatment("t", {"scale": 2})])


    def run(last, way):
        """Run in a child; it tells what came out and how many changes it made to the disk, or nothing."""
        told, tell = os.pipe()
        child = os.fork()
        if child:
            os.close(tell)
            return child, told
        for name in OPERATIONS:
            setattr(files, name, counting(getattr(files, name), last, way))
        result = once()
        found = [list(result.metrics.baseline.metrics["out"]), list(result.metrics.treatments["t"].metrics["out"])]
        os.write(tell, json.dumps([count, found, sorted(result.errors)]).encode())
        sys.stdout.flush()
        os._exit(0)


    def ended(child):
        number, told = child
        _, status = os.waitpid(number, 0)
        with os.fdopen(told) as file:
            text = file.read()
        return os.waitstatus_to_exitcode(status), json.loads(text) if text else None


    # So that the children find everything imported.
    folder = os.environ["CRYSTALLIZE_CACHE_DIR"]
    os.environ["CRYSTALLIZE_CACHE_DIR"] = f"{folder}-first"
    once()
    os.environ["CRYSTALLIZE_CACHE_DIR"] = folder
    for request in json.loads(sys.argv[1]):
        children = [run(request.get("last", 0), request.get("way")) for _ in range(request.get("together", 1))]
        print(json.dumps([ended(child) for child in children]), flush=True)
        if request.get("forget"):
            for path in Path(os.environ["CRYSTALLIZE_CACHE_DIR"]).rglob("*"):
                if path.suffix in (".entry", ".reads"):
                    path.unlink()
    '''
)

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has neither fork nor such a signal")


@pytest.fixture
def program(run_script, monkeypatch, tmp_path):
    """Run the program with requests; give for each its children's exit codes and what they told."""

    def run(*requests, folder="cache"):
        monkeypatch.setenv("CRYSTALLIZE_CACHE_DIR", str(tmp_path / folder))
        done = run_script(PROGRAM, json.dumps(requests))
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == len(requests), f"something was warned about:\n{done.stdout}"
        return [json.loads(line) for line in lines]

    return run


@posix
@pytest.mark.parametrize("way", ["before", "in the middle", "after"])
def test_killed_at_any_change_to_the_disk_the_next_run_gives_the_same_numbers(program, way, tmp_path):
    [[[code, (count, expected, errors)]]] = program({}, folder="whole")
    assert (code, errors) == (0, [])
    assert count > 40
    # Every third moment, others for each way; every one in the soak.
    stride = 1 if os.environ.get("CRYSTALLIZE_SOAK") else 3
    moments = range(1 + ["before", "in the middle", "after"].index(way) % stride, count + 1, stride)
    requests = [each for last in moments for each in ({"last": last, "way": way}, {"forget": not (last // stride) % 5})]
    answers = program(*requests, folder="cut")
    dead, after = answers[::2], answers[1::2]
    killed = sum(code == -signal.SIGKILL for [[code, _]] in dead)
    assert killed >= len(moments) // 5
    for [[code, told]] in after:
        assert code == 0
        assert told[1:] == [expected, []]
    assert {told[1:] == [expected, []] for [[code, told]] in dead if code == 0} <= {True}


@posix
def test_many_processes_that_fill_one_cache_at_once_disturb_nobody(program, tmp_path):
    [[[_, alone]]] = program({}, folder="alone")
    answers = program(*({"together": 8, "forget": True} for _ in range(5)), {"together": 8}, {})
    for children in answers:
        for code, told in children:
            assert code == 0
            assert told[1:] == alone[1:]
    assert answers[-1][0][1][0] == 0, "everything is there"
    assert not list((tmp_path / "cache").rglob(f"{files.TEMPORARY}*"))


@posix
def test_making_room_while_others_write_disturbs_nobody(program, monkeypatch):
    [[[_, alone]]] = program({}, folder="alone")
    monkeypatch.setenv("CRYSTALLIZE_CACHE_SIZE", "90kB")
    for children in program(*({"together": 8} for _ in range(6))):
        for code, told in children:
            assert code == 0
            assert told[1:] == alone[1:]


@pytest.fixture
def large(note):
    @pipeline_step(cacheable=True)
    def large(data, ctx, *, number=0):
        note()
        return bytes(10_000), {"out": sum(data) + number + ctx.get("absent", 0)}

    return large


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_full_disk_costs_no_result_and_is_named_once(make, large, ran, log, values, entries, monkeypatch, operation):
    full = {"since": 0}
    counted = []
    original = getattr(files, operation)

    def failing(*arguments):
        counted.append(operation)
        if full["since"] and len(counted) >= full["since"]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(Path(".cache")))
        return original(*arguments)

    monkeypatch.setattr(files, operation, failing)
    make(large()).run()
    there = len(counted)
    assert there or operation == "append"
    for since in range(1, there + 1):
        for path in entries():
            path.unlink()
        for path in Path(".cache").rglob("*.reads"):
            path.unlink()
        counted.clear()
        full["since"] = since
        assert values(make(large()).run(replicates=2)) == [6, 6]
        warned = [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]
        assert len(warned) <= 1, warned
        for text in warned:
            assert "LargeStep cannot be kept in the step cache: No space left on device (.cache)" in text
        assert not list(Path(".cache").rglob(f"{files.TEMPORARY}*")), "nothing unfinished stays behind"
        log.records.clear()
    full["since"] = 0
    ran()
    assert values(make(large()).run()) == [6]
    assert values(make(large()).run()) == [6]
    assert len(ran()) <= 1, "once there is room again, it is kept"


def test_a_full_disk_under_a_key_to_be_made_is_said(make, large, ran, log, values, monkeypatch, tmp_path):
    monkeypatch.setenv("CRYSTALLIZE_CACHE_KEY_FILE", str(tmp_path / "new" / "key"))

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert values(make(large()).run()) == [6]
    assert "No space left on device" in log.text(logging.WARNING)
    assert str(tmp_path / "new" / "key") in log.text(logging.WARNING)
    assert not list((tmp_path / "new").iterdir())


def test_a_cache_folder_that_cannot_be_read_or_made_costs_no_result(make, large, ran, log, values):
    Path(".cache").touch()
    assert values(make(large()).run(replicates=2)) == [6, 6]
    assert log.text(logging.WARNING).count("\n") == 0
    assert "cannot be kept in the step cache" in log.text(logging.WARNING)
