"""Whether the process that writes a run is alive is found out, never only stored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from crystallize_plugins.artifacts.database.owner import HEARTBEAT, Owner, current_owner, is_alive, written_here

WHO_AM_I = """
import time
from crystallize_plugins.artifacts.database.owner import current_owner
print(*current_owner(), flush=True)
time.sleep(60)
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says when a process started")


@pytest.fixture
def child():
    """Start a process that says who it is and then sleeps."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            WHO_AM_I,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    host, pid, started = process.stdout.readline().split()
    yield process, Owner(host, int(pid), started)
    process.kill()
    process.communicate()


@pytest.fixture
def beat(tmp_path):
    """Make a file that was touched so many seconds ago."""

    def make(age):
        path = tmp_path / "run.json"
        path.write_text("{}")
        os.utime(path, (time.time() - age,) * 2)
        return path

    return make


def test_a_process_that_runs_is_alive(child, beat):
    _, who = child
    assert is_alive(who, "run", beat(0))


@linux
def test_a_process_that_runs_is_alive_however_long_it_was_silent(child, beat):
    _, who = child
    assert is_alive(who, "run", beat(10 * 86400))


def test_a_process_that_was_killed_is_dead_at_once_even_before_it_is_waited_for(child, beat):
    process, who = child
    process.send_signal(signal.SIGKILL)
    # It stays in the table as a zombie until its parent asks for it.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(who, "run", beat(0))
    process.wait()
    assert not is_alive(who, "run", beat(0))


@linux
def test_a_number_that_was_given_to_another_process_is_not_the_owner(child, beat):
    _, who = child
    boot, namespace, ticks = who.process.split(":")
    assert not is_alive(who._replace(process=f"{boot}:{namespace}:{int(ticks) - 1}"), "run", beat(0))


@linux
def test_after_a_reboot_the_owner_is_dead(child, beat):
    _, who = child
    _, namespace, ticks = who.process.split(":")
    assert not is_alive(who._replace(process=f"another-boot:{namespace}:{ticks}"), "run", beat(0))


@pytest.mark.parametrize("elsewhere", ["host", pytest.param("container", marks=linux), "system without start times"])
def test_an_owner_that_cannot_be_seen_is_alive_while_it_shows_so(child, beat, elsewhere):
    _, who = child
    boot, _, ticks = who.process.split(":")
    changed = {
        "host": {"host": "another"},
        "container": {"process": f"{boot}:1:{ticks}"},
        "system without start times": {"process": ""},
    }
    who = who._replace(**changed[elsewhere])
    assert is_alive(who, "run", beat(HEARTBEAT))
    assert not is_alive(who, "run", beat(60 * HEARTBEAT))


def test_without_a_heartbeat_an_owner_elsewhere_is_dead(tmp_path):
    assert not is_alive(Owner("another", 1, ""), "run", tmp_path / "none")


def test_without_start_times_a_free_number_is_a_dead_owner(beat):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not is_alive(Owner(current_owner().host, child.pid, ""), "run", beat(0))


def test_this_process_owns_the_runs_that_it_is_writing_and_no_others(beat):
    written_here.add("this one")
    try:
        assert is_alive(current_owner(), "this one", beat(0))
        assert not is_alive(current_owner(), "another one", beat(0))
    finally:
        written_here.discard("this one")


def test_a_forked_child_is_another_process(run_script):
    done = run_script(
        """
        import os
        from crystallize_plugins.artifacts.database.owner import current_owner
        parent = current_owner()
        if os.fork() == 0:
            print(current_owner().pid == os.getpid() != parent.pid, flush=True)
            os._exit(0)
        os.wait()
        """
    )
    assert done.stdout == "True\n", done.stderr
