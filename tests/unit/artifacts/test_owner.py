"""Whether the process that writes a run is alive is found out, never only stored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from crystallize.errors import RunLockedError
from crystallize_plugins.artifacts.database import owner
from crystallize_plugins.artifacts.database.owner import HEARTBEAT, SILENCE, Owner, RunLock, is_alive

HOLDS = """
import sys
from pathlib import Path
from crystallize_plugins.artifacts.database.owner import RunLock
lock = RunLock(Path(sys.argv[1]))
print(*lock.owner, sep="|", flush=True)
exec(sys.argv[2])
"""
ELSEWHERE = Owner("another-host", 1, "another kernel")


@pytest.fixture
def run(tmp_path):
    """A run's folder, with the file that its owner touches."""
    (tmp_path / "run.json").write_text("{}")
    return tmp_path


@pytest.fixture
def holder(run):
    """Start a process that holds the run, and does something then; give the process, and who it says it is."""
    started = []

    def start(then="input()"):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDS, str(run), then], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        host, pid, kernel = process.stdout.readline().rstrip().split("|")
        return process, Owner(host, int(pid), kernel)

    yield start
    for process in started:
        process.kill()
        process.communicate()


def touched(run, age):
    os.utime(run / "run.json", (time.time() - age,) * 2)


def test_who_holds_a_run_is_alive_however_long_it_was_silent_and_whoever_it_says_it_is(holder, run):
    _, who = holder()
    touched(run, 10 * 86400)
    for said in (who, ELSEWHERE, who._replace(process=""), who._replace(host="renamed", pid=1)):
        assert is_alive(said, run)


def test_who_was_killed_is_dead_at_once_even_before_it_is_waited_for(holder, run):
    process, who = holder()
    touched(run, 0)
    process.send_signal(signal.SIGKILL)
    # It stays in the table as a zombie until its parent asks for it.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(who, run)
    RunLock(run).release()


def test_who_is_stopped_is_alive(holder, run):
    process, who = holder()
    process.send_signal(signal.SIGSTOP)
    assert is_alive(who, run)
    with pytest.raises(BlockingIOError):
        RunLock(run)
    process.send_signal(signal.SIGCONT)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are copied as they are")
@pytest.mark.parametrize("how", ["os.fork()", "__import__('subprocess').Popen(['sleep', '5'])"])
def test_what_the_owner_has_started_does_not_keep_a_run_locked(holder, run, how):
    process, who = holder(f"{how} and input()")
    assert is_alive(who, run)
    process.kill()
    process.wait()
    assert not is_alive(who, run)


@pytest.mark.parametrize("who", [ELSEWHERE, ELSEWHERE._replace(process="")], ids=["kernel", "without locks"])
def test_an_owner_that_cannot_be_seen_is_alive_while_it_shows_so(run, who):
    touched(run, HEARTBEAT)
    assert is_alive(who, run)
    touched(run, SILENCE + HEARTBEAT)
    assert not is_alive(who, run)
    (run / "run.json").unlink()
    assert not is_alive(who, run)


def test_how_long_an_owner_was_silent_is_told_by_the_clock_of_the_file_system(run, monkeypatch):
    touched(run, HEARTBEAT)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86400)  # this machine's clock is wrong
    assert is_alive(ELSEWHERE, run)
    assert sorted(path.name for path in run.iterdir()) == ["run.json"]


def test_a_sign_of_life_from_the_future_counts_from_now_on(run):
    touched(run, -86400)
    assert is_alive(ELSEWHERE, run)
    assert abs((run / "run.json").stat().st_mtime - time.time()) < SILENCE


def test_an_owner_shows_that_it_is_alive_whatever_else_its_process_does(run, monkeypatch):
    monkeypatch.setattr(owner, "HEARTBEAT", 0.01)
    touched(run, 86400)
    lock = RunLock(run)
    limit = time.monotonic() + 60
    while (run / "run.json").stat().st_mtime < time.time() - 3600:
        assert time.monotonic() < limit
    lock.release()


def test_a_run_is_held_once_in_a_process_too_and_free_once_it_is_released(run):
    lock = RunLock(run)
    with pytest.raises(BlockingIOError):
        RunLock(run)
    lock.release()
    lock.release()
    RunLock(run).release()
    assert not is_alive(lock.owner, run)


def test_who_only_looks_keeps_nobody_from_taking_a_run(run):
    stop = threading.Event()

    def look():
        while not stop.is_set():
            is_alive(ELSEWHERE, run)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for thread in lookers:
        thread.start()
    for _ in range(50):
        RunLock(run).release()
    stop.set()
    for thread in lookers:
        thread.join()


def test_what_was_locked_is_locked_again_when_a_step_has_closed_it(run):
    lock = RunLock(run)
    os.close(lock._descriptor)
    somebodys = os.open(os.devnull, os.O_RDONLY)
    assert somebodys == lock._descriptor
    lock.check()
    with pytest.raises(BlockingIOError):
        RunLock(run)
    lock.release()
    os.close(somebodys)  # it was left alone


def test_who_lost_its_lock_to_another_is_told(run, holder):
    lock = RunLock(run)
    os.close(lock._descriptor)
    process, _ = holder()
    with pytest.raises(RunLockedError, match="another process works on it"):
        lock.check()
    process.kill()


@pytest.mark.parametrize("how", ["removed", "renamed", "replaced"])
def test_a_folder_that_is_another_now_is_not_written_to(tmp_path, how):
    run = tmp_path / "v0"
    run.mkdir()
    lock = RunLock(run)
    lock.check()
    run.rmdir() if how == "removed" else run.rename(tmp_path / "v1")
    if how == "replaced":
        run.mkdir()
    with pytest.raises(RunLockedError, match="removed, renamed or replaced"):
        lock.check()
    lock.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are copied as they are")
def test_a_fork_of_the_owner_is_not_the_owner(holder):
    process, _ = holder(
        "import os\n"
        "if not os.fork():\n"
        "    try:\n        lock.check()\n"
        "    except Exception as error:\n        print(type(error).__name__, flush=True)\n"
        "    os._exit(0)\n"
        "os.wait(); lock.check(); print('owner', flush=True); input()"
    )
    assert [process.stdout.readline(), process.stdout.readline()] == ["RunLockedError\n", "owner\n"]
