"""`run --events FILE`: what happens, line by line, for programs that follow a run."""

from __future__ import annotations

import json
import os
import threading

import pytest

TALKATIVE = """
import logging

from crystallize import Experiment, ParallelExecution, Pipeline, Treatment, data_source, pipeline_step


@data_source
def numbers(ctx):
    return [1.0, 2.0]


@pipeline_step(cacheable=True)
def scale(data, ctx, *, factor=1.0):
    return [factor * value for value in data]


@pipeline_step()
def total(data, ctx):
    print("in", ctx["condition"], end="\\nlast")
    logging.getLogger("lab").warning("look")
    ctx.emit("progress", percent=50)
    if ctx["condition"] == "broken":
        raise ValueError("it is broken")
    return data, {"total": sum(data)}


experiment = Experiment(
    numbers(), Pipeline([scale(), total()]), name="talkative", plugins=[PLUGINS],
    treatments=[Treatment("broken", {"factor": 2.0})],
)
"""
IN_PROCESSES = 'ParallelExecution(executor_type="process", max_workers=1)'


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("plugins", ["", IN_PROCESSES], ids=["serial", "process"])
def test_events_outcomes_records_and_printed_lines_are_written_as_they_come(crystallize, write, tmp_path, plugins):
    write(TALKATIVE.replace("PLUGINS", plugins))
    done = crystallize("run", "file.py", "--events", "events.jsonl", "--json")
    assert done.returncode == 1, done.stderr
    json.loads(done.stdout)
    lines = lines_of(tmp_path / "events.jsonl")
    (run,) = [line for line in lines if line["kind"] == "run"]
    assert (run["conditions"], run["replicates"], run["cells"], run["kept"]) == (["baseline", "broken"], 1, 2, 0)
    assert (tmp_path / "data" / "talkative" / f"v{run['version']}").samefile(run["folder"])
    of_baseline = [line["name"] for line in lines if line["kind"] == "event" and line["condition"] == "baseline"]
    assert of_baseline == ["cell_started", "step_started", "step_started", "progress", "cell_finished"]
    good, bad = (line for line in lines if line["kind"] == "outcome")
    assert (good["ok"], good["metrics"], [step["step"] for step in good["steps"]]) == (
        True, {"total": [3.0]}, run["steps"],
    )  # fmt: skip
    assert (bad["ok"], bad["error"]["type"], bad["error"]["step"]) == (False, "ValueError", run["steps"][1])
    assert "it is broken" in bad["error"]["traceback"]
    assert [line["text"] for line in lines if line["kind"] == "log" and line["logger"] == "lab"] == ["look"] * 2
    # Of the two unfinished lines, what follows in a worker makes one whole.
    printed = [line["text"] for line in lines if line["kind"] == "text" and line["stream"] == "stdout"]
    assert "in baseline" in printed
    assert printed[-1] == "last"
    assert lines[-1]["kind"] == "end"
    assert lines[-1]["code"] == 1
    # Whether somebody watched is no difference between runs.
    assert "Follower" not in crystallize("resume", "file.py").stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_a_reader_that_dies_stops_nothing(crystallize, write, tmp_path):
    write(TALKATIVE.replace("PLUGINS", "").replace('"broken":', '"nobody":'))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refused = crystallize("run", "file.py", "--events", "pipe")
    assert refused.returncode == 2
    assert "nobody reads" in refused.stderr
    heard = []

    def read_one_line():
        with pipe.open() as file:
            heard.append(file.readline())

    reader = threading.Thread(target=read_one_line)
    reader.start()
    done = crystallize("run", "file.py", "--events", "pipe", "--replicates", "20")
    reader.join(30)
    assert done.returncode == 0, done.stderr
    assert json.loads(heard[0])["kind"] in ("log", "run")


def test_how_a_run_ended_is_the_last_line_also_where_it_was_stopped(crystallize, write, tmp_path):
    write(TALKATIVE.replace("PLUGINS", "").replace("name=", "max_failures=0, name="))
    done = crystallize("run", "file.py", "--events", "events.jsonl")
    end = lines_of(tmp_path / "events.jsonl")[-1]
    assert (end["kind"], end["code"]) == ("end", 1) == ("end", done.returncode)
    assert "a cell failed" in end["error"]
