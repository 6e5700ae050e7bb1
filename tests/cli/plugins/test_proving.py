"""`plugins prove`: what a plugin does to an experiment, by running it with and without."""

from __future__ import annotations

import pytest

PLUGINS = """
import os
import random

from crystallize import BasePlugin


class Looks(BasePlugin):
    neutral = True

    def __init__(self, every: int = 1):
        self.every = every

    def after_step(self, step, data, ctx):
        pass


class Adds(BasePlugin):
    def before_replicate(self, ctx):
        ctx.add("added", 1)


class Counts(BasePlugin):
    def __init__(self):
        self.seen = 0

    def after_step(self, step, data, ctx):
        ctx.record("process", os.getpid())


class Meddles(BasePlugin):
    neutral = True

    def after_step(self, step, data, ctx):
        if isinstance(data, list):
            data.append(1.0)


class Greedy(BasePlugin):
    def before_replicate(self, ctx):
        if "of_another_plugin" in ctx:
            ctx.add("seen", 1)


class Rolls(BasePlugin):
    def after_step(self, step, data, ctx):
        ctx.record("rolled", os.urandom(8).hex())


class Unpicklable(BasePlugin):
    neutral = True

    def __init__(self):
        self.handle = (each for each in ())

    def after_step(self, step, data, ctx):
        pass


class Raises(BasePlugin):
    neutral = True
    on_error = "record"

    def collect(self, outcome):
        raise RuntimeError("away")
"""


@pytest.fixture
def plugins(install):
    """Install plugins of which some are what they say they are."""
    names = ("Looks", "Adds", "Counts", "Meddles", "Greedy", "Rolls", "Unpicklable", "Raises")
    install(
        "acme-proof", plugins={name.lower(): f"acme_proof:{name}" for name in names}, modules={"acme_proof.py": PLUGINS}
    )


def proof(call, *arguments):
    done = call("plugins", "prove", *arguments, "--json")
    assert done.code in (0, 1), done.stderr
    record = done.json
    assert done.code == (0 if record["holds"] else 1)
    return record


def differing(record):
    return {(each["what"], each["executor"]) for each in record["comparisons"] if not each["identical"]}


def test_a_neutral_plugin_is_proven_under_every_executor(call, plugins, tmp_path):
    record = proof(call, "looks", "--set", "every=3")
    assert record["holds"], [c["differences"][:2] for c in record["comparisons"] if c["differences"]] + record[
        "findings"
    ]
    assert (record["plugin"], record["distribution"], record["version"]) == ("looks", "acme-proof", "1.0")
    assert (record["neutral"], record["settings"], record["on"]) == (True, {"every": 3}, "sample")
    tried = {(each["what"], each["executor"]) for each in record["comparisons"]}
    each_time = {
        (what, executor) for what in ("without", "order", "again") for executor in ("serial", "thread", "process")
    }
    assert tried == {*each_time, ("executor", "thread"), ("executor", "process")}
    assert record["findings"] == []
    assert list(tmp_path.iterdir()) == [tmp_path / "installed"]


def test_a_plugin_that_is_not_neutral_may_differ_from_the_run_without_it_alone(call, plugins):
    record = proof(call, "adds", "--executor", "serial", "--executor", "thread")
    assert record["holds"], [c["differences"][:2] for c in record["comparisons"] if c["differences"]] + record[
        "findings"
    ]
    assert differing(record) == {("without", "serial"), ("without", "thread")}
    difference = record["comparisons"][0]["differences"][0]
    assert difference.keys() == {"condition", "replicate", "what", "recorded", "now"}
    assert (difference["condition"], difference["replicate"]) == ("baseline", 0)


@pytest.mark.parametrize(
    "name, executors, differs",
    [
        ("meddles", ["serial"], ("without", "serial")),
        ("greedy", ["serial"], ("order", "serial")),
        ("rolls", ["serial"], ("again", "serial")),
        ("counts", ["serial", "process"], ("executor", "process")),
    ],
)
def test_what_a_plugin_should_not_do_is_found(call, plugins, name, executors, differs):
    record = proof(call, name, *(part for executor in executors for part in ("--executor", executor)))
    assert record["holds"] is False
    assert differs in differing(record)


@pytest.mark.parametrize("name, executor, said", [("unpicklable", "process", "pickle"), ("raises", "serial", "away")])
def test_what_goes_wrong_in_a_plugin_is_a_finding(call, plugins, name, executor, said):
    record = proof(call, name, "--executor", executor)
    assert record["holds"] is False
    assert record["findings"][0].keys() == {"rule", "state", "text", "where"}
    assert said in " ".join(finding["text"] for finding in record["findings"])


@pytest.mark.parametrize("target", ["file.py", "folder"])
def test_a_plugin_is_tried_on_an_experiment_of_ones_own_and_nothing_is_stored(
    call, plugins, file, folder, target, tmp_path
):
    before = sorted(path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts)
    record = proof(call, "looks", "--on", target, "--executor", "thread")
    assert (record["holds"], record["on"]) == (True, target)
    assert not proof(call, "rolls", "--on", target, "--executor", "serial")["holds"]
    assert proof(call, "artifacts", "--on", target, "--executor", "serial")["holds"]
    assert sorted(path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts) == before


@pytest.mark.parametrize("name", ["artifacts", "logging", "seed", "parallel"])
def test_ours_hold(call, name):
    assert proof(call, name, "--executor", "serial", "--executor", "thread")["holds"]


def test_what_cannot_be_tried_ends_with_2_or_5(call, plugins):
    assert call("plugins", "prove", "look").code == 5
    for settings in ("every=often", "ever=2", "every=["):
        done = call("plugins", "prove", "looks", "--set", settings)
        assert (done.code, done.stdout) == (2, "")
