"""Old runs go by a policy, and never one that somebody may need."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import timedelta
from pathlib import Path

import pytest

from crystallize.errors import ArgumentTypeError, StoreError, ValidationError
from crystallize_plugins.artifacts import ArtifactPlugin, list_runs, open_run, operations
from crystallize_plugins.runs import gc, verify


@pytest.fixture
def run_once(view, store, outcome):
    """Store a run with one file; some days ago, and perhaps cut short."""

    def run(name="exp", *, days=0, kind="run", **how):
        experiment = view(name, kind=kind, treatments=["t"] if kind == "trial" else [])
        experiment.run._note(started=time.time() - days * 86400)
        condition = "t" if kind == "trial" else "baseline"
        return store(experiment, [outcome(condition, 0, {"loss": [0.5]}, files={"a": b"12345"})], **how)

    return run


def left(name="exp"):
    return sorted(int(path.name[1:]) for path in Path("data", name).iterdir() if path.name[0] == "v")


def test_without_a_policy_nothing_goes(run_once):
    run_once()
    with pytest.raises(ValidationError, match="without a policy"):
        gc("data")
    assert left() == [0]


@pytest.mark.parametrize(
    "settings, error, text",
    [
        ({"keep": -1}, ValidationError, "keep"),
        ({"keep": "3"}, ArgumentTypeError, "keep"),
        ({"older_than": 30}, ArgumentTypeError, "timedelta"),
        ({"older_than": timedelta(days=-1)}, ValidationError, "negative"),
        ({"keep": 1, "dry_run": "yes"}, ArgumentTypeError, "dry_run"),
        ({"keep": 1, "experiments": "exp"}, ArgumentTypeError, "several names"),
        ({"keep": 1, "experiments": ["../.."]}, ValidationError, "path separator"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(run_once, settings, error, text):
    run_once()
    with pytest.raises(error, match=text):
        gc("data", **settings)
    assert left() == [0]


def test_the_newest_complete_runs_stay(run_once):
    for _ in range(5):
        run_once()
    collected = gc("data", keep=2)
    assert left() == [3, 4]
    assert [(run.experiment, run.version, run.status, run.files) for run in collected.removed] == [
        ("exp", version, "complete", 4) for version in (2, 1, 0)
    ]
    assert (collected.kept, collected.dry_run, collected.skipped) == (2, False, ())
    assert collected.size == sum(run.size for run in collected.removed) > 15
    assert open_run("data/exp/v4").metrics.baseline.metrics == {"loss": [0.5]}
    assert verify("data").findings == ()


def test_a_dry_run_says_the_same_and_removes_nothing(run_once):
    for _ in range(3):
        run_once()
    said = gc("data", keep=1, dry_run=True)
    assert left() == [0, 1, 2]
    done = gc("data", keep=1)
    assert (said.removed, said.kept) == (done.removed, done.kept)
    assert str(said).endswith(f"2 runs would be removed, 1 kept, {said.size} bytes free")
    assert str(done).endswith(f"2 runs removed, 1 kept, {done.size} bytes free")
    assert str(done).startswith(f"removed: {Path('data/exp/v1').absolute()} (complete, 4 files, ")


def test_only_old_runs_go(run_once):
    for days in (40, 35, 3, 0):
        run_once(days=days)
    gc("data", older_than=timedelta(days=30))
    assert left() == [2, 3]
    # Both must hold.
    gc("data", keep=1, older_than=timedelta(days=30))
    assert left() == [2, 3]
    gc("data", keep=1, older_than=timedelta(days=1))
    assert left() == [3]


def test_the_newest_complete_run_stays_however_old_it_is(run_once):
    run_once(days=40)
    run_once(days=39, stopped_by="KeyboardInterrupt")
    run_once(days=38, stopped_by="KeyboardInterrupt")
    collected = gc("data", older_than=timedelta(days=30))
    assert left() == [0, 2]
    assert [(run.path.name, run.why.split(",")[0].split(" (")[0]) for run in collected.skipped] == [
        ("v2", "it is the newest run"),
        ("v0", "it is the newest complete run"),
    ]


def test_keeping_none_removes_even_the_last(run_once):
    run_once()
    run_once(stopped_by="KeyboardInterrupt")
    gc("data", keep=0)
    assert left() == []


def test_an_interrupted_run_goes_with_the_complete_ones_around_it(run_once):
    run_once()
    run_once(stopped_by="KeyboardInterrupt")
    run_once()
    run_once(stopped_by="KeyboardInterrupt")
    gc("data", keep=1)
    # The last one may be resumed.
    assert left() == [2, 3]


def test_fewer_complete_runs_than_are_to_be_kept_all_stay(run_once):
    run_once(stopped_by="KeyboardInterrupt")
    run_once()
    gc("data", keep=2)
    assert left() == [0, 1]


def test_a_run_that_is_being_written_stays(run_once, view, outcome):
    plugin, experiment = ArtifactPlugin(), view(replicates=1)
    experiment.run._note(started=experiment.run.started - 86400 * 50)
    plugin.before_run(experiment)
    plugin.collect(experiment, outcome()).wait()
    run_once()
    collected = gc("data", keep=0)
    assert left() == [0]
    assert [run.why for run in collected.skipped] == ["it is being written"]


def test_a_damaged_run_stays_and_is_named(run_once):
    for _ in range(2):
        run_once()
    Path("data/exp/v0/run.db").write_bytes(b"x" * 4096)
    collected = gc("data", keep=1)
    assert left() == [0, 1]
    assert "damaged" in collected.skipped[0].why


def test_each_experiment_and_each_kind_keeps_its_own(run_once):
    for name in ("exp", "other"):
        for _ in range(2):
            run_once(name)
    run_once("exp", kind="trial")
    gc("data", keep=1, experiments=["exp"])
    # The newest run of each kind is what a resumption goes on with.
    assert (left(), left("other")) == ([1, 2], [0, 1])
    gc("data", keep=1)
    assert left("other") == [1]


def test_bytes_that_another_run_has_too_do_not_become_free(run_once):
    run_once()
    run_once()
    file = "replicate_0/baseline/FitStep/a"
    Path("data/exp/v1", file).unlink()
    os.link(Path("data/exp/v0", file), Path("data/exp/v1", file))
    alone = sum(path.stat().st_size for path in Path("data/exp/v0").rglob("*") if path.is_file()) - 5
    assert gc("data", keep=1).size == alone
    assert Path("data/exp/v1", file).read_bytes() == b"12345"
    assert verify("data").ok


def test_what_is_in_nobodys_way_stays(run_once):
    run_once()
    run_once()
    Path("data/notes").mkdir()
    Path("data/notes/mine.txt").write_text("mine")
    Path("data/exp/mine.txt").write_text("mine")
    gc("data", keep=1)
    assert Path("data/notes/mine.txt").exists()
    assert Path("data/exp/mine.txt").exists()
    assert gc("nowhere", keep=1).removed == ()


@pytest.mark.parametrize("operation", ["rename", "remove_tree"])
@pytest.mark.parametrize("after", [False, True])
def test_killed_in_the_middle_it_leaves_no_run_in_part(run_once, operation, after):
    for _ in range(3):
        run_once()
    pid = os.fork()
    if not pid:
        real = getattr(operations, operation)

        def die(path, *arguments, **settings):
            if after and operation == "rename":
                real(path, *arguments, **settings)
            elif after:
                next(entry for entry in Path(path).rglob("*") if entry.is_file()).unlink()
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(operations, operation, die)
        gc("data", keep=1)
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    assert all(run.status == "complete" for run in list_runs())
    assert {finding.kind for finding in verify("data").findings} <= {"left over"}
    collected = gc("data", keep=1)
    assert left() == [2]
    assert sorted(path.name for path in Path("data/exp").iterdir()) == ["v2"]
    assert collected.left_over > 0 or not after


def test_a_run_that_cannot_be_removed_is_named(run_once, monkeypatch):
    for _ in range(2):
        run_once()

    def refuse(source, target):
        raise PermissionError(13, "Permission denied", str(source))

    monkeypatch.setattr(operations, "rename", refuse)
    with pytest.raises(StoreError, match=r"cannot remove .*v0: Permission denied"):
        gc("data", keep=1)
    assert left() == [0, 1]


def test_it_can_be_given_as_data(run_once):
    for _ in range(2):
        run_once()
    told = json.loads(json.dumps(gc("data", keep=1).to_dict()))
    assert (told["kept"], told["dry_run"], told["skipped"]) == (1, False, [])
    assert [run["version"] for run in told["removed"]] == [0]
    assert told["size"] == told["removed"][0]["size"]
