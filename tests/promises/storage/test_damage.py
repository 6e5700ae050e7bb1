"""Damage to what is stored is noticed and named, and never read as a number."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest
from tests import programs

from crystallize import (
    Artifact,
    ArtifactPlugin,
    Experiment,
    Pipeline,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline_step,
)
from crystallize.errors import ArtifactMissingError, StoreError
from crystallize_plugins.artifacts import ArtifactPlugin as Store
from crystallize_plugins.artifacts import StoredRun, list_runs, open_run
from crystallize_plugins.artifacts.database.connection import reading
from crystallize_plugins.runs import verify

SOAK = bool(os.environ.get("CRYSTALLIZE_SOAK"))

PROGRAM = """
    import os, signal, sys, time
    from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step

    @data_source
    def source(ctx):
        return ctx["replicate"]

    @pipeline_step()
    def work(data, ctx, *, delta=0):
        ctx.record("value", data * 1000 + delta)
        ctx.record("text", f"cell {data}")
        ctx.add("seen", data)
        ctx.artifacts.add("part.bin", bytes([data % 251]) * (delta + 1) * 100)
        if data == 4:
            raise ValueError("the fifth one fails")
        return data

    stream = Experiment(
        source(), Pipeline([work()]), [SeedPlugin(seed=1), ArtifactPlugin()], name="exp",
        treatments=[Treatment("t", {"delta": 5})], replicates=8,
    ).stream()
    for number, outcome in enumerate(stream):
        if sys.argv[1] == "killed" and number == 12:
            time.sleep(0.5)  # what is recorded beside the cells has its commit, too
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module", params=["complete", "killed"])
def made(request, tmp_path_factory):
    """A run's folder: closed, or left behind by a process that was killed."""
    folder = tmp_path_factory.mktemp(request.param)
    script = folder / "program.py"
    script.write_text(textwrap.dedent(PROGRAM))
    programs.run([sys.executable, str(script), request.param], cwd=folder)
    return folder / "data/exp/v0"


def everything(run):
    """All that a run says, as text."""
    result = StoredRun(run).result()
    told = result.to_dict()
    place = str(run)
    files = [Path(entry["path"]).read_bytes().hex() for entry in result.provenance["artifacts"]]
    return json.dumps([told, result.tree_text(), files], default=str).replace(place, "")


def damages(content, chance):
    """Something that happens to files: a flipped bit, a zeroed page, a lost end."""
    kind = chance.choice(["bit", "bit", "page", "end"])
    damaged = bytearray(content)
    if kind == "bit":
        place = chance.randrange(len(damaged))
        damaged[place] ^= 1 << chance.randrange(8)
        return f"bit at {place}", damaged
    if kind == "page":
        place = chance.randrange(len(damaged)) // 4096 * 4096
        damaged[place : place + 4096] = bytes(len(damaged[place : place + 4096]))
        return f"page at {place}", damaged
    place = chance.randrange(len(damaged))
    return f"cut at {place}", damaged[:place]


def test_a_damaged_database_is_named_and_never_a_wrong_number(made, tmp_path):
    """What still opens says exactly what it said before: the damage lies where nothing is stored."""
    chance = random.Random(20240607)
    run = tmp_path / "data/exp/v0"
    shutil.copytree(made, run)
    right = everything(run)
    names = [name for name in ("run.db", "run.db-wal") if (made / name).exists()]
    contents = {name: (made / name).read_bytes() for name in names}
    complete = StoredRun(run).status == "complete"
    assert len(names) == (1 if complete else 2)
    noticed = unused = 0
    rounds = 2000 if SOAK else 60
    for number in range(rounds):
        shutil.rmtree(run)
        shutil.copytree(made, run)
        name = names[number % len(names)]
        what, damaged = damages(contents[name], chance)
        if bytes(damaged) == contents[name]:
            continue
        (run / name).write_bytes(damaged)
        found = verify(run)
        with suppress(StoreError):
            assert everything(run) == right, (name, what)
            unused += 1
            if complete:
                # The database as a whole has a hash, too.
                assert not found.ok, (name, what)
            continue
        noticed += 1
        assert [finding.path for finding in found.findings][:1] == [run / "run.db"], (name, what)
        with pytest.raises(StoreError, match=re.escape(str(run / "run.db"))):
            everything(run)
    assert noticed > 0.3 * rounds
    assert noticed + unused > 0.9 * rounds


