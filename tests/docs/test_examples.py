"""The examples of docs/examples run as they stand, in a folder of their own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from tests import programs

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
# A distribution among the examples is built, installed and tested in tests/plugin_distributions.
DISTRIBUTIONS = {path.parent for path in EXAMPLES.rglob("pyproject.toml")}
SCRIPTS = sorted(
    path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.py") if DISTRIBUTIONS.isdisjoint(path.parents)
)


def test_the_quickstart_is_among_the_examples():
    assert "quickstart/quickstart.py" in SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_runs_as_a_script(script, tmp_path):
    folder = tmp_path / "example"
    shutil.copytree((EXAMPLES / script).parent, folder, ignore=shutil.ignore_patterns("__pycache__", "data"))
    command = [sys.executable, "-W", "error::DeprecationWarning", Path(script).name]
    done = programs.run(command, cwd=folder, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
