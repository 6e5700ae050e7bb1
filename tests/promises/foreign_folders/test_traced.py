"""The same as the system sees it: no open for writing, no execution and no removal outside of the run, by any call."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

forgeries = runpy.run_path(str(Path(__file__).with_name("forgeries.py")))["forgeries"]()

TRACED = (
    "trace=execve,open,openat,creat,unlink,unlinkat,rename,renameat,renameat2,rmdir,mkdir,mkdirat,symlinkat,truncate"
)
CALL = re.compile(r"^(?:\d+ +)?(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)[^\n]*", re.MULTILINE)
PROGRAM = """
import sys
from pathlib import Path
from crystallize.errors import CrystallizeError
from crystallize_plugins.artifacts import StoredRun
from crystallize_plugins.runs import described_runs, diff, gc, verify

received = Path("received")
run = received / "sent" / "v0"
for work in (
    lambda: described_runs(received), lambda: StoredRun(run).result().to_dict(), lambda: StoredRun(run).outcomes(),
    lambda: verify(received), lambda: diff(run, "sound"), lambda: gc(received, keep=0),
):
    try:
        work()
    except CrystallizeError:
        pass
"""
NAMES = (
    "run.db: link", "run.db-wal: link", "run.db-journal: link", "run.json: pipe", "baseline: link", "replicate_0: link",
    "replicate_0/baseline/WorkStep/model.bin: link", "a journal of several databases", "a view in place of a table",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_call_of_the_system_touches_what_lies_outside(received, forge, sent_run, tmp_path):
    outside = tmp_path / "outside"
    shutil.copytree(sent_run, tmp_path / "sound")
    kept = received.parent.parent
    whole = shutil.copytree(kept, tmp_path / "whole")
    for name in NAMES:
        shutil.rmtree(outside, ignore_errors=True)
        outside.mkdir()
        (outside / "precious").write_bytes(b"precious")
        shutil.rmtree(kept)
        shutil.copytree(whole, kept)
        forgeries[name](received, outside, forge)
        before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
        log = tmp_path / "log"
        command = ["strace", "-f", "-y", "-e", TRACED, "-o", log, sys.executable, "-c", PROGRAM]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        if "ptrace" in done.stderr:
            pytest.skip(f"this system does not let strace look: {done.stderr.strip()}")
        assert done.returncode == 0, (name, done.stderr)
        calls = list(CALL.finditer(log.read_text(errors="replace")))
        assert len(calls) > 100, name
        succeeded = [call for call in calls if int(call["result"]) >= 0]
        assert not [call[0] for call in succeeded if str(outside) in call[0]], name
        assert len([call for call in succeeded if call["name"] == "execve"]) == 1, name
        assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before, name
