"""Which plugins a run has: `-p`, `--no-plugins`, CRYSTALLIZE_PLUGINS; the nearer wins, and the lock says who asked."""

from __future__ import annotations

import json

import pytest


def asked(call, *arguments):
    """Run, and give who asked for each plugin."""
    done = call("run", *arguments, "--json")
    assert done.code == 0, done.stderr
    return {entry["name"]: entry["asked_by"] for entry in done.json["provenance"]["plugins"]}


@pytest.mark.parametrize("target, own", [("file.py", "code"), ("folder", "config.yaml")])
def test_the_lock_says_who_asked_for_each_plugin(call, file, folder, tally, monkeypatch, target, own):
    tally()
    monkeypatch.setenv("CRYSTALLIZE_PLUGINS", "serial, no:logging")
    assert asked(call, target, "-p", "tally") == {
        "seed": own,
        "serial": "CRYSTALLIZE_PLUGINS",
        "tally": "-p",
        "artifacts": "default",
    }


def test_the_nearer_wins(call, file, monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_PLUGINS", "no:logging,serial")
    assert asked(call, "file.py", "-p", "logging", "-p", "no:serial") == {
        "seed": "code",
        "logging": "-p",
        "artifacts": "default",
    }


def test_no_plugins_leaves_only_what_is_asked_for_beside_it(call, file, tmp_path, monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_PLUGINS", "no:absent")
    assert asked(call, "file.py", "--no-plugins", "-p", "serial") == {"serial": "-p"}
    assert not (tmp_path / "data").exists()


def test_embedders_have_no_hidden_state(file, tmp_path, monkeypatch):
    from crystallize_plugins.loading import load_experiment

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYSTALLIZE_PLUGINS", "no:logging,serial")
    assert load_experiment(file).plugin_order() == ["seed", "logging", "artifacts"]


@pytest.mark.parametrize(
    "arguments, nearest",
    [(("-p", "artifcats"), "artifacts"), (("-p", "no:loging"), "logging"), (("-p", "no:serial"), ""), (("-p", ""), "")],
)
@pytest.mark.parametrize("command", ["run", "plan", "resume", "debug"])
def test_what_selects_nothing_ends_with_2_and_the_nearest(call, file, command, arguments, nearest):
    done = call(command, "file.py", *arguments)
    assert (done.code, done.stdout) == (2, "")
    assert nearest in done.stderr
    assert "-p: " in done.stderr


def test_the_variable_is_named_where_it_selects_nothing(call, file, monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_PLUGINS", "no:loging")
    done = call("run", "file.py")
    assert done.code == 2
    assert "CRYSTALLIZE_PLUGINS: no:loging" in done.stderr
    assert "'logging'" in done.stderr


def test_a_store_that_is_asked_for_replaces_the_experiments_own(call, file, install):
    source = "from crystallize import ArtifactPlugin\n\n\nclass Shelf(ArtifactPlugin):\n    pass\n"
    install("acme-shelf", plugins={"shelf": "acme_shelf:Shelf"}, modules={"acme_shelf.py": source})
    assert asked(call, "file.py", "-p", "shelf") == {"seed": "code", "logging": "default", "shelf": "-p"}


def test_what_is_chosen_reaches_workers(call, file, install):
    source = (
        "import os\nfrom crystallize import BasePlugin\n\n\nclass Where(BasePlugin):\n"
        "    def after_step(self, step, data, ctx):\n        ctx.record('pid', os.getpid())\n"
    )
    install("acme-where", plugins={"where": "acme_where:Where"}, modules={"acme_where.py": source})
    done = call(
        "run", "file.py", "-p", "where", "-p", "parallel", "plugins.parallel.executor_type=process",
        "plugins.parallel.max_workers=2", "--json", "--replicates", "2",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    import os

    pids = done.json["metrics"]["baseline"]["pid"]
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_a_plugin_that_is_chosen_gets_its_init_hook(call, file, install):
    source = (
        "from crystallize import BasePlugin, Treatment\n\n\nclass Adds(BasePlugin):\n"
        "    def init_hook(self, experiment):\n        experiment.treatments.append(Treatment('added', {}))\n"
    )
    install("acme-adds", plugins={"adds": "acme_adds:Adds"}, modules={"acme_adds.py": source})
    done = call("run", "file.py", "-p", "adds", "--json")
    assert list(done.json["metrics"]["treatments"]) == ["added"]


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["file.py", "folder"])
def test_settings_are_given_on_the_command_line_for_folders_and_files(call, file, folder, tally, target):
    tally()
    done = call("run", target, "-p", "tally", "plugins.tally.limit=4", "plugins.tally.unit=bytes", "--json")
    assert done.code == 0, done.stderr
    (entry,) = [entry for entry in done.json["provenance"]["plugins"] if entry["name"] == "tally"]
    assert entry["settings"] == {"limit": 4, "unit": "bytes", "token": ""}
    done = call("run", target, "plugins.artifacts.root_dir=elsewhere", "--json")
    assert done.code == 0, done.stderr
    assert (file.parent / "elsewhere" / "totals" / "v0").is_dir()


@pytest.mark.parametrize("target", ["file.py", "folder"])
@pytest.mark.parametrize(
    "override, said",
    [
        ("plugins.tally.limit=0", "limit"),
        ("plugins.tally.limit=many", "limit"),
        ("plugins.tally.unit=byte", "bytes"),
        ("plugins.tally.limits=3", "limit"),
        ("plugins.taly.limit=3", "tally"),
        ("plugins.tally.limit=[", "override"),
    ],
)
def test_a_setting_that_does_not_fit_ends_with_2(call, file, folder, tally, target, override, said):
    tally()
    done = call("run", target, "-p", "tally", override, "--json")
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr
    assert not (file.parent / "data").exists()


def test_a_secret_setting_is_stored_nowhere(call, file, tally, tmp_path):
    tally()
    done = call("run", "file.py", "-p", "tally", "plugins.tally.token=hunter2hunter2", "--json")
    assert done.code == 0, done.stderr
    assert "hunter2hunter2" not in done.stdout
    assert call("plugins", "lock", "totals").stdout.count("hunter2") == 0
    assert json.loads(call("plugins", "lock", "totals").stdout)
