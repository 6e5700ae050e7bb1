"""A failed cell keeps what it wrote and printed, under every executor, and leaves the process as it was."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crystallize import (
    Artifact,
    ArtifactPlugin,
    Experiment,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    data_source,
    pipeline_step,
)
from crystallize.engine.cell_log import LIMIT, CellLog
from crystallize.errors import ArtifactMissingError
from crystallize_cli.commands.show import show
from crystallize_plugins.artifacts import list_runs

pytestmark = pytest.mark.timeout(90)
LOGGER = logging.getLogger("laboratory")


@data_source
def loud(ctx):
    print("fetching", ctx["replicate"])
    return 0


@pipeline_step()
def work(data, ctx):
    print("working on", ctx["replicate"])
    print("to stderr", file=sys.stderr)
    LOGGER.warning("careful: %d", ctx["replicate"])
    ctx.artifacts.add("part.txt", f"part {ctx['replicate']}".encode())
    if ctx["replicate"] == 1:
        raise ValueError("no")
    return data, {"fine": ctx["replicate"]}


@pipeline_step()
async def wait(data, ctx):
    await asyncio.sleep(0.02)
    print("waited", ctx["replicate"])
    return data


EXPECTED = ["fetching 1", "waited 1", "working on 1", "to stderr", "WARNING laboratory: careful: 1"]


def stored(name="held"):
    return list_runs("data", name)[-1]


def error_of(result):
    (error,) = result.errors.values()
    return error


def test_what_a_failed_cell_printed_and_logged_is_kept_with_its_error(build, executor):
    result = build(wait(), work(), source=loud(), plugins=[executor, ArtifactPlugin()]).run(replicates=3)
    assert error_of(result).log.splitlines() == EXPECTED
    assert error_of(stored().result()).log.splitlines() == EXPECTED


def test_what_it_wrote_is_kept_and_not_handed_on(build, executor):
    result = build(work(), plugins=[executor, ArtifactPlugin()]).run(replicates=3)
    (entry,) = result.provenance["artifacts_of_failed_cells"]
    assert Path(entry["path"]).read_text() == "part 1"
    assert Path(entry["path"]).parts[-4:] == ("replicate_1", "baseline", "WorkStep", "part.txt")
    assert list(stored().result().provenance["artifacts_of_failed_cells"]) == [entry]
    assert {entry["replicate"] for entry in result.provenance["artifacts"]} == {0, 2}
    with pytest.raises(ArtifactMissingError, match="failed, and what a failed cell wrote is not handed on"):
        stored().artifact_path(step="WorkStep", name="part.txt", condition="baseline", replicate=1)


def test_where_only_a_failed_cell_wrote_a_file_the_result_has_none(build):
    @pipeline_step()
    def fails(data, ctx):
        ctx.artifacts.add("part.txt", b"part")
        raise ValueError("no")

    result = build(fails(), plugins=[ArtifactPlugin()]).run()
    assert result.get_artifact("part.txt") == {}
    assert result.artifacts == {}
    assert len(result.provenance["artifacts"]) == 0
    assert len(result.provenance["artifacts_of_failed_cells"]) == 1


def test_of_several_attempts_the_last_one_is_kept(build, executor, tmp_path):
    @pipeline_step(retries=2)
    def tries(data, ctx):
        with (tmp_path / "tries").open("a") as file:
            file.write("x")
        number = (tmp_path / "tries").stat().st_size
        print("attempt", number)
        ctx.artifacts.add(f"{number}.txt", b"x")
        raise ValueError("no")

    result = build(tries(), plugins=[executor, ArtifactPlugin()]).run()
    assert error_of(result).log == "attempt 3\n"
    assert [entry["name"] for entry in result.provenance["artifacts_of_failed_cells"]] == ["3.txt"]


def test_a_cell_that_runs_again_replaces_what_it_had_left(build):
    broken = [True]

    @pipeline_step()
    def flaky(data, ctx):
        ctx.artifacts.add("broken.txt" if broken[0] else "whole.txt", b"x")
        if broken[0]:
            raise ValueError("no")
        return data

    def experiment():
        return build(flaky(), plugins=[ArtifactPlugin()])

    experiment().run()
    assert list(stored().path.glob("replicate_0/*/*/broken.txt"))
    broken[0] = False
    experiment().run(strategy="resume")
    newest = stored()
    assert not list(newest.path.glob("replicate_0/*/*/broken.txt"))
    assert list(newest.path.glob("replicate_0/*/*/whole.txt"))


def test_the_log_is_bounded_and_its_end_is_kept(build):
    @pipeline_step()
    def chatty(data):
        for number in range(100_000):
            print("line", number)
        raise ValueError("no")

    log = error_of(build(chatty(), plugins=[ArtifactPlugin()]).run()).log
    assert len(log) < LIMIT + 100
    assert log.startswith("[what came before is left out]\n")
    assert log.endswith("line 99999\n")


def test_a_log_never_holds_much_more_than_it_gives():
    log = CellLog()
    for _ in range(1000):
        log.add("x" * 1000)
        assert sum(map(len, log._parts)) <= 2 * LIMIT + 1000
    assert log.text().endswith("x" * LIMIT)


def test_cells_that_overlap_keep_their_lines_apart(build):
    @pipeline_step()
    async def turns(data, ctx):
        for turn in range(5):
            print("cell", ctx["replicate"], "turn", turn)
            await asyncio.sleep(0.01)
        raise ValueError("no")

    from crystallize import AsyncExecution

    for executor in (AsyncExecution(), ParallelExecution(4)):
        result = build(turns(), plugins=[executor, ArtifactPlugin()]).run(replicates=4)
        for replicate in range(4):
            expected = [f"cell {replicate} turn {turn}" for turn in range(5)]
            assert result.errors[f"baseline_rep_{replicate}"].log.splitlines() == expected


def test_a_handler_that_writes_to_a_stream_says_nothing_twice(build):
    handler = logging.StreamHandler(sys.stderr)
    LOGGER.addHandler(handler)
    try:
        log = error_of(build(work(), plugins=[ArtifactPlugin()]).run(replicates=2)).log
    finally:
        LOGGER.removeHandler(handler)
    assert log.count("careful") == 1


def test_what_a_step_redirects_goes_where_it_wants(build):
    caught = io.StringIO()

    @pipeline_step()
    def redirects(data):
        with contextlib.redirect_stdout(caught):
            print("aside")
        print("aloud")
        raise ValueError("no")

    assert error_of(build(redirects(), plugins=[ArtifactPlugin()]).run()).log == "aloud\n"
    assert caught.getvalue() == "aside\n"


def test_streams_and_loggers_are_as_before_when_the_run_is_over(build, executor):
    before = logging.Logger.callHandlers
    build(work(), plugins=[executor, ArtifactPlugin()]).run(replicates=2)
    assert "write" not in vars(sys.stdout)
    assert "write" not in vars(sys.stderr)
    assert logging.Logger.callHandlers is before


def test_without_a_store_nothing_is_listened_to(build):
    @pipeline_step()
    def looks(data):
        assert "write" not in vars(sys.stdout)
        raise ValueError("no")

    assert error_of(build(looks()).run()).log == ""


def test_where_there_is_no_standard_stream_cells_run_all_the_same(tmp_path):
    source = """
