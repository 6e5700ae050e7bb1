from __future__ import annotations

import json
import pickle

import pytest

from crystallize.discovery.metadata import rescan
from crystallize.errors import MissingDistributionError, PluginConflictError, PluginDefinitionError, WorkerStartError
from crystallize.hooks import (
    ActivePlugins,
    BasePlugin,
    build_plugins,
    compare_lock,
    lock_requirements,
    plugins_from_lock,
)
from crystallize.plugins.lock import VersionCheck, lock_digest

SOURCE = """
from crystallize import BasePlugin

class Tally(BasePlugin):
    contract = ">=1,<2"

    def __init__(self, size=1, tags=(), key=None):
        self.size, self.tags = size, tags

    def before_run(self, experiment):
        pass
"""


@pytest.fixture
def tally(install):
    def again(version="1.5", source=SOURCE, entry="acme_tools.tally:Tally"):
        modules = {"acme_tools/__init__.py": "", "acme_tools/tally.py": source, "acme_tools/other.py": "x = 1\n"}
        return install("acme-tools", version, plugins={"tally": entry}, modules=modules)

    return again


def change(info, **replacements):
    """Reinstall in place: the metadata says something else from now on."""
    for file, (old, new) in replacements.items():
        path = info / file
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    rescan()


def locked(*specs):
    lock = ActivePlugins.resolve(build_plugins(specs, default_plugins=False)).lock()
    return json.loads(json.dumps(lock))


def test_an_entry_says_what_the_plugin_is_and_where_it_comes_from(tally):
    tally()
    (entry,) = locked(("tally", {"size": 3}))
    assert {key: entry[key] for key in ("name", "distribution", "version", "contract", "entry_point", "order")} == {
        "name": "tally",
        "distribution": "acme-tools",
        "version": "1.5",
        "contract": ">=1,<2",
        "entry_point": "acme_tools.tally:Tally",
        "order": 0,
    }
    assert entry["settings"] == {"size": 3, "tags": [], "key": None}


def test_the_digests_are_those_of_the_distributions_own_record(tally):
    info = tally()
    (entry,) = locked("tally")
    (line,) = [line for line in (info / "RECORD").read_text().splitlines() if line.startswith("acme_tools/tally.py")]
    assert entry["digests"]["acme_tools/tally.py"] == line.split(",")[1]
    assert set(entry["digests"]) == {"acme_tools/tally.py", "*"}


def test_nothing_differs_right_after(tally):
    tally()
    assert compare_lock(locked("tally")) == []


def test_another_version_is_a_difference(tally):
    info = tally()
    lock = locked("tally")
    change(info, METADATA=("Version: 1.5", "Version: 1.6"))
    assert compare_lock(lock) == ["plugin 'tally': acme-tools was 1.5, and 1.6 is installed"]
    with pytest.raises(PluginConflictError, match=r"pip install acme-tools==1.5"):
        plugins_from_lock(lock)


def test_a_changed_file_of_the_same_version_is_a_difference(tally):
    info = tally()
    lock = locked("tally")
    change(info, RECORD=("acme_tools/tally.py,sha256=", "acme_tools/tally.py,sha256=X"))
    assert compare_lock(lock) == ["plugin 'tally': files of acme-tools 1.5 differ: acme_tools/tally.py"]
    with pytest.raises(PluginConflictError, match="differ"):
        plugins_from_lock(lock)


def test_a_changed_file_outside_the_plugins_module_is_a_difference(tally):
    info = tally()
    lock = locked("tally")
    change(info, RECORD=("acme_tools/other.py,sha256=", "acme_tools/other.py,sha256=X"))
    assert compare_lock(lock) == ["plugin 'tally': files of acme-tools 1.5 differ: outside its module"]


def test_an_entry_point_that_moved_is_a_difference(tally):
    info = tally()
    lock = locked("tally")
    change(info, **{"entry_points.txt": ("tally:Tally", "other:Tally")})
    assert compare_lock(lock) == [
        "plugin 'tally' of acme-tools led to acme_tools.tally:Tally, and leads to acme_tools.other:Tally"
    ]


def test_a_distribution_that_is_gone_is_a_difference(tally):
    info = tally()
    lock = locked("tally")
    info.rename(info.with_name("gone"))
    rescan()
    assert compare_lock(lock) == ["plugin 'tally': acme-tools 1.5 is not installed"]
    with pytest.raises(MissingDistributionError, match=r"pip install acme-tools==1.5") as caught:
        plugins_from_lock(lock)
    assert caught.value.distribution == "acme-tools"


