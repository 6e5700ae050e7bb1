from __future__ import annotations

import subprocess
import sys

import pytest

from crystallize.discovery import metadata
from crystallize.errors import (
    MissingDistributionError,
    MissingExtraError,
    PluginConflictError,
    PluginDefinitionError,
    PluginImportError,
    PluginNotFoundError,
)
from crystallize.hooks import (
    ActivePlugins,
    BasePlugin,
    build_plugin,
    examine_plugins,
    find_plugin,
    find_plugins,
    load_plugin,
    load_public,
    public_plugin_names,
)

PLUGIN = """
import functools
from crystallize import BasePlugin

class Tally(BasePlugin):
    neutral = True
    def __init__(self, size=1, *, label="x"):
        self.size, self.label = size, label
    def before_run(self, experiment):
        return self.size

def make(size=5):
    return Tally(size * 10)

ready = Tally(7)
number = 5

class NoPlugin:
    pass

partial = functools.partial(Tally, label="partial")

def makes_nothing():
    return 5
"""


def names(group="crystallize.plugins"):
    return [record.name for record in find_plugins(group)]


def test_nothing_is_scanned_before_somebody_asks():
    code = (
        "import sys, crystallize, crystallize.hooks, crystallize.discovery.loading\n"
        "assert crystallize.discovery.metadata._found is None\n"
        "assert 'importlib.metadata' not in sys.modules and 'importlib_metadata' not in sys.modules\n"
        "crystallize.hooks.find_plugins()\n"
        "assert crystallize.discovery.metadata._found is not None\n"
        "assert not [name for name in sys.modules if name.startswith('crystallize_plugins')]\n"
        "assert 'importlib_metadata' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_process_scans_once(monkeypatch):
    metadata.rescan()
    scans = []
    monkeypatch.setattr(metadata, "_scan", lambda: scans.append(1))
    find_plugins()
    find_plugins("crystallize.verifiers")
    find_plugin("seed")
    public_plugin_names()
    ActivePlugins.resolve([build_plugin("seed")])
    assert scans == []


def test_the_installed_plugins_are_found_and_sorted():
    assert {"artifacts", "async", "logging", "parallel", "seed", "serial"} <= set(names())
    assert names() == sorted(names())
    seed = find_plugin("seed")
    assert (seed.distribution, seed.value) == ("crystallize-plugins", "crystallize_plugins.seed:SeedPlugin")
    assert seed.problem is None


def test_a_distribution_brings_plugins_of_every_group(install):
    install(
        "acme-tools",
        "2.1",
        plugins={"tally": "acme_tools:Tally"},
        groups={
            "crystallize.verifiers": {"t_test": "acme_tools.verifiers:t_test"},
            "crystallize.optimizers": {"grid": "acme_tools.search:Grid"},
            "crystallize.commands": {"clean": "acme_tools.cli:clean"},
            "console_scripts": {"acme": "acme_tools:main"},
        },
    )
    assert "tally" in names()
    assert "t_test" in names("crystallize.verifiers")
    assert "grid" in names("crystallize.optimizers")
    assert "clean" in names("crystallize.commands")
    assert "acme" not in [record.name for group in metadata.GROUPS for record in find_plugins(group)]
    assert find_plugin("tally").origin == "acme-tools 2.1"


def test_something_installed_meanwhile_is_found_when_asked_for_by_name(install, tmp_path):
    info = install("acme-tools", plugins={"tally": "acme_tools:Tally"}, modules={"acme_tools.py": PLUGIN})
    hidden = info.with_name("hidden")
    info.rename(hidden)
    metadata.rescan()
    assert "tally" not in names()
    hidden.rename(info)
    assert load_plugin("tally").__name__ == "Tally"


def test_the_order_does_not_depend_on_the_import_path(install, monkeypatch):
    install("b-tools", plugins={"one": "b:B", "zeta": "b:Z"})
    install("a-tools", plugins={"two": "a:A"})
    found = find_plugins()
    monkeypatch.setattr(sys, "path", sys.path[::-1])
    assert metadata.rescan().records["crystallize.plugins"] == found


def test_of_one_distribution_the_first_on_the_path_counts(install, tmp_path, monkeypatch):
    install("acme-tools", "2.0", plugins={"tally": "acme_tools:Tally"})
    older = tmp_path / "older" / "acme_tools-1.0.dist-info"
    older.mkdir(parents=True)
    (older / "METADATA").write_text("Metadata-Version: 2.1\nName: Acme.Tools\nVersion: 1.0\n")
    (older / "entry_points.txt").write_text("[crystallize.plugins]\ntally = old:Old\ngone = old:Gone\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(older.parent)])
    metadata.rescan()
    assert find_plugin("tally").version == "2.0"
    assert "gone" not in names()


# ------------------------------------------------------------------ names


def test_an_unknown_name_gets_the_nearest_and_what_is_installed():
    with pytest.raises(PluginNotFoundError, match=r"'sed'.*Did you mean 'seed'.*Installed: 'artifacts'") as caught:
        find_plugin("sed")
    assert isinstance(caught.value, LookupError)
    assert caught.value.plugin == "sed"


def test_two_distributions_with_one_name_are_named_where_it_is_asked_for(install):
    install("acme-tools", "1.0", plugins={"tally": "acme_tools:Tally"}, modules={"acme_tools.py": PLUGIN})
    install("zeta-tools", "3.0", plugins={"tally": "zeta_tools:Tally", "other": "acme_tools:Tally"})
    with pytest.raises(PluginConflictError, match=r"acme-tools 1\.0 and zeta-tools 3\.0 both call a plugin 'tally'"):
        build_plugin("tally")
    assert load_plugin("other").__name__ == "Tally"
    assert [record.name for record in find_plugins() if record.problem] == ["tally", "tally"]


@pytest.mark.parametrize("name", ["seed", "logging", "artifacts"])
def test_a_third_party_never_shadows_a_default(install, name):
    install("acme-tools", plugins={name: "acme_tools:Tally"}, modules={"acme_tools.py": PLUGIN})
    assert find_plugin(name).distribution == "crystallize-plugins"
    assert type(build_plugin(name)).__module__.startswith("crystallize_plugins")
    (claim,) = [record for record in find_plugins() if record.distribution == "acme-tools"]
    assert "reserved to crystallize-plugins" in claim.problem


def test_a_claim_to_a_reserved_name_is_refused_where_the_default_is_not_installed(install, monkeypatch):
    install("acme-tools", "1.0", plugins={"seed": "acme_tools:Tally"}, modules={"acme_tools.py": PLUGIN})
    records = tuple(record for record in find_plugins() if record.distribution == "acme-tools")
    monkeypatch.setattr(metadata, "_found", metadata.Scan({**metadata.scan().records, "crystallize.plugins": records}))
    with pytest.raises(PluginConflictError, match=r"acme-tools 1\.0.*'seed' is reserved to crystallize-plugins"):
        find_plugin("seed")
    assert public_plugin_names() == []


def test_the_public_names_are_what_is_installed():
    assert public_plugin_names() == [
        "SeedPlugin",
        "LoggingPlugin",
        "ArtifactPlugin",
        "SerialExecution",
        "ParallelExecution",
        "AsyncExecution",
    ]
    assert load_public("SeedPlugin").__name__ == "SeedPlugin"


@pytest.fixture
def core_alone(monkeypatch):
    empty = metadata.Scan(dict.fromkeys(metadata.GROUPS, ()))
    monkeypatch.setattr(metadata, "_found", empty)
    monkeypatch.setattr(metadata, "_scan", lambda: empty)


def test_without_crystallize_plugins_its_names_say_what_to_install(core_alone):
    assert public_plugin_names() == []
    with pytest.raises(ImportError, match="pip install crystallize-plugins") as caught:
        load_public("SeedPlugin")
    assert isinstance(caught.value, MissingDistributionError)
    for name in ("seed", "parallel"):
        with pytest.raises(MissingDistributionError, match=f"no plugin '{name}'.*pip install crystallize-plugins"):
            find_plugin(name)


def test_an_old_crystallize_plugins_is_to_be_upgraded(install, monkeypatch):
    only_seed = tuple(record for record in find_plugins() if record.name == "seed")
    scan = metadata.Scan({**metadata.scan().records, "crystallize.plugins": only_seed})
    monkeypatch.setattr(metadata, "_found", scan)
    with pytest.raises(MissingDistributionError, match=r"does not have it.*pip install --upgrade crystallize-plugins"):
        load_public("AsyncExecution")


# ------------------------------------------------------------------ what is broken


def test_metadata_that_cannot_be_read_hides_nobody(install, tmp_path):
    info = install("acme-broken", plugins={"broken": "x:Y"})
    (info / "entry_points.txt").write_bytes(b"[crystallize.plugins]\n\xff\xfe = \xff")
    install("acme-tools", plugins={"tally": "acme_tools:Tally"})
    assert "tally" in names()
    assert any("acme_broken" in problem for problem in metadata.scan().problems)


@pytest.mark.parametrize("value", ["", "acme_tools", "acme tools:Tally", ":Tally", "acme_tools:"])
def test_an_entry_point_that_cannot_be_read_is_listed_with_its_problem(install, value):
    install(
        "acme-tools", "1.0", plugins={"tally": value, "fine": "acme_tools:Tally"}, modules={"acme_tools.py": PLUGIN}
    )
    assert {record.name: bool(record.problem) for record in find_plugins() if record.distribution == "acme-tools"} == {
        "tally": True,
        "fine": False,
    }
    with pytest.raises(PluginImportError, match=r"'tally' \(acme-tools 1\.0\).*cannot be read"):
        find_plugin("tally")


@pytest.mark.parametrize(
    "source, said",
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("def broken(:", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("from crystallize.hooks import nothing_like_it", "nothing_like_it"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_its_distribution(install, source, said):
    install("acme-broken", "0.3", plugins={"broken": "acme_broken:Plugin"}, modules={"acme_broken.py": source})
    assert "broken" in names()
    with pytest.raises(PluginImportError) as caught:
        build_plugin("broken")
    assert "'broken' (acme-broken 0.3) cannot be imported" in str(caught.value)
    assert said in str(caught.value)
    assert caught.value.__cause__ is not None
    assert (caught.value.plugin, caught.value.distribution, caught.value.version) == ("broken", "acme-broken", "0.3")


def test_a_name_that_its_module_lacks_is_named(install):
    install("acme-tools", "1.0", plugins={"gone": "acme_tools:Gone"}, modules={"acme_tools.py": PLUGIN})
    with pytest.raises(PluginImportError, match=r"'gone' \(acme-tools 1\.0\).*acme_tools has no Gone"):
        load_plugin("gone")


def test_a_missing_module_of_the_plugin_itself_asks_for_another_version(install):
    install("acme-tools", "1.0", plugins={"lost": "acme_lost.inner:Plugin"})
    with pytest.raises(PluginImportError, match=r"No module named 'acme_lost'.*Install another version of acme-tools"):
        load_plugin("lost")


def test_a_missing_extra_says_what_to_type(install):
    source = "import nowhere_to_be_found\n"
    requires = ["crystallize-core", "nowhere-to-be-found>=2 ; extra == 'all'", "nowhere_to.be_found; extra == 'charts'"]
    install(
        "acme-charts", "1.2", plugins={"charts": "acme_charts:C"}, modules={"acme_charts.py": source}, requires=requires
    )
    with pytest.raises(MissingExtraError) as caught:
        build_plugin("charts")
    assert 'pip install "acme-charts[charts]"' in str(caught.value)
    assert isinstance(caught.value, ImportError)
    assert "acme-charts 1.2" in str(caught.value)


def test_a_missing_extra_is_found_in_the_constructor_too(install):
    source = """
    from crystallize import BasePlugin

    class C(BasePlugin):
        def __init__(self):
            import nowhere_to_be_found
    """
    requires = ["nowhere-to-be-found; extra == 'charts'"]
    install("acme-charts", plugins={"charts": "acme_charts:C"}, modules={"acme_charts.py": source}, requires=requires)
    with pytest.raises(MissingExtraError, match=r'pip install "acme-charts\[charts\]"'):
        build_plugin("charts")


@pytest.mark.parametrize("at", ["import", "access"])
def test_a_missing_extra_that_the_plugin_names_itself_stays_one(install, at):
    raising = "raise MissingExtraError('it draws with nowhere: pip install acme-charts[charts]')"
    source = f"from crystallize.errors import MissingExtraError\n\ndef __getattr__(name):\n    {raising}\n"
    source = source if at == "access" else f"{source}\n{raising}\n"
    install("acme-charts", "1.2", plugins={"charts": "acme_charts:C"}, modules={"acme_charts.py": source})
    with pytest.raises(MissingExtraError, match=r"'charts' \(acme-charts 1\.2\).* pip install acme-charts\[charts\]$"):
        load_plugin("charts")
    (report,) = [report for report in examine_plugins() if report.record.name == "charts"]
    assert isinstance(report.error, MissingExtraError)


def test_an_extra_that_the_entry_point_names_is_checked_before_the_import(install):
    source = "raise AssertionError('imported')"
    requires = ["nowhere-to-be-found ; extra == 'charts'", "pluggy ; extra == 'charts'", "packaging ; extra == 'fine'"]
    install(
        "acme-charts",
        plugins={"charts": "acme_charts:C [charts]", "fine": "acme_fine:C [fine]"},
        modules={"acme_charts.py": source, "acme_fine.py": "C = 5"},
        requires=requires,
    )
    with pytest.raises(MissingExtraError, match="needs the extra 'charts': nowhere-to-be-found is not installed"):
        find_plugin("charts")
    assert load_plugin("fine") == 5


def test_a_missing_requirement_that_is_no_extra_is_named(install):
    source = "import nowhere_to_be_found"
    requires = ["nowhere-to-be-found>=1"]
    install("acme-charts", plugins={"charts": "acme_charts:C"}, modules={"acme_charts.py": source}, requires=requires)
    with pytest.raises(PluginImportError, match="pip install nowhere-to-be-found"):
        load_plugin("charts")


def test_the_doctor_reports_what_is_broken_and_everything_else(install):
    install("acme-broken", plugins={"broken": "acme_broken:P"}, modules={"acme_broken.py": "import sys; sys.exit(1)"})
    install("acme-tools", plugins={"tally": "acme_tools:Tally"}, modules={"acme_tools.py": PLUGIN})
    reports = {report.record.name: report for report in examine_plugins()}
    assert isinstance(reports["broken"].error, PluginImportError)
    assert reports["tally"].target.__name__ == "Tally"
    assert reports["seed"].error is None


# ------------------------------------------------------------------ what an entry point may lead to


@pytest.fixture
def tools(install):
    targets = {
        "tally": "Tally",
        "made": "make",
        "ready": "ready",
        "number": "number",
        "no": "NoPlugin",
        "five": "makes_nothing",
        "part": "partial",
    }
    install(
        "acme-tools",
        "1.5",
        plugins={name: f"acme_tools:{target}" for name, target in targets.items()},
        modules={"acme_tools.py": PLUGIN},
    )


def test_a_class_a_function_and_an_instance_are_built(tools):
    plugins = [build_plugin("tally"), build_plugin("made"), build_plugin("ready")]
    assert [plugin.size for plugin in plugins] == [1, 50, 7]
    active = ActivePlugins.resolve(plugins)
    assert active.names == ["tally", "made", "ready"]
    assert [info.settings for info in active.infos] == [
        {"size": 1, "label": "x"},
        {"size": 5},
        {"size": 7, "label": "x"},
    ]
    assert {(info.distribution, info.version) for info in active.infos} == {("acme-tools", "1.5")}


def test_settings_go_to_the_class_or_the_function(tools):
    assert build_plugin(("tally", {"size": 4, "label": "y"})).label == "y"
    assert build_plugin(("made", {"size": 2})).size == 20
    assert build_plugin(("part", {"size": 2})).label == "partial"
    assert ActivePlugins.resolve([build_plugin("part")]).infos[0].settings == {"size": 1, "label": "partial"}
    assert build_plugin(("tally", {})).size == build_plugin(("tally", None)).size == 1


def test_an_instance_takes_no_settings(tools):
    with pytest.raises(PluginDefinitionError, match=r"'ready' \(acme-tools 1\.5\) is an instance.*'size'"):
        build_plugin(("ready", {"size": 2}))


def test_an_unknown_setting_is_refused_with_those_there_are(tools):
    said = r"'tally'.*'lable'.*settings are size, label. Did you mean 'label'"
    with pytest.raises(PluginDefinitionError, match=said):
        build_plugin(("tally", {"lable": "y"}))


@pytest.mark.parametrize("name", ["number", "no", "five"])
def test_an_entry_point_that_leads_to_no_plugin_is_refused(tools, name):
    with pytest.raises(PluginDefinitionError, match=rf"'{name}' \(acme-tools 1\.5\) leads to .* no plugin"):
        build_plugin(name)


def test_an_instance_of_an_installed_class_goes_by_its_entry_points_name(tools):
    import acme_tools

    active = ActivePlugins.resolve([acme_tools.Tally(3)])
    assert active.names == ["tally"]
    assert active.infos[0].entry_point == "acme_tools:Tally"


def test_a_class_without_an_entry_point_goes_by_its_own_name_and_its_distribution(install):
    source = "from crystallize import BasePlugin\nclass Loose(BasePlugin):\n    def before_run(self):\n        pass\n"
    install("acme-loose", "4.0", groups={"other": {"a": "b:c"}}, modules={"acme_loose/__init__.py": source})
    import acme_loose

    info = ActivePlugins.resolve([acme_loose.Loose()]).infos[0]
    assert (info.name, info.distribution, info.version, info.entry_point) == ("Loose", "acme-loose", "4.0", None)


def test_a_package_that_two_distributions_share_is_nobodys(install):
    source = "from crystallize import BasePlugin\nclass Loose(BasePlugin):\n    def before_run(self):\n        pass\n"
    install("acme-one", modules={"acme_shared/__init__.py": "", "acme_shared/one.py": source})
    install("acme-two", modules={"acme_shared/two.py": "x = 1\n"})
    from acme_shared.one import Loose

    assert ActivePlugins.resolve([Loose()]).infos[0].distribution is None


def test_a_class_of_a_script_has_no_distribution():
    class Mine(BasePlugin):
        pass

    info = ActivePlugins.resolve([Mine()]).infos[0]
    assert (info.name, info.distribution, info.version, info.entry_point) == ("Mine", None, None, None)
