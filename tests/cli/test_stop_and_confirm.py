"""``--until``, ``preregister`` and ``--preregistration``, and how they end."""

from __future__ import annotations

import json

import pytest

CONFIG = """
name: shifts
datasource: {draws: draws}
steps: [{measure: {}}]
treatments: {up: {shift: 1.0}}
hypotheses:
  - {name: larger, verifier: sequential, metrics: m}
  - {name: plain, verifier: paired_t, metrics: m}
replicates: 60
seed: 3
"""
SOURCES = """
from crystallize import data_source


@data_source
def draws(ctx):
    return float(ctx.rng.normal())
"""
STEPS = """
from crystallize import pipeline_step


@pipeline_step()
def measure(data, ctx, *, shift=0.0):
    return data, {"m": data + shift + 0.5 * float(ctx.rng.normal()) * (shift != 0)}
"""


@pytest.fixture
def folder(write):
    for name, text in (("config.yaml", CONFIG), ("datasources.py", SOURCES), ("steps.py", STEPS)):
        write(text, f"shifts/{name}")
    return "shifts"


def test_a_run_stops_by_a_hypothesis_of_the_folder(crystallize, folder):
    done = crystallize("run", folder, "--until", "larger", "--batch", "5", "--json")
    assert done.returncode == 0, done.stderr
    stopping = json.loads(done.stdout)["provenance"]["stopping"]
    assert stopping["reason"] == "decided"
    assert stopping["looks"] == list(range(5, stopping["looks"][-1] + 1, 5))
    assert stopping["looks"][-1] < 60
    again = crystallize("resume", folder, "--until", "larger", "--batch", "5")
    assert (again.returncode, "nothing to do" in again.stderr) == (5, True)
    refused = crystallize("run", folder, "--until", "plain")
    assert refused.returncode == 2
    assert "sooner or later" in refused.stderr