def test_an_editable_installation_is_said_and_does_not_stand_in_the_way(tally):
    info = tally()
    (info / "direct_url.json").write_text('{"url": "file:///x", "dir_info": {"editable": true}}')
    rescan()
    lock = locked("tally")
    assert lock[0]["editable"] is True
    assert compare_lock(lock) == [
        "plugin 'tally': acme-tools is installed editable, so that its code cannot be compared"
    ]
    assert len(plugins_from_lock(lock)) == 1


def test_a_lock_is_exported_as_requirements(tally):
    tally()

    class Mine(BasePlugin):
        pass

    assert lock_requirements(locked("tally", "seed", "logging", Mine())) == [
        f"# 'Mine' ({Mine.__module__}:{Mine.__qualname__}) came from no distribution",
        "acme-tools==1.5",
        "crystallize-plugins==0.1.0",
    ]


def test_a_lock_loads_exactly_what_it_names(tally):
    tally()
    lock = locked(("tally", {"size": 3, "tags": ["a", "b"]}), ("seed", {"seed": 11}))
    again = plugins_from_lock(lock)
    assert [type(plugin).__name__ for plugin in again] == ["SeedPlugin", "Tally"]
    assert again[1].size == 3
    assert again[1].tags == ["a", "b"]
    assert json.loads(json.dumps(ActivePlugins.resolve(again).lock())) == lock


def test_a_setting_that_a_lock_cannot_hold_is_asked_for(tally):
    tally()
    lock = locked(("tally", {"key": len}))
    assert lock[0]["opaque"] == ["key"]
    with pytest.raises(PluginDefinitionError, match=r"'tally' cannot be built from the lock.*'key'.*instead="):
        plugins_from_lock(lock)
    assert plugins_from_lock(lock, instead={"tally": ("tally", {"size": 9})})[0].size == 9


def test_a_plugin_of_a_script_is_asked_for():
    class Mine(BasePlugin):
        pass

    lock = locked(Mine())
    assert compare_lock(lock)[0].endswith("cannot be compared")
    with pytest.raises(PluginDefinitionError, match=r"'Mine' cannot be built from the lock.*no entry point"):
        plugins_from_lock(lock)
    mine = Mine()
    assert plugins_from_lock(lock, instead={"Mine": mine}) == [mine]


def digest_of(*specs):
    return lock_digest(locked(*specs))


def test_the_digest_is_that_of_versions_order_settings_and_files(tally):
    info = tally()
    known = {digest_of("tally"), digest_of(("tally", {"size": 2})), digest_of("tally", "serial")}
    known.add(digest_of("serial", "tally"))
    change(info, RECORD=("acme_tools/tally.py,sha256=", "acme_tools/tally.py,sha256=X"))
    known.add(digest_of("tally"))
    change(info, METADATA=("Version: 1.5", "Version: 1.6"))
    known.add(digest_of("tally"))
    assert len(known) == 6


def test_where_it_is_installed_and_who_asked_is_not_in_the_digest(tally):
    info = tally()
    entries = locked("tally")
    digest = lock_digest(entries)
    scripts = "../../../bin/acme,sha256=abc,10\n/opt/acme,sha256=def,10\n"
    change(info, RECORD=("acme_tools/other.py", f"{scripts}acme_tools/other.py"))
    assert digest_of("tally") == digest
    assert lock_digest([{**entry, "asked_by": "-p"} for entry in entries]) == digest
    (info / "direct_url.json").write_text('{"url": "file:///x", "dir_info": {"editable": true}}')
    rescan()
    editable = digest_of("tally")
    change(info, RECORD=("acme_tools/other.py,sha256=", "acme_tools/other.py,sha256=X"))
    assert digest_of("tally") == editable


def test_a_run_cell_is_refused_where_the_versions_differ(tally):
    info = tally()
    check = VersionCheck([("tally", "acme-tools", "1.5")])
    assert pickle.loads(pickle.dumps(check)).needed == check.needed
    sent = pickle.dumps(check)
    change(info, METADATA=("Version: 1.5", "Version: 1.6"))
    with pytest.raises(WorkerStartError, match=r"'tally'.* 1\.5, and this worker has acme-tools 1\.6"):
        pickle.loads(sent)


def test_differences_are_given_as_records_too(tally):
    tally()
    lock = [*locked("tally"), {"name": "Own", "distribution": None, "class": "x:Own"}]
    lock[0]["version"] = "1.4"
    found = compare_lock(lock, detail=True)
    assert [(each.kind, each.plugin) for each in found] == [("version", "tally"), ("unknown", "Own")]
    assert [each.text for each in found] == compare_lock(lock)
