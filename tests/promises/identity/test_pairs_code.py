"""Code that behaves differently has different identities, and what cannot be followed is named as untracked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.promises.identity.pairs_code import DIFFERENT, ROWS, UNTRACKED


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Look at all pairs in two processes, with different orders of sets."""
    return [_report(seed, tmp_path_factory.mktemp(f"seed_{seed}")) for seed in ("1", "2")]


def _report(seed, folder):
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(Path(__file__).with_name("projects.py"))]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_each_kind_is_there_once():
    kinds = [row.kind for row in ROWS]
    assert len(kinds) == len(set(kinds)) >= 180


@pytest.mark.parametrize("row", ROWS, ids=[row.kind for row in ROWS])
def test_a_project_that_behaves_differently_is_another_and_what_cannot_be_followed_is_named(found, row):
    here, there = (each[row.kind] for each in found)
    if "missing" in here:
        pytest.skip(here["missing"])
    assert "problem" not in here, here["problem"]
    (left, again, untracked), (anew, *_), (right, *_) = here["sides"]
    assert left == again == anew, "looked at again, or imported anew elsewhere"
    assert there["sides"][0] == here["sides"][0], "in another process"
    assert bool(untracked) is (row.expected == UNTRACKED), untracked
    if row.expected != UNTRACKED:
        assert (left != right) is (row.expected == DIFFERENT)
