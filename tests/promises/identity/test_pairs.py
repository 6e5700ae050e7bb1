"""Two things that behave differently have different identities, and equal ones made anew, anywhere, have one."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
# Further tables are modules beside this one.
TABLES = ("pairs_of_wrappers", "pairs_of_frames", "pairs_of_arrays", "pairs_of_objects")
PAIRS = [(table, pair) for table in TABLES for pair in importlib.import_module(table).PAIRS]
sys.path.remove(str(HERE))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Look at all pairs in two processes, with different orders of sets."""
    return [_report(seed, tmp_path_factory.mktemp(f"seed_{seed}")) for seed in ("1", "2")]


def _report(seed, folder):
    # A library may use what is deprecated: that is not what is tested.
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(HERE / "pairs.py"), *TABLES]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_there_are_many_kinds_and_each_is_there_once():
    kinds = [pair.kind for _, pair in PAIRS]
    assert len(kinds) == len(set(kinds)) >= 120


@pytest.mark.parametrize("table, pair", [pytest.param(*row, id=row[1].kind) for row in PAIRS])
def test_a_pair_has_one_identity_exactly_if_it_is_the_same(found, table, pair):
    here, there = (each[table][pair.kind] for each in found)
    if "missing" in here:
        pytest.skip(here["missing"])
    assert "problem" not in here, here["problem"]
    left, anew, right, *travelled = here["digests"]
    assert left == anew == here["again"], "made anew, or looked at again"
    assert (left == right) is pair.same
    assert travelled in ([], [left])
    assert there["digests"] == here["digests"], "in another process"
    assert [bool(each) for each in here["untracked"]] == [pair.untracked] * 2, here["untracked"]
