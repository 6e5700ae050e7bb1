"""`plugins lock`, `compare`, `export`, `--locked`: exactly the plugins that a run had, or a word on what differs."""

from __future__ import annotations

import json
import shutil

import pytest

from crystallize.discovery.metadata import rescan


@pytest.fixture
def locked(call, file, tally):
    """Run an experiment with a stranger's plugin, and write its lock."""
    tally()
    done = call("run", "file.py", "-p", "tally", "plugins.tally.limit=4", "--quiet")
    assert done.code == 0, done.stderr
    path = file.with_name("lock.json")
    path.write_text(call("plugins", "lock", "totals").stdout, encoding="utf-8")
    return path


def changed(path, **fields):
    """Change the stranger's entry of a lock."""
    lock = json.loads(path.read_text(encoding="utf-8"))
    entry = next(entry for entry in lock["plugins"] if entry["name"] == "tally")
    entry.update(fields)
    path.write_text(json.dumps(lock), encoding="utf-8")


def reinstall(info, **replacements):
    """Change what is installed, as an upgrade would."""
    for file, (old, new) in replacements.items():
        path = info / file
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    rescan()


def test_a_lock_has_the_plugins_of_its_run(call, locked):
    lock = json.loads(locked.read_text(encoding="utf-8"))
    assert lock.keys() == {"lock", "contract", "digest", "plugins"}
    assert lock["lock"] == 1
    assert [entry["name"] for entry in lock["plugins"]] == ["seed", "tally", "logging", "artifacts"]
    assert call("plugins", "lock", "totals@v0", "--json").json == lock


def test_the_lock_of_an_experiment_is_that_of_a_run_which_began_now(call, locked):
    arguments = ("plugins", "lock", "file.py", "-p", "tally", "--json")
    now = call(*arguments).json
    recorded = json.loads(locked.read_text(encoding="utf-8"))
    assert now["digest"] != recorded["digest"]  # another limit
    call("run", "file.py", "-p", "tally", "--quiet")
    assert call("plugins", "lock", "totals", "--json").json["digest"] == now["digest"]


def test_the_digest_is_the_same_in_another_folder_and_for_whoever_asked(call, file, folder, tmp_path):
    digests = {call("plugins", "lock", path, "--json").json["digest"] for path in ("file.py", "folder")}
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere / "folder")
    digests |= {call("plugins", "lock", elsewhere / "folder", "--json").json["digest"]}
    digests |= {call("plugins", "lock", "folder", "-p", "logging", "--json").json["digest"]}
    assert len(digests) == 1
    assert call("plugins", "lock", "folder", "-p", "no:logging", "--json").json["digest"] not in digests


def test_what_is_installed_is_the_same_as_the_lock(call, locked):
    done = call("plugins", "compare", locked, "--json")
    assert (done.code, done.json) == (0, {"same": True, "differences": []})


@pytest.mark.parametrize(
    "fields, kind, recorded, now",
    [
        ({"version": "1.4"}, "version", "1.4", "1.5"),
        ({"distribution": "acme-gone"}, "missing", "acme-gone 1.5", None),
        ({"entry_point": "acme_tally:Other"}, "entry_point", "acme_tally:Other", "acme_tally:Tally"),
        ({"editable": True}, "editable", True, False),
    ],
    ids=["version", "missing", "entry_point", "editable"],
)
def test_each_difference_to_what_is_installed_has_its_kind(call, locked, fields, kind, recorded, now):
    changed(locked, **fields)
    done = call("plugins", "compare", locked, "--json")
    assert done.code == 1
    assert done.json["same"] is False
    (difference,) = done.json["differences"]
    text = difference.pop("text")
    assert "'tally'" in text
    assert difference == {"plugin": "tally", "kind": kind, "recorded": recorded, "now": now}
    assert text in call("plugins", "compare", locked).stdout


def test_other_files_of_the_same_version_are_a_difference(call, locked, tally):
    (folder,) = locked.parent.glob("installed/*.dist-info")
    reinstall(folder, RECORD=("__init__.py,sha256=", "__init__.py,sha256=X"))
    (difference,) = call("plugins", "compare", locked, "--json").json["differences"]
    assert (difference["plugin"], difference["kind"]) == ("tally", "files")
    assert "acme_tally/__init__.py" in difference["text"]


