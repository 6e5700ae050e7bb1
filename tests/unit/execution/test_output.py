"""What steps log, print, warn about and emit in a worker process reaches the coordinator."""

from __future__ import annotations

import logging
import sys
import warnings

import pytest

from crystallize import BasePlugin, ParallelExecution, pipeline_step
from crystallize.errors import PipelineExecutionError


class Listener(BasePlugin):
    neutral = True

    def __init__(self):
        self.events = []

    def on_event(self, event):
        self.events.append(event)

    def __reduce__(self):
        return Listener, ()


def test_logging_reaches_the_logger_of_the_same_name_with_its_cell(processes, build, caplog):
    @pipeline_step()
    def tell(data, ctx):
        logging.getLogger("lab.bench").warning("replicate %d is %s", ctx["replicate"], object.__name__)
        return data

    build(tell(), plugins=[processes]).run(replicates=3)
    records = [record for record in caplog.records if record.name == "lab.bench"]
    assert sorted(record.getMessage() for record in records) == [f"replicate {r} is object" for r in range(3)]
    assert sorted(record.cell for record in records) == [("baseline", r) for r in range(3)]
    assert all(record.cell.condition == "baseline" for record in records)


def test_logging_below_the_coordinators_level_stays_in_the_worker(build, caplog):
    @pipeline_step()
    def whisper(data, ctx):
        logging.getLogger("lab.quiet").info("nobody asked")
        logging.getLogger("lab.loud").debug("somebody asked")
        return data

    caplog.set_level(logging.DEBUG, "lab.loud")
    build(whisper(), plugins=[ParallelExecution(2, "process")]).run(replicates=2)
    assert {record.name for record in caplog.records if record.name.startswith("lab")} == {"lab.loud"}


def test_a_logged_exception_brings_its_traceback(build, caplog):
    @pipeline_step()
    def stumble(data, ctx):
        try:
            _ = 1 / (len(data) - 3)
        except ZeroDivisionError:
            logging.getLogger("lab").exception("it happened")
        return data

    build(stumble(), plugins=[ParallelExecution(2, "process")]).run(replicates=1)
    (record,) = [record for record in caplog.records if record.name == "lab"]
    assert "ZeroDivisionError" in record.exc_text


def test_what_is_printed_is_printed(processes, build, capsys):
    @pipeline_step()
    def speak(data, ctx):
        print("out", ctx["replicate"])
        print("err", ctx["replicate"], file=sys.stderr)
        sys.stdout.write("no newline;")
        sys.stdout.buffer.write(b"bytes\n")
        return data

    build(speak(), plugins=[processes]).run(replicates=3)
    captured = capsys.readouterr()
    assert sorted(line for line in captured.out.splitlines() if line.startswith("out")) == ["out 0", "out 1", "out 2"]
    assert captured.out.count("no newline;bytes\n") == 3
    assert sorted(captured.err.splitlines()) == ["err 0", "err 1", "err 2"]


def test_warnings_are_issued_again_with_their_category(processes, build):
    @pipeline_step()
    def doubt(data, ctx):
        warnings.warn("this is old", FutureWarning, stacklevel=1)
        return data

    with pytest.warns(FutureWarning, match="this is old") as caught:
        build(doubt(), plugins=[processes]).run(replicates=4)
    assert caught[0].filename == __file__


def test_a_warning_that_is_an_error_here_is_one_in_the_worker(build):
    @pipeline_step()
    def doubt(data, ctx):
        warnings.warn("this is old", FutureWarning, stacklevel=1)
        return data

    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        result = build(doubt(), plugins=[ParallelExecution(2, "process")]).run(replicates=1)
    assert "FutureWarning" in str(result.errors["baseline_rep_0"])


def test_an_ignored_warning_stays_ignored(build, recwarn):
    @pipeline_step()
    def doubt(data, ctx):
        warnings.warn("nobody minds", UserWarning, stacklevel=1)
        return data

    warnings.simplefilter("ignore", UserWarning)
    build(doubt(), plugins=[ParallelExecution(2, "process")]).run(replicates=2)
    assert len(recwarn) == 0


def test_events_arrive_with_their_cell(executor, build):
    @pipeline_step()
    def tell(data, ctx):
        ctx.emit("epoch", loss=ctx["replicate"] / 2)
        return data

    listener = Listener()
    build(tell(), plugins=[listener, executor]).run(replicates=3)
    epochs = [event for event in listener.events if event.name == "epoch"]
    assert sorted((event.cell.replicate, event.fields["loss"]) for event in epochs) == [(0, 0.0), (1, 0.5), (2, 1.0)]


def test_an_event_arrives_while_its_cell_still_runs(build, tmp_path):
    seen = tmp_path / "seen"

    class Answer(Listener):
        def on_event(self, event):
            if event.name == "asked":
                seen.write_text("yes")

    @pipeline_step()
    def ask(data, ctx):
        import time

        ctx.emit("asked")
        limit = time.monotonic() + 30
        while not seen.exists() and time.monotonic() < limit:
            time.sleep(0.005)
        ctx.metrics.add("answered", seen.exists())
        return data

    result = build(ask(), plugins=[Answer(), ParallelExecution(2, "process")]).run(replicates=1)
    assert list(result.metrics.baseline.metrics["answered"]) == [True]


def test_an_event_that_cannot_travel_fails_its_cell_and_no_other(build):
    @pipeline_step()
    def tell(data, ctx):
        if ctx["replicate"] == 1:
            ctx.emit("stuck", what=(item for item in ()))
        return data

    result = build(tell(), plugins=[ParallelExecution(2, "process")]).run(replicates=3)
    assert list(result.errors) == ["baseline_rep_1"]
    assert isinstance(result.errors["baseline_rep_1"], PipelineExecutionError)
    assert "stuck" in str(result.errors["baseline_rep_1"])
