"""With ``--json`` standard output holds JSON and nothing else, whatever experiments print and however they do it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from crystallize_cli.main import BUILT_IN, run

NOISY = """
import atexit, ctypes, logging, os, subprocess, sys, warnings
from crystallize import (
    AsyncExecution, Experiment, Hypothesis, ParallelExecution, Pipeline, SeedPlugin, SerialExecution, Treatment,
    data_source, pipeline_step,
)

def shout(where):
    print(f"<print {where}>")
    sys.stdout.write(f"<write {where}>")  # a line that is not finished
    sys.stdout.flush()
    os.write(1, f"<descriptor {where}>\\n".encode())
    subprocess.run([sys.executable, "-ISc", f"print('<child {where}>')"], check=True)
    os.system(f"echo '<shell {where}>'")
    if os.name == "posix":
        ctypes.CDLL(None).puts(f"<C {where}>".encode())
    logging.getLogger("noise").warning("<log %s>", where)
    warnings.warn(f"<warning {where}>", stacklevel=2)

logging.basicConfig(stream=sys.stdout)
atexit.register(print, "<print exit>")
shout("import")

@data_source
def numbers(ctx):
    print("<print source>")
    return [1, 2]

@pipeline_step()
def noisy(data, ctx):
    shout("step")
    if ctx["replicate"] == 0:
        from tqdm import tqdm
        list(tqdm(range(3), desc="<bar step>", file=sys.stdout))
    return data

async def waits(data, ctx):
    print("<print async>")
    return data, {"total": sum(data) + ctx.get("more", 0)}

def judge(baseline, treatment):
    print("<print verifier>")
    return {"p_value": 0.01}

