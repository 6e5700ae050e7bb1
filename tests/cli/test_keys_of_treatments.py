"""Keys of treatments that do nothing, as the command line tells of them."""

from __future__ import annotations

import json

import pytest

SOURCES = """
from crystallize import data_source

@data_source
def numbers(ctx, size=3):
    return [1.0] * size
"""
STEPS = """
from crystallize import pipeline_step

@pipeline_step()
def loss(data, *, x=0.0):
    return data, {"loss": (x - 1) ** 2 + len(data)}

@pipeline_step()
def told(data, ctx, *, x=0.0):
    return data, {"loss": (x - 1) ** 2 + len(data)}

def helper(ctx):
    return ctx.get("depth", 1)

@pipeline_step()
def hands_on(data, ctx, *, x=0.0):
    return data, {"loss": helper(ctx)}
"""


@pytest.fixture
def folder(write):
    def make(step="told", keys="{x: 1}", name="one", more=""):
        write(SOURCES, f"{name}/datasources.py")
        write(STEPS, f"{name}/steps.py")
        config = f"name: {name}\nseed: 1\ndatasource:\n  data: numbers\nsteps:\n  - {step}\n"
        write(f"{config}treatments:\n  t: {keys}\n{more}", f"{name}/config.yaml")
        return name

    return make


@pytest.mark.parametrize("step", ["loss", "told"])
@pytest.mark.parametrize(
    "keys, near",
    [("{xx: 1}", "x"), ("{sise: 1}", "size"), ("{{step}.xx: 1}", "{step}.x"), ("{numbers.sise: 1}", "numbers.size")],
)
def test_check_names_a_key_that_nothing_reads(folder, crystallize, step, keys, near):
    done = crystallize("check", folder(step, keys.replace("{step}", step)))
    assert done.returncode == 2
    assert f"Did you mean '{near.replace('{step}', step)}'?" in done.stdout


def test_check_says_nothing_of_what_is_read_or_cannot_be_told(folder, crystallize):
    folder(keys="{x: 1, size: 2, told.x: 3, numbers.size: 4}", name="good")
    folder("hands_on", "{depth: 1}", name="open")
    done = crystallize("check", "good", "open")
    assert (done.returncode, done.stdout) == (0, "")


def test_check_of_a_python_file_finds_it_too(write, crystallize):
    source = SOURCES + STEPS + "\nfrom crystallize import Experiment, Treatment\n"
    write(source + "experiment = Experiment(numbers(), [told()], treatments=[Treatment('t', {'xx': 1})])\n")
    done = crystallize("check", "file.py", "--json")
    assert done.returncode == 2
    (problem,) = json.loads(done.stdout)[0]["problems"]
    assert "Did you mean 'x'?" in problem["message"]


def test_a_key_that_an_override_adds_is_refused_or_told_of(folder, crystallize):
    refused = crystallize("run", folder("loss"), "+treatments.t.xx=1")
    assert refused.returncode == 2
    assert "Did you mean 'x'?" in refused.stderr
    told = crystallize("run", folder("told"), "+treatments.t.xx=1")
    assert told.returncode == 0
    assert "warning: treatment 't' sets 'xx'" in told.stderr
    assert "treatment 't' sets 'xx', which nothing has read: it changed nothing" in told.stdout
    shown = crystallize("show", "one")
    assert "treatment 't' sets 'xx', which nothing has read: it changed nothing" in shown.stdout


def test_a_parameter_that_the_configuration_gives_is_refused_or_told_of(folder, crystallize):
    refused = crystallize("run", folder("loss: {x: 5}"))
    assert refused.returncode == 2
    assert "made with x=..." in refused.stderr
    told = crystallize("run", folder("told: {x: 5}"))
    assert told.returncode == 0
    assert "made with x=..., which counts more" in told.stderr
    assert crystallize("check", "one").returncode == 2


def test_addresses_are_keys_of_the_configuration_and_of_overrides(folder, crystallize):
    name = folder(keys="{told.x: 3}")
    assert "+3" in crystallize("run", name).stdout
    assert "+8" in crystallize("run", name, 'treatments.t."told.x"=4').stdout
    inside = crystallize("run", name, "+treatments.t.told.x=4")
    assert inside.returncode == 2
    assert "Did you mean 'told.x'?" in inside.stderr


def test_json_lists_them_with_the_provenance(folder, crystallize):
    done = crystallize("run", folder(keys="{xx: 1}"), "--json")
    assert json.loads(done.stdout)["provenance"]["unread"] == {"t": ["xx"]}


def test_a_new_experiment_has_nothing_of_the_kind(crystallize):
    crystallize("new", "demo")
    done = crystallize("check", "experiments/demo")
    assert (done.returncode, done.stdout) == (0, "")
