"""What is seen of a run on a terminal while it goes on."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

pty = pytest.importorskip("pty")

SLOW = """
import time

from crystallize import Experiment, data_source, pipeline_step


@data_source
def nothing(ctx):
    return 1


@pipeline_step(cacheable=True)
def same(data, ctx):
    return data


@pipeline_step()
def slow(data, ctx):
    time.sleep(0.15)
    if ctx["replicate"] == 1:
        raise ValueError("the second one fails")
    return data, {"m": 1}


experiment = Experiment(nothing(), [same(), slow()], name="slow", replicates=8)
"""


@pytest.fixture
def on_a_terminal(command, tmp_path):
    """Run ``crystallize`` with a terminal as stderr; give its exit code, stdout, and what the terminal showed."""

    def run(*arguments, **environment):
        main, other = pty.openpty()
        program = subprocess.Popen(
            [command, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=other, stdin=subprocess.DEVNULL,
            env={**os.environ, "COLUMNS": "120", "TERM": "xterm", **environment},
        )  # fmt: skip
        os.close(other)
        shown = b""
        limit = time.monotonic() + 120
        try:
            while time.monotonic() < limit:
                try:
                    found = os.read(main, 4096)
                except OSError:  # the terminal is gone with its last process
                    break
                if not found:
                    break
                shown += found
            stdout = program.communicate(timeout=30)[0].decode()
            return program.returncode, stdout, shown.decode()
        finally:
            program.kill()
            program.wait()
            os.close(main)

    return run


def test_a_terminal_shows_cells_done_failed_and_cached_and_each_failure_at_once(on_a_terminal, write):
    write(SLOW)
    code, stdout, shown = on_a_terminal("run", "file.py")
    assert code == 1
    assert "8/8" in shown or "7/8" in shown
    assert "cell/s" in shown or "s/cell" in shown
    assert "1 failed" in shown
    assert "cached" in shown
    failure, last = shown.index("the second one fails"), shown.rindex("/8 [")
    assert failure < last, "it is told while the others still run"
    assert "\r" not in stdout
    _, _, again = on_a_terminal("resume", "file.py")
    assert "7 kept" in again


def test_what_is_no_terminal_gets_no_bar(crystallize, write):
    write(SLOW)
    done = crystallize("run", "file.py")
    assert "\r" not in done.stderr
    assert "cell/s" not in done.stderr


def test_quiet_shows_no_bar_on_a_terminal(on_a_terminal, write):
    write(SLOW.replace('raise ValueError("the second one fails")', "pass"))
    code, _, shown = on_a_terminal("run", "file.py", "--quiet")
    assert (code, shown) == (0, "")


def test_the_bar_leaves_the_numbers_and_the_identity_alone(on_a_terminal, crystallize, write):
    write(SLOW.replace('raise ValueError("the second one fails")', "pass"))
    assert on_a_terminal("run", "file.py")[0] == 0
    assert crystallize("resume", "file.py").returncode == 5
