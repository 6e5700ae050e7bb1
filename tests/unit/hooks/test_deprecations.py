from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from crystallize.errors import PluginDeprecationWarning
from crystallize.hooks import ActivePlugins, BasePlugin, deprecations
from crystallize.hooks.deprecations import Deprecation, deprecated_uses

GOING = (
    Deprecation("collect", None, "1.2", "2.0", "collect_all"),
    Deprecation("after_step", "data", "1.2", "2.0", "ctx"),
)


@pytest.fixture
def going(monkeypatch):
    monkeypatch.setattr(deprecations, "DEPRECATIONS", GOING)


def told(plugin):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ActivePlugins.resolve([plugin])
    return caught


def test_a_deprecated_hook_and_argument_are_warned_of_at_the_plugins_own_lines(going):
    class Uses(BasePlugin):
        def collect(self, outcome):
            pass

        def after_step(self, data):
            pass

    found = told(Uses())
    assert {warning.category for warning in found} == {PluginDeprecationWarning}
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    assert sorted(lines[warning.lineno - 1].strip() for warning in found) == [
        "def after_step(self, data):",
        "def collect(self, outcome):",
    ]
    assert {Path(warning.filename) for warning in found} == {Path(__file__)}
    assert any(
        "plugin 'Uses' (from no distribution): the argument 'data' of the hook after_step is deprecated since version "
        "1.2 of the hook contract, and version 2.0 will not have it: use ctx" in str(warning.message)
        for warning in found
    )


def test_what_is_not_used_is_not_warned_of(going):
    class Uses(BasePlugin):
        def after_step(self, ctx):
            pass

    assert told(Uses()) == []
    assert deprecated_uses("after_step", ("step", "data")) == [GOING[1]]
