from __future__ import annotations

import ast
import copy
import inspect
import pickle
import threading
from dataclasses import dataclass

import pytest

from crystallize.hooks import HOOKS, ActivePlugins, BasePlugin
from crystallize.hooks.settings import arguments_of, describe_settings


class Plain(BasePlugin):
    def __init__(self, path, limit=3, *extra, mode="fast", **options):
        self.filled = extra


class Silent(BasePlugin):
    pass


@dataclass
class Recorded(BasePlugin):
    folder: str = "out"
    tries: int = 2


class Grows(BasePlugin):
    def __init__(self, names):
        self.names = names

    def before_run(self):
        self.names.append("more")


class OwnNew(BasePlugin):
    def __new__(cls, **settings):
        return super().__new__(cls)

    def __init__(self, *, level):
        self._level = level


class Slotted:
    __slots__ = ("size",)

    def __init__(self, size=4):
        self.size = size


class Locked(BasePlugin):
    def __init__(self, lock, size):
        self.lock, self.size = lock, size

    def __getstate__(self):
        return {key: value for key, value in vars(self).items() if key != "lock"}


def a_function(seed):
    return seed


def settings_of(plugin):
    return describe_settings(plugin)


def test_settings_are_the_constructors_arguments_after_defaults():
    assert arguments_of(Plain("a.csv", mode="slow")) == {"path": "a.csv", "limit": 3, "mode": "slow"}
    assert arguments_of(Plain("a", 1, 2, 3, deep=True)) == {
        "path": "a",
        "limit": 1,
        "extra": (2, 3),
        "mode": "fast",
        "deep": True,
    }


def test_settings_of_a_dataclass_are_its_fields_as_given():
    assert arguments_of(Recorded(tries=5)) == {"folder": "out", "tries": 5}


def test_a_plugin_is_shown_as_the_call_that_builds_it():
    assert repr(Plain("a.csv")) == "Plain(path='a.csv', limit=3, mode='fast')"
    assert repr(Silent()) == "Silent()"
    assert repr(Plain(a_function, api_key="open sesame")).startswith("Plain(path=<function a_function>, limit=3, ")
    assert "sesame" not in repr(Plain("a", api_key="open sesame"))


def test_settings_are_never_the_live_state():
    plugin = Grows(["one"])
    plugin.before_run()
    plugin.extra = 5
    assert arguments_of(plugin) == {"names": ["one"]}


def test_a_plugin_without_a_constructor_has_no_settings_and_takes_none():
    assert arguments_of(Silent()) == {}
    with pytest.raises(TypeError, match=r"Silent\(\) takes no arguments"):
        Silent(5)


def test_a_wrong_argument_is_refused_as_by_any_class():
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        Recorded(colour="red")


def test_a_class_with_a_new_of_its_own_is_read_by_its_attributes():
    assert arguments_of(OwnNew(level=3)) == {"level": 3}


def test_a_plain_class_is_read_by_its_attributes():
    assert arguments_of(Slotted()) == {"size": 4}


def test_a_property_is_not_asked():
    class Asks(BasePlugin):
        def __new__(cls, connection):
            return super().__new__(cls)

        @property
        def connection(self):
            raise AssertionError("nobody may look")

    assert arguments_of(Asks("host")) == {}


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda plugin: pickle.loads(pickle.dumps(plugin))])
def test_settings_survive_copies(again):
    assert settings_of(again(Plain("p", limit=7))) == settings_of(Plain("p", limit=7))
    assert arguments_of(again(Recorded(tries=9))) == {"folder": "out", "tries": 9}


def test_a_setting_that_cannot_travel_does_not_keep_its_plugin_from_travelling():
    travelled = pickle.loads(pickle.dumps(Locked(threading.Lock(), 3)))
    assert travelled.size == 3
    assert settings_of(travelled)[0] == {"lock": "lock", "size": 3}


def test_a_function_travels_with_the_settings():
    assert arguments_of(pickle.loads(pickle.dumps(Plain(a_function))))["path"] is a_function


def test_plugins_that_compare_their_attributes_go_on_doing_so():
    class Compares(BasePlugin):
        def __init__(self, size):
            self.size = size

        def __eq__(self, other):
            return vars(self) == vars(other)

        __hash__ = None

    assert Compares(1) == Compares(1)
    assert Compares(1) != Compares(2)


def test_settings_are_described_in_a_form_that_json_has():
    class Many(BasePlugin):
        def __init__(self, **settings):
            pass

    import pathlib

    plugin = Many(path=pathlib.PurePosixPath("a/b"), pair=(1, 2), fn=a_function, api_key="sk-1", deep={"token": "t"})
    settings, opaque = settings_of(plugin)
    assert settings == {
        "path": "a/b",
        "pair": [1, 2],
        "fn": "function a_function",
        "api_key": "***",
        "deep": {"token": "***"},
    }
    assert opaque == ("fn", "api_key", "deep")


def test_a_long_setting_is_kept_whole():
    assert settings_of(Grows([str(number) for number in range(300)])) == (
        {"names": [str(number) for number in range(300)]},
        (),
    )


def test_silent_hooks_are_sat_out():
    class Quiet(BasePlugin):
        def __init__(self, *, verbose):
            self.silent_hooks = () if verbose else ("after_step",)

        def before_run(self):
            pass

        def after_step(self, data):
            pass

    quiet, loud = ActivePlugins.resolve([Quiet(verbose=False)]), ActivePlugins.resolve([Quiet(verbose=True)])
    assert quiet.calls("after_step") == ()
    assert len(quiet.calls("before_run")) == len(loud.calls("after_step")) == 1
    assert quiet.infos[0].hooks == ("before_run",)


def test_type_checkers_see_every_hook_of_the_base_class():
    tree = ast.parse(inspect.getsource(inspect.getmodule(BasePlugin)))
    base = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "BasePlugin")
    block = next(node for node in base.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    assert [node.name for node in block.body if isinstance(node, ast.FunctionDef)] == list(HOOKS)
