"""Whatever a run's folder holds: nothing is executed, nothing outside is opened or changed, and it ends in time."""

from __future__ import annotations

import os
import resource
import runpy
import signal
import sys
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from crystallize.errors import CrystallizeError
from crystallize_plugins.artifacts import StoredRun, list_runs, open_run
from crystallize_plugins.runs import described_runs, diff, gc, verify

forgeries = runpy.run_path(str(Path(__file__).with_name("forgeries.py")))["forgeries"]

SOAK = bool(os.environ.get("CRYSTALLIZE_SOAK"))
FORGERIES = forgeries()
NAMES = list(FORGERIES) if SOAK else list(FORGERIES)[::6]
SECONDS = 20
"""After which an operation has not ended: it waits for something, or goes on without an end."""

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {
    "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate",
    "os.utime", "shutil.rmtree", "shutil.move",
}  # fmt: skip
FOLLOWS = {"os.chmod", "os.chown", "os.truncate", "os.utime"}
EXECUTES = {
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "os.system",
    "os.fork",
    "pickle.find_class",
    "ctypes.dlopen",
}


class Watch:
    """What the process did of interest, seen by the interpreter's own audit events."""

    def __init__(self):
        self.root = self.run = None
        self.wrong = []
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        if self.root is None:
            return
        if event == "open":
            path, _, flags = arguments
            flags = flags or 0
            self._look(event, path, follows=not flags & os.O_NOFOLLOW, writes=bool(flags & WRITES))
        elif event == "sqlite3.connect":
            self._look(event, arguments[0], follows=True, writes=False)
        elif event in CHANGES:
            for path in arguments:
                self._look(event, path, follows=event in FOLLOWS, writes=True)
        # A run asks git about the code.
        elif (event in EXECUTES and not str(arguments[0]).endswith("git")) or (
            event == "import" and self.root in str(arguments[1])
        ):
            self.wrong.append((event, arguments))

    def _look(self, event, path, *, follows, writes):
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        named = Path(os.fsdecode(path).removeprefix("file://").partition("?")[0])
        place = os.path.realpath(named) if follows else str(Path(os.path.realpath(named.parent), named.name))
        elsewhere = str(Path(self.root).parent) not in place and "crystallize-" not in place and place != os.devnull
        if f"{self.root}/outside" in place or (writes and elsewhere):
            self.wrong.append((event, path))


@pytest.fixture(scope="module")
def watch():
    return Watch()


@contextmanager
def bounded(watch, root):
    """Watch what is done, and end it where it takes too long or more than a gigabyte."""

    def too_long(*_):
        raise TimeoutError(f"it has not ended within {SECONDS} s:\n{''.join(traceback.format_stack())}")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * 1024**3, limits[1]))
    watch.root, watch.wrong = str(root), []
    try:
        yield
    finally:
        watch.root = None
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def everything(run, sound):
    """Do everything that can be done with a stored run but to go on with it; yield the names of it."""
    yield "describe", lambda: [described_runs(run.parent.parent), described_runs(run.parent.parent)]
    yield "list", lambda: [(each.status, each.metadata, each.conditions) for each in list_runs(run.parent.parent)]
    yield "open", lambda: _looked_at(open_run(run))
    yield "outcomes", lambda: StoredRun(run).outcomes()
    yield "verify", lambda: str(verify(run.parent.parent))
    yield "diff", lambda: str(diff(run, sound))
    yield "file", lambda: StoredRun(run).artifact_path(step=None, name="model.bin", condition="baseline", replicate=0)
    yield "gc", lambda: gc(run.parent.parent, keep=0)


def _looked_at(result):
    result.to_dict()
    result.tree_text()


@pytest.mark.skipif(sys.platform != "linux", reason="limits and pipes are those of Linux")
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_forged_folder_executes_nothing_and_touches_nothing_outside(
    name, received, sent_run, sent_again, forge, tmp_path, watch, monkeypatch, capfd
):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    FORGERIES[name](received, outside, forge)
    kept = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    root = received.parent.parent
    goes_on = "document" not in name
    for what, work in everything(received, sent_run):
        with bounded(watch, tmp_path):
            if what == "gc" and goes_on:
                _done(lambda: sent_again(root).run(strategy="resume"))
                _done(lambda: sent_again(root, artifact_retention=1).run())
            _done(work)
        assert not watch.wrong, (what, watch.wrong)
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == kept
    assert not (tmp_path / "PWNED").exists()


def _done(work):
    with suppress(CrystallizeError):
        work()
