"""Experiments are found by the names that `crystallize list` shows, wherever a path is taken."""

from __future__ import annotations

import json
import os

import pytest

CONFIG = "name: {name}\ndatasource: {{n: numbers}}\nsteps: [measure]\nreplicates: 2\n"
DATASOURCES = "from crystallize import data_source\n@data_source\ndef numbers(ctx):\n    return 1\n"
STEPS = "from crystallize import pipeline_step\n@pipeline_step()\ndef measure(data, ctx):\n    return data, {'m': 1}\n"


@pytest.fixture
def experiment(write):
    """Write a folder experiment that runs."""

    def make(folder, name, config=CONFIG):
        write(config.format(name=json.dumps(name)), f"{folder}/config.yaml")
        write(DATASOURCES, f"{folder}/datasources.py")
        write(STEPS, f"{folder}/steps.py")

    return make


COMMANDS = [
    ("run", "NAME", "--json"),
    ("plan", "NAME", "--json"),
    ("resume", "NAME", "--json"),
    ("check", "NAME", "--json"),
    ("debug", "NAME", "--json"),
    ("reproduce", "tall people", "NAME", "--json"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_every_command_that_takes_a_path_takes_a_name(crystallize, experiment, arguments):
    experiment("lab/first/heights", "tall people")
    experiment("lab/other", "other")
    if arguments[0] in ("resume", "reproduce"):
        assert crystallize("run", "tall people", "--quiet").returncode == 0
    (shown,) = [row for row in json.loads(crystallize("list", "--json").stdout) if row["name"] == "tall people"]
    outputs = []
    for given in (shown["name"], shown["folder"]):
        done = crystallize(*(given if each == "NAME" else each for each in arguments))
        assert done.returncode in (0, 5), done.stderr
        outputs.append(json.loads(done.stdout))
        if isinstance(outputs[-1], dict):
            # What differs between two runs of the same.
            outputs[-1] = {key: value for key, value in outputs[-1].items() if key in ("metrics", "cells", "cell")}
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("arguments", [*COMMANDS, ("check", "lab", "NAME")], ids=lambda each: " ".join(each[:2]))
def test_an_unknown_name_is_told_with_the_nearest(crystallize, experiment, arguments):
    experiment("lab/heights", "tall people")
    if arguments[0] == "reproduce":
        assert crystallize("run", "tall people", "--quiet").returncode == 0
    done = crystallize(*("tall peopel" if each == "NAME" else each for each in arguments))
    assert (done.returncode, done.stdout) == (5, "")
    assert "Did you mean 'tall people'?" in done.stderr
    assert "tall peopel" in done.stderr


@pytest.mark.parametrize("verb", ["run", "plan", "check", "debug"])
def test_a_name_that_several_have_is_told_with_their_folders(crystallize, experiment, verb):
    experiment("lab/a", "same")
    experiment("lab/b", "same")
    done = crystallize(verb, "same")
    assert (done.returncode, done.stdout) == (2, "")
    assert os.path.join("lab", "a") in done.stderr  # noqa: PTH118
    assert os.path.join("lab", "b") in done.stderr  # noqa: PTH118
    assert crystallize("plan", "lab/a").returncode == 0


def test_a_path_that_exists_wins_over_a_name(crystallize, experiment, tmp_path):
    experiment("lab/far", "near")
    experiment("near", "by path")
    assert crystallize("run", "near", "--quiet").returncode == 0
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["by path"]


def test_hidden_experiments_and_those_that_cannot_be_read_have_names_too(crystallize, experiment):
    experiment("lab/hidden", "secret", CONFIG + "cli: {{hidden: true}}\n")
    experiment("lab/broken", "x", "name: [\n")
    assert crystallize("run", "secret", "--quiet").returncode == 0
    done = crystallize("run", "broken")
    assert done.returncode == 2
    assert "config.yaml" in done.stderr


def test_a_folder_without_a_name_of_its_own_is_called_as_it_is(crystallize, experiment):
    experiment("lab/plain", "", "datasource: {{n: numbers}}\nsteps: [measure]\n")
    assert crystallize("run", "plain", "--quiet").returncode == 0


def test_what_is_said_of_going_on_is_a_command_that_works(crystallize, experiment, write):
    experiment("lab/flaky", "flaky experiment")
    write(STEPS.replace("return data", "1 / 0\n    return data"), "lab/flaky/steps.py")
    done = crystallize("run", "flaky experiment")
    assert done.returncode == 1
    assert "crystallize resume 'flaky experiment'" in done.stderr
    assert crystallize("resume", "flaky experiment").returncode == 1


@pytest.mark.parametrize("verb", ["run", "plan", "resume", "check", "debug"])
def test_a_shell_completes_names(verb, crystallize, experiment):
    experiment("lab/heights", "tall")
    done = crystallize(_CRYSTALLIZE_COMPLETE="bash_complete", COMP_WORDS=f"crystallize {verb} ta", COMP_CWORD="2")
    assert done.stdout.splitlines() == ["file,ta", "plain,tall"]
