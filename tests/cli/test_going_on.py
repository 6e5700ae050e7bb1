"""Commands around a run: `plan`, `resume`, `debug`, overrides, `--check`, and how each ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest
from tests import programs

FLAKY = """
import os
from pathlib import Path

from crystallize import Experiment, SeedPlugin, Treatment, data_source, pipeline_step


@data_source
def draws(ctx):
    return [ctx.rng.random() for _ in range(5)]


@pipeline_step()
def total(data, ctx, *, factor=1.0):
    with open("log.txt", "a") as log:
        log.write(f"{ctx['condition']}_{ctx['replicate']}\\n")
    if factor == 2 and ctx["replicate"] == 1 and not Path("mended").exists():
        raise ValueError("no total")
    return data, {"total": factor * sum(data)}


experiment = Experiment(
    draws(),
    [total()],
    [SeedPlugin(seed=1)],
    name="flaky",
    treatments=[Treatment("doubled", {"factor": 2.0})],
    replicates=3,
)
"""


CLAIMING = (
    FLAKY.replace('raise ValueError("no total")', "pass")
    .replace("import os", "import os\nfrom crystallize import Hypothesis")
    .replace("import os", "import os\nfrom crystallize_plugins.verifiers import permutation")
    .replace("replicates=3,", "hypotheses=[Hypothesis(permutation(alternative='less'), 'total', name='less')],")
)


@pytest.fixture
def flaky(write):
    """An experiment of which one cell fails until a file `mended` is there."""
    return write(FLAKY)


def executions(tmp_path):
    log = tmp_path / "log.txt"
    return log.read_text().split() if log.exists() else []


def test_failures_are_summed_up_with_the_command_that_runs_just_those_again(crystallize, flaky, tmp_path):
    done = crystallize("run", "file.py")
    assert done.returncode == 1
    assert "1 of 6 cells failed. To run just those again: crystallize resume file.py" in done.stderr
    (tmp_path / "mended").touch()
    (tmp_path / "log.txt").unlink()
    planned = crystallize("plan", "file.py")
    assert planned.returncode == 0
    assert "5 to keep, 1 to run" in planned.stdout
    assert "failed: doubled_rep_1" in planned.stdout
    done = crystallize("resume", "file.py")
    assert done.returncode == 0, done.stderr
    assert executions(tmp_path) == ["doubled_1"]
    done = crystallize("resume", "file.py")
    assert done.returncode == 5
    assert "nothing to do" in done.stderr
    assert "doubled" in done.stdout, "the results are shown all the same"
    assert crystallize("plan", "file.py").returncode == 5


def test_a_plan_lists_every_cell_for_programs(crystallize, flaky, tmp_path):
    rows = json.loads(crystallize("plan", "file.py", "replicates=2", "--json").stdout)
    assert [(row["cell"], row["action"], row["reason"]) for row in rows] == [
        ("baseline_rep_0", "run", "missing"),
        ("doubled_rep_0", "run", "missing"),
        ("baseline_rep_1", "run", "missing"),
        ("doubled_rep_1", "run", "missing"),
    ]
    assert executions(tmp_path) == []
    assert not (tmp_path / "data").exists()


def test_a_run_for_programs_is_json_alone_on_stdout(crystallize, flaky, tmp_path):
    (tmp_path / "mended").touch()
    done = crystallize("run", "file.py", "--json", "--quiet")
    assert done.returncode == 0
    assert done.stderr == ""
    record = json.loads(done.stdout)
    assert len(record["metrics"]["treatments"]["doubled"]["total"]) == 3


def test_a_hypothesis_that_is_not_supported_fails_only_where_that_is_asked_for(crystallize, write):
    write(CLAIMING)
    assert crystallize("run", "file.py").returncode == 0
    done = crystallize("run", "file.py", "--check")
    assert done.returncode == 4
    assert "not supported: less for doubled" in done.stderr


def test_an_experiment_that_another_process_resumes_is_locked(crystallize, command, write, tmp_path):
    write(
        FLAKY.replace(
            '    with open("log.txt"',
            '    import time; time.sleep(20 * (ctx["replicate"] > 0))\n    with open("log.txt"',
        )
    )
    crystallize("run", "file.py", "replicates=1")
    program = programs.popen([command, "resume", "file.py"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            rows = json.loads(crystallize("runs", "--json").stdout)
            if rows[0]["status"] == "running":
                break
        done = crystallize("resume", "file.py")
        assert done.returncode == 75
        assert str(program.pid) in done.stderr
        program.send_signal(signal.SIGINT)
        _, messages = program.communicate(timeout=30)
        assert program.returncode == 130
        assert "crystallize resume file.py" in messages
    finally:
        program.kill()
        program.wait()


def test_one_cell_is_debugged_without_storing_anything(crystallize, flaky, tmp_path):
    done = crystallize("debug", "file.py", "--condition", "doubled", "--replicate", "2")
    assert done.returncode == 0
    assert "reads factor = 2.0" in done.stderr
    assert "cell: doubled_rep_2" in done.stdout
    assert executions(tmp_path) == ["doubled_2"]
    assert not (tmp_path / "data").exists()


def test_the_failure_of_a_debugged_cell_is_shown_as_it_is(crystallize, flaky):
    done = crystallize("debug", "file.py", "--condition", "doubled", "--replicate", "1")
    assert done.returncode == 1
    assert "ValueError: no total" in done.stderr
    assert 'raise ValueError("no total")' in done.stderr


def test_a_debugger_opens_where_a_cell_fails_on_a_terminal(command, flaky, tmp_path):
    pty = pytest.importorskip("pty")
    main, other = pty.openpty()
    program = programs.popen(
        [command, "debug", "file.py", "--condition", "doubled", "--replicate", "1"],
        cwd=tmp_path, stdin=other, stdout=other, stderr=other, start_new_session=True,
    )  # fmt: skip
    os.close(other)
    seen = ""
    try:
        limit = time.monotonic() + 60
        sent = False
        while time.monotonic() < limit:
            try:
                seen += os.read(main, 4096).decode()
            except OSError:  # the terminal is gone with its last process
                break
            if "(Pdb)" in seen and not sent:
                os.write(main, b"p 'factor is', factor\nq\n")
                sent = True
        assert "('factor is', 2.0)" in seen
        assert program.wait(timeout=30) == 1
    finally:
        program.kill()
        program.wait()
        os.close(main)


def test_an_unknown_condition_is_told_with_the_nearest(crystallize, flaky):
    done = crystallize("debug", "file.py", "--condition", "dubled")
    assert done.returncode == 2
    assert "Did you mean 'doubled'?" in done.stderr


def test_overrides_reach_the_experiment(crystallize):
    crystallize("new", "lr")
    done = crystallize("run", "experiments/lr", "replicates=4", "treatments.trimmed.trim=0.4", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["provenance"]["replicates"] == 4
    done = crystallize("run", "experiments/lr", "replicats=4")
    assert done.returncode == 2
    assert "override 1" in done.stderr
    assert "replicates" in done.stderr


def test_what_is_not_in_a_folder_cannot_be_overridden(crystallize, flaky):
    done = crystallize("run", "file.py", "seed=4")
    assert done.returncode == 2
    assert "config.yaml" in done.stderr