EXECUTORS = {
    "serial": SerialExecution,
    "thread": lambda: ParallelExecution(2),
    "process": lambda: ParallelExecution(2, "process"),
    "async": AsyncExecution,
}
experiment = Experiment(
    numbers(), Pipeline([noisy(), waits]), name="noise", replicates=2,
    plugins=[SeedPlugin(seed=1), EXECUTORS[os.environ.get("EXECUTOR", "serial")]()],
    treatments=[Treatment("up", {"more": 1})], hypotheses=[Hypothesis(judge, "total", name="higher")],
)
"""


def only_json(done):
    """Give what is on standard output, which has to be one JSON document."""
    return json.loads(done.stdout)


@pytest.mark.parametrize("executor", ["serial", "thread", "process", "async"])
def test_a_run_writes_json_whatever_its_steps_print(crystallize, write, executor):
    write(NOISY)
    done = crystallize("run", "file.py", "--json", EXECUTOR=executor)
    assert done.returncode == 0, done.stderr
    assert only_json(done)["metrics"]["treatments"]["up"]["total"] == [4, 4]
    ways = ["print", "write", "descriptor", "child", "shell", "log", "warning", *["C"] * (os.name == "posix")]
    printed = [f"<{way} {where}>" for way in ways for where in ("import", "step")]
    for text in (*printed, "<print source>", "<bar step>", "<print async>", "<print verifier>", "<print exit>"):
        assert text.strip("<>") in done.stderr, text


FOLDER = {
    "config.yaml": "name: noise\ndatasource: {n: numbers}\nsteps: [noisy]\nreplicates: 2\n",
    "datasources.py": "from crystallize import data_source\nprint('<import>')\n"
    "@data_source\ndef numbers(ctx):\n    print('<source>')\n    return 1\n",
    "steps.py": "import os\nfrom crystallize import pipeline_step\nos.system('echo \"<import>\"')\n"
    "@pipeline_step()\ndef noisy(data, ctx):\n    print('<step>')\n    return data, {'m': 1}\n",
}

COMMANDS = {
    "run": (("run", "folder"),),
    "preregister": (
        ("preregister", "folder", "-o", "plan.json", "+treatments={more: {}}", "+hypotheses=[{name: h, metrics: m}]"),
    ),
    "resume": (("resume", "folder"),),
    "plan": (("plan", "folder"), ("plan", "file.py")),
    "check": (("check",), ("check", "file.py")),
    "debug": (("debug", "folder"), ("debug", "file.py")),
    "reproduce": (("reproduce", "noise", "folder"),),
    "list": (("list",),),
    "runs": (("runs",),),
    "show": (("show", "noise"),),
    "compare": (("compare", "noise@v0", "noise@v1"),),
    "diff": (("diff", "noise@v0", "noise@v1"),),
    "export": (("export", "noise"),),
    "report": (("report", "noise"),),
    "verify": (("verify",),),
    "gc": (("gc", "--keep", "5", "--dry-run"),),
    "new": (("new", "fresh"),),
    "doctor": (("doctor",),),
    "plugins": (("plugins", "list"), ("plugins", "show", "seed"), ("plugins", "order", "folder")),
    "completion": (("completion", "bash"),),
    "schema": (("schema",),),
}


def test_the_table_holds_every_command():
    assert COMMANDS.keys() | {"ui"} == BUILT_IN.keys()  # which is for people alone


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_writes_json_whatever_is_printed_when_something_is_imported(crystallize, write, name):
    write(NOISY)
    for file, text in FOLDER.items():
        write(text, f"folder/{file}")
    if name in ("reproduce", "runs", "show", "compare", "diff", "export", "report", "verify", "gc"):
        for _ in range(2):
            assert crystallize("run", "folder", "--quiet").returncode == 0
    for arguments in COMMANDS[name]:
        done = crystallize(*arguments, "--json")
        assert done.returncode in (0, 5), done.stderr
        only_json(done)


def test_what_fails_writes_nothing_but_messages(crystallize, write):
    write(NOISY + "\nraise ValueError('broken')\n")
    for command in ("run", "plan", "resume", "debug"):
        done = crystallize(command, "file.py", "--json")
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert "broken" in done.stderr


def test_a_failed_cell_is_in_the_json_of_a_run_that_prints(crystallize, write):
    write(NOISY.replace("return data\n\nasync", 'raise OSError("off")\n\nasync'))
    done = crystallize("run", "file.py", "--json")
    assert done.returncode == 1
    assert "off" in only_json(done)["errors"]["baseline_rep_0"]


@pytest.fixture
def shell(command, tmp_path):
    """Run a line of the shell in which ``crystallize`` is the installed command."""

    def line(text):
        return subprocess.run(
            ["bash", "-c", text.replace("crystallize ", f"{command} ")],
            cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    return line


@pytest.mark.skipif(os.name == "nt", reason="redirects with bash")
@pytest.mark.parametrize(
    "executor, streams",
    [
        ("serial", ">&-"),
        ("serial", ">&- 2>&-"),
        ("serial", "<&- >&- 2>&-"),
        ("serial", ">/dev/null"),
        ("process", ">&-"),
        ("process", "<&- >&- 2>&-"),
    ],
)
def test_a_run_without_standard_streams_is_stored_all_the_same(shell, write, tmp_path, streams, executor):
    write(NOISY)
    done = shell(f"EXECUTOR={executor} crystallize run file.py --json {streams}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert '"total"' not in done.stderr  # the JSON is not sent anywhere else
    assert "Traceback" not in done.stderr
    results = json.loads((tmp_path / "data" / "noise" / "v0" / "baseline" / "results.json").read_text(encoding="utf-8"))
    assert results["metrics"]["total"] == [3, 3]


@pytest.mark.skipif(os.name == "nt", reason="redirects with bash")
def test_json_is_written_without_standard_error(shell, write):
    write(NOISY)
    done = shell("crystallize run file.py --json 2>&-")
    assert done.returncode == 0
    assert only_json(done)["errors"] == {}


@pytest.mark.skipif(os.name == "nt", reason="redirects with bash")
@pytest.mark.parametrize("arguments", ["schema", "plugins list --json", "doctor"])
def test_a_reader_that_has_read_enough_is_no_error(shell, arguments):
    done = shell(f"set -o pipefail; crystallize {arguments} | python3 -c 'import os; os.read(0, 1)'")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")  # noqa: PTH110
@pytest.mark.parametrize("options", ["--json", ""])
def test_output_that_cannot_be_written_is_an_error_in_words(shell, options):
    done = shell(f"crystallize schema {options} > /dev/full")
    assert done.returncode == 3
    assert done.stderr.startswith("crystallize: cannot write to standard output: ")
    assert done.stderr.count("\n") == 1


def test_within_a_program_standard_output_is_given_back(capfd):
    before = sys.stdout
    for _ in range(2):
        assert run(["doctor", "--json"]) in (0, 2)
    assert sys.stdout is before
    print("printed")
    os.system("echo shell")
    out = capfd.readouterr().out
    assert out.endswith("printed\nshell\n")
    decoder = json.JSONDecoder()
    _, end = decoder.raw_decode(out)
    decoder.raw_decode(out[end:].lstrip())
