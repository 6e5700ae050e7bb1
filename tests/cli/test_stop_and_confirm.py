"""``--until``, ``preregister`` and ``--preregistration``, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_a_plan_is_carried_out_and_a_changed_one_ends_with_6(crystallize, write, folder):
    written = crystallize("preregister", folder, "--until", "larger", "replicates=40", "-o", "plan.json", "--json")
    assert written.returncode == 0, written.stderr
    assert crystallize("preregister", folder, "-o", "plan.json").returncode == 2
    run = ("run", folder, "--preregistration", "plan.json", "--json")
    done = crystallize(*run)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {each["name"]: each["state"] for each in result["hypotheses"]}["larger"] == "valid"
    assert result["provenance"]["preregistration"]["digest"] == json.loads(written.stdout)["digest"]
    again = crystallize("resume", folder, "--preregistration", "plan.json", "--json")
    assert (again.returncode, json.loads(again.stdout)["hypotheses"]) == (5, result["hypotheses"])
    assert crystallize(*run, "--until", "larger").returncode == 2

    write(CONFIG.replace("verifier: sequential", "verifier: {sequential: {alpha: 0.1}}"), "shifts/config.yaml")
    changed = crystallize(*run)
    assert changed.returncode == 6
    assert "larger: it is not as it was planned" in changed.stderr
    write(CONFIG, "shifts/config.yaml")
    write(STEPS.replace("0.5", "0.4"), "shifts/steps.py")
    changed = crystallize(*run)
    assert changed.returncode == 6
    assert "step 1 MeasureStep code" in changed.stderr
    plan = json.loads(Path("plan.json").read_text(encoding="utf-8"))
    write(json.dumps({**plan, "replicates": 10}), "plan.json")
    edited = crystallize(*run)
    assert (edited.returncode, edited.stdout) == (6, "")
    assert "plan.json was changed" in edited.stderr
