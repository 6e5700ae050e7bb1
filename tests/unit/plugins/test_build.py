from __future__ import annotations

import sys

import pytest

from crystallize.discovery import metadata
from crystallize.errors import (
    ArgumentTypeError,
    CrystallizeError,
    MissingDistributionError,
    PluginConflictError,
    PluginDefinitionError,
    PluginNotFoundError,
    ValidationError,
)
from crystallize.hooks import BasePlugin, build_plugins, hookimpl
from crystallize.plugins.info import default_kind


class Mine(BasePlugin):
    def __init__(self, size=1):
        self.size = size


class Needs(BasePlugin):
    def __init__(self, path, size=1):
        self.path = path


class Marked:
    @hookimpl
    def before_run(self):
        pass


@pytest.fixture
def core_alone(monkeypatch):
    empty = metadata.Scan(dict.fromkeys(metadata.GROUPS, ()))
    monkeypatch.setattr(metadata, "_found", empty)
    monkeypatch.setattr(metadata, "_scan", lambda: empty)


def alone(*specs):
    return build_plugins(specs, default_plugins=False)


def test_instances_are_taken_as_they_are_and_classes_are_built():
    mine, marked = Mine(3), Marked()
    plugins = alone(mine, Mine, marked, Marked)
    assert plugins[0] is mine
    assert plugins[2] is marked
    assert [type(plugin) for plugin in plugins] == [Mine, Mine, Marked, Marked]
    assert plugins[1].size == 1


def test_none_means_no_plugins():
    assert build_plugins(None, default_plugins=False) == []


@pytest.mark.parametrize("kind", [tuple, list, iter])
def test_any_iterable_will_do(kind):
    assert len(build_plugins(kind([Mine(), Marked()]), default_plugins=False)) == 2


@pytest.mark.parametrize("specs", ["seed", pytest.param(Mine(), id="Mine()"), Mine, {"seed": {}}, 5], ids=repr)
def test_what_is_no_list_is_refused_with_the_list_to_write(specs):
    with pytest.raises(ArgumentTypeError, match=r"write plugins=\["):
        build_plugins(specs)


@pytest.mark.parametrize("spec", [5, None, True, print, sys, lambda: None, b"seed"])
def test_what_can_be_no_plugin_is_refused(spec):
    with pytest.raises(ArgumentTypeError, match="in plugins"):
        alone(spec)


@pytest.mark.parametrize("spec", [pytest.param(object(), id="object"), ["seed", {}], {"seed": {}}, {1}], ids=repr)
def test_an_object_without_hooks_is_refused(spec):
    with pytest.raises(PluginDefinitionError, match="is no plugin"):
        alone(spec)


@pytest.mark.parametrize("cls", [int, object, CrystallizeError])
def test_a_class_that_is_no_plugins_is_refused(cls):
    with pytest.raises(PluginDefinitionError, match=f"{cls.__name__} is no plugin class"):
        alone(cls)


@pytest.mark.parametrize(
    "pair", [("seed",), ("seed", 5), ("seed", {}, 1), (Mine, {"size": 1}), (1, {}), ("seed", "logging")]
)
def test_a_pair_is_a_name_and_settings(pair):
    with pytest.raises(ArgumentTypeError, match=r"a pair is \(name, "):
        alone(pair)


def test_nothing_is_imported_before_every_name_is_known(install):
    source = "raise AssertionError('imported')"
    install("acme-early", plugins={"early": "acme_early:Early"}, modules={"acme_early.py": source})
    with pytest.raises(PluginNotFoundError, match="'late'"):
        alone("early", ("late", {}))


def test_a_class_that_needs_arguments_says_which():
    with pytest.raises(PluginDefinitionError, match=r"Needs.*missing a required argument: 'path'.*path, size"):
        alone(Needs)


def test_what_a_constructor_raises_is_its_own(install):
    source = """
    from crystallize import BasePlugin

    class Strict(BasePlugin):
        def __init__(self, size):
            if size < 0:
                raise ValueError("size is negative")
    """
    install("acme-strict", "1.0", plugins={"strict": "acme_strict:Strict"}, modules={"acme_strict.py": source})
    with pytest.raises(ValueError, match="size is negative") as caught:
        alone(("strict", {"size": -1}))
    if sys.version_info >= (3, 11):
        assert "plugin 'strict' (acme-strict 1.0)" in caught.value.__notes__[0]


def test_a_settings_value_is_not_repeated_in_an_error(install):
    source = (
        "from crystallize import BasePlugin\nclass Client(BasePlugin):\n    def __init__(self, url):\n        pass\n"
    )
    install("acme-client", plugins={"client": "acme_client:Client"}, modules={"acme_client.py": source})
    with pytest.raises(PluginDefinitionError) as caught:
        alone(("client", {"url": "x", "api_key": "sk-very-secret"}))
    assert "api_key" in str(caught.value)
    assert "sk-very-secret" not in str(caught.value)


def test_one_instance_twice_is_refused():
    mine = Mine()
    with pytest.raises(PluginConflictError, match="given twice"):
        alone(mine, mine)


def test_an_unknown_name_is_refused():
    with pytest.raises(PluginNotFoundError, match="no installed plugin is called 'telemetry'"):
        alone("telemetry")


# ------------------------------------------------------------------ the defaults


def kinds(plugins):
    return [default_kind(plugin) for plugin in plugins]


def test_the_three_defaults_are_added_after_what_was_given():
    assert kinds(build_plugins([Mine()])) == [None, "artifacts", "seed", "logging"]


def test_a_plugin_of_the_same_kind_replaces_a_default():
    from crystallize import SeedPlugin

    class MySeed(SeedPlugin):
        pass

    mine = MySeed(seed=4)
    plugins = build_plugins(["logging", mine])
    assert kinds(plugins) == ["logging", "seed", "artifacts"]
    assert plugins[1] is mine


def test_two_of_one_default_kind_are_refused():
    with pytest.raises(PluginConflictError, match="both of the kind 'seed'"):
        build_plugins(["seed", "seed"])


def test_defaults_can_be_left_out_or_chosen():
    assert kinds(build_plugins([], default_plugins=False)) == []
    assert kinds(build_plugins([], default_plugins=["logging", "seed"])) == ["seed", "logging"]
    assert kinds(build_plugins(["seed"], default_plugins=["seed"])) == ["seed"]
    assert kinds(build_plugins([], default_plugins=[])) == []


def test_only_defaults_can_be_chosen():
    with pytest.raises(ValidationError, match=r"'parallel'.*'artifacts', 'seed', 'logging'"):
        build_plugins([], default_plugins=["parallel"])
    with pytest.raises(ValidationError, match="Did you mean 'seed'"):
        build_plugins([], default_plugins=["sead"])


@pytest.mark.parametrize("wanted", ["seed", None, 5])
def test_a_default_plugins_that_is_no_list_is_refused(wanted):
    with pytest.raises(ArgumentTypeError, match="default_plugins="):
        build_plugins([], default_plugins=wanted)


def test_with_the_core_alone_there_are_no_defaults(core_alone):
    assert build_plugins([Mine()])[1:] == []


def test_a_default_asked_for_by_name_must_be_there(core_alone):
    with pytest.raises(MissingDistributionError, match="pip install crystallize-plugins"):
        build_plugins([], default_plugins=["seed"])
