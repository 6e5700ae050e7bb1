"""What a type checker tells the users of the installed packages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LINE = re.compile(r"(?P<file>[^:]+):(?P<line>\d+): error: (?P<text>.*?)\s+\[(?P<code>[\w-]+)\]")


@pytest.fixture(scope="session")
def mypy(tmp_path_factory):
    """Check a file as its author would, in a folder and with a configuration of their own."""
    folder = tmp_path_factory.mktemp("user")

    def check(name):
        (folder / name).write_bytes((HERE / name).read_bytes())
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file=", name],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode in {0, 1}, done.stdout + done.stderr
        return done.stdout

    return check


@pytest.mark.parametrize("name", ["user_experiment.py", "user_plugin.py"])
@pytest.mark.timeout(600)
def test_what_users_write_has_no_type_errors(mypy, name):
    assert mypy(name) == ""


@pytest.mark.timeout(600)
def test_mistakes_are_found_where_they_are_made_and_nowhere_else(mypy):
    name = "user_mistakes.py"
    expected = {}
    for number, line in enumerate((HERE / name).read_text(encoding="utf-8").splitlines(), start=1):
        _, marked, codes = line.partition("# E: ")
        if marked:
            expected[number] = {code.strip() for code in codes.split(",")}
    output = mypy(name)
    found = {}
    for match in LINE.finditer(output):
        found.setdefault(int(match["line"]), set()).add(match["code"])
    assert sorted(found) == sorted(expected), output
    for number, codes in found.items():
        assert codes & expected[number], (number, output)
