"""A folder's own `plugins.py`, whose plugins are named in config.yaml as steps are."""

from __future__ import annotations

import pytest

PLUGINS = """
import os
from typing import Annotated

from crystallize import BasePlugin
from crystallize.hooks import Setting


class Counter(BasePlugin):
    def __init__(self, start: Annotated[int, Setting(minimum=0)] = 0):
        self.start = start

    def after_step(self, step, data, ctx):
        ctx.record("counted", self.start + len(data))
        ctx.record("process", os.getpid())


def counting(start: int = 1):
    return Counter(start)


ready = Counter(7)


class NoPlugin:
    pass
"""


@pytest.fixture
def own(folder):
    """Give the folder plugins of its own, and ask for some in config.yaml."""
    (folder / "plugins.py").write_text(PLUGINS, encoding="utf-8")

    def ask(section, extra=""):
        config = folder / "config.yaml"
        config.write_text(
            f"name: totals\ndatasource: {{numbers: numbers}}\nsteps: [total]\nseed: 1\nplugins: {section}\n{extra}",
            encoding="utf-8",
        )
        return folder

    return ask


@pytest.mark.parametrize(
    "section, name, counted, settings",
    [
        ("{Counter: {start: 4}}", "Counter", 7, {"start": 4}),
        ("{counting: {start: 2}}", "counting", 5, {"start": 2}),
        ("{counting: }", "counting", 4, {"start": 1}),
        ("{ready: }", "ready", 10, {"start": 7}),
    ],
)
def test_a_class_a_function_and_an_instance_are_used_by_their_names(call, own, section, name, counted, settings):
    own(section)
    done = call("run", "folder", "--json")
    assert done.code == 0, done.stderr
    assert done.json["metrics"]["baseline"]["counted"] == [counted]
    (entry,) = [entry for entry in done.json["provenance"]["plugins"] if entry["name"] == name]
    assert (entry["asked_by"], entry["distribution"], entry["settings"]) == ("config.yaml", None, settings)


def test_it_runs_in_workers_and_is_left_out_or_configured_on_the_command_line(call, own):
    import os

    own("{counting: }", "execution: {parallel: {executor_type: process, max_workers: 2}}\nreplicates: 2\n")
    done = call("run", "folder", "plugins.counting.start=5", "--json")
    assert done.code == 0, done.stderr
    assert done.json["metrics"]["baseline"]["counted"] == [8, 8]
    assert os.getpid() not in done.json["metrics"]["baseline"]["process"]
    assert call("run", "folder", "-p", "no:counting", "--json").json["metrics"]["baseline"].keys() == {"total"}
    order = call("plugins", "order", "folder", "--json").json["order"]
    assert "counting" in [row["name"] for row in order]


def test_its_lock_is_run_again_with_the_folders_own_code(call, own, tmp_path):
    own("{counting: {start: 3}}")
    (tmp_path / "lock.json").write_text(call("plugins", "lock", "folder").stdout, encoding="utf-8")
    done = call("run", "folder", "--locked", "lock.json", "--json")
    assert done.code == 0, done.stderr
    own("{counting: {start: 4}}")
    assert call("run", "folder", "--locked", "lock.json").code == 2


@pytest.mark.parametrize(
    "section, said",
    [
        ("{Countre: }", "Did you mean 'Counter'?"),
        ("{Counter: {start: -1}}", "start"),
        ("{Counter: {begin: 1}}", "begin"),
        ("{NoPlugin: }", "no plugin"),
        ("{ready: {start: 1}}", "takes no settings"),
    ],
)
def test_what_is_wrong_has_its_place_in_config_yaml(call, own, section, said):
    own(section)
    done = call("check", "folder", "--json")
    assert done.code == 2
    (problem,) = done.json[0]["problems"]
    assert (problem["file"], problem["line"]) == ("folder/config.yaml", 5)
    assert said in problem["text"]


def test_a_module_that_cannot_be_imported_is_named_once(call, own, folder):
    own("{Counter: , counting: }")
    (folder / "plugins.py").write_text("raise RuntimeError('broken')\n", encoding="utf-8")
    (problem,) = call("check", "folder", "--json").json[0]["problems"]
    assert problem["file"] == "folder/plugins.py"
