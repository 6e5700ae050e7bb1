"""Commands for folder experiments: `new`, `list`, `check`."""

from __future__ import annotations

import json

import pytest


def test_a_new_experiment_is_listed_checked_and_runs_as_it_is(crystallize, tmp_path):
    done = crystallize("new", "my first")
    assert done.returncode == 0
    assert sorted(path.name for path in (tmp_path / "experiments" / "my first").iterdir()) == [
        "config.yaml",
        "datasources.py",
        "steps.py",
    ]
    assert "crystallize run 'experiments/my first'" in done.stderr
    assert "my first" in crystallize("list").stdout
    assert crystallize("check").returncode == 0
    done = crystallize("run", "experiments/my first")
    assert done.returncode == 0, done.stderr
    assert "trimmed is closer" in done.stdout
    assert "holds" in done.stdout


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/b", "", "..", "x\n"])
def test_a_new_experiment_cannot_leave_its_folder(crystallize, tmp_path, name):
    done = crystallize("new", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "experiments").exists()


@pytest.mark.parametrize("name", ["a: b # c", "yes", "{name}", "[1]", '"', "*x", "ü"])
def test_any_name_makes_an_experiment_that_loads(crystallize, name):
    assert crystallize("new", name).returncode == 0
    assert json.loads(crystallize("list", "--json").stdout)[0]["name"] == name
    assert crystallize("check").returncode == 0


def test_what_is_there_is_never_overwritten(crystallize, tmp_path):
    crystallize("new", "twice")
    config = tmp_path / "experiments" / "twice" / "config.yaml"
    config.write_text("mine")
    done = crystallize("new", "twice")
    assert done.returncode == 2
    assert "is there already" in done.stderr
    assert config.read_text() == "mine"


@pytest.fixture
def folder(tmp_path):
    """Write a folder experiment."""

    def make(name, config, steps="raise RuntimeError('imported')\n"):
        path = tmp_path / name
        path.mkdir(parents=True)
        (path / "config.yaml").write_text(config, encoding="utf-8")
        (path / "steps.py").write_text(steps, encoding="utf-8")

    return make


def test_listing_imports_nothing_and_sorts_by_group_and_priority(crystallize, folder):
    folder("a/late", "cli: {group: science, priority: 5}\ndescription: the later one\n")
    folder("b/early", "cli: {group: science, priority: 1}\ndatasource: {x: a#table}\n")
    folder("hidden", "cli: {hidden: true}\n")
    folder(".git/never", "name: never\n")
    done = crystallize("list")
    assert done.returncode == 0
    names = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert names == ["early", "late"]
    assert "a#table" in done.stdout
    assert "hidden" in crystallize("list", "--all").stdout


def test_a_config_that_cannot_be_read_hides_no_other(crystallize, folder):
    folder("good", "description: fine\n")
    folder("bad", "name: [\n")
    rows = {row["folder"]: row for row in json.loads(crystallize("list", "--json").stdout)}
    assert rows["good"]["problem"] is None
    assert "line" in rows["bad"]["problem"]


def test_other_files_of_the_name_are_no_experiments(crystallize, tmp_path):
    (tmp_path / "config.yaml").write_text("theme: dark\n")
    done = crystallize("list")
    assert (done.returncode, done.stdout) == (5, "")
    assert "crystallize new" in done.stderr


def test_check_says_everything_that_is_wrong_with_its_place(crystallize, folder, write):
    folder("first", "datasource: {x: absent}\nsteps: [absent]\nreplicats: 3\n", "")
    folder("second", "datasource: {x: first#table}\nsteps: [y]\n", "")
    write()
    done = crystallize("check", ".", "file.py")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    lines = done.stdout.splitlines()
    assert any("first/config.yaml, line 3, column 1" in line and "replicates" in line for line in lines)
    assert any("second/config.yaml" in line for line in lines)
    assert "3 experiments checked" in done.stderr
    rows = json.loads(crystallize("check", "first", "--json").stdout)
    assert {problem["line"] for problem in rows[0]["problems"]} >= {1, 2, 3}


def test_check_of_what_is_not_there_ends_with_5(crystallize):
    assert crystallize("check", "nowhere").returncode == 5
    assert crystallize("check").returncode == 5