def test_a_log_that_was_cut_is_noticed_whatever_else_this_process_reads(made, tmp_path):
    """To read one run must not keep another from being checked, not even a reader that nobody closed."""
    if not (made / "run.db-wal").exists():
        pytest.skip("a closed run has no log")
    run, other = tmp_path / "data/exp/v0", tmp_path / "other/exp/v0"
    shutil.copytree(made, run)
    shutil.copytree(made, other)
    content = (made / "run.db-wal").read_bytes()
    for kept in (0, 20, 31568, len(content) // 2, len(content) - 1):
        (run / "run.db-wal").write_bytes(content[:kept])
        with reading(other), pytest.raises(StoreError, match="its log is damaged"):
            StoredRun(run).result()
    (run / "run.db-wal").unlink()
    with pytest.raises(StoreError, match="its log is damaged"):
        StoredRun(run).result()


def test_a_file_with_a_flipped_bit_is_served_to_nobody(made, tmp_path):
    chance = random.Random(7)
    run = tmp_path / "data/exp/v0"
    shutil.copytree(made, run)
    files = [(record, cell) for cell, records in StoredRun(run).artifacts.items() for record in records]
    errors = StoredRun(run).result().errors
    for number in range(1000 if SOAK else 250):
        record, cell = files[number % len(files)]
        path = Path(record.path)
        content = path.read_bytes()
        damaged = bytearray(content)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        reader = StoredRun(run)
        where = {"condition": cell.condition, "replicate": cell.replicate}
        # What a failed cell has written goes to nobody, damaged or not.
        failed = f"{cell.condition}_rep_{cell.replicate}" in errors
        says = "failed, and what a failed cell" if failed else "is damaged: its content is not what was written"
        with pytest.raises((StoreError, ArtifactMissingError), match=says) as caught:
            reader.artifact_path(step=None, name="part.bin", **where)
        assert failed or caught.value.path == str(path)
        if number % 25 == 0:
            found = verify(run)
            assert [(finding.path, finding.kind) for finding in found.findings] == [(path, "damaged")]
        path.write_bytes(content)
        assert failed or reader.artifact_path(step=None, name="part.bin", **where) == path
    assert verify(run).ok


@data_source
def numbers(ctx):
    return ctx["replicate"]


model = Artifact("model.txt")


@pipeline_step()
def write_model(data, ctx):
    ctx.artifacts.add("model.txt", f"model of {data}")
    return data


@pipeline_step()
def read_model(data, ctx):
    ctx.record("length", len(data))
    return data


def test_an_experiment_downstream_is_not_given_a_damaged_file():
    upstream = Experiment(
        numbers(), Pipeline([write_model()]), [SeedPlugin(seed=1), Store()], name="up", outputs=[model], replicates=3
    )
    upstream.run()
    path = Path("data/up/v0/replicate_1/baseline/WriteModelStep/model.txt")
    path.write_text("model of 7")
    downstream = Experiment(model, Pipeline([read_model()]), [SeedPlugin(seed=1), Store()], name="down", replicates=3)
    result = downstream.run()
    assert result.metrics.baseline.metrics["length"] == [10, 10]
    assert list(result.errors) == ["baseline_rep_1"]
    assert f"{path.absolute()} is damaged" in str(result.errors["baseline_rep_1"])
    # Once the file is what it was, so is everything.
    path.write_text("model of 1")
    assert downstream.run(strategy="resume").metrics.baseline.metrics["length"] == [10, 10, 10]


def run_again(value=0):
    @pipeline_step()
    def record(data, ctx, *, delta=0):
        ctx.record("value", data + delta + value)
        return data

    return Experiment(
        numbers(), Pipeline([record()]), [SeedPlugin(seed=1), ArtifactPlugin()], name="exp",
        treatments=[Treatment("t", {"delta": 5})], replicates=3,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["run.json", "baseline/results.json", "t/results.json"])
def test_our_own_files_cut_anywhere_open_go_on_and_open_again(name, strict_files):
    run_again().run()
    path = Path("data/exp/v0", name)
    content = path.read_bytes()
    expected = everything(Path("data/exp/v0").absolute())
    # The last record is the last line; of a small file every byte is tried.
    first = 0 if SOAK else max(0, len(content) - 120)
    for size in range(first, len(content)):
        path.write_bytes(content[:size])
        assert everything(Path("data/exp/v0").absolute()) == expected
        (run,) = list_runs()
        assert run.status == "complete"
        found = verify("data")
        assert [finding.path for finding in found.findings if finding.kind == "damaged"] == (
            [path.absolute()] if content[:size].strip() != content.strip() else []
        )
    result = run_again().run(strategy="resume")
    assert result.metrics.treatments["t"].metrics == {"value": [5, 6, 7]}
    assert open_run("data/exp/v0").metrics.treatments["t"].metrics == {"value": [5, 6, 7]}
    run_again(1).run(strategy="resume")
    strict_files("data/exp/v1")


@pytest.fixture
def strict_files():
    def check(folder):
        paths = list(Path(folder).rglob("*.json"))
        assert paths
        for path in paths:
            json.loads(path.read_text(encoding="utf-8"))

    return check


def test_a_run_whose_database_is_gone_is_damaged_and_says_so():
    run_again().run()
    Path("data/exp/v0/run.db").unlink()
    (run,) = list_runs()
    assert run.status == "damaged"
    found = verify("data")
    assert not found.ok
    assert found.findings[0].path == Path("data/exp/v0/run.db").absolute()