import sys
sys.stdout = sys.stderr = None
from crystallize import ArtifactPlugin, Experiment, Pipeline, data_source, pipeline_step

@data_source
def one(ctx):
    return 1

@pipeline_step()
def fails(data):
    print("nowhere")
    raise ValueError("no")

result = Experiment(one(), Pipeline([fails()]), name="mute", default_plugins=["artifacts"]).run()
sys.exit(len(result.errors) + 10)
"""
    ended = subprocess.run([sys.executable, "-c", source], cwd=tmp_path, check=False, capture_output=True)
    assert ended.returncode == 11


@pytest.mark.parametrize("death", ["exit", "time-out"])
def test_of_a_cell_whose_worker_is_ended_what_had_arrived_is_kept(build, death):
    @pipeline_step(timeout=1.0 if death == "time-out" else None)
    def dies(data):
        print("last words", flush=True)
        time.sleep(0.2)
        if death == "exit":
            os._exit(3)
        time.sleep(60)

    result = build(dies(), plugins=[ParallelExecution(1, "process"), ArtifactPlugin()]).run()
    assert error_of(result).log == "last words\n"


def test_show_gives_the_traceback_and_the_log_of_each_kind_of_failure(build, run_show):
    build(work(), source=loud(), plugins=[ArtifactPlugin()]).run(replicates=3)
    text = run_show("held")
    assert "ValueError: no" in text
    assert "Traceback (most recent call last):" in text
    assert "working on 1" in text
    assert "working on 0" not in text
    whole = run_show("held", "--cell", "baseline_rep_1", "--json")
    assert '"traceback": "Traceback' in whole
    assert "careful: 1" in whole


def test_show_names_the_cells_that_failed_where_another_is_asked_for(build, run_show):
    build(work(), plugins=[ArtifactPlugin()]).run(replicates=3)
    assert "those that did: baseline_rep_1" in run_show("held", "--cell", "baseline_rep_0", code=5)


@pytest.fixture
def run_show():
    from click.testing import CliRunner

    def running(*arguments, code=0):
        ended = CliRunner().invoke(show, arguments)
        assert ended.exit_code == code, ended.output
        return ended.output

    return running


def test_an_experiment_that_reads_files_gets_none_of_a_failed_cell():
    @data_source
    def one(ctx):
        return 1

    @pipeline_step()
    def writes(data, ctx, *, table: Artifact):
        table.write(str(data).encode())
        if ctx["replicate"] == 1:
            raise ValueError("no")
        return data

    table = Artifact("table.txt", loader=lambda path: path.read_text())
    upstream = Experiment(
        one(), Pipeline([writes()]), name="up", outputs=[table], plugins=[SeedPlugin(seed=1)], replicates=2
    )
    upstream.run()

    @pipeline_step()
    def reads(data):
        return data, {"read": data}

    down = Experiment(table, Pipeline([reads()]), name="down", plugins=[SeedPlugin(seed=1)], replicates=2)
    result = down.run()
    assert list(result.metrics.baseline.metrics["read"]) == ["1"]
    assert list(result.errors) == ["baseline_rep_1"]
