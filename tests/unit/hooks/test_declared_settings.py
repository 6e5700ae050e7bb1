from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pytest

from crystallize.errors import PluginSettingError
from crystallize.hooks import BasePlugin, Setting, settings_of
from crystallize.hooks.declared_settings import checked_settings
from crystallize.hooks.settings import arguments_of, describe_settings, note_settings
from crystallize.hooks.tools import settings_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from elsewhere import Client  # as a plugin may import what only its checker knows


class Mode(Enum):
    FAST = "fast"
    SAFE = "safe"


class Everything(BasePlugin):
    def __init__(
        self,
        rate: Annotated[float, Setting("How often", minimum=0, maximum=1)],
        mode: Mode = Mode.FAST,
        kind: Literal["a", "b"] = "a",
        folder: Path | None = None,
        tries: int = 3,
        loud: bool = False,
        names: Sequence[str] = (),
        sizes: tuple[int, ...] = (),
        pair: tuple[str, int] | None = None,
        limits: Mapping[str, float] | None = None,
        level: str | int = "INFO",
        token: Annotated[str | None, Setting(secret=True)] = None,
        client: Annotated[Client | None, Setting(secret=True)] = None,
        inner: list[Annotated[int, Setting(minimum=1)]] | None = None,
        colour: Annotated[str, Setting(choices=("red", "blue"))] = "red",
        done: Callable[[int], Any] | None = None,
        free=None,
    ) -> None:
        self.given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}


@dataclass
class AsDataclass(BasePlugin):
    rate: Annotated[float, Setting("How often", minimum=0)] = 0.5
    names: list[str] = field(default_factory=lambda: ["one"])


def built(size: Annotated[int, Setting(minimum=1)] = 1, key: Annotated[str, Setting(secret=True)] = "k") -> BasePlugin:
    return BasePlugin()


def checked(name, value, target=Everything):
    given = {name: value} if target is not Everything or name == "rate" else {"rate": 0.5, name: value}
    return checked_settings(target, given, what="plugin 'e'", plugin="e")[name]


@pytest.mark.parametrize(
    "name, given, expected",
    [
        ("rate", 1, 1.0),
        ("rate", "1e-3", 0.001),
        ("rate", np.float32(0.5), 0.5),
        ("mode", "safe", Mode.SAFE),
        ("mode", "SAFE", Mode.SAFE),
        ("mode", Mode.SAFE, Mode.SAFE),
        ("kind", "b", "b"),
        ("folder", "out", Path("out")),
        ("folder", None, None),
        ("tries", np.int64(4), 4),
        ("tries", 1e3, 1000),
        ("loud", True, True),
        ("names", ("x", "y"), ["x", "y"]),
        ("sizes", [1, 2], (1, 2)),
        ("pair", ["x", 1], ("x", 1)),
        ("limits", {"x": 1}, {"x": 1.0}),
        ("level", "10", "10"),
        ("level", 10, 10),
        ("token", "t", "t"),
        ("inner", [1, 2], [1, 2]),
        ("colour", "blue", "blue"),
        ("done", abs, abs),
        ("free", {"any": ["thing"]}, {"any": ["thing"]}),
    ],
)
def test_a_setting_becomes_what_its_annotation_says(name, given, expected):
    found = checked(name, given)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    "name, given, said",
    [
        ("rate", 2, "at most 1"),
        ("rate", -1, "at least 0"),
        ("rate", float("nan"), "at least 0"),
        ("rate", "often", "a number"),
        ("rate", True, "a number"),
        ("mode", "quick", "one of 'fast', 'safe'"),
        ("kind", "c", "one of 'a', 'b'"),
        ("folder", 3, "Path or None"),
        ("tries", "3", "a whole number"),
        ("tries", 1.5, "a whole number"),
        ("tries", None, "a whole number"),
        ("tries", True, "a whole number"),
        ("loud", "yes", "true or false"),
        ("names", "x", "a list"),
        ("names", [1], "text"),
        ("sizes", ["x"], "a whole number"),
        ("pair", ["x"], "a list of 2 or None"),
        ("limits", [1], "a mapping or None"),
        ("level", [1], "text or a whole number"),
        ("inner", [0], "at least 1 or None"),
        ("colour", "green", "one of 'red', 'blue'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_with_what_would(name, given, said):
    with pytest.raises(PluginSettingError) as caught:
        checked(name, given)
    assert caught.value.setting == name
    assert caught.value.plugin == "e"
    assert f"the setting '{name}' of plugin 'e' is {given!r}, and has to be" in str(caught.value)
    assert said in str(caught.value)


def test_unknown_and_missing_settings_are_named():
    with pytest.raises(PluginSettingError, match="Did you mean 'rate'") as caught:
        checked_settings(Everything, {"rat": 1}, what="plugin 'e'")
    assert caught.value.setting == "rat"
    with pytest.raises(PluginSettingError, match="missing a required argument: 'rate'") as caught:
        checked_settings(Everything, {}, what="plugin 'e'")
    assert caught.value.setting == "rate"


def test_a_secret_is_in_no_message_no_record_and_no_representation():
    with pytest.raises(PluginSettingError) as caught:
        checked("token", 12345)
    assert "12345" not in str(caught.value)
    plugin = Everything(0.5, token="hunter2", client="hunter3")
    settings, opaque = describe_settings(plugin)
    assert {"token", "client"} <= set(opaque)
    function_built = BasePlugin()
    note_settings(function_built, built, {"key": "hunter4"})
    for shown in (settings, repr(plugin), describe_settings(function_built), settings_of(built)):
        assert "hunter" not in str(shown)
    assert describe_settings(function_built)[0] == {"size": 1, "key": "***"}


def test_a_dataclass_and_a_function_declare_settings_as_a_class_does():
    assert checked("rate", 1, AsDataclass) == 1.0
    with pytest.raises(PluginSettingError, match="at least 0"):
        checked("rate", -1, AsDataclass)
    with pytest.raises(PluginSettingError, match="at least 1"):
        checked("size", 0, built)
    assert settings_of(AsDataclass)["names"]["default"] == ["one"]
    assert arguments_of(AsDataclass(0.25)) == {"rate": 0.25, "names": ["one"]}


def test_settings_are_described_as_data():
    told = settings_of(Everything)
    assert json.loads(json.dumps(told)) == told
    assert told["rate"] == {
        "type": "float",
        "default": None,
        "required": True,
        "help": "How often",
        "choices": None,
        "minimum": 0,
        "maximum": 1,
        "secret": False,
    }
    assert (told["mode"]["choices"], told["kind"]["choices"]) == (["fast", "safe"], ["a", "b"])
    assert (told["folder"]["type"], told["sizes"]["type"]) == ("Path | None", "tuple[int, ...]")
    assert (told["free"]["type"], told["client"]["secret"]) == ("any", True)
    assert settings_of(Everything(1.0)) == {}


def test_the_schema_says_what_is_checked():
    schema = settings_schema(Everything)
    assert schema["required"] == ["rate"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["rate"] == {"type": "number", "minimum": 0, "maximum": 1, "description": "How often"}
    assert schema["properties"]["mode"]["enum"] == ["fast", "safe"]
    assert schema["properties"]["inner"]["anyOf"][0] == {"type": "array", "items": {"type": "integer", "minimum": 1}}
    assert "default" not in schema["properties"]["token"]
