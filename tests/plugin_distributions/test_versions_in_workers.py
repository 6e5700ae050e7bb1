"""A worker elsewhere that has other versions of the run's plugins refuses before its first cell."""

from __future__ import annotations

import shutil

import pytest
from tests.plugin_distributions.test_distributions import EXPERIMENT

SCRIPT = (
    EXPERIMENT
    + """
import pickle
from pathlib import Path
from crystallize import BasePlugin

class Elsewhere(BasePlugin):
    neutral = True

    def run_experiment_loop(self, experiment, cells, run_cell):
        Path("run_cell").write_bytes(pickle.dumps((run_cell, list(cells))))
        return map(run_cell, cells)

if Path("run_cell").exists():
    try:
        run_cell, cells = pickle.loads(Path("run_cell").read_bytes())
        print([run_cell(cell).metrics["items after TwiceStep"] for cell in cells])
    except Exception as error:
        print(type(error).__name__, "|", error)
else:
    experiment("tally", Elsewhere()).run(replicates=2)
"""
)


@pytest.fixture
def folder(python, tmp_path):
    """Keep what a run would send to a worker."""
    python(SCRIPT, "acme-tally", folder=tmp_path)
    return tmp_path


def test_a_worker_with_the_same_versions_runs_cells(python, folder):
    assert python(SCRIPT, "acme-tally", folder=folder) == "[[6], [6]]\n"


def test_a_worker_with_another_version_refuses_with_plugin_and_both_versions(python, installed, folder):
    other = folder / "other"
    shutil.copytree(installed("acme-tally")[0], other)
    (info,) = other.glob("*.dist-info")
    metadata = (info / "METADATA").read_text(encoding="utf-8").replace("Version: 1.4.0", "Version: 1.5.0")
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    said = python(SCRIPT, path=[other], folder=folder)
    assert said.startswith("WorkerStartError | plugin 'tally': the run has acme-tally 1.4.0")
    assert "this worker has acme-tally 1.5.0" in said
    assert "pip install acme-tally==1.4.0" in said


def test_a_worker_without_the_distribution_says_so_before_anything_fails_to_import(python, folder):
    said = python(SCRIPT, folder=folder)
    assert said.startswith("WorkerStartError | plugin 'tally'")
    assert "this worker has no acme-tally" in said