def test_another_run_differs_by_settings_order_and_plugins(call, locked, file):
    call("run", "file.py", "-p", "serial", "-p", "tally", "-p", "no:logging", "--quiet")
    done = call("plugins", "compare", "totals@v0", "--with", "totals@v1", "--json")
    assert done.code == 1
    kinds = {difference["kind"]: difference for difference in done.json["differences"]}
    assert kinds.keys() == {"settings", "missing", "extra"}
    assert (kinds["settings"]["recorded"], kinds["settings"]["now"]) == ({"limit": 4}, {"limit": 9})
    assert (kinds["missing"]["plugin"], kinds["extra"]["plugin"]) == ("logging", "serial")
    source = file.read_text(encoding="utf-8")
    orders = []
    for listed in ("'tally', 'serial'", "'serial', 'tally'"):
        file.write_text(source.replace("SeedPlugin(seed=1)", listed), encoding="utf-8")
        path = file.with_name(f"order{len(orders)}.json")
        path.write_text(call("plugins", "lock", "file.py").stdout, encoding="utf-8")
        orders.append(path)
    (difference,) = call("plugins", "compare", orders[0], "--with", orders[1], "--json").json["differences"]
    assert difference["kind"] == "order"
    assert difference["now"].index("serial") < difference["now"].index("tally")


def test_a_lock_is_exported_as_requirements(call, locked):
    done = call("plugins", "export", locked)
    assert done.code == 0
    assert "acme-tally==1.5" in done.stdout.splitlines()
    assert call("plugins", "export", "totals", "--json").json == {"requirements": done.stdout.splitlines()}


@pytest.mark.parametrize("target", ["file.py", "folder"])
def test_a_locked_run_has_exactly_the_plugins_of_the_lock(call, locked, folder, target):
    done = call("run", target, "--locked", locked, "--json")
    assert done.code == 0, done.stderr
    again = call("plugins", "lock", "totals", "--json").json
    recorded = json.loads(locked.read_text(encoding="utf-8"))
    assert again["digest"] == recorded["digest"]
    assert done.json["metrics"]["baseline"]["total"] == [6]


@pytest.mark.parametrize("command", ["run", "resume", "reproduce"])
def test_what_cannot_be_loaded_exactly_ends_with_2_and_says_what_to_type(call, locked, command):
    changed(locked, version="1.4")
    target = "totals" if command == "reproduce" else "file.py"
    done = call(command, target, "--locked", locked, "--json")
    assert (done.code, done.stdout) == (2, "")
    for text in ("'tally'", "1.4", "1.5", "pip install acme-tally==1.4"):
        assert text in done.stderr
    assert len(call("runs", "--json").json) == 1


def test_a_locked_plugin_that_is_gone_ends_with_2(call, locked):
    changed(locked, distribution="acme-gone")
    done = call("run", "file.py", "--locked", locked)
    assert done.code == 2
    assert "pip install acme-gone==1.5" in done.stderr


def test_a_locked_plugin_of_a_script_is_taken_from_the_experiment(call, file):
    source = file.read_text(encoding="utf-8")
    mine = "\n\nclass Mine(BasePlugin):\n    neutral = True\n\n    def collect(self):\n        pass\n\n\nexperiment"
    source = source.replace("\n\nexperiment", mine).replace("import Experiment", "import BasePlugin, Experiment")
    file.write_text(source.replace("SeedPlugin(seed=1)", "SeedPlugin(seed=1), Mine()"), encoding="utf-8")
    lock = file.with_name("lock.json")
    lock.write_text(call("plugins", "lock", "file.py").stdout, encoding="utf-8")
    assert call("run", "file.py", "--locked", lock, "--quiet").code == 0
    file.write_text(source, encoding="utf-8")
    done = call("run", "file.py", "--locked", lock)
    assert done.code == 2
    assert "'Mine'" in done.stderr


def test_a_lock_leaves_no_room_for_other_choices(call, locked):
    for option in (("-p", "serial"), ("--no-plugins",), ("plugins.seed.seed=4",)):
        assert call("run", "file.py", "--locked", locked, *option).code == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"lock": 2, "plugins": []}', '{"lock": 1, "plugins": [{}]}', "\0"])
def test_what_is_no_lock_ends_with_2_in_words(call, file, text):
    path = file.with_name("lock.json")
    path.write_text(text, encoding="utf-8")
    for arguments in (("plugins", "compare", path), ("plugins", "export", path), ("run", "file.py", "--locked", path)):
        done = call(*arguments)
        assert (done.code, done.stdout) == (2, "")
        assert "lock.json" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_lock_or_run_that_is_not_there_ends_with_5(call, file):
    for arguments in (("plugins", "compare", "no.json"), ("plugins", "lock", "totlas"), ("plugins", "export", "no")):
        assert call(*arguments).code == 5


def test_resume_and_reproduce_name_what_differs_of_neutral_plugins_too(call, locked, folder):
    (info,) = locked.parent.glob("installed/*.dist-info")
    reinstall(info, METADATA=("Version: 1.5", "Version: 1.6"))
    done = call("resume", "file.py", "-p", "tally", "--replicates", "2")
    assert done.code == 0, done.stderr
    assert "'tally': acme-tally was 1.5, and 1.6 is installed" in done.stderr
    assert "limit was 4, and is 9" in done.stderr
    found = call("reproduce", "totals@v0", folder, "--json").json
    changed_plugins = {change["name"] for change in found["changes"] if change["part"] == "plugins"}
    assert changed_plugins == {"tally"}
