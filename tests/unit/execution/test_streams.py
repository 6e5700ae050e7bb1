"""The standard streams of a worker take what a text stream takes, and what is written there comes out as serially."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import codecs, contextlib, faulthandler, io, json, logging, os, subprocess, sys, threading
from crystallize import Experiment, ParallelExecution, Pipeline, SerialExecution, data_source, pipeline_step

if "threaded" in sys.argv:
    threading.Thread(target=threading.Event().wait, daemon=True).start()

def refused(call, *given):
    try:
        call(*given)
    except Exception as error:
        return type(error).__name__
    return "taken"

@data_source
def nothing(ctx):
    return None

@pipeline_step()
def write(data, ctx):
    out, err = sys.stdout, sys.stderr
    print("a line")
    print("no end", end="; ")
    out.buffer.write(b"bytes\\n")
    out.buffer.write(bytearray(b"more ")), out.buffer.write(memoryview(b"bytes\\n"))
    out.buffer.writelines([b"p\\n", b"q\\n"])
    out.buffer.write("\\u00e9".encode()[:1]), out.buffer.write("\\u00e9".encode()[1:] + b" in two pieces\\n")
    out.buffer.write(b"\\x89PNG\\r\\n\\xff\\xfe\\n")
    out.writelines(["x\\n", "y\\n"])
    print("to the original", file=sys.__stdout__)
    print("and on", flush=True)
    print("an error", file=err)
    err.buffer.write(b"its bytes\\n")
    out.reconfigure(encoding="latin-1", errors="replace")
    print("\\u00e9 \\u20ac", out.encoding, out.errors)
    out.reconfigure(encoding="utf-8", errors="strict", newline="\\r\\n", line_buffering=True)
    print("\\u00e9 \\u20ac", out.line_buffering)
    out.reconfigure(newline="\\n", line_buffering=False)
    with contextlib.redirect_stdout(io.StringIO()) as caught:
        print("elsewhere")
    out.flush()
    status = subprocess.run([sys.executable, "-c", "print('a child')"], stdout=out).returncode
    faulthandler.enable(), faulthandler.disable()
    print("the rest", end="")
    return data, {
        "descriptors": (out.fileno(), err.fileno(), out.buffer.fileno()), "names": (out.name, err.name, out.mode),
        "can": (out.writable(), out.readable(), out.isatty(), out.closed),
        "type": isinstance(out, io.TextIOWrapper),
        "original": (out is sys.__stdout__, err is sys.__stderr__), "caught": caught.getvalue(), "status": status,
        "written": out.write(""), "odd": [refused(out.write, each) for each in (3, b"x", None, ["x"])],
        "odd bytes": [refused(out.buffer.write, each) for each in ("x", None)], "read": refused(out.read),
        "surrogates": refused(out.write, "\\ud800"), "encoding": refused(lambda: out.reconfigure(encoding="none")),
    }

@pipeline_step()
def settings(data, ctx):
    return data, {"set": [(each.encoding, each.errors) for each in (sys.stdout, sys.stderr)]}

@pipeline_step()
def wrap(data, ctx):
    sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding="utf-8", write_through=True)
    print("wrapped \\u00e9")
    sys.stdout.buffer.write(b"bytes\\n")
    return data

@pipeline_step()
def close(data, ctx):
    print("closing")
    sys.stderr.close()
    return data, {"closed": sys.stderr.closed}

told = []
logging.disable(logging.CRITICAL)
for step in (settings, write, wrap, close):
    result = Experiment(
        nothing(), Pipeline([step()]), name="held", default_plugins=False,
        plugins=[SerialExecution() if "serial" in sys.argv else ParallelExecution(1, "process")],
    ).run(replicates=1)
    told.append({name: list(values) for name, values in result.metrics.baseline.metrics.items()})
    told += [error.traceback_text for error in result.errors.values()]
with open("told", "w") as file:
    json.dump(told, file, indent=1)
"""
# As the interpreter opens them; `-u` has the bytes of a child come in order with ours.
ENCODINGS = ["utf-8", "ascii", "latin-1", "utf-8:surrogateescape", "ascii:backslashreplace"]


def run(folder, encoding, *arguments):
    folder.mkdir()
    (folder / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-u", "program.py", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout, done.stderr, (folder / "told").read_text()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_workers_write_byte_for_byte_what_is_written_serially(tmp_path, encoding):
    output, error, told = run(tmp_path / "serial", encoding, "serial")
    assert b"a line\nno end; bytes\nmore bytes\np\nq\n" in output
    assert b"to the original\nand on\n" in output
    assert "Traceback" not in told
    for way in ([], ["threaded"]):
        found = run(tmp_path / f"process{len(way)}", encoding, *way)
        assert found == (output, error, told)


def test_what_a_step_prints_goes_where_the_program_put_its_output(processes, build, capsys):
    from crystallize import pipeline_step

    @pipeline_step()
    def speak(data, ctx):
        print("é")
        sys.stdout.reconfigure(write_through=False)
        print("held back", end="")
        return data, {"original": sys.stdout is sys.__stdout__}

    result = build(speak(), plugins=[processes]).run(replicates=1)
    assert capsys.readouterr().out == "é\nheld back"
    assert result.metrics.baseline.metrics["original"] == [False]


def test_a_stream_that_a_step_closed_or_took_away_costs_no_other_cell(processes, build, capsys):
    from crystallize import pipeline_step

    @pipeline_step()
    def spoil(data, ctx):
        if ctx["replicate"] == 0:
            sys.stdout.close()
            sys.stderr = None
        return data, {"there": 1}

    result = build(spoil(), plugins=[processes]).run(replicates=6)
    assert result.errors == {}
    assert result.metrics.baseline.metrics["there"] == [1] * 6
